"""The made parts of docs/benchmarks.md: what stands between two marks is written from the results.

    <!-- made from results: NAME -->
    <!-- end -->

NAME is that of a script, or `summary`.  Around the marks stands what somebody has to say about it.
"""

import os
import re

import reporting
from plot_texts import PLOTS

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../docs/benchmarks.md")
_MADE = re.compile(r"(<!-- made from results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(results):
    """The text of the page with all made parts as the results say."""
    with open(PAGE, encoding="utf-8") as file:
        text = file.read()

    def made(match):
        name = match[2]
        if name == "summary":
            inner = summary(results)
        elif name in results:
            inner = section(results[name], results)
        else:
            inner = "Not measured yet."
        return f"{match[1]}\n{inner}\n\n{match[3]}"

    return _MADE.sub(made, text)


def write(results):
    text = fill(results)
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(text)


def stale(results):
    """What is not as the results say: names of marks; may be empty."""
    with open(PAGE, encoding="utf-8") as file:
        there = {match[2]: match[0] for match in _MADE.finditer(file.read())}
    wanted = {match[2]: match[0] for match in _MADE.finditer(fill(results))}
    missing = [name for name in results if name not in wanted]
    return missing + [name for name, text in wanted.items() if there[name] != text]


# ---- one benchmark -----------------------------------------------------------------------------


def section(result, results):
    """The part of one benchmark: when and where, its tables, its plots."""
    load = result["load"]
    parts = [
        f"{result['when']} UTC, {result['host']}, climits {result['climits']}. Load average "
        f"{load['before']} before, {load['after']} after; took {duration(result['seconds'])}."
    ]
    parts += map(reporting.markdown, result["parts"])
    return "\n\n".join(parts + pictures(result["name"], results))


def duration(seconds):
    return f"{seconds} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def pictures(name, results):
    """The plots of a benchmark, each with a sentence on what it shows."""
    found = []
    for plot in PLOTS:
        if plot.place == name and plot.possible(results):
            text = plot.text(results)
            found.append(f"![{plot.title}](images/{plot.file}.svg)\n\n{text}")
    return found


# ---- where it stands ---------------------------------------------------------------------------


def summary(results):
    """How many targets hold, and the table of all of them, those that do not first."""
    every = [(name, one) for name, result in results.items() for one in result["targets"]]
    failed = [pair for pair in every if not pair[1]["holds"]]
    held = [pair for pair in every if pair[1]["holds"]]
    days = sorted({result["when"].partition(" ")[0] for result in results.values()})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    parts = [
        f"Of {len(every)} targets {len(held)} hold and {len(failed)} do not, as measured on {when}."
    ]
    parts += pictures("summary", results)
    for title, pairs in (("These do not hold:", failed), ("These hold:", held)):
        if pairs:
            lines = [target_line(name, one) for name, one in pairs]
            parts += [
                title,
                str(reporting.Table(["benchmark", "what", "measured", "target"], lines)),
            ]
    return "\n\n".join(parts)


def target_line(name, one):
    heading = f", {one['heading']}" if one["heading"] else ""
    sign, limit = ("<=", one["at_most"]) if "at_most" in one else (">=", one["at_least"])
    measured = exact(one["value"], limit, one["holds"])
    return [name, f"{one['what']}{heading}", with_unit(measured, one), f"{sign} "
            + with_unit(f"{limit:g}", one)]  # fmt: skip


def exact(value, limit, holds):
    """With as many digits as it takes to see on which side of the limit it is."""
    if value == limit or holds:
        return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    for digits in range(3, 8):
        text = f"{value:.{digits}g}"
        if float(text) != limit:
            break
    return text if value < 1000 else f"{value:.0f}"


def with_unit(text, one):
    return f"{text}x" if one["unit"] == "x" else f"{text} {one['unit']}".strip()
