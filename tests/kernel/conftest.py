"""What the tests on a real kernel share: cgroups, and the surroundings of containers."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support import HERE, PROGRAMS, USER

import climits
from climits.cgroup.layout import current

BUSYBOX = "/bin/busybox"
#: Options of the program; the others are the container's.
PROCESS = ("cwd", "env", "timeout", "user", "group", "name")
#: As the command does; an ordinary user may not look into the directory of the script.
ENTRY = "import sys; from climits.cli.main import main; main()"
NAMES = ("sh", "ls", "cat", "ps", "id", "touch", "true", "sleep", "dd", "hostname", "mount")


@pytest.fixture(scope="session")
def busybox():
    if not os.path.exists(BUSYBOX):
        pytest.skip("needs a static busybox: apt-get install busybox-static")
    return BUSYBOX


@pytest.fixture
def the_host_is_as_before():
    """No mount and no host name of a container's is seen outside."""
    mounts = Path("/proc/self/mountinfo")
    before = mounts.read_text(), os.uname().nodename
    yield
    assert (mounts.read_text(), os.uname().nodename) == before


@pytest.fixture(scope="session")
def escape():
    """Path of the program that tries to get out, linked statically."""
    source, binary = HERE / "programs" / "escape.c", PROGRAMS / "escape"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        PROGRAMS.mkdir(exist_ok=True)
        new = PROGRAMS / f"escape.{os.getpid()}"
        subprocess.run(["gcc", "-O1", "-static", "-o", new, source], check=True)
        new.rename(binary)
    return str(binary)


@pytest.fixture
def place(tmp_path):
    """A directory that anybody can write, and reach."""
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(0o777)
    for path in place.parents:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o005 != 0o005:  # what pytest has made
            path.chmod(mode | 0o055)
    return place


@pytest.fixture
def rootfs(tmp_path, escape, busybox):
    """A small system: busybox and the program that tries to get out."""
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "etc").mkdir()
    shutil.copy(busybox, root / "bin/busybox")
    shutil.copy(escape, root / "bin/escape")
    for name in NAMES:
        (root / "bin" / name).symlink_to("busybox")
    # What an escape would find: a file that is outside, under a name that is not inside.
    (tmp_path / "outside").write_text("here")
    return root


@pytest.fixture
def inside():
    """Run a command in a container: the result, with standard output and error as text."""

    def run(*command, memory="50M", **options):
        process = {k: options.pop(k) for k in PROCESS if k in options}
        return climits.run(
            list(command), memory=memory, container=climits.Container(**options),
            capture_output=True, text=True, **process,
        )  # fmt: skip

    return run


class AnOrdinaryUser:
    """Runs commands as an ordinary user, in a cgroup that was delegated to them.

    Attributes:
        paths: directories of that cgroup.
        before: words before each command, which become it in the end.
    """

    prefix = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")

    def __init__(self, paths):
        self.paths, self.before = paths, []

    def __call__(self, *words):
        return self.run(ENTRY, "container", "--memory", "50M", *words)

    def enter(self, *words):
        return self.run(ENTRY, "enter", "--quiet", *words)

    def run(self, code, *words):
        # On v2 processes live in leaves: climits has made one for those that are here.
        leaves = [p if not os.path.isdir(leaf := f"{p}/climits-self") else leaf for p in self.paths]
        join = "".join(f"echo $$ > {leaf}/cgroup.procs; " for leaf in leaves)
        command = [*self.before, *self.prefix, sys.executable, "-c", code, *map(str, words)]
        return subprocess.run(
            ["sh", "-c", f'{join} exec "$@"', "sh", *command],
            capture_output=True, text=True, cwd="/",
        )  # fmt: skip


@pytest.fixture
def as_user():
    prefix = AnOrdinaryUser.prefix
    if subprocess.run([*prefix, sys.executable, "-c", "pass"], capture_output=True).returncode:
        pytest.skip("an ordinary user cannot run this interpreter here (it lies in root's home)")
    needed = [current().holding("memory"), *current().trackers()]
    paths = [f"{h.mount_point}/climits-delegated" for h in dict.fromkeys(needed)]
    if current().holding("memory").delegates:
        control = Path(current().holding("memory").mount_point, "cgroup.subtree_control")
        control.write_text("+memory")
    for path in paths:
        os.makedirs(path, exist_ok=True)
        for name in ("", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"):
            if os.path.exists(f"{path}/{name}"):
                os.chown(f"{path}/{name}", USER, USER)
    yield AnOrdinaryUser(paths)
    for path in paths:
        for below, _, _ in os.walk(path, topdown=False):
            os.rmdir(below)


@pytest.fixture
def zeros():
    """(path of a device that a container has not, words that make it give zeros to a command)."""
    names = ("net/tun", "loop-control", "fuse", "hwrng", "kmsg")
    path = next((f"/dev/{name}" for name in names if os.path.exists(f"/dev/{name}")), None)
    if path is None:
        pytest.skip("there is no device here that a container has not anyway")
    cover = f'mount --bind /dev/zero {path} && exec "$@"'
    return path, ["unshare", "--mount", "sh", "-c", cover, "sh"]


@pytest.fixture
def groups():
    """groups(path, **limits) makes /climits/PATH; all are emptied and removed at the end."""
    made = []

    def make(path, **limits):
        parent, _, name = f"/climits/{path}".rpartition("/")
        made.append(climits.Cgroup.create(name, parent=parent, **limits))
        return made[-1]

    yield make
    for group in reversed(made):
        if not group.tracker.directory.is_gone():
            group.kill()
        group.remove()
        group.close()
