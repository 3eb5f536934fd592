"""What a cgroup really uses: its charge taken apart, and beside it what its processes show.

Three figures are held to be "the memory of" a cgroup and never agree: what is charged to it, the
sum of what memory.stat tells by kind, and the resident sizes of its processes.
"""

from ..cgroup.files import Directory, walk_paths
from ..cgroup.layout import Layout
from ..errors import CgroupError
from ..linux import proc
from ..records import Record
from ..units import UNLIMITED
from .sampler import Sample
from .text import size, wrapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    Limit = int | float


class RealUsage(Record):
    """One cgroup's memory, told in three ways; bytes.

    Attributes:
        path: of the cgroup.
        max: its own limit, or UNLIMITED.
        limited_by: path of the nearest cgroup above that has a limit, where this one has none.
        limit_above: the limit of that one.
        current: what is charged to it, which is what a limit is held against.
        anon, file, shmem, kernel: by kind; file without shmem.
        rest: what is charged and not told by kind: charged ahead, sockets, not yet counted.
        swap: on top of `current`.
        real: anon, file, shmem and swap together: on v1 rss + cache + swap.
        resident: of all its processes, as ps and top tell it (RES).
        processes: how many those are.
        words: what the kernel calls these figures.
    """

    path: str
    max: "Limit | None" = None
    limited_by: "str | None" = None
    limit_above: "Limit | None" = None
    current: "int | None" = None
    anon: "int | None" = None
    file: "int | None" = None
    shmem: "int | None" = None
    kernel: "int | None" = None
    rest: "int | None" = None
    swap: "int | None" = None
    real: "int | None" = None
    resident: "int | None" = None
    processes: int = 0
    words: "dict[str, str] | None" = None


def real_usage(layout: Layout, sample: Sample) -> RealUsage:
    """Take the usage of a cgroup apart.

    Raises:
        UnsupportedError: no mounted hierarchy has the memory controller.
        CgroupError: the cgroup was removed, or has no memory controller.
    """
    hierarchy = layout.holding("memory")
    top = Directory(hierarchy.directory_path(sample.path))
    words = hierarchy.memory(top).words()
    pids = []
    for path, _, _ in walk_paths(top.path):
        try:
            pids += Directory(path).pids()
        except CgroupError:
            continue  # removed meanwhile, or not ours to read, or threaded: then told above it
    facts = [facts for pid in pids if (facts := proc.summary(pid)) is not None and not facts[5]]
    kinds = (sample.anon, sample.file, sample.shmem, sample.kernel)
    by_kind = sum(kind or 0 for kind in kinds)
    limited_by, above = _limit_above(layout, sample)
    return RealUsage(
        path=sample.path,
        max=sample.max,
        limited_by=limited_by,
        limit_above=above,
        current=sample.current,
        anon=sample.anon,
        file=sample.file,
        shmem=sample.shmem,
        kernel=sample.kernel,
        # The root is charged nothing: v1 adds up its anon and file, v2 tells no figure.
        # Source: mm/memcontrol.c (mem_cgroup_usage)
        rest=None if sample.current is None or sample.path == "/" else sample.current - by_kind,
        swap=sample.swap,
        real=by_kind - (sample.kernel or 0) + (sample.swap or 0),
        resident=sum(fact[4] for fact in facts),
        processes=len(facts),
        words=words,
    )


def _limit_above(layout: Layout, sample: Sample) -> "tuple[str | None, Limit | None]":
    """The lowest limit of the cgroups above one that has none of its own."""
    path, found = sample.path, []
    hierarchy = layout.holding("memory")
    while sample.max == UNLIMITED and path != "/":
        path = path.rpartition("/")[0] or "/"
        try:
            limit = hierarchy.memory(Directory(hierarchy.directory_path(path))).limits().max
        except CgroupError:
            continue
        if limit is not None and limit != UNLIMITED:
            found.append((limit, path))
    limit, where = min(found, default=(None, None))
    return where, limit


def explain(usage: RealUsage, name: str) -> list[str]:
    """The same for people, at most 100 columns wide."""
    words = usage.words or {}
    limit = words.get("max", "")
    if usage.limited_by is not None:
        limit = f"none of its own; {usage.limited_by} has {size(usage.limit_above)} for all in it"
    out = [name, ""]
    for what, value, told in (
        ("limit", usage.max, limit),
        ("charged", usage.current, f"{words.get('current')}: what the limit is held against"),
        (None, None, ""),
        ("anon", usage.anon, f"{words.get('anon')}: heap, stacks, private maps"),
        ("file", usage.file, f"{words.get('file')}: page cache; most of it can be given back"),
        ("shmem", usage.shmem, "shmem: shared memory and tmpfs; leaves RAM by swapping only"),
        ("kernel", usage.kernel, f"{words.get('kernel')}: page tables, stacks, inodes, ..."),
        ("rest", usage.rest, "charged ahead for each CPU, sockets, not yet counted by kind"),
        (None, None, ""),
        ("swap", usage.swap, "on top of what is charged"),
    ):
        out.append(f"{_signed(value):>10}  {what:8} {told}".rstrip() if what else "")
    out.append("")
    if usage.path == "/":
        out += wrapped(
            "The root is charged nothing, and has no limit: its figures are those of the whole "
            f"machine, and {words.get('current')} (where it has one) is anon and file added up."
        )
    elif usage.real is not None and usage.current is not None:
        out += wrapped(
            f"{words.get('real')} = {size(usage.real)}, {words.get('current')} = "
            f"{size(usage.current)}: the latter has kernel memory in it, and what each CPU has "
            "charged ahead (64 pages at a time), but no swap; and memory.stat is counted a "
            "little later."
        )
    if usage.resident is not None:
        processes = f"{usage.processes} process{'' if usage.processes == 1 else 'es'}"
        out += wrapped(
            f"RES of {processes} = {size(usage.resident)}: pages that processes share count for "
            "each of them, and pages that another cgroup was first to touch (libraries, say) are "
            "charged there; page cache, tmpfs files that nobody maps and kernel memory belong to "
            "no process."
        )
    return out


def _signed(value: "Limit | None") -> str:
    return f"-{size(-value)}" if value is not None and value < 0 else size(value)
