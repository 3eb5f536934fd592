"""What polling costs, and how far a program gets beyond a limit that no kernel keeps.

A program grows at a rate until it is killed; the overshoot is what is read once every process of it
stands still.  Then programs of several sizes rest, far from their limit and just below it, and the
CPU time that looking at them takes is told.
"""

import os
import subprocess

import common
import peers
from command import runner

import climits

MIB = 1 << 20
LIMIT = 256  # MiB
RATES = (10, 100, 1000)  # MiB a second
RESTING = 2.0  # seconds
_HOG = os.path.join(os.path.dirname(__file__), "../tests/programs/hog.c")

#: Grows at so many MiB a second from a start; touches every page of it.
_GROW = """
#include <stdlib.h>
#include <string.h>
#include <time.h>
static char *volatile held; /* or the compiler would leave the writing out */
static void touch(size_t size) { held = malloc(size); memset(held, 1, size); }
int main(int argc, char **argv) {
    double rate = atof(argv[1]) * (1 << 20), have = 0;
    struct timespec t0, t, pause = {0, 200000};
    size_t start = (size_t)atol(argv[2]) << 20, chunk = 64 << 10;
    (void)argc;
    touch(start);
    clock_gettime(CLOCK_MONOTONIC, &t0);
    for (;;) {
        clock_gettime(CLOCK_MONOTONIC, &t);
        double due = rate * (t.tv_sec - t0.tv_sec + (t.tv_nsec - t0.tv_nsec) * 1e-9);
        for (; have < due; have += chunk) touch(chunk);
        nanosleep(&pause, 0);
    }
}
"""


def growing(program, rounds):
    """The table of overshoots."""
    lines = []
    for rate in RATES:
        start = max(LIMIT - 2 * rate, 0)  # seconds of growth, and not half a minute
        overshoots, intervals = [], []
        for _ in range(rounds):
            result = climits.run(
                [program, str(rate), str(start)], memory=LIMIT * MIB, enforce="poll"
            )
            assert result.verdict == "memory-exceeded", result
            overshoots.append(result.evidence.polling.overshoot / MIB)
            intervals.append(result.evidence.polling.interval * 1000)
        lines.append([
            f"{rate} MiB/s", f"{common.median(overshoots):.2f}",
            f"{common.quantile(overshoots, 0.9):.2f}", f"{max(overshoots):.2f}",
            f"{common.median(intervals):.1f}",
        ])  # fmt: skip
    return common.Table(
        ["growth", "overshoot, median (MiB)", "90 %", "highest", "between two looks, mean (ms)"],
        lines,
    )


def resting(hog, rounds):
    """The table of what looking costs while nothing happens."""
    lines = []
    for name, words, limit in (
        ("1 process of 1 MiB, limit 1 GiB", ["alloc", "1"], 1024),
        ("1 process of 250 MiB, limit 256 MiB", ["alloc", "250"], 256),
        ("1 process of 900 MiB, limit 1 GiB", ["alloc", "900"], 1024),
        ("4 that share 200 MiB, limit 256 MiB", ["alloc", "200", "child", "child", "child"], 256),
    ):
        shares, looks = [], []
        for _ in range(max(rounds // 4, 1)):
            result = climits.run(
                [hog, *words, "hold", f"{RESTING * 1000:.0f}"], memory=limit * MIB, enforce="poll"
            )
            assert result.verdict == "exited", result
            polling = result.evidence.polling
            shares.append(100 * polling.cpu_time / result.duration)
            looks.append(polling.samples / result.duration)
        lines.append([name, f"{common.median(shares):.1f}", f"{common.median(looks):.0f}"])
    return common.Table(["at rest", "CPU time of one CPU (%)", "looks a second"], lines)


def starting(rounds):
    """The table of what it adds to a start."""
    kernel = peers.climits("/bin/true")
    at = kernel.index("--")
    polled = [*kernel[:at], "--enforce", "poll", *kernel[at:]]
    times = common.sample({"kernel": runner([kernel]), "poll": runner([polled])}, rounds)
    return common.Table(
        ["climits run -- /bin/true", "median (ms)"],
        [
            [f"--enforce {name}", f"{common.median(taken) * 1000:.1f}"]
            for name, taken in times.items()
        ],
    )


def measure(options):
    common.join_own_cgroup()
    folder = common.scratch()
    os.environ["CLIMITS_STATE_DIR"] = f"{folder}/state"
    report = common.Report("polling: a limit that no kernel keeps", options)
    peers.try_out([peers.climits("/bin/true")])
    program, hog = f"{folder}/grow", f"{folder}/hog"
    subprocess.run(["gcc", "-O1", "-xc", "-o", program, "-"], input=_GROW.encode(), check=True)
    subprocess.run(["gcc", "-O1", "-o", hog, _HOG], check=True)
    report.heading("how far beyond the limit")
    report.add(growing(program, options.rounds))
    report.heading("what looking costs")
    report.add(resting(hog, options.rounds))
    report.heading("what it adds to a start")
    report.add(starting(options.isolated))
    report.end()


if __name__ == "__main__":
    parser = common.arguments(__doc__.partition("\n")[0], rounds=25, isolated=100, quick=(2, 3))
    common.main(parser, measure)
