#!/usr/bin/env python3
"""Run the kernel tests on every kernel and cgroup layout that the VM offers, and under systemd.

    python tests/vm/matrix.py [--all] [--jobs N] [MODE|systemd]...

Without --all, what holds a change: on v2, which the host may not have, nearly every test of the
kernel; elsewhere what limits, events and verdicts rest on. With it every test, wherever it can say
more than it did natively: for a release, as it takes three times as long.

A machine often waits, so there is one more at a time than there are processors. What a machine
printed is shown when it ends badly; its last line, and which tests were tried twice, always. Exit
status 1 when any failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
TESTS = HERE.parent
PYTEST = [
    *(sys.executable, "-m", "pytest", "-q", "--timeout", "400", "--reruns", "1"),
    # The file system is thrown away; hypothesis is not used there and slow to load.
    *("-p", "no:cacheprovider", "-p", "no:hypothesispytest"),
    # The contract's fakes are the same everywhere, and tested on the host.
    *("-k", "not fake-v"),
]


def files(*globs: str, without: tuple[str, ...] = ()) -> list[str]:
    """Return the test files that match, without those that match the others."""
    found = {path for glob in globs for path in TESTS.glob(glob)}
    found -= {path for glob in without for path in TESTS.glob(glob)}
    return [os.path.relpath(path) for path in sorted(found)]


#: Pages of the documentation, whose commands are followed as a newcomer would; on v1, and the
#: tutorial, whose programs race with one another in a slow machine, natively.
PAGES = "docs/test_pages.py"
EVERYWHERE = ("contract/test_*.py", "kernel/test_*.py", "faults/test_*.py")
#: What a supervisor or a batch does rests on the layout, not on the kernel's version: on v1 and v2,
#: and on hybrid natively, as the command line is.
ONCE_A_LAYOUT = (
    *("kernel/test_supervise*", "faults/test_supervisor*"),
    *("kernel/test_batch*", "kernel/test_measure*", "faults/test_batch*", "kernel/test_dask*"),
)
#: Likewise, and on mixed too: commands that show or steer what is there.
NOT_OF_THE_KERNEL = (
    *("kernel/test_cgtools*", "kernel/test_toolbox_edges*", "kernel/test_explain*"),
    *("kernel/test_stats*", "kernel/test_top*", "kernel/test_recorder*", "kernel/test_metrics*"),
)
#: Of no layout: filters of system calls, bundles, maps of users, and pools, but for the peak of
#: each task, which is of 6.12 alone.
ONCE_A_KERNEL = (
    *("kernel/test_pool*", "kernel/test_seccomp*", "kernel/test_bundle*"),
    "kernel/test_container_users*",
)
#: Of the command line what is a matter of files, and the same on every kernel.
ONLY_FILES = ("cli/test_history*", "cli/test_cli_batch*", "cli/test_report*")
#: What an ordinary user does in a login session of a host with systemd, after what is about the
#: session: the first of these that starts a program here moves the tests themselves into a scope.
OF_A_USER = ("kernel/test_kernel_run.py", "kernel/test_events.py", "cli/test_cli_run.py")
#: What limits, events and verdicts rest on, and how the parts of a layout are told apart.
CORE = (
    *("contract/test_*.py", "kernel/test_kernel_run*", "kernel/test_events*"),
    *("kernel/test_hard_cases*", "kernel/test_toolbox.py", "kernel/test_doctor*"),
)
#: The longest part of a layout, apart: halves that end together keep the processors busy.
LONG = ("kernel/test_container*", "kernel/test_s*", "kernel/test_p*", "faults/test_*")


def pages(*names: str) -> list[str]:
    """Return the tests of some pages of the documentation."""
    return [f"{files(PAGES)[0]}::test_the_page[{name}]" for name in names]


class Row(NamedTuple):
    """What one machine runs: under systemd if there is a `login`, in a session of that user."""

    kernel: str
    mode: str
    tests: list[str]
    login: str = ""

    def __str__(self) -> str:
        return f"{self.kernel:6}{self.mode:8}{self.login and 'systemd, ' + self.login:17}"

    def machine(self) -> list[str]:
        words = [sys.executable, str(HERE / "vm.py"), "--kernel", self.kernel]
        words += ["--mode", self.mode, "--cpus", "2", "--timeout", "2700"]
        words += ["--systemd"] if self.login else []
        words += ["--user"] if self.login == "tester" else []
        return [*words, "--", *PYTEST, *self.tests]

    def run(self) -> tuple[int, str, float]:
        """Run the tests in one machine; returns (exit status, output, seconds)."""
        began = time.monotonic()
        done = subprocess.run(
            self.machine(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        return done.returncode, done.stdout, time.monotonic() - began


def gate() -> list[Row]:
    """Return the rows that hold a change, the longest first."""
    core, systemd = files(*CORE), files("systemd/test_*.py")
    second = files(*EVERYWHERE, "cli/test_cli_run.py", "cli/test_watch.py", without=LONG)
    return [
        Row("6.1.", "v2", files(*LONG, without=("kernel/test_container_users*",))),
        Row("6.1.", "v2", second),
        Row("6.1.", "v2", systemd, "tester"),
        Row("6.1.", "v2", systemd, "root"),
        Row("6.12.", "mixed", core),
        Row("6.12.", "v2", core),
        Row("6.1.", "v1", core),
        Row("6.1.", "v1", systemd, "root"),
    ]


def everything() -> list[Row]:
    """Return every row, the longest first."""
    new = files(*EVERYWHERE, without=(*ONCE_A_LAYOUT, *NOT_OF_THE_KERNEL))
    mixed = files(*EVERYWHERE, without=(*ONCE_A_LAYOUT, *ONCE_A_KERNEL))
    hybrid = [name for name in mixed if name in new]
    first, second = files(*LONG), files(*EVERYWHERE, without=LONG)
    v1 = [set(part) - set(files(*ONCE_A_KERNEL)) for part in (first, second)]
    systemd = files("systemd/test_*.py")
    return [
        Row("6.1.", "v2", second),
        Row("6.1.", "v2", first),
        Row("6.1.", "v2", files("cli/test_*.py", without=ONLY_FILES)),
        Row("6.12.", "v2", new),
        Row("6.1.", "v1", sorted(v1[1])),
        Row("6.12.", "mixed", mixed),
        Row("6.1.", "v2", [*systemd, *files(*OF_A_USER)], "tester"),
        Row("6.1.", "v1", sorted(v1[0])),
        Row("6.1.", "hybrid", hybrid),
        Row("6.1.", "v2", systemd, "root"),
        Row("6.1.", "v1", systemd, "root"),
        Row("6.1.", "hybrid", systemd, "tester"),
        Row("6.1.", "v2", [*files(PAGES), "--deselect", *pages("tutorial")]),
        Row("6.1.", "v2", pages("how-to/as-an-ordinary-user"), "tester"),
    ]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    jobs = (os.cpu_count() or 1) + 1
    parser.add_argument("--all", action="store_true", help="every row, as for a release")
    parser.add_argument("--jobs", type=int, default=jobs, metavar="N", help="machines at a time")
    parser.add_argument("which", nargs="*", metavar="MODE|systemd", help="these rows only")
    return parser.parse_args()


def main() -> int:
    """Run the matrix, or the rows named."""
    options = parse()
    # The byte code of the tests, so that the machines need not make it.
    rooms = [
        str(TESTS / room) for room in ("contract", "kernel", "faults", "cli", "docs", "systemd")
    ]
    collect = [*PYTEST[:4], "--collect-only", *rooms]
    done = subprocess.run(collect, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(done.stdout)
        return 1
    wanted = set(options.which)
    rows = everything() if options.all else gate()
    rows = [row for row in rows if not wanted or wanted & {row.mode, row.login and "systemd"}]
    failed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = {pool.submit(row.run): row for row in rows}
        for run in as_completed(runs):
            row, (status, output, seconds) = runs[run], run.result()
            if status == 125:  # the machine itself failed, not a test: once more, and say so
                print(f"{row} the machine failed, once more\n{output}", flush=True)
                status, output, seconds = row.run()
            if status:
                failed += 1
                print(f"==== {row} ====\n{output}")
            else:
                twice = [line for line in output.splitlines() if line.startswith("RERUN ")]
                print(*(f"{row} {line}\n" for line in twice), sep="", end="")
            last = output.rstrip().rpartition("\n")[2]
            print(f"{row} {last} (whole machine {seconds:.0f}s)", flush=True)
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
