"""Freezing, thawing and killing what lives in a cgroup, in every hierarchy that it spans.

Its parts may have drifted apart: a process that was moved in one hierarchy alone is in the one
part and not in the other.  What is said of a cgroup is done in all of them, or refused.
"""

import time

from ..errors import CgroupError, CgroupGoneError, CgroupTimeoutError, UnsupportedError
from ..linux.proc import is_dying
from .freezer import Freezer
from .group import Cgroup
from .placement import Part
from .removal import pids_below, refuse_own


def freeze(group: Cgroup, timeout: float) -> None:
    """Stop every process; where that cannot be had in time, nothing stays frozen.

    Raises:
        CgroupTimeoutError: some had not stopped after `timeout` seconds.
        CgroupError: processes are in it, but not in the hierarchies that freeze.
        UnsupportedError: it is in none that does.
        InvalidValueError: we are in it.
    """
    refuse_own(group, "freeze")
    deadline = time.monotonic() + timeout
    running = [freezer for freezer in _freezers(group) if not freezer.is_frozen()]
    try:
        for freezer in running:
            freezer.freeze(max(deadline - time.monotonic(), 0.0))
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
                "thawed again: give it more time"
            )
        raise


def thaw(group: Cgroup) -> None:
    """Let every process go on.

    Raises:
        UnsupportedError: it is in no hierarchy that freezes.
    """
    for freezer in _freezers(group):
        freezer.thaw()


def kill(group: Cgroup, timeout: float) -> int:
    """SIGKILL every process in it and below, in any hierarchy, and wait until none is left.

    Returns:
        How many were seen and killed.

    Raises:
        CgroupTimeoutError: something is still there after `timeout` seconds.
        InvalidValueError: we are in it.
    """
    refuse_own(group, "kill")
    # What the v1 freezer holds dies only once it is thawed, which its own part does.  Nothing that
    # forks outruns v2's way.
    parts = sorted(
        _ours(group),
        key=lambda p: ("freezer" not in p.hierarchy.controllers, not p.hierarchy.born_inside),
    )
    deadline = time.monotonic() + timeout
    killed = 0
    for part in parts:
        freezer = part.hierarchy.freezer(part.directory)
        killed += freezer.kill(max(deadline - time.monotonic(), 0.0))
    return killed


def _ours(group: Cgroup) -> list[Part]:
    """The parts in which its processes are: those alone that we made, where we made some.

    Of a program that was started in an existing cgroup, only the part by which it is followed is
    its own; others live in the rest.
    """
    return [part for part in group.parts if part.made or not group.tracker.made]


def _freezing(group: Cgroup) -> list[Part]:
    return [
        part
        for part in _ours(group)
        if part.hierarchy.born_inside or "freezer" in part.hierarchy.controllers
    ]


def _freezers(group: Cgroup) -> list[Freezer]:
    """What stops its processes: the v2 hierarchy, the v1 freezer, or both."""
    found = [part.hierarchy.freezer(part.directory) for part in _freezing(group)]
    if not found:
        raise UnsupportedError(
            f"{group.path} is in no hierarchy that can freeze",
            hint="what climits create makes can be frozen, if its processes are moved there with "
            "climits classify",
        )
    return found


def _refuse_left(group: Cgroup) -> None:
    """Refuse where processes are in the cgroup, but not in the hierarchies that freeze."""
    parts, all_parts = _freezing(group), _ours(group)
    left = sorted(
        pid for pid in pids_below(group, all_parts) - pids_below(group, parts) if not is_dying(pid)
    )
    # One that came or went between the two lists is in neither or both of the next.
    left = [pid for pid in left if pid in pids_below(group, all_parts) - pids_below(group, parts)]
    if left:
        labels = " and ".join(part.hierarchy.label for part in parts)
        named = ", ".join(map(str, left[:5])) + (", ..." if len(left) > 5 else "")
        raise CgroupError(
            f"cannot freeze {group.path}: not in its {labels} part, and so not stopped: {named}",
            path=group.path,
            hint=f"climits classify {group.path} PID moves one into every part",
        )
