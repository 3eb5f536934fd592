"""`climits create`: make a cgroup that stays."""

import sys

from ..cgroup.group import Cgroup, find_parent, hierarchies_for
from ..cgroup.layout import current
from ..cgroup.limits import make_limits
from ..cgroup.placement import check_name, check_path
from ..cgroup.removal import delegate, let_join
from ..errors import InvalidValueError
from .options import CGROUP, LIMITS, RUN, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    *(o for o in RUN if o[3] == LIMITS and o[0] != "--on-oom"),
    ("--controllers", "LIST", "text", CGROUP, "make it for these too, such as pids,cpu, to be "
     "set later"),
    ("--owner", "USER[:GROUP]", "text", CGROUP, "give it to a user, who may make cgroups in it; "
     "its limits stay yours"),
    ("--tasks-owner", "USER[:GROUP]", "text", CGROUP, "who may move processes into it"),
)  # fmt: skip
ANYWHERE = True
USAGE = "climits create NAME [OPTIONS]"
EPILOG = """\
NAME is made below /climits, a path such as /jobs/web where it says. It is made
in the hierarchies of the memory controller, of the limits that are given, and
of what freezes and kills; it stays until climits delete, and its path is
printed.

examples:
  climits create web --memory 64M --cpuset 0-1
  climits create /jobs/alice --memory 2G --owner alice
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]

_OWN = ("controllers", "owner", "tasks_owner")


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Make it and print its path."""
    if len(words) != 1:
        raise InvalidValueError(
            f"create takes one name: {words[1]}" if words else "no name was given",
            hint="climits create NAME --memory 64M",
        )
    owners = {name: owner_ids(values[name]) for name in _OWN[1:] if name in values}
    name, parent = words[0], None
    layout = current()
    if "/" in name:
        parent, _, name = check_path(name, layout, what="name").rpartition("/")
        parent = parent or "/"
    check_name(name)
    sizes = {key: value for key, value in values.items() if key not in _OWN}
    limits = make_limits(**sizes, parent=parent)
    wanted = limits.controllers()
    if "controllers" in values:
        named = [word for word in values["controllers"].split(",") if word]
        wanted = tuple(dict.fromkeys((*wanted, *named)))
    hierarchies = hierarchies_for(layout, wanted)
    group = Cgroup.make(name, limits, hierarchies, find_parent(layout, hierarchies, parent))
    try:
        if "owner" in owners:
            delegate(group, *owners["owner"])
        if "tasks_owner" in owners:
            let_join(group, *owners["tasks_owner"])
    except BaseException:
        group.remove()
        raise
    group.keep()
    sys.stdout.write(f"{group.path}\n")
    return 0


def owner_ids(text: str) -> tuple[int, int]:
    """User and group ids of ``USER``, ``USER:GROUP`` or ``:GROUP``; -1 for what is left out.

    Raises:
        InvalidValueError: there is no such user or group.
    """
    import grp
    import pwd

    user, _, group = text.partition(":")
    if not user and not group:
        raise InvalidValueError("owner: empty", value=text, hint="write USER or USER:GROUP")
    try:
        uid = -1 if not user else int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise InvalidValueError(
            f"owner: {user}: no such user", value=text, hint="see getent passwd"
        ) from None
    try:
        gid = -1 if not group else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise InvalidValueError(
            f"owner: {group}: no such group", value=text, hint="see getent group"
        ) from None
    return uid, gid
