"""`climits version`."""

import sys

from .. import __version__
from .options import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = ()
USAGE = "climits version"
EPILOG = ""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:  # noqa: ARG001 - the commands' shape
    """Print the version."""
    sys.stdout.write(f"climits {__version__}\n")
    return 0
