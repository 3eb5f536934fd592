"""OCI bundles on a real kernel: a busybox tree and the config.json that runc writes."""

import copy
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support import HERE

import climits
from climits.cgroup.layout import current
from climits.errors import LaunchError, UnsupportedError
from climits.program.bundle import read_bundle

MIB = 1 << 20
BUSYBOX = "/bin/busybox"
FIXTURES = HERE / "fixtures"

pytestmark = pytest.mark.skipif(
    not os.path.exists(BUSYBOX), reason="needs a static busybox: apt-get install busybox-static"
)


@pytest.fixture
def folder(tmp_path):
    """A bundle without its config.json."""
    root = tmp_path / "rootfs"
    (root / "bin").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "etc/secret").write_text("not for everybody\n")
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for name in ("sh", "cat", "id", "ls", "touch", "hostname", "dd", "mount"):
        (root / "bin" / name).symlink_to("busybox")
    os.chmod(tmp_path, 0o755)
    return tmp_path


@pytest.fixture
def spec():
    """What `runc spec` writes, as one may change it."""
    return json.loads((FIXTURES / "runc-spec.json").read_text())


@pytest.fixture
def run(folder):
    """run(CONTENT, SCRIPT) runs a script as the bundle's program: the result."""

    def run(content, script, **more):
        content = copy.deepcopy(content)
        content["process"]["args"] = ["sh", "-c", script]
        (folder / "config.json").write_text(json.dumps(content))
        command, options, left = read_bundle(folder)
        assert left == []
        return climits.run(command, capture_output=True, text=True, **{**options, **more})

    return run


def facts(result):
    """What a script told as NAME=VALUE lines."""
    assert result.returncode == 0, result.stderr
    return dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)


def status(name):
    return (
        f"echo {name}=$(while read k v; do [ $k = {name}: ] && echo $v; done < /proc/self/status)"
    )


def test_the_bundle_that_runc_describes(folder, run):
    if shutil.which("runc") is None:
        pytest.skip("runc is not installed")
    subprocess.run(["runc", "spec"], cwd=folder, check=True)
    content = json.loads((folder / "config.json").read_text())
    fixture = json.loads((FIXTURES / "runc-spec.json").read_text())
    assert content.keys() == fixture.keys() and content["linux"].keys() == fixture["linux"].keys()
    assert facts(run(content, "echo pid=$$; echo host=$(hostname)")) == {
        "pid": "1", "host": "runc",
    }  # fmt: skip


def test_it_sees_what_its_config_says(run, spec):
    before = Path("/proc/self/mountinfo").read_text()
    script = "; ".join([
        "echo pid=$$", "echo uid=$(id -u)", "echo root=$(ls /)", "echo host=$(hostname)",
        "echo path=$PATH", "echo home=$PWD", "echo files=$(ulimit -n)", "echo n=$CLIMITS_TEST",
        "touch /x 2>/dev/null && echo wrote=root", "touch /dev/shm/x && echo wrote=shm",
        "echo keys=$(cat /proc/keys)", "echo net=$(ls /sys/class/net)",
        status("CapEff"), status("CapBnd"), status("NoNewPrivs"),
    ])  # fmt: skip
    os.environ["CLIMITS_TEST"] = "of the host"
    try:
        told = facts(run(spec, script))
    finally:
        del os.environ["CLIMITS_TEST"]
    assert told == {
        "pid": "1", "uid": "0", "root": "bin dev etc proc sys", "host": "runc",
        "path": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "home": "/",
        "files": "1024", "n": "", "wrote": "shm", "keys": "", "net": "lo",
        "CapEff": "0000000020000420", "CapBnd": "0000000020000420", "NoNewPrivs": "1",
    }  # fmt: skip
    assert Path("/proc/self/mountinfo").read_text() == before


def test_its_view_of_the_cgroups_ends_at_its_own(run, spec):
    result = run(spec, "cat /proc/self/cgroup; ls /sys/fs/cgroup; touch /sys/fs/cgroup/x")
    lines = result.stdout.splitlines()
    paths = [line.split(":")[2] for line in lines if line.count(":") >= 2]
    memory = current().holding("memory")
    assert paths and set(paths[: len(current().hierarchies)]) <= {"/"}, (paths, memory)
    assert "Read-only" in result.stderr


def test_its_limit_and_the_verdict(run, spec):
    spec["linux"]["resources"]["memory"] = {"limit": 20 * MIB, "swap": 20 * MIB}
    spec["linux"]["resources"]["pids"] = {"limit": 20}
    result = run(spec, "dd if=/dev/zero of=/dev/null bs=60M count=1; exit 1")
    assert (result.verdict, result.memory_max) == ("oom-killed", 20 * MIB)
    assert result.oom_kill == 1
    result = run(spec, "exec dd if=/dev/zero of=/dev/null bs=60M count=1")  # process 1 itself
    assert (result.verdict, result.signal) == ("oom-killed", 9)
    assert run(spec, "dd if=/dev/zero of=/dev/null bs=9M count=1").verdict == "exited"


def test_what_it_writes_into_a_tmpfs_counts(run, spec):
    spec["linux"]["resources"]["memory"] = {"limit": 20 * MIB, "swap": 20 * MIB}
    spec["mounts"].append({"destination": "/run", "type": "tmpfs", "options": ["size=100m"]})
    result = run(spec, "dd if=/dev/zero of=/run/x bs=1M count=60; exit 1")
    assert result.verdict == "oom-killed"


def test_another_user_with_an_ambient_capability(run, spec):
    spec["process"]["user"] = {"uid": 1234, "gid": 1235, "additionalGids": [1236]}
    script = "; ".join([
        "echo uid=$(id -u)", "echo groups=$(id -G)", status("CapEff"), status("CapBnd"),
    ])  # fmt: skip
    told = {"uid": "1234", "groups": "1235 1236", "CapBnd": "0000000020000420"}
    assert facts(run(spec, script)) == {**told, "CapEff": "0000000020000420"}
    del spec["process"]["capabilities"]["ambient"]
    assert facts(run(spec, script)) == {**told, "CapEff": "0000000000000000"}


def test_paths_of_its_own_are_hidden_or_protected(run, spec, folder):
    spec["root"]["readonly"] = False
    spec["linux"]["maskedPaths"] += ["/etc/secret", "/hidden", "/not/there"]
    spec["linux"]["readonlyPaths"] += ["/etc"]
    (folder / "rootfs/hidden").mkdir()
    (folder / "rootfs/hidden/file").write_text("")
    script = "; ".join([
        "echo secret=$(cat /etc/secret)", "echo hidden=$(ls /hidden)",
        "touch /etc/x || echo etc=read-only", "touch /top && echo top=written",
        "touch /hidden/x || echo hidden2=read-only",
    ])  # fmt: skip
    assert facts(run(spec, script)) == {
        "secret": "", "hidden": "", "etc": "read-only", "top": "written", "hidden2": "read-only",
    }  # fmt: skip
    assert (folder / "rootfs/top").exists()
    assert (folder / "rootfs/etc/secret").read_text() == "not for everybody\n"


def test_what_protects_the_host_stays_even_if_the_config_forgets_it(run, spec):
    del spec["linux"]["maskedPaths"], spec["linux"]["readonlyPaths"]
    script = "cat /proc/keys; touch /sys/x; echo 1 > /proc/sys/kernel/pid_max || echo sys=read-only"
    result = run(spec, script)
    assert facts(result) == {"sys": "read-only"}


def test_bind_mounts(run, spec, folder):
    (folder / "data").mkdir()
    (folder / "data/program").write_text("#!/bin/sh\necho program=ran\n")
    (folder / "data/program").chmod(0o755)
    (folder / "file:1").write_text("a colon")
    spec["root"]["readonly"] = False
    spec["mounts"] += [
        {"destination": "/ro", "type": "bind", "source": "data", "options": ["rbind", "ro"]},
        {"destination": "/rw", "source": "data", "options": ["bind", "noexec"]},
        {"destination": "/file", "source": "file:1", "options": ["bind"]},
    ]
    script = "; ".join([
        "/ro/program", "/rw/program || echo rw=noexec", "touch /ro/x || echo ro=read-only",
        "touch /rw/new && echo rw2=written", "echo file=$(cat /file)",
    ])  # fmt: skip
    assert facts(run(spec, script)) == {
        "program": "ran", "rw": "noexec", "ro": "read-only", "rw2": "written", "file": "a colon",
    }  # fmt: skip
    assert (folder / "data/new").exists()


def test_a_device_file_in_the_root_cannot_be_used(run, spec, folder):
    os.mknod(folder / "rootfs/zero", 0o20666, os.makedev(1, 5))
    spec["mounts"].append({"destination": "/sys/fs", "source": "rootfs", "options": ["bind"]})
    places = ("/zero", "/sys/fs/zero", "/dev/zero")
    result = run(spec, "; ".join(f"dd if={path} of=/dev/null count=1" for path in places))
    for path in places[:2]:
        assert f"can't open '{path}': Permission denied" in result.stderr
    assert result.returncode == 0


def test_a_user_namespace_with_ids_of_its_own(run, spec, folder):
    ids = [{"containerID": 0, "hostID": 200_000, "size": 1000}]
    spec["linux"] |= {"uidMappings": ids, "gidMappings": ids}
    spec["linux"]["namespaces"].append({"type": "user"})
    spec["root"]["readonly"] = False
    for path in (folder / "rootfs", *(folder / "rootfs").rglob("*")):
        os.lchown(path, 200_000, 200_000)
    script = "; ".join([
        "echo uid=$(id -u)", "read a b c < /proc/self/uid_map", "echo map=$a,$b,$c",
        "read a b c < /proc/self/gid_map", "echo gid_map=$a,$b,$c", "touch /made && echo made=1",
    ])  # fmt: skip
    told = facts(run(spec, script))
    assert told == {"uid": "0", "map": "0,200000,1000", "gid_map": "0,200000,1000", "made": "1"}
    found = (folder / "rootfs/made").stat()
    assert (found.st_uid, found.st_gid) == (200_000, 200_000)
    spec["process"]["user"] = {"uid": 7, "gid": 8}
    assert facts(run(spec, "echo uid=$(id -u); echo gid=$(id -g)")) == {"uid": "7", "gid": "8"}


def test_the_host_s_network_and_host_name(run, spec):
    listed = [{"type": "mount"}, {"type": "pid"}]
    spec["linux"]["namespaces"] = listed
    del spec["hostname"]
    spec["mounts"] = [m for m in spec["mounts"] if m["type"] not in ("mqueue", "cgroup")]
    script = "echo uts=$(ls -l /proc/self/ns/uts); echo net=$(ls -l /proc/self/ns/net)"
    told = facts(run(spec, script))
    for name in ("uts", "net"):
        assert told[name].endswith(os.readlink(f"/proc/self/ns/{name}"))


def test_a_seccomp_filter_of_its_own(run, spec):
    pytest.importorskip("pyseccomp", reason="needs libseccomp's Python binding")
    spec["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
        ],
    }
    script = "/bin/busybox mkdir /dev/shm/x; " + status("Seccomp")
    for no_new_privileges in (True, False):
        spec["process"]["noNewPrivileges"] = no_new_privileges
        result = run(spec, script)
        assert facts(result) == {"Seccomp": "2"}
        assert "not supported" in result.stderr
    del spec["linux"]["seccomp"]
    result = run(spec, script)
    assert facts(result) == {"Seccomp": "0"} and result.stderr == ""


def test_a_cgroup_of_a_given_name(run, spec):
    spec["linux"]["cgroupsPath"] = "climits-bundle-test"
    assert run(spec, "exit 0").cgroup.rpartition("/")[2] == "climits-bundle-test"
    spec["linux"]["cgroupsPath"] = "/climits-bundle-test"
    assert run(spec, "exit 0").cgroup == "/climits-bundle-test"


def test_nothing_is_run_that_cannot_be_had_whole(folder, spec):
    marker = folder / "marker"
    spec["process"]["args"] = ["touch", "/data/marker"]
    spec["hooks"] = {"prestart": [{"path": "/bin/touch", "args": ["touch", str(marker)]}]}
    spec["mounts"].append({"destination": "/data", "source": ".", "options": ["rbind"]})
    spec["root"]["readonly"] = False
    (folder / "config.json").write_text(json.dumps(spec))
    with pytest.raises(UnsupportedError, match=r"hooks\.prestart: hooks are not run"):
        read_bundle(folder)
    command, options, left = read_bundle(folder, ignore_unsupported=True)
    assert left == ["hooks.prestart: hooks are not run"]
    assert not marker.exists()
    assert climits.run(command, **options).returncode == 0
    assert marker.exists()  # by the program, in its bind mount


def test_ids_that_the_kernel_refuses(run, spec):
    ids = [{"containerID": 0, "hostID": 0, "size": 9}, {"containerID": 5, "hostID": 9, "size": 9}]
    spec["linux"] |= {"uidMappings": ids, "gidMappings": ids}
    spec["linux"]["namespaces"].append({"type": "user"})
    with pytest.raises(LaunchError) as caught:
        run(spec, "exit 0")
    assert str(caught.value) == (
        "cannot map users 0 to 0 (9), 5 to 9 (9) and groups 0 to 0 (9), 5 to 9 (9): "
        "invalid argument"
    )
    assert caught.value.hint == "the ranges may not overlap"
