"""What this host really does: a throw-away cgroup with a limit that is read back."""

import os

from ..cgroup import placement
from ..cgroup.files import Directory
from ..cgroup.group import Cgroup, find_parent, hierarchies_for
from ..cgroup.layout import Layout
from ..errors import CgroupError, ClimitsError, UnsupportedError
from ..records import Record
from ..units import UNLIMITED

_LIMIT = 64 << 20
_SWAP = 16 << 20


class Trial(Record):
    """What could be done in a cgroup of our own.

    Attributes:
        path: of the cgroup, removed since; None when it could not even be placed.
        error: why memory could not be limited, or None.
        hint: what to do about that.
        refused: whether it was a matter of rights.
        swap_error: why swap could not be limited, or None.
        peak: the kernel keeps the highest usage.
        counts_oom_kills: it counts them for the cgroup.
        kills_at_once: it kills all of a cgroup by one write (cgroup.kill).
        freezes: it stops all of a cgroup.
        reclaims: it takes memory back on request.
        pressure: it tells of memory pressure (PSI) in the cgroup.
        delegated: controllers that can be used in it.
    """

    path: "str | None" = None
    error: "str | None" = None
    hint: "str | None" = None
    refused: bool = False
    swap_error: "str | None" = None
    peak: bool = False
    counts_oom_kills: bool = False
    kills_at_once: bool = False
    freezes: bool = False
    reclaims: bool = False
    pressure: bool = False
    delegated: "frozenset[str]" = frozenset()


def try_limits(layout: Layout) -> Trial:
    """Make a cgroup, limit its memory, look at what it can do, and remove it.

    Never raises for what this host cannot do; that is told in the result.
    """
    try:
        wanted = hierarchies_for(layout, ("memory",))
        parent = find_parent(layout, wanted, None)
        number = 1
        while True:
            name = f"doctor-{os.getpid()}-{number}"
            try:
                group = Cgroup.create(name, memory=_LIMIT, swap=UNLIMITED, parent=parent or "/")
                break
            except CgroupError as e:
                if not isinstance(e, FileExistsError):
                    raise
                number += 1
    except (ClimitsError, OSError) as e:
        placement.release_parents()
        return Trial(
            error=str(e), hint=getattr(e, "hint", None), refused=isinstance(e, PermissionError)
        )
    try:
        return _look(group, layout)
    except ClimitsError as e:
        return Trial(path=group.path, error=str(e), hint=e.hint)
    finally:
        group.remove()
        placement.release_parents()


def _look(group: Cgroup, layout: Layout) -> Trial:
    tracker, memory = group.tracker.directory, group.memory
    kept = memory.max  # it was read back when it was set, too
    error = None if kept == _LIMIT else f"{memory.directory.path}: the limit was not kept: {kept}"
    return Trial(
        path=group.path,
        error=error,
        swap_error=_try_swap(group),
        peak=memory.usage().peak is not None,
        counts_oom_kills=memory.events().oom_kill is not None,
        kills_at_once=tracker.has("cgroup.kill"),
        freezes=tracker.has("cgroup.freeze") or tracker.has("freezer.state"),
        reclaims=_can_reclaim(group),
        pressure=bool(tracker.read_optional("memory.pressure")),
        delegated=_delegated(group, layout),
    )


def _try_swap(group: Cgroup) -> "str | None":
    try:
        group.memory.swap_max = _SWAP
        kept = group.memory.swap_max
    except ClimitsError as e:
        return str(e)
    return None if kept in (_SWAP, None) else f"{group.path}: the swap limit was not kept: {kept}"


def _can_reclaim(group: Cgroup) -> bool:
    try:
        fd, _ = group.memory.open_reclaim(4096)
    except (UnsupportedError, CgroupError):
        return False
    os.close(fd)
    return True


def _delegated(group: Cgroup, layout: Layout) -> frozenset[str]:
    """Controllers that a cgroup beside this one could have."""
    found: set[str] = set()
    for hierarchy in layout.hierarchies:
        if not hierarchy.delegates or os.geteuid() == 0:  # root hands down what is wanted
            found |= hierarchy.controllers
            continue
        # What the highest cgroup that is ours has can be handed down from there.
        path = os.path.dirname(hierarchy.directory_path(group.path))
        while _is_ours(os.path.dirname(path)):
            path = os.path.dirname(path)
        try:
            directory = Directory(path)
        except CgroupError:
            continue
        found.update(directory.controllers())
        directory.close()
    return frozenset(found)


def _is_ours(path: str) -> bool:
    return os.access(f"{path}/cgroup.subtree_control", os.W_OK)
