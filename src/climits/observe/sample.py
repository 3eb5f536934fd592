"""One cgroup at one moment, and the descriptors from which such moments are read."""

import os

from ..cgroup.files import Directory
from ..errors import CgroupError, CgroupGoneError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Raw = list[bytes | None]
    #: Name of a figure: what makes it of the files' contents.
    Readers = dict[str, Callable[[Raw], Any]]

    def _figure() -> Any: ...

else:

    class _figure:
        """A figure that is worked out at its first use, and is a plain attribute from then on."""

        def __set_name__(self, owner, name):
            self.name = name

        def __get__(self, sample, owner):
            if sample is None:
                return None
            read = sample._readers.get(self.name)
            value = sample.__dict__[self.name] = None if read is None else read(sample._raw)
            return value


#: The kernel keeps memory.stat, the longest of them, within this.
LENGTH = 4096


class Sample:
    """One cgroup at one moment.

    Figures are worked out at their first use; None is what the kernel does not report.  They count
    the cgroups below too, but for `limit_hits` and `oom_kill` on cgroup v1.

    Attributes:
        path: of the cgroup.
        time: monotonic clock, seconds.
        current, peak: everything charged, and the highest that was; bytes.
        anon, shmem, kernel, swap: by kind, bytes.
        file: page cache without shmem, bytes.
        max, high, swap_max: its own limits, bytes or UNLIMITED.
        limit_hits: times that it ran into its limit since it was made.
        oom_kill: processes that the kernel OOM-killed in it since it was made.
        pressure_some, pressure_full: time lost to a shortage of memory (PSI), seconds.
        cpu: CPU time, user and system, seconds.
        pids: tasks.
        stat: memory.stat in the kernel's own words.
    """

    path: str
    time: float
    current: "int | None" = _figure()
    peak: "int | None" = _figure()
    anon: "int | None" = _figure()
    file: "int | None" = _figure()
    shmem: "int | None" = _figure()
    kernel: "int | None" = _figure()
    swap: "int | None" = _figure()
    max: "int | float | None" = _figure()
    high: "int | float | None" = _figure()
    swap_max: "int | float | None" = _figure()
    limit_hits: "int | None" = _figure()
    oom_kill: "int | None" = _figure()
    pressure_some: "float | None" = _figure()
    pressure_full: "float | None" = _figure()
    cpu: "float | None" = _figure()
    pids: "int | None" = _figure()
    stat: "dict[str, int] | None" = _figure()

    def __init__(self, path: str, time: float, raw: "Raw", readers: "Readers") -> None:
        self.path, self.time = path, time
        self._raw, self._readers = raw, readers

    def __repr__(self) -> str:
        return f"<Sample of {self.path}: {self.current} bytes>"


class Part:
    """One cgroup's files in one hierarchy."""

    __slots__ = ("directory", "fds", "files", "inode", "tasks")

    def __init__(self, directory: str, inode: int, tasks: str) -> None:
        self.directory, self.inode = directory, inode
        self.tasks = tasks  # the file that lists them
        self.files: list[str] = []
        self.fds: list[int] = []

    def close(self) -> None:
        """Give the descriptors back; may be called again."""
        for fd in self.fds:
            os.close(fd)
        self.fds = []


class Held:
    """One cgroup: its parts, and all their descriptors in a row; none where they are not kept."""

    __slots__ = ("fds", "inodes", "parts", "readers")

    def __init__(self, parts: list[Part], inodes: list[int], readers: "Readers") -> None:
        self.parts, self.inodes, self.readers = parts, inodes, readers
        self.fds = [fd for part in parts for fd in part.fds]

    def close(self) -> None:
        """Give the descriptors back; may be called again."""
        self.fds = []
        for part in self.parts:
            part.close()


def reader(
    function: "Callable[..., Any]", places: "list[int | None]"
) -> "Callable[[list[bytes | None]], Any]":
    """What takes the contents of some files out of all, and makes a figure of them."""
    first = places[0]
    assert first is not None

    def one(raw: "Raw") -> "Any":
        data = raw[first]
        return None if data is None else function(data)

    def several(raw: "Raw") -> "Any":
        if raw[first] is None:
            return None
        return function(*(None if place is None else raw[place] for place in places))

    return one if len(places) == 1 else several


def read_each(held: Held) -> "Raw":
    """What can still be read of a cgroup that is gone from some hierarchy.

    Empty where it is gone from the first, which has most of the figures.
    """
    out: Raw = []
    for part in held.parts:
        for fd in part.fds:
            try:
                out.append(os.pread(fd, LENGTH, 0))
            except OSError:
                out.append(None)
        if not any(out):
            return []
    return out


def read_anew(held: Held) -> "Raw":
    """Open, read and close; empty where the cgroup is gone, or was and is now another."""
    out: Raw = []
    for number, part in enumerate(held.parts):
        try:
            directory = Directory(part.directory)
            if os.fstat(directory.fd).st_ino != part.inode:
                raise CgroupGoneError(f"the cgroup was removed: {part.directory}")
            out += directory.read_many(tuple(part.files))
        except CgroupError as e:
            if not number and isinstance(e, CgroupGoneError):
                return []
            out += [None] * len(part.files)
    return out
