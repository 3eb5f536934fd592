"""What is computed in a process of its own."""

import os
import subprocess
import sys

import pytest

from climits.launch.apart import compute_apart
from climits.supervise.config import ConfigError, load

GOOD = '[program.web]\ncommand = ["sleep", "9"]\nmemory = "60M"\nenv = {A = "1"}\n'


def no_child_is_left():
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    return True


def test_its_result_comes_back_whole():
    data = bytes(range(256)) * 4096  # more than a pipe holds
    assert compute_apart(bytes.swapcase, data) == data.swapcase()
    assert compute_apart(lambda data: data, b"") == b""
    assert no_child_is_left()


def test_it_runs_in_another_process():
    assert compute_apart(lambda _: b"%d" % os.getpid(), b"") != b"%d" % os.getpid()


@pytest.mark.parametrize("failing", [
    lambda data: data[1:].index(b"x"),
    lambda _: "not bytes",
    lambda _: sys.exit(0),
    lambda _: os._exit(3),
    lambda _: os.kill(os.getpid(), 9),
])  # fmt: skip
def test_a_failure_is_none_and_silent(failing, capfd):
    before = os.listdir("/proc/self/fd")
    assert compute_apart(failing, b"data") is None
    assert os.listdir("/proc/self/fd") == before
    assert capfd.readouterr() == ("", "")
    assert no_child_is_left()


def test_no_process_can_be_made(monkeypatch):
    def fork():
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", fork)
    before = os.listdir("/proc/self/fd")
    assert compute_apart(bytes.upper, b"a") is None
    assert os.listdir("/proc/self/fd") == before


# ---- a configuration -----------------------------------------------------------------------


def test_a_configuration_is_the_same(tmp_path):
    path = tmp_path / "climits.toml"
    path.write_text(GOOD)
    assert load(str(path), apart=True) == load(str(path))


@pytest.mark.parametrize("text", [
    "[program.web",
    f"{GOOD}cpus = 2026-01-01\n",  # marshal has no dates
    f"{GOOD}memery = 5\n",
])  # fmt: skip
def test_the_problems_of_a_configuration_are_the_same(tmp_path, text):
    path = tmp_path / "climits.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as here:
        load(str(path))
    with pytest.raises(ConfigError) as apart:
        load(str(path), apart=True)
    assert apart.value.problems == here.value.problems != []


def test_the_parser_does_not_stay(tmp_path):
    path = tmp_path / "climits.toml"
    path.write_text(GOOD)
    code = (
        "import sys; from climits.supervise.config import load; load(sys.argv[1], apart=True); "
        "print({'tomllib', 're', 'typing', 'datetime'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, path], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")
