"""How well a trace of jobs is packed onto N machines: a simulation.

Policies are a way to choose limits, and a scheduler.  The scheduler is climits' own, the code that
`climits batch` runs, with N machines behind its budget; or Dask's rules.  scale_trace.py makes the
jobs, scale_cluster.py and
scale_dask_rules.py have the machines, scale_plots.py draws what comes of it.

    python benchmarks/scale_simulate.py --machines 10 --machines 1000 -o results.json
    python benchmarks/scale_simulate.py --trace jobs.csv --machines 10
"""

import argparse
import json
import math
import sys
import time

import scale_cluster
import scale_dask_rules
import scale_trace
from reporting import Table, median, number, quantile

from climits.history.entries import Entry
from climits.history.suggest import suggest

GIB = scale_trace.GIB
SEED = 20240229
#: Of each machine.
MEMORY, CPUS = 16 * GIB, 16
#: Jobs for each machine, unless it is said.
EACH = 200
#: Utilisation counts until so many of the jobs have been started.
STARTED = 0.95


def one_limit(past, share):
    """A limit that is enough for a share of all earlier runs, whatever they ran, bytes."""
    peaks = [peak for each in past.values() for peak in each]
    return math.ceil(quantile(peaks, share) / scale_trace.MIB) * scale_trace.MIB


def suggestions(past):
    """{command: what climits suggest says, bytes}."""
    return {command: suggest(entries(command, peaks)).memory for command, peaks in past.items()}


def entries(command, peaks):
    """Earlier runs as the history has them: with no limit, so each peak is what was needed."""
    return [
        Entry(
            started=float(n), source="run", command=[command], verdict="exited", returncode=0,
            exit_status=0, memory_peak=peak,
        )
        for n, peak in enumerate(peaks)
    ]  # fmt: skip


class Policy:
    """A way to choose limits, and who schedules.

    Attributes:
        name: what the tables call it.
        limits: function of (tasks, past) that gives bytes for each task.
        dask: Dask's rules instead of climits' scheduler.
        enforced: a task that needs more than its limit is killed, alone, and tried again.
    """

    def __init__(self, name, limits, *, dask=False, enforced=True):
        self.name, self.limits, self.dask, self.enforced = name, limits, dask, enforced

    def run(self, tasks, past, machines, seed):
        """(Books, seconds in the scheduler or None, decisions or None)."""
        limits = self.limits(tasks, past)
        if not self.dask:
            return scale_cluster.with_climits(tasks, limits, machines, MEMORY, CPUS)
        cluster = scale_dask_rules.Dask(
            tasks, limits, machines, MEMORY, CPUS, enforced=self.enforced, seed=seed
        )
        return cluster.run(), None, None


def _suggested(tasks, past):
    found = suggestions(past)
    return [found[task.command] for task in tasks]


def _asked(tasks, _past):
    return [task.asked for task in tasks]


POLICIES = (
    Policy("one generous limit", lambda tasks, past: [one_limit(past, 0.99)] * len(tasks)),
    Policy("one tight limit", lambda tasks, past: [one_limit(past, 0.50)] * len(tasks)),
    Policy("what users ask for", _asked),
    Policy("climits suggest", _suggested),
    Policy("each its very peak", lambda tasks, _: [task.peak for task in tasks]),
    Policy("Dask alone, what users ask for", _asked, dask=True, enforced=False),
    Policy("climits on Dask, climits suggest", _suggested, dask=True),
)


def figures(policy, machines, tasks, past, seed):
    """What one run comes to, for a line of JSON."""
    begin = time.perf_counter()
    books, spent, decisions = policy.run(tasks, past, machines, seed)
    real = time.perf_counter() - begin
    waited = list(books.waited.values())
    until = max(books.started_by(STARTED), scale_cluster.BIN)
    capacity = machines * MEMORY
    total = books.useful + books.wasted
    return {
        "policy": policy.name, "dask": policy.dask, "machines": machines, "jobs": len(tasks),
        "memory": MEMORY, "cpus": CPUS, "seed": seed,
        "utilisation": books.used_until(until) / (capacity * until),
        "attempts": books.attempts, "killed": books.killed,
        "workers_killed": books.workers_killed,
        "failed": sum(end == "failed" for end in books.ends.values()),
        "wasted": books.wasted / total, "wasted_seconds": books.wasted_time,
        "waited_median": quantile(waited, 0.5), "waited_p99": quantile(waited, 0.99),
        "waited": [float(f"{value:.4g}") for value in percentiles(waited)],
        "started_95": until, "makespan": books.makespan,
        "real": real, "scheduler_seconds": spent, "decisions": decisions,
    }  # fmt: skip


def percentiles(values):
    """From the least to the most, 101 values."""
    ordered = sorted(values)
    return [ordered[round(q * (len(ordered) - 1) / 100)] for q in range(101)]


HEADINGS = [
    "limits, and who schedules", "utilisation", "OOM kills a job", "workers killed",
    "jobs failed", "work lost", "wait, median (s)", "wait, p99 (s)", "makespan (s)",
    "decisions a second",
]  # fmt: skip


def line(runs):
    """Cells of a policy: medians of its runs, one for each seed."""

    def middle(key):
        return median([run[key] for run in runs])

    rate = ""
    if runs[0]["decisions"]:
        rate = f"{median([run['decisions'] / run['scheduler_seconds'] for run in runs]):,.0f}"
    kills = median([run["killed"] / run["jobs"] for run in runs])
    return [
        runs[0]["policy"], f"{middle('utilisation'):.0%}", f"{kills:.3g}",
        f"{middle('workers_killed'):,.0f}", f"{middle('failed'):,.0f}", f"{middle('wasted'):.1%}",
        number(middle("waited_median")), number(middle("waited_p99")),
        f"{middle('makespan'):,.0f}", rate,
    ]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--machines", type=int, action="append", metavar="N", help="(10)")
    parser.add_argument("--each", type=int, default=EACH, metavar="N", help="jobs a machine")
    parser.add_argument("--trace", metavar="FILE", help="jobs of a file; see scale_trace.py")
    parser.add_argument("--save-trace", metavar="FILE", help="write the trace, and end")
    parser.add_argument("--seed", type=int, default=SEED, help="(%(default)d)")
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="traces: this and the next"
    )
    parser.add_argument("--policy", action="append", metavar="WORD", help="those with it only")
    parser.add_argument("-o", "--output", metavar="FILE", help="add each run to it, as JSON lines")
    options = parser.parse_args()
    if options.save_trace:
        machines = (options.machines or [10])[0]
        scale_trace.write(
            options.save_trace,
            scale_trace.generate(machines * options.each, MEMORY, options.seed)[0],
        )
        return
    for machines in options.machines or [10]:
        print(f"{compared(machines, options)}\n")


def compared(machines, options):
    """Run all policies on so many machines; text for the reader."""
    found = {}
    for seed in range(options.seed, options.seed + options.seeds):
        if options.trace:
            tasks, past = from_file(options.trace)
        else:
            tasks, past = scale_trace.generate(machines * options.each, MEMORY, seed)
        for policy in POLICIES:
            if options.policy and not any(word in policy.name for word in options.policy):
                continue
            one = figures(policy, machines, tasks, past, seed)
            found.setdefault(policy.name, []).append(one)
            print(f"{seed}: {policy.name}: {one['real']:.1f} s", file=sys.stderr, flush=True)
            if options.output:
                with open(options.output, "a", encoding="utf-8") as file:
                    file.write(json.dumps(one) + "\n")
    seeds = f", medians of {options.seeds} traces" if options.seeds > 1 else ""
    told = f"{machines:,} machines, {len(tasks):,} jobs{seeds}"
    return f"{told}\n\n{Table(HEADINGS, map(line, found.values()))}"


def from_file(path):
    """(the jobs of a trace but for each command's first ones, {command: peaks of these})."""
    tasks, past = [], {}
    for task in scale_trace.read(path):
        before = past.setdefault(task.command, [])
        if len(before) < scale_trace.HISTORY:
            before.append(task.peak)
        else:
            tasks.append(task)
    if not tasks:
        sys.exit(f"{path}: no command has more than {scale_trace.HISTORY} jobs")
    return tasks, {task.command: past[task.command] for task in tasks}


if __name__ == "__main__":
    main()
