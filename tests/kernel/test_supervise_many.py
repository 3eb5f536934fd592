"""climits supervise -c on a real kernel: many programs, reload, control, alarms, systemd."""

import json
import os
import pty
import signal
import socket
import subprocess

import pytest
from supervised import Supervised
from support import IN_VM, PATIENCE, catches, gone, our_cgroups, until

import climits as library
from climits.supervise import Client

MIB = 1 << 20


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "climits.toml"
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def supervise(climits, tmp_path, config):
    def start(text, *words, **options):
        return Supervised(climits, tmp_path, "-c", config(text), *words, **options)

    return start


def two(hog):
    return f"""
        [defaults]
        memory = "30M"
        [program.web]
        command = "{hog} hold 60000"
        depends_on = ["database"]
        [program.database]
        command = "{hog} hold 60000"
        """


def test_they_start_after_what_they_depend_on_and_stop_before_it(supervise, hog):
    with supervise(two(hog)) as s:
        s.wait_for("started", 2)
        assert s.end() == 0
    assert [e["program"] for e in s.events("started")] == ["database", "web"]
    ends = [(e["event"], e["program"]) for e in s.events()[-4:]]
    assert ends == [
        ("stopping", "web"), ("stopped", "web"), ("stopping", "database"), ("stopped", "database"),
    ]  # fmt: skip
    assert our_cgroups() == []


def test_each_has_a_cgroup_of_its_name_and_a_session_of_its_own(supervise, hog):
    with supervise(two(hog)) as s:
        s.wait_for("started", 2)
        for event in s.events("started"):
            assert event["cgroup"] == f"/climits/{event['program']}"
            assert os.getsid(event["pid"]) == event["pid"]
            assert os.readlink(f"/proc/{event['pid']}/fd/0") == "/dev/null"


def test_a_reload_restarts_only_what_changed(supervise, config, hog):
    more = f'[program.more]\ncommand = "{hog} hold 60000"\n'
    with supervise(two(hog)) as s:
        s.wait_for("started", 2)
        config(two(hog).replace("hold 60000", "hold 70000", 1) + more)
        s.process.send_signal(signal.SIGHUP)
        s.wait_for("started", 4)
        assert s.events("reloaded")[0]["changed"] == ["web"]
        assert [e["program"] for e in s.events("started")[2:]] == ["more", "web"]
        config(more)
        s.ctl("reload")
        s.wait_for("stopped", 3)
        until(lambda: len(json.loads(s.ctl("status", "--json").stdout)) == 1)
        (left,) = json.loads(s.ctl("status", "--json").stdout)
        assert (left["program"], left["status"]) == ("more", "running")


# It must end later than the requests that come meanwhile, on a slow machine too.
SLOW = f"trap 'sleep {4 if IN_VM else 0.5}; exit 0' TERM; while :; do sleep 0.05; done"


def test_whoever_steers_meanwhile_a_shutdown_goes_on(supervise, hog):
    text = f"""
        [program.db]
        command = "{hog} hold 60000"
        [program.web]
        command = ["/bin/sh", "-c", "{SLOW}"]
        depends_on = ["db"]
        """
    with supervise(text) as s:
        s.wait_for("started", 2)
        s.ctl("shutdown")
        for words in (("stop", "web"), ("restart", "web"), ("start", "web"), ("reload",)):
            s.ctl(*words, check=False)
        assert s.process.wait(30 * PATIENCE) == 0
    assert len(s.events("started")) == 2


def test_what_is_asked_last_holds_while_a_program_stops(supervise, config):
    text = f"""[program.web]\ncommand = ["/bin/sh", "-c", "{SLOW}"]\n"""
    other = "[program.other]\ncommand = 'sleep 1000'\n"

    def started(count):
        """The pid of web's next start, once it takes its time to stop."""
        pid = s.wait_for("started", count, "web")["pid"]
        until(lambda: catches(pid, signal.SIGTERM))
        return pid

    with supervise(text + other) as s:
        started(1)
        with Client(str(s.socket)) as client:
            client.stop("web")
            client.start("web")
            started(2)
            config(other)
            client.reload()
            config(text + other)
            client.reload()
            started(3)
            config(text.replace("0.05", "0.06") + other)
            client.reload()
            config(text + other)
            client.reload()
            pid = started(4)
            with open(f"/proc/{pid}/cmdline") as file:
                assert "sleep 0.05" in file.read()
            client.stop("web")
            s.wait_for("stopped", 4)
            until(lambda: client.status("web")[0]["status"] == "stopped")
            assert len(s.events("started", "web")) == 4


def test_ctl(supervise, hog):
    with supervise(two(hog)) as s:
        s.wait_for("started", 2)
        first, second = json.loads(s.ctl("status", "--json").stdout)
        assert [first["program"], second["program"]] == ["database", "web"]
        assert first["memory_max"] == 30 * MIB and first["memory_current"] > 0
        assert "web: the limit is now 90.0M" in s.ctl("set-limit", "web", "90M").stdout
        with library.Cgroup.open("/climits/web") as group:
            assert group.memory.max == 90 * MIB
        s.ctl("restart", "web")
        again = s.wait_for("started", 3)
        assert (again["program"], again["memory_max"]) == ("web", 90 * MIB)
        s.ctl("stop", "database")
        s.wait_for("stopped", 2)
        assert len(s.events("started")) == 3  # stopped is stopped
        s.ctl("start", "database")
        s.wait_for("started", 4)
        lines = s.ctl("events").stdout.splitlines()
        assert len(lines) == len(s.events()) and "started pid" in lines[0]
        refused = s.ctl("stop", "wbe", check=False)
        assert refused.returncode == 125 and "did you mean web?" in refused.stderr
        refused = s.ctl("set-limit", "web", "60MB", check=False)
        assert refused.returncode == 125 and "60MB" in refused.stderr
        s.ctl("shutdown")
        assert s.process.wait(30 * PATIENCE) == 0


def test_events_can_be_followed(supervise, climits, hog):
    with supervise(two(hog)) as s:
        s.wait_for("started", 2)
        follower = subprocess.Popen(
            [climits, "ctl", "--socket", str(s.socket), "events", "--follow", "--json"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert [json.loads(follower.stdout.readline())["event"] for _ in range(2)] == [
            "started"
        ] * 2
        s.ctl("stop", "web")
        assert json.loads(follower.stdout.readline())["event"] == "stopping"
        assert json.loads(follower.stdout.readline())["event"] == "stopped"
        s.end()
        follower.communicate(timeout=30 * PATIENCE)
        assert follower.returncode == 0


def test_from_python(supervise, hog):
    with supervise(two(hog)) as s:
        s.wait_for("started", 2)
        with Client(str(s.socket)) as client:
            assert [f["program"] for f in client.status()] == ["database", "web"]
            assert client.set_limit("web", 40 * MIB)["memory_max"] == 40 * MIB
            with pytest.raises(library.ClimitsError, match="no program 'x'"):
                client.stop("x")
            client.stop("web")
            until(lambda: client.status("web")[0]["status"] == "stopped")
            client.shut_down()
        assert s.process.wait(30 * PATIENCE) == 0
    with pytest.raises(library.ClimitsError, match="no supervisor answers"):
        Client(str(s.socket))


def test_logs_are_rotated(supervise, tmp_path):
    text = f"""
        [program.talks]
        command = ["/bin/sh", "-c", "for i in $(seq 2000); do echo line $i; echo no $i >&2; done"]
        stderr = "{tmp_path}/errors"
        [program.talks.stdout]
        path = "{tmp_path}/log"
        max_size = "4K"
        keep = 2
        """
    with supervise(text) as s:
        s.wait_for("exited")
        s.end()
    sizes = [os.path.getsize(tmp_path / name) for name in ("log", "log.1", "log.2")]
    assert all(0 < size <= 4096 for size in sizes) and not (tmp_path / "log.3").exists()
    assert (tmp_path / "log").read_text().splitlines()[-1] == "line 2000"
    assert (tmp_path / "errors").read_text().splitlines() == [f"no {i}" for i in range(1, 2001)]


# ---- alarms --------------------------------------------------------------------------------


def test_an_alarm_signals_the_program_and_runs_a_command(supervise, hog, tmp_path):
    text = f"""
        [program.grows]
        command = "{hog} alloc 40 hold 60000"
        memory = "60M"
        [[program.grows.alarm]]
        source = "threshold"
        level = "50%"
        signal = "TERM"
        exec = ["/bin/sh", "-c", "cat > {tmp_path}/event; echo $CLIMITS_EVENT >> {tmp_path}/event"]
        """
    with supervise(text) as s:
        ended = s.wait_for("signaled")
        assert ended["signal"] == signal.SIGTERM
        alarm = s.events("alarm")[0]
        assert alarm["source"] == "threshold" and alarm["level"] == 30 * MIB
        assert alarm["current"] >= 30 * MIB and alarm["limit"] == 60 * MIB
        until(lambda: (tmp_path / "event").exists() and "\n" in (tmp_path / "event").read_text())
        until(lambda: (tmp_path / "event").read_text().endswith("threshold\n"))
        told = json.loads((tmp_path / "event").read_text().splitlines()[0])
        assert told["cgroup"] == "/climits/grows"


def test_an_alarm_gives_more_memory_before_it_is_too_late(supervise, hog):
    text = f"""
        [program.grows]
        command = "{hog} alloc 20 hold 500 alloc 50 exit 0"
        memory = "40M"
        [[program.grows.alarm]]
        source = "threshold"
        level = "50%"
        grow = 3
        grow_max = "100M"
        """
    with supervise(text) as s:
        s.wait_for("exited")
    assert s.events("limit-set")[0]["memory_max"] == 100 * MIB
    assert s.events("oom-killed") == []


def test_an_alarm_is_not_raised_again_by_its_own_action(supervise, hog):
    text = f"""
        [program.grows]
        command = "{hog} alloc 20 hold 60000"
        memory = "40M"
        [[program.grows.alarm]]
        source = "threshold"
        level = "10M"
        grow = 1.5
        grow_max = "500M"
        """
    with supervise(text) as s:
        s.wait_for("limit-set")
        s.ctl("set-limit", "grows", "70M")
        s.wait_for("limit-set", 2)
        s.ctl("status")
        s.end()
    assert len(s.events("alarm")) == 1
    assert [e["memory_max"] for e in s.events("limit-set")] == [60 * MIB, 70 * MIB]


def test_an_alarm_that_this_host_cannot_raise_is_told(supervise, hog, on_v2):
    text = f"""
        [program.web]
        command = "{hog} hold 60000"
        memory = "30M"
        [[program.web.alarm]]
        source = "under-oom"
        """
    with supervise(text) as s:
        assert s.wait_for("alarm-failed")["hint"]
        assert s.process.poll() is None


# ---- systemd, the terminal -----------------------------------------------------------------


def test_systemd_is_told(supervise, hog, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30 * PATIENCE)
        environment = os.environ | {
            "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000",
        }  # fmt: skip
        with supervise(two(hog), env=environment) as s:
            told = [manager.recv(1000)]
            while b"WATCHDOG=1" not in told[-1]:
                told.append(manager.recv(1000))
            pid = s.events("started")[0]["pid"]
            with open(f"/proc/{pid}/environ", "rb") as file:
                assert b"NOTIFY_SOCKET" not in file.read()
            s.end()
            while b"STOPPING=1" not in told[-1]:
                told.append(manager.recv(1000))
    assert b"READY=1" in told[0]


def test_ctrl_c_at_a_terminal_ends_one_program_cleanly(climits, hog):
    """The terminal's signal reaches the program too: it must not be told twice."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(climits, [climits, "supervise", "--restart", "always", "--", hog, "hold", "60000"])
    out = b""
    while b"started pid" not in out:
        out += os.read(terminal, 4096)
    os.write(terminal, b"\x03")
    try:
        while data := os.read(terminal, 4096):
            out += data
    except OSError:
        pass  # the other end is closed
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, out
    assert b"stopped (SIGINT)" in out
    program = int(out.partition(b"started pid ")[2].split()[0])
    assert gone(program)
    assert our_cgroups() == []


# ---- a configuration that is wrong ---------------------------------------------------------


def test_check_tells_every_problem_at_once(climits, config):
    path = config('[program.web]\ncomand = "x"\nmemory = "60MB"\n[defaults]\nrestrat = "always"\n')
    for words in (["--check", "-c", path], ["-c", path]):
        done = subprocess.run([climits, "supervise", *words], capture_output=True, text=True)
        assert done.returncode == 125
        lines = done.stderr.splitlines()
        assert len(lines) == 4 and all(line.startswith("climits: ") for line in lines)
        assert f"{path}:2: program.web.comand" in done.stderr
        assert "did you mean command?" in done.stderr
    assert our_cgroups() == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "no command was given"),
        (["--check"], "there is nothing to check"),
        (["-c", "/nonesuch.toml"], "cannot read the configuration: no such file or directory"),
        (["--restart", "sometimes", "--", "true"], "restart: sometimes: unknown"),
        (["--max-restarts", "5", "--", "true"], "max-restarts: 5: not a budget"),
        (["--grow", "0.5", "--memory", "1M", "--", "true"], "grow: 0.5: must be more than 1"),
        (["--grow", "2", "--", "true"], "grow needs a memory limit"),
        (["--stop-signal", "TREM", "--", "true"], "stop-signal: TREM: no such signal"),
        (["--alarm", "treshold=5M", "--", "true"], "did you mean threshold?"),
        (["--alarm", "threshold=5MB", "--", "true"], "5MB"),
        (["--log-format", "xml", "--", "true"], "log-format: xml: unknown"),
        (["--memory", "60MB", "--", "true"], "60MB"),
        (["--socket", "/" + "x" * 200, "--", "true"], "control socket"),
        (["--socket", __file__, "--", "true"], "something else is there"),
        (["-c", "x.toml", "--memory", "60M"], "--memory does not go with -c"),
        (["-c", "x.toml", "--", "true"], "true does not go with -c"),
    ],
)
def test_bad_input_is_one_line(climits, words, text):
    done = subprocess.run([climits, "supervise", *words], capture_output=True, text=True)
    assert done.returncode == 125
    assert text in done.stderr and done.stderr.count("\n") == 1
    assert our_cgroups() == []
