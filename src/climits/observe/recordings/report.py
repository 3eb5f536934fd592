"""Recordings to a page or a picture."""

import os

from ...errors import ClimitsError, InvalidValueError, UnsupportedError
from ...linux.whole_file import write_whole
from ...units import shown
from .reader import read_recording

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .reader import Recording, Trace

#: What can be written, by the end of the file's name.
FORMS = ("html", "svg", "png")


class Run:
    """One program of one recording.

    Attributes:
        recording, trace: where it is from, and what was recorded.
        name: by which it is told from the others.
    """

    def __init__(self, recording: "Recording", trace: "Trace", name: str) -> None:
        self.recording, self.trace, self.name = recording, trace, name


def read_runs(paths: list[str]) -> "tuple[list[Run], list[str]]":
    """Read recordings.

    Returns:
        (runs, a line on each recording that is not whole).

    Raises:
        InvalidValueError: one of them is not a recording, or nothing is in them.
        ClimitsError: one cannot be read.
    """
    recordings = [read_recording(path) for path in paths]
    runs = [Run(r, trace, trace.name) for r in recordings for trace in r.traces]
    if not runs:
        raise InvalidValueError(
            f"{shown(paths[0])}: nothing was recorded in it",
            path=paths[0],
            hint="the program had not been started yet",
        )
    if len(recordings) > 1:
        for run in runs:
            stem = os.path.basename(run.recording.path)
            many = len(run.recording.traces) > 1
            run.name = f"{stem}: {run.trace.name}" if many else stem
    if len({run.name for run in runs}) < len(runs):  # the same file name, in several folders
        for run in runs:
            run.name = f"{run.recording.path}: {run.trace.name}"
    notes = [note for r in recordings if (note := r.note()) is not None]
    return runs, notes


def form_of(path: str) -> str:
    """html, svg or png, as the file's name says.

    Raises:
        InvalidValueError: another one.
    """
    form = path.rpartition(".")[2].lower() if "." in os.path.basename(path) else ""
    if form not in FORMS:
        raise InvalidValueError(
            f"output: {shown(path) or repr(path)}: cannot tell what to write",
            value=path,
            hint="let its name end with .html, .svg or .png",
        )
    return form


def make_report(runs: list[Run], notes: list[str], form: str) -> bytes:
    """Draw runs.

    Args:
        runs: one is drawn in detail, several over each other.
        notes: for a page: what its reader should know of the recordings.
        form: html, svg or png.

    Raises:
        UnsupportedError: matplotlib is not installed.
    """
    from .folder import own_folder

    with own_folder():
        return _draw(runs, notes, form)


def _draw(runs: list[Run], notes: list[str], form: str) -> bytes:
    try:
        from . import draw
    except ImportError as e:
        if (e.name or "").partition(".")[0] not in ("matplotlib", "numpy"):
            raise
        raise UnsupportedError(
            "drawing a report needs matplotlib", hint='pip install "climits[report]"'
        ) from None
    if form == "html":
        from ... import __version__
        from .page import page

        return page(runs, notes, __version__).encode(errors="backslashreplace")
    if len(runs) == 1:
        figure = draw.draw_run(runs[0].trace)
    else:
        figure = draw.draw_comparison([run.trace for run in runs], [run.name for run in runs])
    if form == "png":
        return draw.to_png(figure)
    return draw.to_svg(figure, salt="climits", as_text=False).encode()


def write_report(path: str, data: bytes) -> None:
    """Write it, in place of what is there, once it is whole.

    Raises:
        ClimitsError: it cannot be written; what was there stays.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # such as /dev/stdout
            with open(path, "wb") as file:
                file.write(data)
            return
        write_whole(path, data)
    except OSError as e:
        raise ClimitsError(
            f"cannot write the report: {shown(path)}: {os.strerror(e.errno or 0).lower()}",
            path=path,
            errno=e.errno,
            hint="name another file with -o",
        ) from None
