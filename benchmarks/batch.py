"""What a job of a batch costs: 2,000 times /bin/true, each in a cgroup with a limit of its own.

The time is that of the whole command, its start-up included, by the number of jobs.  All but
runexec, which is started one by one, run as many at once as there are CPUs.  A batch of climits
writes its results to a file, and the history too.
"""

import os
import random
import subprocess
import time

import common
import peers

_TRUE = "/bin/true"
_REFERENCE = "climits batch --memory 64M"
_AT_ONCE = str(len(os.sched_getaffinity(0)))


class Many:
    """A command that runs many jobs.

    Attributes:
        name: what the table calls it.
        jobs: how many it runs.
        at_least: the target for the ratio to climits, or None.
        reason: why it cannot run here, or None.
    """

    def __init__(self, name, jobs, make, *, expect="", times=1, at_least=None):
        """Try it out.

        Args:
            make: gives the argument list.
            expect: must stand in what it prints.
            times: so often it is started, for one that runs one job.
        """
        self.name, self.jobs, self.at_least = name, jobs, at_least
        self.reason = None
        self._times = times
        try:
            self._argv = make()
            peers.try_out([self._argv], expect)
        except peers.NotHere as e:
            self.reason = str(e)

    def run(self):
        for _ in range(self._times):
            done = subprocess.run(
                self._argv, env=common.environment(), check=False, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"{self._argv}: status {done.returncode}")


def values(folder, count):
    """A file with so many lines."""
    path = f"{folder}/values-{count}"
    with open(path, "w", encoding="ascii") as file:
        file.writelines(f"{n}\n" for n in range(count))
    return path


def batch(folder, count, *options):
    return [
        peers.CLIMITS, "batch", "--memory", "64M", "--quiet", "--results", f"{folder}/results",
        *options, "-a", values(folder, count), "--", _TRUE,
    ]  # fmt: skip


def parallel(folder, count, command):
    return [
        peers.need("parallel"),
        "--will-cite",
        "-j",
        _AT_ONCE,
        "-a",
        values(folder, count),
        command,
    ]


def tools(name):
    """The commands of cgroup-tools for one job, for a shell."""
    _, version = common.memory_hierarchy()
    file = "memory.max" if version == 2 else "memory.limit_in_bytes"
    for command in ("cgcreate", "cgset", "cgexec", "cgdelete"):
        peers.need(command)
    return (
        f"cgcreate -g memory:{name} && cgset -r {file}={peers.LIMIT} {name} && "
        f"cgexec -g memory:{name} {_TRUE}; cgdelete -g memory:{name}"
    )


def by_hand(name):
    """The same without cgroup-tools: the least that a shell can do."""
    point, version = common.memory_hierarchy()
    file = "memory.max" if version == 2 else "memory.limit_in_bytes"
    path = f"{point}/{name}"
    return (
        f"mkdir {path} && echo {peers.LIMIT} > {path}/{file} && "
        f"(echo 0 > {path}/cgroup.procs && exec {_TRUE}); rmdir {path}"
    )


def subjects(folder, count, fewer, slow):
    name = f"{common.own_name()}-{{}}"
    each = f"{peers.CLIMITS} run --memory 64M --quiet -- {_TRUE} {{}}"
    return [
        Many(_REFERENCE, count, lambda: batch(folder, count)),
        Many("the same with --no-history", count, lambda: batch(folder, count, "--no-history")),
        Many("parallel: no limit", fewer, lambda: parallel(folder, fewer, f"{_TRUE} {{}}")),
        Many("parallel: cgcreate; cgset; cgexec; cgdelete", count,
             lambda: parallel(folder, count, tools(name)), at_least=2),
        Many("parallel: mkdir; echo; exec; rmdir", fewer,
             lambda: parallel(folder, fewer, by_hand(name))),
        Many("parallel: climits run", fewer, lambda: parallel(folder, fewer, each)),
        # It exits 0 even where it could start nothing.
        Many("runexec --no-container, one by one", slow, lambda: peers.runexec(_TRUE),
             expect="returnvalue=0", times=slow, at_least=20),
    ]  # fmt: skip


def in_turns(here, rounds, seed):
    """As common.sample, without rounds to warm up: each was tried out, for as long as a sample."""
    order, names = random.Random(seed), list(here)
    times = {name: [] for name in names}
    for _ in range(rounds):
        order.shuffle(names)
        for name in names:
            start = time.perf_counter()
            here[name].run()
            times[name].append(time.perf_counter() - start)
    return times


def measure(options):
    common.join_own_cgroup()
    report = common.Report("batch: what a job costs, ratio to climits batch", options)
    folder = common.scratch()
    os.environ["CLIMITS_STATE_DIR"] = f"{folder}/state"
    # A job costs the same among fewer: what nothing is promised of need not take minutes.
    counts = (40, 20, 2) if options.quick else (2000, 400, 40)
    every = subjects(folder, *counts)
    here = {many.name: many for many in every if many.reason is None}
    times = in_turns(here, options.rounds, options.seed)
    costs = {name: common.median(taken) / here[name].jobs for name, taken in times.items()}
    lines, reasons = [], []
    for many in every:
        target = "" if many.at_least is None else f">= {many.at_least}x"
        if many.reason is not None:
            lines.append([many.name, "not run", "", "", "", target, ""])
            reasons.append(f"{many.name}: {many.reason}")
            continue
        ratio = costs[many.name] / costs[_REFERENCE]
        holds = ""
        if many.at_least is not None:
            what = f"{many.name}, a job over {_REFERENCE}"
            holds = report.target(what, ratio, "x", at_least=many.at_least)
        spread = [common.number(t / many.jobs * 1e3) for t in sorted(times[many.name])]
        report.samples(many.name, [t / many.jobs * 1e3 for t in times[many.name]], "ms a job")
        lines.append([
            many.name, many.jobs, common.number(costs[many.name] * 1e3),
            f"{spread[0]}-{spread[-1]}", f"{ratio:.2f}x", target, holds,
        ])  # fmt: skip
    headings = ["what", "jobs", "a job (ms)", "least-most", "ratio", "target", "holds"]
    report.add(common.Table(headings, lines, reasons))
    report.end()


if __name__ == "__main__":
    parser = common.arguments(__doc__.partition("\n")[0], rounds=3, isolated=1, quick=(1, 1))
    common.main(parser, measure)
