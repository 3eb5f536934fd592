"""Programs whose memory is polled: no cgroup is made, and nothing of them is left."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from support import PATIENCE, gone, our_cgroups, until

import climits
from climits.errors import CommandNotFoundError, UnsupportedError
from climits.program.polling.tree import Tree

MIB = 1 << 20
USER = 65534
POLL = ("run", "--enforce", "poll", "--memory", "60M")
LABEL = "not enforced by the kernel"


@pytest.fixture
def as_user():
    """A prefix that runs a command as an ordinary user."""
    prefix = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    # By way of a shell: it is to be started by an ordinary user's process too.
    if subprocess.run(
        [*prefix, "sh", "-c", '"$0" -c pass', sys.executable], stderr=subprocess.DEVNULL
    ).returncode:
        pytest.skip("an ordinary user cannot run this interpreter here (it lies in root's home)")
    return prefix


def cli(*words, **options):
    words = [str(word) for word in words]
    return subprocess.run(
        words, capture_output=True, text=True, timeout=60 * PATIENCE, **options
    )  # fmt: skip


def run(args, **options):
    return climits.run([str(a) for a in args], memory="60M", enforce="poll", **options)


def told(file):
    """The pid that a program has written into a file."""
    until(lambda: file.exists() and file.read_text().endswith("\n"))
    return int(file.read_text())


# ---- beyond the limit ----------------------------------------------------------------------


def test_beyond_the_limit_it_is_killed_and_so_it_is_told(climits, hog, tmp_path):
    target, before = tmp_path / "result.json", our_cgroups()
    done = cli(climits, *POLL, "--json", target, hog, "grow", 90, 5)
    result = json.loads(target.read_text())
    assert done.returncode == 137
    assert (result["verdict"], result["enforced_by"]) == ("memory-exceeded", "poll")
    assert (result["signal"], result["memory_max"]) == (9, 60 * MIB)
    assert "memory_peak" not in result and "oom_kill" not in result and "cgroup" not in result
    polling = result["evidence"]["polling"]
    assert polling["peak"] == 60 * MIB + polling["overshoot"] > 60 * MIB
    assert polling["samples"] > 1
    line = done.stderr.splitlines()[0]
    assert line.startswith("climits: memory-exceeded: hog killed at ")
    assert LABEL in line
    assert our_cgroups() == before


def test_within_it_the_end_is_its_own(climits, hog):
    done = cli(climits, *POLL, hog, "alloc", 20, "hold", 50, "exit", 3)
    assert done.returncode == 3
    assert "exited 3: peak " in done.stderr
    assert LABEL in done.stderr


def test_that_the_kernel_could_is_told(climits, hog):
    done = cli(climits, *POLL, hog)
    assert "the kernel could enforce the limit here" in done.stderr
    assert run([hog]).evidence.polling.kernel_could is True


def test_all_of_it_counts(hog):
    result = run(["sh", "-c", f"{hog} alloc 35 hold 60000 & {hog} alloc 35 hold 60000; exit 1"])
    assert result.verdict == "memory-exceeded"
    assert result.duration < 30 * PATIENCE


def test_what_became_a_daemon_counts_too(hog, tmp_path):
    pid = tmp_path / "pid"
    script = f"(setsid sh -c 'echo $$ > {pid}; exec {hog} alloc 90 hold 60000' &) ; sleep 60"
    assert run(["sh", "-c", script]).verdict == "memory-exceeded"
    assert gone(told(pid))


def test_what_two_share_counts_once(hog):
    result = run([hog, "alloc", 40, "child", "hold", 300, "end", "hold", 300])
    assert (result.verdict, result.returncode) == ("exited", 0)
    assert result.evidence.polling.overshoot is None


def test_a_false_alarm_stops_nothing_for_good(hog):
    # Read one after the other, two that share their pages may seem to have them twice.
    child = climits.Process([hog, "hold", "400"], memory="60M")
    found = Tree(os.getpid())
    found.look()
    assert child.pid in found.members
    stood = found.stop(5 * PATIENCE)
    with open(f"/proc/{child.pid}/stat") as file:
        assert file.read().rpartition(")")[2].split()[0] == "T"
    assert stood == set()
    assert found.stop(5 * PATIENCE) == {child.pid}
    found.go_on(set())
    assert child.wait() == 0


def test_shared_memory_counts(hog):
    assert run([hog, "shm", 90, "hold", 60000]).verdict == "memory-exceeded"


def test_a_fork_in_the_memory_of_its_parent_counts_once():
    code = (
        "import subprocess\nx = bytearray(40 << 20)\nfor _ in range(60): subprocess.run(['true'])"
    )
    result = run([sys.executable, "-c", code])
    assert (result.verdict, result.returncode) == ("exited", 0)


def test_a_fork_that_waits_in_the_memory_of_its_parent_counts_once(tmp_path):
    source, program = tmp_path / "v.c", tmp_path / "v"
    source.write_text(
        "#define _GNU_SOURCE\n#include <sched.h>\n#include <stdlib.h>\n#include <string.h>\n"
        "#include <sys/wait.h>\n#include <unistd.h>\nstatic char stack[65536];\n"
        "static int child(void *x) { (void)x; usleep(400000); return 0; }\n"
        "int main(void) { char *p = malloc(40 << 20); memset(p, 1, 40 << 20);\n"
        "  waitpid(clone(child, stack + 65536, CLONE_VM | SIGCHLD, 0), 0, __WALL);\n"
        "  return p[5] - 1; }\n"
        .replace("#include <stdlib.h>", "#include <signal.h>\n#include <stdlib.h>")
    )  # fmt: skip
    subprocess.run(["gcc", "-O0", "-o", program, source], check=True)
    result = run([program])
    assert (result.verdict, result.returncode) == ("exited", 0)
    assert 40 * MIB <= result.evidence.polling.peak < 60 * MIB


# ---- nothing is left -----------------------------------------------------------------------


def test_what_it_leaves_behind_is_killed(climits, hog, tmp_path):
    done = cli(climits, *POLL, "--json", tmp_path / "r", hog, "straggler")
    assert gone(int(done.stdout))
    assert json.loads((tmp_path / "r").read_text())["evidence"]["stragglers"] == 1
    assert "1 straggler killed" in done.stderr


def test_when_climits_is_killed_all_of_it_ends(climits, hog, tmp_path):
    pid, other = tmp_path / "pid", tmp_path / "other"
    script = (
        f"(setsid sh -c 'echo $$ > {other}; exec {hog} hold 60000' &); "
        f"echo $$ > {pid}; exec {hog} hold 60000"
    )
    process = subprocess.Popen([climits, *POLL, "sh", "-c", script])
    try:
        pids = told(pid), told(other)
    finally:
        process.kill()
        process.wait()
    until(lambda: all(map(gone, pids)))


def test_when_who_polls_is_killed_the_program_dies_and_it_is_told(hog, tmp_path):
    process = climits.Process([hog, "hold", "60000"], memory="60M", enforce="poll")
    with open(f"/proc/{process.pid}/stat") as file:
        keeper = int(file.read().rpartition(")")[2].split()[1])
    os.kill(keeper, signal.SIGKILL)
    process.wait()
    assert "who polled was killed" in process.result.error
    until(lambda: gone(process.pid))


def test_at_exit_of_the_interpreter_it_is_killed(hog):
    code = (
        "import climits, sys\n"
        "p = climits.Process([sys.argv[1], 'hold', '60000'], memory='60M', enforce='poll')\n"
        "print(p.pid)"
    )
    done = cli(sys.executable, "-c", code, hog)
    assert gone(int(done.stdout))


def test_its_output_ends_with_it(hog):
    process = climits.Process([hog, "say", "x"], memory="60M", enforce="poll", stdout=-1)
    assert process.stdout.read() == b"x\n"
    assert process.wait() == 0
    process.stdout.close()


# ---- steering ------------------------------------------------------------------------------


def test_a_request_to_end_is_passed_on(climits, hog, tmp_path):
    pid = tmp_path / "pid"
    script = f"echo $$ > {pid}; exec {hog} hold 60000"
    process = subprocess.Popen(
        [climits, *POLL, "sh", "-c", script], stderr=subprocess.PIPE, text=True
    )
    told(pid)
    process.terminate()
    _, text = process.communicate(timeout=30 * PATIENCE)
    assert process.returncode == 143
    assert "stopped (SIGTERM)" in text


def test_its_time_may_be_up(climits, hog):
    done = cli(climits, *POLL, "--timeout", "0.3", "--kill-after", "0.1", hog, "ignore", 15,
               "hold", 60000)  # fmt: skip
    assert done.returncode == 124
    assert "timed-out (SIGKILL)" in done.stderr


def test_kill_takes_all_of_it(hog, tmp_path):
    pid = tmp_path / "pid"
    script = f"(setsid sh -c 'echo $$ > {pid}; exec {hog} hold 60000' &) ; sleep 60"
    process = climits.Process(["sh", "-c", script], memory="60M", enforce="poll")
    other = told(pid)
    process.kill()
    assert process.wait() == -9
    assert gone(other)
    assert process.result.verdict == "stopped"


def test_input_and_output(hog):
    result = run(["cat"], input="hello", text=True, capture_output=True)
    assert (result.stdout, result.verdict, result.enforced_by) == ("hello", "exited", "poll")


def test_where_it_runs_and_as_whom():
    done = run(
        ["sh", "-c", "pwd; id -u; echo $X"], cwd="/usr", user="nobody",
        env={"X": "1", "PATH": os.environ["PATH"]}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split() == ["/usr", "65534", "1"]


def test_what_needs_a_cgroup_says_so(hog):
    with climits.Process([hog, "hold", "100"], memory="60M", enforce="poll") as process:
        for action in (process.usage, process.freeze, lambda: process.set_limits(memory="1G")):
            with pytest.raises(UnsupportedError, match="no cgroup with enforce='poll'"):
                action()


def test_check_raises(hog):
    with pytest.raises(climits.OutOfMemoryError) as raised:
        run([hog, "alloc", 90, "hold", 60000], check=True)
    assert raised.value.result.enforced_by == "poll"


def test_the_kernels_results_say_so(hog):
    assert climits.run([hog], memory="60M").enforced_by == "kernel"


def test_from_a_thread_that_ends(hog):
    made = []

    def start():
        made.append(climits.Process([hog, "hold", "200"], memory="60M", enforce="poll"))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert made[0].wait() == 0


def test_several_at_once(hog):
    many = [
        climits.Process([hog, "alloc", n, "hold", "300"], memory="60M", enforce="poll")
        for n in ("10", "90", "20")
    ]
    assert [p.wait() for p in many] == [0, -9, 0]
    assert [p.result.verdict for p in many] == ["exited", "memory-exceeded", "exited"]


# ---- refused -------------------------------------------------------------------------------


def test_a_command_that_is_not_there(climits):
    done = cli(climits, *POLL, "nonesuch-command")
    assert done.returncode == 127
    assert done.stderr.startswith("climits: cannot start nonesuch-command: command not found")
    with pytest.raises(CommandNotFoundError):
        run(["nonesuch-command"])


@pytest.mark.parametrize("more", [["--swap", "0"], ["--name", "x"], ["--record", "/tmp/x"],
                                  ["--keep"], ["--pids", "3"]])  # fmt: skip
def test_what_needs_a_cgroup_is_refused(climits, more):
    done = cli(climits, *POLL, *more, "true")
    assert done.returncode == 125
    assert f"{more[0][2:]}: cannot be had with --enforce poll" in done.stderr


def test_a_container_is_refused(climits):
    done = cli(climits, "container", *POLL[1:], "true")
    assert done.returncode == 125
    assert "container: cannot be had with --enforce poll" in done.stderr


def test_explain_does_nothing(climits, tmp_path):
    done = cli(climits, *POLL, "--explain", "touch", tmp_path / "x")
    assert done.stdout.startswith("no cgroup: memory is polled, and beyond 60.0M all is killed\n")
    assert 'execve("' in done.stdout
    assert not (tmp_path / "x").exists()


# ---- without any right ---------------------------------------------------------------------


def test_without_any_right_the_three_ways_out_are_told(climits, as_user):
    before = our_cgroups()
    done = cli(*as_user, climits, "run", "--memory", "60M", "true")
    assert done.returncode == 125
    assert len(done.stderr.splitlines()) == 1
    assert "no right to make a cgroup" in done.stderr
    hint = done.stderr.partition("hint: ")[2]
    for way in ("climits setup --user", "systemd-run --user --scope", "--enforce poll"):
        assert way in hint
    assert our_cgroups() == before


def test_without_any_right_it_can_be_polled(climits, hog, as_user, tmp_path):
    for directory in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        directory.chmod(0o755)
    environment = {**os.environ, "CLIMITS_STATE_DIR": "/nonexistent"}
    done = cli(*as_user, climits, *POLL, "--no-history", hog, "grow", 90, 5, env=environment)
    assert done.returncode == 137
    assert "memory-exceeded" in done.stderr
    assert "kernel could" not in done.stderr


def test_what_cannot_be_looked_into_is_estimated_and_it_is_told(climits, as_user):
    code = (
        "import ctypes, time\nctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n"
        "x = bytearray(90 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\ntime.sleep(60)"
    )
    done = cli(*as_user, climits, *POLL, "--no-history", sys.executable, "-c", code)
    assert done.returncode == 137
    assert "of 1 processes the kernel shows no proportional size" in done.stderr


def test_a_fork_bomb_ends(climits, as_user, hog):
    code = "import os, time\nfor _ in range(6): os.fork()\nx = bytearray(4 << 20)\ntime.sleep(60)"
    started = time.monotonic()
    done = cli(*as_user, climits, *POLL, "--no-history", sys.executable, "-c", code)
    assert done.returncode == 137
    assert time.monotonic() - started < 50 * PATIENCE
