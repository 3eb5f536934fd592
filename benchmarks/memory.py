"""What climits itself occupies while it waits for a program.

RSS and PSS of every process that belongs to the waiting command, the program itself left out.
"""

import os
import subprocess
import sys
import time

import common
import peers

TARGET = 12.0  # MiB RSS
_SLEEP = ("/bin/sleep", "600")
_REFERENCE = "climits run"
_IDLE_PYTHON = "python -c 'import time; time.sleep(9)'"


def resident(pids):
    """(RSS, PSS, how many) of processes together; sizes in MiB.  Zombies hold nothing."""
    rss = pss = count = 0
    for pid in pids:
        try:
            rss += _field(f"/proc/{pid}/status", b"VmRSS:")
            pss += _field(f"/proc/{pid}/smaps_rollup", b"Pss:")
        except (FileNotFoundError, ProcessLookupError):
            continue
        count += 1
    return rss / 1024, pss / 1024, count


def _field(path, name):
    for line in common.read_file(path).splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0


def name_of(pid):
    try:
        return common.read_file(f"/proc/{pid}/comm").strip()
    except OSError:
        return b""


def settled(argv, settle, *, sleeper=True):
    """Start a command, let it settle and measure it.

    Args:
        argv: the command; with `sleeper` it starts _SLEEP somewhere below it.
        settle: seconds.

    Returns:
        As `resident`, for all processes but the program itself.
    """
    with open(os.devnull, "r+b") as null:
        top = subprocess.Popen(
            argv, stdin=null, stdout=null, stderr=null, cwd="/", env=common.environment()
        )
    below = []
    try:
        deadline = time.monotonic() + 20
        while sleeper and not any(name_of(pid) == b"sleep" for pid in below):
            if top.poll() is not None or time.monotonic() > deadline:
                raise peers.NotHere("it ended, or 20 s passed, before it had started a program")
            time.sleep(0.05)
            below = common.descendants(top.pid)
        time.sleep(settle)
        below = common.descendants(top.pid)
        return resident([top.pid, *(pid for pid in below if name_of(pid) != b"sleep")])
    finally:
        # End the program itself, and the command ends as it does every day.
        ending = [pid for pid in below if name_of(pid) == b"sleep"] or [top.pid]
        for pid in ending:
            try:
                os.kill(pid, 9 if sleeper else 15)
            except ProcessLookupError:
                pass
        try:
            top.wait(20)
        except subprocess.TimeoutExpired:
            top.kill()
            top.wait()


def systemd_run():
    raise peers.NotHere("with --scope it becomes the program, and nothing of it waits: PID 1 does")


def measure(options):
    common.join_own_cgroup()
    report = common.Report("memory: what waiting costs", options)
    bundle = common.scratch()
    subjects = [
        (_REFERENCE, lambda: peers.climits(*_SLEEP)),
        (_IDLE_PYTHON, lambda: [sys.executable, "-c", "import time; time.sleep(9)"]),
        ("runc run, a busybox bundle", lambda: peers.runc(bundle, *_SLEEP)),
        ("runexec --no-container", lambda: peers.runexec(*_SLEEP)),
        ("runexec --read-only-dir /", lambda: peers.runexec(*_SLEEP, container=True)),
        ("systemd-run --scope", systemd_run),
    ]
    reasons = []
    lines = [line(report, name, make, options, reasons) for name, make in subjects]
    headings = ["what", "RSS (MiB)", "PSS (MiB)", "processes", "target", "holds"]
    report.add(common.Table(headings, lines, reasons))
    report.end()


def line(report, name, make, options, reasons):
    """One line of the table: medians of some trials."""
    try:
        argv = make()
        trials = [
            settled(argv, options.settle, sleeper=name != _IDLE_PYTHON)
            for _ in range(options.trials)
        ]
    except peers.NotHere as e:
        reasons.append(f"{name}: {e}")
        return [name, "not run", "", "", "", ""]
    rss, pss, processes = (common.median(column) for column in zip(*trials, strict=True))
    cells = [name, common.number(rss), common.number(pss), f"{processes:g}"]
    if name != _REFERENCE:
        return [*cells, "", ""]
    holds = report.target("RSS of a waiting climits run", rss, "MiB", at_most=TARGET)
    return [*cells, f"RSS <= {TARGET:g}", holds]


if __name__ == "__main__":
    parser = common.arguments(__doc__.partition("\n")[0], rounds=None, isolated=None)
    parser.add_argument("--trials", type=int, default=3, help="of each (%(default)d)")
    parser.add_argument("--settle", type=float, default=1.0, metavar="S", help="(%(default)g)")
    common.main(parser, measure)
