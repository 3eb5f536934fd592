"""`climits setup` on a real kernel: a user's subtree, mounts, and the inside of containers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import PATIENCE, until

from climits.cgroup.layout import current
from climits.observe.setup.journal import Journal
from climits.observe.setup.steps import Step
from climits.observe.setup.subtree import CONTROLLERS, SESSION, OwnedSubtree
from climits.observe.setup.work import take, take_back

UID = 61234
PREFIX = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups")
ENTRY = "import sys; from climits.cli.main import main; main()"


def sh(script, *words, **options):
    return subprocess.run(
        ["sh", "-c", script, "sh", *map(str, words)], capture_output=True, text=True,
        timeout=60 * PATIENCE, check=False, **options,
    )  # fmt: skip


# ---- an owned subtree ----------------------------------------------------------------------


@pytest.fixture
def user_runs():
    """Skip where an ordinary user cannot run this interpreter."""
    if subprocess.run([*PREFIX, sys.executable, "-c", ""], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("an ordinary user cannot run this interpreter here (it lies in root's home)")


@pytest.fixture
def subtree(tmp_path):
    """A subtree of an unused user's, made as setup makes it, and its journal's places."""
    path = f"/climits-test-{os.getpid()}/user"
    places = str(tmp_path / "lib"), str(tmp_path / "run")
    change = OwnedSubtree(current(), path, UID, UID)
    step = Step(title="make it", why="w", commands=(), changes=(change,), state="needed")
    with Journal(places) as journal:
        assert [s.title for s in take([step], journal, "u")] == ["make it"]
    yield change, step, places
    with Journal(places) as journal:
        left = [entry.left for entry in take_back(journal, None)]
    assert [text for text in left if text] == []
    for hierarchy in current().hierarchies:
        assert not os.path.exists(hierarchy.directory_path(os.path.dirname(path)))


def directories(change):
    return [Path(h.directory_path(change.target)) for h in change._hierarchies]


def test_the_subtree_is_the_users_but_not_its_limits(subtree):
    change, step, places = subtree
    assert change.is_done()
    for directory in directories(change):
        mine = {p.name for p in [directory, *directory.iterdir()] if p.stat().st_uid == UID}
        assert {directory.name, "cgroup.procs"} <= mine
        # What limits the user as a whole stays the administrator's.
        assert not [n for n in mine if n.startswith(("memory.", "cpu.", "cpuset.", "pids."))]
    with Journal(places) as journal:
        assert list(take([step], journal, "u")) == []


def test_a_subtree_that_is_in_part_anothers_is_put_right(subtree):
    change, step, places = subtree
    os.chown(directories(change)[0] / "cgroup.procs", 0, 0)
    assert not change.is_done()
    with Journal(places) as journal:
        assert len(list(take([step], journal, "u"))) == 1
    assert change.is_done()


def test_a_run_in_the_subtree(subtree, user_runs, hog):
    change, _, _ = subtree
    sessions = [directory / SESSION for directory in directories(change)]
    join = "".join(f"echo $$ >{s}/cgroup.procs; " for s in sessions if s.is_dir())
    done = sh(
        f'{join} exec "$@"', *PREFIX, sys.executable, "-c", ENTRY, "run", "--parent", change.target,
        "--memory", "60M", "--cpuset", "0", "--pids", "50", "--cpus", "1", "--no-history", "--json",
        "-", "--", hog, "alloc", "80",
    )  # fmt: skip
    assert done.returncode == 137, done.stderr
    result = json.loads(done.stdout)
    assert (result["verdict"], result["memory_max"]) == ("oom-killed", 60 << 20)


def test_a_plain_v1_subtree_works_from_everywhere(subtree, user_runs, on_v1):
    if current().unified is not None:
        pytest.skip("beside cgroup v2 only a process of the subtree can start others in it")
    change, _, _ = subtree
    words = [*PREFIX, sys.executable, "-c", ENTRY, "run", "--parent", change.target, "--memory"]
    done = sh('exec "$@"', *words, "60M", "--no-history", "--", "true")
    assert done.returncode == 0, done.stderr


def test_what_runs_in_the_subtree_keeps_it(subtree):
    change, _, places = subtree
    directory = directories(change)[0]
    leaf = directory / SESSION if (directory / SESSION).is_dir() else directory
    with subprocess.Popen(["sleep", "1000"]) as program:
        try:
            (leaf / "cgroup.procs").write_text(str(program.pid))
            with Journal(places) as journal:
                left = [entry.left for entry in take_back(journal, None)]
            assert len(left) == 1 and "left as it is" in left[0]
            assert leaf.is_dir()
        finally:
            program.kill()


# ---- mounts --------------------------------------------------------------------------------


def climits(*words):
    return " ".join([sys.executable, "-c", f"'{ENTRY}'", *words])


UNMOUNT = """
set -e
mount --make-rprivate /
rmdir /sys/fs/cgroup/climits /sys/fs/cgroup/*/climits 2>/dev/null || true
for m in $(awk '$3 ~ /^cgroup/ {print $2}' /proc/mounts | sort -r); do umount $m; done
umount /sys/fs/cgroup 2>/dev/null || true
! grep -q '^[^ ]* [^ ]* cgroup' /proc/mounts
set +e
"""


@pytest.fixture
def bare(tmp_path):
    """Run a script where no cgroup filesystem is mounted: in a mount namespace of its own."""
    if os.path.isdir("/run/systemd/system"):
        pytest.skip("systemd mounts them")

    def run(script):
        places = "mount -t tmpfs tmpfs /run; "
        return sh('exec unshare -m sh -c "$1"', f"{UNMOUNT}\n{places}\n{script}")

    return run


MOUNTED = "awk '$3 ~ /^cgroup|^tmpfs/ && $2 ~ /cgroup/ {print $2, $3}' /proc/mounts"


@pytest.mark.vm_only
def test_mount_v2_and_back(bare, on_v2):
    if current().mode != "unified":
        pytest.skip("needs a kernel whose controllers are free for cgroup v2")
    done = bare(f"""
{climits("setup", "--mount", "v2")}; {climits("setup", "--mount", "v2")}; {MOUNTED}
{climits("run", "--memory", "60M", "--quiet", "--no-history", "--", "true")}; echo run $?
{climits("setup", "--mount", "v1")}; {climits("setup", "--mount", "v2", "--undo")}; {MOUNTED}
{climits("setup", "--undo")}""")
    assert done.stdout.splitlines() == [
        "done      mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup",
        "nothing to do",
        "/sys/fs/cgroup cgroup2",
        "run 0",
        "undone    /sys/fs/cgroup",
        "nothing to undo",
    ], done.stderr
    assert "cgroup v2 is mounted on /sys/fs/cgroup; hint: umount" in done.stderr


@pytest.mark.vm_only
def test_mount_v1_then_v2_beside_it(bare, on_v1):
    done = bare(f"""
{climits("setup", "--mount", "v1:memory,freezer")}; {MOUNTED}
{climits("run", "--memory", "60M", "--quiet", "--no-history", "--", "true")}; echo run $?
{climits("setup", "--mount", "v1:nosuch")}; {climits("setup", "--mount", "v2")}
{climits("setup", "--mount", "hybrid:memory", "--quiet")}; {MOUNTED}
{climits("setup", "--undo")}; {MOUNTED}""")
    both = ["/sys/fs/cgroup tmpfs", "/sys/fs/cgroup/memory cgroup", "/sys/fs/cgroup/freezer cgroup"]
    assert done.stdout.splitlines() == [
        "done      mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup",
        "done      mount -t cgroup -o memory cgroup /sys/fs/cgroup/memory",
        "done      mount -t cgroup -o freezer cgroup /sys/fs/cgroup/freezer",
        *both,
        "run 0",
        *both,
        "/sys/fs/cgroup/unified cgroup2",
        "undone    /sys/fs/cgroup/unified",
        "undone    /sys/fs/cgroup/freezer",
        "undone    /sys/fs/cgroup/memory",
        "undone    /sys/fs/cgroup",
    ], done.stderr
    assert "'nosuch': not a controller" in done.stderr
    assert "nothing was mounted: cgroup v1 is mounted; hint: --mount hybrid" in done.stderr


@pytest.mark.vm_only
def test_without_any_mount_doctor_says_how(bare):
    done = bare(f"{climits('doctor', '--quiet')}; echo $?")
    assert "as root: climits setup --mount v2" in " ".join(done.stdout.split())
    assert done.stdout.splitlines()[-1] == "2"


# ---- inside a container --------------------------------------------------------------------


@pytest.fixture
def namespace(on_v2):
    """Run a script in a private cgroup namespace with its cgroup filesystem, as containers do."""
    if current().holding("memory").mount_point != "/sys/fs/cgroup":
        pytest.skip("needs cgroup v2 alone")
    own = Path(f"/sys/fs/cgroup/climits-box-{os.getpid()}")
    control = Path("/sys/fs/cgroup/cgroup.subtree_control")
    control.write_text(" ".join(f"+{name}" for name in CONTROLLERS))
    own.mkdir()

    def run(script, *, options="rw"):
        mount = f"mount -t cgroup2 -o {options} cgroup2 /sys/fs/cgroup && mount -t tmpfs t /run"
        inside = f"umount /sys/fs/cgroup; {mount}\nexport container=oci\n{script}"
        return sh(f'echo $$ >{own}/cgroup.procs; exec unshare -C -m sh -c "$1"', inside)

    yield run
    (own / "cgroup.kill").write_text("1")
    until(lambda: "populated 0" in (own / "cgroup.events").read_text())
    for path, _, _ in os.walk(own, topdown=False):
        os.rmdir(path)


BESIDE = "sleep 1000 & "


@pytest.mark.vm_only
def test_a_busy_root_is_told_and_freed(namespace):
    done = namespace(f"""{BESIDE}
{climits("run", "--memory", "60M", "--no-history", "--", "true")}; echo run $?
{climits("doctor", "--quiet")}
{climits("setup")}
{climits("setup", "--apply")}; cat /sys/fs/cgroup/cgroup.procs | wc -l
{climits("setup", "--apply")}
{climits("run", "--memory", "60M", "--quiet", "--no-history", "--", "true")}; echo run $?
{climits("setup", "--undo")}; cat /sys/fs/cgroup/cgroup.subtree_control | wc -w
ls -d /sys/fs/cgroup/*/; kill $!""")
    lines = done.stdout.splitlines()
    told = " ".join(done.stdout.split())
    assert lines[0] == "run 125" and "processes live in it" in done.stderr
    assert "as root in the container: climits setup --apply" in told
    assert "needed move the processes of this container's root cgroup into" in told
    assert "/sys/fs/cgroup/climits-init" in told
    at = next(i for i, line in enumerate(lines) if line.startswith("done "))
    rest = [line for line in lines[at:] if line[:1] != " "]
    assert rest[1:] == ["0", "nothing to do", "run 0", "undone    /sys/fs/cgroup", "0"], done.stderr
    assert "/sys/fs/cgroup/climits-init" not in done.stderr


@pytest.mark.vm_only
def test_alone_in_the_root_no_setup_is_needed(namespace):
    words = climits("run", "--memory", "60M", "--quiet", "--no-history", "--", "true")
    done = namespace(f"exec {words}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.vm_only
def test_a_read_only_tree_names_the_run_command(namespace):
    done = namespace(
        f"""{climits("run", "--memory", "60M", "--no-history", "--", "true")}; echo run $?
{climits("setup")}; {climits("setup", "--apply")}; {climits("doctor", "--quiet")}""",
        options="ro",
    )
    told = " ".join(done.stdout.split())
    assert told.startswith("run 125") and "mounted read-only" in done.stderr
    assert told.count("by hand start this container with a writable /sys/fs/cgroup") == 2
    assert told.count("--cgroupns=private") == 3


# ---- with runc -----------------------------------------------------------------------------


@pytest.fixture
def runc(tmp_path, on_v2):
    """Run a script in a container of runc's, over a copy of the mount of this machine's root."""
    if not shutil.which("runc"):
        pytest.skip("needs runc")
    if current().mode != "unified":
        pytest.skip("needs cgroup v2 alone")
    root = tmp_path / "rootfs"
    root.mkdir()
    subprocess.run(["mount", "--bind", "/", root], check=True)
    subprocess.run(["runc", "spec"], cwd=tmp_path, check=True)
    spec = json.loads((tmp_path / "config.json").read_text())
    name = f"climits-{os.getpid()}"

    def run(script, *, writable, beside=":", words=()):
        spec["process"].update(terminal=False, args=["/bin/sh", "-c", script], cwd="/")
        spec["process"]["env"] = [f"PATH={os.environ['PATH']}", "container=runc", "HOME=/root"]
        rights = spec["process"]["capabilities"]
        for kind in rights:
            rights[kind] = ["CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_CHOWN", "CAP_SYS_RESOURCE"]
        spec["root"] = {"path": "rootfs", "readonly": False}
        spec["mounts"].append({"destination": "/run", "type": "tmpfs", "source": "tmpfs"})
        for mount in spec["mounts"]:
            if mount["type"] == "cgroup" and writable:
                mount["options"] = [o for o in mount["options"] if o != "ro"]
            elif mount["type"] == "cgroup":
                mount["options"] = sorted({*mount["options"], "ro"})
        spec["linux"]["cgroupsPath"] = f"/{name}"
        (tmp_path / "config.json").write_text(json.dumps(spec))
        start = f'cd "$1" && runc --root "$1/state" run {name} & {beside}; wait'
        return sh(start, tmp_path, *words)

    yield run
    subprocess.run(["umount", root], check=True)


@pytest.mark.vm_only
def test_in_a_container_of_runc(runc):
    once = climits("run", "--memory", "60M", "--quiet", "--no-history", "--", "true")
    done = runc(
        f"{BESIDE} {once}; echo run $?; "
        f"{climits('setup', '--apply', '--quiet')}; {once}; echo run $?; kill $!",
        writable=True,
    )
    assert done.stdout.splitlines() == ["run 125", "run 0"], done.stderr
    done = runc(f"{once}; echo run $?; {climits('doctor', '--quiet')}", writable=False)
    assert "run 125" in done.stdout and "is mounted read-only" in done.stdout, done.stderr
    assert "--cgroupns=private" in " ".join(done.stdout.split())


@pytest.mark.vm_only
def test_what_is_started_in_the_container_later(runc, tmp_path):
    once = climits("run", "--memory", "60M", "--quiet", "--no-history", "--", "true")
    enter = f'runc --root "$1/state" exec climits-{os.getpid()} sh -c'
    # It joins process 1, wherever that has been moved to.
    done = runc(
        f"{BESIDE} {climits('setup', '--apply', '--quiet')}; touch /run/up; wait",
        writable=True,
        beside=f"""until {enter} 'test -e /run/up' 2>/dev/null; do sleep 1; done
{enter} 'cat /proc/self/cgroup'; {enter} "$2"; echo exec $?
runc --root "$1/state" kill climits-{os.getpid()} KILL""",
        words=[once],
    )
    assert done.stdout.splitlines() == ["0::/climits-init", "exec 0"], done.stderr


# ---- with podman ---------------------------------------------------------------------------


@pytest.mark.vm_only
@pytest.mark.parametrize(
    ("option", "writable"),
    [("--cgroupns=private", False), ("--security-opt=unmask=/sys/fs/cgroup", True),
     ("--privileged", True)],
)  # fmt: skip
def test_in_a_container_of_podman(tmp_path, on_v2, option, writable):
    if not shutil.which("podman"):
        pytest.skip("needs podman")
    if current().mode != "unified":
        pytest.skip("needs cgroup v2 alone")
    root = tmp_path / "rootfs"
    root.mkdir()
    subprocess.run(["mount", "--bind", "/", root], check=True)
    words = climits("run", "--memory", "60M", "--quiet", "--no-history", "--", "true")
    script = (
        f"{BESIDE} {words}; echo run $?; {climits('doctor')} | grep -A3 -E '^ok +container'; "
        f"{climits('setup', '--apply', '--quiet')}; {words}; echo run $?; kill $!"
    )
    try:
        done = sh(
            # It wants short paths; the machine is thrown away.
            "exec podman --root /run/podman/s --runroot /run/podman/r --storage-driver=vfs "
            "--cgroup-manager=cgroupfs --events-backend=none run --rm --network=none "
            '--cgroupns=private --log-driver=none "$2" --rootfs "$1/rootfs" sh -c "$3"',
            tmp_path, option, script,
        )  # fmt: skip
    finally:
        subprocess.run(["umount", root], check=True)
    assert done.stdout, done.stderr
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("run 125", f"run {0 if writable else 125}"), done.stderr
    assert "podman (/run/.containerenv), in a cgroup namespace" in " ".join(done.stdout.split())
    if not writable:
        assert "mounted read-only" in done.stderr
