"""`climits freeze`: stop every process of a cgroup."""

from ..units import parse_duration
from .cgroups import the_cgroup
from .options import CGROUP, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--timeout", "TIME", "text", CGROUP, "wait so long until all have stopped (default 10s)"),
)
ANYWHERE = True
USAGE = "climits freeze NAME [OPTIONS]"
EPILOG = """\
NAME is a cgroup that climits made, a cgroup path, or pid:1234. Ends when every
process has stopped, those of the cgroups below it too; climits thaw lets them
go on, and climits kill ends them even so. Where that cannot be had in time,
nothing stays frozen. A directory below a mount point, such as
/sys/fs/cgroup/freezer/web, means the cgroup of that hierarchy alone.

example:
  climits freeze web --timeout 2s
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Freeze and wait."""
    timeout = parse_duration(values.get("timeout", 10.0), what="timeout")
    the_cgroup(words, "freeze", acts=True).freeze(timeout)
    return 0
