"""What all tests share: test programs, the host's layout, and a watch over what is left behind."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from support import HERE, IN_VM, PROGRAMS, our_cgroups, until

from climits.cgroup.layout import current
from climits.cli.main import dispatch

#: An ordinary user's manager makes them scopes with a memory limit, on cgroup v2.
MAY_MAKE_CGROUPS = os.geteuid() == 0 or (
    os.path.exists(f"/run/user/{os.geteuid()}/systemd/private")
    and os.path.exists("/sys/fs/cgroup/cgroup.controllers")
)


#: Tests that may need a second try in one run (--reruns 1), where a shared machine was too slow for
#: a wait; more of them are a fault. Each is told, with why the first try failed.
MOST_RERUNS = 3


def pytest_configure(config):
    config.addinivalue_line("markers", "kernel: needs cgroups of a real kernel")
    config.addinivalue_line("markers", "root(reason): of no use to an ordinary user")
    config.addinivalue_line("markers", "vm_only: could harm the machine: runs in the VM only")
    config.addinivalue_line("markers", "vm: boots the test VM")
    config.kernel_tests_passed = 0
    # No test may write into the history of whoever runs the tests.
    config.state_directory = tempfile.mkdtemp(prefix="climits-tests-state-")
    os.environ["CLIMITS_STATE_DIR"] = config.state_directory
    for name in ("CLIMITS_HISTORY_AGE", "CLIMITS_HISTORY_SIZE"):
        os.environ.pop(name, None)


def pytest_unconfigure(config):
    shutil.rmtree(config.state_directory, ignore_errors=True)


def pytest_collection_modifyitems(items):
    for item in items:
        room = Path(item.fspath).relative_to(HERE).parts[0]
        if room in ("kernel", "cli", "faults"):
            item.add_marker(pytest.mark.kernel)


def pytest_runtest_setup(item):
    if item.get_closest_marker("vm_only") and not IN_VM:
        pytest.skip("could harm the machine: runs in the VM only (make test-vm)")
    if os.geteuid() != 0:
        if item.get_closest_marker("kernel") and not MAY_MAKE_CGROUPS:
            pytest.skip("needs root, or a systemd user manager on v2, to make cgroups")
        if marker := item.get_closest_marker("root"):
            pytest.skip(f"needs root: {marker.args[0]}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.passed and item.get_closest_marker("kernel"):
        item.config.kernel_tests_passed += 1


def pytest_sessionfinish(session, exitstatus):
    if session.config.option.collectonly:
        return
    reruns = _reruns(session.config)
    if len(reruns) > MOST_RERUNS and exitstatus == 0:
        session.exitstatus = 1
    wanted = any(item.get_closest_marker("kernel") for item in session.items)
    if wanted and not session.config.kernel_tests_passed and exitstatus == 0:
        sys.stderr.write("\nno test ran on a real kernel: this run proves nothing\n")
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter, config):
    reruns = _reruns(config)
    for report in reruns:
        cause = getattr(getattr(report.longrepr, "reprcrash", None), "message", "")
        terminalreporter.write_line(
            f"RERUN {report.nodeid}: {' | '.join(cause.split(chr(10)))[:1500]}"
        )
    if len(reruns) > MOST_RERUNS:
        terminalreporter.write_line(
            f"{len(reruns)} tests needed a second try, more than {MOST_RERUNS}: the run fails"
        )


def _reruns(config):
    """The first tries that failed and were tried again."""
    return config.pluginmanager.get_plugin("terminalreporter").stats.get("rerun", [])


@pytest.fixture(scope="session")
def hog():
    """Path of the test program."""
    source, binary = HERE / "programs" / "hog.c", PROGRAMS / "hog"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        PROGRAMS.mkdir(exist_ok=True)
        new = PROGRAMS / f"hog.{os.getpid()}"
        subprocess.run(["gcc", "-O1", "-o", new, source], check=True)
        new.rename(binary)
    return str(binary)


@pytest.fixture(scope="session")
def climits():
    """Path of the command that belongs to this interpreter."""
    path = Path(sys.executable).parent / "climits"
    assert path.exists(), f"{path}: install the package first"
    return str(path)


@pytest.fixture(scope="session")
def command(climits):
    """The same, for those who need the module's name."""
    return climits


@pytest.fixture
def ctl(capfd):
    """Run a command in this process: (exit status, standard output)."""

    def run(*words):
        status = dispatch([str(word) for word in words])
        sys.stdout.flush()
        return status, capfd.readouterr().out.rstrip("\n")

    return run


@pytest.fixture(scope="session")
def layout():
    return current()


@pytest.fixture(scope="session")
def memory_v1(layout):
    """Whether the memory controller is on v1 here."""
    return layout.holding("memory").version_name == "v1"


@pytest.fixture
def on_v1(memory_v1):
    if not memory_v1:
        pytest.skip("needs the memory controller on v1; here it is on v2")


@pytest.fixture
def on_v2(memory_v1):
    if memory_v1:
        pytest.skip("needs the memory controller on v2; here it is on v1")


@pytest.fixture
def controller(layout):
    """controller(NAME) skips where no hierarchy holds it."""

    def need(name):
        if layout.find(name) is None:
            pytest.skip(f"the {name} controller is not mounted here")

    return need


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    """Each test on a real kernel leaves no cgroup and no process behind."""
    if not request.node.get_closest_marker("kernel"):
        yield
        return
    before = set(our_cgroups())
    yield
    left = sorted(set(our_cgroups()) - before, reverse=True)
    if left:  # somebody else's, who works beside us, are gone in a moment
        time.sleep(0.2)
        left = sorted((set(our_cgroups()) - before) & set(left), reverse=True)
    for path in left:
        for pid in Path(path, "cgroup.procs").read_text().split():
            os.kill(int(pid), 9)
    for path in left:  # or the tests that follow would fail for it
        until(lambda path=path: _is_removed(path), f"cannot be removed: {path}")
    assert left == [], f"cgroups left behind: {left}"
    with pytest.raises(ChildProcessError):  # no child, not even a zombie
        os.waitpid(-1, os.WNOHANG)


def _is_removed(path):
    try:
        os.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError:  # its processes are ending
        return False
    return True


@pytest.fixture
def stress():
    path = shutil.which("stress")
    if path is None:
        pytest.skip("stress is not installed")
    return path
