"""Draws recordings with matplotlib: one run in detail, or several over each other."""

import io
import textwrap

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ...units import format_size
from ..text import printable
from .series import Series
from .words import KINDS, headline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from matplotlib.axes import Axes

    from .reader import Trace

#: Okabe and Ito's colours, which people with any kind of colour vision tell apart.
BLUE, ORANGE, SKY, GREEN, RED = "#0072b2", "#e69f00", "#56b4e9", "#009e73", "#d55e00"
PINK, GREY = "#cc79a7", "#8c8c8c"
_LAYERS = {
    "anon": BLUE, "shmem": PINK, "kernel": ORANGE, "file": SKY, "other": GREY, "current": BLUE,
}  # fmt: skip
_RUNS = (BLUE, RED, GREEN, ORANGE, PINK, SKY, GREY)
_DASHES = ("-", "--", ":", "-.")
#: Kind of event: (name, marker, colour).
_MARKS = {
    "oom-kill": ("OOM kill", "X", RED),
    "restarted": ("restart", "^", GREEN),
    "alarm": ("alarm", "D", PINK),
}
#: Kind of event that begins a pause: (name, the one that ends it, colour).
_PAUSES = {"paused": ("paused at its limit", ("resumed",), ORANGE),
           "frozen": ("frozen", ("thawed",), GREY)}  # fmt: skip
#: A rate that never comes to so much is not drawn: of CPUs, or of the time.
_LEAST_RATE = 0.005
#: No more marks of one kind than anybody can see.
_MOST_MARKS = 300
#: A limit so many times higher than the usage would press that flat: it is named instead.
_OFF = 3.0
_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("bytes", 1))
_TIMES = (("days", 86400.0, 3.0), ("hours", 3600.0, 3.0), ("min", 60.0, 3.0), ("s", 1.0, 0.5),
          ("ms", 0.001, 0.0))  # fmt: skip


class Theme:
    """Colours of a picture but for the data's.

    Attributes:
        ink: of text and of the line of the whole; paper: behind it; rule: of the grid.
    """

    def __init__(self, ink: str, paper: str, rule: str) -> None:
        self.ink, self.paper, self.rule = ink, paper, rule


LIGHT = Theme("#1b1f24", "#ffffff", "#d8dde3")
#: Names of programs are no formulas.
_PLAIN = {"text.parse_math": False}


def draw_run(trace: "Trace", theme: Theme = LIGHT, *, titled: bool = True) -> Figure:
    """One run: memory by kind with its limits and what happened; pressure and CPU below.

    Args:
        trace: what to draw.
        theme: its colours.
        titled: its name and how it ended stand above it.
    """
    series = Series(trace)
    rates = {name: series.rate(name) for name in ("pressure_some", "cpu")}
    below = [name for name, rate in rates.items() if rate[1].max(initial=0.0) >= _LEAST_RATE]
    heights = [3.6] + [0.8] * len(below)
    figure = Figure(figsize=(10, sum(heights) + 1.9), layout="constrained", facecolor=theme.paper)
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    unit = _time_unit(series.span)
    legend = [
        *_draw_memory(axes[0], series, theme, unit[1]),
        *_draw_marks(axes[0], trace, series.span, unit[1]),
    ]
    for ax, name in zip(axes[1:], below, strict=True):
        _draw_rate(ax, name, rates[name], unit[1])
    for ax in axes:
        _dress(ax, theme)
    if not trace.times:
        axes[0].text(0.5, 0.5, "no samples", transform=axes[0].transAxes, ha="center")
    _time_axis(axes[-1], series.span, unit)
    _head(figure, legend, theme, trace.name if titled else "", headline(trace) if titled else "")
    return figure


def draw_comparison(traces: "list[Trace]", names: list[str], theme: Theme = LIGHT) -> Figure:
    """Several runs: what each used in all, from when it was started.

    Args:
        traces: what to draw.
        names: of each, for the legend.
        theme: its colours.
    """
    all_series = [Series(trace) for trace in traces]
    span = max(series.span for series in all_series)
    unit = _time_unit(span)
    size = _size_unit(max(series.top("current", "peak") for series in all_series))
    rows = (len(traces) + 1) // 2
    figure = Figure(figsize=(10, 4.6 + 0.22 * rows), layout="constrained", facecolor=theme.paper)
    ax = figure.subplots()
    legend: list[Any] = []
    top = max(series.top("current") for series in all_series)
    for number, (trace, series) in enumerate(zip(traces, all_series, strict=True)):
        colour = _RUNS[number % len(_RUNS)]
        dash = _DASHES[number // len(_RUNS) % len(_DASHES)]
        x, usage = series.times / unit[1], series.figures["current"] / size[1]
        (line,) = ax.plot(x, usage, dash, color=colour, lw=1.8, marker=_dot(series), ms=4)
        # Labels that begin with an underscore are left out.
        line.set_label(f" {printable(names[number])}")
        legend.append(line)
        limit = series.figures["max"]
        if series.top("max") and series.top("max") < top * _OFF:
            limits = np.where(np.isfinite(limit), limit, np.nan) / size[1]
            ax.step(x, limits, where="post", color=colour, lw=1, ls=(0, (6, 3)), alpha=0.8)
        kills = _moments(trace, "oom-kill")
        ax.plot(kills / unit[1], _heights(series, kills) / size[1], "X", color=colour,
                mec=theme.paper, ms=10, zorder=5)  # fmt: skip
    legend.append(Line2D([], [], color=theme.ink, lw=1, ls=(0, (6, 3)), label="its limit"))
    if any(trace.count("oom-kill") for trace in traces):
        legend.append(_mark("X", theme.ink, "OOM kill"))
    ax.set_ylabel(f"memory in use, {size[0]}")
    ax.set_ylim(bottom=0)
    _dress(ax, theme)
    _time_axis(ax, span, unit)
    _head(figure, legend, theme, "", "")
    return figure


# ---- the parts of it -----------------------------------------------------------------------


def _draw_memory(ax: "Axes", series: Series, theme: Theme, second: float) -> "list[Any]":
    x = series.times / second
    top = series.top("current", "peak") or 1.0
    limit = series.top("max")
    shown = 0.0 < limit <= top * _OFF
    name, unit = _size_unit(max(top, limit if shown else 0.0))
    layers = series.stack()
    legend: list[Any] = []
    gaps = ~np.isnan(series.figures["current"])
    below = np.zeros(x.size)
    for kind, values in layers.items():
        above = below + values
        ax.fill_between(x, below / unit, above / unit, where=gaps, color=_LAYERS[kind], lw=0,
                        alpha=0.85)  # fmt: skip
        label = KINDS[kind][0] if kind in KINDS else {"current": "in use"}.get(kind, kind)
        legend.append(Patch(color=_LAYERS[kind], alpha=0.85, label=label))
        below = above
    ax.plot(x, series.figures["current"] / unit, color=theme.ink, lw=1, marker=_dot(series), ms=4)
    legend.reverse()  # as they lie on each other
    legend.append(Line2D([], [], color=theme.ink, lw=1, label="total"))
    if series.has("swap"):
        (line,) = ax.plot(x, series.figures["swap"] / unit, ":", color=theme.ink, lw=1.6)
        line.set_label("swap, beside it")
        legend.append(line)
    for column, label, dash in (("max", "limit", "-"), ("high", "high mark", (0, (5, 2)))):
        highest = series.top(column)
        if not highest:
            continue
        if highest > top * _OFF:
            text = f"{label} {format_size(highest)}, far above"
            legend.append(Line2D([], [], color=RED, lw=2, ls=dash, label=text))
            continue
        values = series.figures[column]
        finite = np.where(np.isfinite(values), values, np.nan) / unit
        ax.step(x, finite, where="post", color=RED, lw=2, ls=dash, zorder=4)
        legend.append(Line2D([], [], color=RED, lw=2, ls=dash, label=_limit_label(label, values)))
    peak = series.top("peak")
    if peak > 1.02 * series.top("current"):
        # Between two samples: the kernel has seen it and we have not.
        ax.axhline(peak / unit, color=theme.ink, lw=1, ls=":")
        legend.append(Line2D([], [], color=theme.ink, lw=1, ls=":",
                             label=f"peak {format_size(peak)}, between two samples"))  # fmt: skip
    ax.set_ylabel(f"memory, {name}")
    ax.set_ylim(0, max(top, limit if shown else 0.0) * 1.12 / unit)
    return legend


def _limit_label(label: str, values: "Any") -> str:
    sizes = np.unique(values[~np.isnan(values)])
    if sizes.size == 1:
        return f"{label} {format_size(sizes[0])}"
    return f"{label}, last {format_size(values[~np.isnan(values)][-1])}"


def _draw_marks(ax: "Axes", trace: "Trace", span: float, second: float) -> "list[Any]":
    """What happened, on a rail above the data."""
    legend = []
    for kind, (name, end, colour) in _PAUSES.items():
        stretches = _stretches(trace, kind, end, span)
        for start, stop in stretches[:_MOST_MARKS]:
            ax.axvspan(start / second, stop / second, facecolor="none", edgecolor=colour,
                       hatch="///", lw=0)  # fmt: skip
        if stretches:
            legend.append(Patch(facecolor="none", edgecolor=colour, hatch="///", lw=0,
                                label=_counted(name, len(stretches))))  # fmt: skip
    for kind, (name, marker, colour) in _MARKS.items():
        moments = _moments(trace, kind)
        if not moments.size:
            continue
        for moment in moments:
            ax.axvline(moment / second, color=colour, lw=1, alpha=0.6, zorder=1)
        ax.plot(moments / second, np.full(moments.size, 1.03), marker, color=colour, ms=9,
                transform=ax.get_xaxis_transform(), clip_on=False, mew=0, zorder=6)  # fmt: skip
        count = sum(e.kind == kind for e in trace.events)
        legend.append(_mark(marker, colour, _counted(name, max(count, trace.count(kind)))))
    return legend


def _moments(trace: "Trace", kind: str) -> "Any":
    found = [event.time - trace.began for event in trace.events if event.kind == kind]
    if len(found) > _MOST_MARKS:
        chosen = np.linspace(0, len(found) - 1, _MOST_MARKS).astype(int)
        found = [found[number] for number in chosen]
    return np.array(found)


def _stretches(
    trace: "Trace", kind: str, ends: tuple[str, ...], span: float
) -> list[tuple[float, float]]:
    out: list[tuple[float, float]] = []
    start = None
    for event in trace.events:
        if event.kind == kind:
            start = event.time if start is None else start
        elif start is not None and (event.kind in ends or "duration" in event.fields):
            out.append((start - trace.began, event.time - trace.began))
            start = None
    return out if start is None else [*out, (start - trace.began, span)]


def _counted(name: str, count: int) -> str:
    return name if count == 1 else f"{name} ({count})"


def _mark(marker: str, colour: str, label: str) -> Line2D:
    return Line2D([], [], ls="", marker=marker, color=colour, ms=9, mew=0, label=label)


def _draw_rate(ax: "Axes", name: str, rates: "tuple[Any, Any]", second: float) -> None:
    """A slim panel: the share of time that was waited for memory, or CPUs in use."""
    colour, label, most = (ORANGE, "waiting for\nmemory, %", 100.0)
    edges, rate = rates
    if name == "cpu":
        colour, label, most = GREEN, "CPUs", np.inf
    else:
        rate = rate * 100.0
    ax.stairs(np.minimum(rate, most), edges / second, fill=True, color=colour, alpha=0.85)
    ax.set_ylim(0, max(float(min(rate.max(), most)) * 1.15, 1.0))
    ax.yaxis.set_major_locator(MaxNLocator(2, integer=name != "cpu"))
    ax.set_ylabel(label, fontsize=9)


def _heights(series: Series, moments: "Any") -> "Any":
    """What was in use at some moments: the most of the samples around each."""
    usage = np.nan_to_num(series.figures["current"])
    after = np.searchsorted(series.times, moments - 0.002)
    around = [usage[max(at - 1, 0) : at + 2].max(initial=0.0) for at in after]
    return np.array(around)


def _dot(series: Series) -> "str | None":
    """A marker where a line would not be seen: of a sample or two."""
    return "o" if np.count_nonzero(~np.isnan(series.figures["current"])) < 3 else None


# ---- what is around it ---------------------------------------------------------------------


def _size_unit(most: float) -> tuple[str, int]:
    return next(unit for unit in _UNITS if most >= 2 * unit[1] or unit[1] == 1)


def _time_unit(span: float) -> tuple[str, float]:
    return next((name, s) for name, s, least in _TIMES if span >= least * s or name == "ms")


def _dress(ax: "Axes", theme: Theme) -> None:
    ax.set_facecolor("none")
    ax.grid(True, color=theme.rule, lw=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(colors=theme.ink, length=0)
    ax.yaxis.label.set_color(theme.ink)
    ax.xaxis.label.set_color(theme.ink)
    for name, spine in ax.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(theme.ink)


def _time_axis(ax: "Axes", span: float, unit: tuple[str, float]) -> None:
    ax.set_xlabel(f"time since the start, {unit[0]}")
    ax.set_xlim(0, max(span, 1e-3) * 1.01 / unit[1])
    ax.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 3, 5, 6, 10]))


def _head(figure: Figure, legend: "list[Any]", theme: Theme, title: str, text: str) -> None:
    """The title, and the legend below it: beside the data, and never on it."""
    lines = textwrap.wrap(printable(text), 100)[:3]
    with rc_context(_PLAIN):
        figure.legend(
            handles=legend, loc="outside upper left", ncols=4, frameon=False, alignment="left",
            title="\n".join([printable(title), *lines]) if title else None, title_fontsize=11,
            labelcolor=theme.ink, fontsize=9, borderaxespad=0.2, columnspacing=1.6,
        ).get_title().set_color(theme.ink)  # fmt: skip


def to_svg(figure: Figure, *, salt: str, as_text: bool) -> str:
    """A picture as SVG.

    Args:
        figure: what to write.
        salt: makes the names within it its own, where several are in one page.
        as_text: letters stay letters, for pages; else they are drawn, for whoever lacks the font.
    """
    out = io.StringIO()
    style = {"svg.hashsalt": salt, "svg.fonttype": "none" if as_text else "path"}
    with rc_context(style):
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": "climits"})
    return out.getvalue()


def to_png(figure: Figure) -> bytes:
    """A picture as PNG, 150 dots an inch."""
    out = io.BytesIO()
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(150)
    canvas.print_png(out, metadata={"Software": "climits"})
    return out.getvalue()


__all__ = ["LIGHT", "Theme", "draw_comparison", "draw_run", "to_png", "to_svg"]
