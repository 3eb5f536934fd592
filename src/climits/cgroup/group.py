"""A cgroup: one name in each hierarchy that its controllers live in."""

import os

from ..errors import CgroupError, CgroupExistsError, CgroupGoneError, UnsupportedError
from ..records import Pressure
from . import homes, ownership, placement
from .files import Directory
from .layout import Hierarchy, Layout, current
from .limits import Limits, make_limits
from .naming import check_name, check_path
from .placement import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .freezer import Freezer
    from .memory import Memory

    Size = str | int | float
    Tracked = tuple[Pressure | None, tuple[float, float] | None]


_TRACKED = ("memory.pressure", "cpu.stat", "cgroup.events")


class Cgroup:
    """A cgroup that spans the hierarchies its controllers live in.

    ``Cgroup.create`` makes one, ``Cgroup.open`` takes one that exists.  As a context manager it is
    killed and removed at the end, if it was made here.

    Attributes:
        path: such as /climits/web.
        parts: list[Part], one for each hierarchy.
        tracker: the part through which its processes are followed, frozen and killed.
    """

    def __init__(self, path: str, parts: list[Part], tracker: "Part | None" = None) -> None:
        self.path = path
        self.parts = parts
        self.tracker = tracker or self._find_tracker()
        self._memory: Memory | None = None

    def __repr__(self) -> str:
        return f"<Cgroup {' '.join(map(str, self.parts))}>"

    @property
    def name(self) -> str:
        """The last component of the path."""
        return self.path.rpartition("/")[2]

    # -- making and opening ------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        name: str,
        *,
        memory: "Size | None" = None,
        swap: "Size | None" = None,
        high: "Size | None" = None,
        low: "Size | None" = None,
        min: "Size | None" = None,
        pids: "int | None" = None,
        cpus: "float | None" = None,
        cpuset: "str | None" = None,
        parent: "str | None" = None,
    ) -> "Cgroup":
        """Make a cgroup with limits.

        Args:
            name: one path component.
            memory: hard limit: bytes, or text such as "60M", "50%" or "max".
            swap: swap on top; 0 when `memory` is given and this is not.
            high, low, min: further marks, as in cgroup v2.
            pids: processes and threads at most.
            cpus: CPUs' worth of time, such as 1.5.
            cpuset: CPUs to run on, such as "0-1".
            parent: where to make it; "/climits" as root.

        Raises:
            InvalidValueError: a size or name that means nothing.
            CgroupExistsError: the name is in use.
            UnsupportedError: this host cannot enforce one of the limits.
            CgroupError: the kernel refused.
        """
        check_name(name)
        limits = make_limits(
            memory=memory, swap=swap, high=high, low=low, min=min, pids=pids, cpus=cpus,
            cpuset=cpuset, parent=parent,
        )  # fmt: skip
        layout = current()
        wanted = hierarchies_for(layout, limits.controllers())
        return cls.make(name, limits, wanted, find_parent(layout, wanted, parent))

    @classmethod
    def make(
        cls,
        name: str,
        limits: Limits,
        hierarchies: "list[tuple[Hierarchy, tuple[str, ...]]]",
        parent: str,
    ) -> "Cgroup":
        """As create, with everything already read and decided."""
        path = f"{parent}/{name}"
        try:
            parts = placement.make(hierarchies, parent, name)
        except CgroupExistsError:
            from .leftovers import make_way

            make_way(path, hierarchies)
            parts = placement.make(hierarchies, parent, name)
        group = cls(path, parts)
        try:
            group.set_limits(limits, untouched=True)
        except BaseException:
            group.remove()
            placement.release_parents()
            raise
        return group

    @classmethod
    def make_new(
        cls,
        names: "Callable[[], str]",
        limits: Limits,
        hierarchies: "list[tuple[Hierarchy, tuple[str, ...]]]",
        parent: str,
    ) -> "Cgroup":
        """As make, under the first of the names that is free."""
        while True:
            try:
                return cls.make(names(), limits, hierarchies, parent)
            except CgroupExistsError:
                continue  # of a process with our pid in another pid namespace

    @classmethod
    def open(cls, path: str) -> "Cgroup":
        """Take a cgroup that exists, in every hierarchy that has it.

        Args:
            path: a cgroup path such as /jobs/web, or a directory below a mount point.

        Raises:
            CgroupGoneError: no hierarchy has it.
        """
        layout = current()
        path = check_path(path, layout, what="cgroup")
        parts = []
        # Memory last: its part is made first, so one that is just being made is not without it.
        for hierarchy in sorted(layout.hierarchies, key=lambda h: "memory" in h.controllers):
            try:
                directory = Directory(hierarchy.directory_path(path))
            except CgroupGoneError:
                continue
            parts.append(Part(hierarchy, directory, made=False))
        parts.sort(key=lambda part: layout.hierarchies.index(part.hierarchy))
        if not parts:
            raise CgroupGoneError(f"no such cgroup: {path}", path=path)
        return cls(path, parts)

    # -- its parts ---------------------------------------------------------------------------

    def part(self, controller: str) -> "Part | None":
        """The part that a controller lives in, or None."""
        for part in self.parts:
            if controller in part.hierarchy.controllers:
                return part
        return None

    def _find_tracker(self) -> Part:
        for part in self.parts:
            if part.hierarchy.born_inside:
                return part
        return self.part("freezer") or self.parts[0]

    @property
    def memory(self) -> "Memory":
        """The memory controller.

        Raises:
            UnsupportedError: this cgroup has none.
        """
        if self._memory is None:
            part = self.part("memory")
            if part is None:
                raise UnsupportedError(f"{self.path}: not in the memory controller's hierarchy")
            self._memory = part.hierarchy.memory(part.directory)
        return self._memory

    @property
    def freezer(self) -> "Freezer":
        """What stops and kills its processes in the part through which they are followed."""
        part = self.tracker
        return part.hierarchy.freezer(part.directory)

    # -- limits ------------------------------------------------------------------------------

    def writes(self, limits: Limits) -> "list[tuple[Part, str, str]]":
        """The writes beside memory's: (part, file, text), in order."""
        out: list[tuple[Part, str, str]] = []
        if limits.pids is not None:
            out.append((self._need("pids"), "pids.max", str(limits.pids)))
        if limits.cpus is not None:
            part = self._need("cpu")
            out += [(part, *w) for w in part.hierarchy.cpu(part.directory).writes(limits.cpus)]
        if limits.cpuset is not None:
            part = self._need("cpuset")
            out += [(part, *w) for w in part.hierarchy.cpuset(part.directory).writes(limits.cpuset)]
        return out

    def _need(self, controller: str) -> Part:
        part = self.part(controller)
        if part is None:
            raise UnsupportedError(f"{self.path}: not in the {controller} controller's hierarchy")
        return part

    def set_limits(self, limits: Limits, *, force: bool = False, untouched: bool = False) -> None:
        """Set limits; memory's are read back.  See Memory.set."""
        if self.part("memory"):
            self.memory.set(limits.memory, force=force, untouched=untouched)
        for part, file, text in self.writes(limits):
            try:
                part.directory.write(file, text)
            except CgroupError as e:
                if file == "cpuset.cpus" and e.hint is None:
                    upper = Directory(os.path.dirname(part.directory.path))
                    e.hint = part.hierarchy.cpuset(part.directory).refused(upper)
                raise

    def go_on(self, paused: "bool | None" = None) -> bool:
        """Let a program that was paused at its limit go on, if it has the memory to now.

        Args:
            paused: whether climits froze it at its limit; None: what its cgroup's mark says.

        Returns:
            Whether it was this that let it go on; on v1 the kernel itself does.
        """
        if paused is None:
            paused = self.memory.was_paused()
        if not paused or self.memory.is_stuck():
            return False
        self.thaw()
        self.memory.mark_paused(False)
        return True

    def get(self, name: str) -> str:
        """A parameter by its name, such as memory.max; see params.read."""
        from .params import read

        return read(self, name)

    def set(self, wishes: "dict[str, str | int]", *, force: bool = False) -> None:
        """Set parameters by their names, such as {"memory.max": "64M"}; see setting.write."""
        from .setting import write

        write(self, wishes, force=force)

    # -- processes ---------------------------------------------------------------------------

    def pids(self) -> list[int]:
        """Process ids in it, its children left out; may be empty."""
        return self.tracker.directory.pids()

    def attach(self, pid: int) -> None:
        """Move a running process, with all its threads, into it, in all hierarchies or in none.

        What it has allocated so far stays charged to where it was.  To start a program inside,
        use climits.run or climits.Process.

        Raises:
            CgroupError: the kernel refused; the process is where it was.
        """
        from .moving import Move, check_target

        for part in self.parts:
            check_target(part)
        Move().move(pid, self.parts)

    def attach_thread(self, tid: int) -> None:
        """Move one thread into it; on v2 only between the cgroups of a threaded subtree."""
        from .moving import write_number

        for part in self.parts:
            write_number(part, part.hierarchy.thread_file, tid)

    def join(self) -> None:
        """Move this process into it; call it from the main thread."""
        for part in self.parts:
            part.directory.write(part.hierarchy.join_file, "0")

    def freeze(self, timeout: float = 10.0) -> None:
        """Stop every process in it, and below, and wait until they have stopped.

        Args:
            timeout: seconds to wait at most.

        Raises:
            CgroupError: as stopping.freeze; nothing stays frozen then.
        """
        from .stopping import freeze

        freeze(self, timeout)

    def thaw(self) -> None:
        """Let every process go on."""
        from .stopping import thaw

        thaw(self)

    def kill(self, timeout: float = 30.0) -> int:
        """SIGKILL every process in it and below, and wait until none is left.

        Args:
            timeout: seconds to wait at most.

        Returns:
            How many were killed.

        Raises:
            CgroupTimeoutError: as stopping.kill.
        """
        from .stopping import kill

        return kill(self, timeout)

    # -- looking -----------------------------------------------------------------------------

    def pressure(self) -> "Pressure | None":
        """PSI totals; None where the kernel has none."""
        data = self.tracker.directory.read_optional("memory.pressure")
        if not data:
            return None
        return _pressure(data)

    def cpu_times(self) -> "tuple[float, float] | None":
        """User and system time of all that ran in it, seconds; None where nothing counts it."""
        tracker, counter = self.tracker, self.part("cpuacct")
        for part in (tracker,) if counter is None else (tracker, counter):
            times = part.hierarchy.cpu(part.directory).times()
            if times is not None:
                return times
        return None

    def report(self) -> "tuple[Callable[[], Tracked], bool]":
        """What pressure and cpu_times tell, read now and worked out by a call; whether it may be
        populated."""
        part = self.tracker
        if not part.hierarchy.born_inside:
            known = self.pressure(), self.cpu_times()
            return lambda: known, True
        pressure, cpu, events = part.directory.read_many(_TRACKED)

        def tracked() -> "Tracked":
            from .cpu import stat_times

            return _pressure(pressure) if pressure else None, stat_times(cpu) if cpu else None

        return tracked, events is None or b"populated 0" not in events

    def hold_report(self) -> None:
        """Open what `report`, and memory's, will read: for the time while a program runs."""
        self.memory.hold_report()
        if self.tracker.hierarchy.born_inside:
            self.tracker.directory.hold(_TRACKED)

    # -- the end -----------------------------------------------------------------------------

    def keep(self) -> None:
        """Mark it as no longer ours to clean up: it stays until somebody removes it."""
        for part in self.parts:
            if part.made:
                part.directory.set_mark(ownership.MARK, ownership.KEPT)
                part.made = False

    def remove(self, timeout: float = 10.0) -> None:
        """Remove it, if it was made here or by `open`, with the cgroups below it.

        Args:
            timeout: seconds to wait at most for processes that are about to end.

        Raises:
            CgroupError: processes live in it.
        """
        for part in reversed(self.parts):  # memory's last: see leftovers.sweep
            placement.remove(part, timeout)
        self.close()

    def remove_made(self, *, there: bool = False) -> None:
        """Remove what of it was made here and give the descriptors back.

        What moved itself out of the tracking cgroup alone, and still is in another part, is killed.
        """
        for part in reversed(self.parts):  # memory's last: see leftovers.sweep
            if part.made:
                placement.remove(part, kill=True, there=there)
        self.close()

    def rest(self) -> None:
        """Give the descriptors back until they are needed again; see Directory.rest."""
        for part in self.parts:
            part.directory.rest()

    def close(self) -> None:
        """Give the descriptors back."""
        for part in self.parts:
            part.directory.close()

    def __enter__(self) -> "Cgroup":
        return self

    def __exit__(self, *error: object) -> None:
        if any(part.made for part in self.parts):
            self.kill()
            self.remove()
        self.close()


def _pressure(data: bytes) -> Pressure:
    some, full = data.splitlines()
    return Pressure(
        memory_some=int(some.rpartition(b"=")[2]) / 1e6,
        memory_full=int(full.rpartition(b"=")[2]) / 1e6,
    )


# ---- what create and Process share ---------------------------------------------------------


def hierarchies_for(
    layout: Layout, controllers: tuple[str, ...]
) -> "list[tuple[Hierarchy, tuple[str, ...]]]":
    """The hierarchies a new cgroup spans, each with the controllers wanted of it.

    Those of the controllers, and those that track the program.

    Raises:
        UnsupportedError: a controller is not available.
    """
    known = layout.spans.get(controllers)
    if known is not None:
        return known
    wanted: dict[Hierarchy, tuple[str, ...]] = {}
    for controller in controllers:
        hierarchy = layout.holding(controller)
        wanted[hierarchy] = (*wanted.get(hierarchy, ()), controller)
    for hierarchy in layout.trackers():
        wanted.setdefault(hierarchy, ())
    layout.spans[controllers] = known = list(wanted.items())
    return known


def find_parent(
    layout: Layout,
    hierarchies: "list[tuple[Hierarchy, tuple[str, ...]]]",
    parent: "str | None",
    *,
    lasting: bool = False,
) -> str:
    """The parent that was asked for, or the default one; lasting: see default_parent."""
    if parent is None:
        return homes.default_parent([h for h, _ in hierarchies], lasting=lasting)
    parent = check_path(parent, layout, what="parent")
    return parent.rstrip("/")
