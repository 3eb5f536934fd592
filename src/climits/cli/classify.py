"""`climits classify`: move running processes into a cgroup."""

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
            complain(e)
    return status
