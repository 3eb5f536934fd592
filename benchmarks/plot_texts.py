"""Which plots there are, where they stand, and the sentence below each, made from the results."""

import math

from reporting import median, number


class Plot:
    """A plot.

    Attributes:
        file: name in docs/images, without its ending.
        place: the part of the page that it stands in.
        title: above it, and what is read aloud instead of it.
        source: the result that it needs; "": any.
    """

    def __init__(self, file, place, title, text, source=None):
        self.file, self.place, self.title = file, place, title
        self.source = place if source is None else source
        self._text = text

    def possible(self, results):
        return bool(results) if not self.source else self.source in results

    def text(self, results):
        """What it shows."""
        return self._text(results[self.source] if self.source else results)


def medians(result, *, heading=None, way=None):
    """what: median of the samples, of one heading and way."""
    return {
        one["what"]: median(one["values"])
        for one in result["samples"]
        if (heading is None or one["heading"].startswith(heading)) and way in (None, one["way"])
    }


def share(one):
    """How much of its target a figure takes: at most 1 where it holds; None: the target is 0."""
    if "at_most" in one:
        return one["value"] / one["at_most"] if one["at_most"] else None
    return one["at_least"] / one["value"] if one["value"] else None


# ---- the sentences -----------------------------------------------------------------------------


def targets(results):
    shares = [
        (share(one), one, name) for name, result in results.items() for one in result["targets"]
    ]
    measured = [entry for entry in shares if entry[0]]
    worst = max(measured, key=lambda entry: entry[0])
    return (
        f"Each dot is a target: left of the line it holds. The farthest beyond it is "
        f"“{worst[1]['what']}” ({worst[2]}), at {worst[0]:.2g} times what is allowed. "
        f"Targets of 0 ({len(shares) - len(measured)} of them) have no place on such a scale."
    )


def launch(result):
    small = medians(result, heading="from a small", way="isolated")
    bare, ours = (value(small, name) for name in ("os.posix_spawn", "climits.run"))
    large = medians(result, heading="from a parent that has touched 1 GiB", way="isolated")
    fork = value(large, "by hand: preexec_fn")
    return (
        f"Isolated launches. From a small parent the whole cycle takes {number(ours - bare)} us "
        f"more than a bare posix_spawn, from one that has touched 1 GiB "
        f"{number(value(large, 'climits.run') - value(large, 'os.posix_spawn'))} us more; a fork "
        f"from there takes {fork / value(large, 'climits.run'):.0f} times as long."
    )


def command(result):
    found = medians(result, way="isolated")
    ours = value(found, "climits run")
    return (
        f"Isolated commands. climits run takes {number(ours)} ms, of which an empty Python program "
        f"takes {number(value(found, 'python -c pass'))} ms; runexec takes "
        f"{value(found, 'runexec --no-container') / ours:.0f} times as long."
        if "runexec --no-container" in found
        else f"Isolated commands. climits run takes {number(ours)} ms."
    )


def supervise(result):
    found = medians(result, way="from the end")
    ours, least = value(found, "climits"), value(found, "by hand")
    slowest = max(found.values())
    return (
        f"From the end of the killed process to the new program. climits takes {number(ours)} "
        f"ms, the least that can be done {number(least)} ms, the slowest {number(slowest)} ms. Who "
        f"looks at intervals is met at any point of one: hence the long bars."
    )


def batch(result):
    found = medians(result)
    ours = value(found, "climits batch")
    others = {
        name: took / ours
        for name, took in found.items()
        if "climits" not in name and not name.startswith("the same")
    }
    low, high = min(others, key=others.get), max(others, key=others.get)
    return (
        f"A job in climits batch takes {number(ours)} ms. The others take {others[low]:.1f} "
        f"({low}) to {others[high]:.0f} times ({high}) as long."
    )


def pool(result):
    found = medians(result, heading="trivial tasks")
    ours = value(found, "climits")
    rest = {name: rate for name, rate in found.items() if "climits" not in name}
    best, last = max(rest, key=rest.get), min(rest, key=rest.get)
    return (
        f"Trivial tasks a second: climits {ours:,.0f}, {best} {rest[best]:,.0f}, {last} "
        f"{rest[last]:,.0f}. The more work there is in a task, the less the pool matters."
    )


def value(found, start):
    """That of the name that starts so."""
    return next(figure for name, figure in found.items() if name.startswith(start))


def curves(result, heading):
    return [one for one in result["curves"] if one["heading"] == heading]


def of_size(heading, *starts, text):
    """A sentence about curves of a size, named by how they start.

    Args:
        text: with {r0}, {r1} ..., the ratios of their ends; {k0} ..., the exponents over the last
            step of sizes; {v0} ..., the values at the largest {size}.
    """

    def make(result):
        words = {}
        for n, start in enumerate(starts):
            points = next(
                one["points"] for one in curves(result, heading) if one["what"].startswith(start)
            )
            (at, before, *_), (size, last, *_) = points[-2:]
            ratio = last / points[0][1]
            words[f"r{n}"] = f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
            words[f"k{n}"] = f"{math.log(last / before) / math.log(size / at):.2f}"
            words[f"v{n}"], words["size"] = number(last), f"{size:,}"
        return text.format(**words)

    return make


_CGROUPS = (
    "Looking at cgroups costs {v0} ms a tick at {size}, and over the last step it grows with the "
    "power {k0} of how many there are (1: in proportion). A launch does not look at the others: "
    "with {size} of them it takes {r1} times as long as with 1, and a bare posix_spawn {r2} times."
)
_PROGRAMS = (
    "{size} programs are started in {v0} s, which over the last step grows with the power {k0} of "
    "how many there are (1: in proportion). The supervisor of {size} and its guard take {v1} MiB, "
    "{r1} times as much as with 1 program."
)
_JOBS = (
    "All jobs share the start of the command: with {size} of them one takes {v0} ms. The highest "
    "RSS is {r1} times that of a single job, {v1} MiB."
)
_PARENT = (
    "A launch does not copy the parent: from one of {size} MiB it takes {r0} times as long as from "
    "a small one. A fork copies its page tables: {r1} times as long, {v1} ms."
)

PLOTS = (
    Plot("bench-targets", "summary", "Each figure by its target", targets, source=""),
    Plot("bench-command", "command", "Whole commands", command),
    Plot("bench-launch", "launch", "A launch, from four parents", launch),
    Plot("bench-supervise", "supervise", "From an OOM kill to the restart", supervise),
    Plot("bench-batch", "batch", "A job of a batch", batch),
    Plot("bench-pool", "pool", "Tasks a second in five pools", pool),
    Plot("bench-size-cgroups", "size", "Cost against the number of cgroups",
         of_size("cgroups that exist", "a tick", "a launch", "a bare",
                 text=_CGROUPS)),
    Plot("bench-size-programs", "size", "Cost against the number of supervised programs",
         of_size("programs under one supervisor", "to start", "RSS",
                 text=_PROGRAMS)),
    Plot("bench-size-jobs", "size", "Cost against the number of jobs",
         of_size("jobs in a batch", "a job", "highest RSS",
                 text=_JOBS)),
    Plot("bench-size-parent", "size", "Cost against the memory of the parent",
         of_size("memory that the parent has touched", "climits.run", "subprocess",
                 text=_PARENT)),
)  # fmt: skip
