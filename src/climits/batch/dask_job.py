"""Runs a job of a batch in the process of a Dask worker."""

import os
import pickle
import threading

from ..errors import ClimitsError
from ..supervise.loop import Loop
from ..units import format_size
from .dask_worker import Answer, Entry, check_version, start_guard
from .local import LocalHost
from .scheduler import Start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..program.spec import Spec
    from ..records import Result
    from .output import Output

#: Bytes of each stream of a job that go back with its result.
MOST_OUTPUT = 16 << 20
_CHUNK = 1 << 20


def run_job(data: bytes) -> bytes:
    """Run a job of a batch as it would be run on the machine that the batch is on.

    Args:
        data: version, job, index, memory, attempt, kill_after, output_limit.

    Returns:
        An Answer.
    """
    told = pickle.loads(data)
    try:
        check_version(told)
        start_guard()
    except ClimitsError as e:
        return Answer(error=str(e)).dump()
    start = Start(
        job=told["job"], index=told["index"], memory=told["memory"], attempt=told["attempt"]
    )
    run = _JobRun(told["kill_after"], told["output_limit"])
    try:
        with Entry(run.end):
            return run.answer(start).dump()
    finally:
        run.close()


class _Host(LocalHost):
    """This host, for a thread that stays as long as its job."""

    def _spec(self, start: Start, output: "Output") -> "Spec":
        spec = super()._spec(start, output)
        # What kills the Dask worker with its cgroup takes the guard too.
        spec.dies_with_thread = True
        return spec


class _JobRun:
    """One job, with an event loop of its own."""

    def __init__(self, kill_after: float, output_limit: "int | float") -> None:
        self._answer: Answer | None = None
        self._error: Exception | None = None
        self._ends: list[bool] = []
        self._lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._loop = Loop(self._at_error)
        self._loop.watch(self._wake, lambda _: self._at_end())
        self._host = _Host(self._loop, kill_after=kill_after, output_limit=output_limit)

    def answer(self, start: Start) -> Answer:
        """Run it to its end."""
        if not self._ends:
            self._host.start(start, self._at_ended)
            while self._answer is None and self._error is None:
                self._loop.turn()
        if self._answer is None:
            text = "stopped before it started" if self._error is None else str(self._error)
            return Answer(verdict="stopped", error=text)
        return self._answer

    def end(self, now: bool) -> None:
        """Have it ended; from any thread."""
        with self._lock:
            self._ends.append(now)
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def _at_end(self) -> None:
        os.eventfd_read(self._wake)
        if self._ends[-1]:
            self._host.kill()
        else:
            self._host.stop()

    def _at_error(self, error: Exception) -> None:
        self._error = error

    def _at_ended(
        self, verdict: str, result: "Result", output: "Output | None", error: "str | None"
    ) -> None:
        out = err = b""
        if output is not None:
            for fd, is_err in output.parts():
                if is_err:
                    err = _beginning(fd)
                else:
                    out = _beginning(fd)
            output.close()
        self._answer = Answer(verdict=verdict, result=result, error=error, out=out, err=err)

    def close(self) -> None:
        """Give everything back; what still runs is killed."""
        self._host.close()
        self._loop.close()
        with self._lock:
            fd, self._wake = self._wake, -1
        os.close(fd)


def _beginning(fd: int) -> bytes:
    """Of a file, as much as goes back; with a word where that is not all."""
    size = os.fstat(fd).st_size
    pieces: list[bytes] = []
    at = 0
    while at < min(size, MOST_OUTPUT):
        piece = os.pread(fd, min(_CHUNK, MOST_OUTPUT - at), at)
        if not piece:
            break
        pieces.append(piece)
        at += len(piece)
    if size > MOST_OUTPUT:
        left = format_size(size - MOST_OUTPUT)
        pieces.append(f"\n[climits: {left} more were not brought back; --stdout FILE]\n".encode())
    return b"".join(pieces)
