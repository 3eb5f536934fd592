#!/usr/bin/env python3
"""Run the kernel tests on every kernel and cgroup layout that the VM offers.

    python tests/vm/matrix.py [MODE...]

Two machines at a time.  What a machine printed is shown when it ends badly; its last line always.
Exit status 1 when any failed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

HERE = Path(__file__).parent
PYTEST = [
    *(sys.executable, "-m", "pytest", "-q", "--timeout", "400"),
    # The file system is thrown away; hypothesis is not used there and slow to load.
    *("-p", "no:cacheprovider", "-p", "no:hypothesispytest"),
]
EVERYWHERE = ["tests/contract", "tests/kernel", "tests/faults"]
#: What a supervisor, a batch or a pool does rests on the layout, not on the kernel's version: once
#: for each layout, and on hybrid natively, as the command line is.
_SUPERVISE = ("kernel/test_supervise*", "faults/test_supervisor*")
_BATCH = ("kernel/test_batch*", "kernel/test_measure*", "faults/test_batch*")
ONCE_A_LAYOUT = [f"--ignore-glob=tests/{glob}" for glob in (*_SUPERVISE, *_BATCH)]
#: Of 6.12 alone: the peak of each task; of no layout: filters of system calls, and bundles.
_ONCE_A_KERNEL = ("kernel/test_pool*", "kernel/test_seccomp*", "kernel/test_bundle*")
ONCE_A_KERNEL = [f"--ignore-glob=tests/{glob}" for glob in _ONCE_A_KERNEL]
#: Of the command line what is a matter of files, and the same on every kernel.
_FILES = ("test_history*", "test_cli_batch*", "test_report*")
NO_FILES = [f"--ignore-glob=tests/cli/{glob}" for glob in _FILES]
#: (kernel, mode, tests), the longest first.
MATRIX = [
    ("6.1.", "v2", [*EVERYWHERE, "tests/cli", *NO_FILES]),
    ("6.1.", "v1", EVERYWHERE),
    ("6.12.", "v2", [*EVERYWHERE, *ONCE_A_LAYOUT]),
    ("6.12.", "mixed", [*EVERYWHERE, *ONCE_A_LAYOUT, *ONCE_A_KERNEL]),
    ("6.1.", "hybrid", [*EVERYWHERE, *ONCE_A_LAYOUT, *ONCE_A_KERNEL]),
]


def boot(kernel: str, mode: str, tests: list[str], extra: list[str]) -> tuple[int, str, float]:
    """Run the tests in one machine; returns (exit status, output, seconds)."""
    began = time.monotonic()
    machine = [sys.executable, str(HERE / "vm.py"), "--kernel", kernel, "--mode", mode]
    machine += ["--cpus", "2", "--timeout", "2700"]
    done = subprocess.run(
        [*machine, "--", *PYTEST, *extra, *tests],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode, done.stdout, time.monotonic() - began


def main(modes: list[str]) -> int:
    """Run the matrix, or the modes named."""
    # The byte code of the tests, so that the machines need not make it.
    collect = [*PYTEST[:4], "--collect-only", *EVERYWHERE, "tests/cli"]
    if subprocess.run(collect, stdout=subprocess.DEVNULL, check=False).returncode:
        return 1
    rows = [row for row in MATRIX if not modes or row[1] in modes]
    failed = 0
    with ThreadPoolExecutor(2) as pool:
        runs = {pool.submit(boot, *row, []): row for row in rows}
        for run in as_completed(runs):
            (kernel, mode, tests), (status, output, seconds) = runs[run], run.result()
            if status == 125:  # the machine itself failed, not a test: once more, and say so
                print(f"{kernel:6}{mode:8}the machine failed, once more\n{output}", flush=True)
                status, output, seconds = boot(kernel, mode, tests, [])
            if status:
                failed += 1
                print(f"==== {kernel} {mode} ====\n{output}")
            last = output.rstrip().rpartition("\n")[2]
            print(f"{kernel:6}{mode:8}{last} (whole machine {seconds:.0f}s)", flush=True)
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
