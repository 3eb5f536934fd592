"""A worker as its pool sees it: the process in its cgroup, and what it was given to do."""

import fcntl
import os
import pickle
import socket
import sys
from collections import deque

from ..program.pipes import DEVNULL
from ..program.process import Process
from ..program.spec import Spec
from . import worker
from .work import main_can_be_imported
from .worker import IN_ARENA, INLINE, MESSAGE, READY, RESETS, RESULT, TASK, Arena, Packed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .work import Work

    #: (number, status, flags, peak, seconds, data)
    Answer = tuple[int, int, int, int, float, bytes]

_READ = 256 << 10


class Worker:
    """One worker.

    Attributes:
        process: the Process; its pidfd tells when it has died.
        results: descriptor that is readable when it has answered.
        assigned: what it was given and has not answered, in order: it runs the first.
        memory: its limit now, bytes or UNLIMITED.
        done: tasks that it has answered.
        ready: it has answered that it is.
        retiring: it gets nothing more.
        deadline: when its present task has run for too long, on the monotonic clock; or None.
        timed_out: it was killed for that.
        peak: the highest that it has told, bytes.
        resets: it tells the peak of each task.
    """

    def __init__(self, memory: "int | float", start: Packed, options: "dict[str, Any]") -> None:
        """Start one.

        Args:
            memory: its limit, bytes or UNLIMITED.
            start: what it is to know of us; see facts_for.
            options: of its Spec.

        Raises:
            as climits.Process.
        """
        self.memory = memory
        self.assigned: deque[Work] = deque()
        self.done = 0
        self.ready = self.retiring = self.timed_out = False
        self.deadline: float | None = None
        self.peak = -1
        self._buffer = b""
        self._fds: list[int] = []
        self._tasks, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        answers = -1
        try:
            self.results, answers = os.pipe()
            self._fds = [self.results]
            self._fds.append(os.memfd_create("climits-in"))
            self._fds.append(os.memfd_create("climits-out"))
            for fd in (self._tasks.fileno(), self.results):
                os.set_blocking(fd, False)
            try:
                fcntl.fcntl(self.results, fcntl.F_SETPIPE_SZ, _READ)
            except PermissionError:
                pass  # a user's share of pipe memory is used up: it is only slower
            self._in, self._out = Arena(self._fds[1]), Arena(self._fds[2])
            passed = (self._theirs.fileno(), answers, *self._fds[1:])
            spec = Spec(
                [sys.executable, *_flags(), _program(), *map(str, passed)],
                memory=memory, stdin=DEVNULL, pass_fds=passed, **options,
            )  # fmt: skip
            spec.dies_with_thread, spec.names_victims = True, False
            self.process = Process.from_spec(spec)
        except BaseException:
            self.close()
            raise
        finally:
            if answers >= 0:
                os.close(answers)
        try:
            self.resets = self._introduce(start)
        except BaseException:
            self.process.kill()
            self.process.wait()
            self.close()
            raise

    def _introduce(self, start: Packed) -> bool:
        """Tell it of us, and where it can read the figures of its own cgroup."""
        memory = self.process.cgroup.memory
        kills, (peak, resets) = memory.open_kills(), memory.open_peak()
        fds = [kills, peak] if peak >= 0 else [kills]
        flags, body = RESETS if resets else 0, b"".join(start.parts)
        if len(body) > INLINE:
            flags, body = flags | IN_ARENA, self._in.write(start) or b""
        message = [TASK.pack(0, len(body), 0, flags), body]
        try:
            socket.send_fds(self._tasks, message, fds)
        except OSError:
            pass  # it has died at once, which its pidfd tells
        finally:
            for fd in fds:
                os.close(fd)
        return resets

    # -- tasks -------------------------------------------------------------------------------

    def send(self, works: "Sequence[Work]") -> int:
        """Give it tasks.

        Each is a message of its own, so that each can be taken back.

        Returns:
            How many of them it took, from the first on.
        """
        fd = self._tasks.fileno()
        for taken, work in enumerate(works):
            flags, packed, named = work.flags, work.packed, work.call.named
            if packed.buffers or packed.size > INLINE:
                sizes = self._in.write(packed)
                if sizes is None:
                    return taken
                flags, data = flags | IN_ARENA, sizes
            else:
                data = b"".join(packed.parts)
            try:
                head = TASK.pack(work.number, len(named) + len(data), len(named), flags)
                os.write(fd, head + named + data)
            except BlockingIOError:  # its queue is full
                if flags & IN_ARENA:
                    self._in.free()
                return taken
            except OSError:
                pass  # it has died, which its pidfd tells; what it did not read comes back
        return len(works)

    def take_back(self) -> "int | None":
        """Number of the first task that it has not read (0: not even the greeting), or None."""
        try:
            message = self._theirs.recv(MESSAGE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        number, _, _, flags = TASK.unpack_from(message)
        if flags & IN_ARENA:
            self._in.free()
        return int(number)

    def answers(self) -> "list[Answer]":
        """What it has answered since."""
        out: list[Answer] = []
        try:
            data = os.read(self.results, _READ)
        except BlockingIOError:
            return out
        if self._buffer:
            data = self._buffer + data
        at, end = 0, len(data)
        while end - at >= RESULT.size:
            number, length, status, flags, peak, seconds = RESULT.unpack_from(data, at)
            stop = at + RESULT.size + length
            if stop > end:
                break
            out.append((number, status, flags, peak, seconds, data[at + RESULT.size : stop]))
            at = stop
            self.ready = self.ready or status == READY
        self._buffer = data[at:]
        return out

    def unpack(self, flags: int, data: bytes) -> "Any":
        """The value of an answer."""
        return self._out.read(data) if flags & IN_ARENA else pickle.loads(data)

    # -- its life ----------------------------------------------------------------------------

    def has_died(self) -> bool:
        """Whether it has; the evidence is still to be read."""
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PIDFD, self.process.pidfd, how) is not None
        except ChildProcessError:
            return True  # somebody else has reaped it

    def dismiss(self) -> None:
        """Let it end when it has done what it was given."""
        self.retiring = True
        self._tasks.close()
        self._theirs.close()

    def close(self) -> None:
        """Give the descriptors back; it has died."""
        self._tasks.close()
        self._theirs.close()
        fds, self._fds = self._fds, []
        for fd in fds:
            os.close(fd)


def facts_for(start: "bytes | None") -> Packed:
    """What a worker has to know of this process: paths and the main module.

    Args:
        start: pickle of (initializer, arguments), or None.
    """
    from multiprocessing import spawn

    facts = spawn.get_preparation_data("climits worker")
    main = {k: v for k, v in facts.items() if k.startswith("init_main_from")}
    if not main_can_be_imported():
        main = {}
    told = {"path": sys.path, "argv": sys.argv, "main": main, "start": start}
    return Packed(told)


def _program() -> str:
    # A script that is given by its source is compiled anew each time.
    compiled = worker.__spec__.cached
    return compiled if compiled and os.path.exists(compiled) else worker.__file__


def _flags() -> list[str]:
    """The options that our interpreter was started with; and no directory of ours counts."""
    from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]

    return [*_args_from_interpreter_flags(), "-P"]
