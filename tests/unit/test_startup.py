"""Start-up is part of the product: what `climits run` may load."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import climits

SCRIPT = Path(sysconfig.get_path("scripts"), "climits")

#: Beyond what an interpreter that does nothing loads.  Shared objects and built-in modules only.
ALLOWED = {"_signal", "_thread", "atexit", "errno", "gc", "select", "time"}

#: Each would cost more than a millisecond, most of them by way of another on this list.
DEAR = {
    "re", "enum", "typing", "dataclasses", "json", "argparse", "subprocess", "contextlib",
    "asyncio", "logging", "threading", "signal", "collections", "functools", "pathlib", "ctypes",
    "__future__", "importlib", "inspect", "shutil", "tempfile", "warnings", "types", "operator",
    "pwd", "socket",
}  # fmt: skip


#: The script's work without the script: Python tells of what else comes from one file.
MAIN = ("-c", "from climits.cli.main import main; main()")


def loaded(*argv):
    """The returncode and the modules that a Python command line imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *argv], capture_output=True, text=True, cwd="/"
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    names = {line.rpartition("|")[2].strip() for line in lines} - {"imported package"}
    rest = "\n".join(line for line in done.stderr.splitlines() if line not in lines)
    return done.returncode, names, rest


@pytest.fixture(scope="module")
def script():
    assert SCRIPT.exists(), f"{SCRIPT}: install the package first"
    return str(SCRIPT)


@pytest.fixture(scope="module")
def nothing():
    return loaded("-c", "pass")[1]


@pytest.fixture(scope="module")
def one_run(nothing):
    if os.geteuid() != 0:
        pytest.skip("an ordinary user may have no right to make a cgroup")
    name = f"climits-startup-{os.getpid()}"
    try:
        climits.Cgroup.create(name, memory="1M").remove()
    except climits.ClimitsError as e:
        pytest.skip(f"no cgroup can be made here: {e}")
    words = ("run", "--quiet", "--memory", "60M", "--", "/bin/true")
    returncode, names, rest = loaded(*MAIN, *words)
    assert (returncode, rest) == (0, "")
    assert "climits.program.process" in names
    return names - nothing


def test_a_run_loads_nothing_dear(one_run):
    assert {name.split(".")[0] for name in one_run} & DEAR == set()


def test_a_run_loads_what_is_allowed_and_no_more(one_run):
    rest = {name for name in one_run if name.split(".")[0] != "climits"}
    assert rest <= ALLOWED


def test_a_run_leaves_out_the_modules_of_other_commands(one_run):
    unused = {
        "climits.cli.run_explain", "climits.cli.gc", "climits.cli.help", "climits.cli.version",
        "climits.linux.kmsg", "climits.program.checks", "climits.program.pipes",
        "climits.program.run",
    }  # fmt: skip
    assert one_run & unused == set()


def test_only_one_version_of_the_memory_controller_is_loaded(one_run):
    assert len(one_run & {"climits.cgroup.memory.v1", "climits.cgroup.memory.v2"}) == 1


def test_import_climits_loads_itself_alone(nothing):
    returncode, names, _ = loaded("-c", "import climits; climits.__version__")
    assert returncode == 0
    assert names - nothing == {"climits"}


def test_an_error_class_costs_no_more_than_its_module(nothing):
    _, names, _ = loaded("-c", "import climits.errors")
    assert names - nothing == {"climits", "climits.errors"}


def test_subprocess_is_loaded_when_its_exceptions_are_named(nothing):
    _, names, _ = loaded("-c", "import climits; climits.TimeoutExpired")
    assert "subprocess" in names
    _, names, _ = loaded("-c", "import climits; climits.OutOfMemoryError")
    assert "subprocess" not in names


def test_the_package_can_be_run_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "climits", "version"], capture_output=True, cwd="/"
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"climits {climits.__version__}\n"


@pytest.mark.parametrize("argv", [["version"], ["--help"], ["run", "--memory"]])
def test_a_command_that_runs_nothing_loads_no_cgroup_code(nothing, argv):
    _, names, _ = loaded(*MAIN, *argv)
    assert "climits.cli.main" in names
    assert "climits.cgroup.memory.v1" not in names and "climits.cgroup.memory.v2" not in names
    assert not {name.split(".")[0] for name in names - nothing} & {"re", "argparse", "subprocess"}


def test_the_script_itself_loads_nothing_dear(nothing, script):
    returncode, names, rest = loaded(script, "run", "--memory")
    assert (returncode, rest.count("\n")) == (125, 0) and "climits.cli.bundle" in names
    assert not {name.split(".")[0] for name in names - nothing} & DEAR
