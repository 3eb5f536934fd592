#!/usr/bin/env python3
"""Look for faults of memory in the compiled parts: AddressSanitizer, UBSan and valgrind.

    tools/sanitize.py [asan] [valgrind] [init]

Compiles a copy of src/climits/launch/_spawn.c and init.c, and runs the tests of launches against
it: with -fsanitize=address,undefined; under memcheck; and process 1 alone under both.  All three
without words.  Needs gcc with its libasan, valgrind, and the packages of the tests; takes three
minutes.  No test runs it.

What memcheck cannot see: it makes a real fork of a child that shares our memory, so that a launch
that fails looks like one that does not.  Only launches that succeed are run under it.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
TESTS = ("unit/test_spawn.py", "unit/test_plan.py", "unit/test_parsers_bytes.py",
         "kernel/test_kernel_run.py", "kernel/test_container.py")  # fmt: skip
#: libasan is loaded into what a test runs, too: it takes memory there, answers signals itself, and
#: is not found by what is set-uid or starts in a root of its own.
NOT_UNDER_ASAN = " and ".join(
    f"not {word}"
    for word in ("stress_pair", "setuid", "too_small", "reaps_orphans", "is_interrupted",
                 "who_enters")
)  # fmt: skip
#: Each launch, with all that a plan can hold, as often as a leak needs to be seen.
LAUNCHES = """
import os, sys
from climits.launch._spawn import Keeper, address, signalfd, spawn
from climits.launch.plan import Plan
from climits.launch.spawn import spawn as launch
for n in range(20):
    plan = Plan([b"true", b"x" * n], [b"A=1"], [b"/no/such", b"/bin/true"])
    plan.chdir("/")
    plan.stdio(None, 2, 1)
    plan.call("setsid", purpose="start a session")
    plan.close_others([])
    pid, pidfd = launch(plan)
    os.close(pidfd)
    assert os.waitpid(pid, 0)[1] == 0
    Keeper(signalfd(1 << 9))
    assert address(b"abc") > 0
    for wrong in (7, ("nothing", (), None, ""), ("close", (1.5,), None, ""),
                  ("close", ((9,),), None, ""), ("close", (2**70, 1, 2, 3, 4, 5), None, "")):
        try:
            spawn((("write", (1, b"x", 1), 1, ""), wrong), (b"/bin/true",), (), (), 0, -1, 0)
        except (TypeError, ValueError):
            continue
        raise AssertionError(wrong)
    for lists in (((7,), (), ()), ((), ("text",), ()), ((), (), (b"a\\0b",))):
        try:
            spawn((), *lists, 0, -1, 0)
        except (TypeError, ValueError):
            continue
        raise AssertionError(lists)
print("all launched")
"""


def build(room: Path, *flags: str) -> None:
    """A copy of the package with the extension compiled so."""
    shutil.copytree(HERE / "src", room / "src", ignore=shutil.ignore_patterns("*.so", "*.pyc"))
    launch = room / "src/climits/launch"
    include = sysconfig.get_paths()["include"]
    common = ["gcc", "-O1", "-g", "-fno-omit-frame-pointer", "-Wall", "-Wextra"]
    source, target = str(launch / "_spawn.c"), str(launch / "_spawn.abi3.so")
    subprocess.run(
        [*common, *flags, "-shared", "-fPIC", f"-I{include}", source, "-o", target], check=True
    )
    subprocess.run(  # containers start it where there may be no library to load
        [*common, "-static", str(launch / "init.c"), "-o", str(launch / "climits-init")], check=True
    )
    subprocess.run([*common, *flags, str(launch / "init.c"), "-o", str(room / "init")], check=True)


def environment(room: Path, **more: str) -> dict[str, str]:
    """That of the tests, with the copy before whatever climits is installed."""
    return {**os.environ, "PYTHONPATH": str(room / "src"), "PYTHONMALLOC": "malloc",
            "PYTHONDONTWRITEBYTECODE": "1", **more}  # fmt: skip


def faults(room: Path, pattern: str) -> bool:
    """Show the reports that were written; whether there are any with a fault of ours."""
    found = False
    for path in sorted(room.glob(pattern)):
        for report in re.split(r"\n(?:==\d+==)? *\n", path.read_text(errors="replace")):
            ours = "_spawn.c" in report or "init.c" in report
            # What we spoil is found out by the interpreter; other programs have faults on purpose.
            theirs = "ERROR: AddressSanitizer" in report or "Invalid " in report
            if ours or (theirs and "python" in report):
                print(report)
                found = True
    return found


def asan(room: Path) -> bool:
    """The tests with AddressSanitizer; leaks are only told where our code allocated."""
    build(room, *SANITIZE)
    libraries = [
        subprocess.run(
            ["gcc", f"-print-file-name={name}"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environ = environment(
        room,
        LD_PRELOAD=" ".join(libraries),
        ASAN_OPTIONS=f"detect_leaks=1:log_path={room}/asan",
        LSAN_OPTIONS=f"exitcode=0:print_suppressions=0:log_path={room}/asan",
        UBSAN_OPTIONS=f"print_stacktrace=1:log_path={room}/asan",
    )
    script = [sys.executable, "-c", LAUNCHES]
    done = subprocess.run(script, env=environ, cwd=room, stdout=subprocess.DEVNULL)
    tests = [str(HERE / "tests" / name) for name in TESTS]
    environ["ASAN_OPTIONS"] = f"detect_leaks=0:log_path={room}/asan"  # of what a test runs
    options = ["-q", "-p", "no:cacheprovider", "-k", NOT_UNDER_ASAN]
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests], env=environ, cwd=HERE
    )
    return not faults(room, "asan.*") and done.returncode == 0 and tested.returncode == 0


def valgrind(room: Path) -> bool:
    """Launches under memcheck; what CPython itself does is passed over."""
    build(room)
    log = f"--log-file={room}/valgrind.%p"
    options = ["--leak-check=full", "--show-leak-kinds=definite", "--num-callers=12", log]
    script = [sys.executable, "-c", LAUNCHES]
    done = subprocess.run(["valgrind", *options, *script], env=environment(room), cwd=room)
    return not faults(room, "valgrind.*") and done.returncode == 0


def init(room: Path) -> bool:
    """Process 1 of a container, here as an ordinary process, under both."""
    build(room, *SANITIZE)
    memcheck = ["valgrind", "-q", "--error-exitcode=99", "--child-silent-after-fork=yes"]
    plain = room / "plain"
    subprocess.run(
        ["gcc", "-O1", "-g", str(room / "src/climits/launch/init.c"), "-o", str(plain)], check=True
    )
    cases = {
        "exit 7": 7, "kill -TERM $$": 128 + 15, "sleep 0.2 & exit 0": 0,
        "kill -USR1 $PPID; trap 'exit 3' USR1; sleep 5 & wait": 3,
    }  # fmt: skip
    good = True
    for head in ([str(room / "init")], [*memcheck, str(plain)]):
        for command, expected in [*cases.items(), (None, 127 - 0)]:
            words = ["sh", "-c", command] if command else ["/no/such/program"]
            end, report = os.pipe()
            done = subprocess.run([*head, str(report), *words], pass_fds=(report,))
            os.close(report)
            told = os.read(end, 64)
            os.close(end)
            if done.returncode != expected or len(told) != 8:
                print(f"{head[0]}: {words}: {done.returncode} and {told!r}, not {expected}")
                good = False
    return good


def main(words: list[str]) -> int:
    """Run what was asked for; 0 where nothing was found."""
    status = 0
    for check in (asan, valgrind, init):
        if not words or check.__name__ in words:
            with tempfile.TemporaryDirectory(prefix="climits-sanitize-") as room:
                good = check(Path(room))
            print(f"{check.__name__}: {'nothing found' if good else 'FAULTS'}", flush=True)
            status |= not good
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
