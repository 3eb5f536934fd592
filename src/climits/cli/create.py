"""`climits create`: make a cgroup that stays."""

import sys

from ..cgroup.group import Cgroup, find_parent, hierarchies_for
from ..cgroup.layout import current
from ..cgroup.limits import make_limits
from ..cgroup.naming import check_component, check_name, check_path
from ..cgroup.placement import release_parents
from ..cgroup.removal import delegate, let_join, may_join_below
from ..errors import InvalidValueError, UnsupportedError
from ..observe.text import printable
from ..units import shown
from .options import CGROUP, LIMITS, NO_SYSTEMD, RUN, Option
from .scope import wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..cgroup.layout import Hierarchy

OPTIONS: tuple[Option, ...] = (
    NO_SYSTEMD,
    *(o for o in RUN if o[3] == LIMITS and o[0] != "--on-oom"),
    ("--controllers", "LIST", "text", CGROUP, "make it for these too, such as pids,cpu, to be "
     "set later"),
    ("--owner", "USER[:GROUP]", "text", CGROUP, "give it to a user, who may make cgroups in it; "
     "its limits stay yours"),
    ("--tasks-owner", "USER[:GROUP]", "text", CGROUP, "who may move processes into it; on cgroup "
     "v2 where a cgroup above is theirs"),
)  # fmt: skip
ANYWHERE = True
USAGE = "climits create NAME [OPTIONS]"
EPILOG = """\
NAME is made below /climits, a path such as /jobs/web where it says. Where systemd
runs, NAME is made in climits.service, which is started for that and holds what was
made until systemctl stop climits.service (or --user) or the next boot. It is made
in the hierarchies of the memory controller, of the limits that are given, and
of what freezes and kills; it stays until climits delete, and its path is
printed.

An owner on cgroup v2 may move processes within it; the first must be moved in
by root (climits classify), since the kernel asks for the right to write in the
cgroup above both places too. So --tasks-owner works there below a cgroup that
was given to the same user by --owner, for processes that are below that one,
and is refused elsewhere. A group that is named gets the same rights.

examples:
  climits create web --memory 64M --cpuset 0-1
  climits create /jobs/alice --memory 2G --owner alice
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]

#: The kernel keeps 2**32 - 1 for "leave it as it is".
_MAX_ID = 2**32 - 2
_OWN = ("controllers", "owner", "tasks_owner", "no_systemd")


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Make it and print its path."""
    if len(words) != 1:
        raise InvalidValueError(
            f"create takes one name: {words[1]}" if words else "no name was given",
            hint="climits create NAME --memory 64M",
        )
    wish(values, ["create", words[0]])
    owners = {name: owner_ids(values[name]) for name in _OWN[1:3] if name in values}
    name, parent = words[0].rstrip("/") or words[0], None
    layout = current()
    if "/" in name:
        parent, _, name = check_path(name, layout, what="name").rpartition("/")
        parent = parent or "/"
        check_component(name)
    else:
        check_name(name)
    sizes = {key: value for key, value in values.items() if key not in _OWN}
    limits = make_limits(**sizes, parent=parent)
    wanted = limits.controllers()
    if "controllers" in values:
        named = [word for word in values["controllers"].split(",") if word]
        wanted = tuple(dict.fromkeys((*wanted, *named)))
    hierarchies = hierarchies_for(layout, wanted)
    above = find_parent(layout, hierarchies, parent, lasting=True)
    if "tasks_owner" in owners:
        _refuse_in_vain(values["tasks_owner"], owners["tasks_owner"], hierarchies, above, name)
    group = Cgroup.make(name, limits, hierarchies, above)
    try:
        if "owner" in owners:
            delegate(group, *owners["owner"])
        if "tasks_owner" in owners:
            let_join(group, *owners["tasks_owner"])
        sys.stdout.write(f"{printable(group.path)}\n")
        sys.stdout.flush()  # one that nobody was told of does not stay
    except BaseException:
        group.remove()
        release_parents()
        raise
    group.keep()
    return 0


def _refuse_in_vain(
    text: str,
    ids: tuple[int, int],
    hierarchies: "list[tuple[Hierarchy, tuple[str, ...]]]",
    parent: str,
    name: str,
) -> None:
    """Refuse a --tasks-owner whom the kernel would not let move anything.

    Where no limit is, in the hierarchy that is for tracking alone, it does not matter.
    """
    for hierarchy, controllers in hierarchies:
        if controllers and not may_join_below(hierarchy, parent, *ids):
            raise UnsupportedError(
                f"--tasks-owner {shown(text)}: no cgroup above {parent}/{name} is theirs, and on "
                "cgroup v2 the kernel asks for the right to write in one above both places",
                hint="make it below a cgroup of theirs (climits create /jobs --owner USER; climits "
                "create /jobs/web --tasks-owner USER), or have root move with climits classify",
            )


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
    uid = _id(user, "user", lambda name: pwd.getpwnam(name).pw_uid) if user else -1
    gid = _id(group, "group", lambda name: grp.getgrnam(name).gr_gid) if group else -1
    return uid, gid


def _id(word: str, kind: str, look_up: "Callable[[str], int]") -> int:
    """The number of a user or group, given by name or number."""
    if word.isascii() and word.isdigit():
        number = int(word[:11])
        if number <= _MAX_ID:
            return number
        cause, hint = f"no {kind} has so large a number", f"the largest is {_MAX_ID}"
    else:
        try:
            return look_up(word)
        except (KeyError, ValueError):  # ValueError: a null byte
            database = "passwd" if kind == "user" else "group"
            cause, hint = f"no such {kind}", f"see getent {database}"
    raise InvalidValueError(f"owner: {shown(word)}: {cause}", value=word, hint=hint)
