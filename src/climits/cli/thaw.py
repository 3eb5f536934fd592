"""`climits thaw`: let the processes of a cgroup go on."""

from .cgroups import the_cgroup
from .options import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = ()
ANYWHERE = True
USAGE = "climits thaw NAME"
EPILOG = """\
NAME is a cgroup that climits made, a cgroup path, or pid:1234. What a frozen
cgroup above it holds stays frozen.
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:  # noqa: ARG001 - the commands' shape
    """Thaw."""
    the_cgroup(words, "thaw", acts=True).thaw()
    return 0
