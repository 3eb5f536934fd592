import pytest

from climits.cgroup import limits as module
from climits.cgroup.layout import Layout
from climits.cgroup.limits import Limits, kernel_kills_group, make_limits
from climits.errors import InvalidValueError
from climits.linux.mounts import cgroup_mounts
from climits.records import MemoryLimits
from climits.units import UNLIMITED

M = 1024**2


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({}, MemoryLimits()),
        ({"memory": "60M"}, MemoryLimits(max=60 * M, swap_max=0)),
        ({"memory": "60M", "new": False}, MemoryLimits(max=60 * M)),
        ({"memory": "60M", "swap": "max"}, MemoryLimits(max=60 * M, swap_max=UNLIMITED)),
        ({"memory": "max"}, MemoryLimits(max=UNLIMITED)),
        ({"memory": UNLIMITED, "swap": 0}, MemoryLimits(max=UNLIMITED, swap_max=0)),
        ({"swap": 0}, MemoryLimits(swap_max=0)),
        ({"high": "1M", "low": 5, "min": "0"}, MemoryLimits(high=M, low=5, min=0)),
        ({"swappiness": 0}, MemoryLimits(swappiness=0)),
        ({"swappiness": 200}, MemoryLimits(swappiness=200)),
        ({"on_oom": "kill-group"}, MemoryLimits(oom_group=kernel_kills_group() or None)),
        ({"on_oom": "pause"}, MemoryLimits(oom_pause=True)),
    ],
)
def test_the_memory_controllers_part(wish, expected):
    assert make_limits(**wish).memory == expected


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        ({"memory": "60MB"}, "memory: 60MB: MB can mean powers of 1000 or of 1024"),
        ({"swap": "-1"}, "swap: -1: a size cannot be negative"),
        ({"high": ""}, "high: empty"),
        ({"low": "x"}, "low: x: not a size"),
        ({"min": 1.5}, "min: 1.5: not a size"),
        ({"on_oom": "panic"}, "on_oom: panic: unknown"),
        ({"swappiness": 201}, "swappiness: 201: out of range"),
        ({"swappiness": -1}, "swappiness: -1: out of range"),
        ({"pids": 0}, "pids: 0: must be 1 at least"),
        ({"pids": -5}, "pids: -5: must be 1 at least"),
        ({"cpus": 0}, "cpus: 0: out of range"),
        ({"cpus": 0.009}, "cpus: 0.009: out of range"),
        ({"cpus": float("nan")}, "cpus: nan: out of range"),
        ({"cpus": float("inf")}, "cpus: inf: out of range"),
        ({"cpus": -1.0}, "cpus: -1: out of range"),
    ],
)
def test_what_means_nothing_is_refused(wish, text):
    with pytest.raises(InvalidValueError) as caught:
        make_limits(**wish)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("limits", "controllers"),
    [
        (Limits(MemoryLimits()), ("memory",)),
        (Limits(MemoryLimits(), pids=1), ("memory", "pids")),
        (Limits(MemoryLimits(), cpus=1.0, cpuset="0"), ("memory", "cpu", "cpuset")),
        (Limits(MemoryLimits(), 1, 1.0, "0"), ("memory", "pids", "cpu", "cpuset")),
    ],
)
def test_the_controllers_that_a_wish_needs(limits, controllers):
    assert limits.controllers() == controllers


@pytest.mark.parametrize(
    ("limits", "parent", "whole"),
    [
        ({"": 200 * M}, None, 200 * M),  # a container's root
        ({"": 200 * M, "jobs": 100 * M}, "/jobs", 100 * M),
        ({"": 200 * M, "jobs": 300 * M}, "/jobs", 200 * M),
        ({"jobs": 100 * M}, "/jobs/a/b", 100 * M),
        ({"jobs": 100 * M}, "/", 5000 * M),
        ({}, None, 5000 * M),
    ],
)
def test_the_least_limit_on_the_way_up_is_the_whole(limits, parent, whole, tmp_path, monkeypatch):
    (tmp_path / "jobs/a/b").mkdir(parents=True)
    for name, limit in limits.items():
        (tmp_path / name / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "cgroup.controllers").write_text("memory\n")
    mounts = cgroup_mounts(f"41 31 0:38 / {tmp_path} rw - cgroup2 cgroup2 rw\n")
    monkeypatch.setattr(module, "current", lambda: Layout(mounts))
    monkeypatch.setattr(module, "memory_total", lambda: 5000 * M)
    assert module.whole_of(parent) == whole


def test_a_percentage_is_of_what_the_parent_has(monkeypatch):
    asked = []
    monkeypatch.setattr(module, "whole_of", lambda parent: asked.append(parent) or 1000 * M)
    assert make_limits(memory="10%", parent="/jobs").memory.max == 100 * M
    assert make_limits(high="0.5%", swap="5%").memory == MemoryLimits(high=5 * M, swap_max=50 * M)
    assert set(asked) == {"/jobs", None}
    asked.clear()
    make_limits(memory="10M")
    assert asked == []
