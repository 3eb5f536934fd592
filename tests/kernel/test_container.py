"""Programs in containers, on whatever layout this is."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import HERE, IN_VM, PATIENCE, gone, our_cgroups, until

import climits
from climits.cgroup.layout import current
from climits.cli.main import dispatch
from climits.program import process
from climits.program.rootfs import MASKED, READ_ONLY

MIB = 1 << 20

pytestmark = pytest.mark.usefixtures("busybox", "the_host_is_as_before")


# ---- what the tutorials show ---------------------------------------------------------------


def test_a_shell_is_process_1_and_sees_only_its_own(inside):
    result = inside("sh", "-c", "echo $$; ls -d /proc/[0-9]* | wc -l")
    pid, processes = result.stdout.split()
    assert pid == "1"
    assert int(processes) <= 4  # the shell, ls, wc, and perhaps a subshell


def test_its_host_name_is_its_own(inside):
    result = inside("sh", "-c", "hostname climits-inside && hostname", init=False)
    assert result.stdout == "climits-inside\n", result.stderr
    assert os.uname().nodename != "climits-inside"
    assert inside("hostname", hostname="box").stdout == "box\n"


def test_every_namespace_is_new(inside):
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    result = inside("sh", "-c", f"for n in {' '.join(kinds)}; do readlink /proc/$$/ns/$n; done")
    ours = [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]
    theirs = result.stdout.split()
    assert len(theirs) == 7 and not set(ours) & set(theirs)


@pytest.mark.parametrize("name", ["ipc", "net", "pid", "uts", "cgroup", "user"])
def test_a_namespace_can_be_shared(inside, name):
    result = inside("sh", "-c", f"readlink /proc/self/ns/{name}", share=[name])
    assert result.stdout.strip() == os.readlink(f"/proc/self/ns/{name}"), result.stderr


def test_what_fits_runs_and_what_does_not_is_killed(inside, hog):
    assert inside(hog, "alloc", "30").verdict == "exited"
    result = inside(hog, "alloc", "80")
    assert (result.verdict, result.signal) == ("oom-killed", 9)
    assert result.oom_kill == 1
    result = inside("sh", "-c", f"{hog} alloc 80; echo $?")
    assert result.stdout == "137\n"
    assert result.oom_kill == 1


def test_the_loopback_device_is_up_and_alone(inside):
    code = (
        "import socket; s = socket.create_server(('127.0.0.1', 0));"
        "c = socket.create_connection(s.getsockname()); print(len(socket.if_nameindex()))"
    )
    assert inside(sys.executable, "-c", code, memory="100M").stdout == "1\n"
    shared = inside(sys.executable, "-c", code, memory="100M", network="host").stdout
    assert shared == f"{len(os.listdir('/sys/class/net'))}\n" or IN_VM


# ---- process 1 -----------------------------------------------------------------------------


def test_process_1_reaps_orphans_and_tells_how_the_program_ended(inside, hog):
    code = "(sleep 0.1; :) & exec sh -c 'sleep 0.5; ls -d /proc/[0-9]* | wc -l; exit 7'"
    result = inside("sh", "-c", code, init=True)
    assert result.returncode == 7
    assert int(result.stdout) <= 5
    result = inside(hog, "raise", "11")
    assert (result.verdict, result.signal, result.exit_status) == ("signaled", 11, 139)
    assert inside(hog, "exit", "3").returncode == 3


def test_process_1_passes_signals_on(hog):
    container = climits.Container()
    with climits.Process([hog, "hold", "60000"], memory="50M", container=container) as p:
        p.send_signal(signal.SIGTERM)
        p.wait()
    assert (p.result.verdict, p.result.signal) == ("signaled", 15)


def test_the_death_of_process_1_takes_all_with_it(inside, hog):
    result = inside("sh", "-c", f"{hog} hold 60000 & exit 0")
    assert result.verdict == "exited"
    assert our_cgroups() == []


@pytest.mark.parametrize("init", [True, False])
def test_a_command_that_is_not_there(inside, init, rootfs):
    with pytest.raises(climits.CommandNotFoundError, match="no-such: command not found"):
        inside("no-such", init=init)
    with pytest.raises(climits.CommandNotFoundError) as caught:
        inside("/bin/bash", init=init, rootfs=rootfs)
    assert str(rootfs) in caught.value.hint
    assert our_cgroups() == []


# ---- a root of its own ---------------------------------------------------------------------


def test_a_rootfs_is_the_root_and_the_old_one_is_gone(inside, rootfs):
    result = inside("sh", "-c", "ls /; cat /proc/self/mountinfo", rootfs=rootfs)
    assert result.returncode == 0, result.stderr
    first = result.stdout.split("\n")[:5]
    assert first == ["bin", "dev", "etc", "proc", "sys"]
    points = {line.split()[4] for line in result.stdout.split("\n") if " - " in line}
    assert {"/", "/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/sys/fs/cgroup"} <= points
    assert not any(point.startswith(("/tmp", "/home", "/mnt", "/work")) for point in points)


def test_dev_is_small_and_works(inside, rootfs):
    code = (
        "ls /dev; echo x > /dev/null; dd if=/dev/zero bs=1 count=1 2>/dev/null | wc -c;"
        " ls -la /dev/pts/ptmx | cut -c1; echo a > /dev/shm/a; cat /dev/shm/a"
    )
    for name in ("wc", "cut"):
        (rootfs / "bin" / name).symlink_to("busybox")
    result = inside("sh", "-c", code, rootfs=rootfs)
    assert result.stdout.split() == [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
        "tty", "urandom", "zero", "1", "c", "a",
    ], result.stderr  # fmt: skip


def test_a_device_of_the_hosts_can_be_used(command, rootfs, zeros):
    path, before = zeros
    words = [command, "container", "--quiet", "--memory", "50M", "--rootfs", str(rootfs)]
    code = f"ls {path}; dd if={path} bs=4 count=1 2>/dev/null | od -An -tx1"
    (rootfs / "bin/od").symlink_to("busybox")
    code = ["--", "sh", "-c", code]
    done = subprocess.run([*before, *words, *code], capture_output=True, text=True)
    assert done.stdout == "" and path in done.stderr  # what is not asked for is not there
    words += ["--device", path, "--device", "/dev/zero", "--device", "/dev/ptmx"]
    done = subprocess.run([*before, *words, *code], capture_output=True, text=True)
    assert done.stdout.split() == [path, "00", "00", "00", "00"], done.stderr


def test_its_view_of_the_cgroups_begins_at_its_own(inside, rootfs):
    result = inside("cat", "/proc/self/cgroup", rootfs=rootfs)
    paths = {line.split(":", 2)[2] for line in result.stdout.splitlines()}
    assert paths == {"/"}
    label = current().holding("memory").label
    where = "" if current().mode == "unified" else f"/{label}"
    result = inside("ls", f"/sys/fs/cgroup{where}", rootfs=rootfs)
    assert "cgroup.procs" in result.stdout.split(), result.stderr


def test_an_overlay_keeps_the_rootfs_as_it_is(inside, rootfs, tmp_path):
    before = sorted(str(p) for p in rootfs.rglob("*"))
    code = "echo a > /new; echo b >> /etc/passwd; ls /"
    result = inside("sh", "-c", code, rootfs=rootfs, overlay=True)
    assert "new" in result.stdout.split(), result.stderr
    assert sorted(str(p) for p in rootfs.rglob("*")) == before
    layer = tmp_path / "layer"
    layer.mkdir()
    if IN_VM:
        return  # its file system is an overlay already, which cannot be the upper layer of one
    result = inside("sh", "-c", code, rootfs=rootfs, overlay_dir=layer)
    assert result.returncode == 0, result.stderr
    assert (layer / "upper/new").read_text() == "a\n"
    assert sorted(str(p) for p in rootfs.rglob("*")) == before


@pytest.mark.parametrize("name", ["a,b", "a:b", "a\\b", "a b=c,ro", "lower\nupper"])
def test_any_name_does_for_a_root_and_a_layer(inside, rootfs, tmp_path, name):
    place = tmp_path / name
    place.mkdir()
    rootfs = rootfs.rename(place / name)
    result = inside("sh", "-c", "echo a > /new; ls /", rootfs=rootfs, overlay=True)
    assert "new" in result.stdout.split(), result.stderr
    if IN_VM:
        return  # as above
    (layer := place / "layer,x:y").mkdir()
    result = inside("touch", "/new", rootfs=rootfs, overlay_dir=layer)
    assert result.returncode == 0, result.stderr
    assert (layer / "upper/new").exists() and not (rootfs / "new").exists()


def test_a_root_that_cannot_be_written(inside, rootfs):
    result = inside("touch", "/x", rootfs=rootfs, read_only=True)
    assert result.returncode == 1 and "Read-only" in result.stderr
    result = inside("touch", "/scratch/x", rootfs=rootfs, read_only=True, tmpfs=["/scratch:1M"])
    assert result.returncode == 0, result.stderr


def test_binds(inside, rootfs, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_text("content")
    options = {"rootfs": rootfs, "binds": [f"{data}:/srv/data", f"{data}/file:/etc/motd:ro"]}
    result = inside("sh", "-c", "cat /etc/motd; echo new > /srv/data/new", **options)
    assert result.stdout == "content", result.stderr
    assert (data / "new").read_text() == "new\n"
    result = inside("sh", "-c", "echo x > /etc/motd", **options)
    assert result.returncode != 0 and "Read-only" in result.stderr
    assert (data / "file").read_text() == "content"


def test_a_tmpfs_is_charged_to_the_limit(inside, rootfs):
    code = "dd if=/dev/zero of=/scratch/file bs=1M count=60"
    result = inside("sh", "-c", code, rootfs=rootfs, memory="20M", tmpfs=["/scratch"])
    assert (result.verdict, result.oom_kill) == ("oom-killed", 1) or result.oom_kill >= 1
    assert result.memory_peak <= 20 * MIB


# ---- rights --------------------------------------------------------------------------------


def capabilities(result):
    return {
        line.split()[0]: int(line.split()[1], 16)
        for line in result.stdout.splitlines() if line.startswith("Cap")
    }  # fmt: skip


def test_few_capabilities_are_left(inside):
    from climits.launch.capabilities import NAMES
    from climits.program.container import DEFAULT_CAPABILITIES

    caps = capabilities(inside("cat", "/proc/self/status"))
    wanted = sum(1 << NAMES.index(name) for name in DEFAULT_CAPABILITIES)
    assert caps["CapEff:"] == caps["CapBnd:"] == wanted
    caps = capabilities(inside("cat", "/proc/self/status", cap_drop=["ALL"], cap_add=["chown"]))
    assert caps["CapEff:"] == caps["CapBnd:"] == 1


def test_without_a_user_namespace_none_is_of_the_mounts(inside):
    from climits.launch.capabilities import NAMES

    caps = capabilities(inside("cat", "/proc/self/status", share=["user"]))
    assert caps["CapEff:"] and not caps["CapBnd:"] >> NAMES.index("SYS_ADMIN") & 1


def test_another_user_has_none(inside, rootfs):
    (rootfs / "etc/passwd").write_text("someone:x:1234:1235::/:/bin/sh\n")
    (rootfs / "etc/group").write_text("others:x:77:someone\n")
    code = "id -u; id -g; id -G; cat /proc/self/status"
    result = inside("sh", "-c", code, rootfs=rootfs, user="someone")
    assert result.stdout.startswith("1234\n1235\n1235 77\n"), result.stderr
    assert capabilities(result)["CapEff:"] == 0


def test_a_setuid_file_gives_nothing(inside, rootfs):
    os.chmod(rootfs / "bin/escape", 0o4755)
    result = inside("/bin/escape", "caps", rootfs=rootfs, user=1234, group=1234)
    assert result.stdout == "held\n", result.stderr


# ---- ways out ------------------------------------------------------------------------------


@pytest.fixture
def tries(inside, rootfs, tmp_path):
    """Try a way out of a rootfs; what it printed."""

    def run(*way, **options):
        result = inside(
            "/bin/escape", *map(str, way), rootfs=rootfs,
            env={"CLIMITS_OUTSIDE": f"{tmp_path}/outside"}, **options,
        )  # fmt: skip
        return result.stdout.split("\n")[0]

    return run


@pytest.mark.parametrize("way", ["chroot", "fd", "mount", "unshare", "device"])
def test_no_way_out(tries, way):
    assert tries(way) == "held"


def test_the_ways_out_work_where_nothing_holds(escape, tmp_path):
    """Or the tests above would prove nothing."""
    (tmp_path / "outside").write_text("here")
    env = {"CLIMITS_OUTSIDE": f"{tmp_path}/outside"}
    words = [escape, "root", str(os.getpid())]
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    assert done.stdout == "out\n", done.stderr
    fd = os.open("/", os.O_RDONLY)
    done = subprocess.run([escape, "fd"], env=env, capture_output=True, text=True, pass_fds=[fd])
    os.close(fd)
    assert done.stdout.endswith("out\n")


def test_process_1_leads_nowhere(tries):
    assert tries("root", 1) == "held"


def test_a_process_of_the_host_cannot_be_seen_or_signalled(tries, inside, hog):
    other = subprocess.Popen([hog, "hold", "60000"])
    try:
        assert tries("kill", other.pid) == "held"
        assert inside("ls", f"/proc/{other.pid}").returncode != 0
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize(
    "path", ["/proc/sys/kernel/panic", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches"]
)
def test_the_kernel_cannot_be_steered(tries, inside, escape, path):
    assert tries("write", path) == "held"
    assert inside(escape, "write", path).stdout == "held\n"  # in the host's tree


def test_sys_cannot_be_written(tries, inside, escape):
    path = "/sys/kernel/mm/transparent_hugepage/enabled"
    assert tries("write", path) == "held"
    assert inside(escape, "write", path).stdout == "held\n"


def test_its_limit_cannot_be_raised_nor_its_cgroup_left(inside, escape, rootfs):
    memory = current().holding("memory")
    file = "memory.limit_in_bytes" if memory.version_name == "v1" else "memory.max"
    name = "climits-held"
    directory = memory.directory_path(f"/climits/{name}")
    for target in (f"{directory}/{file}", f"{memory.mount_point}/cgroup.procs"):
        result = inside(escape, "write", target, name=name)
        assert result.stdout == "held\n", (target, result.stderr)
    where = "" if current().mode == "unified" else f"/{memory.label}"
    for target in (file, "cgroup.procs"):
        result = inside(
            "/bin/escape", "write", f"/sys/fs/cgroup{where}/{target}", rootfs=rootfs, name=name
        )
        assert result.stdout == "held\n", (target, result.stderr)


def test_no_descriptor_of_ours_is_inherited(inside):
    fd = os.open("/", os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        result = inside("sh", "-c", "ls /proc/$$/fd")
        assert set(result.stdout.split()) <= {"0", "1", "2", "10", "255"}
        result = climits.run(["sh", "-c", "ls /proc/$$/fd"], memory="50M", stdout=-1, text=True)
        assert set(result.stdout.split()) <= {"0", "1", "2", "10", "255"}
    finally:
        os.close(fd)


@pytest.mark.skipif(current().find("pids") is None, reason="no pids controller here")
def test_processes_run_out_inside_alone(hog):
    result = climits.run(
        [hog, "forks", "50"], memory="50M", pids=10, container=climits.Container(),
        capture_output=True, text=True,
    )  # fmt: skip
    assert 0 < int(result.stdout) < 10


# ---- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rootfs": "/no/such"}, "rootfs: /no/such: no such directory"),
        ({"rootfs": "/bin/busybox"}, "rootfs: /bin/busybox: not a directory"),
        ({"overlay": True}, "an overlay needs a rootfs"),
        ({"binds": ["/no/such:/x"]}, "bind: /no/such: no such file or directory"),
        ({"binds": ["/etc"]}, "bind: /etc: not SOURCE:TARGET"),
        ({"binds": ["/etc:x"]}, "x is not a place inside"),
        ({"binds": ["/etc:/../x"]}, "is not a place inside"),
        ({"tmpfs": ["/x:5MB"]}, "tmpfs: 5MB: MB can mean"),
        ({"network": "bridge"}, "network: bridge: unknown"),
        ({"share": ["mnt"]}, "share: mnt: unknown"),
        ({"cap_add": ["CHWON"]}, "no such capability: CHWON"),
        ({"hostname": "x" * 65}, "not a host name"),
        ({"hostname": "x", "share": ["uts"]}, "needs a uts namespace of its own"),
        ({"devices": ["/etc/passwd"]}, "no such device"),
        ({"devices": ["/dev/\0"]}, "no such device"),
        ({"rootfs": "/tmp\0"}, "no such directory"),
        ({"binds": ["/etc:/x\0"]}, "is not a place inside"),
        ({"tmpfs": ["/x\0"]}, "is not a place inside"),
        ({"masked": ["/x\0"]}, "is not a place inside"),
        ({"devices": ["/dev/no-such"]}, "device: /dev/no-such: no such device"),
        ({"devices": ["/dev/../dev/null"]}, "is not a place inside"),
        ({"devices": ["/dev/pts/ptmx"]}, "the container has a /dev/pts of its own"),
        ({"cap_add": ["sys_admin"], "share": ["user"]}, "SYS_ADMIN reaches the host's mounts"),
        ({"cap_add": ["ALL"], "share": ["user"]}, "SYS_ADMIN reaches the host's mounts"),
    ],
)
def test_what_means_nothing_is_refused(options, text):
    with pytest.raises(climits.InvalidValueError) as caught:
        climits.Container(**options)
    assert text in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_place_behind_a_link_is_refused(inside, rootfs):
    (rootfs / "link").symlink_to("/etc")
    with pytest.raises(climits.InvalidValueError, match="is a link"):
        inside("true", rootfs=rootfs, binds=["/tmp:/link/x"])
    shutil.rmtree(rootfs / "dev", ignore_errors=True)
    (rootfs / "dev").symlink_to("/etc")
    with pytest.raises(climits.InvalidValueError, match="dev: a link"):
        inside("true", rootfs=rootfs)
    assert our_cgroups() == []


@pytest.mark.vm_only
def test_switched_off_namespaces_are_named(inside):
    file = Path("/proc/sys/user/max_net_namespaces")
    before = file.read_text()
    file.write_text("0")
    try:
        with pytest.raises(climits.UnsupportedError, match=r"user\.max_net_namespaces is 0"):
            inside("true")
    finally:
        file.write_text(before)


@pytest.mark.parametrize("init", [True, False])
@pytest.mark.parametrize("memory", ["4K", "64K", "128K", "256K"])
def test_a_limit_too_small_to_start_is_named(inside, memory, init):
    try:
        result = inside("true", memory=memory, init=init)
    except climits.LaunchError as e:
        assert str(e).startswith("cannot start true: ")
        assert e.hint == f"the limit of {memory[:-1]}.0K is too small to start a program"
    else:
        # What is too small for one kernel is enough for another.
        if memory in ("4K", "64K") or result.verdict != "exited":
            assert result.verdict == "oom-killed" and result.evidence.too_small_to_start
    assert our_cgroups() == []


@pytest.mark.skipif(current().find("pids") is None, reason="no pids controller here")
def test_too_few_processes_for_process_1_is_named():
    with pytest.raises(climits.LaunchError, match=r"^cannot start true: ") as caught:
        climits.run(["true"], memory="50M", pids=1, container=climits.Container(init=True))
    assert "pids.max" in caught.value.hint


@pytest.mark.parametrize("container", [None, climits.Container()])
def test_a_working_directory_with_a_nul(container):
    with pytest.raises(climits.InvalidValueError) as caught:
        climits.run(["true"], cwd="/tmp\0/x", container=container)
    assert str(caught.value).startswith("chdir: ") and "\0" not in str(caught.value)
    assert our_cgroups() == []


def test_climits_is_interrupted_before_it_has_begun(command):
    """At any moment of its start: nothing is left, and no fault of ours is told."""
    step = 0.004 * PATIENCE
    for moment in range(6 if IN_VM else 15):
        words = [command, "container", "--memory", "50M", "--", "sleep", "600"]
        child = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        time.sleep(moment * step)
        child.send_signal(signal.SIGINT)
        try:
            _, told = child.communicate(timeout=5 * PATIENCE)
        except subprocess.TimeoutExpired:  # Python had dropped it before our first line ran
            child.send_signal(signal.SIGINT)
            _, told = child.communicate(timeout=30 * PATIENCE)
        # Python's own start ends with a traceback of its own, and status 1.
        assert child.returncode in (130, -signal.SIGINT, 1), told
        assert "climits/" not in told
        assert our_cgroups() == []


# ---- the commands --------------------------------------------------------------------------


def test_enter_and_ps(capfd, hog):
    container = climits.Container(hostname="box")
    code = f"{hog} hold 60000; :"
    options = {"memory": "50M", "container": container, "name": "climits-box"}
    with climits.Process(["sh", "-c", code], **options) as p:
        assert dispatch(["ps", "--json"]) == 0
        rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        row = next(row for row in rows if row["name"] == "climits-box")
        assert (row["kind"], row["memory_max"]) == ("container", 50 * MIB)
        assert row["pid"] == p.pid and row["age"] >= 0 and row["command"][0] == "sh"
        done = subprocess.run(
            [sys.executable, "-m", "climits", "enter", "--quiet", "climits-box", "--", "sh", "-c",
             "hostname; ls -d /proc/[0-9]* | wc -l; cat /proc/self/cgroup; exit 5"],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 5, done.stderr
        name, processes, *cgroups = done.stdout.split("\n")[:-1]
        assert name == "box" and 2 <= int(processes) <= 6
        memory = current().holding("memory")
        entry = next(
            line for line in cgroups
            if (line.startswith("0::") and memory.delegates) or ":memory:" in line
        )  # fmt: skip
        assert entry.endswith(":/")
        p.kill()
    with pytest.raises(climits.CgroupGoneError):
        dispatch(["enter", "climits-box", "--", "true"])


def test_ps_tells_the_command_and_not_the_process_1_that_we_put_around_it(capfd):
    options = {"memory": "50M", "container": climits.Container(), "name": "climits-box"}
    with climits.Process(["sleep", "600"], **options) as p:
        until(lambda: Path(f"/proc/{p.pid}/cmdline").read_bytes().startswith(b"climits-init\0"))
        assert dispatch(["ps", "--json"]) == 0
        rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        row = next(row for row in rows if row["name"] == "climits-box")
        assert row["command"] == ["sleep", "600"]
        p.kill()


def test_a_bundle_by_the_command(command, rootfs, tmp_path):
    fixture = HERE / "fixtures/runc-spec.json"
    config = json.loads(fixture.read_text())
    config["process"]["args"] = ["sh", "-c", "echo $$ $FROM; id -u; exit 6"]
    config["process"]["env"].append("FROM=bundle")
    config["process"]["user"] = {"uid": 12, "gid": 13}
    config["root"]["path"] = "root"
    (tmp_path / "config.json").write_text(json.dumps(config))
    words = [command, "container", "--memory", "50M", "--bundle", tmp_path]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (6, "1 bundle\n12\n"), done.stderr
    done = subprocess.run([*words, "--env", "FROM=here"], capture_output=True, text=True)
    assert done.stdout == "1 here\n12\n", done.stderr
    config["linux"]["rootfsPropagation"] = "shared"
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 125 and "linux.rootfsPropagation" in done.stderr
    done = subprocess.run([*words, "--ignore-unsupported"], capture_output=True, text=True)
    assert done.returncode == 6 and "left out: " in done.stderr


def test_enter_as_another_user(hog):
    options = {"memory": "50M", "container": climits.Container(), "name": "climits-box"}
    with climits.Process(["sh", "-c", f"{hog} hold 60000; :"], **options) as p:
        words = ["enter", "--quiet", "--user", "65534", "climits-box", "--"]
        done = subprocess.run(
            [sys.executable, "-m", "climits", *words, "sh", "-c", "id -u; cat /proc/self/status"],
            capture_output=True, text=True,
        )  # fmt: skip
        p.kill()
    assert done.stdout.startswith("65534\n"), done.stderr
    facts = dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)
    assert int(facts["CapEff"], 16) == 0
    assert facts["Seccomp"] == "2"


def test_who_enters_is_its_root_and_not_ours(hog, tmp_path, place):
    """With ids of its own, the host's root has none of what belongs to it inside."""
    ids = [(0, 200_000, 1000)]
    container = climits.Container(uid_map=ids, gid_map=ids)
    options = {"memory": "50M", "container": container, "name": "climits-box", "cwd": "/"}
    with climits.Process(["sh", "-c", f"{hog} hold 60000; :"], **options) as p:
        words = ["sh", "-c", f"id -u; id -G; touch {place}/made; touch {tmp_path}/no"]
        done = subprocess.run(
            [sys.executable, "-m", "climits", "enter", "--quiet", "climits-box", "--", *words],
            capture_output=True, text=True,
        )  # fmt: skip
        p.kill()
    assert done.stdout == "0\n0\n", done.stderr
    assert (place / "made").stat().st_uid == 200_000
    assert "Permission denied" in done.stderr and not (tmp_path / "no").exists()


def test_enter_of_a_run_is_refused(hog):
    with (
        climits.Process([hog, "hold", "60000"], memory="50M", name="climits-plain") as p,
        pytest.raises(climits.InvalidValueError, match="not a container that runs"),
    ):
        try:
            dispatch(["enter", "climits-plain", "--", "true"])
        finally:
            p.kill()


def test_it_has_the_terminal(tmp_path):
    """Window size, job control and Ctrl+C, as from an ordinary terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(
            sys.executable,
            [
                sys.executable,
                "-m",
                "climits",
                "container",
                "--memory",
                "50M",
                "--quiet",
                "--",
                "sh",
                "-i",
            ],
        )
    seen = b""

    def expect(text):
        nonlocal seen
        deadline = time.monotonic() + 20 * PATIENCE
        while text not in seen:
            assert time.monotonic() < deadline, seen
            seen += os.read(terminal, 4096)
        seen = seen.partition(text)[2]

    try:
        expect(b"# ")
        os.write(terminal, b"echo pid=$$\n")
        expect(b"pid=1")
        os.write(terminal, b"stty rows 33 cols 99; stty size\n")
        expect(b"33 99")
        os.write(terminal, b"echo begun; sleep 600\n")
        expect(b"begun\r\n")
        time.sleep(0.5 * PATIENCE)
        os.write(terminal, b"\x03")
        os.write(terminal, b"echo status=$?\n")
        expect(b"status=130")
        os.write(terminal, b"exit 4\n")
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 4
    finally:
        os.close(terminal)
    until(lambda: our_cgroups() == [])


def test_ctrl_c_in_the_moment_of_the_launch_ends_a_process_1():
    """The kernel spares it from the terminal's signal, and it came before anybody waited for it."""
    code = """if True:
        import os, signal, sys, time
        from climits.cli.main import dispatch
        from climits.program import process
        real = process.spawn
        def spawn(plan):
            done = real(plan)
            os.write(1, b"launched")
            while signal.SIGINT not in signal.sigpending():
                time.sleep(0.01)
            return done
        process.spawn = spawn
        sys.exit(dispatch(["container", "--memory", "50M", "--no-init", "--", "sleep", "600"]))
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    try:
        seen = b""
        while b"launched" not in seen:
            seen += os.read(terminal, 4096)
        os.write(terminal, b"\x03")
        until(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + signal.SIGKILL
    finally:
        os.close(terminal)
    assert our_cgroups() == []


# ---- what an attacker has tried ------------------------------------------------------------


def test_process_1_of_ours_shows_nothing_of_itself(inside, rootfs):
    code = "for f in exe fd mem root cwd environ; do ls -la /proc/1/$f 2>&1; cat /proc/1/$f; done"
    result = inside("sh", "-c", code, rootfs=rootfs, init=True)
    assert "->" not in result.stdout.replace("fd -> ", ""), result.stdout
    code = "for f in /proc/1/fd/*; do printf '\\177\\0\\0\\0' > $f; done; exit 3"
    result = inside("sh", "-c", code, rootfs=rootfs, init=True)
    assert (result.verdict, result.returncode) == ("exited", 3)
    assert our_cgroups() == []


def test_process_1_cannot_be_overwritten(rootfs):
    """Its file is on a mount that cannot be written, whoever may look at it."""
    container = climits.Container(rootfs=rootfs, init=True, cap_add=["ALL"], seccomp="none")
    with climits.Process(["sleep", "1000"], memory="50M", container=container) as p:
        table = Path(f"/proc/{p.pid}/exe")
        fd = os.open(table, os.O_PATH)
        try:
            with pytest.raises(OSError):  # EROFS, or ETXTBSY while it runs
                os.open(f"/proc/self/fd/{fd}", os.O_WRONLY)
            p.kill()
            p.wait()
            with pytest.raises(OSError, match="Read-only"):
                os.open(f"/proc/self/fd/{fd}", os.O_WRONLY)
        finally:
            os.close(fd)


def test_a_directory_that_is_covered_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir("/proc/sys/kernel")
    result = climits.run(
        ["sh", "-c", "pwd; echo 1 > panic_on_oops"], memory="50M", stdout=-1, stderr=-1,
        text=True, container=climits.Container(),
    )  # fmt: skip
    assert result.returncode != 0 and "Read-only" in result.stderr, result.stdout
    assert result.stdout == "/proc/sys/kernel\n"


@pytest.mark.vm_only
def test_other_mounts_of_the_kernels_are_no_way_either(inside, tmp_path):
    memory = current().holding("memory")
    points = {"cg": ["--bind", memory.mount_point], "p": ["-t", "proc", "proc"]}
    for name, words in points.items():
        (tmp_path / name).mkdir()
        subprocess.run(["mount", *words, tmp_path / name], check=True)
    try:
        code = (
            f"echo $$ > {tmp_path}/cg/cgroup.procs; ls {tmp_path}/p | wc -l;"
            f"echo 1 > {tmp_path}/p/sys/kernel/panic_on_oops"
        )
        result = inside("sh", "-c", code)
        assert result.stdout == "0\n", result.stderr
        assert "Read-only" in result.stderr.split("\n")[0]
        result = inside("sh", "-c", code.replace(str(tmp_path), "/mnt"), binds=[f"{tmp_path}:/mnt"])
        assert result.stdout == "0\n", result.stderr
    finally:
        for name in points:
            subprocess.run(["umount", tmp_path / name], check=True)


@pytest.mark.parametrize("overlay", [False, True])
@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("proc", "{outside}"), ("sys", "../outside-dir"), ("dev", "/etc/.."),
        ("data", "../outside-dir"), ("data/deep", "{outside}"),
    ],
)  # fmt: skip
def test_a_link_that_comes_after_the_look_leads_nowhere(
    inside, rootfs, tmp_path, monkeypatch, name, target, overlay
):
    """Somebody who may write in the rootfs waits until it was checked."""
    outside = tmp_path / "outside-dir"
    outside.mkdir()
    (outside / "deep").mkdir()
    for each in ("proc", "sys", "dev", "data/deep"):
        (rootfs / each).mkdir(parents=True, exist_ok=True)
    spawn = process.spawn

    def swap_and_spawn(plan):
        if plan.root:
            (rootfs / name).rename(tmp_path / "was")
            (rootfs / name).symlink_to(target.format(outside=outside))
        return spawn(plan)

    monkeypatch.setattr(process, "spawn", swap_and_spawn)
    before = sorted(os.listdir("/"))
    with pytest.raises(climits.LaunchError, match="a link is in the way") as caught:
        inside("true", rootfs=rootfs, overlay=overlay, binds=["/etc/passwd:/data/deep/file"])
    assert str(rootfs) in caught.value.hint
    assert [p.name for p in outside.rglob("*")] == ["deep"]
    assert sorted(os.listdir("/")) == before
    assert our_cgroups() == []


#: Two names change places again and again (RENAME_EXCHANGE).
EXCHANGE = """
import ctypes, os, sys
libc, first, second = ctypes.CDLL(None), *map(os.fsencode, sys.argv[1:])
while libc.renameat2(-100, first, -100, second, 2) == 0:
    pass
"""


def test_what_is_renamed_meanwhile_keeps_its_protection(inside, rootfs):
    """Or one container could open /proc/sys of another that starts in the same directory."""
    name = "sys/vm/vfs_cache_pressure"
    for each in ("proc", "other"):
        for path in (*MASKED, *READ_ONLY):  # so that nothing is missed on the way
            if path.startswith("/proc/") and os.path.exists(path):
                decoy = rootfs / each / path[6:]
                decoy.parent.mkdir(parents=True, exist_ok=True)
                decoy.mkdir() if os.path.isdir(path) else decoy.touch()
        (rootfs / each / name).parent.mkdir()
        (rootfs / each / name).touch()
    file = Path("/proc", name)
    before = file.read_text()
    code = f"for p in /proc /other; do echo {int(before) + 1} > $p/{name}; done"
    words = [sys.executable, "-c", EXCHANGE, rootfs / "proc", rootfs / "other"]
    swaps = subprocess.Popen(words)
    started = 0
    try:
        for _ in range(8 if IN_VM else 80):
            try:
                inside("sh", "-c", code, rootfs=rootfs)
            except climits.LaunchError:
                continue
            started += 1
            assert file.read_text() == before
        assert swaps.poll() is None  # or nothing was tried
    finally:
        swaps.kill()
        swaps.wait()
        if file.read_text() != before:
            file.write_text(before)
    assert started


def test_what_an_earlier_run_has_left_leads_nowhere(inside, rootfs, tmp_path):
    upper = tmp_path / "layer/upper"
    upper.mkdir(parents=True)
    (upper / "data").symlink_to(tmp_path)
    options = {"rootfs": rootfs, "overlay_dir": tmp_path / "layer"}
    with pytest.raises(climits.InvalidValueError, match="is a link"):
        inside("true", binds=["/etc/passwd:/data/evil"], **options)
    (upper / "dev").symlink_to("/etc")
    with pytest.raises(climits.InvalidValueError, match="a link"):
        inside("true", **options)


def test_a_passwd_that_never_ends(inside, rootfs):
    os.mkfifo(rootfs / "etc/passwd")
    with pytest.raises(climits.InvalidValueError, match="no such user"):
        inside("true", rootfs=rootfs, user="someone")


def test_who_enters_cannot_be_looked_into(hog):
    """The entering process shares our memory until the exec, and can be seen from inside."""
    watch = (
        "import os, time\n"
        "seen, end, got = set(), time.monotonic() + 3, []\n"
        "while time.monotonic() < end:\n"
        "    for pid in os.listdir('/proc'):\n"
        "        if not pid.isdigit() or int(pid) == os.getpid(): continue\n"
        "        try: words = open(f'/proc/{pid}/cmdline').read().split(chr(0))\n"
        "        except OSError: continue\n"
        "        if 'enter' not in words: continue\n"
        "        seen.add(pid)\n"
        "        try: fd = os.open(f'/proc/{pid}/exe', os.O_PATH)\n"
        "        except OSError: continue\n"
        # What it has become by now may be looked at; what it was before, climits, may not.
        "        if 'python' in os.readlink(f'/proc/self/fd/{fd}'): got.append(pid)\n"
        "        os.close(fd)\n"
        "print(len(got), len(seen) > 0, flush=True)\n"
    )
    container = climits.Container(init=True, cap_add=["SYS_PTRACE"])
    options = {"memory": "100M", "container": container, "name": "climits-box", "text": True}
    with climits.Process([sys.executable, "-c", watch], stdout=-1, **options) as p:
        for _ in range(3 if IN_VM else 12):
            subprocess.run(
                [sys.executable, "-m", "climits", "enter", "--quiet", "climits-box", "--", "true"],
                capture_output=True,
            )
        got, seen = p.stdout.read().split()
    assert got == "0"
    assert seen == "True" or IN_VM  # or nothing was tried


@pytest.mark.parametrize("share", [[], ["--share", "pid"]])
def test_what_outlives_climits(command, ctl, share):
    """SIGKILL to climits: process 1 takes all with it; where there is none, gc does."""
    words = [command, "container", "--memory", "50M", "--name", "climits-box", *share]
    child = subprocess.Popen([*words, "--", "sh", "-c", "sleep 1000 & wait"])
    try:
        until(lambda: len(pids_of("climits-box")) == 2)
        pids = pids_of("climits-box")
    finally:
        child.kill()
        child.wait()
    if share:
        until(lambda: gone(min(pids)))  # the command itself, by the kernel
        ctl("gc", "--quiet")
    until(lambda: all(map(gone, pids)))
    ctl("gc", "--quiet")
    assert our_cgroups() == []


@pytest.mark.parametrize(
    "words", [["sh", "-c", "sleep 1000; :"], ["bash", "-c", "while :; do :; done"]]
)
def test_a_process_1_that_handles_nothing_can_be_ended(command, words):
    child = subprocess.Popen(
        [command, "container", "--memory", "50M", "--name", "climits-box", "--", *words],
        stderr=subprocess.PIPE,
    )
    try:
        until(lambda: our_cgroups() and any(pids_of("climits-box")))
        time.sleep(0.3 * PATIENCE)
        child.terminate()
        child.wait(60 * PATIENCE)
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == 137


def pids_of(name):
    try:
        return climits.Cgroup.open(f"/climits/{name}").memory.directory.pids()
    except climits.CgroupError:
        return []
