"""`climits kill`: kill every process of a cgroup."""

import sys

from ..cgroup.removal import has_hidden
from ..units import parse_duration
from .cgroups import the_cgroup
from .options import CGROUP, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--timeout", "TIME", "text", CGROUP, "wait so long until all are gone (default 30s)"),
    ("--quiet", None, "switch", TELLING, "do not print how many were killed"),
)
ANYWHERE = True
USAGE = "climits kill NAME [OPTIONS]"
EPILOG = """\
NAME is a cgroup that climits made, a cgroup path, or pid:1234. SIGKILL to every
process in it and below it, frozen or not; what forks cannot escape. Ends when
none is left. The cgroup stays. A directory below a mount point, such as
/sys/fs/cgroup/pids/web, means the processes of that hierarchy's cgroup.
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Kill and wait."""
    timeout = parse_duration(values.get("timeout", 30.0), what="timeout")
    group = the_cgroup(words, "kill", acts=True)
    others = ", and those of another pid namespace" if has_hidden(group) else ""
    killed = group.kill(timeout)
    if not values.get("quiet"):
        sys.stdout.write(f"{killed} killed{others}\n")
    return 0
