"""`climits run` as a person meets it: what it prints, its exit status, what it leaves."""

import json
import os
import re
import signal
import subprocess
import time

import pytest
from support import PATIENCE, our_cgroups


def cli(climits, *words, **options):
    return subprocess.run(
        [climits, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        **options,
    )


def one_line(text):
    assert text.count("\n") == 1, text
    assert text.startswith("climits: ")
    return text[len("climits: ") : -1]


# ---- the ordinary case ---------------------------------------------------------------------------


def test_the_summary_of_a_run_that_fits(climits, hog):
    done = cli(climits, "run", "--memory", "60M", "--", hog, "alloc", 20, "say", "hello", "exit", 3)
    assert (done.returncode, done.stdout) == (3, "hello\n")
    pattern = r"exited 3: peak (\?|2\d\.\dM) of 60\.0M, \d+(ms|\.\ds)"
    assert re.fullmatch(pattern, one_line(done.stderr))


def test_the_summary_of_an_oom_kill(climits, hog):
    done = cli(climits, "run", "--memory=60M", hog, "alloc", 80)
    assert (done.returncode, done.stdout) == (137, "")
    pattern = r"oom-killed: pid \d+ \(hog\) at \S+ of 60\.0M, peak (\?|\d+\.\dM), \S+"
    assert re.fullmatch(pattern, one_line(done.stderr))


def test_the_summary_of_a_signal(climits, hog):
    done = cli(climits, "run", hog, "raise", 9)
    assert done.returncode == 137
    assert one_line(done.stderr).startswith("signaled SIGKILL: peak ")


def test_quiet(climits):
    done = cli(climits, "run", "--quiet", "--memory", "60M", "true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_verbose_names_the_cgroups(climits):
    done = cli(climits, "run", "--verbose", "--memory", "60M", "true")
    assert "climits: cgroup " in done.stderr
    assert re.search(r"climits: started pid \d+: true", done.stderr)


def test_standard_input_belongs_to_the_command(climits):
    done = cli(climits, "run", "--quiet", "--memory", "60M", "cat", input="through")
    assert done.stdout == "through"


def test_descriptors_of_the_shell_belong_to_the_command(climits):
    line = f"exec 7</etc/hostname; {climits} run --quiet cat /dev/fd/7"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    with open("/etc/hostname") as file:
        assert done.stdout == file.read()


def test_climits_own_descriptors_do_not(climits):
    done = cli(climits, "run", "--quiet", "--json", "/dev/null", "ls", "/proc/self/fd")
    assert done.stdout.split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("words", "status"),
    [(["exit", 0], 0), (["exit", 42], 42), (["raise", 15], 143), (["raise", 11], 139)],
)
def test_the_exit_status_is_the_commands_own(climits, hog, words, status):
    assert cli(climits, "run", "--memory", "60M", hog, *words).returncode == status


def test_timeout(climits, hog):
    done = cli(climits, "run", "--timeout", "100ms", hog, "hold", 60000)
    assert done.returncode == 124
    assert one_line(done.stderr).startswith("timed-out (SIGTERM): ")


def test_timeout_then_kill(climits, hog):
    done = cli(
        climits,
        "run",
        "--timeout",
        str(0.1 * PATIENCE),
        "--kill-after",
        "100ms",
        hog,
        "ignore",
        15,
        "hold",
        60000,
    )
    assert done.returncode == 124
    assert one_line(done.stderr).startswith("timed-out (SIGKILL): ")


def test_stragglers_are_told(climits, hog):
    done = cli(climits, "run", hog, "straggler")
    assert "1 straggler killed" in one_line(done.stderr)


def test_oom_kills_on_the_way_are_told(climits, hog):
    done = cli(climits, "run", "--memory", "60M", hog, "child", "alloc", 80, "end")
    assert done.returncode == 0
    assert "1 process OOM-killed on the way" in one_line(done.stderr)


def test_environment(climits):
    done = cli(
        climits, "run", "--quiet", "--clear-env", "--env", "A=1", "--env", "B=x=y", "/usr/bin/env"
    )
    assert sorted(done.stdout.split()) == ["A=1", "B=x=y"]


@pytest.mark.root("becomes another user")
def test_chdir_user_group_nice(climits):
    done = cli(
        climits, "run", "--quiet", "--chdir", "/usr", "--user", "nobody", "--group", "12",
        "--nice", "5",
        "sh", "-c", "pwd; id -u; id -g; cut -d' ' -f19 /proc/self/stat",
    )  # fmt: skip
    assert done.stdout.split() == ["/usr", "65534", "12", "5"]


def test_the_command_may_have_options(climits):
    done = cli(climits, "run", "--quiet", "echo", "--memory", "60M")
    assert done.stdout == "--memory 60M\n"


# ---- telling -------------------------------------------------------------------------------------


def test_json_to_a_file(climits, hog, tmp_path):
    target = tmp_path / "result.json"
    cli(climits, "run", "--memory", "60M", "--json", target, hog, "alloc", 80)
    result = json.loads(target.read_text())
    assert result["schema"] == 1
    assert result["command"] == [hog, "alloc", "80"]
    assert (result["verdict"], result["returncode"], result["signal"]) == ("oom-killed", -9, 9)
    assert (result["memory_max"], result["oom_kill"], result["exit_status"]) == (60 << 20, 1, 137)
    assert result["evidence"]["stragglers"] == 0


def test_json_to_standard_output(climits):
    done = cli(climits, "run", "--quiet", "--json", "-", "true")
    assert json.loads(done.stdout)["verdict"] == "exited"


def test_json_to_a_descriptor(climits):
    line = f"{climits} run --quiet --json-fd 3 true 3>&1 >/dev/null"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert json.loads(done.stdout)["exit_status"] == 0


def test_every_json_field_is_documented(climits, hog, tmp_path):
    docs = os.path.dirname(__file__) + "/../../docs/results.md"
    if not os.path.exists(docs):
        pytest.skip("the docs are not beside the tests")
    target = tmp_path / "result.json"
    cli(climits, "run", "--memory", "60M", "--json", target, hog, "alloc", 80)
    text = open(docs).read()

    def names(value):
        for name, inner in value.items():
            yield name
            if isinstance(inner, dict):
                yield from names(inner)
            elif isinstance(inner, list) and inner and isinstance(inner[0], dict):
                yield from names(inner[0])

    missing = [n for n in names(json.loads(target.read_text())) if f"`{n}`" not in text]
    assert missing == []


def test_json_of_a_command_that_is_not_there(climits, tmp_path):
    target = tmp_path / "result.json"
    done = cli(climits, "run", "--json", target, "nonesuch-command")
    result = json.loads(target.read_text())
    assert (result["verdict"], result["exit_status"]) == ("failed-to-start", 127)
    assert "command not found" in result["error"]
    assert done.returncode == 127


def test_explain_does_nothing(climits, tmp_path):
    marker = tmp_path / "marker"
    before = our_cgroups()
    done = cli(climits, "run", "--memory", "60M", "--pids", "9", "--explain", "touch", marker)
    assert done.returncode == 0
    assert not marker.exists()
    assert our_cgroups() == before
    assert re.search(r"memory\.(limit_in_bytes|max) = 62914560  \(60\.0M\)", done.stdout)
    assert "pids.max = 9" in done.stdout
    assert 'execve("' in done.stdout
    assert re.search(r"CLONE_INTO_CGROUP|openat\(<memory:/climits/touch", done.stdout)


def test_explain_refuses_what_a_run_would_refuse(climits):
    assert cli(climits, "run", "--memory", "60MB", "--explain", "true").returncode == 125


@pytest.mark.parametrize(
    "words", [["--help"], ["help"], ["run", "--help"], ["help", "run"], ["gc", "-h"]]
)
def test_help(climits, words):
    done = cli(climits, *words)
    assert done.returncode == 0
    assert "usage: climits" in done.stdout
    if "run" in words:
        assert "--memory SIZE" in done.stdout
        assert "limits:" in done.stdout


@pytest.mark.parametrize("words", [["version"], ["--version"]])
def test_version(climits, words):
    assert re.fullmatch(r"climits \d+\.\d+\.\d+\n", cli(climits, *words).stdout)


# ---- bad input -----------------------------------------------------------------------------------

BAD = [
    (["--memory", "60MB"], 125, "MB can mean powers of 1000 or of 1024; hint: write 60M"),
    (["--memory", "-1"], 125, "cannot be negative; hint: for no limit write max"),
    (["--memory", "1e400"], 125, "not a size"),
    (["--memory", "18446744073709551616"], 125, "more than the kernel can hold"),
    (["--memory", ""], 125, "empty"),
    (["--memory", "10 %"], 125, "no space may stand in a size"),
    (["--memory"], 125, "--memory needs a value"),
    (["--memroy", "60M"], 125, "unknown option --memroy; hint: did you mean --memory?"),
    (["--memory", "60M", "--memory", "70M"], 125, "given twice"),
    (["--timeout", "soon"], 125, "timeout: soon: not a duration"),
    (["--name", "a/../b"], 125, "a slash may not stand in a name"),
    (["--name", ".."], 125, "not a name"),
    (["--name", "x" * 300], 125, "longer than 255 bytes"),
    (["--name", "tasks"], 125, "the kernel has a file of that name"),
    (["--parent", "/a/../../b"], 125, "not a cgroup path"),
    (["--root", "/climits-nonesuch"], 125, "no such cgroup"),
    (["--user", "nobody-at-all"], 125, "no such user"),
    (["--group", "nobody-at-all"], 125, "no such group"),
    (["--pids", "many"], 125, "pids: many: not a whole number"),
    (["--pids", "0"], 125, "pids: 0: must be 1 at least"),
    (["--cpus", "0"], 125, "out of range"),
    (["--cpus", "nan"], 125, "out of range"),
    (["--nice", "99"], 125, "must be -20 to 19"),
    (["--env", "NOVALUE"], 125, "not of the form K=V"),
    (["--on-oom", "panic"], 125, "on_oom: panic: unknown"),
    (["--json", "/nonesuch/x"], 125, "no such file or directory"),
    (["--name", "memory.stat"], 125, "the kernel's own files have names of that form"),
    pytest.param(
        ["--cpuset", "999"],
        125,
        "write some of the CPUs that may be used here: 0-",
        marks=pytest.mark.root("the cpuset controller is not delegated to users"),
    ),
    (["--explain", "--root", "/nonesuch"], 125, "no such cgroup"),
    (["--chdir", "/nonesuch"], 125, "name a directory that exists"),
    (["--json-fd", "77"], 125, "not an open descriptor"),
    (["--quiet=1"], 125, "--quiet takes no value"),
    (["--chdir", "/nonesuch"], 125, "change to /nonesuch: no such file or directory"),
]


@pytest.mark.parametrize(("words", "status", "text"), BAD, ids=lambda v: str(v)[:40])
def test_bad_input_is_one_line(climits, words, status, text):
    before = our_cgroups()
    done = (
        cli(climits, "run", *words, "--", "true")
        if words != ["--memory"]
        else cli(climits, "run", *words)
    )
    assert done.returncode == status
    assert text in one_line(done.stderr)
    assert done.stdout == ""
    assert our_cgroups() == before


def test_no_command(climits):
    done = cli(climits, "run", "--memory", "60M")
    assert done.returncode == 125
    assert "no command was given; hint: " in one_line(done.stderr)


def test_an_unknown_command_of_climits(climits):
    done = cli(climits, "rnu")
    assert done.returncode == 125
    assert one_line(done.stderr) == "no command 'rnu'; hint: did you mean 'run'?".replace(
        "'run'", "run"
    )


@pytest.mark.parametrize(
    ("content", "mode", "status", "text"),
    [
        (None, 0, 127, "command not found; hint: "),
        ("#!/bin/sh\n", 0o644, 126, "permission denied; hint: chmod +x"),
        ("#!/nonesuch/python\n", 0o755, 126, "no such interpreter: /nonesuch/python"),
        ("#!/bin/sh\r\n", 0o755, 126, r"no such interpreter: /bin/sh\r"),
        ("no program\n", 0o755, 126, "neither a binary for this machine nor a #! script"),
    ],
)
def test_commands_that_cannot_start(climits, tmp_path, content, mode, status, text):
    path = tmp_path / "app"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    done = cli(climits, "run", "--memory", "60M", path)
    assert done.returncode == status
    assert text in one_line(done.stderr)


def test_a_directory_is_no_command(climits, tmp_path):
    done = cli(climits, "run", tmp_path)
    assert done.returncode == 126
    assert "it is a directory" in one_line(done.stderr)


def test_a_limit_too_small(climits):
    done = cli(climits, "run", "--memory", "4K", "true")
    assert done.returncode in (125, 137)
    assert "too small to start" in one_line(done.stderr)


@pytest.mark.root("mounts")
def test_a_read_only_cgroupfs(climits, layout):
    point = layout.holding("memory").mount_point
    read_only = f"mount --bind {point} {point} && mount -o remount,ro,bind {point}"
    line = f"{read_only} && {climits} run --memory 60M true"
    done = subprocess.run(["unshare", "-m", "sh", "-c", line], capture_output=True, text=True)
    assert done.returncode == 125
    assert "read-only; hint: " in one_line(done.stderr)


@pytest.mark.root("mounts")
def test_no_cgroupfs_at_all(climits):
    line = f"umount -R /sys/fs/cgroup && {climits} run --memory 60M true"
    done = subprocess.run(["unshare", "-m", "sh", "-c", line], capture_output=True, text=True)
    assert done.returncode == 125
    assert "no cgroup filesystem is mounted" in one_line(done.stderr)
    assert "hint: mount -t cgroup2" in done.stderr


def test_a_missing_memory_controller(climits, layout, memory_v1):
    if not memory_v1:
        pytest.skip("on v2 the memory controller cannot be unmounted alone")
    point = layout.holding("memory").mount_point
    line = f"umount {point} && {climits} run --memory 60M true"
    done = subprocess.run(["unshare", "-m", "sh", "-c", line], capture_output=True, text=True)
    assert done.returncode == 125
    assert "the memory controller is not available: no mounted hierarchy has it" in done.stderr


def test_closed_standard_error(climits):
    done = subprocess.run(
        ["sh", "-c", f"{climits} run --memory 60M true 2>&-; echo $?"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "0\n"


# ---- signals and the terminal --------------------------------------------------------------------


def start(climits, *words, **options):
    """A run whose command has said that it is ready."""
    process = subprocess.Popen(
        [climits, "run", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    assert process.stdout.readline() == "ready\n"
    return process


TRAP = 'trap "echo got {0}; exit 7" {0}; echo ready; while :; do sleep 0.05; done'


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1"])
def test_signals_are_passed_on(climits, name):
    process = start(climits, "sh", "-c", TRAP.format(name))
    process.send_signal(getattr(signal, f"SIG{name}"))
    out, err = process.communicate(timeout=20 * PATIENCE)
    assert out == f"got {name}\n"
    assert process.returncode == 7
    wanted = "stopped (exited 7)" if name in ("TERM", "INT") else "exited 7"
    assert one_line(err).startswith(wanted)


def test_sigterm_ends_a_command_that_does_not_care(climits, hog):
    process = start(climits, hog, "say", "ready", "hold", 60000)
    process.terminate()
    _, err = process.communicate(timeout=20 * PATIENCE)
    assert process.returncode == 143
    assert one_line(err).startswith("stopped (SIGTERM): ")


def test_the_command_has_the_callers_signal_mask(climits):
    done = cli(climits, "run", "--quiet", "grep", "SigBlk", "/proc/self/status")
    assert int(done.stdout.split()[1], 16) == 0


def test_an_ignored_signal_stays_ignored(climits):
    line = f"trap '' HUP; {climits} run --quiet grep SigIgn /proc/self/status"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert int(done.stdout.split()[1], 16) & 1
    assert not int(done.stdout.split()[1], 16) >> 12 & 1  # SIGPIPE, which Python ignores


class Terminal:
    """A shell with job control on a pseudo-terminal."""

    def __init__(self):
        self.master, slave = os.openpty()
        self.shell = subprocess.Popen(
            ["setsid", "-c", "bash", "--norc", "--noprofile", "-i"],
            stdin=slave, stdout=slave, stderr=slave,
            env={**os.environ, "PS1": "$ ", "TERM": "dumb"},
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, pattern):
        """Read until the pattern appears; returns the match."""
        import select

        deadline = time.monotonic() + 30 * PATIENCE
        while not (match := re.search(pattern, self.seen)):
            left = deadline - time.monotonic()
            ready = select.select([self.master], [], [], max(left, 0))[0]
            assert ready, f"never saw {pattern!r} in {self.seen!r}"
            self.seen += os.read(self.master, 4096).decode(errors="replace")
        self.seen = self.seen[match.end() :]
        return match

    def close(self):
        self.shell.kill()
        self.shell.wait()
        os.close(self.master)


@pytest.fixture
def terminal():
    it = Terminal()
    yield it
    it.close()


def test_ctrl_c_reaches_the_command_once(climits, terminal):
    count = "n=0; trap 'n=$((n+1))' INT; echo ready; sleep 0.2; sleep 0.2; echo count=$n"
    terminal.type(f'{climits} run --memory 60M sh -c "{count.replace("$", chr(92) + "$")}"\n')
    terminal.expect(r"\nready")
    terminal.type("\x03")
    assert terminal.expect(r"count=(\d)")[1] == "1"
    terminal.expect(r"climits: exited 0")


def test_ctrl_c_ends_what_does_not_care(climits, hog, terminal):
    terminal.type(f"{climits} run --memory 60M {hog} say ready hold 60000\n")
    terminal.expect(r"\nready")
    terminal.type("\x03")
    terminal.expect(r"climits: signaled SIGINT")
    terminal.type("echo status=$?\n")
    assert terminal.expect(r"status=(\d+)")[1] == "130"


def test_ctrl_z_and_fg(climits, hog, terminal):
    terminal.type(f"{climits} run --memory 60M {hog} say ready hold 400 say done\n")
    terminal.expect(r"\nready")
    terminal.type("\x1a")
    terminal.expect(r"Stopped")
    terminal.type("fg\n")
    terminal.expect(r"\ndone")
    terminal.expect(r"climits: exited 0")


def test_a_command_that_stops_itself_stops_climits_too(climits, hog, terminal):
    terminal.type(f"{climits} run --memory 60M {hog} say ready raise 20 say done\n")
    terminal.expect(r"Stopped")
    terminal.type("fg\n")
    terminal.expect(r"\ndone")
    terminal.expect(r"climits: exited 0")


def test_the_command_reads_the_terminal(climits, terminal):
    terminal.type(f"{climits} run --memory 60M sh -c 'echo ready; read x; echo \"got [$x]\"'\n")
    terminal.expect(r"\nready")
    terminal.type("words\n")
    terminal.expect(r"got \[words\]")
    terminal.expect(r"climits: exited 0")
