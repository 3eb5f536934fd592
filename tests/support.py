"""What tests and fixtures share."""

import os
import time
from pathlib import Path

from climits.cgroup import ownership, placement
from climits.cgroup.layout import current

HERE = Path(__file__).parent
#: Compiled on the host and seen by the VM through its shared root.
PROGRAMS = HERE / "programs" / ".build"
IN_VM = bool(os.environ.get("VM_MODE"))
#: Under software emulation processes start up to 40 times slower.
PATIENCE = 20.0 if IN_VM else 1.0
#: An ordinary user: nobody.
USER = 65534


def our_cgroups():
    """Directories of climits' cgroups, the parent and those of another living climits left out."""
    while True:
        try:
            return _our_cgroups()
        except FileNotFoundError:
            continue  # one was removed while we looked


def _our_cgroups():
    found = []
    for hierarchy in current().hierarchies:
        home = Path(hierarchy.directory_path(placement.HOME))
        if home.is_dir():
            found += [p for p in home.rglob("*") if p.is_dir()]
        found += [p for p in Path(hierarchy.mount_point).iterdir() if p.name.startswith("climits-")]
    return sorted(str(path) for path in found if not _is_somebody_elses(path))


def _is_somebody_elses(path):
    """Made by a living climits that is not of this test run."""
    try:
        pid = ownership.owner_pid(os.getxattr(path, ownership.MARK))
        while pid and pid != os.getpid():
            with open(f"/proc/{pid}/stat") as file:
                pid = int(file.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return False
    return pid == 0


def gone(pid):
    """No such process, or a zombie that init has not yet reaped."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def ignores(pid, number, field="SigIgn"):
    """Whether a process has come so far as to ignore a signal."""
    with open(f"/proc/{pid}/status") as file:
        mask = int(file.read().partition(f"{field}:")[2].split()[0], 16)
    return bool(mask >> (number - 1) & 1)


def catches(pid, number):
    """Whether a process has come so far as to handle a signal."""
    return ignores(pid, number, "SigCgt")


def until(condition, what="waited in vain"):
    """Ask until it is true; fails after ten seconds, or as many as the VM needs."""
    deadline = time.monotonic() + 10 * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)
