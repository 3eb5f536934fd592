"""Runs jobs on this machine, each in a cgroup of its own.

What runs jobs is exchangeable: the runner wants no more of it than `Host` has.
"""

import os
import signal
import time

from ..errors import ClimitsError, CommandNotExecutableError, CommandNotFoundError
from ..program.process import Process
from ..program.spec import Spec
from ..records import Result
from ..units import format_size
from .job import OUTPUT_LIMIT
from .output import Output, open_spool, spool_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol

    from ..records import Limit
    from ..supervise.loop import Loop, Timer
    from .job import Job
    from .scheduler import Start

    #: What came of an attempt: verdict, result, what it wrote, why it went wrong.
    Ended = Callable[[str, Result, Output | None, str | None], None]

    class Host(Protocol):
        """Where jobs run.  All calls come from the loop's thread, and so do those of `ended`."""

        def start(self, start: Start, ended: Ended) -> None:
            """Start an attempt; `ended` is called once, later."""

        def stop(self) -> None:
            """Ask all that runs to end, and see to it that it does."""

        def kill(self) -> None:
            """End all that runs, now."""

        def close(self) -> None:
            """Nothing runs any more: give everything back."""


#: How often what is written is compared with the limit on output, seconds.
_LOOK = 0.25

# A file that is a FIFO must not block us, nor a device become our terminal.
_FLAGS = (
    os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
)


def check_here(jobs: "Iterable[Job]", share: "Limit") -> None:
    """Refuse what this machine cannot enforce, before anything is started.

    Args:
        jobs: those that are to run.
        share: the limit of a job that names none.

    Raises:
        UnsupportedError, CgroupPermissionError, InvalidValueError: see the text.
    """
    for job in {(job.swap is None, job.cpus is None): job for job in jobs}.values():
        memory = share if job.memory is None else job.memory
        Spec(list(job.command), memory=memory, swap=job.swap, cpus=job.cpus)


class LocalHost:
    """This machine.  See Host."""

    def __init__(
        self,
        loop: "Loop",
        *,
        kill_after: float = 5.0,
        output_limit: "int | float" = float("inf"),
        sigmask: int = -1,
        open_files: "tuple[int, int] | None" = None,
    ) -> None:
        """Nothing runs yet.

        Args:
            loop: tells of what has ended.
            kill_after: seconds from SIGTERM to SIGKILL of the whole cgroup.
            output_limit: bytes that a job may write to its standard output and error.
            sigmask: the signal mask of the jobs; see Plan.
            open_files: (soft, hard) RLIMIT_NOFILE of the jobs; None: as ours.
        """
        self._loop, self._kill_after, self._most = loop, kill_after, output_limit
        self._sigmask, self._open_files = sigmask, open_files
        self._environ = dict(os.environ)
        self._running: dict[int, _Run] = {}  # by pidfd
        self._spool = spool_directory()
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._looks = False

    def start(self, start: "Start", ended: "Ended") -> None:
        """Start an attempt."""
        job = start.job
        output = None
        try:
            output = self._open_output(job)
            spec = self._spec(start, output)
            process = Process.from_spec(spec, sigmask=self._sigmask)
        except (ClimitsError, OSError) as e:
            if output is not None:
                output.close()
            result, text = _not_started(job, e), _text(e)
            self._loop.after(0, lambda: ended("failed-to-start", result, None, text))
            return
        run = self._running[process.pidfd] = _Run(process, output, ended)
        if job.timeout is not None:
            run.timer = self._loop.after(job.timeout, lambda: self._end(run, timed_out=True))
        self._loop.watch(process.pidfd, lambda _: self._check(run))
        if self._most != float("inf") and not self._looks:
            self._looks = True
            self._loop.after(_LOOK, self._look_at_outputs)

    def _spec(self, start: "Start", output: Output) -> Spec:
        job = start.job
        spec = _JobSpec(
            list(job.command),
            memory=start.memory,
            swap=job.swap,
            cpus=job.cpus,
            cwd=job.directory,
            env={**self._environ, **job.env} if job.env else None,
            stdin=self._null,
            stdout=output.out,
            stderr=output.err,
            # What the terminal sends is for us: we end the jobs ourselves.
            start_new_session=True,
        )
        spec.job_name = job.name
        spec.open_files = self._open_files
        return spec

    def _open_output(self, job: "Job") -> Output:
        out = err = -1
        try:
            out = _open_file(job.stdout) if job.stdout else open_spool(self._spool)
            if job.stderr == "stdout":
                err = out
            else:
                err = _open_file(job.stderr) if job.stderr else open_spool(self._spool)
        except BaseException:
            for fd in {out, err} - {-1}:
                os.close(fd)
            raise
        return Output(out, err, shows_out=job.stdout is None, shows_err=job.stderr is None)

    # -- the end -----------------------------------------------------------------------------

    def _check(self, run: "_Run") -> None:
        """Whether an attempt has ended; if so, tell."""
        process, fd, error = run.process, run.process.pidfd, None
        self._loop.forget(fd)
        try:
            if process.poll() is None:
                self._loop.watch(fd, lambda _: self._check(run))
                return
        except (ClimitsError, OSError) as e:  # of its cgroup: what is known is worth more
            error = _text(e)
        del self._running[fd]
        if run.timer:
            run.timer.cancel()
        result: Result = process.result or Result(
            command=process.args, verdict="signaled", returncode=process.returncode, exit_status=125
        )
        verdict = result.verdict
        if run.wrote_too_much:
            verdict = OUTPUT_LIMIT
            error = f"wrote more than {format_size(self._most)}"
        run.ended(verdict, result, run.output, error or result.error)

    def _end(self, run: "_Run", *, timed_out: bool = False) -> None:
        """Ask an attempt to end, all of its process group; then see to it that it does."""
        if not self._runs(run):
            return
        run.process.timed_out |= timed_out
        run.process.stopped |= not timed_out
        if run.timer:
            run.timer.cancel()
        try:
            # It leads a session of its own, and is not reaped: the number can be nobody else's.
            os.killpg(run.process.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        run.timer = self._loop.after(self._kill_after, lambda: self._kill(run))

    def _kill(self, run: "_Run") -> None:
        if self._runs(run):
            run.process.kill_all()

    def _runs(self, run: "_Run") -> bool:
        """Whether an attempt runs; one that has ended meanwhile is told first."""
        if run.process.pidfd in self._running:
            self._check(run)
        return run.process.returncode is None

    def _look_at_outputs(self) -> None:
        for run in list(self._running.values()):
            if run.output.written() > self._most and self._runs(run):
                run.wrote_too_much = True
                run.process.kill_all()
        self._looks = bool(self._running)
        if self._looks:
            self._loop.after(_LOOK, self._look_at_outputs)

    def stop(self) -> None:
        """SIGTERM to all that runs, and SIGKILL to what does not end by it."""
        for run in list(self._running.values()):
            self._end(run)

    def kill(self) -> None:
        """SIGKILL to all that runs."""
        for run in list(self._running.values()):
            if self._runs(run):
                run.process.kill()

    def close(self) -> None:
        """End what still runs, whatever happened, and give everything back."""
        for run in list(self._running.values()):
            self._loop.forget(run.process.pidfd)
            try:
                run.process.kill()
                run.process.wait()
            except ClimitsError:
                pass  # the others must end too
            run.output.close()
        self._running.clear()
        os.close(self._null)


class _Run:
    """An attempt that runs."""

    __slots__ = ("ended", "output", "process", "timer", "wrote_too_much")

    def __init__(self, process: Process, output: Output, ended: "Ended") -> None:
        self.process, self.output, self.ended = process, output, ended
        self.timer: Timer | None = None
        self.wrote_too_much = False


class _JobSpec(Spec):
    """A program whose cgroup is called after its job: most jobs are a shell's."""

    job_name = ""
    _made = 0

    def made_up_name(self) -> str:
        """See Spec."""
        name = "".join(
            c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in self.job_name
        )
        _JobSpec._made += 1
        return f"job-{name[:48]}-{os.getpid()}-{_JobSpec._made}"


def _open_file(path: str) -> int:
    fd = os.open(path, _FLAGS, 0o666)
    os.set_blocking(fd, True)
    return fd


def _not_started(job: "Job", error: Exception) -> Result:
    status = 125
    if isinstance(error, (CommandNotFoundError, CommandNotExecutableError)):
        status = 127 if isinstance(error, CommandNotFoundError) else 126
    return Result(
        command=list(job.command), verdict="failed-to-start", exit_status=status,
        started=time.time(), error=_text(error),
    )  # fmt: skip


def _text(error: Exception) -> str:
    if isinstance(error, ClimitsError):
        return f"{error} ({error.hint})" if error.hint else str(error)
    assert isinstance(error, OSError)
    what = f"{error.filename}: " if error.filename else ""
    return f"{what}{os.strerror(error.errno or 0).lower()}"
