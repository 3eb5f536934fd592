"""Everything below one process: who it is, what it uses, and its end.

Processes are found by their parents in /proc, where every process stays below the nearest "child
subreaper" for as long as it lives.

Source: proc(5), PR_SET_CHILD_SUBREAPER in prctl(2), Documentation/filesystems/proc.rst
(smaps_rollup), kcmp(2).
"""

import _signal  # `signal` wraps it in enums, at 2.5 ms
import os
import time

from ...linux.proc import swap_is_active
from ...units import PAGE_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_PF_FORKNOEXEC = 0x40
_KCMP_VM = 1
#: Numbers of kcmp, which the C library does not know.
_KCMP = {"x86_64": 312, "aarch64": 272, "riscv64": 272, "ppc64le": 354, "s390x": 343}
#: Seconds after which new processes are looked for even where none seems to have been made, and
#: after which those of others are looked at once more, should a number have come round.
_LOOK, _ANEW = 0.05, 1.0


class Tree:
    """The processes below one.

    Attributes:
        members: by pid, when each was started: clock ticks since boot.
        hidden: how many the kernel would not show the proportional size of, in the last look.
    """

    def __init__(self, root: int) -> None:
        """Nothing was found yet.

        Args:
            root: pid of the process below which they live; it is a child subreaper, and no member.
        """
        self._root = root
        self.members: dict[int, int] = {}
        self.hidden = 0
        self._others: set[int] = set()
        self._newest = b""
        self._looked = self._anew = 0.0
        self._swap = swap_is_active()
        self._kcmp: Callable[[int, int], bool | None] | None = None

    # -- who ---------------------------------------------------------------------------------

    def look(self, *, sure: bool = False) -> None:
        """Find those that are new, forget those that are gone.

        Args:
            sure: look even if no process seems to have been made since the last time.
        """
        now, newest = time.monotonic(), _newest()
        if not sure and newest == self._newest and now - self._looked < _LOOK:
            return
        self._newest, self._looked = newest, now
        present = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        if now - self._anew > _ANEW:
            self._anew = now
            self._others.clear()
            self.members = {p: s for p, s in self.members.items() if self._facts(p) is not None}
        self._others &= present
        for pid in self.members.keys() - present:
            del self.members[pid]
        unknown = {}
        for pid in present - self._others - self.members.keys():
            fields = _stat(pid)
            if fields is not None:
                unknown[pid] = int(fields[1]), int(fields[19])
        self._sort_in(unknown)

    def _sort_in(self, unknown: "dict[int, tuple[int, int]]") -> None:
        """Tell ours from others' by their parents; {pid: (parent, start)}."""
        while unknown:
            known = self.members.keys() | {self._root}
            ours = [pid for pid, (parent, _) in unknown.items() if parent in known]
            for pid in ours:
                self.members[pid] = unknown.pop(pid)[1]
            if not ours:
                break
        while theirs := [p for p, (parent, _) in unknown.items()
                         if parent < 2 or parent in self._others]:  # fmt: skip
            self._others.update(theirs)
            for pid in theirs:
                del unknown[pid]
        # What is left had a parent that has gone meanwhile: the next look finds its new one.

    def living(self) -> list[int]:
        """Members that have not ended."""
        return [pid for pid in self.members if self._facts(pid) is not None]

    def _facts(self, pid: int) -> "list[bytes] | None":
        """/proc/PID/stat of a member from the state on; None when it has ended."""
        fields = _stat(pid)
        if fields is None or fields[0] in b"ZX" or int(fields[19]) != self.members.get(pid):
            return None
        return fields

    # -- what it uses ------------------------------------------------------------------------

    def resident(self) -> int:
        """Bytes in memory and swap, shared pages counted in each: never less than the real sum."""
        total = 0
        for pid in self.members:
            if self._swap:
                total += _status(pid)
            else:
                total += _statm(pid)[0]
        return total

    def proportional(self) -> int:
        """Bytes in memory and swap, each page counted once: a page of three in three thirds."""
        total = self.hidden = 0
        for pid in list(self.members):
            fields = self._facts(pid)
            if fields is None:
                continue
            if int(fields[6]) & _PF_FORKNOEXEC and self._shares_memory(pid, int(fields[1])):
                continue  # a vfork: on its way to an exec, in the memory of its parent
            data = _rollup(pid)
            if data is None:
                # Another user's, most likely: what it has alone is the best guess.
                resident, shared = _statm(pid)
                total += resident - shared
                self.hidden += 1
            else:
                total += _kib(data, b"\nPss:") + _kib(data, b"\nSwapPss:")
        return total

    def _shares_memory(self, pid: int, parent: int) -> bool:
        """Whether a process uses the very memory of its parent, which is a member too."""
        if parent not in self.members:
            return False
        if self._kcmp is None:
            self._kcmp = _find_kcmp()
        same = self._kcmp(pid, parent)
        if same is not None:
            return same
        mine, other = _rollup(pid), _rollup(parent)
        if not mine or not other or mine.partition(b"\n")[2] != other.partition(b"\n")[2]:
            return False
        # After a fork both have half of each page; in one memory each has all of it.
        return _kib(mine, b"\nPss:") > 0.75 * _kib(mine, b"\nRss:")

    # -- its end -----------------------------------------------------------------------------

    def send(self, number: int, but: "Collection[int]" = ()) -> None:
        """Send a signal to all, or all but some."""
        for pid in self.members.keys() - set(but):
            try:
                pidfd = os.pidfd_open(pid)
            except OSError:
                continue
            try:
                if self._facts(pid) is not None:  # and so the descriptor is of no other
                    _signal.pidfd_send_signal(pidfd, number)
            except OSError:
                pass  # ended, or another user's
            finally:
                os.close(pidfd)

    def stop(self, patience: float) -> set[int]:
        """Stop all, so that what they use stays what it is.

        Args:
            patience: seconds to wait until they have, at most.

        Returns:
            Those that stood still before.
        """
        deadline = time.monotonic() + patience
        self.look(sure=True)
        stood = {pid for pid in self.members if self._stands(pid)}
        for _ in range(2):  # what was just being started has its turn in the second round
            self.look(sure=True)
            self.send(_signal.SIGSTOP)
        while time.monotonic() < deadline and not all(map(self._stands, self.members)):
            time.sleep(0.0005)
        return stood

    def go_on(self, stood: set[int]) -> None:
        """Undo `stop`; what it has returned stays as it is."""
        self.send(_signal.SIGCONT, stood)

    def _stands(self, pid: int) -> bool:
        fields = self._facts(pid)
        return fields is None or fields[0] in b"Tt"


def _stat(pid: int) -> "list[bytes] | None":
    """/proc/PID/stat from the state on, which proc(5) counts as field 3."""
    data = _read(f"/proc/{pid}/stat")
    fields = data.rpartition(b")")[2].split() if data else []
    return fields if len(fields) > 19 else None


def _statm(pid: int) -> "tuple[int, int]":
    """(resident, shared) bytes; 0 when it has ended."""
    fields = (_read(f"/proc/{pid}/statm") or b"").split()
    return (int(fields[1]) * PAGE_SIZE, int(fields[2]) * PAGE_SIZE) if len(fields) > 2 else (0, 0)


def _status(pid: int) -> int:
    """Resident bytes and those in swap; 0 when it has ended."""
    data = _read(f"/proc/{pid}/status") or b""
    return _kib(data, b"\nVmRSS:") + _kib(data, b"\nVmSwap:")


def _rollup(pid: int) -> "bytes | None":
    """/proc/PID/smaps_rollup; None where it cannot be read, empty when it has ended."""
    try:
        return _read_or_raise(f"/proc/{pid}/smaps_rollup")
    except PermissionError:
        return None
    except FileNotFoundError:
        return b"" if _stat(pid) is None else None  # before Linux 4.14
    except OSError:
        return b""


def _read(path: str) -> "bytes | None":
    try:
        return _read_or_raise(path)
    except OSError:
        return None


def _read_or_raise(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def _kib(data: bytes, name: bytes) -> int:
    """A figure in kB of a file of /proc, in bytes; 0 where it is not there."""
    start = data.find(name)
    if start < 0:
        return 0
    start += len(name)
    return int(data[start : data.index(b"kB", start)]) * 1024


def _newest() -> bytes:
    """The number that the newest process or thread got; empty where it is not told."""
    return (_read("/proc/loadavg") or b"").rpartition(b" ")[2]


def _find_kcmp() -> "Callable[[int, int], bool | None]":
    """Whether two processes have one memory; None where the kernel does not say."""
    number = _KCMP.get(os.uname().machine)
    if number is None:
        return lambda _pid, _other: None
    import ctypes  # 1 ms, and only where something has forked without an exec

    call = ctypes.CDLL(None).syscall

    def kcmp(pid: int, other: int) -> "bool | None":
        nothing = ctypes.c_ulong(0)  # what it would compare of descriptors
        result = call(ctypes.c_long(number), pid, other, _KCMP_VM, nothing, nothing)
        return None if result < 0 else result == 0

    return kcmp
