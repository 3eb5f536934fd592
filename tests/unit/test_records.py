import copy
import json
import pickle

import pytest

from climits import records
from climits.records import (
    Evidence,
    KilledProcess,
    MemoryEvents,
    MemoryLimits,
    MemoryUsage,
    Pressure,
    Record,
    Result,
)
from climits.units import UNLIMITED

ALL = [
    value
    for value in vars(records).values()
    if isinstance(value, type) and issubclass(value, Record) and value is not Record
]

RESULT = Result(
    command=["hog", "5"],
    verdict="oom-killed",
    returncode=-9,
    signal=9,
    exit_status=137,
    memory_max=UNLIMITED,
    memory_peak=4096,
    oom_kill=1,
    evidence=Evidence(
        usage=MemoryUsage(current=0, peak=4096),
        events=MemoryEvents(max=3, oom_kill=1),
        killed=[KilledProcess(pid=7, name="hog", limit=UNLIMITED)],
        pressure=Pressure(memory_some=0.5),
    ),
)


def full(kind):
    """A record with a value in every field."""
    return kind(**{name: i for i, name in enumerate(kind.__annotations__)})


def test_the_records_are_those_we_know():
    assert {kind.__name__ for kind in ALL} == {
        "Evidence", "KilledProcess", "MemoryEvents", "MemoryLimits", "MemoryUsage", "Polling",
        "Pressure", "Result",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ALL)
def test_a_record_is_frozen(kind):
    record = full(kind)
    name = next(iter(kind.__annotations__))
    with pytest.raises(AttributeError, match=f"{kind.__name__} is frozen: cannot set {name}"):
        setattr(record, name, 99)
    with pytest.raises(AttributeError, match="is frozen: cannot set nonsense"):
        record.nonsense = 1
    with pytest.raises(AttributeError, match=f"is frozen: cannot delete {name}"):
        delattr(record, name)
    assert getattr(record, name) == 0


@pytest.mark.parametrize("kind", ALL)
def test_fields_are_kept_under_their_names(kind):
    record = full(kind)
    assert [getattr(record, name) for name in kind.__annotations__] == list(
        range(len(kind.__annotations__))
    )


@pytest.mark.parametrize("kind", ALL)
def test_an_unknown_field_is_an_error(kind):
    with pytest.raises(TypeError, match=f"{kind.__name__} has no field nonsense"):
        kind(nonsense=1)
    with pytest.raises(TypeError, match=f"{kind.__name__} has no field nonsense"):
        full(kind).replace(nonsense=1)


@pytest.mark.parametrize("kind", ALL)
def test_equality_is_of_kind_and_fields(kind):
    record = full(kind)
    assert record == full(kind)
    for name in kind.__annotations__:
        assert record != record.replace(**{name: 999})
    assert record != object() and record != record.as_dict()


def test_records_of_different_kinds_differ():
    assert MemoryUsage(current=1) != MemoryLimits(max=1)
    assert MemoryUsage() != MemoryEvents()


def test_none_and_left_out_are_the_same():
    assert MemoryLimits(max=None) == MemoryLimits()


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (MemoryLimits(max=None), MemoryLimits()),
        (MemoryLimits(max=1, low=2), MemoryLimits(low=2, max=1)),
        (MemoryLimits(max=4096), MemoryLimits(max=4096.0)),
    ],
)
def test_equal_records_have_equal_hashes(a, b):
    assert a == b
    assert hash(a) == hash(b)


@pytest.mark.parametrize("kind", ALL)
def test_a_record_can_be_hashed(kind):
    assert hash(full(kind)) == hash(full(kind))
    assert len({full(kind), full(kind)}) == 1
    hash(RESULT)


def test_repr_names_what_was_given():
    assert repr(MemoryLimits(low=1, max=4096)) == "MemoryLimits(max=4096, low=1)"
    assert repr(MemoryLimits()) == "MemoryLimits()"
    assert eval(repr(full(MemoryUsage))) == full(MemoryUsage)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))]
)
def test_a_record_survives_copying_and_pickling(again):
    result = again(RESULT)
    assert result == RESULT and type(result) is Result
    assert result.evidence.killed[0].limit == UNLIMITED
    with pytest.raises(AttributeError):
        result.verdict = "exited"


def test_replace_makes_a_copy():
    limits = MemoryLimits(max=1, low=2)
    other = limits.replace(max=3, high=4)
    assert other == MemoryLimits(max=3, low=2, high=4)
    assert limits == MemoryLimits(max=1, low=2)


def test_as_dict_leaves_out_none_and_names_no_limit_at_every_depth():
    assert RESULT.as_dict() == {
        "schema": 1,
        "command": ["hog", "5"],
        "verdict": "oom-killed",
        "returncode": -9,
        "signal": 9,
        "exit_status": 137,
        "memory_max": "max",
        "memory_peak": 4096,
        "oom_kill": 1,
        "evidence": {
            "usage": {"current": 0, "peak": 4096},
            "events": {"max": 3, "oom_kill": 1},
            "killed": [{"pid": 7, "name": "hog", "limit": "max"}],
            "pressure": {"memory_some": 0.5},
            "stragglers": 0,
            "too_small_to_start": False,
        },
    }


def test_zero_and_false_and_empty_are_facts_and_stay():
    assert MemoryLimits(max=0, oom_group=False).as_dict() == {"max": 0, "oom_group": False}
    evidence = Evidence(usage=MemoryUsage(), events=MemoryEvents(), killed=[])
    assert evidence.as_dict()["killed"] == [] and evidence.as_dict()["usage"] == {}


def test_as_dict_is_json_in_the_order_of_the_fields():
    assert json.loads(json.dumps(RESULT.as_dict(), allow_nan=False)) == RESULT.as_dict()
    assert list(RESULT.as_dict())[:3] == ["schema", "command", "verdict"]


def test_as_dict_of_a_result_with_captured_bytes_is_json():
    json.dumps(RESULT.replace(stdout=b"out\xff", stderr=b"").as_dict())
