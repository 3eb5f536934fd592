"""`climits report`: recordings as a page or a picture."""

import os
import sys

from ..errors import InvalidValueError
from ..observe.recordings.report import form_of, make_report, read_runs, write_report
from ..observe.recordings.words import headline
from ..observe.text import printable
from .main import tell
from .options import TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--output", "FILE", "text", TELLING, "what to write: NAME.html, .svg or .png (-o FILE; "
     "default: the first recording's name with .html)"),
)  # fmt: skip
ANYWHERE = True
USAGE = "climits report FILE... [-o OUTPUT]"
EPILOG = """\
FILE is a recording: climits run, container, watch and supervise make one with
--record FILE. Of one run the page shows memory by kind over time with its limits
and what happened, the verdict and why it came about; several runs, or the
programs of a supervisor, are drawn over each other and compared in a table.

The page needs nothing else and can be mailed; it follows light and dark mode.
A recording that was cut off is drawn as far as it is good. Drawing needs
matplotlib: pip install "climits[report]".

examples:
  climits run --record app.jsonl --memory 60M -- ./app
  climits report app.jsonl
  climits report before.jsonl after.jsonl -o compared.html
  climits report app.jsonl -o app.svg
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Write the report, and say where it is."""
    if not words:
        raise InvalidValueError(
            "no recording was given", hint="make one with climits run --record FILE -- COMMAND"
        )
    output = values.get("output", f"{os.path.splitext(words[0])[0]}.html")
    form = form_of(output)
    for path in words:
        if os.path.exists(output) and os.path.exists(path) and os.path.samefile(output, path):
            raise InvalidValueError(
                f"output: {output}: that is the recording", hint="name another file with -o"
            )
    runs, notes = read_runs(words)
    write_report(output, make_report(runs, notes, form))
    for note in notes:
        tell(printable(note))
    for run in runs:
        sys.stdout.write(printable(f"{run.name}: {headline(run.trace)}") + "\n")
    sys.stdout.write(f"written: {printable(output)}\n")
    return 0
