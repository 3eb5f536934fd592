"""What the benchmarks share: paired samples, tables, and a guard that leaves nothing behind.

A comparison is *paired*: the subjects take turns within one run, in an order that is shuffled in
each round, so that whatever disturbs the machine disturbs all of them alike.  Each is measured
back to back and isolated, with the machine left idle before each launch: some of the kernel's
global locks cost nothing in a tight loop and milliseconds when they are taken now and then.
"""

import argparse
import ctypes
import glob
import os
import random
import shutil
import signal
import sys
import tempfile
import time

from reporting import Report, Table, median, number, quantile, spread

__all__ = ["Report", "Table", "median", "number", "quantile", "spread"]  # for every script

IDLE = 0.040  # seconds before an isolated launch
SEED = 20240229
_WARM_UP = 3  # rounds that are not counted
_PR_SET_CHILD_SUBREAPER = 36
#: Beside memory, those that BenchExec wants.  Not cpu: it would change our share of the CPUs.
_JOINED = ("memory", "cpuset", "cpuacct", "freezer", "blkio")


# ---- sampling ----------------------------------------------------------------------------------


def sample(subjects, rounds, idle=0.0, seed=SEED):
    """Time subjects that take turns.

    Args:
        subjects: name: function without arguments.
        rounds: samples of each.
        idle: seconds of rest before each.
        seed: of the order in which they take turns.

    Returns:
        name: list[float], seconds.
    """
    order = random.Random(seed)
    names = list(subjects)
    times = {name: [] for name in names}
    for n in range(-min(_WARM_UP, rounds), rounds):
        order.shuffle(names)
        for name in names:
            subject = subjects[name]
            if idle:
                time.sleep(idle)
            start = time.perf_counter()
            subject()
            took = time.perf_counter() - start
            if n >= 0:
                times[name].append(took)
    return times


class Row:
    """One subject of a comparison.

    Attributes:
        name: what the table calls it.
        run: does the thing once, or None when it cannot run here.
        at_most, at_least: the target for the ratio to the reference, or None.
        under: the target is for the reference over this one: at most so much.
        only_isolated: the target is meant for the isolated launch.
        reason: why it cannot run here.
    """

    def __init__(
        self, name, run, *, at_most=None, at_least=None, under=None, only_isolated=False,
        reason=None
    ):  # fmt: skip
        self.name, self.run, self.reason = name, run, reason
        self.at_most, self.at_least, self.under = at_most, at_least, under
        self.only_isolated = only_isolated

    @property
    def target(self):
        """For people; may be empty."""
        if self.at_most is not None:
            return f"<= {self.at_most:g}x"
        if self.at_least is not None:
            return f">= {self.at_least:g}x"
        if self.under is None:
            return ""
        isolated = ", isolated" if self.only_isolated else ""
        return f"climits <= {self.under:g}x of it{isolated}"

    def holds(self, report, reference, way, ratio):
        """The cell of the table; tells the report."""
        what = f"{self.name}, over {reference}, {way}"
        if self.at_most is not None:
            return report.target(what, ratio, "x", at_most=self.at_most)
        if self.at_least is not None:
            return report.target(what, ratio, "x", at_least=self.at_least)
        if self.under is not None and (way == "isolated" or not self.only_isolated):
            what = f"{reference}, over {self.name}, {way}"
            return report.target(what, 1 / ratio, "x", at_most=self.under)
        return ""


def compare(report, rows, reference, options, *, scale, unit, shown=None):
    """Measure rows against one of them, in both ways, and keep the samples.

    Args:
        report: Report, which is told of samples and targets.
        rows: list[Row].
        reference: name of the row that the others are divided by.
        options: what `arguments` read.
        scale: units in a second.
        unit: its name.
        shown: names of the rows to return; None: all.

    Returns:
        (headings, lines of cells, reasons of what was not run) for `Table`.
    """
    headings = [
        "what", f"back to back ({unit})", "p10-p90", "ratio", f"isolated ({unit})", "p10-p90",
        "ratio", "target", "holds",
    ]  # fmt: skip
    subjects = {row.name: row.run for row in rows if row.run is not None}
    ways = {
        "back to back": sample(subjects, options.rounds, seed=options.seed),
        "isolated": sample(subjects, options.isolated, options.idle / 1000, seed=options.seed),
    }
    lines, reasons = [], []
    for row in rows:
        if shown is not None and row.name not in shown:
            continue
        if row.run is None:
            lines.append([row.name, "not run", *[""] * 5, row.target, ""])
            reasons.append(f"{row.name}: {row.reason}")
            continue
        cells, marks = [row.name], []
        for way, times in ways.items():
            taken = times[row.name]
            ratio = median(taken) / median(times[reference])
            same = row.name == reference
            report.samples(row.name, [seconds * scale for seconds in taken], unit, way)
            cells += [number(median(taken) * scale), spread(taken, scale)]
            cells.append("1" if same else f"{ratio:.2f}x")
            marks.append(row.holds(report, reference, way, ratio))
        told = list(dict.fromkeys(filter(None, marks)))
        lines.append([*cells, row.target, " / ".join(told)])
    return headings, lines, reasons


# ---- cgroups -----------------------------------------------------------------------------------


def mounts():
    """(mount point, version, options) of each cgroup hierarchy."""
    found = []
    with open("/proc/self/mounts", encoding="utf-8") as file:
        for line in file:
            _, point, fstype, options = line.split()[:4]
            if fstype in ("cgroup", "cgroup2"):
                found.append((point, 2 if fstype == "cgroup2" else 1, options.split(",")))
    return found


def mode():
    versions = {version for _, version, _ in mounts()}
    return {(): "none", (1,): "legacy", (2,): "unified"}.get(tuple(sorted(versions)), "hybrid")


def memory_hierarchy():
    """(mount point, version) of the one that holds the memory controller; None: there is none."""
    for point, version, options in mounts():
        if version == 1 and "memory" in options:
            return point, 1
    for point, version, _ in mounts():
        if version == 2:
            with open(f"{point}/cgroup.controllers", encoding="ascii") as file:
                if "memory" in file.read().split():
                    return point, 2
    return None


def own_name():
    """The name that all cgroups and files of this benchmark start with, to be found at the end."""
    return f"bench-climits-{_guard}"


def scratch():
    """A new directory, removed at the end."""
    path = f"{tempfile.gettempdir()}/{own_name()}"
    os.mkdir(path, 0o700)
    return path


def join_own_cgroup():
    """Move this process into a v1 cgroup of its own, in which peers may nest theirs."""
    for point, version, options in mounts():
        if version == 2 or not set(_JOINED) & set(options):
            continue
        directory = f"{point}/{own_name()}"
        os.mkdir(directory)
        if "cpuset" in options:  # a new one has neither CPUs nor memory nodes
            for file in ("cpuset.cpus", "cpuset.mems"):
                with open(f"{point}/{file}", "rb") as above:
                    write_file(f"{directory}/{file}", above.read())
        write_file(f"{directory}/tasks", b"0")


def write_file(path, data):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def read_file(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 65536)
    finally:
        os.close(fd)


def _remove_cgroups(child):
    """Remove what was made here, and what climits made for a child that was killed."""
    for point, _, _ in mounts():
        for name in (f"{own_name()}*", f"climits/{own_name()}*", f"climits/*-{child}-*"):
            for top in glob.glob(f"{glob.escape(point)}/{name}"):
                for directory, _, _ in os.walk(top, topdown=False):
                    _remove_cgroup(directory)


def _remove_cgroup(directory):
    for _ in range(100):
        try:
            for pid in read_file(f"{directory}/cgroup.procs").split():
                os.kill(int(pid), signal.SIGKILL)
        except OSError:
            pass
        try:
            os.rmdir(directory)
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.01)
    print(f"cannot remove {directory}", file=sys.stderr)


# ---- processes ---------------------------------------------------------------------------------


def environment():
    """The environment of what is measured: nothing that makes Python slower or faster."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    # Not into the history of whoever measures.
    return {**ours, "CLIMITS_STATE_DIR": f"{tempfile.gettempdir()}/{own_name()}/state"}


def children_by_parent():
    """pid: list of the pids of its children."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = read_file(f"/proc/{entry}/stat")
            except OSError:
                continue  # it has ended
            found.setdefault(int(stat.rpartition(b")")[2].split()[1]), []).append(int(entry))
    return found


def descendants(pid):
    """Pids below a process; may be empty."""
    below, out, todo = children_by_parent(), [], [pid]
    while todo:
        found = below.get(todo.pop(), [])
        out += found
        todo += found
    return out


# ---- the guard ---------------------------------------------------------------------------------

_guard = 0  # pid of the process that cleans up


def arguments(description, *, rounds, isolated, quick=(10, 3)):
    """A parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a smoke run: figures mean nothing")
    parser.add_argument("--json", metavar="FILE", help="write the result to FILE; -: a line of it")
    parser.add_argument(
        "--share", type=float, default=1.0, metavar="S",
        help="of the rounds, for whom all of them take too long (%(default)g)",
    )  # fmt: skip
    if rounds:
        parser.add_argument("--rounds", type=int, metavar="N", help=f"back to back ({rounds})")
        parser.add_argument("--isolated", type=int, metavar="N", help=f"isolated ({isolated})")
        parser.add_argument(
            "--idle", type=float, metavar="MS", default=IDLE * 1000,
            help="rest before an isolated launch (%(default)g)",
        )  # fmt: skip
        parser.add_argument("--seed", type=int, default=SEED, help="of the order (%(default)d)")
    parser.set_defaults(counts=((rounds, isolated), quick))
    return parser


def share(count, options, least=3):
    """That share of a count which is asked for, and no less than a median needs."""
    return count if options.quick else min(count, max(least, round(count * options.share)))


def main(parser, measure, *, needs_root=True):
    """Run a benchmark, and clean up behind it whatever happens.

    The measuring is done by a child.  This process outlives it, inherits what it leaves running,
    ends that, and removes cgroups and files.
    """
    options = parser.parse_args()
    full, quick = options.counts
    if full[0]:
        counts = quick if options.quick else full
        options.rounds = options.rounds or share(counts[0], options)
        options.isolated = options.isolated or share(counts[1], options)
    if needs_root and os.geteuid() != 0:
        sys.exit(f"{parser.prog}: needs root, to make cgroups")
    if memory_hierarchy() is None:
        sys.exit(f"{parser.prog}: needs a mounted cgroup hierarchy with the memory controller")
    global _guard
    _guard = os.getpid()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            measure(options)
        except KeyboardInterrupt:
            sys.exit(130)
        return
    # Ctrl+C reaches the child too: it ends, and then so do we.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    _, status = os.waitpid(child, 0)
    _end_orphans()
    _remove_cgroups(child)
    shutil.rmtree(f"{tempfile.gettempdir()}/{own_name()}", ignore_errors=True)
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)


def _end_orphans():
    """End what the child left running: as a subreaper we have inherited it."""
    patience = time.monotonic() + 3  # what is in flight ends by itself, and cleans up
    while orphans := descendants(os.getpid()):
        if time.monotonic() > patience:
            # The lowest first: who waits for them then ends as usual.
            parents = children_by_parent()
            for pid in orphans:
                if pid not in parents:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            patience += 0.5
        time.sleep(0.02)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
