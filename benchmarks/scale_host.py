"""What one machine holds: sizes grow until something breaks, or a stated bound is reached.

    python benchmarks/scale_host.py --json benchmarks/scale_host.json

Programs
    `climits supervise` with N programs `sleep`, a limit each: the time to start them all, from the
    command to the last of them; its memory and descriptors; the machine's memory that is gone
    (MemAvailable before and after, the programs' own included); CPU while nothing happens; the time
    to end them all.  Beyond what one supervisor can hold, several.
Launches
    a second, back to back: the library, whole commands, jobs of a batch and tasks of a pool, one
    after the other and as many at once as there are CPUs.
Cgroups
    of which a `Sampler` reads a sample: the time for a sample, the descriptors, and what the kernel
    needs for a cgroup in all hierarchies (Slab and Percpu before and after they were made).

It stops before less than --leave of memory would be free, and removes what it has made.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent import futures

import common
import memory
import peers
import sampler as sampling
import supervisors
from reporting import Report, Table, median, number, quantile
from supervise import Spent, descriptors

import climits
from climits.observe.sampler import Sampler

PROGRAMS = (1000, 4000, 8000, 9900)
CGROUPS = (100, 1000, 2000, 4000, 8000, 16000)
#: One supervisor more than the descriptors allow; then several.
TOO_MANY, SUPERVISORS = 10_500, 2
_STALLED = 10.0  # seconds without a further program
_SLEEP = ("/bin/sleep", "100000")


def available():
    """Bytes that can still be had without swapping."""
    for line in common.read_file("/proc/meminfo").splitlines():
        if line.startswith(b"MemAvailable:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("no MemAvailable")


class TooLittleMemory(Exception):
    pass


def kernel_memory():
    """Bytes in the kernel's own structures: those of cgroups are here, and page cache is not."""
    names = (b"Slab:", b"Percpu:")
    lines = common.read_file("/proc/meminfo").splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(names))


def check_memory(options, wanted):
    """Stop before the machine gets into trouble."""
    if available() - wanted < options.leave << 30:
        raise TooLittleMemory(
            f"{wanted / 2**30:.1f} GiB more would leave less than {options.leave} GiB"
        )


# ---- programs ------------------------------------------------------------------------------------


def children(pid):
    """How many processes a process has started that it has not waited for."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return len(file.read().split())
    except FileNotFoundError:
        return 0


def last_words(one):
    """The last line that a supervisor has written."""
    with open(one._log, encoding="utf-8", errors="replace") as file:
        return (file.read().splitlines() or ["it says nothing"])[-1][:200]


class Many:
    """Supervisors that have started all of their programs.

    Attributes:
        took: seconds from the first command to the last program.
    """

    def __init__(self, counts):
        begin = time.monotonic()
        self.running = [
            supervisors.Running(supervisors.climits(f"scale-{n}", _SLEEP, count))
            for n, count in enumerate(counts)
        ]
        try:
            for one, count in zip(self.running, counts, strict=True):
                self._wait(one, count)
        except BaseException:
            self.close()
            raise
        self.took = time.monotonic() - begin

    def _wait(self, one, count):
        before, grown = -1, time.monotonic()
        while (found := children(one.top.pid) - 1) < count:  # one is its guard
            one.check()
            now = time.monotonic()
            if found > before:
                before, grown = found, now
            elif now - grown > _STALLED:
                raise peers.NotHere(f"{found} run, and no more come: {last_words(one)}")
            time.sleep(0.1)

    def own(self):
        """Pids of the supervisors and their guards; quick, unlike a look at all of /proc."""
        pids = []
        for one in self.running:
            top = one.top.pid
            pids.append(top)
            with open(f"/proc/{top}/task/{top}/children", encoding="ascii") as file:
                below = [int(pid) for pid in file.read().split()]
            pids += [pid for pid in below if memory.name_of(pid) != b"sleep"]
        return pids

    def close(self):
        """End them; seconds that it took."""
        begin = time.monotonic()
        for one in self.running:
            one.ask_to_end()
        for one in self.running:
            one.close()
        return time.monotonic() - begin


def hold(counts, options, each):
    """Measure supervisors with so many programs; a dict of figures."""
    total = sum(counts)
    check_memory(options, int(total * each))
    before = available()
    many = Many(counts)
    try:
        time.sleep(options.settle)
        gone = before - available()
        own = many.own()
        spent = Spent(own)
        time.sleep(options.watch)
        ticks, slept, _ = Spent(own).since(spent)
        for one in many.running:
            one.check()
        rss, pss, _ = memory.resident(own)
        found = {
            "programs": total, "supervisors": len(counts), "start": many.took,
            "rate": total / many.took, "rss": rss, "pss": pss,
            "descriptors": sum(descriptors(one.top.pid) for one in many.running),
            "gone": gone, "ticks": ticks, "wake_ups": slept,
        }  # fmt: skip
    finally:
        ended = many.close()
    found["end"] = ended
    return found


def programs(report, options):
    report.heading("programs under `climits supervise`, `sleep` with a limit each")
    found, broke = [], []
    steps = [(n,) for n in PROGRAMS if n <= options.most]
    if options.most >= TOO_MANY:
        steps.append((TOO_MANY,))
        half = min(options.most, 19_000) // SUPERVISORS
        steps.append((half,) * SUPERVISORS)
    steps = steps or [(options.most,)]
    each = 1 << 20
    for counts in steps:
        try:
            one = hold(counts, options, each)
        except (TooLittleMemory, peers.NotHere) as e:
            broke.append(f"{' + '.join(map(str, counts))} programs: {e}")
            continue
        found.append(one)
        each = one["gone"] / one["programs"]
    headings = [
        "programs", "supervisors", "all started (s)", "started a second", "all ended (s)",
        "RSS of climits (MiB)", "descriptors", "memory a program (KiB)",
        f"CPU in {options.watch:g} s (ticks)", "wake-ups",
    ]  # fmt: skip
    lines = [
        [
            one["programs"], one["supervisors"], number(one["start"]), number(one["rate"]),
            number(one["end"]), number(one["rss"]), one["descriptors"],
            number(one["gone"] / one["programs"] / 1024), one["ticks"], one["wake_ups"],
        ]
        for one in found
    ]  # fmt: skip
    report.add(Table(headings, lines, broke))
    alone = [one for one in found if one["supervisors"] == 1]
    for what, key, unit in (
        ("all started", "start", "s"), ("all ended", "end", "s"),
        ("RSS of climits", "rss", "MiB"), ("descriptors", "descriptors", ""),
    ):  # fmt: skip
        report.curve(what, unit, [(one["programs"], [one[key]]) for one in alone])
    report.curve(
        "memory a program", "KiB",
        [(one["programs"], [one["gone"] / one["programs"] / 1024]) for one in alone],
    )  # fmt: skip


# ---- launches ------------------------------------------------------------------------------------


def run_for(seconds):
    """Launch with the library until so many seconds are over: how many."""
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        climits.run(["/bin/true"], memory="64M")
        count += 1
    return count


def command_for(seconds):
    count, until = 0, time.monotonic() + seconds
    env = common.environment()
    while time.monotonic() < until:
        words = [peers.CLIMITS, "run", "--memory", "64M", "--quiet", "--", "/bin/true"]
        subprocess.run(words, check=True, env=env, stdout=subprocess.DEVNULL)
        count += 1
    return count


def at_once(function, seconds, processes):
    """A second, in so many processes together."""
    with futures.ProcessPoolExecutor(processes) as pool:
        begin = time.monotonic()
        done = sum(f.result() for f in [pool.submit(function, seconds) for _ in range(processes)])
        return done / (time.monotonic() - begin)


def batch_rate(jobs, processes):
    path = supervisors.write("values", "".join(f"{n}\n" for n in range(jobs)))
    words = [
        peers.CLIMITS, "batch", "--memory", "64M", "--quiet", "--no-history", "-j", str(processes),
        "--results", supervisors.in_scratch("results"), "-a", path, "--", "/bin/true",
    ]  # fmt: skip
    begin = time.monotonic()
    subprocess.run(words, check=True, env=common.environment(), stdout=subprocess.DEVNULL)
    return jobs / (time.monotonic() - begin)


def pool_rate(tasks, workers):
    import pool_tasks

    with climits.ProcessPoolExecutor(workers, memory="256M") as pool:
        for future in [pool.submit(pool_tasks.nothing, n) for n in range(100)]:
            future.result()
        begin = time.monotonic()
        for future in [pool.submit(pool_tasks.nothing, n) for n in range(tasks)]:
            future.result()
        return tasks / (time.monotonic() - begin)


def launches(report, options):
    report.heading("launches a second, back to back")
    seconds, rounds = options.seconds, 1 if options.quick else 5
    cpus = len(os.sched_getaffinity(0))
    jobs, tasks = (100, 2000) if options.quick else (1000, 40_000)
    subjects = {}
    for n in sorted({1, cpus}):
        many = "one at a time" if n == 1 else f"{n} at once"
        subjects |= {
            f"climits.run, {many}": lambda n=n: at_once(run_for, seconds, n),
            f"climits run, {many}": lambda n=n: at_once(command_for, seconds, n),
            f"job of climits batch, {many}": lambda n=n: batch_rate(jobs, n),
            f"task of a pool, {n} worker{'s' if n > 1 else ''}": lambda n=n: pool_rate(tasks, n),
        }
    rates = {name: [] for name in subjects}
    for _ in range(rounds):  # in turns: what disturbs one disturbs all
        for name, measure in subjects.items():
            rates[name].append(measure())
    lines = []
    for name, found in rates.items():
        report.samples(name, found, "a second")
        lines.append([name, f"{median(found):,.0f}", f"{min(found):,.0f}-{max(found):,.0f}"])
    report.add(Table(["what", "a second, median", "least-most"], lines))


# ---- cgroups -------------------------------------------------------------------------------------


def cgroups(report, options):
    report.heading("cgroups that are sampled")
    headings = ["cgroups", "a sample (ms)", "p10-p90", "a cgroup (us)", "scan (ms)",
                "descriptors", "kernel memory a cgroup (KiB)"]  # fmt: skip
    lines, broke, points = [], [], []
    each, top = 64 << 10, f"/{common.own_name()}"
    sizes = [n for n in CGROUPS if n <= options.most_cgroups] or [options.most_cgroups]
    for count in sizes:
        try:
            check_memory(options, count * each)
        except TooLittleMemory as e:
            broke.append(f"{count} cgroups: {e}")
            break
        before = kernel_memory()
        sampling.make_cgroups(count)
        each = (kernel_memory() - before) / count
        with Sampler() as sampler:
            begin = time.perf_counter()
            sampler.scan(top)
            scan = time.perf_counter() - begin
            assert len(sampler.sample()) == count
            fds = len(os.listdir("/proc/self/fd"))
            rounds = 3 if options.quick else max(10, 20_000 // count)
            times = []
            for _ in range(rounds):
                begin = time.perf_counter()
                sampler.sample()
                times.append(time.perf_counter() - begin)
        spread = "-".join(number(quantile(times, q) * 1e3) for q in (0.1, 0.9))
        points.append((count, [t * 1e3 for t in times]))
        lines.append([
            count, number(median(times) * 1e3), spread, number(median(times) / count * 1e6),
            number(scan * 1e3), fds, number(each / 1024),
        ])  # fmt: skip
        common._remove_cgroups(os.getpid())
    report.add(Table(headings, lines, broke))
    report.curve("a sample", "ms", points)


# ---- all -----------------------------------------------------------------------------------------


def limits():
    """What this machine allows, for the reader."""

    def value(path):
        try:
            return common.read_file(path).decode().strip()
        except OSError:
            return "?"

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f"RLIMIT_NOFILE {soft} (hard {hard}), kernel.pid_max {value('/proc/sys/kernel/pid_max')}, "
        f"kernel.threads-max {value('/proc/sys/kernel/threads-max')}, "
        f"RLIMIT_NPROC {resource.getrlimit(resource.RLIMIT_NPROC)[0]}, "
        f"memory {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    )


PARTS = {"programs": programs, "launches": launches, "cgroups": cgroups}


def measure(options):
    report = Report("scale: what one machine holds", options)
    common.scratch()
    os.environ["CLIMITS_STATE_DIR"] = f"{tempfile.gettempdir()}/{common.own_name()}/state"
    report.add(limits())
    for name in options.part or PARTS:
        PARTS[name](report, options)
    report.end()


if __name__ == "__main__":
    parser = common.arguments(__doc__.partition("\n")[0], rounds=0, isolated=0)
    parser.add_argument("--part", action="append", choices=PARTS, help="that one only")
    parser.add_argument("--most", type=int, default=19_000, metavar="N", help="programs at most")
    parser.add_argument("--most-cgroups", type=int, default=16_000, metavar="N", help="at most")
    parser.add_argument("--leave", type=int, default=8, metavar="GIB", help="of memory, free")
    parser.add_argument("--settle", type=float, default=3.0, metavar="S", help="(%(default)g)")
    parser.add_argument("--watch", type=float, default=5.0, metavar="S", help="(%(default)g)")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="for a rate")
    sys.exit(common.main(parser, measure))
