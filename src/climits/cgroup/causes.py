"""Why the kernel refuses, or there is no such parameter: the likely cause and what to do."""

import errno
import os

from ..errors import CgroupError, InvalidValueError, UnsupportedError
from .files import Directory
from .layout import KERNEL_PREFIXES, current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .group import Cgroup
    from .placement import Part

#: (file, errno): the likely cause, as a hint.
_CAUSES = {
    ("memory.limit_in_bytes", errno.EINVAL): "a size such as 64M, not above "
    "memory.memsw.limit_in_bytes; memory.max sets both in the right order",
    ("memory.memsw.limit_in_bytes", errno.EINVAL): "a size such as 64M, not below "
    "memory.limit_in_bytes; swap.max sets both in the right order",
    ("memory.oom_control", errno.EINVAL): "write 0 or 1, and not to the root cgroup",
    ("memory.swappiness", errno.EINVAL): "write 0 to 200",
    ("memory.move_charge_at_immigrate", errno.EINVAL): "this kernel no longer moves charges",
    ("memory.use_hierarchy", errno.EINVAL): "this kernel always counts hierarchically",
    ("memory.reclaim", errno.EAGAIN): "less than that could be reclaimed",
    ("memory.oom.group", errno.EINVAL): "write 0 or 1",
    ("freezer.state", errno.EINVAL): "write FROZEN or THAWED",
    ("cgroup.freeze", errno.ERANGE): "write 0 or 1",
    ("cgroup.freeze", errno.EINVAL): "write 0 or 1",
    ("pids.max", errno.EINVAL): "write a number of processes and threads, or max",
    ("cpu.max", errno.EINVAL): "write QUOTA PERIOD in microseconds, 1000 at least and PERIOD 1s "
    "at most, or max",
    ("cpu.weight", errno.ERANGE): "write 1 to 10000; 100 is the default",
    ("cpu.cfs_quota_us", errno.EINVAL): "1000 at least, and no more of the period than the "
    "cgroups above have",
    ("cpu.cfs_period_us", errno.EINVAL): "write 1000 to 1000000",
    ("cpuset.cpus", errno.EBUSY): "a child, or an exclusive sibling, uses some of them",
    ("cpuset.cpus", errno.ENOSPC): "processes live in it, and they need a CPU",
    ("cpuset.mems", errno.ENOSPC): "processes live in it, and they need a memory node",
    ("cgroup.procs", errno.ENOSPC): "set cpuset.cpus and cpuset.mems first",
    ("cgroup.procs", errno.EBUSY): "on cgroup v2 processes live in leaves: it hands controllers "
    "down to its children",
    ("cgroup.procs", errno.EOPNOTSUPP): "it is threaded: write to cgroup.threads",
    ("cgroup.procs", errno.ESRCH): "there is no such process",
    ("tasks", errno.ENOSPC): "set cpuset.cpus and cpuset.mems first",
    ("tasks", errno.ESRCH): "there is no such thread",
    ("cgroup.threads", errno.EOPNOTSUPP): "make it threaded first: cgroup.type=threaded",
    ("cgroup.subtree_control", errno.EBUSY): "processes live in it",
    ("cgroup.subtree_control", errno.ENOENT): "hand the controller down in the cgroups above first",
    ("cgroup.subtree_control", errno.EINVAL): "write +NAME or -NAME of controllers",
}


def likely_cause(part: "Part", file: str, number: int) -> "str | None":
    """Why the kernel may have refused a write to a file, as a hint; None where nothing is known."""
    hint = _CAUSES.get((file, number))
    if hint is None and file in ("cpuset.cpus", "cpuset.mems") and number in (
        errno.EINVAL, errno.EACCES, errno.ERANGE,
    ):  # fmt: skip
        above = os.path.dirname(part.directory.path)
        try:
            data = Directory(above).read_optional(file)
        except CgroupError:
            data = None
        have = (data or b"").decode().strip()
        return "write a list such as 0-1,3" + (f", out of what is above it: {have}" if have else "")
    return hint


def no_such_parameter(
    group: "Cgroup", name: str, known: "Iterable[str]"
) -> "InvalidValueError | UnsupportedError":
    """Why there is no such parameter here.

    Args:
        group: where.
        name: what was asked for.
        known: the parameters that there are.
    """
    controller = name.partition(".")[0]
    layout = current()
    part = group.part(controller)
    if controller in KERNEL_PREFIXES - {"cgroup", "io"} and part is None:
        hierarchy = layout.holding(controller)  # or it says why there is none
        return UnsupportedError(
            f"{name}: {group.path} is not in the hierarchy of {controller}",
            hint=f"make it anew: climits create NAME --controllers {controller}; or use one below "
            f"{hierarchy.mount_point}",
        )
    if part is not None and part.hierarchy.delegates and not _is_handed_down(part, controller):
        upper = os.path.dirname(part.directory.path)
        return UnsupportedError(
            f"{name}: the {controller} controller is not handed down to {group.path}",
            hint=f"climits set {upper} cgroup.subtree_control=+{controller}",
        )
    import difflib

    known = set(known)
    counterpart = COUNTERPARTS.get(name)
    if counterpart in known:
        hint = f"did you mean {counterpart}?"
    elif group.path == "/":
        hint = "the root cgroup has no limits, and few files: make a cgroup, climits create NAME"
    elif name in COUNTERPARTS.values() or name.startswith("io."):
        hint = "climits explain tells what there is instead"
    elif close := difflib.get_close_matches(name, known, 1):
        hint = f"did you mean {close[0]}?"
    else:
        hint = f"climits get {group.path} --all lists them"
    return InvalidValueError(
        f"no such parameter in {group.path}: {name[:80]}", value=name, hint=hint
    )


def _is_handed_down(part: "Part", controller: str) -> bool:
    data = part.directory.read_optional("cgroup.controllers")
    return data is None or controller in data.decode().split()


#: What people know from v1, where there is only v2.
COUNTERPARTS = {
    "memory.limit_in_bytes": "memory.max",
    "memory.soft_limit_in_bytes": "memory.low",
    "memory.memsw.limit_in_bytes": "swap.max",
    "memory.usage_in_bytes": "memory.current",
    "memory.max_usage_in_bytes": "memory.peak",
    "memory.oom_control": "memory.events",
    "memory.failcnt": "memory.events",
    "memory.force_empty": "memory.reclaim",
    "cpu.shares": "cpu.weight",
    "cpu.cfs_quota_us": "cpu.max",
    "cpu.cfs_period_us": "cpu.max",
    "cpuset.effective_cpus": "cpuset.cpus.effective",
    "cpuset.effective_mems": "cpuset.mems.effective",
    "freezer.state": "cgroup.freeze",
    "tasks": "cgroup.threads",
}
