"""Draw what scale_simulate.py, scale_dask.py and scale_host.py have found, as SVG.

    python benchmarks/scale_plots.py docs/images/scale-simulation.jsonl ...

The colours are legible on white and on black, the background is transparent, and text stays text.
Each file is told apart by what is in it.
"""

import argparse
import json
import os

import matplotlib as mpl
from reporting import median, number

mpl.use("Agg")
import matplotlib.pyplot as plt

IMAGES = os.path.join(os.path.dirname(__file__), "..", "docs", "images")
#: Halfway between black and white, so that it can be read on both.
INK = "#7f7f7f"
COLOURS = {
    "one generous limit": "#8c6bb1",
    "one tight limit": "#d6604d",
    "what users ask for": "#b8860b",
    "climits suggest": "#2e8b57",
    "each its very peak": INK,
    "Dask alone, what users ask for": "#e08214",
    "climits on Dask, climits suggest": "#4393c3",
}
plt.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "climits", "font.size": 10,
    "font.family": "sans-serif", "text.color": INK, "axes.labelcolor": INK,
    "axes.edgecolor": INK, "axes.titlecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "grid.color": INK, "grid.alpha": 0.3, "figure.facecolor": "none", "axes.facecolor": "none",
    "legend.frameon": False,
})  # fmt: skip


def save(figure, name, images):
    path = os.path.join(images, f"{name}.svg")
    figure.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    print(path)


def by_machines(lines):
    """{machines: {policy: list of runs}}, in the order of the file."""
    found = {}
    for line in lines:
        found.setdefault(line["machines"], {}).setdefault(line["policy"], []).append(line)
    return found


def bars(lines, key, title, unit, name, images):
    """One panel for each size, a bar for each policy: the median of its runs, and their range."""
    sizes = by_machines(lines)
    figure, panels = plt.subplots(
        1, len(sizes), figsize=(3.2 * len(sizes) + 2.4, 2.9), sharey=True, squeeze=False
    )
    for panel, (machines, policies) in zip(panels[0], sizes.items(), strict=True):
        names = [policy for policy in COLOURS if policy in policies]
        for row, policy in enumerate(names):
            values = [run[key] for run in policies[policy]]
            middle = median(values)
            panel.barh(row, middle, color=COLOURS[policy], height=0.7)
            if len(values) > 1:
                panel.hlines(row, min(values), max(values), color=INK, linewidth=1.5)
            digits = 1 if 0 < middle < 0.1 else 0
            text = f"{middle:.{digits}%}" if unit == "%" else number(middle)
            panel.annotate(
                text, (max(values), row), xytext=(4, 0), textcoords="offset points", va="center",
                fontsize=9,
            )  # fmt: skip
        panel.set_yticks(range(len(names)), names)
        panel.invert_yaxis()
        panel.set_title(f"{machines:,} machines", fontsize=10)
        panel.grid(axis="x")
        if unit == "%":
            panel.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
        panel.margins(x=0.22)
    figure.suptitle(title, fontsize=11, y=1.04)
    figure.tight_layout()
    save(figure, name, images)


def waiting(lines, images):
    """How long jobs wait: the share of them that has been started, over time."""
    sizes = by_machines(lines)
    figure, panels = plt.subplots(
        1, len(sizes), figsize=(3.4 * len(sizes) + 1.6, 3.2), sharey=True, squeeze=False
    )
    for panel, (machines, policies) in zip(panels[0], sizes.items(), strict=True):
        for policy, colour in COLOURS.items():
            if policy in policies:
                runs = [run["waited"] for run in policies[policy]]
                waited = [median(values) for values in zip(*runs, strict=True)]
                style = {"linestyle": "--"} if policies[policy][0]["dask"] else {}
                panel.plot(
                    waited, [q / 100 for q in range(101)], color=colour, label=policy, **style
                )
        panel.set_title(f"{machines:,} machines", fontsize=10)
        panel.set_xlabel("seconds since the batch began")
        panel.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
        panel.grid()
    panels[0][0].set_ylabel("jobs that have been started")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2, fontsize=9
    )
    figure.tight_layout()
    save(figure, "scale-waiting", images)


def simulation(lines, images):
    bars(lines, "utilisation", "memory in use for what succeeds, while jobs wait", "%",
         "scale-utilisation", images)  # fmt: skip
    bars(lines, "wasted", "work lost to OOM kills and killed workers, of all memory x time", "%",
         "scale-lost", images)  # fmt: skip
    for line in lines:
        line["kills_each"] = line["killed"] / line["jobs"]
    bars(lines, "kills_each", "attempts killed for lack of memory, for each job", "%",
         "scale-kills", images)  # fmt: skip
    waiting(lines, images)


def decisions(found, lines, images):
    """Decisions a second against the number of machines: Dask's, and ours."""
    figure, panel = plt.subplots(figsize=(6.4, 3.4))
    panel.plot(
        [one["workers"] for one in found["decisions"]],
        [1 / one["seconds"] for one in found["decisions"]],
        "o--", color=COLOURS["Dask alone, what users ask for"],
        label="distributed: decide_worker, of a task with a resource",
    )  # fmt: skip
    rates = [
        (machines, median([run["decisions"] / run["scheduler_seconds"] for run in runs]))
        for machines, policies in by_machines(lines).items()
        for policy, runs in policies.items() if policy == "climits suggest"
    ]  # fmt: skip
    panel.plot(*zip(*rates, strict=True), "o-", color=COLOURS["climits suggest"],
               label="climits' scheduler over a tree of machines")  # fmt: skip
    panel.set(xscale="log", yscale="log", xlabel="machines", ylabel="decisions a second")
    panel.grid()
    panel.legend(fontsize=9)
    save(figure, "scale-decisions", images)


def host(curves, images):
    """What one machine holds: a panel for each curve."""
    curves = [curve for curve in curves if len(curve["points"]) > 1]
    columns = 3
    rows = -(-len(curves) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(9.6, 2.7 * rows), squeeze=False)
    for panel, curve in zip(panels.flat, curves, strict=False):
        sizes = [point[0] for point in curve["points"]]
        panel.plot(sizes, [point[1] for point in curve["points"]], "o-", color="#4393c3")
        panel.set_ylim(bottom=0)
        unit = f" ({curve['unit']})" if curve["unit"] else ""
        panel.set_title(f"{curve['what']}{unit}", fontsize=10)
        panel.set_xlabel("cgroups" if "sample" in curve["heading"] else "programs")
        panel.grid()
    for panel in panels.flat[len(curves) :]:
        panel.axis("off")
    figure.tight_layout()
    save(figure, "scale-host", images)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSON")
    parser.add_argument("--images", default=IMAGES, metavar="FOLDER", help="(docs/images)")
    options = parser.parse_args()
    lines, curves, dask = [], [], None
    for path in options.files:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if path.endswith(".jsonl"):
            lines += [json.loads(line) for line in text.splitlines()]
            continue
        found = json.loads(text)
        if "decisions" in found:
            dask = found
        else:
            curves += found["curves"]
    if curves:
        host(curves, options.images)
    if lines:
        simulation(lines, options.images)
        if dask:
            decisions(dask, lines, options.images)


if __name__ == "__main__":
    main()
