"""A limit from past peaks: what each kind of run counts as."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from climits.errors import InvalidValueError
from climits.history.entries import Entry
from climits.history.suggest import hallmark, relevant, suggest
from climits.units import UNLIMITED

MIB = 1 << 20


def run(peak, limit=UNLIMITED, **values):
    known = {
        "started": 1e9, "source": "run", "command": ["sort", "x"], "cwd": "/", "verdict": "exited",
        "returncode": 0, "exit_status": 0, "memory_max": limit * MIB, "memory_peak": peak * MIB,
        "oom_kill": 0,
    }  # fmt: skip
    return Entry(**known | values)


def killed(limit):
    return run(limit, limit, verdict="oom-killed", returncode=-9, exit_status=137, oom_kill=1)


def limit_of(runs, **how):
    return suggest(runs, **how).memory / MIB


def test_one_run_and_the_margin():
    found = suggest([run(100)])
    assert (found.memory, found.basis, found.value) == (115 * MIB, "peak", 100 * MIB)
    assert (found.runs, found.percentile, found.margin) == (1, 95.0, 15.0)


def test_a_run_below_its_limit_has_the_margin_too():
    assert limit_of([run(100, 200)]) == 115
    assert limit_of([run(100, 200)], margin=1000) == 1100


def test_what_it_says_of_the_runs():
    found = suggest([run(10, started=3.0), run(30, started=1.0), run(20, started=2.0)])
    assert (found.first, found.last, found.exact) == (1.0, 3.0, True)
    assert suggest([run(10)], exact=False).exact is False


def test_it_is_rounded_up_to_mib():
    assert limit_of([run(1, memory_peak=1)]) == 1
    assert limit_of([run(1, memory_peak=MIB + 1)], margin=0) == 2


@pytest.mark.parametrize(
    ("percentile", "limit"), [(100, 100), (95, 95), (50, 50), (1, 1), (0.5, 1), (99.5, 100)]
)
def test_the_percentile_is_the_nearest_rank(percentile, limit):
    runs = [run(n) for n in range(1, 101)]
    assert limit_of(runs, percentile=percentile, margin=0) == limit


def test_swap_counts_as_memory():
    assert limit_of([run(100, swap_peak=50 * MIB)], margin=0) == 150


def test_a_run_at_its_limit_counts_as_that_without_margin():
    found = suggest([run(100, 100), run(99.5, 100)])
    assert (found.memory, found.basis, found.at_limit) == (100 * MIB, "limit", 2)


def test_suggestions_do_not_grow_by_being_followed():
    limit = suggest([run(100)]).memory / MIB
    runs = [run(100)]
    for _ in range(10):  # page cache fills each
        runs.append(run(limit, limit))
        limit = suggest(runs).memory / MIB
    assert limit == 115


def test_an_oom_killed_run_alone_is_a_guess():
    found = suggest([killed(60)])
    assert (found.memory, found.basis, found.value) == (90 * MIB, "oom-killed", 60 * MIB)
    assert (found.runs, found.oom_killed) == (1, 1)


def test_a_run_that_the_whole_machine_killed_counts_as_killed_at_its_peak():
    found = suggest([run(60, verdict="oom-killed", returncode=-9, exit_status=137, oom_kill=1)])
    assert (found.memory, found.basis, found.value) == (90 * MIB, "oom-killed", 60 * MIB)
    assert (found.oom_killed, found.at_limit) == (1, 0)


def test_the_weight_of_a_killed_run_is_shared_among_those_above_it():
    runs = [run(10), run(10), run(10), run(10), killed(60), run(100), run(200)]
    # 4 below, one and a half each above: 100 MiB do for 5.5 of 7.
    assert limit_of(runs, percentile=78, margin=0) == 100
    assert limit_of(runs, percentile=79, margin=0) == 200


def test_an_oom_killed_run_counts_as_those_that_needed_more():
    runs = [*[killed(60)] * 10, run(75, 200), run(80, 200)]
    found = suggest(runs, margin=0)
    assert (found.memory, found.basis, found.oom_killed) == (80 * MIB, "peak", 10)
    # Those below it do not speak for it: half of all the weight is above 60.
    assert limit_of([run(10), run(10), killed(60), run(100)], margin=0, percentile=60) == 100
    assert limit_of([run(10), run(10), killed(60), run(100)], margin=0, percentile=50) == 10


def test_one_that_was_killed_above_all_others_is_a_guess():
    found = suggest([run(20)] * 9 + [killed(40)])
    assert (found.memory, found.basis) == (60 * MIB, "oom-killed")
    assert limit_of([run(20)] * 9 + [killed(40)], percentile=90, margin=0) == 20


def test_a_margin_does_not_make_a_peak_below_a_kill_into_one_above_it():
    assert limit_of([run(28), killed(30)]) == 45


def test_a_run_with_a_child_oom_killed_counts_as_killed():
    found = suggest([run(60, 60, oom_kill=1)])
    assert (found.basis, found.oom_killed, found.at_limit) == ("oom-killed", 1, 0)


def test_failed_runs_do_not_count_and_stopped_ones_do():
    runs = [
        run(10), run(500, verdict="timed-out"), run(600, returncode=1),
        run(700, verdict="signaled", returncode=-11), run(20, verdict="stopped", returncode=-15),
    ]  # fmt: skip
    found = suggest(runs, margin=0)
    assert (found.memory, found.runs, found.left_out) == (20 * MIB, 2, 3)
    assert (found.lowest, found.highest) == (10 * MIB, 20 * MIB)
    with pytest.raises(InvalidValueError, match="no run of it tells"):
        suggest(runs[1:4])


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"percentile": 0}, "percentile: 0: must be"),
        ({"percentile": 100.1}, "percentile: 100.1: must be"),
        ({"percentile": float("nan")}, "percentile: nan: must be"),
        ({"margin": -1}, "margin: -1: must be"),
        ({"margin": 1000.5}, "margin: 1000.5: must be"),
        ({"margin": float("inf")}, "margin: inf: must be"),
    ],
)
def test_figures_out_of_range(how, text):
    with pytest.raises(InvalidValueError, match=text):
        suggest([run(1)], **how)


RUNS = st.one_of(
    st.builds(run, st.integers(1, 1000)),
    st.builds(killed, st.integers(1, 1000)),
    st.integers(1, 1000).map(lambda n: run(n, n)),
)


@given(st.lists(RUNS, min_size=1, max_size=20), st.floats(1, 100), st.floats(0, 100))
def test_more_of_either_is_never_less(runs, percentile, margin):
    found = limit_of(runs, percentile=percentile, margin=margin)
    assert 1 <= found <= 3000
    assert limit_of(runs, percentile=100, margin=margin) >= found
    assert limit_of(runs, percentile=percentile, margin=margin + 1) >= found
    assert limit_of(runs[::-1], percentile=percentile, margin=margin) == found


# ---- which runs ----------------------------------------------------------------------------


def of(*command, cwd="/", **values):
    return run(10, command=list(command), cwd=cwd, **values)


def test_the_very_command_before_others_of_the_program():
    runs = [of("make", "-j8"), of("make", "clean"), of("make", "-j8"), of("gcc")]
    assert relevant(runs, ["make", "-j8"], "/") == ([runs[0], runs[2]], True)
    assert relevant(runs, ["make", "test"], "/") == (runs[:3], False)
    assert relevant(runs, ["ld"], "/") == ([], False)


def test_a_relative_program_is_that_of_its_directory():
    runs = [of("./app", cwd="/a"), of("./app", cwd="/b"), of("/a/app")]
    assert relevant(runs, ["./app"], "/a") == ([runs[0], runs[2]], True)
    assert relevant(runs, ["../b/app"], "/a") == ([runs[1]], True)
    assert relevant(runs, ["app"], "/a") == ([], False)


@given(st.text(min_size=1), st.text())
def test_the_hallmark_is_in_each_run_of_a_program(name, argument):
    same = [of(name, argument), of(f"/x/{name}"), of("cat")]
    for runs in (relevant(same, [name], "/x")[0], relevant(same, [f"./{name}"], "/x")[0]):
        assert all(hallmark([name]) in json.dumps(run.command) for run in runs)


def test_runs_that_tell_nothing_are_passed_over():
    failed = of("make", "-j8", returncode=2)
    other = of("make", "clean")
    assert relevant([failed, other], ["make", "-j8"], "/") == ([failed, other], False)
    never = of("make", verdict="failed-to-start", memory_peak=None)
    unknown = of("make", memory_peak=None)
    assert relevant([never, unknown, failed], ["make"], "/") == ([], False)


def test_the_hallmark_is_the_end_of_a_word_in_json():
    assert hallmark(["/usr/bin/sort", "x"]) == 'sort"'
    assert hallmark(["/usr/bin/sort"]) in json.dumps(["/opt/bin/sort", "x"])


def test_a_program_that_never_started_tells_nothing():
    entries = [run(10, verdict="failed-to-start", returncode=0)]
    assert relevant(entries, ["sort", "x"], "/") == ([], False)


def test_without_a_directory_a_relative_path_is_of_the_root():
    entry = run(10, command=["/app", "x"])
    assert relevant([entry], ["./app", "x"], None) == ([entry], True)
