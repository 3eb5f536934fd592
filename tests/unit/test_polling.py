"""The parts of polling that need no program: the pace, what is refused, the words."""

import pytest

import climits
from climits.errors import InvalidValueError, OutOfMemoryError
from climits.program.checks import MemoryExceededError, raise_for
from climits.program.polling.pace import LEAST, MOST, Pace
from climits.program.spec import Spec
from climits.program.verdict import judge, summarize
from climits.records import Evidence, MemoryEvents, MemoryUsage, Polling, Result

MIB = 1 << 20
CHEAP = 50e-6  # seconds that a look at one process takes


def paced(limit, *looks, cost=CHEAP):
    """The last of the pauses after looks at (time, bytes)."""
    pace = Pace(limit)
    pace.wait(looks[0][1], looks[0][0] - 10.0, cost)
    return [pace.wait(used, at, cost) for at, used in looks][-1]


# ---- when to look again --------------------------------------------------------------------


def test_far_from_the_limit_it_looks_seldom():
    assert paced(8 << 30, (0.0, 5 * MIB)) == MOST


def test_a_sudden_burst_is_seen_before_the_limit():
    room = 50 * MIB
    assert paced(60 * MIB, (0.0, 10 * MIB)) * (2 << 30) <= room


def test_at_the_limit_it_looks_as_often_as_it_can_afford():
    quiet = paced(60 * MIB, (0.0, 60 * MIB))
    assert LEAST <= quiet <= 0.01
    assert CHEAP / (quiet + CHEAP) <= 0.021


def test_growth_towards_the_limit_may_cost_more():
    still = paced(60 * MIB, (0.0, 58 * MIB), (0.01, 58 * MIB), cost=0.001)
    grows = paced(60 * MIB, (0.0, 57 * MIB), (0.01, 58 * MIB), cost=0.001)
    assert grows < still / 5


def test_faster_growth_means_sooner():
    slow = paced(1 << 30, (0.0, 0), (0.1, 200 * MIB))
    fast = paced(1 << 30, (0.0, 0), (0.01, 200 * MIB))
    assert fast < slow


def test_growth_is_forgotten():
    looks = [(0.0, 0), (0.01, 100 * MIB)]
    late = [(0.01 + 0.1 * i, 100 * MIB) for i in range(1, 30)]
    pace = Pace(1 << 30)
    for at, used in looks:
        pace.wait(used, at, CHEAP)
    grown = pace.rate
    for at, used in late:
        pace.wait(used, at, CHEAP)
    assert grown > 9 << 30
    assert pace.rate < MIB


def test_a_dear_look_is_taken_seldom():
    assert paced(60 * MIB, (0.0, 60 * MIB), cost=0.004) == MOST


def test_one_dear_look_changes_nothing():
    pace = Pace(60 * MIB)
    pauses = [
        pace.wait(59 * MIB, at, cost) for at, cost in ((0.0, 0.01), (0.1, CHEAP), (0.2, 0.01))
    ]
    assert max(pauses) < 0.01
    assert pace.wait(59 * MIB, 0.3, 0.01) == MOST


def test_two_looks_at_one_time_are_no_division_by_zero():
    assert paced(60 * MIB, (1.0, 1), (1.0, 2)) >= LEAST


# ---- what can be asked for -----------------------------------------------------------------


def test_a_limit_and_nothing_else_needs_no_cgroup():
    spec = Spec(["true"], memory="60M", enforce="poll")
    assert spec.limits.memory.max == 60 * MIB
    assert spec.limits.memory.swap_max is None
    assert spec.hierarchies == []


def test_a_percentage_is_of_the_ram():
    spec = Spec(["true"], memory="50%", enforce="poll")
    with open("/proc/meminfo") as file:
        ram = int(file.readline().split()[1]) * 1024
    assert spec.limits.memory.max == ram // 2


def test_kill_group_is_what_it_does():
    assert Spec(["true"], memory="60M", on_oom="kill-group", enforce="poll").on_oom == "kill-group"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("swap", 0), ("high", "50M"), ("low", "1M"), ("min", "1M"), ("swappiness", 0), ("pids", 5),
        ("cpus", 1.0), ("cpuset", "0"), ("name", "x"), ("parent", "/x"), ("root", "/x"),
        ("keep", True), ("on_oom", "pause"), ("container", object()),
    ],
)  # fmt: skip
def test_what_needs_a_cgroup_is_refused_by_name(option, value):
    with pytest.raises(InvalidValueError) as refused:
        Spec(["true"], memory="60M", enforce="poll", **{option: value})
    assert str(refused.value).startswith(f"{option.replace('_', '-')}: ")
    assert "poll" in str(refused.value)


@pytest.mark.parametrize("memory", [None, "max"])
def test_without_a_limit_there_is_nothing_to_poll_for(memory):
    with pytest.raises(InvalidValueError, match="needs a limit"):
        Spec(["true"], memory=memory, enforce="poll")


def test_another_word_is_unknown():
    with pytest.raises(InvalidValueError, match="enforce: hope: unknown") as refused:
        Spec(["true"], memory="60M", enforce="hope")
    assert refused.value.hint == "write kernel or poll"


# ---- what is told --------------------------------------------------------------------------


def result(verdict, *, status=0, signal=None, **polling):
    found = Polling(**{"samples": 20, "interval": 0.01, "longest_interval": 0.02,
                       "cpu_time": 0.001, **polling})  # fmt: skip
    return Result(
        command=["/opt/app"], verdict=verdict, returncode=-signal if signal else status,
        signal=signal, exit_status=128 + signal if signal else status, memory_max=60 * MIB,
        duration=2.0, enforced_by="poll",
        evidence=Evidence(usage=MemoryUsage(), events=MemoryEvents(), polling=found),
    )  # fmt: skip


def test_the_summary_of_a_kill_names_the_overshoot_and_who_did_it():
    line = summarize(result("memory-exceeded", signal=9, peak=62 * MIB, overshoot=2 * MIB))
    assert line == (
        "memory-exceeded: app killed at 62.0M PSS of 60.0M, 2.0M beyond it, "
        "polled 20 times, every 10ms, not enforced by the kernel, 2.0s"
    )


def test_the_summary_of_an_ordinary_end():
    line = summarize(result("exited", status=3, peak=12 * MIB))
    assert line == (
        "exited 3: peak 12.0M PSS of 60.0M, polled 20 times, every 10ms, "
        "not enforced by the kernel, 2.0s"
    )


def test_the_summary_of_one_that_was_over_before_the_first_look():
    line = summarize(result("exited", samples=0, interval=None))
    assert line.startswith("exited 0: peak ? PSS of 60.0M, polled 0 times, not enforced")


def test_the_summary_tells_that_others_were_killed():
    line = summarize(result("exited", peak=62 * MIB, overshoot=2 * MIB))
    assert "killed beyond the limit on the way" in line


def test_json_tells_who_enforced_it():
    data = result("exited", peak=1).as_dict()
    assert data["enforced_by"] == "poll"
    assert data["evidence"]["polling"]["samples"] == 20
    assert "memory_peak" not in data  # that would be the kernel's


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ({"status": 9}, "memory-exceeded"),
        ({"status": 1 << 8}, "memory-exceeded"),
        ({"status": 0}, "exited"),
        ({"status": 9, "stopped": True}, "stopped"),
        ({"status": 9, "timed_out": True}, "timed-out"),
    ],
)
def test_the_verdict_of_one_that_was_killed_beyond_its_limit(given, verdict):
    assert judge(**{"oom_kill": 0, "stopped": False, "timed_out": False, **given},
                 exceeded=True) == verdict  # fmt: skip


def test_check_raises_an_error_that_is_an_out_of_memory_error_too():
    with pytest.raises(MemoryExceededError, match=r"killed beyond its limit of 60\.0M") as raised:
        raise_for(result("memory-exceeded", signal=9, peak=62 * MIB, overshoot=1), None)
    assert isinstance(raised.value, (OutOfMemoryError, MemoryError, climits.ClimitsError))
    assert raised.value.verdict == raised.value.result.verdict == "memory-exceeded"
    assert raised.value.limit == 60 * MIB
