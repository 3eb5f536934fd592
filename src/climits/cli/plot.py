"""`climits plot`: recordings drawn in the terminal."""

import os
import shutil
import sys
import textwrap

from ..errors import InvalidValueError
from ..observe.recordings.plot import Look, plot
from ..observe.recordings.report import read_runs
from ..observe.recordings.words import headline, why
from ..observe.text import printable
from .main import tell
from .options import TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--width", "N", "int", TELLING, "characters a line (default: the terminal's, else 80)"),
    ("--height", "N", "int", TELLING, "lines of the drawing itself (default: as many as fit)"),
)  # fmt: skip
ANYWHERE = True
USAGE = "climits plot FILE... [OPTIONS]"
EPILOG = """\
FILE is a recording: climits run, container, watch and supervise make one with
--record FILE. Draws memory by kind over time, with the limit and what happened,
and tells below it how the program ended and why. Colours are left out where
NO_COLOR is set and where the output is no terminal.

examples:
  climits run --record app.jsonl --memory 60M -- ./app
  climits plot app.jsonl
  climits plot app.jsonl --width 120 > app.txt
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]

#: Lines that are left to what stands around a drawing.
_AROUND = 11


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Draw each program of each recording."""
    if not words:
        raise InvalidValueError(
            "no recording was given", hint="make one with climits run --record FILE -- COMMAND"
        )
    for name, least in (("width", 30), ("height", 3)):
        if not least <= values.get(name, least) <= 1000:
            raise InvalidValueError(
                f"{name}: {values[name]}: must be {least} to 1000",
                value=values[name],
                hint="leave it out: it is as the terminal is then",
            )
    look = _look(values)
    runs, notes = read_runs(words)
    for number, run in enumerate(runs):
        lines = [printable(run.name), *plot(run.trace, look)]
        for text in (headline(run.trace), *why(run.trace)):
            lines += textwrap.wrap(printable(text), look.width, subsequent_indent="  ")
        if look.ascii:
            lines = [line.encode("ascii", "backslashreplace").decode() for line in lines]
        sys.stdout.write(("\n" if number else "") + "\n".join(lines) + "\n")
    sys.stdout.flush()
    for note in notes:
        tell(printable(note))
    return 0


def _look(values: "dict[str, Any]") -> Look:
    terminal = shutil.get_terminal_size((80, 24))
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    return Look(
        values.get("width", terminal.columns),
        values.get("height", min(max(terminal.lines - _AROUND, 4), 16)),
        colours=sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb",
        ascii=not encoding.startswith("utf"),
    )
