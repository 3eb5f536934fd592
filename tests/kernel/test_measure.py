"""`climits measure` on a real kernel: what it finds, and that it leaves nothing behind."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import IN_VM, PATIENCE, our_cgroups, until

from climits.cli import main
from climits.errors import CommandNotExecutableError, CommandNotFoundError, InvalidValueError
from climits.history.least import Trial
from climits.history.measure import Bench, judge
from climits.records import Result
from climits.units import UNLIMITED

MIB = 1 << 20

pytestmark = pytest.mark.timeout(60 * PATIENCE)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A history of its own for each test."""
    monkeypatch.setenv("CLIMITS_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def measure(capfd):
    """measure(WORDS) in this process: (status, standard output, standard error)."""

    def run(*words):
        # Under emulation a run may take long for reasons of its own.
        given = ["measure", "--max-slowdown", "1000", *map(str, words)]
        status = main.dispatch(given)
        sys.stdout.flush()
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def figures(measure):
    """figures(WORDS): the JSON that it ends with."""

    def run(*words):
        status, out, err = measure("--json", *words)
        assert (status, err) == (0, "")
        return json.loads(out)

    return run


@pytest.fixture
def cold_file(tmp_path):
    """30 MiB that the page cache does not hold."""
    if IN_VM:
        pytest.skip("files are in memory here")
    path = tmp_path / "cold"
    with open(path, "wb") as file:
        file.write(os.urandom(MIB) * 30)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return path


# ---- the least limit -----------------------------------------------------------------------


def test_the_least_limit_of_a_heap_is_its_size(figures, hog):
    found = figures("--", hog, "alloc", 30)
    assert 30 * MIB <= found["least"] <= 33 * MIB
    assert 25 * MIB < found["too_little"] < found["least"]
    assert found["confirmed"] and found["memory_peak"] >= 30 * MIB
    assert found["command"] == [hog, "alloc", "30"] and found["slowdown"] > 0
    outcomes = {(trial["limit"] >= found["least"]): trial for trial in found["trials"]}
    assert outcomes[True]["works"] and outcomes[True]["outcome"] == "exited 0"
    assert not outcomes[False]["works"] and outcomes[False]["outcome"] == "OOM-killed"
    assert all(trial["memory_peak"] <= trial["limit"] for trial in found["trials"])


def test_it_is_the_least_limit_indeed(figures, hog, climits):
    found = figures("--", hog, "alloc", 30)
    words = [climits, "run", "--quiet", "--no-history"]
    run = [subprocess.run([*words, "--memory", str(found[n]), "--", hog, "alloc", "30"]).returncode
           for n in ("least", "too_little")]  # fmt: skip
    assert run == [0, 137]


def test_a_child_that_is_oom_killed_counts_though_the_command_ends_well(figures, hog):
    found = figures("--", hog, "child", "alloc", 30, "end")
    assert 30 * MIB <= found["least"] <= 34 * MIB
    assert "exited 0, a process OOM-killed" in {trial["outcome"] for trial in found["trials"]}


def test_page_cache_can_be_done_without(figures, cold_file):
    found = figures("--", "cat", cold_file)
    assert found["memory_peak"] >= 30 * MIB  # it was charged for the file
    assert found["least"] < 5 * MIB


def test_each_run_finds_the_cache_as_cold_as_the_first(cold_file):
    with Bench(["cat", str(cold_file)]) as bench:
        first = bench.first(UNLIMITED, None)
        trials = [bench.attempt(100 * MIB, first, 1000) for _ in range(3)]
    assert first.memory_peak >= 30 * MIB
    assert all(trial.works and trial.memory_peak >= 30 * MIB for trial in trials)


def test_a_tolerance_and_a_number_of_runs(figures, hog):
    exact = figures("--tolerance", 1, "--runs", 50, "--", hog, "alloc", 30)
    assert exact["least"] - exact["too_little"] < 600 * 1024
    rough = figures("--runs", 4, "--", hog, "alloc", 30)
    assert len(rough["trials"]) == 3


# ---- the working set -----------------------------------------------------------------------


def test_a_heap_that_cannot_go_anywhere_is_all_working_set(figures, hog):
    found = figures("--interval", "20ms", "--", hog, "alloc", 20, "hold", int(300 * PATIENCE))
    if Path("/proc/swaps").read_text().count("\n") > 1:
        pytest.skip("there is swap: a heap can go there")
    assert found["rounds"] >= 2
    assert 20 * MIB <= found["unreclaimable"] <= found["working_set"] <= 25 * MIB


def test_page_cache_that_is_used_no_more_is_no_working_set(figures, cold_file):
    found = figures("--interval", "20ms", "--", "sh", "-c", f"cat {cold_file}; sleep 0.4")
    assert found["memory_peak"] >= 30 * MIB
    # What `cat` reads within an interval comes and goes; the rest does not come back.
    assert found["unreclaimable"] < 10 * MIB


def test_a_working_set_is_less_than_all_that_was_ever_read(figures, cold_file):
    slowly = "import sys, time\nwith open(sys.argv[1], 'rb') as f:\n  while f.read(1<<20): "
    command = [sys.executable, "-c", slowly + "time.sleep(0.02)", cold_file]
    found = figures("--interval", "20ms", "--", *command)
    assert found["memory_peak"] > 32 * MIB
    assert found["working_set"] < 24 * MIB


def test_what_is_allocated_at_the_very_end_belongs_to_it(figures, hog):
    found = figures("--interval", "20ms", "--", hog, "hold", int(200 * PATIENCE), "alloc", 20)
    assert found["working_set"] >= 20 * MIB > found["unreclaimable"]


def test_a_command_that_ends_at_once_has_none(measure):
    status, out, _ = measure("--interval", "1h", "true")
    assert status == 0 and "working set:  not measured: the command ends too soon to tell" in out


# ---- what is told --------------------------------------------------------------------------


def test_each_run_and_both_figures_are_told(measure, hog):
    status, out, err = measure("--interval", "20ms", "--", hog, "alloc", 20, "hold",
                               int(200 * PATIENCE))  # fmt: skip
    assert (status, err) == (0, "")
    table, least, working, advice = out.rstrip("\n").split("\n\n")
    head, first, *others = (line.split(None, 4) for line in table.splitlines())
    assert head == ["RUN", "LIMIT", "PEAK", "TIME", "OUTCOME"]
    assert (first[0], first[1], first[4]) == ("1", "none", "exited 0")
    assert [line[0] for line in others] == [str(n) for n in range(2, len(others) + 2)]
    assert {line[4] for line in others} == {"exited 0", "OOM-killed"}
    assert least.startswith("least limit:  2") and "it did so twice." in least
    assert "was too little." in least and "times as long." in least
    assert re.match(
        r"working set:  [12]\d\.\dM\n    The most in use while the kernel took", working
    )
    assert re.search(r"    Up to \d+\.\d[KM] was left each time: heap", working)
    assert f"climits run --memory 2{advice.split('--memory 2')[1][0]}M -- {hog} alloc 20" in advice


def test_only_the_first_run_is_in_the_history(figures, hog, ctl):
    figures("--runs", 5, "--", hog, "alloc", 20)
    [line] = ctl("history", "--json")[1].splitlines()
    found = json.loads(line)
    assert (found["source"], found["memory_max"]) == ("measure", "max")
    assert found["memory_peak"] >= 20 * MIB
    assert ctl("suggest", "--quiet", "--", hog, "alloc", 20)[0] == 0
    ctl("history", "--clear")
    figures("--runs", 4, "--no-history", "--", hog, "alloc", 20)
    assert ctl("history", "--json") == (0, "")


def test_standard_input_is_the_file_each_time_from_its_beginning(measure, tmp_path):
    file = tmp_path / "in"
    file.write_text("12345")
    status, out, _ = measure("--input", file, "--", "sh", "-c", 'test "$(wc -c)" -eq 5')
    assert status == 0 and "least limit:" in out
    assert measure("--", "sh", "-c", 'test "$(wc -c)" -eq 0')[0] == 0


def test_the_output_of_the_command_is_not_ours(measure):
    status, out, err = measure("--", "sh", "-c", "echo out; echo err >&2")
    assert status == 0 and "out\n" not in out
    assert err == "err\n"  # of the first run


# ---- what cannot be measured ---------------------------------------------------------------


def test_a_command_that_fails_is_told_and_its_status_kept(measure):
    status, out, err = measure("--", "sh", "-c", "echo no such table >&2; exit 3")
    assert (status, out) == (3, "")
    shell, ours = err.splitlines()
    assert shell == "no such table"
    assert ours.startswith("climits: the command fails without a limit: exited 3: peak ")
    assert "hint: it must end with status 0" in ours


def test_a_command_that_a_signal_ends(measure, hog):
    assert measure("--", hog, "raise", 15)[0] == 143


def test_a_command_that_does_not_end_in_time(measure):
    status, out, err = measure("--timeout", "100ms", "--", "sleep", "1000")
    assert (status, out) == (124, "") and "without a limit: timed-out" in err


def test_a_command_too_large_for_its_first_limit(measure, hog):
    status, out, err = measure("--memory", "10M", "--", hog, "alloc", 30)
    assert (status, out) == (137, "")
    assert "climits: the command fails under 10.0M: oom-killed" in err
    assert "hint: give it more with --memory" in err


def test_a_command_that_is_not_there(tmp_path):
    with pytest.raises(CommandNotFoundError) as caught:
        main.dispatch(["measure", "climits-no-such"])
    assert main.status_of(caught.value) == 127
    (tmp_path / "plain").write_text("x")
    with pytest.raises(CommandNotExecutableError) as caught:
        main.dispatch(["measure", str(tmp_path / "plain")])
    assert main.status_of(caught.value) == 126


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "no command was given"),
        (["--tolerance", "0", "true"], "tolerance: must be more than 0"),
        (["--tolerance", "nan", "true"], "tolerance: must be more than 0"),
        (["--runs", "3", "true"], "runs: 3: must be 4 to 1000"),
        (["--max-slowdown", "0.5", "true"], "max-slowdown: must be 1 or more"),
        (["--interval", "0", "true"], "interval: must be more than 0"),
        (["--interval", "x", "true"], "interval: x: not a duration"),
        (["--memory", "5MB", "true"], "memory: 5MB: MB can mean"),
        (["--input", "/climits/no-such", "true"], "input: /climits/no-such: no such file"),
    ],
)
def test_what_means_nothing_is_refused(words, text):
    with pytest.raises(InvalidValueError) as caught:
        main.dispatch(["measure", *words])
    assert str(caught.value).startswith(text)


# ---- when it is ended itself ---------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_leaves_nothing_behind_when_it_is_ended(climits, number):
    child = start(climits)
    child.send_signal(number)
    assert child.wait(60 * PATIENCE) == 128 + number
    assert child.stderr.read() == b""
    child.stderr.close()


def test_what_kill_9_leaves_is_swept_up(climits):
    child = start(climits)
    child.kill()
    child.wait()
    child.stderr.close()
    subprocess.run([climits, "gc"], check=True, stdout=subprocess.DEVNULL)
    assert our_cgroups() == []


def start(climits):
    """A measure whose command runs."""
    child = subprocess.Popen([climits, "measure", "--", "sleep", "1000"], stderr=subprocess.PIPE)

    def runs():
        homes = [p for p in our_cgroups() if f"/measure-{child.pid}-1/sleep-" in p]
        return any(Path(p, "cgroup.procs").read_text() for p in homes)

    until(runs)
    return child


# ---- the judge -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "works", "outcome"),
    [
        ({}, True, "exited 0"),
        ({"returncode": 1}, False, "exited 1"),
        ({"oom_kill": 1}, False, "exited 0, a process OOM-killed"),
        ({"verdict": "oom-killed", "returncode": 1, "oom_kill": 1}, False, "OOM-killed"),
        ({"verdict": "signaled", "returncode": -11, "signal": 11}, False, "ended by signal 11"),
        ({"verdict": "timed-out", "returncode": -15, "signal": 15}, False, "too slow"),
        ({"verdict": "timed-out", "returncode": 0}, False, "too slow"),
    ],
)  # fmt: skip
def test_what_counts_as_working(values, works, outcome):
    known = {
        "command": ["x"],
        "verdict": "exited",
        "returncode": 0,
        "exit_status": 0,
        "oom_kill": 0,
    }
    first = Result(**known, duration=1.0)
    trial = judge(5 * MIB, Result(**known | values, duration=2.0), first)
    assert trial == Trial(limit=5 * MIB, works=works, outcome=outcome, duration=2.0)
