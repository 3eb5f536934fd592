"""`climits set`: change parameters of a cgroup."""

from ..errors import InvalidValueError
from .cgroups import the_cgroup
from .options import CGROUP, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--force", None, "switch", CGROUP, "lower a limit even below what is in use, which on "
     "cgroup v2 may kill"),
)  # fmt: skip
ANYWHERE = True
USAGE = "climits set NAME PARAMETER=VALUE... [OPTIONS]"
EPILOG = """\
NAME is a cgroup that climits made, a cgroup path, or pid:1234.
PARAMETER is a name of cgroup v2's, which is translated where the controller is
on v1, or any file of the kernel's, which is passed on as it is:
  memory.max  swap.max  memory.high  memory.low  memory.min  pids.max
  cpu.max  cpu.weight  cpuset.cpus  cpuset.mems  cgroup.freeze
Sizes are bytes, or 64M, 1.5G, 50% (of what is above it); max, -1 and unlimited
are no limit. Every limit of memory is read back. A program that was paused at
its limit goes on when that is raised.

examples:
  climits set web memory.max=64M swap.max=0
  climits set /jobs/big memory.oom_control=1
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Set each."""
    wishes: dict[str, str | int] = {}
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InvalidValueError(
                f"not PARAMETER=VALUE: {word}", value=word, hint="write it like memory.max=64M"
            )
        if name in wishes:
            raise InvalidValueError(f"{name} is given twice", value=word)
        wishes[name] = value
    group = the_cgroup(words[:1], "set")
    if not wishes:
        raise InvalidValueError("nothing to set", hint="climits set NAME memory.max=64M")
    group.set(wishes, force=bool(values.get("force")))
    return 0
