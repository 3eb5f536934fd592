from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from climits.batch.graph import dependents, find_circle
from climits.batch.job import Job, Outcome
from climits.batch.scheduler import Retry, Scheduler
from climits.pool.budget import Budget
from climits.records import Result
from climits.units import UNLIMITED


def job(name, memory=1, **fields):
    return Job(name=name, command=["true"], memory=memory, **fields)


def scheduler(*jobs, memory=100, cpus=UNLIMITED, each=1.0, **options):
    return Scheduler(jobs, Budget(memory, cpus), cpus=each, **options)


def starts(s):
    """Names of all that may start now."""
    return [start.job.name for start in iter(s.start, None)]


# ---- what fits -----------------------------------------------------------------------------


def test_as_many_start_as_the_memory_admits():
    s = scheduler(job("a", 40), job("b", 40), job("c", 40))
    assert starts(s) == ["a", "b"]
    assert (s.running, s.left) == (2, 3)
    assert s.ended("a", "exited", ok=True) == []
    assert starts(s) == ["c"]
    s.ended("b", "exited", ok=True)
    s.ended("c", "exited", ok=True)
    assert s.is_over and (s.running, s.left) == (0, 0)


def test_as_many_start_as_the_cpus_admit():
    s = scheduler(job("a"), job("b", cpus=0.5), job("c", cpus=0.5), job("d"), cpus=2.0)
    assert starts(s) == ["a", "b", "c"]
    s = scheduler(job("a"), job("b"), job("c"), cpus=2.0, each=0.0)
    assert starts(s) == ["a", "b", "c"]


def test_a_job_that_says_nothing_of_cpus_claims_one():
    assert starts(Scheduler([job("a"), job("b")], Budget(100, 1.0))) == ["a"]
    assert starts(Scheduler([job("a"), job("b")], Budget(100, 2.0))) == ["a", "b"]


def test_a_start_and_a_retry_tell_which_job_is_meant():
    s = scheduler(job("a"), job("b", 7, retries=1), finished={"a"})
    start = s.start()
    assert (start.job.name, start.index, start.memory, start.attempt) == ("b", 1, 7, 1)
    retry = s.ended("b", "exited", ok=False)
    assert (retry.job.name, retry.memory) == ("b", 7)
    assert s.start().attempt == 2


@pytest.mark.parametrize(("before", "started"), [(99, ["small"]), (100, [])])
def test_a_hundred_jobs_are_looked_at_for_one_that_fits(before, started):
    s = scheduler(job("first", 50), *(job(f"big{n}", 60) for n in range(before)), job("small", 5))
    assert starts(s) == ["first", *started]


def test_no_more_start_than_was_asked_for():
    s = scheduler(job("a"), job("b"), job("c"), most=2)
    assert starts(s) == ["a", "b"]


def test_one_that_names_no_limit_gets_its_share_and_no_limit_runs_alone():
    s = scheduler(job("a", None), job("b", UNLIMITED), job("c", None), share=50)
    first, second = s.start(), s.start()
    assert (first.job.name, first.memory, second.job.name) == ("a", 50, "c")
    assert s.start() is None
    s.ended("a", "exited", ok=True)
    assert s.start() is None
    s.ended("c", "exited", ok=True)
    assert s.start().memory == UNLIMITED
    assert s.running == 1


def test_without_a_budget_no_limit_claims_nothing():
    budget = Budget(UNLIMITED, UNLIMITED)
    s = Scheduler([job("a", UNLIMITED), job("b", 10)], budget)
    assert starts(s) == ["a", "b"]
    assert budget.memory_claimed == 10


def test_what_fits_goes_before_what_does_not_but_not_for_ever():
    small = [job(f"s{n}", 10) for n in range(60)]
    s = scheduler(job("first", 50), job("big", 90), *small)
    order = starts(s)
    assert order == ["first", "s0", "s1", "s2", "s3", "s4"]
    running = [name for name in order if name != "first"]
    while "big" not in order and running:  # `first` never ends
        s.ended(running.pop(0), "exited", ok=True)
        new = starts(s)
        order += new
        running += new
    overtook = len(order) - 1
    assert overtook == 20  # then nothing else is started until it fits
    assert s.ended("first", "exited", ok=True) == []
    assert starts(s)[0] == "big"


def test_one_that_is_tried_again_may_be_overtaken_as_often_as_before():
    small = [job(f"s{n}", 10) for n in range(60)]
    s = scheduler(job("first", 50), job("big", 45, retry_memory=2.0), *small)
    assert starts(s) == ["first", "big"]
    assert s.ended("big", "oom-killed", ok=False).memory == 90
    overtook = starts(s)
    running = list(overtook)
    while running:  # `first` never ends
        s.ended(running.pop(0), "exited", ok=True)
        new = starts(s)
        overtook += new
        running += new
    assert len(overtook) == 20


# ---- dependencies --------------------------------------------------------------------------


def test_a_job_waits_for_those_it_depends_on():
    s = scheduler(job("c", depends_on=["a", "b"]), job("a"), job("b", depends_on=["a"]))
    assert starts(s) == ["a"]
    s.ended("a", "exited", ok=True)
    assert starts(s) == ["b"]
    s.ended("b", "exited", ok=True)
    assert starts(s) == ["c"]


def test_what_depends_on_a_failure_is_lost_once():
    s = scheduler(
        job("a"), job("b"), job("c", depends_on=["a", "b"]), job("d", depends_on=["c", "a"]),
        job("e", depends_on=["b"]),
    )  # fmt: skip
    assert starts(s) == ["a", "b"]
    assert [j.name for j in s.ended("a", "exited", ok=False)] == ["c", "d"]
    assert s.left == 2
    assert s.ended("b", "exited", ok=True) == []
    assert starts(s) == ["e"]
    s.ended("e", "signaled", ok=False)
    assert s.is_over and s.left == 0


def test_a_job_that_was_finished_before_counts_as_done():
    s = scheduler(job("a"), job("b", depends_on=["a"]), finished={"a"})
    assert starts(s) == ["b"]


# ---- failures ------------------------------------------------------------------------------


def attempts(s, name, verdicts):
    """Limits of the attempts, while they end with these verdicts; None: not tried again."""
    limits = []
    for verdict in verdicts:
        start = s.start()
        assert start.job.name == name and start.attempt == len(limits) + 1
        limits.append(start.memory)
        if not isinstance(s.ended(name, verdict, ok=False), Retry):
            return [*limits, None]
    return limits


@pytest.mark.parametrize("verdict", ["exited", "signaled", "timed-out", "output-limit"])
def test_a_failure_is_tried_again_as_often_as_was_said(verdict):
    assert attempts(scheduler(job("a", retries=2)), "a", [verdict] * 9) == [1, 1, 1, None]
    assert attempts(scheduler(job("a")), "a", [verdict] * 9) == [1, None]


@pytest.mark.parametrize("verdict", ["failed-to-start", "stopped"])
def test_what_did_not_start_or_was_stopped_is_not_tried_again(verdict):
    assert attempts(scheduler(job("a", retries=2)), "a", [verdict]) == [1, None]


def test_after_an_oom_kill_the_limit_grows_up_to_the_ceiling():
    growing = job("a", 10, retry_memory=2.0, retry_memory_max=35)
    assert attempts(scheduler(growing), "a", ["oom-killed"] * 9) == [10, 20, 35, None]


def test_the_budget_is_the_ceiling_where_none_was_said():
    growing = job("a", 30, retry_memory=3.0)
    assert attempts(scheduler(growing), "a", ["oom-killed"] * 9) == [30, 90, 100, None]


def test_the_limit_grows_for_no_other_reason():
    growing = job("a", 10, retry_memory=2.0, retries=1)
    assert attempts(scheduler(growing), "a", ["exited"] * 9) == [10, 10, None]


def test_growing_is_not_counted_as_a_retry():
    growing = job("a", 10, retry_memory=2.0, retry_memory_max=20, retries=1)
    verdicts = ["oom-killed", "exited", "oom-killed", "exited"]
    assert attempts(scheduler(growing), "a", verdicts) == [10, 20, 20, None]


def test_a_limit_that_has_grown_is_what_is_claimed():
    s = scheduler(job("a", 40, retry_memory=2.0), job("b", 40), job("c", 40))
    assert starts(s) == ["a", "b"]
    assert s.ended("a", "oom-killed", ok=False).memory == 80
    assert starts(s) == ["c"]  # 80 do not fit beside b
    s.ended("b", "exited", ok=True)
    s.ended("c", "exited", ok=True)
    assert starts(s) == ["a"]


def test_no_limit_cannot_grow():
    assert job("a", UNLIMITED, retry_memory=2.0).grown(UNLIMITED, 100) is None


# ---- the end -------------------------------------------------------------------------------


def test_nothing_starts_and_nothing_is_retried_when_it_is_stopping():
    s = scheduler(job("a", retries=5), job("b"), job("c", depends_on=["a"]), most=1)
    assert s.stopping is False
    assert starts(s) == ["a"]
    s.stop()
    assert s.start() is None and not s.is_over
    assert s.ended("a", "stopped", ok=False) == []  # of c nothing is said
    assert s.is_over and s.left == 2


def test_nothing_starts_when_it_is_stopping_even_if_there_is_room():
    s = scheduler(job("a"), job("b"), most=None)
    assert s.start().job.name == "a"
    s.stop()
    assert s.start() is None and s.stopping is True


def test_an_outcome_is_ok_only_with_status_0():
    done = Result(command=["x"], verdict="exited", returncode=0, exit_status=0)
    assert Outcome(job=job("a"), verdict="exited", result=done).ok
    assert not Outcome(job=job("a"), verdict="exited", result=done.replace(returncode=3)).ok
    assert not Outcome(job=job("a"), verdict="stopped", result=done).ok
    assert not Outcome(job=job("a"), verdict="not-run").ok


# ---- any batch -----------------------------------------------------------------------------

batches = st.lists(
    st.tuples(
        st.integers(1, 120) | st.just(UNLIMITED) | st.none(),
        st.sampled_from([None, 0.5, 1.0, 2.0]),
        st.sets(st.integers(0, 30), max_size=3),
        st.integers(0, 2),
        st.sampled_from([None, 1.5, 2.0]),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(batches, st.data())
def test_any_batch_ends_within_its_budget(described, data):
    jobs = [
        Job(
            name=str(n), command=["x"], memory=min(memory, 100) if memory and memory != UNLIMITED
            else memory, cpus=cpus, retries=retries, retry_memory=grow,
            depends_on=[str(d) for d in needed if d < n],
        )
        for n, (memory, cpus, needed, retries, grow) in enumerate(described)
    ]  # fmt: skip
    budget = Budget(100, 2.0)
    s = Scheduler(jobs, budget, share=50)
    running, ended, lost = {}, {}, set()
    steps = 0
    while not s.is_over:
        while start := s.start():
            assert all(ended.get(n) for n in start.job.depends_on)
            running[start.job.name] = start
        assert running and budget.memory_claimed <= 100 and budget.cpus_claimed <= 2.0 + 1e-6
        claims = [min(r.memory, 100) for r in running.values()]
        assert sum(claims) == budget.memory_claimed
        name = data.draw(st.sampled_from(sorted(running)))
        verdict = data.draw(st.sampled_from(["ok", "exited", "oom-killed"]))
        step = s.ended(name, verdict, ok=verdict == "ok")
        before = running.pop(name)
        if isinstance(step, Retry):
            assert verdict != "ok" and step.memory >= before.memory
        else:
            ended[name] = verdict == "ok"
            lost |= {j.name for j in step}
        steps += 1
        assert steps < 30 * 12
    assert ended.keys() | lost == {j.name for j in jobs} and not ended.keys() & lost
    assert s.left == 0 and budget.memory_claimed == 0 and abs(budget.cpus_claimed) < 1e-6


# ---- circles -------------------------------------------------------------------------------


def test_circles_are_found():
    assert find_circle({"a": ["b"], "b": ["c"], "c": []}) is None
    assert find_circle({"a": ["a"]}) == ["a", "a"]
    assert find_circle({"x": ["a"], "a": ["b"], "b": ["a"]}) in (
        ["a", "b", "a"], ["b", "a", "b"],
    )  # fmt: skip
    assert find_circle({"a": ["gone"], "b": ["a", "a"]}) is None
    assert dependents({"a": ["b", "b"], "c": ["b"]}) == {"b": ["a", "c"]}


@given(st.dictionaries(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=3)))
def test_a_circle_is_one(needs):
    named = {str(n): [str(d) for d in needed] for n, needed in needs.items()}
    circle = find_circle(named)
    if circle is not None:
        assert circle[0] == circle[-1] and len(set(circle)) == len(circle) - 1
        assert all(b in named[a] for a, b in pairwise(circle))
    else:
        seen = set()
        while free := [n for n in named if n not in seen and
                       all(d in seen or d not in named for d in named[n])]:  # fmt: skip
            seen.update(free)
        assert seen == named.keys()


def test_a_long_chain_is_no_circle_and_needs_no_recursion():
    chain = {str(n): [str(n + 1)] for n in range(20_000)}
    assert find_circle(chain) is None
    chain["20000"] = ["0"]
    assert len(find_circle(chain)) == 20_002
