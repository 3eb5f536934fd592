"""Figures of many cgroups, read again and again at the cost of the reads alone.

Each file is opened once and read with pread(2), which makes the kernel write it anew.  What was
read stays bytes until somebody asks for a figure: a thousand cgroups have fifteen thousand of
them, and a screen shows some hundreds.

The price is descriptors, about a dozen a cgroup.  Where the process may not have so many, the
cgroups that are left are opened, read and closed each time.
"""

import errno
import os
import resource
import time

from ..cgroup.figures import figures_of
from ..cgroup.files import Directory, walk_paths
from ..cgroup.layout import Layout, current
from ..errors import CgroupError, CgroupGoneError, CgroupPermissionError, UnsupportedError
from .sample import LENGTH, Held, Part, Sample, read_anew, read_each, reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..cgroup.figures import Figure
    from ..cgroup.layout import Hierarchy
    from .sample import Raw, Readers

__all__ = ["Sample", "Sampler"]

#: Descriptors that are left to the rest of the process.
_RESERVE = 256
#: Where a figure is looked for first; the unified hierarchy knows some of them too.
_ORDER = ("memory", "cpuacct", "pids")
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class Sampler:
    """Reads the figures of cgroups through descriptors that it keeps.

    To be used by one thread at a time.

    Attributes:
        skipped: path: why it cannot be read, or not all of those below it.
    """

    def __init__(
        self, layout: "Layout | None" = None, *, figures: "Iterable[str] | None" = None
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            layout: the hierarchies; those of this host.
            figures: names of those of a Sample that are wanted, the others stay None; all of them.
        """
        self._wanted = None if figures is None else frozenset(figures)
        found = layout or current()
        first = [found.find(name) for name in _ORDER]
        ordered = [hierarchy for hierarchy in (*first, found.unified) if hierarchy]
        self._hierarchies: list[Hierarchy] = list(dict.fromkeys(ordered))
        self._held: dict[str, Held] = {}
        self._gone: set[str] = set()  # found to be so by a sample; to be told by a scan
        self._known: dict[tuple[tuple[int, tuple[str, ...]], ...], Readers] = {}
        self._counted: set[str] = set()  # those whose tasks are counted here
        self._limit: tuple[int, int] | None = None  # RLIMIT_NOFILE's soft limit: as found, as set
        self.skipped: dict[str, str] = {}

    @property
    def paths(self) -> list[str]:
        """The cgroups that are sampled; may be empty."""
        return list(self._held)

    # -- which cgroups -----------------------------------------------------------------------

    def add(self, path: str) -> None:
        """Sample a cgroup from now on.

        Args:
            path: such as /climits/web; "/" is the root.

        Raises:
            CgroupGoneError: no hierarchy has it.
            CgroupPermissionError: no right to read it.
            UnsupportedError: there is no cgroup filesystem.
            CgroupError: it cannot be read for another reason.
        """
        path = path.rstrip("/") or "/"
        if path not in self._held:
            self._held[path] = self._open(path)
            self._gone.discard(path)
            self.skipped.pop(path, None)

    def discard(self, path: str) -> None:
        """Sample a cgroup no longer."""
        path = path.rstrip("/") or "/"
        self._gone.discard(path)
        self.skipped.pop(path, None)
        self._drop(path)

    def scan(self, top: str = "/") -> tuple[list[str], list[str]]:
        """Follow a tree: add what was made, discard what was removed since.

        A cgroup that was removed and made anew under its name is in both lists.

        Returns:
            Paths: (came, went), parents first; may be empty.

        Raises:
            UnsupportedError: there is no cgroup filesystem.
        """
        top = top.rstrip("/") or "/"
        found = self._walk(top)
        inside = "/" if top == "/" else f"{top}/"
        ours = [path for path in self._held if path == top or path.startswith(inside)]
        went = [path for path in self._gone if path == top or path.startswith(inside)]
        self._gone.difference_update(went)
        came = []
        for path in ours:
            if path not in found:
                went.append(path)
                self._drop(path)
        for path, inodes in found.items():
            held = self._held.get(path)
            if held is not None:
                if held.inodes == inodes:
                    continue
                # In another hierarchy it may come later, or go earlier: then it is still the same.
                if any(a != b for a, b in zip(held.inodes, inodes, strict=True) if a and b):
                    went.append(path)
                    held = None
                self._drop(path)
            try:
                self.add(path)
            except CgroupGoneError:
                if held is not None:
                    went.append(path)
                continue
            except CgroupError as e:
                self.skipped[path] = str(e)
                continue
            if held is None:
                came.append(path)
        return came, sorted(went)

    def _walk(self, top: str) -> dict[str, list[int]]:
        """Paths that are there, with the inode number in each hierarchy, 0 where it has none."""
        self._check()
        found: dict[str, list[int]] = {}
        skipped: dict[str, str] = {}
        for number, hierarchy in enumerate(self._hierarchies):
            for directory, inode, error in walk_paths(hierarchy.directory_path(top)):
                path = hierarchy.cgroup_path(directory) or top
                found.setdefault(path, [0] * len(self._hierarchies))[number] = inode
                if error is not None:
                    skipped[path] = str(error)
        inside = "/" if top == "/" else f"{top}/"
        for path in list(self.skipped):
            if path == top or path.startswith(inside):
                del self.skipped[path]
        self.skipped.update(skipped)
        return dict(sorted(found.items()))

    def _check(self) -> None:
        if not self._hierarchies:
            raise UnsupportedError(
                "no cgroup filesystem is mounted, so there is nothing to sample",
                hint="mount -t cgroup2 cgroup2 /sys/fs/cgroup",
            )

    # -- sampling ----------------------------------------------------------------------------

    def sample(self, paths: "Iterable[str] | None" = None) -> dict[str, Sample]:
        """Read them now.

        Those that were removed are left out, and sampled no longer; the next scan tells of them.

        Args:
            paths: some of those that are sampled; all of them.
        """
        out = {}
        gone = []
        pread, now = os.pread, time.monotonic
        some = self._held if paths is None else {path: self._held[path] for path in paths}
        for path, held in some.items():
            try:
                raw: Raw = [pread(fd, LENGTH, 0) for fd in held.fds]
            except OSError:
                raw = read_each(held)
            if not raw:  # not kept open, or gone
                raw = read_anew(held)
                if not raw:
                    gone.append(path)
                    continue
            out[path] = Sample(path, now(), raw, held.readers)
        for path in gone:
            self._drop(path)
            self._gone.add(path)
        # Those for which the kernel does not count tasks, children before their parents.
        for path in sorted(self._counted & out.keys(), reverse=True):
            out[path].pids = _count_tasks(path, self._held[path].parts[0], out)
        return out

    # -- descriptors -------------------------------------------------------------------------

    def _open(self, path: str) -> Held:
        self._check()
        parts: list[Part] = []
        inodes = []
        sources: dict[str, tuple[int, Figure]] = {}
        denied: CgroupError | None = None
        try:
            for hierarchy in self._hierarchies:
                part, error = self._open_part(hierarchy, path, sources, len(parts))
                denied = denied or error
                inodes.append(part.inode if part else 0)
                if part and part.files:
                    parts.append(part)
        except BaseException:
            for part in parts:
                part.close()
            raise
        if not parts:
            raise denied or CgroupGoneError(f"no such cgroup: {path}", path=path)
        if not all(part.fds for part in parts):  # all are kept, or none
            for part in parts:
                part.close()
        if "pids" not in sources and self._wants("pids"):
            self._counted.add(path)
        return Held(parts, inodes, self._readers(parts, sources))

    def _wants(self, name: str) -> bool:
        return self._wanted is None or name in self._wanted

    def _open_part(
        self,
        hierarchy: "Hierarchy",
        path: str,
        sources: "dict[str, tuple[int, Figure]]",
        number: int,
    ) -> "tuple[Part | None, CgroupError | None]":
        """Open what a hierarchy has of a cgroup, and note which figures come from it.

        Returns:
            (part or None, why it, or a file of it, may not be read or None).
        """
        try:
            directory = Directory(hierarchy.directory_path(path))
        except CgroupGoneError:
            return None, None
        except CgroupPermissionError as e:
            return None, e
        wanted = {
            name: figure
            for name, figure in figures_of(hierarchy, directory).items()
            if name not in sources and self._wants(name)
        }
        part = Part(directory.path, os.fstat(directory.fd).st_ino, hierarchy.thread_file)
        error = self._open_files(
            part, directory, [name for fs, _ in wanted.values() for name in fs]
        )
        for name, figure in wanted.items():
            if figure[0][0] in part.files:
                sources[name] = number, figure
        return part, error

    def _open_files(
        self, part: Part, directory: Directory, names: list[str]
    ) -> "CgroupError | None":
        """Open what there is of some files; why one may not be read, or None."""
        denied = None
        keep = True
        for name in dict.fromkeys(names):
            fd = -1
            try:
                if keep:
                    fd = directory.open_file(name)
                    # Some can be opened and not be read: pressure where it is switched off.
                    os.pread(fd, LENGTH, 0)
                    part.fds.append(fd)
                    keep = self._make_room(fd)
                else:
                    directory.read(name)
                part.files.append(name)
            except OSError as e:
                if fd >= 0:
                    os.close(fd)
                if e.errno in _NO_DESCRIPTORS:  # others in this process hold more than we left
                    keep = False
                    part.files.append(name)
                elif isinstance(e, CgroupPermissionError):
                    denied = e
        if not keep:
            part.close()
        return denied

    def _make_room(self, fd: int) -> bool:
        """Whether a descriptor may be kept; raises the limit on them where it can be.

        The kernel gives out the lowest number that is free: so a number tells how many there are,
        whoever in this process holds them.
        """
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = fd + 1 + _RESERVE
        if soft == resource.RLIM_INFINITY or wanted <= soft:
            return True
        more = max(2 * soft, wanted)
        if hard != resource.RLIM_INFINITY:
            more = min(more, hard)
        if more < wanted:
            return False
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
        except (OSError, ValueError):
            return False
        self._limit = (self._limit[0] if self._limit else soft), more
        return True

    def _readers(self, parts: list[Part], sources: "dict[str, tuple[int, Figure]]") -> "Readers":
        """What makes figures of the contents; the same for all cgroups with the same files."""
        key = tuple((number, tuple(part.files)) for number, part in enumerate(parts))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = {}
            offsets = [0]
            for part in parts:
                offsets.append(offsets[-1] + len(part.files))
            for name, (number, (files, function)) in sources.items():
                own = parts[number].files
                places = [offsets[number] + own.index(f) if f in own else None for f in files]
                known[name] = reader(function, places)
        return known

    def _drop(self, path: str) -> None:
        self._counted.discard(path)
        held = self._held.pop(path, None)
        if held is not None:
            held.close()

    def close(self) -> None:
        """Give all descriptors back, and the limit on them; may be called again."""
        for path in self.paths:
            self._drop(path)
        if self._limit is not None:
            before, ours = self._limit
            self._limit = None
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            if soft == ours:  # nobody else has changed it
                resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))

    def __enter__(self) -> "Sampler":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _count_tasks(path: str, part: Part, samples: dict[str, Sample]) -> "int | None":
    """How many a cgroup and those below it have; None where it does not tell.

    The list is opened anew: on v1 a descriptor that is read at least once a second shows for ever
    what it showed at first.

    Args:
        path: of the cgroup.
        part: where it is looked up.
        samples: of this moment, those of the cgroups below counted already.

    Source: kernel/cgroup/cgroup-v1.c (cgroup_pidlist_start, CGROUP_PIDLIST_DESTROY_DELAY)
    """
    try:
        directory = Directory(part.directory)
        count = directory.read(part.tasks).count(b"\n")
        names = [] if directory.is_leaf() else directory.children()
    except CgroupError:
        return None
    for name in names:
        sample = samples.get(f"{path.rstrip('/')}/{name}")
        if sample is not None and sample.pids is not None:
            count += sample.pids
            continue
        for below, _, _ in walk_paths(f"{part.directory}/{name}"):
            try:
                count += Directory(below).read(part.tasks).count(b"\n")
            except CgroupError:
                continue
    return count
