"""climits supervise on a real kernel: programs in containers."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from supervised import Supervised
from support import until

from climits.errors import UnsupportedError
from climits.program.container import Container

MIB = 1 << 20


@pytest.fixture
def supervise(climits, tmp_path):
    try:
        Container().check()
    except UnsupportedError as e:
        pytest.skip(str(e))

    def start(text):
        path = tmp_path / "climits.toml"
        path.write_text(text)
        return Supervised(climits, tmp_path, "-c", str(path))

    return start


def names_of_1(pid):
    """Process 1 of the container: what it was called as, and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = [Path(f"/proc/{number}/cmdline").read_bytes() for number in (pid, *children)]
    return [os.fsdecode(os.path.basename(line.split(b"\0")[0])) for line in lines]


def namespaces(pid):
    return {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in os.listdir("/proc/self/ns")}


def mounts():
    return Path("/proc/self/mountinfo").read_text()


def test_it_is_oom_killed_at_its_limit_and_restarted_in_a_new_container(supervise, hog):
    before = mounts()
    text = f"""
        [program.web]
        command = ["{hog}", "alloc", "60"]
        memory = "30M"
        max_oom_restarts = "2/10m"
        [program.web.container]
        hostname = "{{name}}"
    """
    with supervise(text) as s:
        s.wait_for("gave-up")
        kinds = [e["event"] for e in s.events(program="web")]
        s.end()
    assert kinds == ["started", "oom-killed", "restarting"] * 2 + [
        "started", "oom-killed", "gave-up",
    ]  # fmt: skip
    for killed in s.events("oom-killed"):
        assert killed["memory_max"] == 30 * MIB
        assert (killed["oom_kill"], killed["signal"], killed["returncode"]) == (1, 9, -9)
    assert mounts() == before


def test_it_runs_under_a_process_1_in_namespaces_of_its_own(supervise, hog):
    text = f"""
        [program.web]
        command = ["{hog}", "hold", "60000"]
        memory = "30M"
        container.hostname = "inside"
        [program.alone]
        command = ["{hog}", "hold", "60000"]
        container = {{init = false, share = ["ipc"], network = "host"}}
        [program.bare]
        command = ["{hog}", "hold", "60000"]
        depends_on = ["web", "alone"]
    """
    ours = namespaces("self")
    with supervise(text) as s:
        s.wait_for("started", program="bare")
        pid = {e["program"]: e["pid"] for e in s.events("started")}
        assert names_of_1(pid["web"]) == ["climits-init", "hog"]
        assert names_of_1(pid["alone"]) == ["hog"]
        for number in (pid["web"], pid["alone"]):
            status = Path(f"/proc/{number}/status").read_text()
            assert status.partition("NSpid:")[2].split("\n")[0].split()[-1] == "1"
        web, alone = namespaces(pid["web"]), namespaces(pid["alone"])
        shared = {name for name, link in web.items() if link == ours[name]}
        assert shared <= {"time", "time_for_children"}
        shared = {name for name, link in alone.items() if link == ours[name]}
        assert shared - {"time", "time_for_children"} == {"ipc", "net"}
        assert namespaces(pid["bare"]) == ours
        # SIGTERM reaches the program through process 1; who is process 1 does not mind it.
        s.ctl("stop", "web")
        stopped = s.wait_for("stopped", program="web")
        assert stopped["signal"] == signal.SIGTERM
        assert s.ctl("restart", "bare").returncode == 0
        os.kill(pid["alone"], signal.SIGKILL)


def test_a_rootfs_with_an_overlay_for_each(supervise, tmp_path):
    busybox = Path("/bin/busybox")
    if (
        not busybox.exists()
        or subprocess.run(["ldd", busybox], capture_output=True).returncode == 0
    ):
        pytest.skip("there is no static /bin/busybox")
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/busybox").write_bytes(busybox.read_bytes())
    (root / "bin/busybox").chmod(0o755)
    layers = []
    for name in ("a", "b"):
        # Its own file system: an overlay's upper layer cannot be on another overlay.
        layer = Path("/dev/shm") / f"climits-{os.getpid()}-{name}"
        layer.mkdir()
        layers.append(layer)
    script = "/bin/busybox hostname > /seen; /bin/busybox ls / > /seen.all"
    text = f"""
        [defaults.container]
        rootfs = "root"
        hostname = "{{name}}"
        overlay_dir = "/dev/shm/climits-{os.getpid()}-{{name}}"
        [program.a]
        command = ["/bin/busybox", "sh", "-c", "{script}"]
        [program.b]
        command = ["/bin/busybox", "sh", "-c", "{script}"]
    """
    try:
        with supervise(text) as s:
            until(lambda: len(s.events("exited")) == 2 or s.process.poll() is not None)
        assert [e["returncode"] for e in s.events("exited")] == [0, 0], s.log.read_text()
        for name, layer in zip("ab", layers, strict=True):
            assert (layer / "upper/seen").read_text() == f"{name}\n"
            inside = (layer / "upper/seen.all").read_text().split()
            assert set(inside) <= {"bin", "dev", "proc", "sys", "seen", "seen.all"}
        assert sorted(path.name for path in root.iterdir()) == ["bin"]
    finally:
        import shutil

        for layer in layers:
            shutil.rmtree(layer)


def test_a_container_that_can_no_longer_be_made_is_told_and_leaves_nothing(
    supervise, hog, tmp_path
):
    source = tmp_path / "data"
    source.mkdir()
    text = f"""
        [program.web]
        command = ["{hog}", "hold", "60000"]
        memory = "30M"
        container.binds = ["data:/mnt"]
        [program.other]
        command = ["{hog}", "hold", "60000"]
    """
    with supervise(text) as s:
        s.wait_for("started", program="web")
        s.ctl("stop", "web")
        s.wait_for("stopped", program="web")
        source.rmdir()
        s.ctl("start", "web", check=False)
        failed = s.wait_for("failed-to-start", program="web")
        assert f"bind {source} to /mnt" in failed["error"]


def test_a_changed_container_is_a_changed_program(supervise, hog, tmp_path):
    text = f"""
        [program.web]
        command = ["{hog}", "hold", "60000"]
        container.hostname = "one"
        [program.same]
        command = ["{hog}", "hold", "60000"]
        container.hostname = "same"
    """
    with supervise(text) as s:
        s.wait_for("started", 2)
        (tmp_path / "climits.toml").write_text(text.replace('"one"', '"two"'))
        s.ctl("reload")
        s.wait_for("started", 2, program="web")
        assert len(s.events("started", program="same")) == 1
