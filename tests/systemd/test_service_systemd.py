"""`climits service` with systemd itself: the programs run, under their limits, in the unit."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import PATIENCE, gone, until

pytestmark = [pytest.mark.usefixtures("needs_systemd"), pytest.mark.timeout(600)]

root = pytest.mark.skipif(os.geteuid() != 0, reason="services of the host are root's")
NAME = "climits-test"
UNIT = Path(f"/etc/systemd/system/{NAME}.service")
SOCKET = f"/run/climits-{NAME}/control"
CLIMITS = str(Path(sys.executable).parent / "climits")
CONFIG = """
[defaults]
memory = "40M"
restart = "always"
max_oom_restarts = "max"
{defaults}

[program.web]
command = "sleep 1000"

# Grows until the kernel kills it; then it is started again.
[program.hog]
command = "tail /dev/zero"
restart_delay = 1
depends_on = ["web"]
"""


def run(*words, status=0):
    """Run a command: what it printed, on both."""
    done = subprocess.run(
        [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, text=True, timeout=120 * PATIENCE,
    )  # fmt: skip
    assert done.returncode == status, done.stdout
    return done.stdout


def show(name, *more):
    return run("systemctl", *more, "show", "-p", name, "--value", NAME).strip()


def programs(socket=SOCKET):
    answer = json.loads(run(CLIMITS, "ctl", "--socket", socket, "--json", "status"))
    return {program["program"]: program for program in answer}


def memory_cgroup(pid):
    """Path and directory of a process' memory cgroup."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return path, Path("/sys/fs/cgroup/memory" + path)
    path = line.split(":", 2)[2]
    top = Path("/sys/fs/cgroup/unified")
    return path, (top if top.exists() else Path("/sys/fs/cgroup")).joinpath(path[1:])


def limit(directory):
    file = directory / "memory.max"
    return int((file if file.exists() else directory / "memory.limit_in_bytes").read_text())


@pytest.fixture
def config(tmp_path):
    """Write a configuration."""

    def write(defaults="", more=""):
        path = tmp_path / "climits.toml"
        path.write_text(CONFIG.format(defaults=defaults) + more)
        return path

    return write


@pytest.fixture
def remove():
    """Whatever happens, the service does not stay."""
    yield
    if UNIT.exists():
        UNIT.unlink(missing_ok=True)
        subprocess.run(["systemctl", "stop", NAME], check=False)
        subprocess.run(["systemctl", "daemon-reload"], check=False)
        pytest.fail("the unit was left behind")


def check_hardened(figure):
    """The whole unit is understood, and systemd thinks it no more exposed than so much."""
    assert run("systemd-analyze", "verify", UNIT) == ""
    told = run("systemd-analyze", "security", "--no-pager", f"{NAME}.service")
    found = float(re.findall(r"Overall exposure level for \S+: ([0-9.]+)", told)[0])
    assert found <= figure, told


def stop_and_uninstall():
    pids = [p["pid"] for p in programs().values() if p.get("pid")]
    cgroup = show("ControlGroup")
    main = int(show("MainPID"))
    run("systemctl", "stop", NAME)
    assert show("Result") == "success"
    assert all(gone(pid) for pid in [main, *pids])
    assert not os.path.exists(SOCKET)
    left = [p for p in Path("/sys/fs/cgroup").glob(f"**{cgroup}") if p.is_dir()]
    assert left == []
    assert run(CLIMITS, "service", "uninstall", NAME) == f"{UNIT}: removed\n"
    assert show("LoadState") == "not-found"


@root
def test_service_of_unprivileged_programs(config, remove, tmp_path):
    path = config('user = "nobody"')
    told = run(CLIMITS, "service", "install", NAME, "-c", path, "--now", "--enable")
    assert f"{UNIT}: written\n" in told
    assert f"climits ctl --socket {SOCKET} status" in told
    assert run("systemctl", "is-active", NAME) == "active\n"
    assert run("systemctl", "is-enabled", NAME) == "enabled\n"

    until(lambda: programs()["web"]["status"] == "running", "web does not run")
    pid = programs()["web"]["pid"]
    cgroup, directory = memory_cgroup(pid)
    assert cgroup.startswith(show("ControlGroup") + "/")
    assert limit(directory) == 40 << 20
    status = Path(f"/proc/{pid}/status").read_text()
    assert re.search(r"^Uid:\t65534\t65534\t65534", status, re.M)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.M)
    assert re.search(r"^Seccomp:\t2$", status, re.M)
    assert re.search(r"^CapEff:\t0+$", status, re.M)

    until(lambda: programs()["hog"]["restarts"] >= 2, "the hog is not started again")
    assert programs()["hog"]["oom_kills"] >= 2
    assert run("systemctl", "is-active", NAME) == "active\n"
    # From the kernel's log, which the unit lets it read.
    events = json.loads("[" + ",".join(run(
        CLIMITS, "ctl", "--socket", SOCKET, "--json", "events").splitlines()) + "]")  # fmt: skip
    kills = [e for e in events if e["event"] == "oom-killed"]
    assert kills and [k["name"] for k in kills[-1]["killed"]] == ["tail"]

    path.write_text(path.read_text().replace("sleep 1000", "sleep 2000"))
    run("systemctl", "reload", NAME)
    until(lambda: programs()["web"].get("pid", pid) != pid, "it did not read the file again")
    told = run(CLIMITS, "service", "install", NAME, "-c", path)
    assert f"{UNIT}: as it was\n" in told

    check_hardened(3.9)
    stop_and_uninstall()


@root
def test_service_with_a_container_and_a_program_of_roots(config, remove, tmp_path):
    more = (
        '[program.box]\ncommand = "sleep 1000"\ncontainer = { seccomp = "none" }\n'
        f'stdout.path = "/var/log/{NAME}/box.log"\n'
        f'[program.writer]\ncommand = ["sh", "-c", "echo here >{tmp_path}/out; exec sleep 1000"]\n'
        f'cwd = "{tmp_path}"\nrestart = "never"\n'
    )
    path = config(more=more)
    run(CLIMITS, "service", "install", NAME, "-c", path, "--now")
    until(lambda: {programs()[n]["status"] for n in ("box", "web", "writer")} == {"running"})
    pid = programs()["box"]["pid"]
    assert os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
    assert memory_cgroup(pid)[0].startswith(show("ControlGroup") + "/")
    until(lambda: (tmp_path / "out").exists(), "it cannot write where it works")
    check_hardened(6.5)
    stop_and_uninstall()


@root
def test_what_is_not_ours_is_left_alone(config, remove):
    path = config()
    UNIT.write_text("[Service]\nExecStart=/bin/true\n")
    try:
        told = run(CLIMITS, "service", "install", NAME, "-c", path, status=125)
        assert told == (
            f"climits: {UNIT} is there already, and climits did not write it; "
            "hint: choose another name, or remove it first\n"
        )
        told = run(CLIMITS, "service", "uninstall", NAME, status=125)
        assert "climits did not write it" in told
        assert UNIT.read_text().startswith("[Service]")
    finally:
        UNIT.unlink()
    told = run(CLIMITS, "service", "install", "dbus", "-c", path, status=125)
    assert "there is a service of that name: " in told
    told = run(CLIMITS, "service", "uninstall", NAME, status=125)
    assert told.startswith(f"climits: {UNIT}: no such service; hint: ")


@root
def test_a_start_that_fails_is_told(config, remove):
    path = config()
    run(CLIMITS, "service", "install", NAME, "-c", path)
    path.unlink()
    told = run(CLIMITS, "service", "install", NAME, "-c", path, "--now", status=125)
    assert "cannot read the configuration" in told
    run("systemctl", "start", NAME, status=1)
    run(CLIMITS, "service", "uninstall", NAME)
    assert show("LoadState") == "not-found"


@pytest.mark.skipif(os.geteuid() == 0, reason="as root there is no need for it")
def test_root_is_needed_for_the_host(config):
    told = run(CLIMITS, "service", "install", NAME, "-c", config(), status=125)
    assert told.endswith("hint: run it as root, or with --user for a service of your own\n")


@pytest.mark.usefixtures("needs_user", "needs_user_manager")
@pytest.mark.skipif(
    os.environ.get("VM_MODE", "v2") != "v2", reason="a user manager limits memory on v2 only"
)
def test_service_of_a_user(config, tmp_path):
    told = run(CLIMITS, "service", "install", NAME, "-c", config(), "--user", "--now")
    unit = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    unit = unit / f"systemd/user/{NAME}.service"
    assert f"{unit}: written\n" in told and "loginctl enable-linger" in told
    socket = f"/run/user/{os.geteuid()}/climits-{NAME}/control"
    assert f"climits ctl --socket {socket} status" in told
    try:
        until(lambda: programs(socket)["web"]["status"] == "running", "web does not run")
        pid = programs(socket)["web"]["pid"]
        cgroup, directory = memory_cgroup(pid)
        assert cgroup.startswith(show("ControlGroup", "--user") + "/")
        assert limit(directory) == 40 << 20
        until(lambda: programs(socket)["hog"]["restarts"] >= 1, "the hog is not started again")
        run("systemctl", "--user", "reload", NAME)
        assert run("systemd-analyze", "--user", "verify", unit) == ""
    finally:
        told = run(CLIMITS, "service", "uninstall", NAME, "--user")
    assert told == f"{unit}: removed\n"
    assert gone(pid) and not os.path.exists(socket) and not directory.exists()
    assert show("LoadState", "--user") == "not-found"
