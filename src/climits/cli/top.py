"""`climits top`: the cgroups of this machine, live."""

import os
import sys

from ..cgroup.layout import current
from ..errors import CgroupGoneError, ClimitsError, InvalidValueError, UnsupportedError
from ..linux.proc import memory_total
from ..observe.owners import paths_of
from ..observe.top.model import SORTS
from ..units import parse_duration
from .options import TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--interval", "TIME", "text", TELLING, "from one refresh to the next (default 1s)"),
    ("--sort", "COLUMN", "text", TELLING, "usage (default), percent, oom, psi, cpu or another"),
    ("--flat", None, "switch", TELLING, "one list instead of a tree"),
)
ANYWHERE = True
USAGE = "climits top [NAME] [OPTIONS]"
EPILOG = """\
NAME, where to start, is a cgroup that climits made, a container or unit as climits
stats takes it, a path such as /system.slice, or pid:1234. Without it, all are shown.

Keys: ? tells them all. Enter opens the details of a cgroup: its memory.stat
explained, and its processes. l sets its limit, f freezes it, u thaws it, r
reclaims memory, k kills, g sends a signal; each asks first.

Columns to sort by: usage limit percent anon file swap peak hits oom psi cpu
tasks name. Colours are the terminal's own; NO_COLOR=1 does without.

examples:
  climits top
  climits top /system.slice --flat --sort percent
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]

_INSTALL = "pip install 'climits[top]'"
#: Refreshing more often than this shows nothing more, seconds.
_LEAST = 0.1


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Check, then hand the terminal over."""
    if len(words) > 1:
        raise InvalidValueError(f"top takes one cgroup: {words[1]}", hint="see climits top --help")
    interval = parse_duration(values.get("interval", 1.0), what="interval")
    if interval < _LEAST:
        raise InvalidValueError(
            f"interval: {values['interval']}: too short", value=interval, hint="100ms at least"
        )
    sort = values.get("sort", "usage")
    if sort not in SORTS:
        raise InvalidValueError(
            f"sort: {sort or 'empty'}: no such column", value=sort, hint=", ".join(SORTS)
        )
    path = _start(words)
    _check_terminal()
    try:
        import textual.app  # noqa: F401
    except ImportError:
        raise UnsupportedError("textual is not installed", hint=_INSTALL) from None
    from ..observe.top.app import TopApp

    app = TopApp(
        top=path, interval=interval, sort=sort, tree=not values.get("flat"),
        total=memory_total(), ascii_only=_needs_ascii(),
    )  # fmt: skip
    app.run()
    if app.failure:
        raise ClimitsError(app.failure)
    return app.return_code or 0


def _start(words: list[str]) -> str:
    if not current().hierarchies:
        raise CgroupGoneError(
            "no cgroup filesystem is mounted", hint="mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        )
    if not words or words[0] == "/":
        return "/"
    return paths_of(words, current())[0]


def _check_terminal() -> None:
    """Refuse where nothing can be drawn, and do without colours where there are none.

    Raises:
        UnsupportedError: it is no terminal, or one that cannot move its cursor.
    """
    if not (os.isatty(0) and os.isatty(1) and os.isatty(2)):
        raise UnsupportedError(
            "top needs a terminal: standard input, output and error must be one",
            hint="climits stats prints the same figures once",
        )
    import curses

    try:
        curses.setupterm()
    except curses.error:
        return  # not described on this machine: most can do all that is needed
    if curses.tigetstr("cup") is None:
        raise UnsupportedError(
            f"top needs a terminal that can move its cursor: TERM is {os.environ.get('TERM')}",
            hint="climits stats prints the same figures once",
        )
    if curses.tigetnum("colors") < 8:
        os.environ["NO_COLOR"] = "1"


def _needs_ascii() -> bool:
    """Whether the terminal has no blocks and lines to draw with."""
    try:
        "└█░▁".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False
