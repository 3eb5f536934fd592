"""Draw the plots of docs/benchmarks.md: SVG that is light or dark as the page is.

One file for both: colours are CSS variables of the SVG with a dark set for a reader who prefers
that, and the ground is painted, so that the text can be read on any page.
"""

import io
import os
import re

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import matplotlib.ticker
from plot_texts import PLOTS, share
from reporting import quantile

IMAGES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../docs/images")
#: name: (in the light, in the dark).  Also in use as marks while drawing: each light one is unique.
COLOURS = {
    "paper": ("#fffffe", "#1b1c22"), "ink": ("#24272e", "#d9dbe1"), "grid": ("#d4d7de", "#3a3d47"),
    "ours": ("#1f6fc5", "#6cb0f5"), "good": ("#2e7d4f", "#6cc48f"), "bad": ("#c0392b", "#ff8a7a"),
    "other": ("#6b7280", "#a3a9b6"), "second": ("#b35c00", "#f0a04b"),
    "third": ("#7b4fb0", "#bd97ec"), "fourth": ("#0f7f86", "#56c5cc"),
}  # fmt: skip
C = {name: light for name, (light, _) in COLOURS.items()}
_OURS = ("climits", "Cgroup.create", "the same with")
_SERIES = ("ours", "second", "third", "fourth", "other")
plt.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "climits", "font.size": 10,
    "font.family": "DejaVu Sans",
    "figure.facecolor": C["paper"], "axes.facecolor": C["paper"], "savefig.facecolor": C["paper"],
    "text.color": C["ink"], "axes.labelcolor": C["ink"], "axes.edgecolor": C["grid"],
    "xtick.color": C["ink"], "ytick.color": C["ink"], "grid.color": C["grid"],
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.linewidth": 0.6,
    "axes.axisbelow": True, "legend.frameon": False, "axes.titlesize": 11,
    "axes.titleweight": "bold",
})  # fmt: skip


def draw(results):
    """Every plot for which there is a result."""
    os.makedirs(IMAGES, exist_ok=True)
    for plot in PLOTS:
        if plot.possible(results):
            figure = _DRAW[plot.file](results[plot.source] if plot.source else results)
            save(figure, plot)


def save(figure, plot):
    """Write it, with colours that follow the page."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Title": plot.title})
    plt.close(figure)
    text = out.getvalue()
    light, dark = (
        "".join(f"--{name}:{pair[n]};" for name, pair in COLOURS.items()) for n in (0, 1)
    )
    style = (
        f"<style>svg{{{light}font-family:sans-serif}}"
        f"@media (prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    )
    text = re.sub(r"(<svg [^>]*>)", lambda m: m[1] + "\n " + style, text, count=1)
    for name, (colour, _) in COLOURS.items():
        text = text.replace(colour, f"var(--{name},{colour})")
    # What the style itself says must stay a colour.
    head, _, rest = text.partition("</style>")
    head = re.sub(r":var\(--\w+,(#\w+)\)", r":\1", head)
    text = re.sub(r"'DejaVu Sans'", "sans-serif", rest)
    with open(os.path.join(IMAGES, f"{plot.file}.svg"), "w", encoding="utf-8") as file:
        file.write(head + "</style>" + text)


def number(value, _=None):
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


# ---- kinds of plots ----------------------------------------------------------------------------


def logarithmic(axes, which):
    """A logarithmic axis with plain numbers, and no more of them than there is room for."""
    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    axis.set_major_formatter(number)
    axis.set_minor_formatter(lambda *_: "")
    low, high = axis.get_data_interval()
    if high < 100 * low:
        axis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))


def intervals(axes, rows, unit):
    """A line for each row, (name, samples): a dot at the median, a bar from p10 to p90."""
    for at, (name, values) in enumerate(reversed(rows)):
        ours = name.startswith(_OURS)
        colour = C["ours" if ours else "other"]
        low, middle, high = (quantile(values, q) for q in (0.1, 0.5, 0.9))
        axes.plot([low, high], [at, at], color=colour, linewidth=5, alpha=0.35)
        axes.plot(middle, at, "o", color=colour, markersize=7)
        axes.annotate(
            f"{middle:,.3g}" if middle < 1000 else f"{middle:,.0f}", (middle, at),
            xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.3)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(unit)
    logarithmic(axes, "x")
    axes.margins(x=0.08)


def of_samples(result, *, way=None, heading="", leave_out=()):
    return [
        (one["what"], one["values"])
        for one in result["samples"]
        if heading in ("", one["heading"])
        and way in (None, one["way"])
        and not one["what"].startswith(leave_out)
    ]


def bars(result, title, unit, **selection):
    rows = of_samples(result, **selection)
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(rows) + 1.3), layout="constrained")
    intervals(axes, rows, unit)
    axes.set_title(title, loc="left")
    return figure


def lines(axes, curves, *, ylabel, log=True):
    """Curves of one unit, with the band from p10 to p90."""
    for name, one in zip(_SERIES, curves, strict=False):
        at, middle, low, high = zip(*one["points"], strict=True)
        axes.fill_between(at, low, high, color=C[name], alpha=0.2, linewidth=0)
        axes.plot(at, middle, "o-", color=C[name], label=one["what"], markersize=5)
    if log:
        logarithmic(axes, "y")
    axes.set_ylabel(ylabel)
    axes.legend(fontsize=9)


# ---- the plots ---------------------------------------------------------------------------------


def targets(results):
    names = [name for name, result in results.items() if any(map(share, result["targets"]))]
    figure, axes = plt.subplots(figsize=(8, 0.34 * len(names) + 1.5), layout="constrained")
    for at, name in enumerate(reversed(names)):
        for one in results[name]["targets"]:
            if share(one):
                colour = C["good" if one["holds"] else "bad"]
                mark = "o" if one["holds"] else "D"
                axes.plot(share(one), at, mark, color=colour, alpha=0.75, markersize=7)
    axes.axvline(1, color=C["ink"], linewidth=1)
    axes.set_yticks(range(len(names)), reversed(names))
    logarithmic(axes, "x")
    axes.set_xlabel("share of what its target allows (1: just that)")
    axes.set_title("Left of the line a target holds", loc="left")
    return figure


def launch(result):
    headings = list(dict.fromkeys(one["heading"] for one in result["samples"]))
    figure, every = plt.subplots(
        len(headings), 1, figsize=(9.5, 2.3 * len(headings)), layout="constrained", sharex=True
    )
    for axes, heading in zip(every, headings, strict=True):
        intervals(axes, of_samples(result, heading=heading, way="isolated"), "")
        axes.set_title(heading, loc="left")
    every[-1].set_xlabel("us, isolated: median, and from the 10th to the 90th percentile")
    return figure


def pool(result):
    headings = list(dict.fromkeys(
        one["heading"] for one in result["samples"] if one["unit"].endswith("/s")
    ))  # fmt: skip
    figure, every = plt.subplots(
        -(-len(headings) // 2), 2, figsize=(10, 2.1 * -(-len(headings) // 2)), layout="constrained",
        sharey=True,
    )  # fmt: skip
    for axes, heading in zip(every.flat, headings, strict=False):
        rows = of_samples(result, heading=heading)
        unit = next(one["unit"] for one in result["samples"] if one["heading"] == heading)
        intervals(axes, [(name.removesuffix(".ProcessPoolExecutor"), v) for name, v in rows], unit)
        axes.set_title(heading, loc="left")
    return figure


def size(result, heading, xlabel, panels):
    """Panels side by side: each (y label, log?, starts of the curves' names)."""
    figure, every = plt.subplots(1, len(panels), figsize=(9, 3.6), layout="constrained")
    found = [one for one in result["curves"] if one["heading"] == heading]
    for axes, (ylabel, log, starts) in zip(every, panels, strict=True):
        lines(axes, [o for o in found if o["what"].startswith(starts)], ylabel=ylabel, log=log)
        axes.set_xlabel(xlabel)
        if heading != "memory that the parent has touched":
            logarithmic(axes, "x")
        if not log:
            axes.set_ylim(bottom=0)
    return figure


_INTERVALS = "median, and from the 10th to the 90th percentile"
_DRAW = {
    "bench-targets": targets,
    "bench-command": lambda r: bars(r, "Whole commands, isolated", f"ms: {_INTERVALS}",
                                    way="isolated"),
    "bench-launch": launch,
    "bench-supervise": lambda r: bars(r, "From the end of the killed process to the new program",
                                      f"ms: {_INTERVALS}", way="from the end"),
    "bench-batch": lambda r: bars(r, "A job of a batch", f"ms a job: {_INTERVALS}"),
    "bench-pool": pool,
    "bench-size-cgroups": lambda r: size(
        r, "cgroups that exist", "cgroups",
        (("ms", True, ("a tick", "following", "read_tree")),
         ("ms", False, ("a launch", "a bare")))),
    "bench-size-programs": lambda r: size(
        r, "programs under one supervisor", "programs",
        (("s", True, ("to start",)), ("MiB", False, ("RSS", "PSS")))),
    "bench-size-jobs": lambda r: size(
        r, "jobs in a batch", "jobs",
        (("ms a job", True, ("a job",)), ("MiB", False, ("highest RSS",)))),
    "bench-size-parent": lambda r: size(
        r, "memory that the parent has touched", "MiB touched by the parent",
        (("ms", True, ("climits", "os.posix", "subprocess")),
         ("ms", False, ("climits", "os.posix")))),
}  # fmt: skip
