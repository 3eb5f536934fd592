"""Draws a recording as text: an area of memory by kind, its limit, and what happened.

Drawn here and not by a library: it takes nothing but characters, so that it works on a bare server.
"""

import math

from ...units import UNLIMITED, format_duration, format_size
from .words import KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .reader import Trace

#: One to eight eighths of a cell, from below.
_EIGHTHS = " ▁▂▃▄▅▆▇█"
#: Kind: (what a whole cell of it is without colours, its colour in the terminal's 256).
_LOOKS = {
    "anon": ("█", 32), "shmem": ("▓", 175), "kernel": ("▒", 214), "file": ("░", 117),
    "other": ("▞", 245), "current": ("█", 32),
}  # fmt: skip
_RED = 202
#: Kind of event: (name, what stands for it, colour).
_MARKS = {
    "paused": ("paused", "‖", 214), "frozen": ("frozen", "‖", 245), "alarm": ("alarm", "◆", 175),
    "restarted": ("restart", "▲", 36), "oom-kill": ("OOM kill", "✖", _RED),
}  # fmt: skip
#: For those whose terminal has no such characters.
_ASCII = str.maketrans(
    {"▁": " ", "▂": " ", "▃": " ", "▄": "#", "▅": "#", "▆": "#", "▇": "#", "█": "#", "▓": "%",
     "▒": "+", "▞": ":", "░": ".", "─": "-", "│": "|", "┤": "+", "└": "+", "┬": "+", "✖": "X",
     "▲": "^", "◆": "*", "‖": "="}
)  # fmt: skip
#: Distances between two sizes at the left, in units: so that 1,000 of a unit is not among them.
_ROUND = (1, 2, 5, 10, 20, 50, 128, 256, *(512 << power for power in range(40)))
#: The same below it, in seconds.
_STEPS = (
    *(n * 10**power for power in range(-3, 1) for n in (1, 2, 5)), 10, 15, 30, 60, 120, 300, 600,
    900, 1800, *(3600 * n for n in (1, 2, 3, 6, 12)), *(86400 * n for n in (1, 2, 5)),
    *(n * 864000 * 10**power for power in range(12) for n in (1, 2, 5)),
)  # fmt: skip
#: The height of the picture of one that used nothing, bytes.
_LEAST = 4096.0
_AXIS = 9  # columns of the labels at the left
#: A limit so many times higher than the usage would press that flat: it is named instead.
_OFF = 3.0


class Look:
    """How to write.

    Attributes:
        width, height: of the whole picture, and of its area, in characters.
        colours: whether it may be coloured.
        ascii: whether nothing else may be written.
    """

    def __init__(
        self, width: int = 80, height: int = 12, *, colours: bool = False, ascii: bool = False
    ) -> None:
        self.width, self.height = max(width, 30), max(height, 3)
        self.colours, self.ascii = colours, ascii

    def paint(self, text: str, colour: "int | None", behind: "int | None" = None) -> str:
        """Text in a colour, and with one behind it."""
        if not self.colours or colour is None:
            return text
        ground = "" if behind is None else f";48;5;{behind}"
        return f"\x1b[38;5;{colour}{ground}m{text}\x1b[0m"


def plot(trace: "Trace", look: Look) -> list[str]:
    """The lines of a picture, without line feeds; none where there are no samples."""
    if not trace.times:
        return []
    columns = look.width - _AXIS - 1
    span = trace.ended - trace.began
    heights, limits = _columns(trace, columns, span)
    usage = max((sum(layers.values()) for layers in heights), default=0.0)
    # The kernel has seen what came between two samples.
    highest = max(usage, trace.top("peak") or 0.0, _LEAST)
    limit = max((v for v in limits if v is not None), default=0.0)
    shown = bool(limit) and limit <= highest * _OFF
    top = max(highest, limit if shown else 0.0) * 1.001
    lines = [_rail(trace, columns, span, look)]
    labels = _labels(look.height, top, limit if shown else None)
    for row in range(look.height - 1, -1, -1):
        label = labels[row]
        cells = "".join(
            _cell(heights[x], limits[x] if shown else None, row, top / look.height, look)
            for x in range(columns)
        )
        lines.append(f"{label:>{_AXIS - 1}} ┤{cells}" if label else f"{'':{_AXIS}}│{cells}")
    lines += _time_axis(columns, span)
    lines += _legend(trace, heights, limit if limit and not shown else None, look)
    if look.ascii:
        lines = [line.translate(_ASCII) for line in lines]
    return [line.rstrip() for line in lines]


def _columns(
    trace: "Trace", count: int, span: float
) -> "tuple[list[dict[str, float]], list[float | None]]":
    """What each column shows: the kinds at the highest usage in it, and the limit."""
    highest: list[int | None] = [None] * count
    latest: list[int | None] = [None] * count
    usage = trace.columns["current"]
    width = max(span, 1e-9) / count
    for number, time in enumerate(trace.times):
        x = min(max(int((time - trace.began) / width), 0), count - 1)
        latest[x], best = number, highest[x]
        if best is None or not usage[number] <= usage[best]:
            highest[x] = number if best is None or not math.isnan(usage[number]) else best
    heights: list[dict[str, float]] = []
    limits: list[float | None] = []
    before: int | None = None
    for best, last in zip(highest, latest, strict=True):
        shown = before if best is None else best  # as it was, until the next sample
        heights.append({} if shown is None else _layers(trace, shown))
        limit = math.nan if shown is None else trace.columns["max"][shown]
        limits.append(None if math.isnan(limit) or limit == UNLIMITED else limit)
        before = before if last is None else last
    return heights, limits


def _layers(trace: "Trace", number: int) -> dict[str, float]:
    whole = trace.columns["current"][number]
    if math.isnan(whole):
        return {}
    layers = {
        kind: size for kind in KINDS if (size := trace.columns[kind][number]) > 0
    }  # of nan this is false
    if not layers:
        return {"current": whole}
    rest = whole - sum(layers.values())
    return layers | {"other": rest} if rest > 0 else layers


def _cell(
    layers: dict[str, float], limit: "float | None", row: int, step: float, look: Look
) -> str:
    """One character: up to two kinds of memory, the limit, or nothing."""
    floor = row * step
    at_limit = limit is not None and floor <= limit < floor + step
    if not layers or sum(layers.values()) <= floor:
        return look.paint("─", _RED) if at_limit else " "
    below, inside = 0.0, []
    for kind, size in layers.items():
        share = min(below + size, floor + step) - max(below, floor)
        below += size
        if share > 0:
            inside.append((kind, share / step))
    full = sum(share for _, share in inside)
    if full < 0.94:  # the top of the area
        eighths = max(round(full * 8), 1)
        kind = max(inside, key=lambda each: each[1])[0]
        if at_limit and eighths < 3:
            return look.paint("─", _RED)
        return look.paint(_EIGHTHS[eighths], _LOOKS[kind][1])
    kind, share = inside[0]
    if look.colours and len(inside) > 1:
        return look.paint(_EIGHTHS[round(share * 8)], _LOOKS[kind][1], _LOOKS[inside[-1][0]][1])
    kind = max(inside, key=lambda each: each[1])[0]
    return look.paint("█" if look.colours else _LOOKS[kind][0], _LOOKS[kind][1])


def _labels(height: int, top: float, limit: "float | None") -> list[str]:
    """What stands at the left of each row, from below: round sizes, and the limit."""
    step, labels = top / height, [""] * height
    unit = next((u for u in (1 << 30, 1 << 20, 1 << 10) if top >= 2 * u), 1)
    between = next(n * unit for n in _ROUND if n * unit >= 3 * step)
    for number in range(1, int(top / between) + 1):
        labels[min(int(number * between / step), height - 1)] = format_size(number * between)
    if limit is not None:
        at = int(limit / step)
        labels[max(at - 1, 0) : at + 2] = [""] * len(labels[max(at - 1, 0) : at + 2])
        labels[at] = format_size(limit)
    return labels


def _rail(trace: "Trace", columns: int, span: float, look: Look) -> str:
    """A line with what happened, above the area."""
    cells = [" "] * columns
    for kind, (_, sign, colour) in _MARKS.items():  # the worst last
        for event in trace.events:
            if event.kind == kind:
                x = int((event.time - trace.began) / max(span, 1e-9) * columns)
                cells[min(max(x, 0), columns - 1)] = look.paint(sign, colour)
    return " " * (_AXIS + 1) + "".join(cells)


def _time_axis(columns: int, span: float) -> list[str]:
    marks, labels = ["─"] * columns, [" "] * columns
    least = span / (5 if columns >= 60 else 2)
    step = next((step for step in _STEPS if step >= least), _STEPS[-1])
    for number in range(int(span / step * 1.0001) + 1):
        text = _moment(number * step)
        at = min(round(number * step * columns / max(span, 1e-9)), columns - 1)
        marks[at] = "┬"
        begin = min(max(at - len(text) // 2, 0), columns - len(text))
        labels[begin : begin + len(text)] = text
    return [" " * _AXIS + "└" + "".join(marks), " " * (_AXIS + 1) + "".join(labels)]


def _moment(seconds: float) -> str:
    text = format_duration(seconds) if seconds else "0"
    return text.replace(".0s", "s").replace("m00s", "m").replace("h00m", "h")


def _legend(
    trace: "Trace", heights: list[dict[str, float]], far: "float | None", look: Look
) -> list[str]:
    """What the signs mean, with the figures at the highest usage."""
    fullest = max(heights, key=lambda layers: sum(layers.values()), default={})
    parts = []
    for kind, size in fullest.items():
        sign, colour = _LOOKS[kind]
        sign = "█" if look.colours else sign
        name = KINDS[kind][0] if kind in KINDS else {"current": "in use"}.get(kind, kind)
        if size >= 0.005 * sum(fullest.values()):
            parts.append((f"{sign} {name} {format_size(size)}", colour))
    limits = [v for v in trace.columns["max"] if not math.isnan(v) and v != UNLIMITED]
    if limits:
        parts.append((f"─ limit {format_size(limits[-1])}{', far above' if far else ''}", _RED))
    for kind, (name, sign, colour) in _MARKS.items():
        count = trace.count(kind)
        if count:
            parts.append((f"{sign} {name}{f' ({count})' if count > 1 else ''}", colour))
    lines, room = [""], 0
    for text, colour in parts:
        if room and room + len(text) + 3 > look.width:
            lines.append("")
            room = 0
        lines[-1] += ("   " if room else "") + look.paint(text[0], colour) + text[1:]
        room += len(text) + (3 if room else 0)
    return lines if parts else []
