import itertools
import signal

import pytest

from climits.program.verdict import LEAST_TO_START, exit_status, judge, signal_name, summarize
from climits.records import Evidence, KilledProcess, MemoryEvents, MemoryUsage, Result
from climits.units import UNLIMITED

M = 1024**2
EXIT_0, EXIT_1, EXIT_137, TERM, KILL, SEGV_CORE = 0, 1 << 8, 137 << 8, 15, 9, 11 | 0x80

BY_ITSELF = {
    EXIT_0: "exited",
    EXIT_1: "exited",
    EXIT_137: "exited",
    TERM: "signaled",
    KILL: "signaled",
    SEGV_CORE: "signaled",
}


@pytest.mark.parametrize(
    ("status", "oom_kill", "timed_out", "stopped"),
    list(itertools.product(BY_ITSELF, [0, 1, 5], [False, True], [False, True])),
)
def test_judge(status, oom_kill, timed_out, stopped):
    if timed_out:
        expected = "timed-out"
    elif stopped:
        expected = "stopped"
    elif oom_kill and status != EXIT_0:
        expected = "oom-killed"
    else:
        expected = BY_ITSELF[status]
    assert judge(status=status, oom_kill=oom_kill, timed_out=timed_out, stopped=stopped) == expected


def test_a_sigkill_of_somebody_is_no_oom_kill():
    assert judge(status=KILL, oom_kill=0, timed_out=False, stopped=False) == "signaled"


@pytest.mark.parametrize(
    ("status", "options", "expected"),
    [
        (KILL, {}, "memory-exceeded"),
        (EXIT_1, {}, "memory-exceeded"),
        (EXIT_0, {}, "exited"),
        (KILL, {"oom_kill": 1}, "oom-killed"),
        (KILL, {"stopped": True}, "stopped"),
        (KILL, {"timed_out": True}, "timed-out"),
    ],
)
def test_who_polled_and_killed_is_told_apart(status, options, expected):
    facts = {"oom_kill": 0, "timed_out": False, "stopped": False, "exceeded": True, **options}
    assert judge(status=status, **facts) == expected


@pytest.mark.parametrize(
    ("verdict", "status", "expected"),
    [
        ("exited", EXIT_0, 0),
        ("exited", EXIT_1, 1),
        ("exited", EXIT_137, 137),
        ("signaled", TERM, 143),
        ("signaled", SEGV_CORE, 139),
        ("oom-killed", KILL, 137),
        ("oom-killed", EXIT_1, 1),
        ("stopped", TERM, 143),
        ("stopped", EXIT_0, 0),
        ("timed-out", TERM, 124),
        ("timed-out", EXIT_0, 124),
    ],
)
def test_exit_status(verdict, status, expected):
    assert exit_status(verdict, status) == expected


def test_signal_name():
    for number in range(1, 65):
        try:
            expected = signal.Signals(number).name
        except ValueError:
            expected = f"signal {number}"
        assert signal_name(number) == expected


# ---- the line for people -------------------------------------------------------------------


def result(verdict="exited", *, evidence=None, **fields):
    known = {
        "command": ["/opt/my/app", "-x"],
        "verdict": verdict,
        "returncode": 0,
        "exit_status": 0,
        "pid": 4927,
        "cgroup": "/climits/web",
        "memory_max": 60 * M,
        "memory_peak": 12 * M,
        "oom_kill": 0,
        "duration": 2.1,
        "evidence": Evidence(usage=MemoryUsage(), events=MemoryEvents(), **(evidence or {})),
    }
    return Result(**{**known, **fields})


SIGNALED = {"returncode": -15, "signal": 15}
KILLED = {"returncode": -9, "signal": 9, "memory_peak": 60 * M, "oom_kill": 1}


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (result(), "exited 0: peak 12.0M of 60.0M, 2.1s"),
        (result(returncode=3), "exited 3: peak 12.0M of 60.0M, 2.1s"),
        (result(memory_max=UNLIMITED), "exited 0: peak 12.0M, 2.1s"),
        (result(memory_peak=None), "exited 0: peak ? of 60.0M, 2.1s"),
        (result(duration=None), "exited 0: peak 12.0M of 60.0M, 0ms"),
        (result(swap_peak=0), "exited 0: peak 12.0M of 60.0M, 2.1s"),
        (result(swap_peak=M), "exited 0: peak 12.0M of 60.0M, swap 1.0M, 2.1s"),
        (
            result(oom_kill=1),
            "exited 0: peak 12.0M of 60.0M, 1 process OOM-killed on the way, 2.1s",
        ),
        (
            result(oom_kill=3, evidence={"stragglers": 1}, swap_peak=M),
            "exited 0: peak 12.0M of 60.0M, swap 1.0M, 3 processes OOM-killed on the way, "
            "1 straggler killed, 2.1s",
        ),
        (
            result(evidence={"stragglers": 2}),
            "exited 0: peak 12.0M of 60.0M, 2 stragglers killed, 2.1s",
        ),
        (result("signaled", **SIGNALED), "signaled SIGTERM: peak 12.0M of 60.0M, 2.1s"),
        (
            result("signaled", returncode=-40, signal=40),
            "signaled signal 40: peak 12.0M of 60.0M, 2.1s",
        ),
        (result("timed-out", **SIGNALED), "timed-out (SIGTERM): peak 12.0M of 60.0M, 2.1s"),
        (result("timed-out"), "timed-out (exited 0): peak 12.0M of 60.0M, 2.1s"),
        (result("stopped", **SIGNALED), "stopped (SIGTERM): peak 12.0M of 60.0M, 2.1s"),
        (
            result("stopped", returncode=1, duration=90),
            "stopped (exited 1): peak 12.0M of 60.0M, 1m30s",
        ),
    ],
)
def test_summarize(told, line):
    assert summarize(told) == line


def victim(**fields):
    known = {
        "pid": 5000,
        "name": "worker",
        "limited_by": "/climits/web",
        "usage": 59 * M,
        "limit": 60 * M,
    }
    return [KilledProcess(pid=1, name="first"), KilledProcess(**{**known, **fields})]


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (
            result("oom-killed", **KILLED),
            "oom-killed: pid 4927 (app) at 60.0M of 60.0M, peak 60.0M, 2.1s",
        ),
        (
            result("oom-killed", **KILLED, evidence={"killed": []}),
            "oom-killed: pid 4927 (app) at 60.0M of 60.0M, peak 60.0M, 2.1s",
        ),
        (
            result("oom-killed", **{**KILLED, "returncode": 1, "signal": None}),
            "oom-killed: a process of app at 60.0M of 60.0M, peak 60.0M, 2.1s",
        ),
        (
            result("oom-killed", **{**KILLED, "memory_peak": None}),
            "oom-killed: pid 4927 (app) at ? of 60.0M, peak ?, 2.1s",
        ),
        (
            result("oom-killed", **KILLED, evidence={"killed": victim()}),
            "oom-killed: pid 5000 (worker) at 59.0M of 60.0M, peak 60.0M, 2.1s",
        ),
        (
            result("oom-killed", **KILLED, evidence={"killed": victim(usage=None, limit=None)}),
            "oom-killed: pid 5000 (worker) at 60.0M of 60.0M, peak 60.0M, 2.1s",
        ),
        (
            result("oom-killed", **KILLED, evidence={"killed": victim(limited_by=None)}),
            "oom-killed: pid 5000 (worker) as the whole machine ran out of memory, "
            "peak 60.0M, 2.1s",
        ),
        (
            result("oom-killed", **KILLED, evidence={"killed": victim(limited_by="/climits")}),
            "oom-killed: pid 5000 (worker) at 59.0M of 60.0M, the limit of /climits, "
            "peak 60.0M, 2.1s",
        ),
        (
            result(
                "oom-killed", **KILLED, evidence={"killed": victim(limited_by="/k8s/climits/web")}
            ),
            "oom-killed: pid 5000 (worker) at 59.0M of 60.0M, peak 60.0M, 2.1s",
        ),
        (
            result(
                "oom-killed",
                **{**KILLED, "memory_max": 65536, "memory_peak": 65536},
                evidence={"too_small_to_start": True},
            ),
            "oom-killed: pid 4927 (app) at 64.0K of 64.0K, too small to start a program, "
            "peak 64.0K, 2.1s",
        ),
        (
            result(
                "oom-killed",
                **{**KILLED, "oom_kill": 4, "swap_peak": 2 * M},
                evidence={"stragglers": 3},
            ),
            "oom-killed: pid 4927 (app) at 60.0M of 60.0M, 4 processes killed, peak 60.0M, "
            "swap 2.0M, 3 stragglers killed, 2.1s",
        ),
    ],
)
def test_summarize_an_oom_kill(told, line):
    assert summarize(told) == line


def test_of_several_that_were_killed_the_last_is_named_with_its_own_limit():
    killed = [KilledProcess(pid=2, name="before"), *victim(limit=50 * M)]
    told = result("oom-killed", **{**KILLED, "oom_kill": 2}, evidence={"killed": killed})
    assert summarize(told) == (
        "oom-killed: pid 5000 (worker) at 59.0M of 50.0M, 2 processes killed, peak 60.0M, 2.1s"
    )


def test_summarize_what_was_polled():
    line = summarize(result(enforced_by="poll"))
    assert line == "exited 0: peak ? PSS of 60.0M, not enforced by the kernel, 2.1s"


def test_summarize_what_did_not_start():
    told = Result(
        command=["x"],
        verdict="failed-to-start",
        exit_status=127,
        error="cannot start x: command not found",
    )
    assert summarize(told) == "failed-to-start: cannot start x: command not found"


def test_the_least_to_start_is_above_what_was_measured():
    assert LEAST_TO_START > 256 * 1024
