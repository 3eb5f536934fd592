"""Cost against size: 1 to 10,000 cgroups, programs and jobs; 0 to 4 GiB that a parent has touched.

Each part measures the same things at each size, and tells what the curve shows: by how much the
ends differ, and what each further one costs.  What would take longer than `--patience` or more
memory than there is, judged by the size before, is left out and named.
"""

import os
import resource
import select
import subprocess
import time

import common
import launch
import memory
import peers
import supervisors
from supervise import Spent, descriptors

from climits.cgroup import files
from climits.cgroup.layout import current
from climits.observe.sampler import Sampler
from climits.observe.tree import read_tree

PARTS = ("cgroups", "programs", "jobs", "parent")
_TRUE = "/bin/true"
_SLEEP = ("/bin/sleep", "100000")
_MIB, _GIB = 1 << 20, 1 << 30
_PARENTS = (0, 64, 256, 512, 1024, 2048, 4096)  # MiB
_PROGRAM = 1 * _MIB  # of the machine's memory, that a sleeping program takes at most
_SAMPLED = ("memory", "cpuacct", "pids")


def sizes(most):
    """1, 10, 100 ... up to the largest."""
    found = [1]
    while found[-1] * 10 <= most:
        found.append(found[-1] * 10)
    return found


def taken(run, seconds, least=3, most=200):
    """Times of a function, in s, for about so many seconds; once more to warm up."""
    run()
    times, end = [], time.monotonic() + seconds
    while len(times) < least or (len(times) < most and time.monotonic() < end):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def shows(points, what, unit, each, of):
    """The sentence about a curve: the ends, their ratio, and the cost of each further one.

    Args:
        points: of the curve.
        what, unit: of the curve.
        each: (factor, unit) for the cost of each further one; None: it means nothing here.
        of: what there is more and more of.
    """
    (first, low, *_), (last, high, *_) = points[0], points[-1]
    if low == high == 0:
        return f"{what}: none, at any size."
    ends = f"{amount(low, unit)} at {first:,} {of}, {amount(high, unit)} at {last:,}"
    text = f"{what}: {ends}" + (f", which is {ratio(high / low)}." if low else ".")
    if each and last > first and high > low:
        more = (high - low) / (last - first) * each[0]
        text += f" Each further one costs {amount(more, each[1])}."
    return text


def amount(value, unit):
    return f"{common.number(value)} {unit}".strip()


def ratio(value):
    if 0.95 <= value <= 1.05:
        return "the same within 5 %"
    return f"{value:.2f} times as much" if value < 10 else f"{value:.0f} times as much"


class Curves:
    """What is measured at each size, and in the end the table and what it shows.

    Attributes:
        left_out: list[str], sizes that were not run, and why.
    """

    def __init__(self, report, heading, of):
        report.heading(heading)
        self._report, self._of = report, of
        self._sizes, self._found = [], {}
        self.left_out = []

    def add(self, size, measured):
        """What was measured at a size: (what, unit): list of samples."""
        self._sizes.append(size)
        for key, values in measured.items():
            self._found.setdefault(key, []).append((size, values))

    def tell(self, each):
        """Make the table and the sentences.

        Args:
            each: what: (factor, unit) for the cost of each further one.
        """
        lines, texts = [], []
        curves = {key: self._report.curve(*key, points) for key, points in self._found.items()}
        for n, size in enumerate(self._sizes):
            lines.append([f"{size:,}", *(common.number(curve[n][1]) for curve in curves.values())])
        headings = [self._of, *(f"{what} ({unit})" if unit else what for what, unit in curves)]
        self._report.add(common.Table(headings, lines, self.left_out))
        for (what, unit), curve in curves.items():
            texts.append(f"- {shows(curve, what, unit, each.get(what), self._of)}")
        self._report.add("\n".join(texts))


# ---- cgroups -----------------------------------------------------------------------------------


class Tree:
    """Cgroups in every hierarchy that is sampled, ten to a parent; more can be made."""

    def __init__(self):
        layout = current()
        found = {layout.find(name) for name in _SAMPLED} | {layout.unified}
        self._tops = []
        for hierarchy in filter(None, found):
            on = "".join(f"+{name} " for name in _SAMPLED if name in hierarchy.controllers)
            self._tops.append((hierarchy.mount_point, on if hierarchy.delegates else ""))
            self._hand_down(hierarchy.mount_point, self._tops[-1][1])
        self._names = []

    @staticmethod
    def _hand_down(path, on):
        if on:
            files.Directory(path).write("cgroup.subtree_control", on)

    def grow(self, count):
        """Until there are so many."""
        while len(self._names) < count:
            at = len(self._names)
            name = f"{common.own_name()}-size"
            if at:
                name = f"{self._names[(at - 1) // 10]}/climits-{at}"
            for top, on in self._tops:
                if at % 10 == 1:  # the first child of this parent
                    self._hand_down(f"{top}/{os.path.dirname(name)}", on)
                files.make(f"{top}/{name}")
            self._names.append(name)

    def remove(self):
        for name in reversed(self._names):
            for top, _ in self._tops:
                files.remove(f"{top}/{name}")


def cgroups(report, options):
    curves = Curves(report, "cgroups that exist", "cgroups")
    tree, layout, path = Tree(), current(), f"/{common.own_name()}-size"
    for size in sizes(options.most):
        tree.grow(size)
        with Sampler() as sampler:
            sampler.scan(path)
            assert len(sampler.sample()) == size
            measured = {
                "a tick of the sampler": taken(sampler.sample, options.seconds),
                "following the tree": taken(lambda s=sampler: s.scan(path), options.seconds),
            }
        measured["read_tree"] = taken(lambda: read_tree(layout, path), options.seconds)
        rounds = 5 if options.quick else 60
        pair = {"a launch by climits.run": launch.climits_run, "a bare posix_spawn": launch.bare}
        measured |= common.sample(pair, rounds, seed=options.seed)
        curves.add(
            size, {(what, "ms"): [s * 1e3 for s in times] for what, times in measured.items()}
        )
    tree.remove()
    first = ("a tick of the sampler", "following the tree", "read_tree")
    curves.tell(dict.fromkeys(first, (1e3, "us")))


# ---- programs ----------------------------------------------------------------------------------


def read_all(path):
    with open(path, "rb") as file:
        return file.read()


def started(running, count, patience):
    """Wait until a supervisor has so many children; seconds."""
    pid, begin = running.top.pid, time.monotonic()
    path = f"/proc/{pid}/task/{pid}/children"
    while True:
        running.check()
        there = len(read_all(path).split())
        if there >= count:
            return time.monotonic() - begin
        if time.monotonic() - begin > patience:
            raise peers.NotHere(f"{there:,} were started in {patience:g} s{running.said()}")
        time.sleep(0.02)


def programs(report, options):
    curves = Curves(report, "programs under one supervisor", "programs")
    before = 0.0
    # Two descriptors a program, and some of the supervisor's own.
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 100
    for size in sizes(options.most):
        if size > room:
            curves.left_out.append(f"{size:,} programs: no descriptors for them; {room:,} instead")
            size = room
        if before * 10 > options.patience:
            curves.left_out.append(f"{size:,} programs: would take more than {options.patience} s")
            break
        if launch.available() < size * _PROGRAM + 2 * _GIB:
            curves.left_out.append(f"{size:,} programs: the machine has no memory for them")
            break
        with supervisors.Running(supervisors.climits(f"size-{size}", _SLEEP, size)) as running:
            try:
                before = started(running, size, options.patience)
            except peers.NotHere as e:
                curves.left_out.append(f"{size:,} programs: {e}")
                break
            time.sleep(options.settle)
            own = running.own()
            look = Spent(own)
            time.sleep(options.watch)
            ticks, slept, _ = Spent(own).since(look)
            rss, pss, _ = memory.resident(own)
            curves.add(size, {
                ("to start them all", "s"): [before],
                ("RSS of the supervisor and its guard", "MiB"): [rss],
                ("PSS", "MiB"): [pss],
                ("descriptors", ""): [descriptors(running.top.pid)],
                (f"wake-ups in {options.watch:g} s", ""): [slept],
                (f"CPU in {options.watch:g} s", "ticks"): [ticks],
            })  # fmt: skip
            end = time.monotonic()
            running.ask_to_end()
        before += time.monotonic() - end
    resident = (1024, "KiB")
    curves.tell({
        "to start them all": (1e3, "ms"), "RSS of the supervisor and its guard": resident,
        "PSS": resident, "descriptors": (1, ""),
    })  # fmt: skip


# ---- jobs --------------------------------------------------------------------------------------


def batch(folder, count):
    """(seconds, highest RSS in MiB) of a batch of so many times /bin/true."""
    path = f"{folder}/jobs-{count}"
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{_TRUE}\n" * count)
    words = [peers.CLIMITS, "batch", "--memory", "64M", "--quiet", "--format", "lines",
             "--results", f"{folder}/results-{count}", path]  # fmt: skip
    start = time.perf_counter()
    with open(os.devnull, "r+b") as null:
        process = subprocess.Popen(
            words, stdin=null, stdout=null, stderr=null, env=common.environment()
        )
    # Not from wait4: ru_maxrss begins with what this process held when it forked.
    most, pidfd = 0, os.pidfd_open(process.pid)
    while not select.select([pidfd], [], [], 0.02)[0]:
        lines = read_all(f"/proc/{process.pid}/status").splitlines()
        most = max([most, *(int(x.split()[1]) for x in lines if x.startswith(b"VmHWM"))])
    seconds = time.perf_counter() - start
    os.close(pidfd)
    status = process.wait()
    launch.must(status == 0, status)
    return seconds, most / 1024


def jobs(report, options):
    curves = Curves(report, "jobs in a batch", "jobs")
    folder, before = supervisors.in_scratch("batches"), 0.0
    os.mkdir(folder)
    for size in sizes(options.most):
        if before * 10 > options.patience:
            curves.left_out.append(f"{size:,} jobs: would take more than {options.patience} s")
            break
        found = [batch(folder, size) for _ in range(1 if options.quick or size > 1000 else 5)]
        before = common.median([seconds for seconds, _ in found])
        curves.add(size, {
            ("the whole batch", "s"): [seconds for seconds, _ in found],
            ("a job", "ms"): [seconds / size * 1e3 for seconds, _ in found],
            ("highest RSS", "MiB"): [rss for _, rss in found],
        })  # fmt: skip
    curves.tell({"the whole batch": (1e3, "ms"), "highest RSS": (1024, "KiB")})


# ---- the parent --------------------------------------------------------------------------------


def parent(report, options):
    curves = Curves(report, "memory that the parent has touched", "MiB")
    hand = launch.ByHand()
    rounds = 3 if options.quick else 40
    for size in _PARENTS[:3] if options.quick else _PARENTS:
        if launch.available() < size * _MIB + _GIB:
            curves.left_out.append(f"{size:,} MiB: the machine has no memory for it")
            break
        with launch.Holding(max(size, 1) * _MIB):
            pair = {"climits.run": launch.climits_run, "os.posix_spawn, no limit": launch.bare}
            times = common.sample(pair, rounds, seed=options.seed)
            # Apart, since the others would pay for it: the parent's pages are copied afterwards.
            times["subprocess with preexec_fn"] = taken(
                hand.preexec, 2 * options.seconds, most=rounds
            )
        curves.add(size, {(what, "ms"): [s * 1e3 for s in t] for what, t in times.items()})
    curves.tell({"subprocess with preexec_fn": (1e3, "us")})


# ---- all of it ---------------------------------------------------------------------------------


def descriptors_at_most():
    """Raise the limit on descriptors as far as we may; what it is then."""
    with open("/proc/sys/fs/nr_open", encoding="ascii") as file:
        most = int(file.read())
    for limit in (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        except ValueError:  # without CAP_SYS_RESOURCE
            continue
        break
    return limit


def measure(options):
    most = descriptors_at_most()
    common.scratch()
    os.environ["CLIMITS_STATE_DIR"] = supervisors.in_scratch("state")
    options.most = options.most or (100 if options.quick else 10_000)
    if options.quick:
        options.seconds, options.watch = 0.1, 1.0
    report = common.Report("size: what it costs, the more there is", options)
    report.add(f"With at most {most:,} descriptors a process (RLIMIT_NOFILE).")
    for name in options.part or PARTS:
        globals()[name](report, options)
    report.end()


if __name__ == "__main__":
    parser = common.arguments(__doc__.partition("\n")[0], rounds=None, isolated=None)
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)} (all)")
    parser.add_argument("--most", type=int, metavar="N", help="(10,000; quick: 100)")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="(%(default)g)")
    parser.add_argument("--watch", type=float, default=10.0, metavar="S", help="(%(default)g)")
    parser.add_argument("--settle", type=float, default=2.0, metavar="S", help="(%(default)g)")
    parser.add_argument("--patience", type=float, default=120.0, metavar="S", help="(%(default)g)")
    parser.add_argument("--seed", type=int, default=common.SEED, help="of the order (%(default)d)")
    common.main(parser, measure)
