"""`climits reclaim`: take memory back from a cgroup."""

import sys

from ..errors import InvalidValueError
from ..units import format_size, parse_size
from .cgroups import the_cgroup
from .options import TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--quiet", None, "switch", TELLING, "do not print how much was reclaimed"),
)
ANYWHERE = True
USAGE = "climits reclaim NAME SIZE"
EPILOG = """\
Page cache is dropped, and pages are swapped out where there is swap. On cgroup
v1 the kernel takes back all that it can, whatever the SIZE. Status 1 when less
than that came back.

example:
  climits reclaim web 20M
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Reclaim and say how much."""
    if len(words) != 2:
        raise InvalidValueError("reclaim takes a cgroup and a size", hint="climits reclaim web 20M")
    group = the_cgroup(words[:1], "reclaim")
    memory = group.memory
    before = memory.current()
    size = parse_size(words[1], what="size", whole=before)
    size = int(min(size, before))
    after = memory.reclaim(size) if size > 0 else before
    taken = max(before - after, 0)
    if not values.get("quiet"):
        sys.stdout.write(f"{format_size(taken)} reclaimed, {format_size(after)} in use\n")
    # The kernel counts in batches: a sixteenth less is as asked.
    return 0 if taken >= size - size // 16 else 1
