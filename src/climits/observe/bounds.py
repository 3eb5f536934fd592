"""Every limit on the way from a cgroup up to the root, and the one that binds first.

A cgroup never gets more than the cgroups above it: the kernel charges each of them on the way up
and stops at the first that is full.  Files are known here by their names alone, each of which
belongs to one version: what a hierarchy does not have is skipped.

Source: mm/page_counter.c (page_counter_try_charge), kernel/cgroup/pids.c (pids_try_charge),
Documentation/admin-guide/cgroup-v2.rst.
"""

from ..cgroup.files import Directory
from ..cgroup.memory import parse_limit
from ..errors import CgroupError
from ..records import Record
from ..units import UNLIMITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cgroup.layout import Hierarchy

    Limit = int | float


class Level(Record):
    """One cgroup on the way up.

    Attributes:
        path: of the cgroup.
        limit: bytes (memory), tasks (pids) or CPUs' worth of time (cpu), or UNLIMITED; text such as
            0-1 for cpuset; None where the cgroup has no such file, or leaves it to its parent.
        usage: what is charged there against it, in the same unit; None where it is not told.
    """

    path: str
    limit: "Limit | str | None" = None
    usage: "int | None" = None


class Bound(Record):
    """What holds for the cgroup in the end, of one kind of limit.

    Attributes:
        kind: memory, high, swap (v2), memory+swap (v1), pids, cpu or cpuset.
        limit: the tightest on the way up, as in Level; UNLIMITED where nothing limits.
        path: the cgroup where it is set; None where nothing limits.
        usage: what is in use there.
        closest: the cgroup with the least room left now, which binds first if nothing else changes.
        left: how much room that is; below 0 where a limit was lowered below usage.
        levels: list[Level], from the cgroup upwards.
    """

    kind: str
    limit: "Limit | str"
    path: "str | None" = None
    usage: "int | None" = None
    closest: "str | None" = None
    left: "int | None" = None
    levels: "list[Level]"


#: (kind, controller, files of the limit, files of the usage), of each version the first found.
_COUNTERS = (
    (
        "memory",
        "memory",
        ("memory.max", "memory.limit_in_bytes"),
        ("memory.current", "memory.usage_in_bytes"),
    ),
    ("high", "memory", ("memory.high",), ("memory.current",)),
    ("swap", "memory", ("memory.swap.max",), ("memory.swap.current",)),
    (
        "memory+swap",
        "memory",
        ("memory.memsw.limit_in_bytes",),
        ("memory.memsw.usage_in_bytes",),
    ),
    ("pids", "pids", ("pids.max",), ("pids.current",)),
)


def way_up(hierarchy: "Hierarchy", path: str) -> "list[tuple[str, Directory]]":
    """The cgroup and those above it that can be seen, each with its path; ends at the top.

    Those that are removed meanwhile are left out.  Empty where it lies outside of what can be seen.
    """
    found: list[tuple[str, Directory]] = []
    if is_outside(hierarchy, path):
        return found
    while True:
        try:
            found.append((path, Directory(hierarchy.directory_path(path))))
        except CgroupError:
            pass
        if path in ("/", hierarchy.root):
            return found
        path = path.rpartition("/")[0] or "/"


def is_outside(hierarchy: "Hierarchy", path: str) -> bool:
    """Whether a cgroup has no directory here: it, or the mount, is of another cgroup namespace.

    Source: cgroup_namespaces(7): such paths start with ``/..``.
    """
    return ".." in path.split("/") or ".." in hierarchy.root.split("/")


def sees_the_root(top: Directory) -> bool:
    """Whether the topmost cgroup we see is the hierarchy's root.

    It is not in a cgroup namespace or below a bind mount: there are limits above it then that
    cannot be seen.

    Source: kernel/cgroup/cgroup.c, cgroup-v1.c: CFTYPE_NOT_ON_ROOT, CFTYPE_ONLY_ON_ROOT.
    """
    if top.has("notify_on_release"):
        return top.has("release_agent")
    return not top.has("cgroup.type")


def bounds(hierarchies: "list[tuple[Hierarchy, str]]") -> list[Bound]:
    """The limits of a process or cgroup.

    Args:
        hierarchies: each with the cgroup's path in it.
    """
    found = []
    for hierarchy, path in hierarchies:
        levels = way_up(hierarchy, path)
        if not levels:
            continue
        for kind, controller, files, usage_files in _COUNTERS:
            if controller in hierarchy.controllers:
                bound = _counter(kind, files, usage_files, levels)
                if bound is not None:
                    found.append(bound)
        if "cpu" in hierarchy.controllers:
            found.append(_cpu(levels))
        if "cpuset" in hierarchy.controllers:
            found.append(_cpuset(levels))
    order = [kind for kind, *_ in _COUNTERS] + ["cpu", "cpuset"]
    return sorted(found, key=lambda bound: order.index(bound.kind))


def _counter(
    kind: str,
    files: tuple[str, ...],
    usage_files: tuple[str, ...],
    levels: "list[tuple[str, Directory]]",
) -> "Bound | None":
    out = []
    names = (*files, *usage_files, "memory.use_hierarchy")
    for number, (path, directory) in enumerate(levels):
        try:
            *data, hierarchical = directory.read_many(names)
        except CgroupError:
            continue  # removed while we look
        # Before 5.11 a v1 cgroup could be left out of its children's accounts.
        if number and hierarchical is not None and hierarchical.strip() == b"0":
            break
        limit = next((parse_limit(d) for d in data[: len(files)] if d), None)
        usage = next((int(d) for d in data[len(files) :] if d), None)
        out.append(Level(path=path, limit=limit, usage=usage))
    if all(level.limit is None for level in out):
        return None
    return _tightest(kind, out)


def _tightest(kind: str, levels: list[Level]) -> Bound:
    """Of equal limits the lowest binds, since it is charged first."""
    # In the order of charging, which min() keeps among equals.
    set_here = [
        (level.limit, level)
        for level in levels
        if isinstance(level.limit, (int, float)) and level.limit != UNLIMITED
    ]
    if not set_here:
        return Bound(kind=kind, limit=UNLIMITED, levels=levels)
    limit, where = min(set_here, key=lambda pair: pair[0])
    room = [
        (int(limit - level.usage), level) for limit, level in set_here if level.usage is not None
    ]
    left, closest = min(room, key=lambda pair: pair[0]) if room else (None, None)
    return Bound(
        kind=kind,
        limit=limit,
        path=where.path,
        usage=where.usage,
        closest=None if closest is None else closest.path,
        left=left,
        levels=levels,
    )


def _cpu(levels: "list[tuple[str, Directory]]") -> Bound:
    out = []
    for path, directory in levels:
        try:
            v2, quota, period = directory.read_many(
                ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")
            )
        except CgroupError:
            continue
        if v2:
            quota, period = v2.split()
        level = Level(path=path)
        if quota and period:
            unlimited = quota == b"max" or int(quota) < 0
            level = Level(path=path, limit=UNLIMITED if unlimited else int(quota) / int(period))
        out.append(level)
    return _tightest("cpu", out)


def _cpuset(levels: "list[tuple[str, Directory]]") -> Bound:
    """What is effective below is the set of the cgroup that narrowed it last on the way down."""
    out, effective = [], []
    for path, directory in levels:
        try:
            own, v2, v1 = directory.read_many(
                ("cpuset.cpus", "cpuset.cpus.effective", "cpuset.effective_cpus")
            )
        except CgroupError:
            continue
        cpus = (own or b"").decode().strip()
        out.append(Level(path=path, limit=cpus or None))
        effective.append((v2 or v1 or own or b"").decode().strip())
    known = [(cpus, level) for cpus, level in zip(effective, out, strict=True) if cpus]
    if not known:
        return Bound(kind="cpuset", limit=UNLIMITED, levels=out)
    limit = known[0][0]
    narrowed = [level for cpus, level in known if cpus == limit][-1]
    if narrowed is known[-1][1]:  # the topmost has no more: nothing limits
        return Bound(kind="cpuset", limit=limit, levels=out)
    return Bound(kind="cpuset", limit=limit, path=narrowed.path, levels=out)
