"""Who does what: the queue, the workers and the tasks that each was given.

A worker is given more than one task at a time while tasks are so short that waiting for the next
one would cost more than the task itself.  What a worker has not read can be taken back: by one
that has nothing to do, and after its death.  So of all that a dead worker had, only the task that
it ran is lost to it.
"""

import time
from collections import deque

from ..errors import ClimitsError
from .channel import Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .budget import Budget
    from .work import Work
    from .worker import Packed

#: Seconds of work that a worker is given at a time, and tasks at most.
_AHEAD, _MOST_AHEAD = 0.001, 128
#: Seconds for a worker that was let go to end by itself.
_GRACE = 5.0


class Settings:
    """What the user wants of a pool.

    Attributes:
        memory: limit of each worker, bytes or UNLIMITED.
        most: workers at once, or UNLIMITED.
        budget: what they may claim in all.
        start: see channel.facts_for.
        options: of each worker's Spec.
        tasks_per_worker: after which it is replaced; None: never.
        idle_memory: use of an idle worker above which it is replaced, bytes; None: never.
    """

    __slots__ = ("budget", "idle_memory", "memory", "most", "options", "start", "tasks_per_worker")

    def __init__(
        self, memory: "int | float", most: "int | float", budget: "Budget", start: "Packed",
        options: "dict[str, Any]", tasks_per_worker: "int | None", idle_memory: "int | None",
    ) -> None:  # fmt: skip
        self.memory, self.most, self.budget, self.start = memory, most, budget, start
        self.options = options
        self.tasks_per_worker, self.idle_memory = tasks_per_worker, idle_memory


class Roster:
    """All of it is under the engine's lock.

    Attributes:
        queue: what nobody was given yet, in order.
        workers: those that live.
        leaving: (when it is killed, worker) for those that were let go.
    """

    def __init__(self, settings: Settings, start: "Callable[[int | float], Worker | None]") -> None:
        """Make an empty one.

        Args:
            settings: of the pool.
            start: starts a worker with a limit; None if that fails.
        """
        self._settings, self._start = settings, start
        self.queue: deque[Work] = deque()
        self.workers: list[Worker] = []
        self.leaving: list[tuple[float, Worker]] = []
        self._mean = _AHEAD  # seconds of a task, of late

    # -- giving out --------------------------------------------------------------------------

    def hand_out(self, *, here: bool = False) -> bool:
        """Give queued tasks to workers, as far as that goes.

        Args:
            here: in a caller's thread, which starts no worker and changes no limit.

        Returns:
            Whether nothing is left in the queue.
        """
        while self.queue:
            work = self.queue[0]
            worker = self._idle_worker(work, here)
            if worker is None:
                if here or not self._may_start(work):
                    break
                worker = self._start(work.memory)
                if worker is None:
                    break
            self._feed(worker)
            if not worker.assigned and self.queue and self.queue[0] is work:
                break  # it did not take it
        if self.queue and not here:
            for worker in self.workers:
                self.feed_more(worker)
        return not self.queue

    def _idle_worker(self, work: "Work", here: bool) -> "Worker | None":
        if not self._settings.budget.admits(work.memory):
            return None
        other = None
        for worker in self.workers:
            if worker.assigned or worker.retiring:
                continue
            if worker.memory == work.memory:
                return worker
            other = worker
        if other is None or here:
            return None
        try:
            other.process.set_limits(memory=work.memory)
        except ClimitsError:  # it holds more than that
            self.retire(other)
            return self._idle_worker(work, here)
        other.memory = work.memory
        return other

    def count(self) -> int:
        """Workers that will get more to do."""
        return sum(not worker.retiring for worker in self.workers)

    def _may_start(self, work: "Work") -> bool:
        settings = self._settings
        return self.count() < settings.most and settings.budget.admits(work.memory)

    def _ahead(self) -> int:
        return min(int(_AHEAD / max(self._mean, 1e-6)), _MOST_AHEAD)

    def _feed(self, worker: Worker) -> None:
        """Give a worker without a task the first of the queue, and more if they are short."""
        ahead = 1
        if worker.ready and self._mean < _AHEAD:
            # The others are to have their share of a short queue.
            ahead = max(1, min(self._ahead(), -(-len(self.queue) // max(self.count(), 1))))
        self._send(worker, ahead)

    def feed_more(self, worker: Worker) -> None:
        """Give a busy worker more before it runs dry, if tasks are short."""
        if not worker.ready or not worker.assigned or worker.retiring or self._mean >= _AHEAD:
            return
        ahead = self._ahead()
        if len(worker.assigned) <= ahead // 2:
            self._send(worker, ahead)

    def _send(self, worker: Worker, most: int) -> None:
        queue = self.queue
        works: list[Work] = []
        settings = self._settings
        if settings.tasks_per_worker:
            most = min(most, settings.tasks_per_worker - worker.done - len(worker.assigned))
        while queue and len(works) < most and queue[0].memory == worker.memory:
            work = queue.popleft()
            if work.start():
                works.append(work)
        taken = worker.send(works) if works else 0
        queue.extendleft(reversed(works[taken:]))
        if not taken:
            return
        idle = not worker.assigned
        worker.assigned.extend(works[:taken])
        if idle:
            settings.budget.claim(worker.memory)
            self._front(worker)

    def _front(self, worker: Worker) -> None:
        """Its first task is the one that it runs now."""
        work = worker.assigned[0]
        work.future.attempts += 1
        work.future.memory_max = worker.memory
        worker.deadline = time.monotonic() + work.call.timeout if work.call.timeout else None

    # -- getting back ------------------------------------------------------------------------

    def finished(self, worker: Worker, seconds: float) -> "Work":
        """It has answered its first task, which took so many seconds."""
        work = worker.assigned.popleft()
        worker.done += 1
        # A single long one is soon forgotten.
        self._mean += (min(seconds, 10 * _AHEAD) - self._mean) * 0.1
        self._next(worker)
        return work

    def _next(self, worker: Worker) -> None:
        if worker.assigned:
            self._front(worker)
        else:
            worker.deadline = None
            self._settings.budget.give_back(worker.memory)

    def steal(self) -> None:
        """Let those who have nothing to do have what others were given and have not read."""
        for idle in self.workers:
            if self.queue:
                return
            if idle.assigned or idle.retiring or not idle.ready:
                continue
            # One that is not ready may not have read what it needs to start.
            busy = max((w for w in self.workers if w.ready), key=lambda w: len(w.assigned))
            if len(busy.assigned) < 2:
                return
            for _ in range(len(busy.assigned) // 2):
                self._take_back(busy)
            self.hand_out()

    def _take_back(self, worker: Worker) -> bool:
        """Put the first task that a worker has not read back into the queue."""
        number = worker.take_back()
        if number is None:
            return False
        for at, work in enumerate(worker.assigned):
            if work.number == number:
                del worker.assigned[at]
                if at == 0:
                    work.future.attempts -= 1  # it was thought to run, and was not even read
                    self._next(worker)
                self.queue.append(work)
                break
        return True

    def recover(self, worker: Worker) -> "Work | None":
        """Of one that has died: what it had not begun goes back; returns what it ran."""
        self.workers.remove(worker)
        self.leaving = [item for item in self.leaving if item[1] is not worker]
        waiting, self.queue = self.queue, deque()
        while worker.assigned and self._take_back(worker):
            pass
        lost = None
        if worker.assigned:
            lost = worker.assigned.popleft()
            self._settings.budget.give_back(worker.memory)
            # What died between two reads and had been read has not begun.
            self.queue.extendleft(reversed(worker.assigned))
            worker.assigned.clear()
        self.queue.extend(waiting)
        return lost

    # -- letting go --------------------------------------------------------------------------

    def is_spent(self, worker: Worker) -> bool:
        """Whether a worker that has nothing to do is to be replaced."""
        settings = self._settings
        if settings.tasks_per_worker and worker.done >= settings.tasks_per_worker:
            return True
        if settings.idle_memory is None or not worker.done:
            return False
        return worker.process.cgroup.memory.current() > settings.idle_memory

    def retire(self, worker: Worker) -> None:
        """Let a worker go that has nothing to do."""
        if not worker.retiring:
            worker.dismiss()
            self.leaving.append((time.monotonic() + _GRACE, worker))

    def retire_all(self) -> bool:
        """Let all go once there is nothing left to do; whether they have gone."""
        if not self.queue and not any(worker.assigned for worker in self.workers):
            for worker in self.workers:
                self.retire(worker)
        return not self.workers and not self.queue

    def until(self) -> "float | None":
        """Seconds to the next thing that `kill_overdue` will find; None: nothing."""
        times = [worker.deadline for worker in self.workers if worker.deadline is not None]
        times += [when for when, _ in self.leaving]
        return max(min(times) - time.monotonic(), 0) if times else None

    def kill_overdue(self) -> None:
        """End those whose task has run for too long, and those that do not go by themselves."""
        now = time.monotonic()
        for worker in self.workers:
            if worker.deadline is not None and worker.deadline <= now:
                worker.deadline = None
                worker.timed_out = True
                worker.process.kill_all()
        for when, worker in self.leaving:
            if when <= now:
                worker.process.kill()
        self.leaving = [item for item in self.leaving if item[0] > now]
