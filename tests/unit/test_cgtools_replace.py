"""Becoming another program: what `climits exec` and cgexec end with."""

import errno
import subprocess
import sys

import pytest

from climits.errors import CommandNotExecutableError, CommandNotFoundError, LaunchError
from climits.launch.replace import replace


def become(*argv, env=None):
    code = f"from climits.launch.replace import replace; replace({list(argv)!r}, {env!r})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_the_program_has_its_arguments_environment_and_status():
    done = become("sh", "-c", 'echo "$1" "$X"; exit 7', "sh", "two words", env={"X": "1"})
    assert (done.stdout, done.returncode) == ("two words 1\n", 7)


def test_it_ignores_no_signal_for_python_s_sake():
    done = become("grep", "SigIgn", "/proc/self/status")
    of_libc = 3 << 31  # 32 and 33, which its posix_spawn leaves ignored
    assert int(done.stdout.split()[1], 16) & ~of_libc == 0


def test_it_is_looked_up_in_the_path_of_its_own_environment(tmp_path):
    program = tmp_path / "hello"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    assert become("hello", env={"PATH": f"/nonexistent:{tmp_path}"}).stdout == "found\n"


@pytest.mark.parametrize(
    ("command", "error", "text"),
    [
        ("nonexistent-command", CommandNotFoundError, "command not found"),
        ("/nonexistent/command", CommandNotFoundError, "command not found"),
        ("", CommandNotFoundError, "command not found"),
        ("/etc/passwd", CommandNotExecutableError, "permission denied"),
        ("/tmp", CommandNotExecutableError, "it is a directory"),
    ],
)
def test_what_cannot_be_started_is_told(command, error, text):
    with pytest.raises(error, match=text) as caught:
        replace([command, "x"])
    assert caught.value.hint


def test_one_that_may_not_be_executed_tells_more_than_those_that_are_not_there(tmp_path):
    (tmp_path / "prog").write_text("#!/bin/sh\n")
    with pytest.raises(LaunchError) as caught:
        replace(["prog"], {"PATH": f"{tmp_path}:/nonexistent"})
    assert caught.value.errno == errno.EACCES


def test_after_a_failure_python_ignores_what_it_ignored():
    import signal

    before = signal.getsignal(signal.SIGPIPE)
    with pytest.raises(LaunchError):
        replace(["nonexistent-command"])
    assert signal.getsignal(signal.SIGPIPE) == before
