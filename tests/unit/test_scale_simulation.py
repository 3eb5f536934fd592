"""The simulation of benchmarks/scale_*.py: what has to hold whatever comes of it, and tiny cases.

The cases by hand have machines of 100 bytes, and jobs that grow to their peak by half of their run,
unless they say otherwise.
"""

import importlib
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")


def _load(name):
    sys.path.insert(0, BENCHMARKS)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(BENCHMARKS)


cluster, rules, trace, simulate = map(
    _load, ("scale_cluster", "scale_dask_rules", "scale_trace", "scale_simulate")
)


def task(peak, duration=10.0, rise=0.5, asked=None, command="work"):
    return trace.Task(command, peak, duration, rise, peak if asked is None else asked)


def climits(tasks, limits=None, machines=1, cpus=4, **options):
    limits = [t.peak for t in tasks] if limits is None else limits
    return cluster.with_climits(tasks, limits, machines, 100, cpus, **options)[0]


def dask(tasks, claims=None, machines=1, threads=4, *, enforced=True, **options):
    claims = [t.asked for t in tasks] if claims is None else claims
    return rules.Dask(
        tasks, claims, machines, 100, threads, enforced=enforced, **options
    )  # fmt: skip


def waited(books):
    return [books.waited[n] for n in range(len(books.waited))]


TASKS = st.lists(
    st.builds(
        task,
        peak=st.integers(1, 100),
        duration=st.floats(0.5, 50),
        rise=st.floats(0.05, 1),
        asked=st.integers(1, 100),
    ),
    min_size=1,
    max_size=40,
)
MACHINES, CPUS = st.integers(1, 5), st.integers(1, 4)


# ---- a job's memory ------------------------------------------------------------------------------


def test_a_job_grows_evenly_to_its_peak_and_stays_there():
    one = task(80, duration=10, rise=0.5)
    assert [one.used(t) for t in (0, 2.5, 5, 9)] == [0, 40, 80, 80]
    assert one.seconds_to(40) == 2.5
    assert one.seconds_to(80) is None


# ---- the fleet -----------------------------------------------------------------------------------


def test_the_first_machine_with_room_is_taken():
    fleet = cluster.Fleet(3, 100, 2)
    placed = []
    for memory in (60, 60, 40, 40, 100):
        assert fleet.admits(memory, 1)
        fleet.claim(memory, 1)
        placed.append(fleet.placed)
    assert placed == [0, 1, 0, 1, 2]
    assert not fleet.admits(1, 1)
    assert (fleet.memory_claimed, fleet.cpus_claimed) == (300, 5)


def test_a_machine_without_a_cpu_has_no_room_and_remembers_its_memory():
    fleet = cluster.Fleet(1, 100, 1)
    fleet.claim(30, 1)
    assert not fleet.admits(1, 1)
    fleet.leaving = 0
    fleet.give_back(30, 1)
    assert fleet.free(0) == 100
    assert fleet.admits(100, 1) and not fleet.admits(101, 1)


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(0, 9)), max_size=60), MACHINES, CPUS)
def test_the_fleet_agrees_with_a_search_of_all_machines(steps, machines, cpus):
    fleet = cluster.Fleet(machines, 100, cpus)
    on = [[] for _ in range(machines)]
    for memory, leave in steps:
        first = next(
            (n for n in range(machines) if len(on[n]) < cpus and sum(on[n]) + memory <= 100), None
        )
        assert fleet.admits(memory, 1) == (first is not None)
        if first is not None:
            fleet.claim(memory, 1)
            assert fleet.placed == first
            on[first].append(memory)
        busy = [n for n in range(machines) if on[n]]
        if leave < 4 and busy:
            machine = busy[leave % len(busy)]
            fleet.leaving = machine
            fleet.give_back(on[machine].pop(0), 1)


# ---- climits, by hand ----------------------------------------------------------------------------


def test_what_fits_runs_at_once_and_the_rest_waits():
    books = climits([task(60), task(40), task(50)])
    assert waited(books) == [0, 0, 10]
    assert books.makespan == 20


def test_what_fits_goes_before_what_does_not():
    books = climits([task(60, 10), task(50, 10), task(40, 5)])
    assert waited(books) == [0, 10, 0]


def test_two_machines_are_filled_in_order():
    books = climits([task(60, 10), task(60, 4), task(60, 10)], machines=2)
    assert waited(books) == [0, 0, 4]


def test_an_oom_kill_costs_the_time_to_the_limit_and_is_tried_again_with_twice():
    # Killed at 20 of 80 bytes after 1.25 s, at 40 after 2.5 s; then it has 80, which is enough.
    books = climits([task(80)], limits=[20])
    assert (books.attempts, books.killed) == (3, 2)
    assert books.makespan == pytest.approx(1.25 + 2.5 + 10)
    assert books.wasted_time == pytest.approx(3.75)
    assert books.wasted == pytest.approx(20 * 1.25 / 2 + 40 * 2.5 / 2)
    assert books.useful == pytest.approx(80 * 7.5)
    assert books.ends == {0: "ok"}


def test_a_job_gets_no_more_than_a_machine_has_and_then_fails():
    books = climits([task(200)], limits=[90])
    assert books.attempts == 2  # with 90, and with 100
    assert books.ends == {0: "failed"}


# ---- Dask, by hand -------------------------------------------------------------------------------


def test_dask_gives_tasks_to_the_worker_with_the_fewest_whatever_they_claim():
    one = dask([task(100), task(1), task(100), task(1)], machines=2)
    books = one.run()
    # 0 and 2 go to the first worker, 1 and 3 to the second: 2 waits although the other has 98 free.
    assert one.ran == [2, 2] and one.moves == 0
    assert waited(books) == [0, 0, 10, 0]


def test_what_dask_has_at_the_head_of_a_worker_keeps_out_what_would_fit():
    books = dask([task(60), task(60), task(10)]).run()
    assert waited(books) == [0, 10, 10]
    assert waited(climits([task(60), task(60), task(10)])) == [0, 10, 0]


def test_an_idle_dask_worker_steals():
    # The long ones are all given to the first worker, the short ones to the second.
    tasks = [task(100, 100.0 if n % 2 == 0 else 1.0) for n in range(12)]
    one = dask(tasks, machines=2, threads=1)
    books = one.run()
    assert one.moves > 0
    assert sum(one.ran) == 12
    assert books.makespan < 600  # 6 x 100 where nobody steals


def test_a_dask_worker_that_uses_too_much_is_killed_with_all_that_it_runs():
    # Together they use 95 bytes after 4.75 s.  The small one is lost through no fault of its own.
    books = dask([task(80, asked=10), task(20, asked=10)], enforced=False).run()
    assert books.workers_killed == 4
    assert books.killed == 8
    assert books.ends == {0: "failed", 1: "failed"}
    assert books.makespan == pytest.approx(4 * 4.75 + 3 * rules.RESTART)


def test_what_climits_enforces_on_dask_is_killed_alone():
    books = dask([task(80, asked=10), task(20, asked=20)]).run()
    assert books.workers_killed == 0
    assert books.ends == {0: "ok", 1: "ok"}
    assert books.killed == 3  # with 10, 20 and 40
    assert waited(books) == [0, 0]


def test_dask_starts_no_more_above_80_per_cent():
    # At 4.75 s the first uses 85.5 of its 90 bytes; the second would fit by what it asks for.
    tasks = [task(90, 10, 0.5, asked=50), task(1, 4.6, asked=50), task(1, 1, asked=50)]
    books = dask(tasks, enforced=False).run()
    assert waited(books) == [0, 0, 10]


# ---- whatever the trace --------------------------------------------------------------------------


@given(TASKS, MACHINES, CPUS)
def test_no_machine_is_over_its_memory_by_limits_and_every_job_ends_once(tasks, machines, cpus):
    def watch(_now, on):
        for runs in on.values():
            assert sum(limit for _, limit, _ in runs) <= 100
            assert len(runs) <= cpus

    books = climits(
        tasks, limits=[t.asked for t in tasks], machines=machines, cpus=cpus, watch=watch
    )
    assert books.ends == dict.fromkeys(range(len(tasks)), "ok")  # none needs more than a machine
    assert books.attempts == len(tasks) + books.killed
    assert books.useful == pytest.approx(sum(t.peak * t.duration * (1 - t.rise / 2) for t in tasks))


@given(TASKS, MACHINES, CPUS, st.booleans())
@settings(max_examples=200)
def test_on_dask_every_job_ends_once_too(tasks, machines, threads, enforced):
    one = dask(tasks, machines=machines, threads=threads, enforced=enforced)
    books = one.run()
    assert sorted(books.ends) == list(range(len(tasks)))
    assert len(books.waited) <= len(tasks)
    assert all(worker.free == 100 and not worker.given for worker in one.workers)
    if enforced:
        assert set(books.ends.values()) == {"ok"}
        assert books.workers_killed == 0


@pytest.mark.parametrize("policy", simulate.POLICIES, ids=lambda policy: policy.name)
def test_the_same_seed_gives_the_same_figures(policy):
    def figures():
        found = simulate.figures(policy, 3, *trace.generate(200, simulate.MEMORY, 1), seed=1)
        for key in ("real", "scheduler_seconds"):
            del found[key]
        return json.dumps(found)

    assert figures() == figures()


def test_another_seed_gives_another_trace():
    first, second = (trace.generate(50, simulate.MEMORY, seed)[0] for seed in (1, 2))
    assert [t.peak for t in first] != [t.peak for t in second]


# ---- traces --------------------------------------------------------------------------------------


def test_a_trace_is_within_its_bounds():
    tasks, past = trace.generate(2000, simulate.MEMORY, 3)
    assert len(tasks) == 2000
    assert all(trace.SHORTEST <= t.duration <= trace.LONGEST for t in tasks)
    assert all(trace.LEAST <= t.peak <= simulate.MEMORY * trace.MOST_SHARE for t in tasks)
    assert all(t.asked % trace.STEP == 0 for t in tasks)
    assert {t.command for t in tasks} <= past.keys()
    assert {len(peaks) for peaks in past.values()} == {trace.HISTORY}


def test_the_slack_of_what_users_ask_for_is_that_of_the_publication():
    tasks, _ = trace.generate(20_000, simulate.MEMORY, 4)
    large = [t for t in tasks if t.asked >= 8 * trace.STEP]  # where rounding up matters less
    slack = 1 - sum(t.peak for t in large) / sum(t.asked for t in large)
    assert trace.SLACK - 0.1 < slack < trace.SLACK + 0.1


def test_a_trace_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "trace.csv"
    tasks, _ = trace.generate(20, simulate.MEMORY, 5)
    trace.write(path, tasks)
    again = trace.read(path)
    assert [[getattr(t, c) for c in trace.COLUMNS] for t in again] == [
        [getattr(t, c) for c in trace.COLUMNS] for t in tasks
    ]


@pytest.mark.parametrize(
    "line",
    ["a,0,1,0.5,1", "a,1,0,0.5,1", "a,1,1,0,1", "a,1,1,2,1", "a,1,1,0.5,0", "a,x,1,1,1", "a"],
)
def test_a_line_that_means_nothing_is_named(tmp_path, line):
    path = tmp_path / "trace.csv"
    path.write_text(f"command,peak,duration,rise,asked\na,1,1,0.5,1\n{line}\n")
    with pytest.raises(ValueError, match=r"trace\.csv:3: not a job"):
        trace.read(path)


def test_the_first_runs_of_a_file_are_the_history(tmp_path):
    path = tmp_path / "trace.csv"
    trace.write(path, [task(n + 1) for n in range(trace.HISTORY + 3)])
    tasks, past = simulate.from_file(path)
    assert [t.peak for t in tasks] == [trace.HISTORY + n for n in (1, 2, 3)]
    assert past == {"work": list(range(1, trace.HISTORY + 1))}


# ---- limits --------------------------------------------------------------------------------------


def test_what_is_suggested_is_the_95th_percentile_and_a_margin():
    peaks = [n * trace.MIB for n in range(1, 21)]
    assert simulate.suggestions({"work": peaks}) == {
        "work": 22 * trace.MIB
    }  # 19 x 1.15, rounded up


def test_one_limit_is_enough_for_a_share_of_all_runs():
    past = {
        "a": [n * trace.MIB for n in range(1, 51)],
        "b": [n * trace.MIB for n in range(51, 102)],
    }
    assert simulate.one_limit(past, 0.5) == 51 * trace.MIB
    assert simulate.one_limit(past, 0.99) == 100 * trace.MIB


# ---- figures -------------------------------------------------------------------------------------


def test_utilisation_is_what_was_used_of_what_there_is():
    books = climits([task(100, 20, 0.0001), task(50, 20, 0.0001)])
    assert books.used_until(20) / (100 * 20) == pytest.approx(1.0, abs=1e-3)
    assert books.used_until(40) / (100 * 40) == pytest.approx(0.75, abs=1e-3)
    assert books.used_until(10) / (100 * 10) == pytest.approx(1.0, abs=1e-3)


def test_when_a_share_of_the_jobs_has_been_started():
    books = cluster.Books()
    for n in range(20):
        books.started(n, float(n))
        books.started(n, 99.0)  # a retry is no first start
    assert books.started_by(0.95) == 18.0
    assert books.attempts == 40
