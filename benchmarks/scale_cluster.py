"""Machines that jobs are put on, simulated, by climits' own scheduler; and what came of it.

Time is of the simulation, in seconds from the moment when all jobs were handed in, as those of a
batch are.  A machine is memory and a number of CPUs; a job counts as one CPU.  scale_dask_rules.py
has the same by Dask's rules.
"""

import heapq
import math
import time

from climits.batch.job import Job
from climits.batch.scheduler import Retry, Scheduler
from climits.pool.budget import Budget

BIN = 10.0  # seconds, of what is kept of usage over time


class Fleet(Budget):
    """N machines as one budget: what one of them has room for is admitted, and goes to the first.

    A tree over the machines holds in each node the most that is free below, so that the first
    machine with room is found in log2(N) steps.

    Attributes:
        memory, cpus: of one machine, which is what a job may have at most.
        placed: the machine of the latest claim.
        leaving: the machine whose claim is given back next.
    """

    __slots__ = ("_cpus", "_size", "_tree", "leaving", "most_claimed", "placed")

    def __init__(self, machines, memory, cpus):
        super().__init__(memory, cpus)
        self._size = 1
        while self._size < machines:
            self._size *= 2
        self._tree = [-1] * (2 * self._size)
        self._cpus = [cpus] * machines
        for machine in range(machines):
            self._tree[self._size + machine] = memory
        for node in range(self._size - 1, 0, -1):
            self._tree[node] = max(self._tree[2 * node], self._tree[2 * node + 1])
        self.placed = self.leaving = None
        self.most_claimed = 0

    def free(self, machine):
        """Bytes that are not claimed there, or -1 where no CPU is left."""
        return self._tree[self._size + machine]

    def admits(self, memory, _cpus=0):
        return memory <= self._tree[1]

    def claim(self, memory, cpus=0):
        super().claim(memory, cpus)
        tree, node = self._tree, 1
        while node < self._size:
            node *= 2
            if tree[node] < memory:
                node += 1
        self.placed = machine = node - self._size
        self._cpus[machine] -= 1
        free = tree[node] - memory
        self.most_claimed = max(self.most_claimed, self.memory - free)
        # Without a CPU nothing fits; how much memory is free is kept as a negative number.
        self._set(node, free if self._cpus[machine] else -1 - free)

    def give_back(self, memory, cpus=0):
        super().give_back(memory, cpus)
        machine, self.leaving = self.leaving, None
        node = self._size + machine
        free = self._tree[node]
        self._cpus[machine] += 1
        self._set(node, (free if free >= 0 else -1 - free) + memory)

    def _set(self, node, value):
        tree = self._tree
        tree[node] = value
        node //= 2
        while node:
            left, right = tree[2 * node], tree[2 * node + 1]
            value = left if left > right else right
            if tree[node] == value:
                return
            tree[node] = value
            node //= 2


class Books:
    """What happened, in figures.

    Attributes:
        waited: seconds that each job waited for its first start, by its index.
        ends: how each job ended, ok or failed, by its index.
        attempts: all starts.
        killed: attempts that ended for lack of memory.
        workers_killed: by their nanny.
        useful: byte seconds used by attempts that succeeded.
        wasted: byte seconds used by the others.
        wasted_time: seconds that these ran.
        claimed: byte seconds of limits.
        last_first_start, makespan: seconds.
    """

    def __init__(self):
        self.waited, self.ends = {}, {}
        self.attempts = self.killed = self.workers_killed = 0
        self.useful = self.wasted = self.wasted_time = self.claimed = 0.0
        self.last_first_start = self.makespan = 0.0
        self._changes = {}

    def started(self, index, now):
        self.attempts += 1
        if index not in self.waited:
            self.waited[index] = now
            self.last_first_start = max(self.last_first_start, now)

    def ran(self, task, start, end, limit, *, ok):
        """An attempt has ended."""
        took = end - start
        top = task.duration * task.rise
        grown = min(took, top)
        used = task.peak * grown * grown / (2 * top) + task.peak * (took - grown)
        self.claimed += limit * took
        if ok:
            self.useful += used
            rate = used / took
            self._change(start, rate, limit)
            self._change(end, -rate, -limit)
        else:
            self.killed += 1
            self.wasted += used
            self.wasted_time += took

    def _change(self, when, used, claimed):
        entry = self._changes.setdefault(int(when / BIN), [0.0, 0])
        entry[0] += used
        entry[1] += claimed

    def over_time(self):
        """[(seconds, bytes used for good, bytes claimed for good)], a line each BIN seconds.

        An attempt counts with its average from its start to its end.
        """
        used, claimed, lines = 0.0, 0, []
        for number in range(max(self._changes, default=-1) + 1):
            change = self._changes.get(number, (0.0, 0))
            used, claimed = used + change[0], claimed + change[1]
            lines.append((number * BIN, used, claimed))
        return lines

    def started_by(self, share):
        """Seconds until such a share of the jobs had been started for the first time."""
        waited = sorted(self.waited.values())
        return waited[max(math.ceil(share * len(waited)) - 1, 0)]

    def used_until(self, until):
        """Byte seconds used for good by then."""
        total = 0.0
        for when, used, _ in self.over_time():
            total += used * max(min(until - when, BIN), 0.0)
        return total

    def ended(self, index, now, *, ok):
        if index in self.ends:
            raise AssertionError(f"job {index} has ended twice")
        self.ends[index] = "ok" if ok else "failed"
        self.makespan = max(self.makespan, now)


def with_climits(tasks, limits, machines, memory, cpus, *, factor=2.0, watch=None):
    """Run a trace with the scheduler of climits batch over a Fleet.

    Args:
        tasks: list[Task].
        limits: bytes, of the first attempt of each.
        machines, memory, cpus: how many, and what each has.
        factor: so many times the memory after an OOM kill.
        watch: called with (now, what runs on each machine) after each step; for tests.

    Returns:
        (Books, seconds of CPU time in the scheduler, decisions that it took: starts and ends).
    """
    jobs = [
        Job(name=str(n), command=[task.command], memory=min(limit, memory), retry_memory=factor)
        for n, (task, limit) in enumerate(zip(tasks, limits, strict=True))
    ]
    fleet = Fleet(machines, memory, cpus)
    clock = time.thread_time  # CPU time: what else runs here does not count
    begin = clock()
    scheduler = Scheduler(jobs, fleet)
    spent, decisions = clock() - begin, 0
    books, running, now, count = Books(), [], 0.0, 0
    on = {} if watch is None else {n: [] for n in range(machines)}
    while True:
        while True:
            begin = clock()
            start = scheduler.start()
            spent += clock() - begin
            if start is None:
                break
            decisions += 1
            task = tasks[start.index]
            until = task.seconds_to(start.memory)
            took = task.duration if until is None else until
            count += 1
            heapq.heappush(
                running, (now + took, count, start.index, now, start.memory, fleet.placed)
            )
            books.started(start.index, now)
            if watch is not None:
                on[fleet.placed].append((start.index, start.memory, now))
        if watch is not None:
            watch(now, on)
        if not running:
            break
        now, _, index, began, limit, machine = heapq.heappop(running)
        ok = limit >= tasks[index].peak
        books.ran(tasks[index], began, now, limit, ok=ok)
        if watch is not None:
            on[machine].remove((index, limit, began))
        fleet.leaving = machine
        begin = clock()
        step = scheduler.ended(str(index), "exited" if ok else "oom-killed", ok=ok)
        spent += clock() - begin
        decisions += 1
        if not isinstance(step, Retry):
            books.ended(index, now, ok=ok)
    if fleet.most_claimed > memory:
        raise AssertionError("a machine was over its memory by limits")
    return books, spent, decisions
