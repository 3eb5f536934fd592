"""What a careful reader found: each once went wrong."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from support import PATIENCE, gone

import climits
from climits.cli import bundle


@pytest.fixture
def kill_file(layout):
    if layout.unified is None:
        pytest.skip("no v2 hierarchy here")
    with climits.Cgroup.create("climits-killed", memory="60M") as group:
        if not group.tracker.directory.has("cgroup.kill"):
            pytest.skip("this kernel has no cgroup.kill")


@pytest.fixture
def separate_tracker(layout):
    if layout.unified is None or layout.holding("memory") is layout.unified:
        pytest.skip("needs a v2 hierarchy beside the one of memory")


def test_a_root_that_was_killed_once_can_be_used_again(kill_file, hog):
    """On 6.18 a child of CLONE_INTO_CGROUP is killed at birth where cgroup.kill came before."""
    with climits.Cgroup.create("climits-again", memory="60M") as group:
        group.tracker.directory.write("cgroup.kill", "1")
        assert climits.run([hog, "exit", "5"], root=group.path).returncode == 5


def test_a_climits_whose_own_cgroup_was_killed_once(kill_file, command, layout, hog):
    home = f"{layout.unified.mount_point}/climits-service"
    os.mkdir(home)
    try:
        with open(f"{home}/cgroup.kill", "w") as file:
            file.write("1")
        script = f"echo 0 > {home}/cgroup.procs; exec {command} run --memory 60M {hog} exit 5"
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
        assert done.returncode == 5, done.stderr
    finally:
        os.rmdir(home)


def test_two_runs_in_one_root_leave_each_other_alone(command, hog):
    with climits.Cgroup.create("climits-both", memory="90M") as group:
        run = [command, "run", "--quiet", "--root", group.path, hog, "hold"]
        first = subprocess.Popen([*run, "100"])
        second = subprocess.run([*run, str(int(600 * PATIENCE))])
        assert (first.wait(), second.returncode) == (0, 0)


def test_what_lives_below_a_root_is_left_alone(separate_tracker, command, hog):
    with climits.Cgroup.create("climits-busy", memory="90M") as group:
        child = f"{group.tracker.directory.path}/child"
        os.mkdir(child)
        other = subprocess.Popen([hog, "hold", "60000"])
        with open(f"{child}/cgroup.procs", "w") as file:
            file.write(str(other.pid))
        subprocess.run([command, "run", "--quiet", "--root", group.path, "true"], check=True)
        assert other.poll() is None
        other.kill()
        other.wait()


def test_what_moved_itself_out_of_the_tracker_is_ended(separate_tracker, layout, hog):
    leave = f"echo 0 > {layout.unified.mount_point}/cgroup.procs; {hog} straggler; exit 4"
    result = climits.run(["sh", "-c", leave], memory="60M", capture_output=True)
    assert (result.verdict, result.returncode, result.error) == ("exited", 4, None)
    assert gone(int(result.stdout))


def test_many_threads_may_wait_and_kill(hog):
    errors = []

    def attempt(call):
        try:
            call()
        except Exception as e:
            errors.append(e)

    for i in range(12):
        p = climits.Process([hog, "hold", "20"], memory="60M")
        calls = [p.wait, p.wait, p.poll, p.kill if i % 2 else p.wait]
        threads = [threading.Thread(target=attempt, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        p.wait()
        assert p.result.verdict in ("exited", "stopped")
    assert errors == []


def test_a_program_that_somebody_else_reaped(hog):
    p = climits.Process([hog, "exit", "3"], memory="60M")
    os.waitpid(p.pid, 0)
    assert p.wait() == 0  # as subprocess: the status is lost


@pytest.mark.parametrize(
    "before",
    [
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))",
    ],
)
def test_odd_signal_settings_of_the_caller(command, hog, before):
    words = [command, "run", "--quiet", hog, "exit", "3"]
    code = f"import os, signal; {before}; os.execv({command!r}, {words!r})"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 3


@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors(command, hog, tmp_path, closing):
    target = tmp_path / "result.json"
    line = f"{command} run --verbose --json {target} {hog} exit 3 {closing}"
    assert subprocess.run(["sh", "-c", line], stderr=subprocess.DEVNULL).returncode == 3
    assert json.loads(target.read_text())["returncode"] == 3


def test_a_program_that_ended_while_climits_was_stopped_did_not_time_out(command, hog):
    limit = max(1.0, 0.3 * PATIENCE)
    words = [command, "run", "--quiet", "--timeout", str(limit), hog, "say", "ready"]
    process = subprocess.Popen([*words, "hold", "300"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGSTOP)
    time.sleep(limit + 0.3)
    process.send_signal(signal.SIGCONT)
    assert process.wait() == 0
    process.stdout.close()


def test_arguments_that_are_no_text_make_valid_json(command, tmp_path):
    target = tmp_path / "result.json"
    subprocess.run([command, "run", "--quiet", "--json", target, "true", b"\xff"], check=True)
    assert json.loads(target.read_text("utf-8"))["command"][0] == "true"


def test_a_bad_option_leaves_no_result_of_an_earlier_run(command, tmp_path):
    target = tmp_path / "result.json"
    target.write_text("{}")
    subprocess.run([command, "run", "--json", target, "--memory", "60MB", "true"])
    assert json.loads(target.read_text())["verdict"] == "failed-to-start"


def test_a_user_without_an_entry_needs_a_group():
    with pytest.raises(climits.InvalidValueError, match="its group is not known"):
        climits.run(["true"], user=99999)
    result = climits.run(["id", "-g"], user=99999, group=7, capture_output=True, text=True)
    assert result.stdout == "7\n"


def test_an_empty_cpuset_is_refused():
    with pytest.raises(climits.InvalidValueError, match="cpuset: empty"):
        climits.run(["true"], cpuset="")


def test_text_input_needs_a_text_pipe():
    with pytest.raises(climits.InvalidValueError, match="pipes carry bytes"):
        climits.run(["cat"], input="x")


def test_a_cgroup_that_was_given_back_is_gone():
    group = climits.Cgroup.create("climits-given-back")
    group.remove()
    with pytest.raises(climits.CgroupGoneError):
        group.pids()


def test_the_bundle_is_made_used_and_renewed(command, hog):
    path = bundle._path("run")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    if os.path.exists(path):
        os.unlink(path)

    def run():
        words = [command, "run", "--quiet", hog, "exit", "0"]
        subprocess.run(words, check=True, env=environment)

    run()
    made = os.stat(path).st_mtime_ns
    run()
    assert os.stat(path).st_mtime_ns == made
    with open(path, "wb") as file:
        file.write(b"nonsense")
    run()
    assert os.stat(path).st_size > 10_000
