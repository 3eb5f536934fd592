"""`climits gc`: remove what dead owners left."""

import sys

from ..cgroup import placement
from ..cgroup.homes import own_homes
from ..cgroup.layout import current
from ..cgroup.leftovers import sweep
from ..cgroup.naming import check_path
from ..errors import InvalidValueError
from .main import FAILED
from .options import LIFE, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--parent", "PATH", "list", LIFE, "look below this cgroup too; may be repeated"),
    ("--quiet", None, "switch", TELLING, "print errors only"),
)
USAGE = "climits gc [OPTIONS]"
EPILOG = """\
Each cgroup that climits makes is marked with its owner's pid and start time. One whose owner is
dead is emptied and removed; nothing else is touched. Every start of climits does the same.
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Sweep and tell."""
    if words:
        raise InvalidValueError(f"gc takes no arguments: {words[0]}", hint="see climits gc --help")
    layout = current()
    parents = own_homes()
    parents += [check_path(p, layout, what="parent") for p in values.get("parent", ())]
    failed = False
    for left in sweep(layout, *(parent.rstrip("/") for parent in parents)):
        killed = f", {left.killed} killed" if left.killed else ""
        if left.error:
            failed = True
            sys.stderr.write(f"climits: {left.error}\n")
        elif not values.get("quiet"):
            sys.stdout.write(f"removed {left.path}{killed}\n")
    for parent in dict.fromkeys(parents):
        placement.remove_home_if_empty(layout, parent)
    return FAILED if failed else 0
