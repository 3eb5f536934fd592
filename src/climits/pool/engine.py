"""What makes a pool go: one thread that hears from the workers, replaces them and tells futures."""

import os
import select
import threading

from ..errors import ClimitsError
from ..supervise.guard import Guard
from .channel import Worker
from .failures import BrokenPoolError, broken, cannot_start, death, out_of_memory, with_cause
from .roster import Roster, Settings
from .worker import ERROR, OOM, START_FAILED, VALUE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..records import Result
    from .channel import Answer
    from .work import Future, Work

#: Workers in a row that die before they are ready, after which the pool gives up.
_MOST_FAILED = 3


class Engine:
    """See the module.

    `lock` guards what the thread and its callers share: the roster.  Futures are told without it,
    since what they call back may submit.

    Attributes:
        broken: why nothing can be done any more, or None.
        closed: nothing more will come.
        owner: pid of the process whose it is; a fork of it has only a picture of it.
        thread: see above; it is started with the first task.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lock = threading.Lock()
        self.broken: BaseException | None = None
        self.closed = False
        self.owner = os.getpid()
        self._roster = Roster(settings, self._start)
        self._by_fd: dict[int, Worker] = {}
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._poked = False
        self._failed: dict[int | float, int] = {}  # for each limit, since one was ready
        self._deaths = 0
        self._spare: Worker | None = None
        self._begun = False
        self._guard: Guard | None = None
        self._doomed: list[tuple[Work, BaseException | None]] = []
        self.thread = threading.Thread(target=self._run, name="climits-pool", daemon=True)

    # -- for callers, in any thread ----------------------------------------------------------

    def submit(self, works: "Sequence[Work]") -> None:
        """Have them done.

        Raises:
            BrokenPoolError, RuntimeError: see `check`.
        """
        with self.lock:
            self.check()  # it may have been closed since
            waiting = len(self._roster.queue)
            self._roster.queue.extend(works)
            # Straight to workers that have nothing to do: a turn of the thread saved.
            if waiting or not self._roster.hand_out(here=True) or works[0].call.timeout:
                self._poke()
            if not self._begun:
                self._begun = True
                self.thread.start()

    def check(self) -> None:
        """See whether anything can still be done.

        Raises:
            BrokenPoolError: no worker can be started.
            RuntimeError: it was closed.
        """
        if self.broken is not None:
            hint = getattr(self.broken, "hint", None)
            raise BrokenPoolError(str(self.broken), hint=hint) from self.broken
        if self.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def close(self, cancel: bool = False) -> None:
        """Take nothing more; end when all is done.

        Args:
            cancel: what has not begun is cancelled.
        """
        dropped = []
        with self.lock:
            self.closed = True
            if cancel:
                queue = self._roster.queue
                dropped = [work for work in queue if not work.started]
                # What runs again, with more memory, has begun and is not cancelled.
                begun = [work for work in queue if work.started]
                queue.clear()
                queue.extend(begun)
            self._poke()
        for work in dropped:
            work.future.cancel()
            work.start()  # tells those who wait for it

    def kill(self, future: "Future") -> None:
        """End the worker that runs a task, if one does."""
        with self.lock:
            for worker in self._roster.workers:
                if worker.assigned and worker.assigned[0].future is future:
                    worker.process.kill_all()

    def _poke(self) -> None:
        if self._wake >= 0 and not self._poked:
            self._poked = True
            os.eventfd_write(self._wake, 1)

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as e:
            with self.lock:
                self._break(e)
            raise
        finally:
            self._end()

    def _turn(self) -> bool:
        for fd, _ in self._epoll.poll(self._roster.until()):
            worker = self._by_fd.get(fd)
            if worker is None:
                if fd == self._wake:
                    os.eventfd_read(fd)
                    self._poked = False  # who comes between these two is seen below
            elif fd == worker.results:
                self._hear(worker)
            else:
                self._bury(worker)
        with self.lock:
            self._roster.kill_overdue()
            if self._roster.hand_out():
                self._roster.steal()
            self._see_to_spare()
            over = (self.closed or self.broken is not None) and self._roster.retire_all()
        self._tell_doomed()
        return not over

    def _start(self, memory: "int | float") -> "Worker | None":
        """One more worker."""
        worker = self._make(memory)
        if worker:
            self._roster.workers.append(worker)
        return worker

    def _make(self, memory: "int | float") -> "Worker | None":
        try:
            self._guard = self._guard or self._start_guard()
            worker = Worker(memory, self.settings.start, self.settings.options)
        except (ClimitsError, OSError) as e:
            self._cannot_make(memory, e)
            return None
        for fd in (worker.results, worker.process.pidfd):
            self._epoll.register(fd, select.EPOLLIN)
            self._by_fd[fd] = worker
        return worker

    def _cannot_make(self, memory: "int | float", why: "ClimitsError | OSError") -> None:
        """Be content with those that live, if they can do the work; else say so to what waits."""
        live = self._roster.count()
        if any(w.memory == memory for w in self._roster.workers if not w.retiring):
            self.settings.most = live
        elif live and memory != self.settings.memory:
            self._doom(memory, why)
        else:
            self._break(broken(f"no worker can be started: {why}", why))

    def _doom(self, memory: "int | float", why: BaseException) -> None:
        """Nothing with that limit can be done."""
        queue = self._roster.queue
        self._doomed += [(work, why) for work in queue if work.memory == memory]
        self._roster.queue = type(queue)(work for work in queue if work.memory != memory)

    def _start_guard(self) -> "Guard | None":
        parent = self.settings.options.get("parent")
        try:
            return Guard([parent] if parent else [], -1)
        except ClimitsError:
            return None  # no shell here; the workers die with us even so

    def _end(self) -> None:
        left = [self._spare] if self._spare else []
        for worker in self._roster.workers + left:  # only after a fault of our own
            worker.process.kill()
            worker.process.wait()
            worker.close()
            self._doomed += [(work, self.broken) for work in worker.assigned]
        self._tell_doomed()
        if self._guard:
            self._guard.dismiss()
        self._epoll.close()
        with self.lock:
            fd, self._wake = self._wake, -1
            os.close(fd)

    # -- answers -----------------------------------------------------------------------------

    def _hear(self, worker: Worker) -> bool:
        """Take what a worker has answered; whether it had."""
        was_ready = worker.ready
        answers = worker.answers()
        done: list[tuple[Work, Answer]] = []
        for answer in () if was_ready else answers:
            if answer[1] == START_FAILED:
                error, text = worker.unpack(answer[2], answer[5])
                with self.lock:
                    self._break(broken("a worker could not start", with_cause(error, text)))
            elif answer[1] not in (VALUE, ERROR):
                self._failed.pop(worker.memory, None)
        with self.lock:
            for answer in answers:
                if answer[1] not in (VALUE, ERROR):
                    continue
                if not worker.assigned or worker.assigned[0].number != answer[0]:
                    worker.process.kill_all()  # something else has written in its name
                    break
                done.append((self._roster.finished(worker, answer[4]), answer))
            # First its next tasks, and then what became of the last: telling takes its time.
            if worker.assigned:
                self._roster.feed_more(worker)
            elif not worker.retiring and self._roster.is_spent(worker):
                self._roster.retire(worker)
            else:
                self._roster.hand_out()
        for work, answer in done:
            self._complete(work, worker, answer)
        return bool(answers)

    def _complete(self, work: "Work", worker: Worker, answer: "Answer") -> None:
        _, status, flags, peak, _, data = answer
        future = work.future
        try:
            value = worker.unpack(flags, data)
        except BaseException as e:
            status, value = ERROR, (e, "")
        if peak >= 0 and (worker.resets or peak > worker.peak):
            future.memory_peak = peak
        worker.peak = max(worker.peak, peak)
        if status == VALUE:
            future.verdict = "exited"
            future.set_result(value)
            return
        error = with_cause(*value)
        if flags & OOM:
            self._out_of_memory(work, worker, None, error)
        else:
            future.verdict = "exited"
            future.set_exception(error)

    def _out_of_memory(
        self, work: "Work", worker: Worker, result: "Result | None", why: "BaseException | None"
    ) -> None:
        if work.ladder:
            work.memory, work.ladder = work.ladder[0], work.ladder[1:]
            with self.lock:
                self._roster.queue.appendleft(work)
            return
        work.future.verdict = "oom-killed"
        work.future.set_exception(out_of_memory(work, worker, result, why))

    # -- deaths ------------------------------------------------------------------------------

    def _bury(self, worker: Worker) -> None:
        """It has died: say so to the task that it ran, and give the others to another."""
        if not worker.has_died():
            return  # its descriptor has the number of one that died in this turn
        while self._hear(worker):
            pass
        for fd in (worker.results, worker.process.pidfd):
            self._by_fd.pop(fd, None)
            self._epoll.unregister(fd)
        with self.lock:
            lost = None
            if worker is self._spare:
                self._spare = None
            else:
                lost = self._roster.recover(worker)
            failed = not worker.ready and not worker.retiring
            if failed:
                self._failed[worker.memory] = self._failed.get(worker.memory, 0) + 1
            elif not worker.retiring:
                self._deaths += 1
                self._replace()
        worker.process.wait()
        worker.close()
        result = worker.process.result
        assert result is not None
        if lost:
            self._fail(lost, worker, result)
        if failed and self._failed[worker.memory] >= _MOST_FAILED:
            why = cannot_start(worker, result)
            with self.lock:
                if worker.memory == self.settings.memory:
                    self._break(broken(str(why), why))
                else:
                    self._doom(worker.memory, why)
                    del self._failed[worker.memory]

    def _replace(self) -> None:
        """Have another in its place at once."""
        roster, settings = self._roster, self.settings
        wanted = not (self.closed or self.broken) or roster.queue
        if not wanted or roster.count() >= settings.most:
            return
        if self._spare:
            roster.workers.append(self._spare)
            self._spare = None
            roster.hand_out()
        else:
            self._start(roster.queue[0].memory if roster.queue else settings.memory)

    def _see_to_spare(self) -> None:
        """Where workers have died, keep one ready: to start an interpreter takes its time."""
        if self.closed or self.broken:
            if self._spare:
                self._roster.workers.append(self._spare)
                self._spare = None
        elif self._deaths and not self._spare and not self._failed:
            self._spare = self._make(self.settings.memory)

    def _fail(self, work: "Work", worker: Worker, result: "Result") -> None:
        work.future.memory_peak = result.memory_peak
        if result.verdict == "oom-killed":
            self._out_of_memory(work, worker, result, None)
            return
        work.future.verdict = "timed-out" if worker.timed_out else result.verdict
        work.future.set_exception(death(work, worker, result))

    # -- the end of all ----------------------------------------------------------------------

    def _break(self, why: BaseException) -> None:
        """Nothing can be done any more.  Under the lock; `_tell_doomed` says so to what waits."""
        self.broken = self.broken or why
        self._doomed += [(work, self.broken) for work in self._roster.queue]
        self._roster.queue.clear()

    def _tell_doomed(self) -> None:
        works, self._doomed = self._doomed, []
        for work, why in works:
            if work.start():
                work.future.verdict = "stopped"
                work.future.set_exception(why)
