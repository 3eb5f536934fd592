"""Runs a batch: asks the scheduler what may start, has a host run it, tells what came of it."""

import os
import resource

from ..cgroup.homes import own_homes
from ..cgroup.layout import current
from ..cgroup.leftovers import sweep
from ..errors import ClimitsError, InvalidValueError, LaunchError
from ..history.spool import record
from ..pool.budget import Budget
from ..records import Record
from ..supervise.guard import Guard
from ..supervise.loop import Loop
from ..units import PAGE_SIZE, UNLIMITED
from .graph import dependents
from .job import NOT_RUN, Job, Outcome
from .local import LocalHost, check_here
from .output import Showing
from .read import misfits
from .scheduler import Retry, Scheduler, Start
from .watcher import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from ..records import Limit, Result
    from .local import Host
    from .output import Output
    from .results import Results

#: Descriptors that a job needs at most while it runs, those it needs until it is shown, and ours.
_FDS_EACH, _FDS_SHOWN, _FDS_OURS = 10, 2, 128


class Options(Record):
    """How a batch runs.

    Attributes:
        budget: what the jobs have between them.
        most: so many at once; None: as many as fit.
        kill_after: seconds from SIGTERM to SIGKILL of the whole cgroup.
        output_limit: bytes that a job may write to its standard output and error.
        keep_order: outputs are shown in the order of the jobs.
        fail_fast: the first failure ends the batch.
        history: each attempt is recorded for `climits history`.
        targets: descriptors that output is shown on.
        sigmask: the signal mask of the jobs; -1: the caller's.
    """

    budget: Budget
    most: "int | None" = None
    kill_after: float = 5.0
    output_limit: "Limit" = UNLIMITED
    keep_order: bool = False
    fail_fast: bool = False
    history: bool = False
    targets: "tuple[int, int]" = (1, 2)
    sigmask: int = -1


class Batch:
    """Jobs that are run together.

    Attributes:
        jobs: in order.
        loop: the event loop; more may be watched in it.
        share: the limit of a job that names none, bytes or UNLIMITED.
        outcomes: dict[str, Outcome], of the jobs that have ended, by name.
        before: names of jobs that had succeeded in an earlier batch.
        error: what ended the batch beside a signal or a failed job, or None.
    """

    def __init__(
        self,
        jobs: "Sequence[Job]",
        options: Options,
        *,
        results: "Results | None" = None,
        watcher: "Watcher | None" = None,
        host: "Callable[[Loop], Host] | None" = None,
    ) -> None:
        """Check; nothing is started.

        Args:
            jobs: as `read_toml` and its kin give them.
            options: how they run.
            results: where a line is written for each that has ended.
            watcher: is told what happens.
            host: makes what runs the jobs; None: this machine does.

        Raises:
            InvalidValueError: there is nothing to run, or a job can never fit.
            UnsupportedError: this machine cannot enforce a limit that a job asks for.
            CgroupPermissionError: there is no right to make cgroups here.
        """
        if not jobs:
            raise InvalidValueError("there are no jobs", hint="see climits batch --help")
        self.jobs, self._options, self._results = jobs, options, results
        self._watcher = watcher or Watcher()
        self._make_host = host or self._local_host
        self.outcomes: dict[str, Outcome] = {}
        self.error: str | None = None
        self._killed = self._is_held_up = False
        self._history_warning = ""
        self.share = self._equal_share()
        for job in jobs:
            for e in misfits(job, options.budget):
                raise InvalidValueError(
                    f"{job.name}: {e.path}: {e.text}", value=e.value, hint=e.hint
                )
        if host is None:
            check_here(jobs, self.share)
        self._fingerprints: dict[str, str] = {}
        if results is not None:
            self._fingerprints = {job.name: job.fingerprint() for job in jobs}
        self.before = self._find_finished(results.succeeded if results else None)
        # With --jobs it is a person who says how many at once.
        self._scheduler = Scheduler(
            jobs, options.budget, most=options.most, share=self.share,
            cpus=1.0 if options.most is None else 0.0, finished=self.before,
        )  # fmt: skip
        self._open_files = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.loop = Loop(lambda e: self.fail(str(e)))

    def _equal_share(self) -> "Limit":
        """What a job gets that names no limit, so that none goes without one."""
        budget = self._options.budget
        if budget.memory == UNLIMITED:
            return UNLIMITED
        at_once = self._options.most or max(int(budget.cpus), 1)
        share = int(budget.memory // min(at_once, len(self.jobs)))
        return max(share // PAGE_SIZE * PAGE_SIZE, PAGE_SIZE)

    def _find_finished(self, succeeded: "Counter[str] | None") -> set[str]:
        """Names of jobs that need not run again: nor do those they depend on."""
        finished: set[str] = set()
        if not succeeded:
            return finished
        left = succeeded.copy()
        for job in self.jobs:
            fingerprint = self._fingerprints[job.name]
            if left[fingerprint] > 0:
                left[fingerprint] -= 1
                finished.add(job.name)
        # A job that runs again has those run again that use what it makes.
        above = dependents({job.name: job.depends_on for job in self.jobs})
        again = [job.name for job in self.jobs if job.name not in finished]
        while again:
            for name in above.get(again.pop(), ()):
                if name in finished:
                    finished.discard(name)
                    again.append(name)
        return finished

    # -- running -----------------------------------------------------------------------------

    def run(self) -> None:
        """Run the jobs, until the last has ended and was shown."""
        guard: Guard | None = None
        options = self._options
        self._raise_open_files()
        self._host: Host | None = None
        self._showing = Showing(
            self.loop, options.targets, keep_order=options.keep_order, most=options.output_limit,
            on_begin=self._watcher.showing, on_broken=self._at_broken_output,
        )  # fmt: skip
        try:
            # Of a batch that was killed: what it left must not run beside what takes its place.
            sweep(current(), *own_homes(), timeout=5.0)
            guard = self._start_guard()
            self._host = self._make_host(self.loop)
            for index, job in enumerate(self.jobs):
                if job.name in self.before:
                    self._showing.show(index, None, lambda: None)
            self._indices = {job.name: index for index, job in enumerate(self.jobs)}
            self._start_more()
            while not self._scheduler.is_over:
                self.loop.turn()
            self._showing.flush_held()
            while self._showing.waiting and not self._killed:
                self.loop.turn()
        finally:
            self._showing.close()
            if self._host:
                self._host.close()
            if guard:
                guard.dismiss()
            self.loop.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, self._open_files)

    def _local_host(self, loop: Loop) -> "Host":
        options = self._options
        return LocalHost(
            loop, kill_after=options.kill_after, output_limit=options.output_limit,
            sigmask=options.sigmask, open_files=self._open_files,
        )  # fmt: skip

    def _start_guard(self) -> "Guard | None":
        try:
            return Guard((), self._options.sigmask)
        except LaunchError as e:  # a container may have no shell
            self._watcher.problem(f"{e}; climits gc removes what a kill -9 would leave")
            return None

    def _raise_open_files(self) -> None:
        soft, hard = self._open_files
        if soft == resource.RLIM_INFINITY:
            soft = 1 << 20
        elif hard == resource.RLIM_INFINITY or hard > soft:
            soft = min(1 << 20, hard) if hard != resource.RLIM_INFINITY else 1 << 20
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        room = max(soft - _FDS_OURS, _FDS_EACH)
        self._most_running = max(room // 2 // _FDS_EACH, 1)
        self._most_waiting = max(room // 2 // _FDS_SHOWN, 1)

    def _start_more(self) -> None:
        """Start what may be started."""
        scheduler, showing = self._scheduler, self._showing
        # Where nothing runs, one more must: it may be the one that the order waits for.
        while scheduler.running < self._most_running:
            if scheduler.running and showing.waiting >= self._most_waiting:
                self._is_held_up = True
                return
            start = scheduler.start()
            if start is None:
                return
            self._watcher.started(start)
            assert self._host is not None
            self._host.start(
                start,
                lambda *end, start=start: self._at_end(start, *end),
            )

    def _at_end(
        self, start: Start, verdict: str, result: "Result", output: "Output | None",
        error: "str | None",
    ) -> None:  # fmt: skip
        """An attempt has ended."""
        job = start.job.replace(memory=start.memory)
        outcome = Outcome(
            job=job, verdict=verdict, attempts=start.attempt, result=result, error=error
        )
        step = self._scheduler.ended(job.name, verdict, ok=outcome.ok)
        if isinstance(step, Retry):
            if output is not None:
                output.close()  # what counts is what the last attempt writes
            self._watcher.retried(step, outcome)
        else:
            self._finish(outcome, output)
            for lost in step:
                error = f"{job.name}, which it needs, failed"
                self._finish(Outcome(job=lost, verdict=NOT_RUN, error=error), None)
            if self._options.fail_fast and not outcome.ok and verdict != "stopped":
                self.stop()
        self._start_more()
        if self._options.history:  # last: other jobs already run meanwhile
            self._record(job, result)

    def _record(self, job: Job, result: "Result") -> None:
        name = job.name if job.is_named else None
        warning = record(result, "batch", name=name, cwd=job.directory) or ""
        if warning not in ("", self._history_warning):  # told once, not for each job
            self._watcher.problem(warning)
        self._history_warning = warning

    def _finish(self, outcome: Outcome, output: "Output | None") -> None:
        """A job has ended for good: that is written down before anything else."""
        name = outcome.job.name
        self.outcomes[name] = outcome
        if self._results is not None:
            try:
                self._results.append(outcome.line(self._fingerprints[name]))
            except ClimitsError as e:
                self.fail(str(e))
        self._watcher.ended(outcome)
        self._showing.show(self._indices[name], output, lambda: self._at_shown(outcome))

    def _at_shown(self, outcome: Outcome) -> None:
        self._watcher.shown(outcome)
        if self._is_held_up:
            self._is_held_up = False
            self.loop.after(0, self._start_more)

    # -- ending ------------------------------------------------------------------------------

    @property
    def is_stopping(self) -> bool:
        """No more jobs are started."""
        return self._scheduler.stopping

    def stop(self) -> None:
        """Start no more, and end what runs; SIGKILL comes `kill_after` seconds after SIGTERM."""
        self._scheduler.stop()
        if self._host:
            self._host.stop()

    def kill(self) -> None:
        """Start no more, end what runs at once, and show no more."""
        self._killed = True
        self._scheduler.stop()
        if self._host:
            self._host.kill()

    def fail(self, text: str) -> None:
        """Something beside the jobs went wrong: start no more, and let what runs end."""
        if self.error is None:
            self.error = text
            self._watcher.problem(text)
        self._scheduler.stop()

    def _at_broken_output(self, error: OSError) -> None:
        self.fail(f"cannot show what jobs write: {os.strerror(error.errno or 0).lower()}")
        self.stop()
