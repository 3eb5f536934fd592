"""What the history costs: a run and a batch with and without it, and each step into SQLite.

A run adds a line to a spool, which the next reader takes over into SQLite.  Beside it stands what
was not chosen: each run opens the database and inserts a row.
"""

import itertools
import os
import subprocess
import sys
import time

import common
import peers
from command import runner

_ROWS = 1000
_JOBS = 500
TARGET = 1.05
_RECORDED = "the same, recorded"

#: What was not chosen, as the end of a run would do it.
_DIRECT = """
from climits.history.entries import Entry
from climits.history.store import History
with History() as history:
    history.add([Entry(started=1.0, source="run", command=["true"], verdict="exited",
                       exit_status=0)])
"""


def whole_runs(report, options):
    """Whole commands.

    5 % is less than the machine's own ups and downs, so the ratio is the median of the rounds'
    ratios, in which both commands met the same machine.
    """
    recorded = peers.climits("/bin/true")
    at = recorded.index("--")
    plain = [*recorded[:at], "--no-history", *recorded[at:]]
    subjects = {
        "climits run --no-history": runner([plain]),
        _RECORDED: runner([recorded]),
        "the same, and SQLite by a Python of its own": runner(
            [plain, [sys.executable, "-c", _DIRECT]]
        ),
    }
    lines, held = [[name] for name in subjects], []
    ways = {
        "back to back": (options.rounds, 0.0), "isolated": (options.isolated, options.idle / 1000)
    }  # fmt: skip
    for way, (rounds, idle) in ways.items():
        times = common.sample(subjects, rounds, idle, seed=options.seed)
        base = next(iter(times.values()))
        for line, (name, taken) in zip(lines, times.items(), strict=True):
            ratio = common.median([a / b for a, b in zip(taken, base, strict=True)])
            line += [common.number(common.median(taken) * 1e3), f"{ratio:.3f}x"]
            report.samples(name, [seconds * 1e3 for seconds in taken], "ms", way)
            if name == _RECORDED:
                held.append(report.target(f"a recorded run, over --no-history, {way}", ratio, "x",
                                          at_most=TARGET))  # fmt: skip
    for line in lines:
        recorded = line[0] == _RECORDED
        line += [f"<= {TARGET}x", " / ".join(dict.fromkeys(held))] if recorded else ["", ""]
    headings = ["what", "back to back (ms)", "of rounds", "isolated (ms)", "of rounds", "target",
                "holds"]  # fmt: skip
    report.add(common.Table(headings, lines))


def batches(report, options, folder):
    """A batch with and without it, the results written both times; ratios as above."""
    jobs = f"{folder}/jobs"
    with open(jobs, "w") as file:
        file.write("/bin/true\n" * _JOBS)
    batch = [peers.CLIMITS, "batch", "--memory", "50M", "--format", "lines"]
    files = itertools.count()

    def run(*words):
        results = f"{folder}/results-{next(files)}"
        subprocess.run([*batch, "--results", results, *words, jobs], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        os.unlink(results)

    subjects = {"climits batch --no-history": lambda: run("--no-history"), "recorded": run}
    times = common.sample(subjects, max(options.rounds // 10, 1), 0.0, seed=options.seed)
    base = next(iter(times.values()))
    lines = []
    for name, taken in times.items():
        ratio = common.median([a / b for a, b in zip(taken, base, strict=True)])
        each = common.median(taken) / _JOBS * 1e3
        cells = [f"{name}, {_JOBS} jobs", common.number(each), f"{ratio:.3f}x", "", ""]
        if name == "recorded":
            cells[3] = f"<= {TARGET}x"
            cells[4] = report.target("a recorded batch, over --no-history", ratio, "x",
                                     at_most=TARGET)  # fmt: skip
        lines.append(cells)
    report.add(common.Table(["what", "a job (ms)", "of rounds", "target", "holds"], lines))


def timed(do, count=1):
    """Microseconds of each of `count` things that `do` does at once: the median of five."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        do()
        times.append((time.perf_counter() - start) / count * 1e6)
    return common.median(times)


def steps():
    """(what, microseconds, of what) of each step, in this process, with everything loaded."""
    from climits.history import spool
    from climits.history.entries import Entry
    from climits.history.store import History
    from climits.records import Result

    result = Result(
        command=["/bin/true"], verdict="exited", returncode=0, exit_status=0, memory_max=64 << 20,
        memory_peak=1 << 18, oom_kill=0, started=time.time(), duration=0.002, cpu_time=0.001,
    )  # fmt: skip
    entry = Entry(started=time.time(), source="run", command=["true"], verdict="exited",
                  exit_status=0)  # fmt: skip
    folds = []

    def record():
        for _ in range(_ROWS):
            spool.record(result)

    def direct():
        for _ in range(100):
            with History() as history:
                history.add([entry])

    spool.FOLD_AT = 1 << 40
    lines = [("record: a line in the spool", timed(record, _ROWS), "run")]
    for _ in range(5):
        record()
        with History() as history:
            start = time.perf_counter()
            history.fold()
            folds.append((time.perf_counter() - start) * 1e6)
    lines.append((f"taking over {_ROWS} lines", common.median(folds) / _ROWS, "run"))
    lines.append(("opening the database and adding a row", timed(direct, 100), "run"))
    with History() as history:
        lines.append((f"adding {_ROWS} rows at once", timed(
            lambda: history.add([entry] * _ROWS), _ROWS), "row"))  # fmt: skip
        lines.append(("reading all of it", timed(history.query), f"{len(history.query())} rows"))
    return [[what, common.number(took), unit] for what, took, unit in lines]


def measure(options):
    common.join_own_cgroup()
    folder = common.scratch()
    os.environ["CLIMITS_STATE_DIR"] = f"{folder}/state"
    report = common.Report("history: what recording a run costs", options)
    peers.try_out([peers.climits("/bin/true")])
    report.heading("whole commands")
    whole_runs(report, options)
    report.heading("a batch")
    batches(report, options, folder)
    report.heading("the steps")
    report.add(common.Table(["step", "us", "for each"], steps()))
    report.end()


if __name__ == "__main__":
    parser = common.arguments(__doc__.partition("\n")[0], rounds=200, isolated=100, quick=(3, 3))
    common.main(parser, measure)
