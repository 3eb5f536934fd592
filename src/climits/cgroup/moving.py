"""Moving processes into every part of a cgroup, or into none.

A process that is in the memory part of its old cgroup and in the new one's other parts has lost
limits without anybody seeing it: so a move that fails half-way is taken back.
"""

import errno
import os

from ..errors import CgroupError, CgroupGoneError
from ..linux.proc import arguments, cgroup_paths
from .files import Directory
from .placement import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .group import Cgroup
    from .layout import Hierarchy

_CPUSET = "set cpuset.cpus and cpuset.mems first"
_ABOVE = (
    "on cgroup v2 the kernel also asks for the right to write cgroup.procs of the cgroup above "
    "both places"
)
#: With these alone handed down, a cgroup above others may have processes.
_THREADED = frozenset(("cpu", "cpuset", "perf_event", "pids"))
_LEAVES = "on cgroup v2 processes live in leaves: choose a cgroup without children"


class Move:
    """Processes that are moved, each as a whole; can be taken back."""

    def __init__(self) -> None:
        self._done: list[tuple[int, Hierarchy, str]] = []

    def move(self, pid: int, parts: list[Part]) -> None:
        """Move a process into some parts of a cgroup, or leave it where it is in all of them.

        Raises:
            CgroupError: the kernel refused; it is where it was.
        """
        try:
            before = cgroup_paths(pid)
        except OSError:
            before = {}  # it has ended: the kernel will say so
        done = len(self._done)
        try:
            # v2 has the most reasons to refuse: asked first, there is nothing to take back.
            for part in sorted(parts, key=lambda part: not part.hierarchy.born_inside):
                write_number(part, "cgroup.procs", pid)
                path = part.hierarchy.path_among(before)
                if path is not None:
                    self._done.append((pid, part.hierarchy, path))
        except BaseException:
            self.undo(done)
            raise

    def undo(self, since: int = 0) -> None:
        """Move back what was moved, the last first, as far as the kernel lets us."""
        while len(self._done) > since:
            pid, hierarchy, path = self._done.pop()
            try:
                Directory(hierarchy.directory_of(path)).write("cgroup.procs", str(pid))
            except CgroupError:
                continue  # it has ended, or its old cgroup was removed


def check_target(part: Part) -> None:
    """Refuse a part of a cgroup that takes no process, before anything is moved.

    Raises:
        CgroupError: its cpuset is empty, or it has handed controllers down.

    Source: kernel/cgroup/cpuset-v1.c, kernel/cgroup/cgroup.c (cgroup_migrate_vet_dst).
    """
    directory, hierarchy = part.directory, part.hierarchy
    if hierarchy.delegates:
        handed = directory.read("cgroup.subtree_control").decode().split()
        # The root has no type, and takes all.
        if set(handed) - _THREADED and directory.has("cgroup.type"):
            raise CgroupError(
                f"cannot move processes to {directory.path}: it hands {' and '.join(handed)} down "
                "to its children",
                path=directory.path,
                errno=errno.EBUSY,
                hint=_LEAVES,
            )
    elif "cpuset" in hierarchy.controllers:
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not directory.read(file).strip():
                raise CgroupError(
                    f"cannot move processes to {directory.path}: its {file} is empty",
                    path=directory.path,
                    errno=errno.ENOSPC,
                    hint=_CPUSET,
                )


def counterparts(parts: list[Part], target: "Cgroup") -> "dict[Hierarchy, Part]":
    """The part of the target for each part that processes are to leave.

    Raises:
        CgroupError: it is not in one of the hierarchies, or takes no process there.
    """
    there = {part.hierarchy: part for part in target.parts}
    for part in parts:
        if part.hierarchy not in there:
            raise CgroupGoneError(
                f"cannot move processes to {target.path}: {part.hierarchy.label} has no such "
                "cgroup",
                path=target.path,
                hint="choose one that is in the same hierarchies; climits ls tells which",
            )
        check_target(there[part.hierarchy])
    return there


def write_number(part: Part, file: str, number: int) -> None:
    """Move one process, or thread, by writing its number.

    Raises:
        CgroupError: the kernel refused; text and hint say what that means here.
    """
    try:
        part.directory.write(file, str(number))
    except CgroupError as e:
        raise _explained(e, part, number) from None


def _explained(e: CgroupError, part: Part, number: int) -> CgroupError:
    path = part.hierarchy.cgroup_path(part.directory.path) or part.directory.path
    cause, hint = str(e).rpartition(": ")[2], e.hint
    if e.errno == errno.ESRCH:
        cause, hint = "no such process", None
    elif e.errno == errno.ENOSPC:
        cause, hint = "the cgroup has no CPUs or memory nodes", _CPUSET
    elif e.errno == errno.EINVAL and os.path.exists(f"/proc/{number}") and not arguments(number):
        cause, hint = "it is a thread of the kernel's", None
    elif e.errno == errno.EBUSY:
        hint = _LEAVES
    elif e.errno == errno.EOPNOTSUPP:
        hint = f"climits set {path} cgroup.type=threaded makes it a threaded one"
    elif e.errno in (errno.EACCES, errno.EPERM) and part.hierarchy.delegates:
        hint = _ABOVE
    text = f"cannot move {number} to {path}: {cause}"
    return type(e)(text, path=path, errno=e.errno, hint=hint)
