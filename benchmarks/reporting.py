"""What a benchmark tells: Markdown for whoever runs it, JSON for the page and the plots.

The JSON of a result has

name, title, quick
    whose it is; a quick one says nothing about speed.
when, host, climits, load
    when and on what: UTC, the machine in a line, the version, load averages before and after.
seconds
    how long it took.
parts
    what is told, in order: {"heading": ...}, {"text": ...} or
    {"table": {"headings": ..., "lines": ..., "not_run": ...}}.
targets
    each figure that something was promised of: heading, what, value, unit, at_most or at_least,
    holds.
samples
    what the medians are of: heading, what, way, unit, values.
curves
    cost against size: heading, what, unit, points as [size, median, 10th and 90th percentile].
"""

import json
import os
import platform
import sys
import time

MARK = "climits-benchmark-result "  # before a result on standard output


def quantile(values, q):
    """The value below which a share q of the others lies, interpolated."""
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def median(values):
    return quantile(values, 0.5)


def number(value):
    """Three significant digits and no exponent."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values, scale=1.0):
    """From the 10th to the 90th percentile, as text."""
    return "-".join(number(quantile(values, q) * scale) for q in (0.1, 0.9))


class Table:
    """Its text is Markdown that is readable as it is, and below it why something was not run.

    Attributes:
        headings: list[str].
        lines: list of cells of each line, as text.
        not_run: list[str], "what: reason".
    """

    def __init__(self, headings, lines, reasons=()):
        self.headings = list(headings)
        self.lines = [[str(cell) for cell in line] for line in lines]
        self.not_run = list(reasons)

    def __str__(self):
        every = [self.headings, *self.lines]
        widths = [max(len(line[i]) for line in every) for i in range(len(self.headings))]

        def render(cells):
            return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

        rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
        text = "\n".join([render(self.headings), rule, *map(render, self.lines)])
        return text + "".join(f"\n\nnot run: {reason}" for reason in self.not_run)


table = Table


def markdown(part):
    """The text of a part of a result."""
    if "heading" in part:
        return f"### {part['heading']}"
    if "table" in part:
        found = part["table"]
        return str(Table(found["headings"], found["lines"], found["not_run"]))
    return part["text"]


class Report:
    """Prints what it is given at once; at the end writes the result to where the options say."""

    def __init__(self, title, options):
        self._options, self._begin = options, time.monotonic()
        self._heading = ""
        name = os.path.basename(sys.argv[0]).removesuffix(".py")
        self.result = {
            "name": name, "title": title, "quick": bool(getattr(options, "quick", False)),
            "when": time.strftime("%Y-%m-%d %H:%M", time.gmtime()), "host": host(),
            "climits": version(), "load": {"before": load(), "after": ""}, "seconds": 0,
            "parts": [], "targets": [], "samples": [], "curves": [],
        }  # fmt: skip
        self._say(head(self.result))

    def _say(self, text):
        print(f"{text}\n", flush=True)

    def _part(self, part):
        self.result["parts"].append(part)
        self._say(markdown(part))

    def heading(self, text):
        self._heading = text
        self._part({"heading": text})

    def add(self, part):
        """A text or a Table."""
        if isinstance(part, Table):
            found = {"headings": part.headings, "lines": part.lines, "not_run": part.not_run}
            self._part({"table": found})
        else:
            self._part({"text": str(part)})

    def target(self, what, value, unit, *, at_most=None, at_least=None):
        """Hold a figure against what was promised.

        Args:
            what: of what it is, for somebody who does not see the table.
            value: measured.
            unit: of both; "x" for a ratio.
            at_most, at_least: one of them.

        Returns:
            "yes" or "NO", for the table.
        """
        holds = value <= at_most if at_most is not None else value >= at_least
        limit = {"at_most": at_most} if at_most is not None else {"at_least": at_least}
        self.result["targets"].append(
            {"heading": self._heading, "what": what, "value": value, "unit": unit, **limit,
             "holds": holds}
        )  # fmt: skip
        return "yes" if holds else "NO"

    def samples(self, what, values, unit, way=""):
        """Keep what a median is of, to four digits."""
        self.result["samples"].append(
            {"heading": self._heading, "what": what, "way": way, "unit": unit,
             "values": [float(f"{value:.4g}") for value in values]}
        )  # fmt: skip

    def curve(self, what, unit, points):
        """Keep a curve: (size, list of samples) for each point.

        Returns:
            list of [size, median, 10th percentile, 90th percentile].
        """
        found = [
            [size, *(float(f"{quantile(values, q):.4g}") for q in (0.5, 0.1, 0.9))]
            for size, values in points
        ]
        self.result["curves"].append(
            {"heading": self._heading, "what": what, "unit": unit, "points": found}
        )
        return found

    def end(self):
        self.result["load"]["after"] = load()
        self.result["seconds"] = round(time.monotonic() - self._begin)
        self._say(foot(self.result))
        file = getattr(self._options, "json", None)
        if file == "-":  # from a machine whose files are thrown away
            print(MARK + json.dumps(self.result), flush=True)
        elif file:
            save(self.result, file)


def save(result, path):
    """Write a result, with each part, target, sample and curve in a line of its own."""
    texts = []
    for key, value in result.items():
        if isinstance(value, list):
            inner = ",\n  ".join(json.dumps(one, ensure_ascii=False) for one in value)
            text = f"[\n  {inner}\n ]" if value else "[]"
        else:
            text = json.dumps(value, ensure_ascii=False)
        texts.append(f' "{key}": {text}')
    with open(path, "w", encoding="utf-8") as file:
        file.write("{\n" + ",\n".join(texts) + "\n}\n")


# ---- when and where ----------------------------------------------------------------------------


def head(result):
    return (
        f"## {result['title']}\n\n{result['when']} UTC, {result['host']}\n"
        f"load average before: {result['load']['before']}"
    )


def foot(result):
    return f"load average after: {result['load']['after']}; took {result['seconds']} s"


def host():
    """The machine in one line."""
    from common import mode

    model = "unknown CPU"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return (
        f"Linux {platform.release()}, cgroup {mode()}, {len(os.sched_getaffinity(0))} x {model}, "
        f"Python {platform.python_version()}"
    )


def version():
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as of

    try:
        return of("climits")
    except PackageNotFoundError:
        return "not installed"


def load():
    return " ".join(f"{value:.2f}" for value in os.getloadavg())
