"""When each job may start, and what its end means.  Pure: no clock, no process."""

import heapq

from ..records import Record
from ..units import UNLIMITED
from .graph import dependents
from .job import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from ..pool.budget import Budget
    from ..records import Limit

#: How many jobs of the queue are looked at for one that fits.
_LOOK_AHEAD = 100
#: So often others may go before a job that does not fit; then it is waited for.
_PATIENCE = 20


class Start(Record):
    """A job that is to be started now.

    Attributes:
        job: which one.
        index: its place in the batch, from 0.
        memory: the limit of this attempt, bytes or UNLIMITED.
        attempt: from 1.
    """

    job: Job
    index: int
    memory: "Limit"
    attempt: int


class Retry(Record):
    """A job that failed is tried again.

    Attributes:
        job: which one.
        memory: the limit that it will have, bytes or UNLIMITED.
    """

    job: Job
    memory: "Limit"


class _State:
    """What is known of one job."""

    __slots__ = ("attempts", "failures", "index", "is_lost", "job", "memory", "passed", "waits_for")

    def __init__(self, index: int, job: Job, memory: "Limit") -> None:
        self.index, self.job, self.memory = index, job, memory
        self.attempts = self.failures = self.passed = 0
        self.is_lost = False  # one that it depends on has failed
        self.waits_for: set[str] = set()

    def __lt__(self, other: "_State") -> bool:
        return self.index < other.index


class Scheduler:
    """Starts jobs in the order of the batch, as many at once as fit.

    What fits may go before what does not, but only for a while: so none waits for ever.

    Attributes:
        running: how many run now.
        stopping: no more jobs are started.
        left: jobs that have neither ended nor were found not to run.
    """

    def __init__(
        self,
        jobs: "Sequence[Job]",
        budget: "Budget",
        *,
        most: "int | None" = None,
        share: "Limit" = UNLIMITED,
        cpus: float = 1.0,
        finished: "Container[str]" = (),
    ) -> None:
        """Nothing is started yet.

        Args:
            jobs: in order; their dependencies are known, and have no circles.
            budget: what they have between them.
            most: so many at once; None: as many as fit.
            share: the limit of a job that names none, bytes or UNLIMITED.
            cpus: what a job that names no CPUs claims of them.
            finished: names of jobs that have succeeded before and are not run again.
        """
        self._budget, self._most, self._cpus = budget, most, cpus
        self._states: dict[str, _State] = {}
        for index, job in enumerate(jobs):
            if job.name not in finished:
                memory = share if job.memory is None else job.memory
                self._states[job.name] = _State(index, job, memory)
        needs = {name: s.job.depends_on for name, s in self._states.items()}
        self._above = dependents(needs)
        for name, needed in needs.items():
            self._states[name].waits_for = {n for n in needed if n in self._states}
        self._ready = [s for s in self._states.values() if not s.waits_for]
        claims = [self._claim(s) for s in self._states.values()] or [(0, 0.0)]
        self._least_memory = min(memory for memory, _ in claims)
        self._least_cpus = min(cpus for _, cpus in claims)
        self.running = 0
        self.left = len(self._states)
        self.stopping = False

    def _claim(self, state: _State) -> "tuple[Limit, float]":
        # No limit: it may take all there is, and so runs alone.
        memory = min(state.memory, self._budget.memory)
        if memory == UNLIMITED:
            memory = 0
        return memory, self._cpus if state.job.cpus is None else state.job.cpus

    @property
    def is_over(self) -> bool:
        """Nothing runs, and nothing is going to be started."""
        return not self.running and (self.stopping or not self._ready)

    def start(self) -> "Start | None":
        """The next job to start, which is claimed from the budget; None: none fits now."""
        if self.stopping or not self._ready or self.running == self._most:
            return None
        passed: list[_State] = []
        found = None
        while self._ready and len(passed) < _LOOK_AHEAD:
            state = heapq.heappop(self._ready)
            if self._budget.admits(*self._claim(state)):
                found = state
                break
            passed.append(state)
            if state.passed >= _PATIENCE or not self._has_room():
                break
        for state in passed:
            state.passed += found is not None
            heapq.heappush(self._ready, state)
        if found is None:
            return None
        self._budget.claim(*self._claim(found))
        self.running += 1
        found.attempts += 1
        return Start(job=found.job, index=found.index, memory=found.memory, attempt=found.attempts)

    def _has_room(self) -> bool:
        """Whether any job at all could fit: saves looking through the queue when all is taken."""
        return self._budget.admits(self._least_memory, self._least_cpus)

    def ended(self, name: str, verdict: str, *, ok: bool) -> "Retry | list[Job]":
        """A job has ended.

        Args:
            name: of the job.
            verdict: see Outcome.
            ok: it succeeded.

        Returns:
            Retry where it is tried again; else the jobs that will not run because of it, may be
            empty.
        """
        state = self._states[name]
        self._budget.give_back(*self._claim(state))
        self.running -= 1
        if ok:
            self.left -= 1
            for other in self._above.get(name, ()):
                waiting = self._states[other]
                waiting.waits_for.discard(name)
                if not waiting.waits_for:
                    heapq.heappush(self._ready, waiting)
            return []
        if not self.stopping and self._try_again(state, verdict):
            state.passed = 0
            heapq.heappush(self._ready, state)
            return Retry(job=state.job, memory=state.memory)
        self.left -= 1
        if verdict == "stopped":
            return []  # somebody has ended the batch: nothing is said about the others
        lost = self._lost(name)
        self.left -= len(lost)
        return lost

    def _try_again(self, state: _State, verdict: str) -> bool:
        if verdict == "oom-killed":
            more = state.job.grown(state.memory, self._budget.memory)
            if more is not None:  # bounded by the ceiling, and so not counted
                state.memory = more
                return True
        if verdict in ("failed-to-start", "stopped"):
            return False  # the next attempt would fail too, or nobody wants it
        state.failures += 1
        return state.failures <= state.job.retries

    def _lost(self, name: str) -> list[Job]:
        """Those that depend on a job, and on those, and so on; each is told once."""
        lost = []
        todo = [name]
        while todo:
            for other in self._above.get(todo.pop(), ()):
                state = self._states[other]
                if not state.is_lost:
                    state.is_lost = True
                    lost.append(state.job)
                    todo.append(other)
        return lost

    def stop(self) -> None:
        """Start no more."""
        self.stopping = True
