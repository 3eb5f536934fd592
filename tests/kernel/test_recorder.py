"""Recordings of real programs on a real kernel."""

import os
import re
import subprocess
import threading
import time

import pytest
from support import PATIENCE, until

from climits import Cgroup, Process
from climits.cgroup.find import find_cgroup
from climits.cli.main import dispatch
from climits.errors import CgroupGoneError, ClimitsError, InvalidValueError
from climits.observe.recordings.reader import read_recording
from climits.observe.recordings.recorder import Recorder, SupervisorRecorder
from climits.observe.recordings.words import headline, why
from climits.supervise.control import KEPT_EVENTS

M = 1 << 20


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "app.jsonl")


@pytest.fixture
def run(climits):
    """Run a command in a process of its own: `run` blocks signals in the one it is in."""

    def run(*words):
        return subprocess.run(
            [climits, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=50 * PATIENCE,
        ).returncode  # fmt: skip

    return run


def recorded(path):
    recording = read_recording(path)
    assert recording.note() is None
    (trace,) = recording.traces
    return trace


def kinds(trace):
    return [event.kind for event in trace.events]


def test_an_oom_kill_and_how_it_came(hog, path, run):
    status = run("run", "--memory", "40M", "--record", path, "--", hog,
                    "alloc", "4", "hold", "200", "grow", "90", "10")  # fmt: skip
    assert status == 137
    trace = recorded(path)
    assert kinds(trace) == ["started", "oom-kill", "oom-killed"] and trace.count("oom-kill") == 1
    assert trace.name == "hog" and trace.path.startswith("/climits/")
    usage = [value for value in trace.columns["current"] if value > 0]
    assert len(usage) >= 4 and min(usage) < 20 * M
    # The moment of the kill itself, however short it was.
    assert max(usage) >= 39 * M and trace.top("peak") >= 39 * M
    assert trace.top("anon") >= 30 * M and trace.top("max") == 40 * M
    assert list(trace.times) == sorted(trace.times)
    assert trace.result.verdict == "oom-killed" and trace.result.command[0] == hog
    assert "OOM killer killed" in why(trace)[0]


def test_a_program_that_ends_at_once(path, run):
    assert run("run", "--memory", "20M", "--record", path, "--", "/bin/true") == 0
    trace = recorded(path)
    assert kinds(trace) == ["started", "exited"]
    assert len(trace.times) >= 2 and trace.top("current") is not None
    assert headline(trace).startswith("exited 0")


def test_a_program_that_does_not_start(path, run):
    assert run("run", "--record", path, "--", "/no/such/program") == 127
    trace = recorded(path)
    assert kinds(trace) == ["failed-to-start"] and "/no/such/program" in headline(trace)


def test_a_bad_path_is_told_before_anything_runs(tmp_path):
    mark = tmp_path / "ran"
    for bad in (tmp_path, tmp_path / "no" / "file", "/dev/full"):
        with pytest.raises(InvalidValueError, match="record: "):
            dispatch(["run", "--record", str(bad), "--", "touch", str(mark)])
    assert not mark.exists()


def test_memory_by_kind(hog, path, run, tmp_path):
    run("run", "--memory", "200M", "--record", path, "--", hog, "alloc", "20", "shm", "12",
        "file", str(tmp_path / "data"), "8", "hold", "800")  # fmt: skip
    trace = recorded(path)
    assert 19 * M <= trace.top("anon") <= 30 * M
    assert 11 * M <= trace.top("shmem") <= 30 * M
    assert trace.top("kernel") > 0 and trace.top("cpu") > 0


def test_in_a_cgroup_that_stays(hog, path, run):
    name = f"climits-record-{os.getpid()}"
    group = Cgroup.create(name, memory="60M")
    try:
        run("run", "--root", group.path, "--record", path, "--", hog, "alloc", "10", "hold", "100")
        assert recorded(path).path == group.path
    finally:
        group.kill()
        group.remove()


def test_in_a_container(hog, path, run):
    status = run("container", "--seccomp", "none", "--memory", "60M", "--record", path, "--",
                    hog, "alloc", "20", "hold", "300")  # fmt: skip
    assert status == 0
    assert recorded(path).top("anon") >= 19 * M


def test_when_the_time_is_up(hog, path, run):
    status = run("run", "--timeout", "300ms", "--record", path, "--", hog, "hold", "60000")
    assert status == 124
    assert recorded(path).result.verdict == "timed-out"


def test_paused_at_the_limit_frozen_and_a_limit_that_is_raised(climits, hog, path):
    name = f"climits-record-{os.getpid()}"
    done = []
    words = ["run", "--name", name, "--memory", "32M", "--on-oom", "pause", "--record", path, "--",
             hog, "alloc", "4", "grow", "40", "5", "hold", str(int(1500 * PATIENCE))]  # fmt: skip
    command = subprocess.Popen([climits, *words], stderr=subprocess.DEVNULL)

    def told(kind):
        try:
            return any(kind in kinds(trace) for trace in read_recording(path).traces)
        except ClimitsError:
            return False

    try:
        until(lambda: told("paused"), "it was not paused")
        dispatch(["set", name, "memory.max=120M"])
        until(lambda: told("resumed"), "it does not go on")
        dispatch(["freeze", name])
        until(lambda: told("frozen"), "it was not frozen")
        dispatch(["thaw", name])
        until(lambda: told("thawed"), "it was not thawed")
        done.append(command.wait(timeout=60 * PATIENCE))
    finally:
        command.kill()
        command.wait()
    trace = recorded(path)
    assert kinds(trace)[:5] == ["started", "paused", "resumed", "frozen", "thawed"]
    assert set(trace.columns["max"]) >= {32.0 * M, 120.0 * M}
    assert done == [0]


def test_the_file_may_grow_full(climits, hog, path):
    """A limit on the size of files is what a full disk is: told once, and the program goes on."""
    words = [climits, "run", "--record", path, "--memory", "100M", "--", hog, "grow", "60", "25"]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 1; exec "$@"', "bash", *words], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert len(re.findall("the program goes on", done.stderr)) == 1
    assert "exited 0" in done.stderr
    recording = read_recording(path)
    assert re.search("it has no end|nothing could be written", recording.note())
    assert recording.traces[0].times


def test_the_recorder_stays_small(climits, hog, path):
    """16 MiB at the most, and no descriptor that keeps the cgroup."""
    name = f"climits-record-{os.getpid()}"
    command = subprocess.Popen(
        [climits, "run", "--name", name, "--memory", "60M", "--record", path, "--", hog,
         "grow", "30", "20", "hold", "60000"], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: os.path.exists(path) and b'"a":3' in open(path, "rb").read())
        with open(f"/proc/{command.pid}/status") as file:
            high = int(file.read().partition("VmHWM:")[2].split()[0])
        assert high <= 16 * 1024
    finally:
        command.terminate()
        command.wait()
    with pytest.raises(CgroupGoneError):
        find_cgroup(name)
    assert recorded(path).result.verdict == "stopped"


def test_the_library_has_it_too(hog, path):
    with Recorder(path, command=["hog"]) as recorder:
        process = Process([hog, "alloc", "10", "hold", "200"], memory="40M")
        recorder.follow(process)
        process.wait()
    trace = recorded(path)
    assert trace.result.verdict == "exited" and trace.top("anon") >= 9 * M


def test_a_signal_is_handled_while_it_records(path):
    """The recorder's thread takes no signal from the main thread."""
    with Recorder(path) as recorder:
        process = Process(["sleep", "60"], memory="40M")
        recorder.follow(process)
        timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), 2))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            process.wait()
        timer.join()
        process.kill()
        process.wait()
    assert recorded(path).result.verdict == "stopped"


# ---- climits watch -----------------------------------------------------------------------------


def test_watching_any_cgroup(hog, path, ctl):
    name = f"climits-record-{os.getpid()}"
    process = Process(
        [hog, "alloc", "4", "hold", str(int(700 * PATIENCE)), "grow", "60", "10"],
        name=name, memory="32M",
    )  # fmt: skip
    waiter = threading.Thread(target=process.wait)
    waiter.start()
    try:
        assert ctl("watch", name, "--record", path, "--threshold", "60%")[0] == 0
    finally:
        process.kill()
        waiter.join()
    trace = recorded(path)
    assert trace.name == name and trace.count("oom-kill") >= 1
    assert {"started", "alarm", "removed"} <= set(kinds(trace))
    assert headline(trace) == "the cgroup was removed"


def test_watching_with_nothing_but_a_recording(path, climits):
    name = f"climits-record-{os.getpid()}"
    group = Cgroup.create(name, memory="32M")
    command = subprocess.Popen([climits, "watch", name, "--record", path], stdout=subprocess.PIPE)
    try:
        until(lambda: os.path.exists(path) and b"started" in open(path, "rb").read())
        command.send_signal(2)
        out, _ = command.communicate(timeout=30 * PATIENCE)
        assert (command.returncode, out) == (0, b"")
    finally:
        command.kill()
        command.wait()
        group.remove()
    assert kinds(recorded(path)) == ["started"]


# ---- climits supervise -------------------------------------------------------------------------


def test_programs_of_a_supervisor(hog, path, climits, tmp_path):
    config = tmp_path / "climits.toml"
    config.write_text(f"""
[program.leaky]
command = ["{hog}", "alloc", "4", "grow", "60", "5"]
memory = "32M"
restart = "on-oom"
restart_delay = "100ms"
max_oom_restarts = "2/1h"
[program.still]
command = ["{hog}", "alloc", "8", "hold", "60000"]
memory = "64M"
""")
    command = subprocess.Popen(
        [climits, "supervise", "-c", str(config), "--record", path, "--socket",
         str(tmp_path / "socket"), "--no-history"], stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        until(lambda: os.path.exists(path) and b"gave-up" in open(path, "rb").read())
        time.sleep(0.2)
    finally:
        command.terminate()
        _, errors = command.communicate(timeout=30 * PATIENCE)
    recording = read_recording(path)
    assert recording.note() is None, (recording.note(), errors)
    traces = {trace.name: trace for trace in recording.traces}
    leaky, still = traces["leaky"], traces["still"]
    assert leaky.count("restarted") == 2 and leaky.count("oom-kill") == 3
    assert leaky.top("current") >= 31 * M and leaky.result.verdict == "oom-killed"
    assert still.top("anon") >= 7 * M and still.result.verdict == "stopped"
    assert headline(leaky).startswith("oom-killed")


def test_more_programs_than_events_are_kept(path, climits, tmp_path):
    count = KEPT_EVENTS + 20
    config = tmp_path / "climits.toml"
    config.write_text("".join(
        f'[program.p{n}]\ncommand = ["sleep", "600"]\nmemory = "20M"\n' for n in range(count)
    ))  # fmt: skip
    command = subprocess.Popen(
        [climits, "supervise", "-c", str(config), "--record", path, "--socket",
         str(tmp_path / "socket"), "--no-history"], stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def sampled():
        try:
            return sum(bool(trace.times) for trace in read_recording(path).traces)
        except ClimitsError:
            return 0

    try:
        until(lambda: sampled() == count, "not all of them are recorded")
    finally:
        command.terminate()
        _, errors = command.communicate(timeout=60 * PATIENCE)
    recording = read_recording(path)
    assert recording.note() is None, (recording.note(), errors)
    assert {trace.name for trace in recording.traces} == {f"p{n}" for n in range(count)}
    for trace in recording.traces:
        assert kinds(trace).count("started") == 1 and trace.result.verdict == "stopped"
        assert trace.top("current") > 0


def test_a_supervisor_with_a_bad_path_starts_nothing(tmp_path):
    mark = tmp_path / "ran"
    with pytest.raises(InvalidValueError, match="record: "):
        dispatch(["supervise", "--record", str(tmp_path), "--no-history", "--", "touch", str(mark)])
    assert not mark.exists()


def test_a_recorder_that_never_began_can_end(tmp_path):
    SupervisorRecorder(str(tmp_path / "x")).end()
    assert not (tmp_path / "x").exists()


def test_the_kinds_of_memory_that_filled_it(hog, path, run):
    """It fills up between two looks: what the kernel logs of its victim tells the kinds."""
    for words in (["run"], ["supervise", "--restart", "never"]):
        assert run(*words, "--memory", "40M", "--record", path, "--", hog, "alloc", "90") == 137
        trace = recorded(path)
        evidence = trace.result.evidence
        if evidence is None or not evidence.killed:
            pytest.skip("the kernel log cannot be read")
        assert "was anonymous memory" in " ".join(why(trace))


@pytest.mark.parametrize(
    "words", [["run"], ["supervise", "--restart", "never"]], ids=["run", "supervise"]
)
def test_what_is_not_started_leaves_an_earlier_recording(words, hog, path, run, tmp_path):
    assert run("run", "--record", path, "--", hog, "alloc", "4") == 0
    before = (tmp_path / "app.jsonl").read_bytes()
    assert run(*words, "--record", path, "--", "/no/such/program") in (125, 127)
    assert (tmp_path / "app.jsonl").read_bytes() == before


def test_one_file_for_two_things_is_refused(hog, path, run, tmp_path):
    assert run("run", "--record", path, "--", hog, "alloc", "4") == 0
    before = (tmp_path / "app.jsonl").read_bytes()
    other = str(tmp_path / "." / "app.jsonl")
    with pytest.raises(InvalidValueError, match="--json writes there too"):
        dispatch(["run", "--record", path, "--json", other, "--", hog, "alloc", "4"])
    assert (tmp_path / "app.jsonl").read_bytes() == before
