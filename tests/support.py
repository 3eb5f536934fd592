"""What tests and fixtures share."""

import os
import time
from pathlib import Path

from climits.cgroup import placement
from climits.cgroup.layout import current

HERE = Path(__file__).parent
#: Compiled on the host and seen by the VM through its shared root.
PROGRAMS = HERE / "programs" / ".build"
IN_VM = bool(os.environ.get("VM_MODE"))
#: Under software emulation processes start up to 40 times slower.
PATIENCE = 20.0 if IN_VM else 1.0


def our_cgroups():
    """Directories of climits' own cgroups, the parent left out."""
    found = []
    for hierarchy in current().hierarchies:
        home = Path(hierarchy.directory_path(placement.HOME))
        if home.is_dir():
            found += [str(p) for p in home.rglob("*") if p.is_dir()]
        top = Path(hierarchy.mount_point)
        found += [str(p) for p in top.iterdir() if p.name.startswith("climits-")]
    return sorted(found)


def gone(pid):
    """No such process, or a zombie that init has not yet reaped."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def until(condition, what="waited in vain"):
    """Ask until it is true; fails after ten seconds, or as many as the VM needs."""
    deadline = time.monotonic() + 10 * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)
