"""`climits history` and `climits suggest`, and that each run finds its way into them."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest
from support import PATIENCE

from climits.cli import main
from climits.errors import ClimitsError, InvalidValueError
from climits.history.entries import Entry
from climits.history.spool import FOLD_AT
from climits.history.store import DATABASE, History
from climits.units import UNLIMITED

MIB = 1 << 20


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A history of its own for each test."""
    path = tmp_path / "state"
    monkeypatch.setenv("CLIMITS_STATE_DIR", str(path))
    return path


@pytest.fixture
def told(capfd):
    """told(WORDS) runs a command in this process: (status, standard output, standard error)."""

    def run(*words):
        status = main.dispatch([str(word) for word in words])
        sys.stdout.flush()
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def past(told):
    """The history as `climits history --json` tells it."""

    def read(*options):
        status, out, _ = told("history", "--json", *options)
        assert status == 0
        return [json.loads(line) for line in out.splitlines()]

    return read


def entry(command, **values):
    known = {
        "started": time.time() - 60, "source": "run", "command": command, "cwd": "/",
        "verdict": "exited", "returncode": 0, "exit_status": 0, "memory_max": UNLIMITED,
        "memory_peak": 20 * MIB, "oom_kill": 0, "duration": 2.0, "user": "root",
    }  # fmt: skip
    return Entry(**known | values)


def killed(command, limit, **values):
    return entry(
        command, verdict="oom-killed", returncode=-9, exit_status=137, oom_kill=1,
        memory_max=limit * MIB, memory_peak=limit * MIB, **values,
    )  # fmt: skip


@pytest.fixture
def lived(place):
    """lived(ENTRIES) puts them into the history."""

    def add(*entries):
        with History(str(place)) as history:
            history.add(entries)

    return add


# ---- what is recorded ----------------------------------------------------------------------


def test_a_run_is_recorded(climits, past, tmp_path):
    before = time.time()
    words = [
        climits,
        "run",
        "--memory",
        "64M",
        "--chdir",
        tmp_path,
        "--name",
        "climits-h",
        "--quiet",
    ]
    done = subprocess.run([*words, "--", "sh", "-c", "exit 3"])
    assert done.returncode == 3
    [found] = past()
    assert found["command"] == ["sh", "-c", "exit 3"]
    assert (found["source"], found["verdict"], found["name"]) == ("run", "exited", "climits-h")
    assert (found["returncode"], found["exit_status"], found["oom_kill"]) == (3, 3, 0)
    assert found["memory_max"] == 64 * MIB and 0 < found["memory_peak"] < 64 * MIB
    assert found["cwd"] == str(tmp_path) and found["user"] == "root"
    assert before - 1 < found["started"] < time.time() and found["duration"] > 0


def test_an_oom_kill_is_recorded(climits, hog, past):
    subprocess.run([climits, "run", "--memory", "20M", "--quiet", "--", hog, "alloc", "60"])
    [found] = past("--oom")
    assert (found["verdict"], found["exit_status"]) == ("oom-killed", 137)
    assert found["oom_kill"] >= 1 and found["memory_max"] == 20 * MIB


def test_a_run_in_a_container_is_recorded(climits, past):
    words = ["container", "--quiet", "--seccomp", "none", "--", "true"]
    done = subprocess.run([climits, *words], capture_output=True)
    if done.returncode == 125:
        pytest.skip(f"no container here: {done.stderr.decode()}")
    [found] = past()
    assert (found["source"], found["command"], found["verdict"]) == (
        "container", ["true"], "exited",
    )  # fmt: skip


def test_a_command_that_does_not_start_is_recorded(climits, past):
    assert subprocess.run([climits, "run", "--", "climits-no-such"]).returncode == 127
    [found] = past()
    assert (found["verdict"], found["exit_status"]) == ("failed-to-start", 127)
    assert "returncode" not in found


@pytest.mark.parametrize("words", [["run", "--no-history", "--", "true"], ["run", "--pids", "0"],
                                   ["run", "--explain", "--", "true"]])  # fmt: skip
def test_what_is_not_recorded(climits, place, words):
    subprocess.run([climits, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert not place.exists()


@pytest.mark.parametrize("options", [[], ["--no-history"]])
def test_each_restart_of_a_supervisor_is_recorded(climits, past, options):
    words = [
        "--restart",
        "always",
        "--max-restarts",
        "2/1m",
        "--restart-delay",
        "0",
        "--memory",
        "64M",
    ]
    done = subprocess.run(
        [climits, "supervise", *words, *options, "--", "sh", "-c", "exit 5"],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 5
    found = past()
    if options:
        assert found == []
    else:
        assert [f["returncode"] for f in found] == [5, 5, 5]
        assert {(f["source"], f["name"]) for f in found} == {("supervise", "sh")}


def test_the_programs_of_a_configuration_are_recorded_with_their_names(climits, past, tmp_path):
    config = tmp_path / "climits.toml"
    config.write_text(
        '[defaults]\nrestart = "never"\nmemory = "64M"\n'
        '[program.one]\ncommand = ["sh", "-c", "exit 7"]\ncwd = "/"\n'
        '[program.two]\ncommand = ["sleep", "1000"]\n'
    )
    supervisor = subprocess.Popen(
        [climits, "supervise", "-c", config, "--socket", tmp_path / "s", "--log-format", "json"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    events = []
    while {"exited", "started two"} - set(events):
        event = json.loads(supervisor.stderr.readline())
        events += [event["event"], f"{event['event']} {event.get('program')}"]
    supervisor.send_signal(signal.SIGTERM)
    supervisor.communicate(timeout=60 * PATIENCE)
    assert supervisor.returncode == 0
    one, two = sorted(past(), key=lambda f: f["name"])
    assert (one["name"], one["returncode"], one["cwd"]) == ("one", 7, "/")
    assert (two["name"], two["verdict"]) == ("two", "stopped")


# ---- a history that cannot be kept ---------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--quiet"]])
def test_a_history_that_cannot_be_written_changes_no_exit_status(climits, options, monkeypatch):
    monkeypatch.setenv("CLIMITS_STATE_DIR", "/proc/climits")
    done = subprocess.run(
        [climits, "run", *options, "--", "sh", "-c", "exit 4"], capture_output=True, text=True
    )
    assert done.returncode == 4
    warnings = [line for line in done.stderr.splitlines() if "history" in line]
    expected = (
        "climits: not in the history: /proc/climits: no such file or directory; "
        "--no-history leaves it out"
    )
    assert warnings == ([] if options else [expected])


def test_a_full_disk_changes_no_exit_status(climits, place):
    place.mkdir()
    (place / "spool").symlink_to("/dev/full")
    done = subprocess.run([climits, "run", "--", "sh", "-c", "exit 4"], capture_output=True)
    assert done.returncode == 4 and done.stderr.count(b"not in the history") == 1


def test_a_damaged_database_changes_no_exit_status(climits, place):
    place.mkdir()
    (place / DATABASE).write_bytes(b"nonsense" * 999)
    with open(place / "spool", "wb") as file:
        file.truncate(FOLD_AT - 5)  # the next run takes it over
    done = subprocess.run([climits, "run", "--", "sh", "-c", "exit 4"], capture_output=True)
    assert done.returncode == 4 and done.stderr.count(b"the history was damaged") == 1
    with History(str(place)) as history:
        history.fold()
        assert len(history.query()) == 1


def test_a_supervisor_tells_once_that_nothing_is_recorded(climits, monkeypatch):
    monkeypatch.setenv("CLIMITS_STATE_DIR", "/proc/climits")
    words = ["--restart", "always", "--max-restarts", "2/1m", "--restart-delay", "0"]
    done = subprocess.run(
        [climits, "supervise", *words, "--", "sh", "-c", "exit 5"], capture_output=True, text=True
    )
    assert done.returncode == 5 and done.stderr.count("not in the history") == 1


# ---- the table -----------------------------------------------------------------------------


def test_the_table(told, lived, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    lived(
        entry(["sort", "a b"], started=1.9e9),
        killed(["./app"], 60, started=1.9e9 + 1, duration=0.25, source="batch", name="job7"),
        entry(["x"], started=1.9e9 + 2, verdict="failed-to-start", returncode=None,
              exit_status=127, memory_max=None, memory_peak=None, oom_kill=None, duration=None),
        entry(["make"], started=1.9e9 + 3, oom_kill=2, memory_max=64 * MIB),
        entry(["y\n\x1b[2J"], started=1.9e9 + 4, verdict="signaled", returncode=-11),
    )  # fmt: skip
    status, out, err = told("history")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "STARTED              SOURCE  VERDICT                  PEAK  LIMIT   TIME  COMMAND",
        "2030-03-17 17:46:40  run     exited 0                20.0M   none   2.0s  sort 'a b'",
        "2030-03-17 17:46:41  batch   oom-killed              60.0M  60.0M  250ms  job7: ./app",
        "2030-03-17 17:46:42  run     failed-to-start            --     --     --  x",
        "2030-03-17 17:46:43  run     exited 0, 2 OOM-killed  20.0M  64.0M   2.0s  make",
        "2030-03-17 17:46:44  run     signaled SIGSEGV        20.0M   none   2.0s  'y\\n\\x1b[2J'",
    ]


def test_long_commands_are_cut_for_people_alone(told, lived, past):
    lived(entry(["touch", *map(str, range(1000))]))
    _, out, _ = told("history")
    assert out.endswith("...\n") and all(len(line) < 150 for line in out.splitlines())
    assert past()[0]["command"][-1] == "999"


def test_a_terminal_gets_lines_that_fit(climits, lived):
    lived(entry(["touch", *map(str, range(1000))]))
    leader, follower = pty.openpty()
    os.set_blocking(leader, False)
    with subprocess.Popen([climits, "history"], stdout=follower) as child:
        assert child.wait() == 0
    lines = os.read(leader, 65536).decode().splitlines()
    os.close(leader)
    os.close(follower)
    assert len(lines) == 2 and lines[1].endswith("...")


def test_only_the_newest_thirty_are_shown_unless_asked(told, lived, past):
    lived(*(entry([f"c{n}"], started=time.time() - 100 + n) for n in range(40)))
    lines = told("history")[1].splitlines()
    assert [line.split()[-1] for line in lines[1:]] == [f"c{n}" for n in range(10, 40)]
    assert len(told("history", "--limit", "35")[1].splitlines()) == 36
    assert [f["command"][0] for f in past()] == [f"c{n}" for n in range(40)]
    assert [f["command"][0] for f in past("--limit", "2")] == ["c38", "c39"]


def test_what_is_asked_for(lived, past):
    now = time.time()
    lived(
        entry(["make", "-j8"], started=now - 5000),
        entry(["make", "clean"], started=now - 4000),
        killed(["./app", "--make"], 50, started=now - 3000, source="supervise"),
        entry(["sh", "-c", "a*b"], started=now - 20, oom_kill=1),
    )

    def commands(*options):
        return [" ".join(f["command"]) for f in past(*options)]

    assert commands("--command", "make") == ["make -j8", "make clean", "./app --make"]
    assert commands("--command", "make *") == ["make -j8", "make clean"]
    assert commands("--command", "[ms]* -[cj]*") == ["make -j8", "sh -c a*b"]
    assert commands("--command", "Make") == []
    assert commands("--oom") == ["./app --make", "sh -c a*b"]
    assert commands("--since", "1h") == ["./app --make", "sh -c a*b"]
    assert commands("--since", "1d") == commands()
    assert commands("--source", "supervise") == ["./app --make"]
    assert commands("--oom", "--command", "make", "--since", "1h") == ["./app --make"]


def test_nothing_is_told_as_nothing(told, place):
    assert told("history") == (0, "", "climits: nothing of that kind was recorded\n")
    assert told("history", "--json")[:2] == (0, "")


def test_a_note_that_nobody_reads_is_no_error():
    command = f'"{sys.executable}" -m climits history 2>&-'
    assert subprocess.run(["/bin/sh", "-c", command], timeout=20 * PATIENCE).returncode == 0


def test_clear(told, lived, place):
    lived(entry(["secret"]), entry(["secret"]))
    assert told("history", "--clear")[:2] == (0, "2 runs forgotten\n")
    assert told("history", "--clear")[:2] == (0, "0 runs forgotten\n")
    assert b"secret" not in b"".join(path.read_bytes() for path in place.iterdir())


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["make"], "history takes no arguments: make"),
        (["--limit", "0"], "limit: 0: must be 1 or more"),
        (["--limit", "x"], "limit: x: not a whole number"),
        (["--since", "yesterday"], "since: yesterday: not a duration"),
        (["--since", "d"], "since: d: not a duration"),
        (["--clear", "--oom"], "--oom does not go with --clear"),
        (["--source", "cron"], "source: cron: there is no such"),
    ],
)
def test_what_means_nothing_is_refused(words, text):
    with pytest.raises(InvalidValueError) as caught:
        main.dispatch(["history", *words])
    assert str(caught.value).startswith(text)


# ---- suggest -------------------------------------------------------------------------------


def test_a_limit_is_suggested_and_explained(told, lived):
    day = 1.9e9
    with_limit = entry(["make"], memory_max=40 * MIB, memory_peak=40 * MIB, started=day)
    lived(
        *[entry(["make"], started=day)] * 3,
        with_limit,
        killed(["make"], 10, started=day),
        entry(["make"], verdict="timed-out", returncode=-15, exit_status=124, started=day),
    )
    status, out, err = told("suggest", "--", "make")
    assert (status, out) == (0, "40M\n")
    assert err.splitlines() == [
        "climits: 40.0M = 40.0M, a limit that was enough: percentile 95 of 5 runs of this command",
        "climits: peaks 10.0M to 40.0M, 2030-03-17",
        "climits: 1 OOM-killed: a peak is only a lower bound then; counted as the runs that needed "
        "more",
        "climits: 1 ended well at the limit, which page cache fills: no margin is added",
        "climits: 1 more failed, or were timed out, and do not count",
    ]
    _, out, err = told("suggest", "--percentile", "50%", "--margin", "50", "--", "make")
    assert out == "30M\n"
    assert err.startswith(
        "climits: 30.0M = peak 20.0M + 50 % margin: percentile 50 of 5 runs of this command\n"
    )


def test_other_arguments_are_the_next_best(told, lived):
    lived(entry(["make", "-j8"]))
    _, out, err = told("suggest", "make", "test")
    assert out == "23M\n"
    assert "of 1 run of make, with other arguments\n" in err


def test_only_kills_make_a_guess_that_says_so(told, lived):
    lived(killed(["make"], 40))
    _, out, err = told("suggest", "make")
    assert out == "60M\n"
    assert err.startswith("climits: 60.0M = a guess, 1.5 times the 40.0M at which a run was ")
    assert "counted as a guess: none that needed more ended well; climits measure" in err


def test_figures_for_programs(told, lived):
    lived(entry(["make"], started=1.9e9))
    status, out, err = told("suggest", "--json", "make")
    assert (status, err) == (0, "")
    assert json.loads(out) == {
        "command": ["make"], "memory": 23 * MIB, "percentile": 95.0, "margin": 15.0,
        "basis": "peak", "value": 20 * MIB, "runs": 1, "oom_killed": 0, "at_limit": 0,
        "left_out": 0, "lowest": 20 * MIB, "highest": 20 * MIB, "exact": True, "first": 1.9e9,
        "last": 1.9e9,
    }  # fmt: skip
    assert told("suggest", "--quiet", "make") == (0, "23M\n", "")


def test_a_suggestion_is_enough(climits, hog, told):
    words = [hog, "alloc", "30"]
    subprocess.run([climits, "run", "--quiet", "--", *words], check=True)
    limit = told("suggest", "--quiet", "--", *words)[1].strip()
    done = subprocess.run([climits, "run", "--memory", limit, "--", *words], stderr=subprocess.PIPE)
    assert done.returncode == 0 and 30 < int(limit.removesuffix("M")) < 50


def test_nothing_to_go_by_is_refused(lived):
    with pytest.raises(ClimitsError) as caught:
        main.dispatch(["suggest", "--", "make", "a b"])
    assert str(caught.value) == (
        "no limit to suggest for make 'a b': no run of it is in the history"
    )
    assert caught.value.hint == "climits measure -- make 'a b' finds one by trying"
    lived(entry(["make", "a b"], returncode=2, exit_status=2))
    with pytest.raises(ClimitsError, match="no run of it ended well"):
        main.dispatch(["suggest", "--", "make", "a b"])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "no command was given"),
        (["--percentile", "x", "make"], "percentile: x: not a number"),
        (["--percentile", "0", "make"], "percentile: 0: must be more than 0"),
        (["--margin", "-5", "make"], "margin: -5: must be 0 to 1000"),
        (["--margin", "", "make"], "margin: empty: not a number"),
    ],
)
def test_suggest_refuses_what_means_nothing(words, text, lived):
    lived(entry(["make"]))
    with pytest.raises(InvalidValueError) as caught:
        main.dispatch(["suggest", *words])
    assert str(caught.value).startswith(text)
