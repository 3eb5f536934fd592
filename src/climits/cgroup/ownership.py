"""Whose a cgroup is: the mark on it.

Each directory that is made gets a mark (an extended attribute) with its owner's pid, start time
and pid namespace, so that what a dead owner left can be told from everything else, and nothing
else is ever removed.  Cgroups do not survive a boot, so neither do their marks.
"""

import _thread
import os

from ..linux.proc import pid_namespace, start_time
from ..units import whole_number

MARK = "user.climits"
#: On a parent: the owner's mark and the name of a cgroup that is about to be made in it.  Whoever
#: is killed between making and marking it leaves this behind.
ANNOUNCED = "user.climits.makes."
KEPT = b"kept"

_identity: "tuple[int, bytes]" = (0, b"")


def owner_mark() -> bytes:
    """The mark of this process: pid, start time in ticks, pid namespace."""
    global _identity
    pid = os.getpid()
    if _identity[0] != pid:  # first use, or we are a fork
        _identity = pid, b"%d %d %d" % (pid, start_time() or 0, pid_namespace())
    return _identity[1]


def owner_state(mark: "bytes | None") -> str:
    """Read a mark: kept, alive, dead, foreign (of another pid namespace) or none."""
    if mark is None:
        return "none"
    if mark == KEPT:
        return "kept"
    try:
        pid, started, namespace = map(int, mark.split())
    except ValueError:
        return "none"
    if namespace != pid_namespace():
        return "foreign"
    return "alive" if start_time(pid) == started else "dead"


def owner_pid(mark: "bytes | None") -> "int | None":
    """The pid in a mark."""
    return whole_number((mark or b"").split(b" ")[0])


def pid_in(name: str) -> "int | None":
    """The maker's pid in a name that was made up (see Spec.made_up_name); None in others."""
    words = name.split("-")
    if len(words) < 3 or whole_number(words[-1]) is None:
        return None
    return whole_number(words[-2])


def split_announcement(value: bytes) -> tuple[bytes, str]:
    """(mark, name) of an announcement."""
    *mark, name = value.split(b" ", 3)
    return b" ".join(mark), os.fsdecode(name)


def announcement() -> str:
    """The name of the attribute in which this thread announces what it makes."""
    return f"{ANNOUNCED}{os.getpid()}.{_thread.get_native_id()}"
