"""Whose cgroups are whose, with containers that podman and containerd really make."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from support import PATIENCE, until

from climits.cgroup import files
from climits.cgroup.group import Cgroup
from climits.cgroup.layout import current
from climits.linux import proc
from climits.observe.discover import owner_of
from climits.observe.owners import all_cgroups, find_one, owner_at
from climits.observe.real_usage import explain, real_usage
from climits.observe.sampler import Sampler
from climits.observe.stats import Stats

MIB = 1 << 20
pytestmark = pytest.mark.timeout(120 * PATIENCE)


@pytest.fixture
def group():
    """A cgroup with a limit, removed at the end with all below it."""
    group = Cgroup.create("climits-stats", memory="96M", swap=0)
    yield group
    for part in group.parts:
        files.remove_below(part.directory)
    group.kill()
    group.remove()
    group.close()


@pytest.fixture
def run():
    """run(group, *command) starts a command inside; it is ended by closing its input."""
    started = []

    def start(group, *command):
        child = subprocess.Popen(
            ["sh", "-c", 'read go; exec "$@"', "sh", *map(str, command)], stdin=subprocess.PIPE
        )
        started.append(child)
        group.attach(child.pid)
        child.stdin.write(b"\n")
        child.stdin.flush()
        until(lambda: proc.command_name(child.pid) != "sh")
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        child.stdin.close()


@pytest.fixture
def root_directory(tmp_path, busybox):
    """A root for a container: busybox, and empty places to mount on."""
    root = tmp_path / "root"
    for name in ("bin", "dev", "etc", "proc", "run", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    (root / "bin/sleep").symlink_to("busybox")
    return root


def left_at_the_top(name):
    """What a tool left at the top of the hierarchies and cannot be removed yet."""
    paths = [f"{hierarchy.mount_point}/{name}" for hierarchy in current().hierarchies]
    return [p for p in paths if os.path.isdir(p) and files.remove_below(files.Directory(p))]


@pytest.fixture
def podman(tmp_path, root_directory):
    """(id, short id) of a container that podman runs, however it can be had here."""
    if not shutil.which("podman"):
        pytest.skip("needs podman: apt-get install podman")
    place = Path(tempfile.mkdtemp(prefix="climits-"))  # podman wants a short path
    most = min(1024, os.sysconf("SC_OPEN_MAX"))
    command = [
        "podman", "--root", place / "root", "--runroot", place / "run", "--tmpdir", place / "tmp",
        "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
    ]  # fmt: skip
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}

    def call(runtime, *words):
        return subprocess.run(
            [*command, "--runtime", runtime, *map(str, words)], env=environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * PATIENCE,
        )  # fmt: skip

    reasons, before = [], all_cgroups(current()).keys()
    try:
        for runtime in ("runc", "crun"):  # crun refuses hybrid hosts
            if not shutil.which(runtime):
                continue
            done = call(
                runtime, "run", "--detach", "--network", "none", "--cgroupns", "host",
                "--ulimit", f"nofile={most}:{most}", "--ulimit", "nproc=1000:1000",
                "--rootfs", root_directory, "/bin/sleep", "300",
            )  # fmt: skip
            if done.returncode == 0:
                yield done.stdout.strip(), done.stdout[:12]
                call(runtime, "rm", "--force", "--time", "0", "--all")
                break
            reasons.append((done.stderr.strip() or "no reason given").splitlines()[-1][:200])
            call(runtime, "rm", "--force", "--time", "0", "--all")
        else:
            pytest.skip(f"podman cannot run a container here: {reasons}")
    finally:
        if "/libpod_parent" not in before:
            until(lambda: not left_at_the_top("libpod_parent"))
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def containerd(tmp_path, root_directory):
    """The name of a container that containerd's ctr runs."""
    if not shutil.which("containerd") or not shutil.which("ctr"):
        pytest.skip("needs containerd: apt-get install containerd runc")
    config, socket = tmp_path / "config.toml", tmp_path / "socket"
    config.write_text(
        f'version = 2\nroot = "{tmp_path}/data"\nstate = "{tmp_path}/state"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\n  address = "{socket}"\n'
    )
    before = all_cgroups(current()).keys()
    with open(tmp_path / "log", "wb") as log:
        daemon = subprocess.Popen(["containerd", "--config", config], stdout=log, stderr=log)

    def ctr(*words):
        return subprocess.run(
            ["ctr", "--address", socket, *map(str, words)], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60 * PATIENCE,
        )  # fmt: skip

    try:
        until(lambda: ctr("version").returncode == 0, "containerd does not answer")
        name = "climits-ctr"
        done = ctr("run", "--detach", "--rootfs", root_directory, name, "/bin/sleep", "300")
        if done.returncode:
            pytest.skip(f"containerd cannot run a container here: {done.stderr.strip()[-200:]}")
        yield name
        ctr("tasks", "kill", "--signal", "9", name)
        until(
            lambda: (
                ctr("tasks", "delete", name).returncode == 0
                or name not in ctr("tasks", "ls").stdout
            )
        )
        ctr("containers", "delete", name)
    finally:
        daemon.terminate()
        daemon.wait()
        if "/default" not in before:
            until(lambda: not left_at_the_top("default"))


@pytest.fixture
def docker(tmp_path, root_directory):
    """docker(*words) runs a word of docker's against a daemon of its own; its output."""
    if not shutil.which("dockerd"):
        pytest.skip("needs docker: apt-get install docker.io")
    place = Path(tempfile.mkdtemp(prefix="climits-"))  # the path of a socket must be short
    before = all_cgroups(current()).keys()
    socket = f"unix://{place}/socket"
    with open(tmp_path / "log", "wb") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--data-root", place / "data", "--exec-root", place / "exec",
             "--host", socket, "--pidfile", place / "pid", "--bridge", "none",
             "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs",
             "--exec-opt", "native.cgroupdriver=cgroupfs"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip

    def call(*words, **more):
        done = subprocess.run(
            ["docker", "--host", socket, *words], capture_output=True, timeout=60 * PATIENCE, **more
        )
        if done.returncode:
            pytest.skip(f"docker cannot {words[0]} here: {done.stderr.decode().strip()[-200:]}")
        return done.stdout.decode().strip()

    try:
        until(lambda: os.path.exists(place / "socket") or daemon.poll() is not None)
        if daemon.poll() is not None:
            reason = (tmp_path / "log").read_text().strip().splitlines()[-1][-200:]
            pytest.skip(f"dockerd cannot start here: {reason}")
        packed = subprocess.run(
            ["tar", "-C", root_directory, "-c", "."], capture_output=True, check=True
        )
        call("import", "-", "climits-box", input=packed.stdout)
        yield call
        for number in call("ps", "--quiet").split():
            call("rm", "--force", number)
    finally:
        daemon.terminate()
        daemon.wait()
        for name in ("docker", "climits-batch"):
            if f"/{name}" not in before:
                until(lambda name=name: not left_at_the_top(name))
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def lxc(tmp_path, root_directory):
    """The name of a container that LXC runs."""
    if not shutil.which("lxc-start"):
        pytest.skip("needs LXC: apt-get install lxc")
    config = tmp_path / "config"
    config.write_text(
        f"lxc.rootfs.path = dir:{root_directory}\nlxc.net.0.type = none\nlxc.autodev = 0\n"
        "lxc.apparmor.profile = unconfined\nlxc.console.path = none\nlxc.pty.max = 0\n"
    )
    name = "climits-lxc"
    with open(tmp_path / "log", "w+") as log:
        starter = subprocess.Popen(
            ["lxc-start", "--foreground", "--lxcpath", tmp_path, "--name", name, "--rcfile", config,
             "--", "/bin/sleep", "300"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        pids = []
        try:
            payload = f"/lxc.payload.{name}"

            def runs():
                pids[:] = [
                    pid
                    for directory in all_cgroups(current()).get(payload, ())
                    for pid in files.Directory(directory).pids()
                    if proc.command_name(pid) == "sleep"
                ]
                return pids or starter.poll() is not None

            until(runs)
            if starter.poll() is not None:
                log.seek(0)
                pytest.skip(f"LXC cannot run a container here: {log.read().strip()[-200:]}")
            yield name
        finally:
            for pid in set(pids):
                os.kill(pid, 9)
            starter.wait()
            for each in ("lxc.payload", "lxc.monitor"):
                until(lambda each=each: not left_at_the_top(f"{each}.{name}"))
            left_at_the_top("lxc.pivot")  # into which it moves to remove the others


# ---- containers ----------------------------------------------------------------------------


def test_containers_of_dockers_are_found_as_docker_ps_shows_them(docker):
    words = ("run", "--detach", "--network", "none", "--memory", "40m", "--ulimit", "nofile=64:64")
    docker(*words, "climits-box", "/bin/sleep", "300")
    docker(*words, "--cgroup-parent", "/climits-batch", "climits-box", "/bin/sleep", "300")
    shown = docker("ps", "--quiet").split()
    assert len(shown) == 2
    found = [find_one(short, all_cgroups(current())) for short in shown]
    assert [(each.owner.runtime, each.owner.name) for each in found] == [
        ("docker", short) for short in shown
    ]
    parents = [each.paths[0].rpartition("/")[0] for each in found]
    assert parents == ["/climits-batch", "/docker"]
    with Stats(current(), [each.paths[0] for each in found]) as stats:
        rows = stats.look()
    limits = [row.sample.max for row in rows]
    # Where memory alone is on v2, docker looks for it on v1 and limits nothing.
    assert limits == [None if current().mode == "mixed" else 40 * MIB] * 2
    assert {row.sample.pids for row in rows} == {1}


def test_a_container_of_podmans_is_found_by_its_short_id(podman):
    number, short = podman
    found = find_one(short, all_cgroups(current()))
    assert (found.owner.runtime, found.owner.id, found.owner.name) == ("podman", number, short)
    pids = {pid for part in all_directories(found.paths[0]) for pid in files.Directory(part).pids()}
    assert [proc.command_name(pid) for pid in pids] == ["sleep"]


def test_podmans_container_is_in_the_table(podman):
    with Stats(current()) as stats:
        rows = {row.owner.name: row for row in stats.look()}
    assert rows[podman[1]].owner.runtime == "podman"
    assert rows[podman[1]].sample.pids == 1


def test_a_container_of_containerds_is_found_by_its_name(containerd):
    found = find_one(containerd, all_cgroups(current()))
    assert (found.owner.runtime, found.owner.id) == ("containerd", containerd)
    assert found.paths == [f"/default/{containerd}"]


def test_a_container_of_lxcs_is_found_by_its_name(lxc):
    found = find_one(lxc, all_cgroups(current()))
    assert (found.owner.runtime, found.owner.container) == ("lxc", lxc)
    assert found.paths == [f"/lxc.payload.{lxc}", f"/lxc.monitor.{lxc}"]


def all_directories(path):
    return all_cgroups(current())[path]


# ---- which are shown -----------------------------------------------------------------------


def test_those_with_processes_are_shown_and_their_parts_are_not(group, run):
    inner = Cgroup.create("inner", parent=group.path)
    empty = Cgroup.create("climits-empty", parent=group.path)
    try:
        run(inner, "sleep", "60")
        with Stats(current()) as stats:
            paths = [row.path for row in stats.look()]
        assert group.path in paths  # the process is in a part of it
        assert inner.path not in paths and empty.path not in paths
        with Stats(current(), everything=True) as stats:
            paths = [row.path for row in stats.look()]
        assert {group.path, inner.path, empty.path} <= set(paths)
    finally:
        for each in (inner, empty):
            each.kill()
            each.remove()
            each.close()


def test_one_that_comes_while_we_watch_is_shown_and_one_that_goes_is_not(group, run):
    with Stats(current()) as stats:
        assert group.path not in [row.path for row in stats.look()]
        child = run(group, "sleep", "60")
        assert group.path in [row.path for row in stats.look()]
        child.kill()
        child.wait()
        until(lambda: group.path not in [row.path for row in stats.look()])


def test_rates_need_two_looks(group, run, hog):
    run(group, hog, "burn", "60000")
    with Stats(current(), [group.path]) as stats:
        (first,) = stats.look()
        assert first.cpu_percent is None and "cpu_percent" not in first.as_dict()
        (second,) = stats.look()
        if second.sample.cpu is not None:
            until(lambda: stats.look()[0].cpu_percent > 0)
        assert 0 < second.memory_percent < 100


def test_those_that_vanish_are_left_out(group):
    gone = Cgroup.create("climits-gone", parent=group.path)
    with Stats(current(), [group.path, gone.path]) as stats:
        assert len(stats.look()) == 2
        gone.remove()
        gone.close()
        assert [row.path for row in stats.look()] == [group.path]


def test_what_the_path_does_not_tell_the_mark_does():
    group = Cgroup.create("climits-marked", parent="/")
    try:
        assert owner_of(group.path).runtime == ""
        directories = [part.directory.path for part in group.parts]
        assert owner_at(group.path, ["/nonexistent", *directories]).runtime == "climits"
        assert owner_at(group.path, []).runtime == ""
    finally:
        group.remove()
        group.close()


# ---- real usage ----------------------------------------------------------------------------


def test_the_usage_is_taken_apart_and_adds_up(group, run, hog, tmp_path):
    run(group, hog, "alloc", "20", "shm", "4", "file", tmp_path / "cache", "8", "hold", "60000")
    with Sampler() as sampler:
        sampler.add(group.path)
        until(lambda: (sampler.sample()[group.path].current or 0) >= 31 * MIB)
        sample = sampler.sample()[group.path]
    usage = real_usage(current(), sample)
    assert usage.current == sample.current
    parts = (usage.anon, usage.file, usage.shmem, usage.kernel, usage.rest)
    assert sum(part or 0 for part in parts) == usage.current
    assert usage.real == usage.anon + usage.file + usage.shmem + (usage.swap or 0)
    assert usage.anon >= 19 * MIB and usage.shmem >= 3 * MIB
    assert usage.shmem + usage.file >= 10 * MIB  # where the folder is a tmpfs, its files are shmem
    assert usage.processes == 1
    assert usage.resident >= 23 * MIB  # heap and shared memory, no page cache
    assert usage.max == 96 * MIB and usage.limited_by is None
    text = "\n".join(explain(usage, "it"))
    for word in ("96M  limit", "anon", "page cache", "RES of 1 process =", usage.words["real"]):
        assert word in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_limit_above_is_told(group):
    inner = Cgroup.create("inner", parent=group.path)
    try:
        with Sampler() as sampler:
            sampler.add(inner.path)
            usage = real_usage(current(), sampler.sample()[inner.path])
    finally:
        inner.remove()
        inner.close()
    assert (usage.limited_by, usage.limit_above) == (group.path, 96 * MIB)
    assert f"{group.path} has 96M for all in it" in "\n".join(explain(usage, "it"))
