"""supervise.policy: what follows the end of a program."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from climits.supervise.policy import Policy, State, after_end, back_off
from climits.units import UNLIMITED

M = 1 << 20


def decide(policy, state=None, **given):
    known = {
        "oom": False, "failed": False, "ran": 0.0, "memory": 60 * M, "now": 0.0, "chance": 0.0,
    }  # fmt: skip
    return after_end(policy, state or State(), **(known | given))


@pytest.mark.parametrize(
    ("restart", "oom", "failed", "action"),
    [
        ("on-oom", True, True, "restart"),
        ("on-oom", False, True, "finish"),
        ("on-oom", False, False, "finish"),
        ("on-failure", True, False, "restart"),
        ("on-failure", False, True, "restart"),
        ("on-failure", False, False, "finish"),
        ("always", False, False, "restart"),
        ("never", True, True, "finish"),
    ],
)
def test_when_it_is_started_again(restart, oom, failed, action):
    assert decide(Policy(restart=restart), oom=oom, failed=failed).action == action


def test_the_first_restart_is_at_once_and_the_next_ones_wait_twice_as_long_each():
    state = State()
    delays = [decide(Policy(), state, oom=True, now=i).delay for i in range(6)]
    assert delays == [0, 0.1, 0.2, 0.4, 0.8, 1.6]


def test_a_program_that_ran_well_starts_the_back_off_anew():
    state, policy = State(), Policy(healthy_after=5.0)
    for i in range(4):
        decide(policy, state, oom=True, now=i)
    assert decide(policy, state, oom=True, now=9, ran=4.9).delay > 0
    assert decide(policy, state, oom=True, now=15, ran=5.0).delay == 0


@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 100), st.floats(0, 1000))
def test_a_delay_has_a_floor_and_a_cap(streak, chance, delay, most):
    got = back_off(Policy(restart_delay=delay, restart_delay_max=most), streak, chance)
    assert got == delay if streak == 0 else min(delay, most) <= got <= most


def test_jitter_is_a_quarter_at_most():
    assert back_off(Policy(), 3, 0.0) == 0.4
    assert back_off(Policy(), 3, 1.0) == 0.5


def test_the_budgets_are_kept_apart():
    policy = Policy(restart="always", max_oom_restarts=(2, 60.0), max_restarts=(3, 60.0))
    state = State()
    for oom, most in ((True, 2), (False, 3)):
        actions = [decide(policy, state, oom=oom, now=1.0).action for _ in range(most + 1)]
        assert actions == ["restart"] * most + ["give-up"]
    reason = decide(policy, state, oom=True, now=1.0).reason
    assert reason == "2 OOM kills within 60s"
    assert decide(policy, state, oom=False, now=1.0).reason == "3 restarts within 60s"


def test_a_budget_is_of_its_period():
    policy, state = Policy(max_oom_restarts=(2, 60.0)), State()
    for now in (0, 59):
        assert decide(policy, state, oom=True, now=now).action == "restart"
    assert decide(policy, state, oom=True, now=59.9).action == "give-up"
    assert decide(policy, state, oom=True, now=60).action == "restart"


def test_no_budget_has_no_end_and_remembers_nothing():
    policy, state = Policy(max_oom_restarts=None), State()
    assert {decide(policy, state, oom=True).action for _ in range(1000)} == {"restart"}
    assert state.oom_restarts == ()


def test_the_limit_grows_after_an_oom_kill_only():
    policy = Policy(restart="always", grow=1.5, grow_max=100 * M)
    assert decide(policy, oom=True, memory=60 * M).memory == 90 * M
    assert decide(policy, oom=False, memory=60 * M).memory is None
    assert decide(policy, oom=True, memory=90 * M).memory == 100 * M
    assert decide(policy, oom=True, memory=100 * M).memory is None  # it is as far as it goes
    assert decide(policy, oom=True, memory=UNLIMITED).memory is None
    assert decide(policy, oom=True, memory=None).memory is None
    assert decide(Policy(grow=1e305), oom=True, memory=60 * M).memory is None  # beyond all bounds
