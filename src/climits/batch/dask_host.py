"""Runs the jobs of a batch on a Dask cluster, each in a cgroup of its own on the host it comes to.

All jobs that may start are handed to Dask's scheduler, which finds a place for each by its limit.
"""

import os
import pickle
import threading
import time
import uuid
from collections import deque

from ..errors import ClimitsError, WorkerDiedError
from ..pool.budget import Budget
from ..records import Result
from ..units import UNLIMITED, format_size
from .dask_cluster import LOST, Cluster, LostError, Task, connect, error_of, pack
from .output import Output, open_spool, spool_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ..supervise.loop import Loop
    from .dask_worker import Answer
    from .job import Job
    from .local import Ended
    from .runner import Options
    from .scheduler import Start

#: What is told of CPUs where there is no worker to ask.
_MANY = 1 << 16
#: How often it is looked whether there are workers at all, seconds.
_LOOK = 10.0


class ClusterBudget(Budget):
    """What one job may have: what the largest worker has.

    How many run at once is for Dask's scheduler to say, which alone knows what is free where.
    """

    __slots__ = ()

    #: See read.misfits.
    place = (
        "the largest dask worker, which has",
        'lower it, or start a worker with more --resources "memory=BYTES"',
    )

    def admits(self, _memory: "int | float", _cpus: "int | float" = 0) -> bool:
        """Always: jobs wait at the scheduler, where a cluster that grows by itself can see them."""
        return True


class DaskBatch:
    """A connection to a cluster, for one batch.

    Attributes:
        budget: for the batch's Options.
        address: of the scheduler.
    """

    def __init__(self, address: str) -> None:
        """Connect, and ask the workers that are there.

        Raises:
            as connect and Cluster.
        """
        self.address = address
        client = connect(address)
        try:
            self._cluster = Cluster(client)
            self._share = self._cluster.share()
            largest = self._cluster.largest()
        except BaseException:
            client.close()
            raise
        self.budget = ClusterBudget(
            UNLIMITED if largest is None else largest, float(self._cluster.cpus or _MANY)
        )

    def with_limits(self, jobs: "Iterable[Job]") -> "list[Job]":
        """Jobs that each have a limit; those without get a worker's memory by its threads.

        Raises:
            ClimitsError: there is no worker yet, or a job wants no limit.
        """
        limited = []
        for job in jobs:
            if job.memory == UNLIMITED:
                raise ClimitsError(
                    f"{job.name}: memory: max: dask finds a place for a job by its limit",
                    hint="name a size",
                )
            if job.memory is None and self._share is None:
                raise ClimitsError(
                    f"{job.name}: no limit, and no dask worker is there to tell how much it has",
                    hint="give --memory SIZE",
                )
            limited.append(job.replace(memory=self._share) if job.memory is None else job)
        return limited

    def host(
        self, options: "Options", tell: "Callable[[str], None]"
    ) -> "Callable[[Loop], DaskHost]":
        """What makes a batch's host.

        Args:
            options: of the batch.
            tell: is told when there is no worker.
        """
        return lambda loop: DaskHost(
            loop, self._cluster, tell,
            kill_after=options.kill_after, output_limit=options.output_limit,
        )  # fmt: skip

    def summary(self) -> str:
        """What there is, in words."""
        offers = self._cluster.offers()
        sizes = [offer.memory or 0 for offer in offers]
        if not sizes:
            return "no dask worker is there yet"
        return (
            f"{len(sizes)} dask worker{'s' if len(sizes) != 1 else ''} with "
            f"{format_size(sum(sizes))} of memory, {format_size(max(sizes))} the largest, and "
            f"{sum(offer.threads for offer in offers)} threads"
        )

    def close(self) -> None:
        """Disconnect."""
        self._cluster.client.close()


class DaskHost:
    """A cluster.  See local.Host."""

    def __init__(
        self,
        loop: "Loop",
        cluster: Cluster,
        tell: "Callable[[str], None]",
        *,
        kill_after: float,
        output_limit: "int | float",
    ) -> None:
        """Nothing runs yet; see LocalHost and DaskBatch.host."""
        self._loop, self._cluster, self._tell = loop, cluster, tell
        self._kill_after, self._output_limit = kill_after, output_limit
        self._directory = os.getcwd()
        self._prefix = f"job_{uuid.uuid4().hex[:8]}"
        self._runs: dict[_Run, None] = {}
        self._heard: deque[Callable[[], None]] = deque()  # by other threads, for the loop's
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        loop.watch(self._wake, lambda _: self._hear())
        self._looks, self._missing = False, False

    def start(self, start: "Start", ended: "Ended") -> None:
        """Hand an attempt to the scheduler."""
        job = start.job
        run = _Run(job, ended)
        self._runs[run] = None
        data = pack({
            "job": job.replace(directory=job.directory or self._directory),
            "index": start.index, "memory": start.memory, "attempt": start.attempt,
            "kill_after": self._kill_after, "output_limit": self._output_limit,
        })  # fmt: skip
        try:
            run.task = self._cluster.submit(
                data, int(start.memory), self._prefix,
                lambda answer, error: self._post(lambda: self._at_end(run, answer, error)),
                is_job=True,
            )  # fmt: skip
        except ClimitsError as e:
            error = e
            self._post(lambda: self._at_end(run, None, error))
        if not self._looks:
            self._looks = True
            self._loop.after(_LOOK, self._look)

    def _post(self, call: "Callable[[], None]") -> None:
        """Have it called in the loop's thread."""
        with self._lock:
            self._heard.append(call)
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def _hear(self) -> None:
        os.eventfd_read(self._wake)
        while self._heard:
            self._heard.popleft()()

    # -- the end -----------------------------------------------------------------------------

    def _at_end(self, run: "_Run", data: "bytes | None", error: "BaseException | None") -> None:
        if run not in self._runs:
            return  # it was given up
        if data is None:
            assert error is not None
            self._at_no_answer(run, error)
            return
        answer: Answer = pickle.loads(data)
        if answer.result is None:
            verdict = answer.verdict or "failed-to-start"
            self._tell_end(run, verdict, str(answer.error))
            return
        del self._runs[run]
        assert answer.verdict is not None
        text = None if answer.error is None else str(answer.error)
        try:
            output = _output(run.job, answer.out, answer.err)
        except OSError as e:
            output, text = None, f"what it wrote is lost: {os.strerror(e.errno or 0).lower()}"
        run.ended(answer.verdict, answer.result, output, text)

    def _at_no_answer(self, run: "_Run", error: BaseException) -> None:
        told = error_of(error, run.job.name, self._cluster.client)
        if isinstance(told, LostError):
            # The others are told so too, once the batch has learned that there is no use in more.
            self._heard.clear()
            self._loop.after(0, lambda: self._all_lost(str(told)))
            raise told
        verdict = LOST if isinstance(told, WorkerDiedError) else "failed-to-start"
        self._tell_end(run, verdict, str(told))

    def _all_lost(self, error: str) -> None:
        for run in list(self._runs):
            self._tell_end(run, "stopped", error)

    def _tell_end(self, run: "_Run", verdict: str, error: str) -> None:
        """An attempt of which nothing else is known."""
        if run not in self._runs:
            return
        del self._runs[run]
        result = Result(
            command=list(run.job.command), verdict=verdict, exit_status=125, started=time.time(),
            error=error,
        )  # fmt: skip
        run.ended(verdict, result, None, error)

    def _look(self) -> None:
        """Say so when nobody is there to run anything."""
        self._looks = bool(self._runs)
        if not self._looks:
            return
        self._loop.after(_LOOK, self._look)
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        try:
            missing = self._cluster.largest() is None
        except ClimitsError:
            return  # what is under way tells of it
        if missing and not self._missing:
            self._post(lambda: self._tell("no dask worker is there; waiting for one"))
        self._missing = missing

    def stop(self) -> None:
        """Ask what runs to end; what waits is given up."""
        threading.Thread(target=self._ask, daemon=True).start()

    def _ask(self) -> None:
        from .dask_worker import stop

        found: set[str] = set()
        try:
            for keys in self._cluster.run(stop, self._prefix).values():
                found.update(keys if isinstance(keys, list) else ())
        except ClimitsError:
            pass  # the scheduler is gone: then its workers end by themselves
        self._post(lambda: self._give_up(lambda run: run.key not in found))

    def kill(self) -> None:
        """Give up everything: the hosts kill what runs."""
        self._give_up(lambda _: True)

    def _give_up(self, which: "Callable[[_Run], bool]") -> None:
        given_up = [run for run in self._runs if which(run)]
        self._cluster.cancel([run.task for run in given_up if run.task is not None])
        for run in given_up:
            self._tell_end(run, "stopped", "the batch was stopped")

    def close(self) -> None:
        """Nothing is wanted any more."""
        runs, self._runs = self._runs, {}
        self._cluster.cancel([run.task for run in runs if run.task is not None])
        self._loop.forget(self._wake)
        with self._lock:
            fd, self._wake = self._wake, -1
        os.close(fd)


class _Run:
    """An attempt that was handed to the scheduler."""

    __slots__ = ("ended", "job", "task")

    def __init__(self, job: "Job", ended: "Ended") -> None:
        self.job, self.ended = job, ended
        self.task: Task | None = None

    @property
    def key(self) -> str:
        """What Dask calls it."""
        return self.task.key if self.task else ""


def _output(job: "Job", out: bytes, err: bytes) -> Output:
    """What has come back, as if it had been written here.

    Raises:
        OSError: there is no room for it.
    """
    fds: list[int] = []
    try:
        for data in (out, err):
            fds.append(open_spool(spool_directory()))
            view: Any = memoryview(data)
            while view:
                view = view[os.write(fds[-1], view) :]
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return Output(fds[0], fds[1], shows_out=job.stdout is None, shows_err=job.stderr is None)
