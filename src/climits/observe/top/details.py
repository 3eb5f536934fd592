"""All that is known of one cgroup, and the processes in it."""

from ...cgroup.freezer import listed_pids
from ...cgroup.group import Cgroup
from ...errors import CgroupError, CgroupGoneError, ClimitsError
from ...linux import proc
from ...records import MemoryEvents, Record
from ...units import UNLIMITED
from ..catalog import CgroupFile, catalog
from ..discover import owner_of
from ..text import count, printable, size
from ..values import describe_value
from .meanings import meaning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...cgroup.files import Directory
    from ...cgroup.placement import Part

#: Processes that are looked at; looking at one costs 20 us.
MOST = 512
_STAT = "memory.stat"
#: States in which nothing is amiss.
RUNNING, EMPTY = "running", "no process is in it"


class Process(Record):
    """One process.

    Attributes:
        pid: of it.
        resident: bytes in RAM, what it shares with others included.
        threads: how many.
        name: its first 15 bytes.
        below: the cgroup below the one looked at that it is in, or "".
    """

    pid: int
    resident: int
    threads: int
    name: str
    below: str


class Details(Record):
    """One cgroup.

    Attributes:
        path: of it.
        error: why nothing can be told, or "".
        facts: (what, text), for people.
        stat: (key, value, meaning) of the lines of memory.stat that are not 0.
        zeros: how many are.
        processes: in it and below, the largest first; may be empty.
        are_all: False where there are more than are told.
    """

    path: str
    error: str = ""
    facts: "list[tuple[str, str]]" = []  # noqa: RUF012 - records are frozen
    stat: "list[tuple[str, str, str]]" = []  # noqa: RUF012
    zeros: int = 0
    processes: "list[Process]" = []  # noqa: RUF012
    are_all: bool = True


class Reader:
    """Reads the details of one cgroup again and again, which it holds open."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._group: Cgroup | None = None

    def read(self) -> Details:
        """Look once; never raises for what the kernel says."""
        try:
            if self._group is None:
                self._group = Cgroup.open(self.path)
            return self._read(self._group)
        except CgroupGoneError:
            return Details(path=self.path, error="the cgroup was removed")
        except ClimitsError as e:
            return Details(path=self.path, error=str(e))

    def close(self) -> None:
        """Give the cgroup back."""
        if self._group is not None:
            self._group.close()
            self._group = None

    def _read(self, group: Cgroup) -> Details:
        part = group.part("memory")
        main = part or group.tracker
        if main.directory.is_gone():
            raise CgroupGoneError("the cgroup was removed")
        stat, zeros = _stat(part) if part is not None else ([], 0)
        processes, are_all = _processes(main.directory)
        facts = [*_facts(group), ("state", _state(group) or (RUNNING if processes else EMPTY))]
        return Details(
            path=self.path, facts=facts, stat=stat, zeros=zeros, processes=processes,
            are_all=are_all,
        )  # fmt: skip


def _facts(group: Cgroup) -> "list[tuple[str, str]]":
    facts = []
    if group.part("memory") is not None:
        memory = group.memory
        usage, limits = memory.usage(), memory.limits()
        try:
            events = memory.all_events()
        except CgroupGoneError:
            raise
        except CgroupError:  # the root of v2 has none
            events = MemoryEvents()
        kinds = [
            f"{word} {size(value)}"
            for word, value in (
                ("anon", usage.anon), ("page cache", usage.file), ("shmem", usage.shmem),
                ("kernel", usage.kernel),
            )
            if value is not None
        ]  # fmt: skip
        in_use = size(usage.current)
        facts.append(("in use", f"{in_use}: {', '.join(kinds)}" if kinds else in_use))
        marks = [
            f"{word} {'none' if value == UNLIMITED else size(value)}"
            for word, value in (
                ("max", limits.max), ("high", limits.high), ("low", limits.low),
                ("min", limits.min), ("swap", limits.swap_max),
            )
            if value is not None
        ]  # fmt: skip
        if marks:
            facts.append(("limits", ", ".join(marks)))
        more = [f"peak {size(usage.peak)}"] if usage.peak is not None else []
        if usage.swap_current is not None:
            more.append(f"swap {size(usage.swap_current)}")
        for word, number in (("limit hits", events.max), ("OOM kills", events.oom_kill)):
            if number is not None:
                more.append(f"{word} {count(number)}")
        if more:
            facts.append(("so far", ", ".join(more)))
    facts += _pressure(group)
    return facts


def _pressure(group: Cgroup) -> "list[tuple[str, str]]":
    data = group.tracker.directory.read_many(("memory.pressure",))[0]
    file = _catalogued("memory.pressure", group.tracker)
    if not data or file is None:
        return []
    lines = describe_value(file, data)
    return [("pressure" if i == 0 else "", line) for i, line in enumerate(lines)]


def _state(group: Cgroup) -> str:
    """Why its processes do not run, or ""."""
    words = []
    for part in group.parts:
        if part.hierarchy.born_inside or "freezer" in part.hierarchy.controllers:
            freezer = part.hierarchy.freezer(part.directory)
            try:
                if freezer.is_frozen():
                    words.append("frozen")
                elif freezer.is_asked():
                    words.append("freezing")
            except CgroupError:
                continue  # the root of a hierarchy has no such file
    if group.part("memory") is not None and group.memory.under_oom():
        words.append("asleep at the limit")
    return ", ".join(dict.fromkeys(words))


_FILES: "dict[tuple[str, str], CgroupFile]" = {}


def _catalogued(name: str, part: "Part") -> "CgroupFile | None":
    if not _FILES:
        _FILES.update({(file.name, file.version): file for file in catalog()})
    return _FILES.get((name, part.hierarchy.version_name))


def _stat(part: "Part") -> "tuple[list[tuple[str, str, str]], int]":
    data = part.directory.read_optional(_STAT)
    file = _catalogued(_STAT, part)
    if data is None or file is None:
        return [], 0
    lines = data.split(b"\n")
    # v1 tells each figure for the cgroup alone, and with total_ for those below it too.
    totals = {line.partition(b" ")[0].removeprefix(b"total_") for line in lines
              if line.startswith(b"total_")}  # fmt: skip
    out, zeros = [], 0
    for line in lines:
        key, _, value = line.partition(b" ")
        if not value or (key in totals):
            continue
        if value.strip() == b"0":
            zeros += 1
            continue
        word = key.decode(errors="replace")
        text = describe_value(file, line)[0].removeprefix(word).strip()
        out.append((word.removeprefix("total_"), text.partition(" (")[0], meaning(word)))
    return out, zeros


def _processes(directory: "Directory") -> "tuple[list[Process], bool]":
    found: dict[int, Process] = {}
    for pid, below in _listed(directory):
        if pid == 0 or pid in found:
            continue
        if len(found) >= MOST:
            return _by_size(found), False
        facts = proc.summary(pid)
        if facts is not None and not facts[5]:
            found[pid] = Process(
                pid=pid, resident=facts[4], threads=facts[3], name=printable(facts[0]), below=below
            )
    return _by_size(found), True


def _by_size(found: "dict[int, Process]") -> "list[Process]":
    return sorted(found.values(), key=lambda p: (-p.resident, p.pid))


def _listed(directory: "Directory") -> "Iterator[tuple[int, str]]":
    top = directory.path.rstrip("/")
    for each in directory.walk():
        try:
            pids = listed_pids(each)
        except CgroupError:
            continue
        for pid in pids:
            yield pid, each.path[len(top) :].lstrip("/")


def owner_line(path: str) -> str:
    """Whose cgroup that is, as far as its path tells; may be empty."""
    owner = owner_of(path)
    names = ("unit", "pod", "container", "job", "user")
    words = [f"{name} {value}" for name in names if (value := getattr(owner, name))]
    return ", ".join([owner.runtime, *words]) if owner.runtime else ""
