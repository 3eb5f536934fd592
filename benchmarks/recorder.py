"""What a recording costs: CPU time and memory of `climits run --record`, beside the same without.

The program's usage changes all the time, so that the recorder looks as often as it ever does.
"""

import os
import re
import subprocess
import sys
import time

import common
import peers

TARGET_CPU, TARGET_RSS = 1.0, 16.0  # % of a core at 20 samples a second, MiB
#: Takes 2 MiB every 25 ms, and gives them all back at 50 MiB.
_RESTLESS = """
import mmap, time
while True:
    held = []
    for _ in range(25):
        held.append(mmap.mmap(-1, 2 << 20))
        held[-1].write(bytes(2 << 20))
        time.sleep(0.025)
"""
_QUIET = "import time; time.sleep(600)"
_BUSIEST = "a restless program, recorded"
_START = 1.0  # seconds that are not counted


def command(program, record):
    words = [peers.CLIMITS, "run", "--quiet", "--no-history", "--memory", "100M"]
    if record:
        words += ["--record", record]
    return [*words, "--", sys.executable, "-c", program]


def cpu_time(pid):
    """Seconds that a process, all its threads, has run: from the scheduler's own clock."""
    tasks = os.listdir(f"/proc/{pid}/task")
    return sum(
        int(common.read_file(f"/proc/{pid}/task/{task}/schedstat").split()[0]) for task in tasks
    ) / 1e9  # fmt: skip


def status(pid, name):
    return int(re.search(rf"{name}:\s+(\d+)".encode(), common.read_file(f"/proc/{pid}/status"))[1])


def measured(program, record, seconds):
    """(% of a core, VmRSS and VmHWM in MiB, samples a second) of climits while the program runs."""
    with open(os.devnull, "r+b") as null:
        top = subprocess.Popen(
            command(program, record), stdin=null, stdout=null, stderr=null,
            env=common.environment(),
        )  # fmt: skip
    try:
        time.sleep(_START)
        start, before, lines = time.monotonic(), cpu_time(top.pid), samples(record)
        time.sleep(seconds)
        took = time.monotonic() - start
        share = (cpu_time(top.pid) - before) / took * 100
        rss, high = (status(top.pid, name) / 1024 for name in ("VmRSS", "VmHWM"))
        return share, rss, high, (samples(record) - lines) / took
    finally:
        top.terminate()
        top.wait()


def samples(record):
    if not record:
        return 0
    with open(record, "rb") as file:
        return sum(b'"e":' not in line for line in file) - 1


def measure(options):
    folder = common.scratch()
    report = common.Report("recorder: what a recording costs", options)
    subjects = [
        ("a restless program", _RESTLESS, None),
        (_BUSIEST, _RESTLESS, f"{folder}/restless.jsonl"),
        ("a quiet program", _QUIET, None),
        ("a quiet program, recorded", _QUIET, f"{folder}/quiet.jsonl"),
    ]
    found = {name: [] for name, _, _ in subjects}
    for _ in range(options.rounds):
        for name, program, record in subjects:
            found[name].append(measured(program, record, options.watch))
    lines = []
    for name, figures in found.items():
        share, rss, high, rate = (common.median(column) for column in zip(*figures, strict=True))
        cells = [name, f"{share:.3f} %", f"{rss:.1f}", f"{high:.1f}", f"{rate:.1f}", "", ""]
        if name == _BUSIEST:
            marks = (
                report.target(f"CPU of climits, {name}", share, "% of a core", at_most=TARGET_CPU),
                report.target(f"RSS of climits, {name}", high, "MiB", at_most=TARGET_RSS),
            )
            cells[5:] = [f"<= {TARGET_CPU:g} %, <= {TARGET_RSS:g} MiB", " / ".join(marks)]
        lines.append(cells)
    headings = ["what runs", "CPU of climits", "VmRSS (MiB)", "VmHWM (MiB)", "samples a second",
                "target", "holds"]  # fmt: skip
    report.add(common.Table(headings, lines))
    report.end()


if __name__ == "__main__":
    parser = common.arguments(__doc__.partition("\n")[0], rounds=5, isolated=1, quick=(1, 1))
    parser.add_argument("--watch", type=float, default=10.0, help="seconds to look at each")
    common.main(parser, measure)
