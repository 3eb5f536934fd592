"""`climits freeze`: stop every process of a cgroup."""

from ..cgroup.removal import refuse_own
from ..errors import UnsupportedError
from ..units import parse_duration
from .cgroups import the_cgroup
from .options import CGROUP, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..cgroup.freezer import Freezer
    from ..cgroup.group import Cgroup

OPTIONS: tuple[Option, ...] = (
    ("--timeout", "TIME", "text", CGROUP, "wait so long until all have stopped (default 10s)"),
)
ANYWHERE = True
USAGE = "climits freeze NAME [OPTIONS]"
EPILOG = """\
NAME is a cgroup that climits made, a cgroup path, or pid:1234. Ends when every
process has stopped, those of the cgroups below it too; climits thaw lets them
go on, and climits kill ends them even so.

example:
  climits freeze web --timeout 2s
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Freeze and wait."""
    timeout = parse_duration(values.get("timeout", 10.0), what="timeout")
    group = the_cgroup(words, "freeze", acts=True)
    refuse_own(group, "freeze")
    for freezer in freezers(group):
        freezer.freeze(timeout)
    return 0


def freezers(group: "Cgroup") -> "list[Freezer]":
    """What stops its processes: the v2 hierarchy, the v1 freezer, or both.

    Raises:
        UnsupportedError: it is in neither.
    """
    found = [
        part.hierarchy.freezer(part.directory)
        for part in group.parts
        if part.hierarchy.born_inside or "freezer" in part.hierarchy.controllers
    ]
    if not found:
        raise UnsupportedError(
            f"{group.path} is in no hierarchy that can freeze",
            hint=f"climits create {group.path} --controllers freezer",
        )
    return found
