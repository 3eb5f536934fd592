"""Machines that jobs are put on, simulated, by Dask's rules.

What Dask does was taken from the source of distributed 2026.8.0, and is held against a real
cluster by scale_dask.py:

- A task goes to a worker as soon as it may run.  Of those whose resource is large enough *in all*
  (not: free), that with the lowest occupancy is taken, which is the number of its tasks times their
  average duration, by its threads (scheduler.py: valid_workers, decide_worker, worker_objective).
  Tasks with resources are never queued at the scheduler (is_rootish).
- A worker starts the first of its tasks, by priority, when its resource is free and a thread too;
  while it does not fit, nothing behind it starts (worker_state_machine.py: _next_ready_task).
- Each second idle workers may take tasks from those with the most (stealing.py: balance).  Whether
  the thief has the resource free is not asked.  Whoever is in use counts as its tasks that wait do.
- The resource is a number, which nobody enforces.  At 80 % of its memory a worker starts no more,
  at 95 % its nanny kills it, with all that it runs (distributed.yaml, worker.memory).  All tasks
  that were given to it, also those that wait, go to others, and each that was lost so more than
  three times fails (remove_worker, allowed-failures).
"""

import heapq
import random

from scale_cluster import Books

PAUSE, TERMINATE = 0.80, 0.95  # of a worker's memory
ALLOWED_FAILURES = 3
STEAL_EVERY = 1.0  # seconds
RESTART = 2.0  # seconds until a worker that was killed is there again
FIRST_GUESS = 0.5  # seconds: what Dask takes for the duration of a task before one has ended
VICTIMS = 10  # workers that are looked at for tasks to steal


class _Worker:
    """A Dask worker, as the scheduler and as itself know it."""

    __slots__ = ("epoch", "free", "given", "index", "running", "up", "waiting")

    def __init__(self, index, memory):
        self.index, self.free, self.up = index, memory, True
        self.given = 0  # tasks that the scheduler has given it: waiting and running
        self.waiting = []  # heap of task numbers: the priority is the order of submission
        self.running = {}  # task number: (index, start, limit)
        self.epoch = 0  # so many times it was killed


class Dask:
    """A trace on a Dask cluster whose workers offer their memory as a resource.  See above."""

    def __init__(self, tasks, claims, machines, memory, threads, *, enforced, factor=2.0, seed=0):
        """Nothing has happened yet.

        Args:
            tasks: list[Task].
            claims: bytes, of the first attempt of each.
            machines, memory, threads: how many workers, and what each has.
            enforced: climits runs the tasks, each under its claim as a limit: one that needs more
                is OOM-killed alone, and handed in again with `factor` times as much.
            factor: see there.
            seed: of the order in which tasks are looked at for stealing; that of a set, in Dask.
        """
        self.tasks, self.memory, self.threads = tasks, memory, threads
        self.enforced, self.factor = enforced, factor
        self.books = Books()
        self.workers = [_Worker(n, memory) for n in range(machines)]
        self._rng = random.Random(seed)
        self._events = []  # (time, order, kind, worker, epoch, task number)
        self._order = 0
        self._now = 0.0
        self._numbers = []  # by task number: [job index, claim, suspicious, stealable, worker]
        self._by_load = [(0, n) for n in range(machines)]  # heap with entries that are out of date
        self._up = machines
        self._average = None
        self._total = 0
        self._dirty = True
        self._claims = claims
        self.moves, self.ran = 0, [0] * machines  # tasks stolen; attempts that ended, of each

    def run(self):
        """Until the last task has ended.

        Returns:
            Books.
        """
        for index, claim in enumerate(self._claims):
            self._submit(index, min(claim, self.memory), start=False)
        for worker in self.workers:
            self._start_more(worker)
        tick = STEAL_EVERY
        while self._events:
            after = self._events[0][0]
            if after > tick:
                if self._dirty:
                    self._now = tick
                    self._dirty = False
                    self._balance()
                    tick += STEAL_EVERY
                else:  # nothing would come of it until something happens
                    tick += max((after - tick) // STEAL_EVERY, 1) * STEAL_EVERY
                continue
            self._now, _, kind, worker, epoch, number = heapq.heappop(self._events)
            if worker.epoch == epoch:
                kind(worker, number)
        return self.books

    def _at(self, when, kind, worker, number=-1):
        self._order += 1
        heapq.heappush(self._events, (when, self._order, kind, worker, worker.epoch, number))

    # -- the scheduler -----------------------------------------------------------------------

    def _submit(self, index, claim, *, start=True):
        self._numbers.append([index, claim, 0, True, None])
        self._give(len(self._numbers) - 1, start=start)

    def _give(self, number, *, start=True):
        """To the worker with the lowest occupancy: of one kind of task, with the fewest."""
        heap = self._by_load
        while True:
            load, n = heap[0]
            worker = self.workers[n]
            if worker.up and worker.given == load:
                break
            heapq.heappop(heap)
        self._put(number, worker)
        if start:
            self._start_more(worker)

    def _put(self, number, worker):
        self._numbers[number][4] = worker
        heapq.heappush(worker.waiting, number)
        self._load(worker, 1)

    def _load(self, worker, change):
        worker.given += change
        self._total += change
        heapq.heappush(self._by_load, (worker.given, worker.index))
        self._dirty = True

    def _is_idle(self, given):
        """Scheduler.is_unoccupied, of one kind of task."""
        return given < self.threads or given < self._total / max(self._up, 1) / 2

    def _balance(self):
        """WorkStealing.balance, of tasks without dependencies."""
        up = [worker for worker in self.workers if worker.up]
        thieves = {w.index: w for w in up if self._is_idle(w.given)}
        if not thieves or len(thieves) == len(up):
            return
        each = FIRST_GUESS if self._average is None else self._average
        mean, threads = self._total / len(up) / self.threads, self.threads
        victims = [
            w for w in up
            if w.given > threads
            and 0.4 < each * (w.given - threads) / threads > 1.9 * each * mean
        ]  # fmt: skip
        if not victims:
            victims = heapq.nlargest(VICTIMS, up, key=lambda w: w.given)
            victims = [
                w for w in victims
                if w.given * each > 0.2 and w.given > threads and w.index not in thieves
            ]  # fmt: skip
        victims.sort(key=lambda w: -w.given)
        load = {w.index: w.given for w in (*victims, *thieves.values())}
        heap = [(w.given, w.index) for w in thieves.values()]
        heapq.heapify(heap)
        for victim in victims:
            numbers = [n for n in (*victim.waiting, *victim.running) if self._numbers[n][3]]
            self._rng.shuffle(numbers)
            for number in numbers:
                while heap and (heap[0][1] not in thieves or load[heap[0][1]] != heap[0][0]):
                    heapq.heappop(heap)
                if not heap:
                    break
                thief = thieves[heap[0][1]]
                if load[thief.index] + 1 > load[victim.index] - 0.5:
                    break  # nor for its other tasks, which are taken to be as long
                load[thief.index] += 1
                load[victim.index] -= 1
                heapq.heappush(heap, (load[thief.index], thief.index))
                self._move(number, victim, thief)
                if not self._is_idle(load[thief.index]):
                    del thieves[thief.index]
            if not thieves:
                break

    def _move(self, number, victim, thief):
        if number in victim.running:
            self._numbers[number][3] = False  # refused: it runs; it is not asked for again
            return
        self.moves += 1
        victim.waiting.remove(number)
        heapq.heapify(victim.waiting)
        self._load(victim, -1)
        self._put(number, thief)
        self._start_more(thief)
        self._start_more(victim)

    # -- a worker ----------------------------------------------------------------------------

    def _used(self, worker, now):
        return sum(self.tasks[i].used(now - began) for i, began, _ in worker.running.values())

    def _start_more(self, worker):
        started = False
        while worker.up and worker.waiting and len(worker.running) < self.threads:
            number = worker.waiting[0]
            index, claim = self._numbers[number][:2]
            if claim > worker.free:
                break
            if not self.enforced and self._used(worker, self._now) > PAUSE * self.memory:
                break
            heapq.heappop(worker.waiting)
            worker.free -= claim
            task = self.tasks[index]
            self.books.started(index, self._now)
            worker.running[number] = (index, self._now, claim)
            until = task.seconds_to(claim) if self.enforced else None
            took = task.duration if until is None else until
            self._at(self._now + took, self._at_end, worker, number)
            started = True
        if started and not self.enforced:
            self._look_ahead(worker)

    def _at_end(self, worker, number):
        index, began, claim = worker.running.pop(number)
        task = self.tasks[index]
        ok = not self.enforced or claim >= task.peak
        worker.free += claim
        self.ran[worker.index] += 1
        self._load(worker, -1)
        self.books.ran(task, began, self._now, claim, ok=ok)
        took = self._now - began
        self._average = took if self._average is None else (self._average + took) / 2
        if ok:
            self.books.ended(index, self._now, ok=True)
        else:
            more = min(int(claim * self.factor), self.memory)
            if more > claim:
                self._submit(index, more)
            else:
                self.books.ended(index, self._now, ok=False)
        self._start_more(worker)

    def _look_ahead(self, worker):
        """Find when what runs there will use more than the nanny allows."""
        most = TERMINATE * self.memory
        runs = [(self.tasks[i], began) for i, began, _ in worker.running.values()]
        if sum(task.peak for task, _ in runs) <= most:
            return
        # Between two of these moments usage is a straight line; each end comes at one of them.
        moments = sorted(
            {m for task, began in runs
             for m in (began + task.duration * task.rise, began + task.duration) if m > self._now}
        )  # fmt: skip
        now, before = self._now, self._used(worker, self._now)
        for moment in moments:
            alive = [(t, b) for t, b in runs if b + t.duration >= moment]
            before = sum(t.used(now - b) for t, b in alive)
            after = sum(t.used(moment - b) for t, b in alive)
            if after > most:
                share = 0.0 if before > most else (most - before) / (after - before)
                self._at(now + share * (moment - now), self._terminate, worker)
                return
            now = moment

    def _terminate(self, worker, _number):
        """The nanny looks, and kills the worker with all that it runs."""
        if self._used(worker, self._now) < TERMINATE * self.memory * (1 - 1e-9):
            return  # something has ended meanwhile
        self.books.workers_killed += 1
        for index, began, claim in worker.running.values():
            self.books.ran(self.tasks[index], began, self._now, claim, ok=False)
        lost = sorted((*worker.waiting, *worker.running))
        worker.epoch += 1
        worker.up, worker.free = False, self.memory
        worker.waiting, worker.running = [], {}
        self._up -= 1
        self._load(worker, -len(lost))
        self._at(self._now + RESTART, self._restart, worker)
        again = []
        for number in lost:
            entry = self._numbers[number]
            entry[2] += 1
            entry[3] = True
            if entry[2] > ALLOWED_FAILURES:
                self.books.ended(entry[0], self._now, ok=False)
            else:
                again.append(number)
        if self._up:
            for number in again:
                self._give(number)
        else:
            for number in again:  # nobody is there: they wait for the first
                self._put(number, worker)

    def _restart(self, worker, _number):
        worker.up = True
        self._up += 1
        heapq.heappush(self._by_load, (worker.given, worker.index))
        self._start_more(worker)
