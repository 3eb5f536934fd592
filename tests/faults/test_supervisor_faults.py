"""What can happen to a supervisor: none of it may lose control of a program or leave a cgroup."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import time

import pytest
from supervised import Supervised
from support import IN_VM, PATIENCE, gone, our_cgroups, until

MOMENTS = 20 if IN_VM else 100


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "climits.toml"
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def supervise(climits, tmp_path):
    def start(*words, **options):
        return Supervised(climits, tmp_path, *words, **options)

    return start


def test_killed_at_any_moment(climits, config, hog, tmp_path):
    """SIGKILL at a random moment: no program runs on, and after the next start nothing is left."""
    path = config(
        f"""
        [defaults]
        memory = "30M"
        restart = "always"
        [program.leaks]
        command = "{hog} alloc 60"
        [program.forks]
        command = "{hog} child hold 60000 end hold 60000"
        [program.ends]
        command = "{hog} exit 1"
        """
    )
    rng = random.Random(1000)
    words = [climits, "supervise", "-c", path, "--socket", str(tmp_path / "s")]
    pids = set()
    for _ in range(MOMENTS):
        with open(tmp_path / "log", "wb") as log:
            process = subprocess.Popen([*words, "--log-format", "json"], stderr=log)
        time.sleep(rng.random() * 0.15 * PATIENCE)
        process.kill()
        process.wait()
        lines = (tmp_path / "log").read_text().splitlines()
        pids |= {json.loads(line).get("pid") for line in lines if line.endswith("}")}
    until(lambda: all(gone(pid) for pid in pids if pid))
    subprocess.run([climits, "run", "--quiet", "--", "/bin/true"], check=True)
    until(lambda: our_cgroups() == [])


def test_a_program_that_leaks_for_ever_is_given_up_and_the_log_stays_small(supervise, hog):
    with supervise("--memory", "30M", "--restart-delay-max", "1ms", "--", hog, "alloc", "60") as s:
        s.wait_for("gave-up")
        assert s.process.wait(30 * PATIENCE) == 137
    assert len(s.events("oom-killed")) == 11
    assert s.log.stat().st_size < 20_000


def test_a_program_that_forks_and_exits_leaves_nothing(supervise, hog):
    words = ("--memory", "30M", "--restart", "always", "--max-restarts", "3/1h")
    with supervise(*words, "--", "/bin/sh", "-c", f"{hog} hold 60000 &") as s:
        s.wait_for("gave-up")
    assert "straggler killed" in s.events("exited")[0]["text"]
    assert our_cgroups() == []


def test_a_cgroup_that_is_removed_under_us(supervise, hog, layout):
    """Killed and removed by somebody else while it runs."""
    import climits as library

    with supervise("--memory", "30M", "--restart", "always", "--", hog, "hold", "60000") as s:
        group = library.Cgroup.open(s.events("started")[0]["cgroup"])
        group.kill()
        for part in reversed(group.parts):
            with contextlib.suppress(FileNotFoundError):  # the supervisor was faster
                os.rmdir(part.directory.path)
        group.close()
        second = s.wait_for("started", 2)
        assert not gone(second["pid"])
    assert our_cgroups() == []


def test_a_full_disk_for_logs(supervise, config, hog):
    path = config(
        f"""
        [program.web]
        command = "/bin/sh -c 'echo hello; exec {hog} hold 60000'"
        stdout = "/dev/full"
        """
    )
    with supervise("-c", path) as s:
        event = s.wait_for("log-failed")
        assert "no space left" in event["error"].lower()
        assert "running" in s.ctl("status").stdout
        assert s.end() == 0


# ---- the control channel -------------------------------------------------------------------


def connect(s):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20 * PATIENCE)
    connection.connect(str(s.socket))
    return connection


@pytest.mark.parametrize(
    "data",
    [
        b"garbage\n", b"[]\n", b"{}\n", b'{"command": 5}\n', b'{"command": "explode"}\n',
        b'{"command": "set-limit", "program": 5}\n', b'{"command": "status", "programs": [7]}\n',
        b'{"command": "status", "programs": "web"}\n', b"\xff\xfe\n", b"\n", b"[" * 50_000 + b"\n",
    ],
)  # fmt: skip
def test_a_client_that_says_garbage_is_told_so(supervise, hog, data):
    with supervise("--", hog, "hold", "60000") as s, connect(s) as connection:
        connection.sendall(data)
        answer = json.loads(connection.makefile().readline())
        assert answer["ok"] is False and answer["error"]
        assert "running" in s.ctl("status").stdout


def test_a_client_that_never_ends_its_line_is_let_go(supervise, hog):
    with supervise("--", hog, "hold", "60000") as s, connect(s) as connection:
        try:
            for _ in range(100):
                connection.sendall(b"x" * 10_000)
            answer = connection.recv(1000)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
        assert answer == b"" or b"more than" in answer
        assert "running" in s.ctl("status").stdout


def test_clients_that_say_nothing_hold_nobody_up(supervise, hog):
    with supervise("--", hog, "hold", "60000") as s:
        silent = [connect(s) for _ in range(30)]
        assert "running" in s.ctl("status").stdout
        for connection in silent:
            connection.close()


def test_a_follower_that_does_not_read_holds_nobody_up(supervise, hog):
    words = ("--restart", "always", "--max-restarts", "max", "--restart-delay-max", "1ms", "--")
    with supervise(*words, hog, "exit", "0") as s, connect(s) as connection:
        connection.sendall(b'{"command": "events", "follow": true}\n')
        s.wait_for("started", len(s.events("started")) + 50)
        assert s.ctl("status").returncode == 0


def test_another_users_client_is_refused(supervise, hog, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    with supervise("--", hog, "hold", "60000") as s:
        assert s.socket.stat().st_mode & 0o777 == 0o600
        s.socket.chmod(0o666)  # even then: the kernel tells who asks
        for folder in (tmp_path, *tmp_path.parents):
            if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o001)
        code = (
            "import os, socket, sys; os.setgid(65534); os.setuid(65534); "
            "c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1]); "
            'c.sendall(b\'{"command": "status"}\\n\'); print(c.recv(100))'
        )
        done = subprocess.run(
            ["/usr/bin/python3", "-c", code, str(s.socket)], capture_output=True, text=True
        )
        assert "ok" not in done.stdout


@pytest.mark.root("an ordinary user's container sees its files alone")
def test_a_client_in_a_container_is_refused(supervise, climits, hog):
    with supervise("--", hog, "hold", "60000") as s:
        words = ["ctl", "--socket", str(s.socket), "status"]
        done = subprocess.run(
            [climits, "container", "--quiet", "--memory", "100M", "--", climits, *words],
            capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (125, "")
        assert "the supervisor has closed the connection" in done.stderr
        assert "running" in subprocess.run([climits, *words], capture_output=True, text=True).stdout


def test_a_second_supervisor_at_the_same_socket_is_refused(supervise, climits, hog):
    with supervise("--", hog, "hold", "60000") as s:
        done = subprocess.run(
            [climits, "supervise", "--socket", str(s.socket), "--", hog, "hold", "60000"],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 125
        assert "another supervisor listens there" in done.stderr
        assert "running" in s.ctl("status").stdout


def test_the_socket_of_a_dead_supervisor_is_taken_over(supervise, hog):
    with supervise("--", hog, "hold", "60000") as s:
        s.process.kill()
        s.process.wait()
        assert s.socket.exists()
    with supervise("--", hog, "hold", "60000") as s:
        assert "running" in s.ctl("status").stdout
    assert not s.socket.exists()


@pytest.mark.vm_only
def test_a_clock_that_jumps(supervise, hog):
    """Delays and budgets are of a clock that nobody can set."""
    words = ("--restart", "always", "--restart-delay", "200ms", "--max-restarts", "3/1h", "--")
    now = time.time()
    with supervise(*words, hog, "exit", "0") as s:
        for step in (-100_000, 200_000, -50_000):
            time.clock_settime(time.CLOCK_REALTIME, now + step)
        s.wait_for("gave-up")
    time.clock_settime(time.CLOCK_REALTIME, now)
    assert len(s.events("started")) == 4
    assert all(0 <= e["duration"] < 1000 for e in s.events("exited"))


def test_a_reload_that_fails_changes_nothing(supervise, config, hog):
    path = config(f'[program.web]\ncommand = "{hog} hold 60000"\n')
    with supervise("-c", path) as s:
        config("[program.web]\ncommand = 5\n")
        s.process.send_signal(signal.SIGHUP)
        assert "program.web.command" in s.wait_for("reload-failed")["error"]
        assert s.ctl("reload", check=False).returncode == 125
        assert len(s.events("started")) == 1
        assert "running" in s.ctl("status").stdout
