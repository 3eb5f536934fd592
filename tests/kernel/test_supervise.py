"""climits supervise on a real kernel: one program."""

import itertools
import os
import signal
import subprocess
import sys

import pytest
from supervised import Supervised
from support import IN_VM, PATIENCE, gone, ignores, our_cgroups, until

MIB = 1 << 20


@pytest.fixture
def supervise(climits, tmp_path):
    def start(*words, **options):
        return Supervised(climits, tmp_path, *words, **options)

    return start


# ---- the end of a run ----------------------------------------------------------------------


def test_it_is_restarted_when_it_is_oom_killed_until_the_budget_is_used_up(supervise, hog):
    with supervise("--memory", "30M", "--max-oom-restarts", "2/10m", "--", hog, "alloc", "60") as s:
        s.wait_for("gave-up")
        assert s.process.wait(30 * PATIENCE) == 137
        kinds = [e["event"] for e in s.events()]
    assert kinds == ["started", "oom-killed", "restarting"] * 2 + [
        "started", "oom-killed", "gave-up",
    ]  # fmt: skip
    killed = s.events("oom-killed")[0]
    assert killed["memory_max"] == 30 * MIB and killed["oom_kill"] >= 1 and killed["signal"] == 9
    # The kernel logs some ten OOM kills in five seconds, and the tests make more.
    for event in s.events("oom-killed"):
        for victim in event.get("killed", ()):
            assert (victim["pid"], victim["name"]) == (event["pid"], "hog")
            assert 20 * MIB < victim["anon"] <= 30 * MIB


def test_each_end_names_its_own_victim_although_the_cgroup_is_the_same(supervise, hog):
    words = ("--name", "climits-same", "--memory", "30M", "--max-oom-restarts", "3/10m")
    with supervise(*words, "--", hog, "alloc", "60") as s:
        s.wait_for("gave-up")
        assert s.process.wait(30 * PATIENCE) == 137
        events = s.events()
    ends = [e for e in events if e["event"] == "oom-killed"]
    assert len(ends) == 4
    for event in ends:  # but those that the kernel did not log
        assert [v["pid"] for v in event.get("killed", [{"pid": event["pid"]}])] == [event["pid"]]
        assert f"pid {event['pid']} " in event["text"]
    # Told after the program runs again, but with the time at which it was.
    times = [event["time"] for event in events]
    assert times == sorted(times)


def test_it_ends_with_the_program_and_its_status(supervise, hog):
    with supervise("--memory", "30M", "--", hog, "exit", "7") as s:
        assert s.process.wait(30 * PATIENCE) == 7
    assert [e["event"] for e in s.events()] == ["started", "exited"]
    assert s.events("exited")[0]["returncode"] == 7


def test_a_kill_by_somebody_is_no_oom(supervise, hog):
    with supervise("--memory", "30M", "--", hog, "hold", "60000") as s:
        os.kill(s.events("started")[0]["pid"], signal.SIGKILL)
        assert s.process.wait(30 * PATIENCE) == 137
    assert [e["event"] for e in s.events()] == ["started", "signaled"]


def test_on_failure_and_always(supervise, hog):
    words = ("--restart-delay-max", "1ms", "--max-restarts", "3/1h", "--", hog)
    with supervise("--restart", "on-failure", *words, "exit", "3") as s:
        assert s.process.wait(30 * PATIENCE) == 3
        assert len(s.events("started")) == 4
    with supervise("--restart", "always", *words, "exit", "0") as s:
        assert s.process.wait(30 * PATIENCE) == 0
        assert len(s.events("started")) == 4
    with supervise("--restart", "on-failure", *words, "exit", "0") as s:
        assert s.process.wait(30 * PATIENCE) == 0
        assert len(s.events("started")) == 1


def test_the_limit_grows_after_an_oom_kill(supervise, hog):
    words = ("--memory", "30M", "--grow", "1.5", "--grow-max", "60M", "--", hog, "alloc", "50")
    with supervise(*words) as s:
        assert s.process.wait(30 * PATIENCE) == 0
    limits = [e["memory_max"] for e in s.events("started")]
    assert limits == [30 * MIB, 45 * MIB, 60 * MIB]


def test_a_command_that_is_not_there(supervise):
    with supervise("--memory", "30M", "--", "/nonesuch", wait_for=None) as s:
        assert s.process.wait(30 * PATIENCE) == 125
    (event,) = s.events("failed-to-start")
    assert "command not found" in event["error"]
    assert our_cgroups() == []


# ---- signals -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(supervise, hog, number):
    with supervise("--memory", "30M", "--restart", "always", "--", hog, "hold", "60000") as s:
        pid = s.events("started")[0]["pid"]
        assert s.end(number) == 0
    assert [e["event"] for e in s.events()] == [
        "started", "signal", "stopping", "stopped",
    ]  # fmt: skip
    assert gone(pid)
    assert our_cgroups() == []


def test_what_does_not_stop_is_killed_with_all_it_started(supervise, hog):
    words = ("--memory", "30M", "--stop-timeout", "100ms", "--", hog)
    with supervise(*words, "ignore", "15", "child", "hold", "60000", "end", "hold", "60000") as s:
        until(lambda: ignores(s.events("started")[0]["pid"], signal.SIGTERM))
        assert s.end() == 0
        assert s.events("stopped")[0]["signal"] == 9
    assert our_cgroups() == []


@pytest.mark.parametrize("word", ["USR1", "SIGUSR1", "10"])
def test_another_stop_signal(supervise, hog, word):
    with supervise("--stop-signal", word, "--", hog, "hold", "60000") as s:
        assert s.end() == 0
        assert s.events("stopped")[0]["signal"] == signal.SIGUSR1


def test_other_signals_are_passed_on(supervise, hog):
    with supervise("--", hog, "hold", "60000") as s:
        s.process.send_signal(signal.SIGUSR2)
        assert s.process.wait(30 * PATIENCE) == 128 + signal.SIGUSR2


def test_a_child_that_is_oom_killed_does_not_turn_a_stop_into_a_restart(supervise, hog, tmp_path):
    program = tmp_path / "program"
    program.write_text(
        f"#!/bin/sh\ntrap '{hog} alloc 60; sleep 0.5; exit 0' TERM\n"
        f"echo > {tmp_path}/ready\nwhile :; do sleep 0.05; done\n"
    )
    program.chmod(0o755)
    words = ("--memory", "30M", "--child-oom", "restart", "--", str(program))
    with supervise(*words) as s:
        until((tmp_path / "ready").exists)
        assert s.end() == 0
    assert len(s.events("started")) == 1 and s.events("restarting") == []


def test_delays_may_be_longer_than_the_kernel_can_wait(supervise):
    words = ("--restart", "always", "--restart-delay", "720h", "--restart-delay-max", "800h", "--")
    with supervise(*words, "/bin/true") as s:
        assert s.wait_for("restarting")["delay"] == 720 * 3600
        assert s.process.poll() is None
        assert s.end() == 0


def test_standard_error_that_nobody_reads_holds_nothing_up(climits):
    """The pipe is full after some hundred events."""
    read, write = os.pipe()
    process = subprocess.Popen(
        [climits, "supervise", "--restart", "always", "--max-restarts", "900/1h",
         "--restart-delay-max", "0s", "--", "/bin/true"],
        stderr=write,
    )  # fmt: skip
    os.close(write)
    try:
        assert process.wait(60 * PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        os.close(read)


def test_an_ignored_sigchld_loses_no_status(climits):
    code = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    words = [climits, "supervise", "--", "/bin/sh", "-c", "exit 3"]
    assert subprocess.run([sys.executable, "-c", code, *words]).returncode == 3


# ---- while it runs -------------------------------------------------------------------------


def test_a_child_that_is_oom_killed_is_an_event_of_its_own(supervise, hog):
    words = ("--memory", "30M", "--", hog, "child", "alloc", "60", "end", "hold", "60000")
    with supervise(*words) as s:
        event = s.wait_for("child-oom")
        assert event["count"] == 1
        assert s.process.poll() is None
        s.end()
    assert len(s.events("started")) == 1


def test_a_child_that_is_oom_killed_can_mean_a_restart(supervise, hog):
    words = ("--memory", "30M", "--child-oom", "restart", "--max-oom-restarts", "1/1h", "--")
    with supervise(*words, hog, "child", "alloc", "60", "end", "hold", "60000") as s:
        s.wait_for("gave-up")
    assert [e["event"] for e in s.events()] == [
        "started", "child-oom", "stopped", "restarting", "started", "child-oom", "stopped",
        "gave-up",
    ]  # fmt: skip


def test_it_is_paused_at_its_limit_and_goes_on_with_more(supervise, hog):
    words = ("--memory", "60M", "--on-oom", "pause", "--name", "climits-paused", "--")
    with supervise(*words, hog, "alloc", "80", "exit", "5") as s:
        event = s.wait_for("paused")
        assert event["memory_current"] >= 50 * MIB
        name = os.path.basename(hog)
        assert "  paused  " in s.ctl("status").stdout
        s.ctl("set-limit", name, "120M")
        assert s.process.wait(30 * PATIENCE) == 5
    # On v1 the kernel lets it try again whenever a page comes free, and it is paused anew.
    kinds = [kind for kind, _ in itertools.groupby(e["event"] for e in s.events())]
    assert kinds == ["started", "paused", "resumed", "limit-set", "exited"]


def test_what_is_paused_can_be_stopped(supervise, hog):
    words = ("--memory", "60M", "--on-oom", "pause", "--stop-timeout", "100ms", "--")
    with supervise(*words, hog, "alloc", "80") as s:
        s.wait_for("paused")
        assert s.end() == 0
    assert our_cgroups() == []


def test_programs_are_told_where_to_watch_their_pressure(supervise, tmp_path, layout):
    out = tmp_path / "environment"
    with supervise("--memory", "30M", "--", "/bin/sh", "-c", f"env > {out}") as s:
        s.process.wait(30 * PATIENCE)
    lines = dict(line.partition("=")[::2] for line in out.read_text().splitlines())
    watch = lines["MEMORY_PRESSURE_WATCH"]
    if layout.unified and os.path.exists("/proc/pressure/memory"):
        assert watch.endswith(s.events("started")[0]["cgroup"] + "/memory.pressure")
        assert lines["MEMORY_PRESSURE_WRITE"] == "c29tZSAyMDAwMDAgMjAwMDAwMAA="
    else:
        assert watch == "/dev/null"


def test_programs_have_the_open_files_that_we_were_given(supervise, tmp_path):
    out = tmp_path / "limits"
    with supervise("--", "/bin/sh", "-c", f"ulimit -Sn > {out}", wait_for=None) as s:
        s.process.wait(30 * PATIENCE)
    ours = subprocess.run(
        ["/bin/sh", "-c", "ulimit -Sn"], capture_output=True, text=True, check=True
    )
    assert out.read_text() == ours.stdout


# ---- the original's spelling ---------------------------------------------------------------


def test_the_spelling_of_the_first_climits(climits, hog):
    done = subprocess.run(
        [climits, "-memory", "60", "--", hog, "exit", "3"], capture_output=True, text=True
    )
    assert done.returncode == 3
    first, second, *_ = done.stderr.splitlines()
    assert first == (
        f"climits: note: the new form is climits supervise --memory 60M -- {hog} exit 3"
    )
    assert "started pid" in second and "limit 60.0M" in second


def test_the_spelling_of_the_first_climits_with_a_cgroup_that_exists(climits, hog):
    import climits as library

    with library.Cgroup.create("climits-root", memory="max") as group:
        done = subprocess.run(
            [climits, "-memory=60", "-root", group.path, hog, "exit", "0"],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert group.memory.max == 60 * MIB
        assert group.pids() == []


@pytest.mark.skipif(IN_VM, reason="the VM's own init is PID 1")
def test_as_pid_1_it_reaps_orphans(climits, tmp_path):
    """In a new pid namespace, where it is PID 1 as in a container."""
    program = tmp_path / "program"
    program.write_text(
        "#!/bin/sh\n"
        "for i in 1 2 3; do (sleep 0.05 &); done\n"
        "sleep 0.5\n"
        "exit $(grep -l '^State:.Z' /proc/[0-9]*/status | wc -l)\n"  # one for each zombie
    )
    program.chmod(0o755)
    done = subprocess.run(
        [
            *("unshare", "--pid", "--fork", "--mount-proc", "--kill-child"),
            *(climits, "supervise", "--", program),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "exited 0" in done.stderr


@pytest.mark.skipif(IN_VM, reason="the VM's own init is PID 1")
def test_as_pid_1_it_takes_no_programs_end_for_an_orphans(climits):
    """What is started again within one round of reaping is a program too."""
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", climits, "supervise",
         "--restart", "always", "--restart-delay-max", "0s", "--max-restarts", "150/1h", "--",
         "/bin/sh", "-c", "exit 3"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.count("exited 3") == 151 and "exited 0" not in done.stderr


def test_the_guard_ends_what_a_killed_supervisor_left(supervise, hog):
    words = ("--memory", "30M", "--", hog, "child", "hold", "60000", "end", "hold", "60000")
    with supervise(*words) as s:
        s.process.kill()
        s.process.wait()
        until(lambda: our_cgroups() == [])
