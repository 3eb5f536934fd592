"""Hold the model of Dask in scale_dask_rules.py against a real cluster, and time its decisions.

    python benchmarks/scale_dask.py -o dask.json

Tiny trace
    The same tasks on a real LocalCluster and in the model, without climits: each takes its claim of
    the resource and sleeps.  The real one tells which worker ran each, and when it started.  What
    can be compared is compared: how many tasks each worker ran, how many were stolen, the longest
    wait, and the time until the last one ended.  Which worker takes which task is by chance in
    Dask (of workers with the same occupancy it takes the first of a set), so not that.
Decisions
    What one decision of distributed's own `decide_worker` takes with N workers, for a task that
    has a resource: the scheduler's state is made without a network.
Jobs
    How many jobs `true` a second `climits batch --dask` gets through a cluster on this machine, of
    two workers with four threads each; as root, since they make cgroups.
"""

import argparse
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time

import scale_dask_rules
from reporting import Table, median, number
from scale_trace import GIB, Task

RESOURCE = "memory"


# ---- a tiny trace ------------------------------------------------------------------------------


def case(name):
    """(workers, threads, memory of each, tasks): durations in seconds, claims in GiB."""
    if name == "even":
        tasks = [(0.5, 4)] * 24
    elif name == "head of line":  # a large one at the head of the queue keeps the small ones out
        tasks = [(2.0, 6), (2.0, 6), *[(1.0, 8), (0.5, 1)] * 6]
    elif name == "one slow":  # the idle ones come to steal
        tasks = [(0.3, 1) if n % 3 else (2.5, 8) for n in range(30)]
    else:
        rng = random.Random(7)
        tasks = [(rng.uniform(0.2, 2.0), rng.choice((1, 2, 4, 8))) for _ in range(40)]
    return (
        3,
        4,
        8 * GIB,
        [Task("task", size * GIB, seconds, 1.0, size * GIB) for seconds, size in tasks],
    )


CASES = ("even", "head of line", "one slow", "mixed")


def work(seconds):
    """What a task does on a worker."""
    from distributed import get_worker

    begin = time.time()
    time.sleep(seconds)
    return get_worker().address, begin, time.time()


def really(name):
    """Tasks on a real cluster: figures as `modelled` gives them."""
    from distributed import Client, LocalCluster

    workers, threads, memory, tasks = case(name)
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=threads, processes=False,
            dashboard_address=":0", silence_logs=logging.ERROR,
            resources={RESOURCE: memory}, memory_limit=0,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        begin = time.time()
        futures = [
            client.submit(
                work, task.duration, key=f"work-{n}", pure=False, resources={RESOURCE: task.asked}
            )
            for n, task in enumerate(tasks)
        ]
        told = client.gather(futures)
        moves = sum(
            1 for _, event in cluster.scheduler.get_events("stealing") if event[0] == "confirm"
        )
    ran = sorted(sum(address == one for address, _, _ in told) for one in {a for a, _, _ in told})
    return {
        "ran": ran, "stolen": moves, "longest_wait": max(b for _, b, _ in told) - begin,
        "makespan": max(e for _, _, e in told) - begin,
    }  # fmt: skip


def modelled(name, seed=0):
    """The same tasks in the model."""
    workers, threads, memory, tasks = case(name)
    cluster = scale_dask_rules.Dask(
        tasks, [task.asked for task in tasks], workers, memory, threads, enforced=True, seed=seed
    )
    books = cluster.run()
    return {
        "ran": sorted(cluster.ran), "stolen": cluster.moves,
        "longest_wait": max(books.waited.values()), "makespan": books.makespan,
    }  # fmt: skip


def compared(runs):
    """[(case, list of real runs, list of modelled ones)]."""
    return [
        (name, [really(name) for _ in range(runs)], [modelled(name, seed) for seed in range(runs)])
        for name in CASES
    ]


# ---- decisions ---------------------------------------------------------------------------------


def decision_times(workers, rounds):
    """Seconds of CPU time in which distributed finds a worker for one task, list[float]."""
    from distributed import Scheduler
    from distributed.core import Status
    from distributed.scheduler import WorkerState

    scheduler = Scheduler(dashboard=False, dashboard_address=":0", validate=False)
    for n in range(workers):
        address = f"tcp://10.{n >> 16}.{n >> 8 & 255}.{n & 255}:1"
        ws = WorkerState(
            address=address, status=Status.running, pid=n, name=address, nthreads=16,
            memory_limit=16 * GIB, local_directory="", nanny=None, server_id=address,
            scheduler=scheduler,
        )  # fmt: skip
        scheduler.workers[address] = ws
        scheduler.running.add(ws)
        scheduler.total_nthreads += 16
        scheduler.resources.setdefault(RESOURCE, {})[address] = 16 * GIB
    task = scheduler.new_task("task-1", None, "released")
    task.resource_restrictions = {RESOURCE: GIB}
    times = []
    for _ in range(rounds):
        begin = time.thread_time()  # CPU time: what else runs here does not count
        found = scheduler.decide_worker_non_rootish(task)
        times.append(time.thread_time() - begin)
        assert found is not None
    return times


# ---- jobs ----------------------------------------------------------------------------------------


def jobs_a_second(jobs):
    """Of a real batch on a real cluster, from its start to its end, figures of one run."""
    from distributed import LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=4, dashboard_address=":0", silence_logs=logging.ERROR,
            resources={RESOURCE: 4 * GIB},
        ) as cluster,
        tempfile.TemporaryDirectory() as folder,
    ):  # fmt: skip
        with open(f"{folder}/values", "w", encoding="ascii") as file:
            file.writelines(f"{n}\n" for n in range(jobs))
        climits = os.path.join(os.path.dirname(sys.executable), "climits")
        words = [
            climits, "batch", "--dask", cluster.scheduler_address, "--memory", "50M", "--quiet",
            "--no-history", "--results", f"{folder}/results", "-a", "values", "--", "/bin/true",
        ]  # fmt: skip
        begin = time.monotonic()
        subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return jobs / (time.monotonic() - begin)


# ---- telling -----------------------------------------------------------------------------------


def line(name, who, runs):
    def spread(key):
        values = [run[key] for run in runs]
        return f"{number(min(values))}-{number(max(values))}"

    ran = [f"{min(each)}-{max(each)}" for each in zip(*(run["ran"] for run in runs), strict=True)]
    return [name, who, ", ".join(ran), spread("stolen"), spread("longest_wait"), spread("makespan")]


def traces(options):
    lines, found = [], []
    for name, real, model in compared(options.runs):
        found.append({"case": name, "real": real, "model": model})
        lines += [line(name, "distributed", real), line("", "the model", model)]
    headings = [
        "trace",
        "who",
        "tasks of each worker",
        "stolen",
        "longest wait (s)",
        "makespan (s)",
    ]
    print(f"{Table(headings, lines)}\n", flush=True)
    return found


def decisions(options):
    lines, found = [], []
    for workers in (10, 100, 1000, 10_000, 100_000):
        took = median(decision_times(workers, options.rounds))
        found.append({"workers": workers, "seconds": took})
        lines.append([f"{workers:,}", number(took * 1e3), number(1 / took)])
    print(f"{Table(['workers', 'one decision (ms)', 'decisions a second'], lines)}\n", flush=True)
    return found


def jobs(options):
    rates = [jobs_a_second(options.jobs) for _ in range(3)]
    print(f"climits batch --dask: {number(median(rates))} jobs a second\n", flush=True)
    return rates


PARTS = {"traces": traces, "decisions": decisions, "jobs": jobs}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="that one only")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="(%(default)d)")
    parser.add_argument("--rounds", type=int, default=11, metavar="N", help="(%(default)d)")
    parser.add_argument("--jobs", type=int, default=300, metavar="N", help="(%(default)d)")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write what was found into it, as JSON"
    )
    options = parser.parse_args()
    found = {}
    if options.output and os.path.exists(options.output):
        with open(options.output, encoding="utf-8") as file:
            found = json.load(file)
    for part in options.part or PARTS:
        found[part] = PARTS[part](options)
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
