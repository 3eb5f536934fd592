"""What a task of a pool costs, beside the pools that set no limit at all.

All pools have the same number of workers, are open all the time and have run something before.  In
each round each of them does the same work, in an order that is shuffled anew; a ratio is the median
of the rounds' own ratios, so that what slows the machine for a while slows both sides of it.

What is measured:

Trivial tasks
    submitted one by one, then waited for: tasks a second.
1 MB in and out
    a task that returns its argument: bytes, and an object that offers its buffer beside its pickle
    (protocol 5), as NumPy's arrays do.
map
    with a chunksize, over short calls.
Replacement
    from the kernel's OOM kill of the only worker to the first line of the next task, which runs in
    its replacement.  See supervise.py for the clocks.  climits' workers have a limit of their own;
    for the others the worker moves into a cgroup with the same limit when it starts.  Those that
    are not listed do not replace a worker.  A second between the kills keeps the kernel from
    leaving out what it says of them (10 messages in 5 s).
An idle worker
    RSS, PSS and private memory after it has run one task.
"""

import os
import random
import signal
import sys
import time
from concurrent import futures

import common
import memory
import peers
import pool_tasks
import supervisors
from supervise import KernelLog

import climits

_OURS = "climits.ProcessPoolExecutor"
_PEERS = ("pebble", "loky")
#: So long may anything take, s: a pool that hangs is not waited for.
_PATIENCE = 60.0
_MOST_REPLACE = 40.0  # ms
_APART = 1.0  # seconds between OOM kills


def find_peers():
    """Let what benchmarks/peers.sh has installed be imported, if it is of this Python."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    path = os.path.join(peers.VENV, "lib", version, "site-packages")
    sys.path.append(path)
    os.environ["PYTHONPATH"] = path  # loky's tracker is a Python of its own


# ---- the pools -----------------------------------------------------------------------------------


class Pool:
    """One pool, by concurrent.futures' interface."""

    def __init__(self, make):
        self._pool = make()

    def submit(self, function, *args):
        return self._pool.submit(function, *args)

    def map(self, function, items, chunksize):
        return list(self._pool.map(function, items, chunksize=chunksize))

    def each(self, function, items):
        """Results of as many tasks as there are items."""
        waiting = [self.submit(function, item) for item in items]
        return [future.result(_PATIENCE) for future in waiting]

    def close(self):
        self._pool.shutdown()


class Multiprocessing(Pool):
    """multiprocessing.Pool, which has names of its own."""

    def submit(self, function, *args):
        return self._pool.apply_async(function, args)

    def map(self, function, items, chunksize):
        return self._pool.map(function, items, chunksize=chunksize)

    def each(self, function, items):
        waiting = [self.submit(function, item) for item in items]
        return [result.get(_PATIENCE) for result in waiting]

    def close(self):
        self._pool.terminate()
        self._pool.join()


class Pebble(Pool):
    """pebble.ProcessPool, likewise."""

    def submit(self, function, *args):
        return self._pool.schedule(function, args=args)

    def map(self, function, items, chunksize):
        return list(self._pool.map(function, items, chunksize=chunksize).result())

    def close(self):
        self._pool.close()
        self._pool.join()


def _multiprocessing(workers, **options):
    import multiprocessing

    return Multiprocessing(lambda: multiprocessing.Pool(workers, **options))


def _pebble(workers, **options):
    import pebble

    return Pebble(lambda: pebble.ProcessPool(workers, **options))


def _loky(workers):
    import loky

    # It ends workers that have had nothing to do for 10 s.
    return Pool(lambda: loky.ProcessPoolExecutor(workers, timeout=1000))


#: In the order in which they are made: those that fork do so before the others have threads.
MAKE = {
    "multiprocessing.Pool": _multiprocessing,
    "concurrent.futures": lambda workers: Pool(lambda: futures.ProcessPoolExecutor(workers)),
    "pebble": _pebble,
    "loky": _loky,
    _OURS: lambda workers: Pool(lambda: climits.ProcessPoolExecutor(workers, "256M")),
}


def open_pools(workers, reasons):
    """Name: pool, each with all of its workers at work once."""
    pools = {}
    for name, make in MAKE.items():
        try:
            pool = make(workers)
        except ImportError as e:
            reasons.append(f"{name}: {e} (benchmarks/peers.sh)")
            continue
        pool.each(pool_tasks.pid_after, [0.2] * workers)
        pools[name] = pool
    return pools


# ---- speed -------------------------------------------------------------------------------------


class Work:
    """Something that all pools do.

    Attributes:
        name, unit: for the table.
        count: of units in a sample.
        run: function of a pool that does it, and tells whether what came back is right.
        targets: name of a peer: how many times as fast climits is to be at least.
    """

    def __init__(self, name, unit, count, run, targets):
        self.name, self.unit, self.count, self.run, self.targets = name, unit, count, run, targets


def works(quick):
    few = 10 if quick else 1
    trivial, large, calls = 10_000 // few, 200 // few, 200_000 // few
    data = os.urandom(1_000_000)
    buffered = pool_tasks.Buffered(bytearray(data))
    others = [name for name in MAKE if name != _OURS]

    def long_bytes(pool):
        return pool.each(pool_tasks.nothing, [data] * large)[-1] == data

    def long_buffers(pool):
        return pool.each(pool_tasks.nothing, [buffered] * large)[-1].data == data

    return [
        Work("trivial tasks", "tasks/s", trivial,
             lambda pool: pool.each(pool_tasks.nothing, range(trivial)) == list(range(trivial)),
             {"concurrent.futures": 2, "pebble": 1, "loky": 1}),
        Work("1 MB of bytes in and out", "tasks/s", large, long_bytes, dict.fromkeys(others, 1)),
        Work("1 MB in a buffer in and out", "tasks/s", large, long_buffers,
             dict.fromkeys(others, 1)),
        *(Work(f"map, chunksize {size}", "calls/s", calls // less,
             lambda pool, size=size, count=calls // less:
                 pool.map(pool_tasks.square, range(count), size)[-1] == (count - 1) ** 2,
             {"multiprocessing.Pool": 1})
         for size, less in ((10, 4), (100, 1), (1000, 1))),
    ]  # fmt: skip


def compare(report, work, pools, options):
    """Headings and lines of the table of one work."""
    order, names = random.Random(options.seed), list(pools)
    took = {name: [] for name in names}
    for n in range(-1, options.rounds):
        order.shuffle(names)
        for name in names:
            start = time.perf_counter()
            right = work.run(pools[name])
            seconds = time.perf_counter() - start
            if not right:
                raise RuntimeError(f"{name}: {work.name}: a wrong result")
            if n >= 0:
                took[name].append(seconds)
    lines = []
    for name in pools:
        rates = [work.count / seconds for seconds in took[name]]
        ratios = [b / a for a, b in zip(took[_OURS], took[name], strict=True)]
        ratio = common.median(ratios)
        least, holds = work.targets.get(name), ""
        if least is not None:
            holds = report.target(f"climits over {name}", ratio, "x", at_least=least)
        report.samples(name, rates, work.unit)
        lines.append([
            name, f"{common.median(rates):.0f}", f"{min(rates):.0f}-{max(rates):.0f}",
            "1" if name == _OURS else f"{ratio:.2f}x",
            "" if name == _OURS else f"{min(ratios):.2f}-{max(ratios):.2f}",
            "" if least is None else f">= {least}x", holds,
        ])  # fmt: skip
    headings = ["who", work.unit, "least-most", "climits is", "least-most", "target", "holds"]
    return headings, lines


# ---- from a worker's OOM kill to its replacement at work ---------------------------------------


class Replaced:
    """A pool of one worker, whose worker runs out of memory again and again.

    Attributes:
        times: ns from the kernel's kill to the first line of the next task.
        lost: samples whose kill was not found in the kernel log.
    """

    def __init__(self, name, pool):
        self.times, self.lost = [], 0
        self._pool = pool
        self._file = f"{supervisors.in_scratch(supervisors.file_name(name))}.pid"

    def sample(self, log):
        self._pool.each(pool_tasks.nothing, [0])
        self._pool.submit(pool_tasks.pid_and_fill, self._file)
        after = self._pool.submit(pool_tasks.began)
        get = after.get if hasattr(after, "get") else after.result
        began = get(_PATIENCE)
        with open(self._file, encoding="ascii") as file:
            killed = log.killed(int(file.read()))
        if killed is None:
            self.lost += 1
        else:
            self.times.append(began - killed)

    def close(self):
        self._pool.close()


def replacement(report, options, reasons):
    """Headings, lines and reasons of the table."""

    def joining(name):
        file = supervisors.cgroup_by_hand(supervisors.file_name(name))
        return {"initializer": pool_tasks.join, "initargs": (file,)}

    make = {
        _OURS: lambda: Pool(lambda: climits.ProcessPoolExecutor(1, peers.LIMIT)),
        "multiprocessing.Pool": lambda: _multiprocessing(1, **joining("mp-pool")),
        "pebble": lambda: _pebble(1, **joining("pebble")),
    }
    subjects, log = {}, KernelLog()
    try:
        for name, one in make.items():
            try:
                subjects[name] = Replaced(name, one())
            except ImportError as e:
                reasons.append(f"{name}: {e} (benchmarks/peers.sh)")
        names, order = list(subjects), random.Random(options.seed)
        for _ in range(common.share(options.kills, options)):
            order.shuffle(names)
            for name in names:
                time.sleep(_APART)
                subjects[name].sample(log)
    finally:
        log.close()
        for subject in subjects.values():
            subject.close()
    lines = []
    for name, subject in subjects.items():
        times = [ns / 1e6 for ns in subject.times]
        if not times:
            reasons.append(f"{name}: no kill was found in the kernel log")
            continue
        middle = common.median(times)
        report.samples(name, times, "ms")
        cells = [name, len(times), subject.lost, common.number(middle), common.spread(times)]
        goal = ["", ""]
        if name == _OURS:
            goal = [f"<= {_MOST_REPLACE:g} ms",
                    report.target(name, middle, "ms", at_most=_MOST_REPLACE)]  # fmt: skip
        lines.append([*cells, *goal])
    headings = ["who", "OOM kills", "lost", "from the kill (ms)", "p10-p90", "target", "holds"]
    return headings, lines, reasons


# ---- size --------------------------------------------------------------------------------------


def private(pid):
    """Memory that no other process shares, MiB."""
    text = common.read_file(f"/proc/{pid}/smaps_rollup")
    return sum(int(line.split()[1]) for line in text.splitlines() if b"Private_" in line[:8]) / 1024


def sizes(pools, workers):
    """Lines of the table: the mean of the workers of each pool."""
    lines = []
    for name, pool in pools.items():
        pids = set(pool.each(pool_tasks.pid_after, [0.2] * workers))
        rss, pss, count = memory.resident(pids)
        own = sum(map(private, pids))
        lines.append([name, count, *(common.number(total / count) for total in (rss, pss, own))])
    return ["who", "workers", "RSS (MiB)", "PSS (MiB)", "private (MiB)"], lines


# ---- all of it ---------------------------------------------------------------------------------


def measure(options):
    for name in os.environ.keys() - common.environment().keys():
        del os.environ[name]
    sys.dont_write_bytecode = False
    # Forked workers have our handlers: with one for SIGTERM multiprocessing cannot always end them.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    find_peers()
    common.join_own_cgroup()
    common.scratch()
    report = common.Report(f"pool: tasks in {options.workers} workers", options)
    reasons = []
    pools = open_pools(options.workers, reasons)
    try:
        report.heading("an idle worker")
        report.add(common.Table(*sizes(pools, options.workers), reasons))
        for work in works(options.quick):
            report.heading(work.name)
            report.add(common.Table(*compare(report, work, pools, options)))
    finally:
        for pool in pools.values():
            pool.close()
    report.heading("from the kernel's OOM kill of a worker to its replacement at work")
    report.add(common.Table(*replacement(report, options, [])))
    report.end()


if __name__ == "__main__":
    parser = common.arguments(__doc__.partition("\n")[0], rounds=9, isolated=1, quick=(3, 1))
    parser.add_argument("--workers", type=int, metavar="N", default=2, help="of each (%(default)d)")
    parser.add_argument(
        "--kills", type=int, metavar="N", default=15, help="OOM kills of each (%(default)d)"
    )
    common.main(parser, measure)
