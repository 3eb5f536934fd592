"""Whose cgroup is it: paths as the tools make them, with the place where each was seen."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from climits.errors import CgroupGoneError, InvalidValueError
from climits.observe.discover import owner_of, unescape
from climits.observe.owners import find_all, find_one

ID = "3f4e1a09c2d7" + "0123456789abcdef" * 3 + "0123"
OTHER = "3f4e1b" + "fedcba9876543210" * 3 + "fedcba9876"
UID = "7b6a904a-1c9a-4a44-9b37-1dc737304773"
UNDERSCORED = UID.replace("-", "_")
STATIC = "6ed4d9a6bd0f7b8b4a1cb8b4d4b8d9b3"  # of a pod from a file: a digest of the file
POD = f"kubepods-burstable-pod{UNDERSCORED}.slice"
KIND = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice"
USER = "/user.slice/user-1000.slice/user@1000.service"

assert len(ID) == len(OTHER) == 64

#: (path, facts); facts that are not named must be None.
PATHS = [
    # docker: the cgroupfs driver (moby, daemon/daemon_unix.go: "/docker" is the default parent)
    (f"/docker/{ID}", "docker", "3f4e1a09c2d7", {"id": ID, "container": "3f4e1a09c2d7"}),
    # docker run --cgroup-parent=/batch
    (f"/batch/{ID}", "docker", "3f4e1a09c2d7", {"id": ID, "container": "3f4e1a09c2d7"}),
    # docker: the systemd driver ("docker run" documentation, --cgroup-parent: system.slice)
    (
        f"/system.slice/docker-{ID}.scope", "docker", "3f4e1a09c2d7",
        {"id": ID, "container": "3f4e1a09c2d7", "unit": f"docker-{ID}.scope",
         "slice": "system.slice"},
    ),
    # docker rootless (docs.docker.com, engine/security/rootless)
    (
        f"{USER}/user.slice/docker-{ID}.scope", "docker", "3f4e1a09c2d7",
        {"id": ID, "container": "3f4e1a09c2d7", "unit": f"docker-{ID}.scope",
         "slice": "user.slice", "user": "1000"},
    ),
    # a systemd that runs in a container has units of its own
    (
        f"/docker/{ID}/system.slice/nginx.service", "docker",
        "3f4e1a09c2d7/system.slice/nginx.service", {"id": ID, "container": "3f4e1a09c2d7"},
    ),
    # docker in docker
    (f"/docker/{OTHER}/docker/{ID}", "docker", "3f4e1a09c2d7",
     {"id": ID, "container": "3f4e1a09c2d7"}),
    ("/docker", "docker", "docker", {}),
    # containerd: "ctr run" puts it at /NAMESPACE/NAME (oci.WithNamespacedCgroup)
    ("/default/redis", "containerd", "redis", {"id": "redis", "container": "redis"}),
    (f"/k8s.io/{ID}", "containerd", "3f4e1a09c2d7", {"id": ID, "container": "3f4e1a09c2d7"}),
    # nerdctl with systemd: slice:nerdctl:ID
    (
        f"/system.slice/nerdctl-{ID}.scope", "containerd", "3f4e1a09c2d7",
        {"id": ID, "container": "3f4e1a09c2d7", "unit": f"nerdctl-{ID}.scope",
         "slice": "system.slice"},
    ),
    # cri-o (internal/config/cgmgr): a container, its monitor
    (
        f"/system.slice/crio-conmon-{ID}.scope", "cri-o", "3f4e1a09c2d7 (monitor)",
        {"id": ID, "container": "3f4e1a09c2d7", "unit": f"crio-conmon-{ID}.scope",
         "slice": "system.slice"},
    ),
    # podman as root, under systemd; crun makes "container" below (podman-run(1), --cgroups)
    (
        f"/machine.slice/libpod-{ID}.scope/container", "podman", "3f4e1a09c2d7/container",
        {"id": ID, "container": "3f4e1a09c2d7", "unit": f"libpod-{ID}.scope",
         "slice": "machine.slice"},
    ),
    (
        f"/machine.slice/libpod-conmon-{ID}.scope", "podman", "3f4e1a09c2d7 (monitor)",
        {"id": ID, "container": "3f4e1a09c2d7", "unit": f"libpod-conmon-{ID}.scope",
         "slice": "machine.slice"},
    ),
    # podman rootless
    (
        f"{USER}/user.slice/libpod-{ID}.scope", "podman", "3f4e1a09c2d7",
        {"id": ID, "container": "3f4e1a09c2d7", "unit": f"libpod-{ID}.scope",
         "slice": "user.slice", "user": "1000"},
    ),
    # podman without systemd, and a pod of it (test/system/200-pod.bats)
    (f"/libpod_parent/libpod-{ID}", "podman", "3f4e1a09c2d7",
     {"id": ID, "container": "3f4e1a09c2d7"}),
    (f"/libpod_parent/{OTHER}/conmon", "podman", f"pod {OTHER[:12]}/conmon", {"pod": OTHER}),
    ("/libpod_parent/conmon", "podman", "libpod_parent/conmon", {}),
    # a pod of podman's under systemd (libpod/runtime_pod_linux.go)
    (
        f"/machine.slice/machine-libpod_pod_{OTHER}.slice/libpod-{ID}.scope", "podman",
        "3f4e1a09c2d7",
        {"id": ID, "container": "3f4e1a09c2d7", "unit": f"libpod-{ID}.scope", "pod": OTHER,
         "slice": f"machine-libpod_pod_{OTHER}.slice"},
    ),
    # podman --cgroups=split, which Quadlet uses
    (
        f"/system.slice/web.service/libpod-payload-{ID}", "podman", "3f4e1a09c2d7",
        {"id": ID, "container": "3f4e1a09c2d7", "unit": "web.service", "slice": "system.slice"},
    ),
    # LXC, LXD, Incus (lxc, src/lxc/cgroups/cgfsng.c: lxc.payload.NAME, lxc.monitor.NAME)
    ("/lxc.payload.c1/init.scope", "lxc", "c1/init.scope", {"container": "c1"}),
    ("/lxc.monitor.c1", "lxc", "c1 (monitor)", {"container": "c1"}),
    ("/lxc.payload.snapcraft_some-container", "lxc", "snapcraft_some-container",
     {"container": "snapcraft_some-container"}),
    ("/lxc.payload/c1", "lxc", "c1", {"container": "c1"}),  # 3.1
    ("/lxc/101/ns", "lxc", "101/ns", {"container": "101"}),  # Proxmox
    # a container of docker in one of LXD
    (f"/lxc.payload.c1/docker/{ID}", "docker", "3f4e1a09c2d7",
     {"id": ID, "container": "3f4e1a09c2d7"}),
    # Kubernetes, cgroupfs driver (kubelet, cm/pod_container_manager_linux.go)
    (
        f"/kubepods/burstable/pod{UID}/{ID}", "kubernetes", "7b6a904a/3f4e1a09c2d7",
        {"pod": UID, "qos": "burstable", "id": ID, "container": "3f4e1a09c2d7"},
    ),
    (f"/kubepods/besteffort/pod{UID}", "kubernetes", "pod 7b6a904a",
     {"pod": UID, "qos": "besteffort"}),
    # guaranteed pods lie above those of the other classes
    (
        f"/kubepods/pod{UID}/{ID}", "kubernetes", "7b6a904a/3f4e1a09c2d7",
        {"pod": UID, "qos": "guaranteed", "id": ID, "container": "3f4e1a09c2d7"},
    ),
    # Kubernetes, systemd driver (cm/cgroup_manager_linux.go, ToSystemd)
    (
        f"/kubepods.slice/kubepods-burstable.slice/{POD}/cri-containerd-{ID}.scope",
        "kubernetes", "7b6a904a/3f4e1a09c2d7",
        {"pod": UID, "qos": "burstable", "id": ID, "container": "3f4e1a09c2d7", "slice": POD,
         "unit": f"cri-containerd-{ID}.scope"},
    ),
    (
        f"/kubepods.slice/kubepods-pod{STATIC}.slice/crio-{ID}.scope/container",
        "kubernetes", "6ed4d9a6/3f4e1a09c2d7/container",
        {"pod": STATIC, "qos": "guaranteed", "id": ID, "container": "3f4e1a09c2d7",
         "slice": f"kubepods-pod{STATIC}.slice", "unit": f"crio-{ID}.scope"},
    ),
    (
        f"/kubepods/burstable/pod{UID}/crio-conmon-{ID}", "kubernetes",
        "7b6a904a/3f4e1a09c2d7 (monitor)",
        {"pod": UID, "qos": "burstable", "id": ID, "container": "3f4e1a09c2d7"},
    ),
    ("/kubepods.slice/kubepods-besteffort.slice", "kubernetes", "kubepods besteffort",
     {"qos": "besteffort", "slice": "kubepods-besteffort.slice"}),
    # kind: the node is a container of docker's (github.com/kubernetes-sigs/kind)
    (
        f"/docker/{OTHER}{KIND}/kubelet-kubepods-besteffort-pod{UNDERSCORED}.slice"
        f"/cri-containerd-{ID}.scope", "kubernetes", "7b6a904a/3f4e1a09c2d7",
        {"pod": UID, "qos": "besteffort", "id": ID, "container": "3f4e1a09c2d7",
         "slice": f"kubelet-kubepods-besteffort-pod{UNDERSCORED}.slice",
         "unit": f"cri-containerd-{ID}.scope"},
    ),
    (
        f"/docker/{OTHER}/kubelet/kubepods/pod{UID}/{ID}", "kubernetes", "7b6a904a/3f4e1a09c2d7",
        {"pod": UID, "qos": "guaranteed", "id": ID, "container": "3f4e1a09c2d7"},
    ),
    # containerd with cgroupfs where the kubelet speaks systemd
    (
        f"/system.slice/containerd.service/{POD}:cri-containerd:{ID}", "kubernetes",
        "7b6a904a/3f4e1a09c2d7",
        {"pod": UID, "qos": "burstable", "id": ID, "container": "3f4e1a09c2d7", "slice": POD},
    ),
    # docker in a pod (a CI runner)
    (
        f"/kubepods/burstable/pod{UID}/{OTHER}/docker/{ID}", "docker", "3f4e1a09c2d7",
        {"pod": UID, "qos": "burstable", "id": ID, "container": "3f4e1a09c2d7"},
    ),
    # systemd (systemd-cgls(1), systemd.slice(5))
    ("/system.slice/ssh.service", "systemd", "ssh.service",
     {"unit": "ssh.service", "slice": "system.slice"}),
    ("/system.slice/web.service/worker", "systemd", "web.service/worker",
     {"unit": "web.service", "slice": "system.slice"}),
    ("/system.slice/system-getty.slice/getty@tty1.service", "systemd", "getty@tty1.service",
     {"unit": "getty@tty1.service", "slice": "system-getty.slice"}),
    ("/init.scope", "systemd", "init.scope", {"unit": "init.scope"}),
    ("/user.slice/user-1000.slice/session-3.scope", "systemd", "session-3.scope",
     {"unit": "session-3.scope", "slice": "user-1000.slice", "user": "1000"}),
    (rf"{USER}/app.slice/app-gnome-org.gnome.Terminal\x2d42.scope", "systemd",
     "app-gnome-org.gnome.Terminal-42.scope",
     {"unit": r"app-gnome-org.gnome.Terminal\x2d42.scope", "slice": "app.slice", "user": "1000"}),
    (r"/machine.slice/machine-qemu\x2d1\x2dvm.scope", "systemd", "machine-qemu-1-vm.scope",
     {"unit": r"machine-qemu\x2d1\x2dvm.scope", "slice": "machine.slice"}),
    # a name that a controller's files could have gets an underscore (systemd, cg_escape)
    ("/system.slice/_memory.service", "systemd", "memory.service",
     {"unit": "memory.service", "slice": "system.slice"}),
    # Slurm on v1 (slurm.schedmd.com/cgroups.html)
    ("/slurm/uid_1000/job_12/step_0/task_3", "slurm", "job 12 step 0 task 3",
     {"job": "12", "step": "0", "user": "1000"}),
    ("/slurm_node1/uid_1000/job_12/step_batch", "slurm", "job 12 step batch",
     {"job": "12", "step": "batch", "user": "1000"}),
    # Slurm on v2 (slurm.schedmd.com/cgroup_v2.html)
    ("/system.slice/slurmstepd.scope/job_1392969/step_0/user/task_0", "slurm",
     "job 1392969 step 0 task 0", {"job": "1392969", "step": "0", "slice": "system.slice"}),
    ("/system.slice/node1_slurmstepd.scope/job_42/step_extern/slurm", "slurm",
     "job 42 step extern/slurm", {"job": "42", "step": "extern", "slice": "system.slice"}),
    ("/system.slice/slurmstepd.scope/system", "slurm", "slurm/system", {"slice": "system.slice"}),
    # climits
    ("/climits/web", "climits", "web", {}),
    ("/climits/web/inner", "climits", "web/inner", {}),
    ("/climits", "climits", "climits", {}),
    (f"{USER}/app.slice/run-u1.scope/climits/web", "climits", "web",
     {"unit": "run-u1.scope", "slice": "app.slice", "user": "1000"}),
    ("/climits/climits", "climits", "climits", {}),
    # the path tells nothing
    ("/", "", "/", {}),
    ("/jobs/big", "", "jobs/big", {}),
    ("/jobs/slurm", "", "jobs/slurm", {}),
    (f"/jobs/{ID[:-1]}", "", f"jobs/{ID[:-1]}", {}),
    ("/jobs/docker-3f4e1a09c2d7.scope", "systemd", "docker-3f4e1a09c2d7.scope",
     {"unit": "docker-3f4e1a09c2d7.scope"}),
]  # fmt: skip

FACTS = ("id", "unit", "slice", "pod", "qos", "container", "job", "step", "user")


@pytest.mark.parametrize(("path", "runtime", "name", "facts"), PATHS, ids=[p[0] for p in PATHS])
def test_the_owner_of_a_path(path, runtime, name, facts):
    owner = owner_of(path)
    assert (owner.runtime, owner.name) == (runtime, name)
    assert {each: getattr(owner, each) for each in FACTS} == dict.fromkeys(FACTS) | facts


part = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["kubepods", "burstable", f"pod{UID}", ID, "docker", "default", "lxc", "lxc.payload",
         "climits", "slurm", "job_1", "step_", "task_1", POD, f"{POD}:cri-containerd:{ID}",
         f"docker-{ID}.scope", "libpod_parent", "user@7.service", r"a\x2d\xff.slice", "..", ""]
    ),
)  # fmt: skip


@given(st.lists(part, max_size=8).map("/".join))
@example("/")
@example("")
def test_every_path_has_an_owner(path):
    owner = owner_of(path)
    assert owner.name
    assert owner.runtime in (
        "", "docker", "containerd", "podman", "lxc", "kubernetes", "systemd", "slurm", "climits"
    )  # fmt: skip
    assert all(isinstance(value, str) for value in owner.as_dict().values())


def test_the_names_of_units_are_unescaped():
    assert unescape(r"dev-disk-by\x2duuid-a.swap") == "dev-disk-by-uuid-a.swap"
    assert unescape(r"caf\xc3\xa9.service") == "café.service"
    assert unescape(r"bad\xff.service") == "bad�.service"
    assert unescape("plain-name.service") == "plain-name.service"


# ---- finding -------------------------------------------------------------------------------

TREE = [
    "/", "/system.slice", "/system.slice/web.service", f"/docker/{ID}", f"/docker/{ID}/init.scope",
    f"/machine.slice/libpod-{OTHER}.scope", f"/machine.slice/libpod-conmon-{OTHER}.scope",
    "/lxc.payload.c1", "/lxc.monitor.c1", "/default/redis", f"/kubepods/pod{UID}",
    f"{USER}/app.slice/web.service", f"{USER}/app.slice/web.service".replace("1000", "7"),
    r"/system.slice/a\x2db.service",
]  # fmt: skip


def paths_of(word):
    return [each.paths for each in find_all(word, TREE)]


@pytest.mark.parametrize("word", [ID[:12], ID, ID[:6]])
def test_a_container_is_found_by_the_beginning_of_its_id(word):
    assert paths_of(word) == [[f"/docker/{ID}", f"/docker/{ID}/init.scope"]]


def test_its_monitor_comes_last():
    found = find_one(OTHER[:12], TREE)
    assert found.paths[0] == f"/machine.slice/libpod-{OTHER}.scope"
    assert found.owner.name == OTHER[:12]
    assert paths_of("c1") == [["/lxc.payload.c1", "/lxc.monitor.c1"]]


def test_names_of_containers_pods_and_units_are_found():
    assert paths_of("redis") == [["/default/redis"]]
    assert paths_of(UID[:8]) == paths_of(UID) == [[f"/kubepods/pod{UID}"]]
    assert paths_of("a-b") == paths_of("a-b.service") == [[r"/system.slice/a\x2db.service"]]
    assert paths_of("system.slice") == [["/system.slice"]]
    assert paths_of("nothing") == []


def test_an_id_that_begins_two_lists_both():
    assert len(paths_of("3f4e1")) == 2
    with pytest.raises(InvalidValueError) as caught:
        find_one("3f4e1", TREE)
    assert str(caught.value) == (
        f"'3f4e1' matches 2: docker {ID[:20]}, podman {OTHER[:20]}"
    )  # fmt: skip
    assert "more of the id" in caught.value.hint


def test_a_unit_of_several_users_is_ambiguous():
    with pytest.raises(InvalidValueError, match="matches 3: systemd"):
        find_one("web", TREE)


def test_an_exact_name_beats_the_beginning_of_an_id():
    tree = [*TREE, f"/default/{ID[:6]}"]
    assert find_one(ID[:6], tree).paths == [f"/default/{ID[:6]}"]


def test_nothing_found_is_an_error_that_says_what_to_do():
    with pytest.raises(CgroupGoneError, match="is called 'nothing'") as caught:
        find_one("nothing", TREE)
    assert "--all" in caught.value.hint
