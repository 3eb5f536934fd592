"""`climits classify`: move running processes into a cgroup."""

import errno
import os

from ..errors import CgroupError, InvalidValueError
from .cgroups import the_cgroup
from .main import FAILED, complain
from .options import CGROUP, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--thread", None, "switch", CGROUP, "the numbers are of threads, moved alone"),
)
ANYWHERE = True
USAGE = "climits classify NAME PID... [OPTIONS]"
EPILOG = """\
Each process is moved with all its threads, into every hierarchy that has the
cgroup. What it has allocated so far stays charged to where it was. On cgroup v2
--thread works within a threaded subtree.

example:
  climits classify web $(pidof app)
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Move each; one that cannot be is told, and the others are moved."""
    pids = []
    for word in words[1:]:
        text = word.removeprefix("pid:")
        if not (text.isascii() and text.isdigit()) or not 0 < int(text[:20]) < 1 << 31:
            raise InvalidValueError(f"not a pid: {word}", value=word, hint="write a number")
        pids.append(int(text))
    group = the_cgroup(words[:1], "classify")
    if not pids:
        raise InvalidValueError("no process was given", hint="climits classify NAME PID")
    move = group.attach_thread if values.get("thread") else group.attach
    status = 0
    for pid in pids:
        try:
            move(pid)
        except CgroupError as e:
            status = FAILED
            complain(_told(e, pid, group.path))
    return status


def _told(e: CgroupError, pid: int, path: str) -> CgroupError:
    cause, hint = str(e).rpartition(": ")[2], e.hint
    if e.errno == errno.ESRCH:
        cause, hint = "no such process", None
    elif e.errno == errno.ENOSPC:
        cause, hint = "the cgroup has no CPUs or memory nodes", "set cpuset.cpus and cpuset.mems"
    elif e.errno == errno.EINVAL and os.path.exists(f"/proc/{pid}") and _is_kernel_thread(pid):
        cause, hint = "it is a thread of the kernel's", None
    elif e.errno == errno.EBUSY:
        hint = "on cgroup v2 processes live in leaves: choose a child of it"
    elif e.errno == errno.EOPNOTSUPP:
        hint = "climits set NAME cgroup.type=threaded makes it a threaded one"
    return CgroupError(f"cannot move {pid} to {path}: {cause}", path=path, errno=e.errno, hint=hint)


def _is_kernel_thread(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return not file.read(1)
    except OSError:
        return False
