"""OCI bundles: what config.json means, and what of it cannot be had."""

import copy
import json
import os
from pathlib import Path

import pytest

from climits.errors import InvalidValueError, UnsupportedError
from climits.launch.capabilities import NAMES
from climits.program.bundle import read_bundle
from climits.program.container import SHAREABLE

FIXTURES = Path(__file__).parents[1] / "fixtures"
SPEC = json.loads((FIXTURES / "runc-spec.json").read_text())
ROOTLESS = json.loads((FIXTURES / "runc-spec-rootless.json").read_text())
#: All namespaces, and nothing else to say.
SMALL = {
    "ociVersion": "1.0.2",
    "process": {"args": ["/bin/true"], "cwd": "/"},
    "root": {"path": "rootfs"},
    "linux": {
        "namespaces": [
            {"type": name} for name in ("pid", "network", "ipc", "uts", "mount", "cgroup", "user")
        ],
        "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1000}],
        "gidMappings": [{"containerID": 0, "hostID": 0, "size": 1000}],
    },
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "rootfs").mkdir()
    return tmp_path


@pytest.fixture
def read(folder):
    """read(CONTENT) reads a bundle with that config.json."""

    def read(content, **options):
        (folder / "config.json").write_text(json.dumps(content))
        return read_bundle(folder, **options)

    return read


@pytest.fixture
def changed(read):
    """changed(PLACE=VALUE, ...) reads the small one with values at places such as linux.sysctl."""

    def changed(places, **options):
        return read(change(SMALL, places), **options)

    return changed


def change(content, places):
    content = copy.deepcopy(content)
    for place, value in places.items():
        *parents, last = place.split(".")
        here = content
        for name in parents:
            here = here.setdefault(name, {})
        here[last] = value
    return content


@pytest.fixture
def left(changed):
    """left(PLACE=VALUE) is what of it cannot be had: refused at first, left out on demand."""

    def left(places):
        with pytest.raises(UnsupportedError) as caught:
            changed(places)
        _, options, left = changed(places, ignore_unsupported=True)
        assert caught.value.value == left and left
        for text in left:
            assert text in str(caught.value)
        assert str(caught.value).isprintable()
        assert "--ignore-unsupported" in caught.value.hint
        assert "container" in options
        return left

    return left


@pytest.fixture
def wrong(changed, folder):
    """wrong(PLACE=VALUE) is the error, without the name of the file."""

    def wrong(places):
        with pytest.raises(InvalidValueError) as caught:
            changed(places, ignore_unsupported=True)
        prefix = f"bundle: {folder}/config.json: "
        assert str(caught.value).startswith(prefix)
        return str(caught.value).removeprefix(prefix)

    return wrong


# ---- what maps -----------------------------------------------------------------------------


def test_what_runc_spec_writes_can_be_had_whole(read, folder):
    command, options, left = read(SPEC)
    container = options.pop("container")
    assert command == ["sh"] and left == []
    assert options == {
        "cwd": "/", "user": 0, "group": 0, "extra_groups": [],
        "env": {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TERM": "xterm",
        },
    } if os.geteuid() == 0 else options["cwd"] == "/"  # fmt: skip
    assert container.rootfs == str(folder / "rootfs")
    assert container.read_only and container.no_new_privs
    assert container.hostname == "runc"
    # The cgroup namespace is for the cgroup mount, which shows its own cgroup alone.
    assert container.new == {"pid", "net", "ipc", "uts", "mnt", "cgroup"}
    assert container.capabilities == {"AUDIT_WRITE", "KILL", "NET_BIND_SERVICE"}
    assert container.ambient == container.capabilities
    assert container.rlimits == {7: (1024, 1024)}
    assert container.seccomp == "none"
    assert container.init is False
    assert container.masked == SPEC["linux"]["maskedPaths"]
    assert container.protected == SPEC["linux"]["readonlyPaths"]
    (shm,) = container.tmpfs
    assert (shm.target, shm.size, shm.mode, shm.flags) == (
        "/dev/shm", 64 << 20, 0o1777, {"noexec"},
    )  # fmt: skip
    assert (container.binds, container.devices) == ([], [])


def test_what_runc_spec_writes_for_an_ordinary_user_too(read):
    _, options, left = read(ROOTLESS)
    assert left == []
    container = options["container"]
    assert container.new == {"pid", "ipc", "uts", "mnt", "user", "cgroup"}
    (mapping,) = ROOTLESS["linux"]["uidMappings"]
    assert container.uid_map == [(0, mapping["hostID"], 1)]
    assert container.binds == []  # its /sys is what climits shows without a network of its own


def test_the_process(changed):
    command, options, _ = changed({
        "process": {
            "args": ["/bin/app", "", "x y"], "cwd": "/srv", "env": ["A=1", "B=", "C=x=y"],
            "user": {"uid": 7, "gid": 8, "additionalGids": [9, 10]}, "oomScoreAdj": -5,
            "noNewPrivileges": False, "terminal": True, "consoleSize": {"height": 1, "width": 2},
            "rlimits": [
                {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20},
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 2**64 - 1},
            ],
            "apparmorProfile": "", "selinuxLabel": None,
        },
    })  # fmt: skip
    container = options.pop("container")
    assert command == ["/bin/app", "", "x y"]
    assert options == {
        "cwd": "/srv", "env": {"A": "1", "B": "", "C": "x=y"}, "user": 7, "group": 8,
        "extra_groups": [9, 10], "oom_score_adj": -5,
    }  # fmt: skip
    assert container.rlimits == {7: (10, 20), 4: (0, 2**64 - 1)}
    assert container.no_new_privs is False
    assert container.capabilities == frozenset()  # none are said: none are kept


@pytest.mark.parametrize(
    ("uid", "no_new_privs", "kept"),
    [
        (0, False, {"CHOWN", "KILL", "SYS_ADMIN"}),  # root has the bounding set after an exec
        (0, True, {"CHOWN"}),
        (5, True, {"CHOWN", "KILL", "SYS_ADMIN"}),  # others have only what is ambient
    ],
)
def test_capabilities_are_those_after_the_exec(changed, uid, no_new_privs, kept):
    _, options, _ = changed({
        "process.user": {"uid": uid, "gid": 0},
        "process.noNewPrivileges": no_new_privs,
        "process.capabilities": {
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN"],
            "permitted": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"],
        },
    })  # fmt: skip
    assert options["container"].capabilities == kept
    assert options["container"].ambient == {"CHOWN"}


def test_every_capability_is_known(changed):
    names = [f"CAP_{name}" for name in NAMES]
    _, options, _ = changed({"process.capabilities": {"bounding": names}})
    assert options["container"].capabilities == set(NAMES)


@pytest.mark.parametrize(
    ("resources", "options"),
    [
        ({}, {}),
        ({"memory": {"limit": 50 << 20}}, {"memory": 50 << 20, "swap": "max"}),
        ({"memory": {"limit": 50, "swap": 80}}, {"memory": 50, "swap": 30}),
        ({"memory": {"limit": 50, "swap": 50}}, {"memory": 50, "swap": 0}),
        ({"memory": {"limit": 50, "swap": -1}}, {"memory": 50, "swap": "max"}),
        ({"memory": {"limit": -1}}, {"memory": "max", "swap": "max"}),
        ({"memory": {"limit": 0, "swap": 0, "reservation": 0}}, {}),
        ({"memory": {"reservation": 9}}, {"low": 9}),
        ({"memory": {"reservation": -1}}, {}),
        ({"memory": {"swappiness": 0}}, {"swappiness": 0}),
        ({"memory": {"disableOOMKiller": True}}, {"on_oom": "pause"}),
        ({"memory": {"disableOOMKiller": False, "useHierarchy": True, "kernel": -1,
                     "checkBeforeUpdate": True}}, {}),
        ({"pids": {"limit": 12}}, {"pids": 12}),
        ({"pids": {"limit": -1}}, {}),
        ({"pids": {"limit": 0}}, {}),
        ({"cpu": {"quota": 150_000}}, {"cpus": 1.5}),
        ({"cpu": {"quota": 10_000, "period": 40_000}}, {"cpus": 0.25}),
        ({"cpu": {"quota": -1, "period": 40_000}}, {}),
        ({"cpu": {"cpus": "0-1,3"}}, {"cpuset": "0-1,3"}),
        ({"cpu": {"shares": 1024, "realtimeRuntime": 0, "idle": 0}}, {}),
        ({"hugepageLimits": [], "blockIO": {}, "network": None}, {}),
    ],
)  # fmt: skip
def test_resources(changed, resources, options):
    _, found, left = changed({"linux.resources": resources})
    assert left == []
    assert found.items() >= options.items()
    limits = {"memory", "swap", "low", "swappiness", "on_oom", "pids", "cpus", "cpuset"}
    assert not (limits & found.keys()) - options.keys()


def test_limits_are_limits_that_spec_takes(changed, layout):
    from climits.program.spec import Spec

    command, options, _ = changed({
        "linux.resources": {"memory": {"limit": 50 << 20}, "pids": {"limit": 9}},
    })  # fmt: skip
    if os.geteuid() == 0:
        spec = Spec(command, **options)
        assert (spec.limits.memory.max, spec.limits.pids) == (50 << 20, 9)


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/one", {"parent": "/", "name": "one"}),
        ("/one/two", {"parent": "/one", "name": "two"}),
        ("one", {"name": "one"}),
    ],
)
def test_the_path_of_the_cgroup(changed, path, options):
    _, found, _ = changed({"linux.cgroupsPath": path})
    assert {k: found[k] for k in ("parent", "name") if k in found} == options


def test_mounts(changed, folder):
    (folder / "data").mkdir()
    _, options, left = changed({
        "mounts": [
            {"destination": "/data", "source": "data", "options": ["rbind", "ro", "rprivate"]},
            {"destination": "/a:b/c/", "type": "bind", "source": "/etc",
             "options": ["bind", "nosuid", "nodev", "noexec", "relatime"]},
            {"destination": "/run", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "nodev", "noexec", "mode=755", "size=65536k"]},
            {"destination": "/plain", "type": "tmpfs"},
            {"destination": "/ro", "type": "tmpfs", "options": ["ro", "size=10m"]},
        ],
    })  # fmt: skip
    assert left == []
    data, etc = options["container"].binds
    assert (data.source, data.target, data.read_only, data.recursive, data.flags) == (
        str(folder / "data"), "/data", True, True, {"nodev"},
    )  # fmt: skip
    assert (etc.source, etc.target, etc.read_only, etc.recursive, etc.flags) == (
        "/etc", "/a:b/c", False, False, {"nosuid", "nodev", "noexec"},
    )  # fmt: skip
    found = [(t.target, t.size, t.mode, t.flags) for t in options["container"].tmpfs]
    assert found == [
        ("/run", 64 << 20, 0o755, {"noexec"}), ("/plain", None, 0o1777, set()),
        ("/ro", 10 << 20, 0o1777, {"ro"}),
    ]  # fmt: skip


def test_namespaces_that_are_not_listed_are_shared(changed):
    _, options, _ = changed({
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]}, "process.user": {"uid": 0},
    })  # fmt: skip
    assert options["container"].new == {"mnt", "pid"}
    _, options, _ = changed({"linux": {"namespaces": [{"type": "mount"}]}})
    assert options["container"].new == {"mnt"}


def test_a_namespace_of_ours_can_be_named_by_its_path(changed):
    listed = [{"type": "mount"}, {"type": "network", "path": f"/proc/{os.getpid()}/ns/net"}]
    _, options, left = changed({"linux": {"namespaces": listed}})
    assert left == [] and "net" not in options["container"].new


def test_id_maps(changed):
    maps = [
        {"containerID": 0, "hostID": 100_000, "size": 10},
        {"containerID": 10, "hostID": 5, "size": 1},
    ]
    _, options, _ = changed({"linux.uidMappings": maps, "linux.gidMappings": maps[:1]})
    assert options["container"].uid_map == [(0, 100_000, 10), (10, 5, 1)]
    assert options["container"].gid_map == [(0, 100_000, 10)]


def test_devices(changed):
    _, options, left = changed({
        "linux.devices": [
            {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666},
            {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11},
        ],
        "linux.resources.devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
            {"allow": True, "type": "c", "major": 136, "minor": -1, "access": "rw"},
            {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"},
            {"allow": True, "type": "b", "access": "m"},
            {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "r"},
        ],
    })  # fmt: skip
    assert left == []
    assert options["container"].devices == ["/dev/kmsg"]


def test_seccomp_is_handed_on_as_it_is(changed):
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"]}]}
    _, options, _ = changed({"linux.seccomp": profile})
    assert options["container"].seccomp == profile


def test_annotations_and_what_says_nothing(changed):
    _, _, left = changed({
        "annotations": {"any": "thing"}, "hooks": {"prestart": []}, "linux.sysctl": {},
        "linux.mountLabel": "", "linux.intelRdt": None, "linux.rootfsPropagation": "rprivate",
        "process.apparmorProfile": "",
    })  # fmt: skip
    assert left == []


def test_what_is_off_asks_for_nothing(left):
    # In this order: what follows one that is off is still looked at.
    assert left({"first": False, "second": True}) == ["second: unknown"]


def test_a_key_that_cannot_be_printed_is_escaped(left):
    assert left({"a\nb": 1}) == [r"a\nb: unknown"]


def test_shareable_is_all_but_mounts(changed):
    _, options, _ = changed({})
    assert options["container"].new == {*SHAREABLE, "mnt"}


# ---- what does not -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ("process.apparmorProfile", "x", "AppArmor is not set up"),
        ("process.selinuxLabel", "x", "SELinux is not set up"),
        ("process.ioPriority", {"class": "IOPRIO_CLASS_IDLE"}, "not set"),
        ("process.scheduler", {"policy": "SCHED_IDLE"}, "not set"),
        ("process.execCPUAffinity", {"final": "0"}, "not set"),
        ("process.commandLine", "x", "only Windows has it"),
        ("process.user.umask", 18, "not set"),
        ("process.user.username", "x", "only Windows has it"),
        ("process.nonsense", 1, "unknown"),
        ("root.nonsense", 1, "unknown"),
        ("domainname", "x", "not set"),
        ("nonsense", {"a": 1}, "unknown"),
        ("windows", {"a": 1}, "another system"),
        ("solaris", {"a": 1}, "another system"),
        ("vm", {"a": 1}, "another system"),
        ("zos", {"a": 1}, "another system"),
        ("linux.sysctl", {"net.ipv4.ip_forward": "1"}, "not set"),
        ("linux.intelRdt", {"closID": "x"}, "not set"),
        ("linux.mountLabel", "x", "SELinux is not set up"),
        ("linux.personality", {"domain": "LINUX32"}, "not set"),
        ("linux.timeOffsets", {"monotonic": {"secs": 1}}, "there is no time namespace"),
        ("linux.rootfsPropagation", "shared", "shared: mounts are private"),
        ("linux.cgroupsPath", "a.slice:runc:b", "a.slice:runc:b: neither a name nor an absolute "
         "path"),
        ("linux.cgroupsPath", "a/b", "a/b: neither a name nor an absolute path"),
        ("linux.cgroupsPath", "/../b", "/../b: neither a name nor an absolute path"),
        ("linux.netDevices", {"eth0": {}}, "no device is moved"),
        ("linux.memoryPolicy", {"mode": "MPOL_BIND"}, "not set"),
        ("linux.nonsense", 1, "unknown"),
        ("linux.resources.blockIO", {"weight": 10}, "not limited"),
        ("linux.resources.hugepageLimits", [{"pageSize": "2MB", "limit": 1}], "not limited"),
        ("linux.resources.network", {"classID": 1}, "not set"),
        ("linux.resources.rdma", {"mlx5_1": {"hcaHandles": 3}}, "not limited"),
        ("linux.resources.unified", {"memory.high": "1"}, "not written"),
        ("linux.resources.nonsense", 1, "unknown"),
        ("linux.resources.memory.kernel", 1, "no limit of its own"),
        ("linux.resources.memory.kernelTCP", 1, "no limit of its own"),
        ("linux.resources.memory.nonsense", 1, "unknown"),
        ("linux.resources.pids.nonsense", 1, "unknown"),
        ("linux.resources.cpu.shares", 512, "no weights"),
        ("linux.resources.cpu.burst", 1, "not set"),
        ("linux.resources.cpu.idle", 1, "not set"),
        ("linux.resources.cpu.mems", "0", "not set"),
        ("linux.resources.cpu.realtimeRuntime", 1, "not set"),
        ("linux.resources.cpu.realtimePeriod", 1, "not set"),
        ("hooks.nonsense", [{"path": "/x"}], "unknown"),
        *(
            (f"hooks.{kind}", [{"path": "/bin/true"}], "hooks are not run")
            for kind in ("prestart", "createRuntime", "createContainer", "startContainer",
                         "poststart", "poststop")
        ),
    ],
)  # fmt: skip
def test_each_key_that_cannot_be_had_is_named(left, place, value, reason):
    assert left({place: value}) == [f"{place}: {reason}"]


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ({"linux.resources.memory.useHierarchy": False},
         "linux.resources.memory.useHierarchy: what is below counts"),
        ({"process.capabilities": {"bounding": ["CAP_NONSENSE"]}},
         "process.capabilities.bounding[0]: CAP_NONSENSE: no such capability"),
        ({"process.capabilities": {"other": ["CAP_KILL"]}},
         "process.capabilities.other: unknown"),
        ({"process.rlimits": [{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]},
         "process.rlimits[0].type: RLIMIT_NONSENSE: no such limit"),
        ({"linux.namespaces": [*SMALL["linux"]["namespaces"], {"type": "time"}]},
         "linux.namespaces[7].type: time: no such namespace here"),
        ({"linux": {"namespaces": [{"type": "mount"}, {"type": "net"}]}},
         "linux.namespaces[1].type: net: no such namespace here"),
        ({"linux": {"namespaces": [{"type": "mount"}, {"type": "ipc", "path": "/run/x"}]}},
         "linux.namespaces[1].path: /run/x: only a namespace of climits itself can be shared"),
        ({"linux": {"namespaces": [{"type": "pid"}]}},
         "linux.namespaces: no mount namespace: one is always made"),
        ({"linux": {}}, "linux.namespaces: no mount namespace: one is always made"),
        ({"linux": {"namespaces": [{"type": "mount"}, {"type": "user"}]}},
         "linux.uidMappings: missing: ids are mapped as climits does it"),
        ({"linux": {"namespaces": [{"type": "mount"}],
                    "gidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}},
         "linux.gidMappings: there is no user namespace in linux.namespaces"),
        ({"linux": {"namespaces": [{"type": "mount"}]}, "hostname": "x"},
         "hostname: there is no uts namespace in linux.namespaces"),
        ({"linux": {"namespaces": [{"type": "mount"}]},
          "process.capabilities": {"bounding": ["CAP_SYS_ADMIN"]}},
         "process.capabilities.bounding: CAP_SYS_ADMIN reaches the host without a user namespace"),
        ({"linux": {"namespaces": [{"type": "mount"}]},
          "process.capabilities": {"bounding": ["CAP_MKNOD"]}},
         "process.capabilities.bounding: CAP_MKNOD reaches the host without a user namespace"),
        ({"mounts": [{"destination": "/x", "source": "/dev/zero", "options": ["bind"]}]},
         "mounts[0]: /dev/zero is a device, to be named in linux.devices"),
        ({"linux": {"namespaces": [{"type": "mount"}]},
          "mounts": [{"destination": "/dev/mqueue", "type": "mqueue"}]},
         "mounts[0]: there is no ipc namespace in linux.namespaces"),
        ({"linux.devices": [{"path": "/dev/null", "type": "c", "major": 1, "minor": 5}]},
         "linux.devices[0]: /dev/null: not a device that the host has there"),
        ({"linux.devices": [{"path": "/nonesuch", "type": "b", "major": 1, "minor": 5}]},
         "linux.devices[0]: /nonesuch: not a device that the host has there"),
        ({"linux.devices": [{"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "uid": 9}]},
         "linux.devices[0].uid: 9: it is the host's own, with 0"),
        ({"linux.resources.devices": [{"allow": True, "access": "rwm"}]},
         "linux.resources.devices[0]: only what is in /dev can be used"),
        ({"linux.resources.devices": [{"allow": True, "type": "c", "major": 10, "minor": 229}]},
         "linux.resources.devices[0]: only what is in /dev can be used"),
        ({"linux.resources.devices": [{"allow": False, "type": "c", "major": 1, "minor": 3}]},
         "linux.resources.devices[0]: what is in /dev can be used"),
        ({"mounts": [{"destination": "/x", "type": "overlay", "source": "overlay"}]},
         "mounts[0]: type overlay on /x: not mounted"),
        ({"mounts": [{"destination": "/x", "type": "proc", "source": "proc"}]},
         "mounts[0]: type proc on /x: not mounted"),
        ({"mounts": [{"destination": "/sys", "type": "sysfs", "options": ["nosuid"]}]},
         "mounts[0].options: /sys cannot be written"),
        ({"mounts": [{"destination": "/proc", "type": "proc", "options": ["hidepid=2"]}]},
         "mounts[0].options: hidepid=2 on /proc: climits has its own there"),
        ({"mounts": [{"destination": "/proc", "type": "proc", "options": ["ro"]}]},
         "mounts[0].options: ro on /proc: climits has its own there"),
        ({"mounts": [{"destination": "/sys", "source": "/etc", "options": ["rbind", "ro"]}]},
         "mounts[0].source: /etc on /sys: climits has its own there"),
        ({"mounts": [{"destination": "/x", "source": "/etc", "options": ["rbind", "rshared"]}]},
         "mounts[0].options: rshared: not set"),
        ({"mounts": [{"destination": "/x", "source": "/etc", "options": ["rbind"],
                      "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}]},
         "mounts[0].uidMappings: no ids are mapped"),
        ({"mounts": [{"destination": "/x", "type": "tmpfs", "options": ["uid=5"]}]},
         "mounts[0].options: uid=5: not set"),
        ({"mounts": [{"destination": "/x", "type": "tmpfs", "options": ["size=50%"]}]},
         "mounts[0].options: size=50%: not a size in bytes"),
        ({"mounts": [{"destination": "/x", "type": "tmpfs", "options": ["tmpcopyup"]}]},
         "mounts[0].options: tmpcopyup: it is empty"),
        ({"mounts": [{"destination": "/x", "source": "/etc", "options": ["rbind"]},
                     {"destination": "/x/y", "type": "tmpfs"}]},
         "mounts[1]: a tmpfs on or below the bind mount /x/y"),
    ],
)  # fmt: skip
def test_each_value_that_cannot_be_had_is_named(left, places, expected):
    assert expected in left(places)


def test_all_of_it_is_named_in_one_error(changed, folder):
    places = {
        "hooks": {"prestart": [{"path": "/x"}]}, "linux.sysctl": {"a": "b"},
        "mounts": [{"destination": "/x", "type": "ext4", "source": "/dev/sda"}],
    }  # fmt: skip
    with pytest.raises(UnsupportedError) as caught:
        changed(places)
    assert str(caught.value) == (
        f"bundle: {folder}/config.json: 3 things that climits cannot do: linux.sysctl: not set; "
        "mounts[0]: type ext4 on /x: not mounted; hooks.prestart: hooks are not run"
    )
    with pytest.raises(UnsupportedError, match=": 1 thing that climits cannot do: nonsense: "):
        changed({"nonsense": 1})


# ---- what is wrong -------------------------------------------------------------------------


def test_no_bundle(tmp_path):
    for place, cause in (
        (tmp_path, "no such file or directory"),
        (tmp_path / "nonesuch", "no such file or directory"),
        ("a\0b", "embedded null byte"),
    ):
        with pytest.raises(InvalidValueError, match=f"config.json: {cause}$") as caught:
            read_bundle(place)
        assert caught.value.hint == "a bundle is a directory with a config.json"
    (tmp_path / "config.json").mkdir()
    with pytest.raises(InvalidValueError, match=r"config\.json: is a directory$"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'{\n "a": 1\n "b": 2}', ":3: expecting ',' delimiter"),
        (b"", ":1: expecting value"),
        (b'\n{"a":\n\n"\xff\n"}\n', ":4: not UTF-8"),
        (b"[]", ":1: not an object"),
        (b"[" * 100_000, ": not JSON that can be read"),
        (b'{"ociVersion": ' + b"1" * 5000 + b"}", ": not JSON that can be read"),
        (b" " * (17 << 20), ": too large"),
    ],
    ids=range(7),
)
def test_what_is_not_json(folder, data, problem):
    (folder / "config.json").write_bytes(data)
    with pytest.raises(InvalidValueError) as caught:
        read_bundle(folder)
    assert str(caught.value) == f"bundle: {folder}/config.json{problem}"
    assert caught.value.path == f"{folder}/config.json"


def test_what_is_wrong_comes_with_a_way_out(folder):
    for data, hint in (
        (b"{", "make it valid JSON"),
        (b" " * (17 << 20), "at most 16 MiB are read"),
    ):
        (folder / "config.json").write_bytes(data)
        with pytest.raises(InvalidValueError) as caught:
            read_bundle(folder)
        assert caught.value.hint == hint


def test_a_file_as_large_as_may_be(folder):
    text = json.dumps(SMALL).encode()
    (folder / "config.json").write_bytes(text + b" " * ((16 << 20) - len(text)))
    assert read_bundle(folder)


def test_a_folder_that_cannot_be_printed_is_escaped(tmp_path):
    with pytest.raises(InvalidValueError) as caught:
        read_bundle(tmp_path / "a\nb")
    assert str(caught.value) == rf"bundle: {tmp_path}/a\nb/config.json: no such file or directory"
    assert caught.value.path == f"{tmp_path}/a\nb/config.json"


@pytest.mark.parametrize(
    ("places", "problem"),
    [
        ({"ociVersion": None}, "ociVersion: missing"),
        ({"ociVersion": "2.0"}, "ociVersion: 2.0: unknown"),
        ({"ociVersion": 1}, "ociVersion: not text"),
        ({"process": None}, "process.args: missing"),
        ({"process": []}, "process.args: missing"),
        ({"process": [1]}, "process: not an object"),
        ({"process.args": []}, "process.args: missing"),
        ({"process.args": [""]}, "process.args: missing"),
        ({"process.args": "ls"}, "process.args: not a list"),
        ({"process.args": ["ls", 1]}, "process.args[1]: not text"),
        ({"process.args": ["ls", "a\0b"]}, "process.args[1]: a NUL byte may not stand in it"),
        ({"process.cwd": "x"}, "process.cwd: x: not absolute"),
        ({"process.env": ["A"]}, "process.env[0]: A: not of the form NAME=VALUE"),
        ({"process.env": ["=A"]}, "process.env[0]: =A: not of the form NAME=VALUE"),
        ({"process.user.uid": "root"}, "process.user.uid: not a whole number"),
        ({"process.user.uid": -1}, "process.user.uid: -1: not an id"),
        ({"process.user.additionalGids": [2**32]}, "process.user.additionalGids: 4294967296: not "
         "an id"),
        ({"process.oomScoreAdj": 1001}, "process.oomScoreAdj: 1001: must be -1000 to 1000"),
        ({"process.noNewPrivileges": "yes"}, "process.noNewPrivileges: neither true nor false"),
        ({"process.rlimits": [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]},
         "process.rlimits[0]: not a soft and a hard limit"),
        ({"process.rlimits": [{"type": "RLIMIT_CORE", "soft": 2}]},
         "process.rlimits[0]: not a soft and a hard limit"),
        ({"root": None}, "root.path: missing"),
        ({"mounts": 5}, "mounts: not a list"),
        ({"mounts": [5]}, "mounts[0]: not an object"),
        ({"mounts": [{"type": "bind"}]}, "mounts[0].destination: missing: not absolute"),
        ({"mounts": [{"destination": "x"}]}, "mounts[0].destination: x: not absolute"),
        ({"mounts": [{"destination": "/x", "type": "tmpfs", "options": ["mode=999"]}]},
         "mounts[0].options: mode=999: not a mode"),
        ({"linux": 5}, "linux: not an object"),
        ({"linux.namespaces": {"a": 1}}, "linux.namespaces: not a list"),
        ({"linux.uidMappings": [{"containerID": 0, "hostID": 0, "size": 0}]},
         "linux.uidMappings[0]: not a range of ids"),
        ({"linux.uidMappings": [{"containerID": 1, "hostID": 0, "size": 1}]},
         "uid_map: 0 is not mapped"),
        ({"linux.maskedPaths": ["etc"]}, "linux.maskedPaths[0]: etc: not an absolute path"),
        ({"linux.readonlyPaths": ["/a/../b"]},
         "linux.readonlyPaths[0]: /a/../b: not an absolute path"),
        ({"linux.resources.memory": {"limit": 50, "swap": 49}},
         "linux.resources.memory.swap: less than limit"),
        ({"linux.resources.memory": {"swap": 49}}, "linux.resources.memory.swap: less than limit"),
        ({"linux.resources.memory": {"limit": -2}}, "linux.resources.memory.limit: -2: not a size"),
        ({"linux.resources.memory": {"limit": "50M"}},
         "linux.resources.memory.limit: not a whole number"),
        ({"linux.resources.memory": {"swappiness": 201}},
         "linux.resources.memory.swappiness: 201: must be 0 to 200"),
        ({"linux.resources.cpu": {"quota": 5000, "period": 10}},
         "linux.resources.cpu.period: 10: must be 1000 to 1000000"),
        ({"linux.seccomp": "default"}, "linux.seccomp: not an object"),
        ({"hostname": "a" * 65}, f"hostname: '{'a' * 65}': not a host name"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_named(wrong, places, problem):
    assert wrong(places) == problem


def test_what_is_not_there_is_named(wrong, folder):
    assert wrong({"root.path": "nonesuch"}) == f"root.path: {folder}/nonesuch: no such directory"
    (folder / "rootfs").rmdir()
    (folder / "rootfs").write_text("")
    assert wrong({}) == f"root.path: {folder}/rootfs: no such directory"
    mount = {"destination": "/x", "type": "bind", "source": "nonesuch"}
    (folder / "rootfs").unlink()
    (folder / "rootfs").mkdir()
    assert wrong({"mounts": [mount]}) == (
        f"mounts[0].source: {folder}/nonesuch: no such file or directory"
    )
