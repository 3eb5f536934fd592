"""What becomes of a pool when the kernel ends one of its workers for want of memory.

The same program runs with each pool of two workers, all of it under `climits run --memory`: ten
short tasks, one in the middle that allocates without end, and, when all that is done or given up,
three more.  Each result is waited for 20 s, since there are pools that never tell.  Nothing here is
timed; a program that hangs is ended after a minute and a half.
"""

import json
import os
import subprocess
import sys
import time
from multiprocessing.pool import AsyncResult

import common
import peers
import pool_tasks
import supervisors
from pool import MAKE, Pebble, Pool, find_peers

import climits

_HOG, _TASKS, _AFTER = 4, 11, 3
_PATIENCE, _END = 20.0, 90.0
_OURS = "climits.ProcessPoolExecutor"


class Dask(Pool):
    """dask.distributed on this machine."""

    def __init__(self, workers, memory_limit=0):
        from distributed import Client, LocalCluster

        self._cluster = LocalCluster(
            n_workers=workers, threads_per_worker=1, memory_limit=memory_limit,
            dashboard_address=None,
        )  # fmt: skip
        super().__init__(lambda: Client(self._cluster))

    def submit(self, function, *args):
        return self._pool.submit(function, *args, pure=False)

    def close(self):
        self._pool.close()
        self._cluster.close()


#: name: function of the number of workers, and the limit around the whole program.
PROGRAMS = {
    "concurrent.futures": (MAKE["concurrent.futures"], "150M"),
    "multiprocessing.Pool": (MAKE["multiprocessing.Pool"], "150M"),
    "pebble": (MAKE["pebble"], "150M"),
    "loky": (MAKE["loky"], "150M"),
    "dask LocalCluster": (Dask, "600M"),
    "the same, memory_limit": (lambda n: Dask(n, "150MB"), "600M"),
    _OURS: (lambda n: Pool(lambda: climits.ProcessPoolExecutor(n, "64M")), "150M"),
}


# ---- the program --------------------------------------------------------------------------------


def outcome(future):
    """What a future tells, in a word."""
    wait = future.get if isinstance(future, AsyncResult) else future.result
    try:
        wait(_PATIENCE)
    except BaseException as e:
        # Of several modules; those of a task that ran too long do not occur here.
        return "never told" if type(e).__name__ == "TimeoutError" else named(e)
    return "result"


def named(error):
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def program(name):
    """Runs under the limit; writes a JSON object."""
    find_peers()
    began = time.monotonic()
    pool = PROGRAMS[name][0](2)
    futures = [
        pool.submit(pool_tasks.pid_and_fill, os.devnull)
        if n == _HOG
        else pool.submit(pool_tasks.pid_after, 0.2)
        for n in range(_TASKS)
    ]
    told = [outcome(future) for future in futures]
    after = []
    for _ in range(_AFTER):
        try:
            after.append(outcome(pool.submit(pool_tasks.pid_after, 0.01)))
        except Exception as e:  # it takes nothing any more
            after.append(named(e))
    seconds = time.monotonic() - began
    print(json.dumps({"told": told, "after": after, "seconds": seconds}), flush=True)
    if isinstance(pool, Pebble):
        pool._pool.stop()
    pool.close()


# ---- the table ---------------------------------------------------------------------------------


def run(name, limit):
    """A line of the table."""
    result = os.path.join(supervisors.in_scratch("result.json"))
    argv = [
        peers.CLIMITS, "run", "--memory", limit, "--on-oom", "kill", "--json", result, "--quiet",
        "--no-history", "--", sys.executable, os.path.abspath(__file__), "--program", name,
    ]  # fmt: skip
    process = subprocess.Popen(
        argv, env=common.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    ended = "by itself"
    try:
        out, err = process.communicate(timeout=_END)
    except subprocess.TimeoutExpired:
        ended = f"when it was ended, after {_END:g} s"
        process.terminate()
        out, err = process.communicate()
    told = next((json.loads(line) for line in out.splitlines() if line[:1] == "{"), None)
    with open(result, encoding="utf-8") as file:
        how = json.load(file)
    kills = how["oom_kill"]
    if told is None and how["verdict"] != "oom-killed":
        raise peers.NotHere(f"{name}: {(err.strip().splitlines() or [ended])[-1]}")
    if told is None:
        return [name, limit, kills, *["nothing"] * 3, "", "OOM-killed itself"]
    others = [text for n, text in enumerate(told["told"]) if n != _HOG]
    return [
        name, limit, kills, short(told["told"][_HOG]), counted(others),
        counted(told["after"]), common.number(told["seconds"]), ended,
    ]  # fmt: skip


def short(text):
    """Without what a table has no room for."""
    return text if len(text) <= 90 else f"{text[:87]}..."


def counted(texts):
    """How many of each."""
    found = {}
    for text in texts:
        kind = text.partition(": ")[0]
        found[kind] = found.get(kind, 0) + 1
    return ", ".join(f"{count} {kind}" for kind, count in found.items())


def measure(options):
    common.scratch()
    report = common.Report("pool outcomes: one task of eleven is OOM-killed", options)
    lines, reasons = [], []
    for name, (_, limit) in PROGRAMS.items():
        try:
            lines += [run(name, limit) for _ in range(options.times)]
        except peers.NotHere as e:
            reasons.append(str(e))
    headings = [
        "who", "limit", "OOM kills", "the task itself", "the 10 others", "3 tasks afterwards",
        "seconds", "the program ended",
    ]  # fmt: skip
    report.add(common.Table(headings, lines, reasons))
    report.end()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--program"]:
        program(sys.argv[2])
    else:
        parser = common.arguments(__doc__.partition("\n")[0], rounds=0, isolated=0)
        parser.add_argument("--times", type=int, metavar="N", default=1, help="that each is run")
        common.main(parser, measure)
