"""The search for the least limit, on made-up programs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from climits.history.least import LEAST_RUNS, Trial, find_least
from climits.units import PAGE_SIZE

MIB = 1 << 20


def program(need, tried=None):
    """A program that works from `need` bytes on."""

    def attempt(limit):
        if tried is not None:
            tried.append(limit)
        return Trial(limit=limit, works=limit >= need, outcome="")

    return attempt


@pytest.mark.parametrize("need", [1 * MIB, 37 * MIB, 5000 * MIB])
@pytest.mark.parametrize("peak", [1.0, 1.3, 9.0, 1000.0])
@pytest.mark.parametrize("tolerance", [1, 5, 50])
def test_it_is_found_within_the_tolerance(need, peak, tolerance):
    found = find_least(program(need), int(need * peak), tolerance=tolerance, runs=100)
    assert found.limit is not None and found.confirmed
    assert need <= found.limit <= max(need * (1 + tolerance / 100), need + 300 * 1024)
    assert found.too_little is None or found.too_little < need


def test_few_runs_are_enough():
    tried = []
    found = find_least(program(700 * MIB, tried), 8 << 30, tolerance=5, runs=100)
    assert len(tried) == len(found.trials) <= 12
    assert all(limit % PAGE_SIZE == 0 for limit in tried)


def test_what_it_found_has_worked_twice():
    tried = []
    found = find_least(program(10 * MIB, tried), 40 * MIB, tolerance=5, runs=100)
    assert tried.count(found.limit) == 2


def test_more_than_the_first_peak_may_be_needed():
    """The peak varies: the first run was a lucky one."""
    found = find_least(program(50 * MIB), 40 * MIB, tolerance=5, runs=100)
    assert found.confirmed and 50 * MIB <= found.limit <= 53 * MIB


def test_a_limit_that_worked_by_chance_is_given_up():
    attempts = []

    def moody(limit):
        attempts.append(limit)
        return Trial(limit=limit, works=limit >= 20 * MIB or len(attempts) == 1, outcome="")

    found = find_least(moody, 40 * MIB, tolerance=5, runs=100)
    assert found.confirmed and 20 * MIB <= found.limit <= 21 * MIB


def test_a_program_that_never_works():
    found = find_least(program(1 << 60), 40 * MIB, tolerance=5, runs=9)
    assert (found.limit, found.too_little, found.confirmed) == (None, None, False)
    assert len(found.trials) == 9


def test_a_tiny_program_is_never_seen_to_fail():
    found = find_least(program(0), 300_000, tolerance=5, runs=100)
    assert found.confirmed and found.too_little is None and found.limit <= 552 * 1024


@given(
    st.integers(0, 1 << 34), st.integers(0, 1 << 34), st.floats(0.1, 100),
    st.integers(LEAST_RUNS - 1, 60), st.lists(st.booleans(), max_size=60),
)  # fmt: skip
def test_whatever_the_program_does_it_ends_and_does_not_lie(need, peak, tolerance, runs, moods):
    moods = iter(moods)

    def attempt(limit):
        return Trial(limit=limit, works=(limit >= need) ^ next(moods, False), outcome="")

    found = find_least(attempt, peak, tolerance=tolerance, runs=runs)
    assert len(found.trials) <= runs
    worked = [t.limit for t in found.trials if t.works]
    failed = [t.limit for t in found.trials if not t.works]
    if found.limit is not None:
        assert found.limit in worked and found.limit not in failed
        assert all(limit < found.limit for limit in failed)
        assert (worked.count(found.limit) > 1) == found.confirmed
    if found.too_little is not None:
        assert found.too_little == max(failed)
