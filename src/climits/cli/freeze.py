"""`climits freeze`: stop every process of a cgroup."""

from ..cgroup.removal import pids_below, refuse_own
from ..errors import CgroupError, CgroupGoneError, CgroupTimeoutError, UnsupportedError
from ..linux.proc import is_dying
from ..units import parse_duration
from .cgroups import the_cgroup
from .options import CGROUP, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..cgroup.freezer import Freezer
    from ..cgroup.group import Cgroup
    from ..cgroup.placement import Part

OPTIONS: tuple[Option, ...] = (
    ("--timeout", "TIME", "text", CGROUP, "wait so long until all have stopped (default 10s)"),
)
ANYWHERE = True
USAGE = "climits freeze NAME [OPTIONS]"
EPILOG = """\
NAME is a cgroup that climits made, a cgroup path, or pid:1234. Ends when every
process has stopped, those of the cgroups below it too; climits thaw lets them
go on, and climits kill ends them even so. Where that cannot be had in time,
nothing stays frozen. A directory below a mount point, such as
/sys/fs/cgroup/freezer/web, means the cgroup of that hierarchy alone.

example:
  climits freeze web --timeout 2s
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Freeze and wait."""
    timeout = parse_duration(values.get("timeout", 10.0), what="timeout")
    group = the_cgroup(words, "freeze", acts=True)
    refuse_own(group, "freeze")
    running = [freezer for freezer in freezers(group) if not freezer.is_frozen()]
    try:
        for freezer in running:
            freezer.freeze(timeout)
        _refuse_left(group)
    except BaseException as e:
        for freezer in running:
            try:
                freezer.thaw()
            except CgroupGoneError:
                pass
        if isinstance(e, CgroupTimeoutError):
            e.hint = (
                "what waits for a device or sleeps at its limit cannot be stopped yet; it was "
                "thawed again: give it more --timeout"
            )
        raise
    return 0


def _refuse_left(group: "Cgroup") -> None:
    """Refuse where processes are in the cgroup, but not in the hierarchies that freeze."""
    parts = _freezing(group)
    left = sorted(pid for pid in pids_below(group) - pids_below(group, parts) if not is_dying(pid))
    # One that came or went between the two lists is in neither or both of the next.
    left = [pid for pid in left if pid in pids_below(group) - pids_below(group, parts)]
    if left:
        labels = " and ".join(part.hierarchy.label for part in parts)
        named = ", ".join(map(str, left[:5])) + (", ..." if len(left) > 5 else "")
        raise CgroupError(
            f"cannot freeze {group.path}: not in its {labels} part, and so not stopped: {named}",
            path=group.path,
            hint=f"climits classify {group.path} PID moves one into every part",
        )


def _freezing(group: "Cgroup") -> "list[Part]":
    return [
        part
        for part in group.parts
        if part.hierarchy.born_inside or "freezer" in part.hierarchy.controllers
    ]


def freezers(group: "Cgroup") -> "list[Freezer]":
    """What stops its processes: the v2 hierarchy, the v1 freezer, or both.

    Raises:
        UnsupportedError: it is in neither.
    """
    found = [part.hierarchy.freezer(part.directory) for part in _freezing(group)]
    if not found:
        raise UnsupportedError(
            f"{group.path} is in no hierarchy that can freeze",
            hint="what climits create makes can be frozen, if its processes are moved there with "
            "climits classify",
        )
    return found
