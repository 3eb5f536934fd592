"""A limit from the past peaks of a command.  Pure.

What a past run says about the memory that a command needs depends on how it ended:

- It ended well, below its limit or with none: no more than its peak, and it counts as that, with
  the margin on top.
- It ended well at its limit: page cache takes whatever there is, so the limit was enough.  It
  counts as that limit, with no margin, or each suggestion would make the next one larger.
- The kernel OOM-killed it, or a process of it: more than its limit, nobody knows how much.  It
  counts as the runs that needed more than that do; where there are none, as `GUESS` times its
  limit.  (Statisticians call this redistribution to the right; it is what the Kaplan-Meier
  estimator does with observations that were cut off.)
- It failed, or its time was up: perhaps it never came to where it needs most, so it does not count.
  One that was stopped does: that is how a server ends.
"""

import json
import math
import os

from ..errors import InvalidValueError
from ..records import Record
from ..units import UNLIMITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .entries import Entry

DEFAULT_PERCENTILE, DEFAULT_MARGIN = 95.0, 15.0
#: An OOM-killed run counts as so many times its limit, where no other run needed more.
GUESS = 1.5
#: A run whose peak is this share of its limit is at it: the kernel charges in batches.
_AT_LIMIT = 0.98
_MIB = 1 << 20
#: The newest so many runs of a program are looked at.
NEWEST = 10_000


class Suggestion(Record):
    """A limit, and what it rests on.

    Attributes:
        memory: the limit, bytes, a whole number of MiB.
        percentile: the share of the past runs, per cent, that it is enough for.
        margin: what is added to peaks, per cent.
        basis: the run that it comes from: peak (its peak and the margin), limit (the limit it
            ended well at) or oom-killed (a guess: it was killed at a lower limit, and none that
            needed more ended well).
        value: that run's peak, or its limit where `basis` is that or oom-killed, bytes.
        runs: how many runs it rests on.
        oom_killed: how many of them were OOM-killed.
        at_limit: how many of them ended well at their limit.
        left_out: how many more there were that failed or were timed out.
        lowest, highest: of the peaks of those runs, bytes.
        exact: they ran this very command; else this program, with other arguments.
        first, last: when the first and the last of them started, seconds since the epoch.
    """

    memory: int
    percentile: float
    margin: float
    basis: str
    value: int
    runs: int
    oom_killed: int
    at_limit: int
    left_out: int
    lowest: int
    highest: int
    exact: bool
    first: float
    last: float


def hallmark(command: "Sequence[str]") -> str:
    """What is in the command, as JSON, of each run of its program; for History.query."""
    return json.dumps(os.path.basename(command[0]))[1:]


def relevant(
    entries: "Sequence[Entry]", command: "Sequence[str]", cwd: "str | None"
) -> "tuple[list[Entry], bool]":
    """Those runs that tell something about a command.

    Args:
        entries: of the history.
        command: the program and its arguments.
        cwd: where it is going to run, which a program such as ./app depends on.

    Returns:
        (entries, whether they are of this very command; else of its program); may be empty.
    """
    program = _program(command, cwd)
    same = [e for e in entries if _program(e.command, e.cwd) == program and _has_ended(e)]
    exact = [e for e in same if e.command[1:] == list(command[1:])]
    if any(_counts(e) for e in exact):
        return exact, True
    return (same, False) if any(_counts(e) for e in same) else ([], False)


def suggest(
    entries: "Sequence[Entry]",
    *,
    exact: bool = True,
    percentile: float = DEFAULT_PERCENTILE,
    margin: float = DEFAULT_MARGIN,
) -> Suggestion:
    """A limit that would have been enough for `percentile` per cent of past runs.

    Args:
        entries: runs of one command; see `relevant`.
        exact: whether they are of the very command.
        percentile: more than 0, 100 at most.
        margin: per cent, 0 or more.

    Raises:
        InvalidValueError: a figure out of its range, or no run that tells anything.
    """
    if not 0 < percentile <= 100:
        raise InvalidValueError(
            f"percentile: {percentile:g}: must be more than 0 and at most 100", value=percentile
        )
    if not 0 <= margin <= 1000:
        raise InvalidValueError(f"margin: {margin:g}: must be 0 to 1000 per cent", value=margin)
    used = [e for e in entries if _counts(e)]
    if not used:
        raise InvalidValueError("no run of it tells how much memory it needs")
    weighted = _weigh([_demand(entry, margin / 100) for entry in used])
    wanted, basis, value = _at_percentile(weighted, percentile)
    peaks = [entry.memory_peak or 0 for entry in used]
    return Suggestion(
        memory=max(math.ceil(wanted / _MIB), 1) * _MIB,
        percentile=percentile,
        margin=margin,
        basis=basis,
        value=int(value),
        runs=len(used),
        oom_killed=sum(_demand(e, 0.0)[1] == "oom-killed" for e in used),
        at_limit=sum(_demand(e, 0.0)[1] == "limit" for e in used),
        left_out=len(entries) - len(used),
        lowest=min(peaks),
        highest=max(peaks),
        exact=exact,
        first=min(e.started for e in used),
        last=max(e.started for e in used),
    )


#: (what the limit should be for this run, its basis, the figure that it comes from)
_Demand = tuple[float, str, float]


def _demand(entry: "Entry", margin: float) -> _Demand:
    # Without swap, what was there would have to be in memory.
    peak, limit = float((entry.memory_peak or 0) + (entry.swap_peak or 0)), entry.memory_max
    if limit is None or limit == UNLIMITED:
        if entry.oom_killed:  # the limit was above it, or the whole machine's
            return peak, "oom-killed", peak
        return peak * (1 + margin), "peak", peak
    if entry.oom_killed:
        return float(limit), "oom-killed", float(limit)
    if peak >= limit * _AT_LIMIT:
        return float(limit), "limit", float(limit)
    return peak * (1 + margin), "peak", peak


def _weigh(demands: "list[_Demand]") -> "list[tuple[_Demand, float]]":
    """Each demand and its weight, the lowest first; that of a killed run goes to those above it."""
    demands = sorted(demands, key=lambda each: (each[2], each[0]))
    weights = [1.0] * len(demands)
    for i, (demand, basis, value) in enumerate(demands):
        if basis != "oom-killed":
            continue
        above = [k for k, other in enumerate(demands) if other[2] > value]
        for k in above:
            weights[k] += weights[i] / len(above)
        if above:
            weights[i] = 0.0
        else:
            demands[i] = demand * GUESS, basis, value
    return sorted(zip(demands, weights, strict=True))


def _at_percentile(weighted: "list[tuple[_Demand, float]]", percentile: float) -> _Demand:
    """The lowest demand that so many per cent of the weight do not exceed."""
    wanted = sum(weight for _, weight in weighted) * percentile / 100
    found = 0.0
    for demand, weight in weighted:
        found += weight
        if weight and found >= wanted - 1e-9:  # thirds and sevenths add up with errors
            return demand
    return weighted[-1][0]


def _program(command: "Sequence[str]", cwd: "str | None") -> str:
    """What is run: a name that PATH finds, or the path that a relative one means."""
    if "/" not in command[0]:
        return command[0]
    return os.path.normpath(os.path.join(cwd or "/", command[0]))


def _has_ended(entry: "Entry") -> bool:
    return entry.verdict != "failed-to-start" and bool(entry.memory_peak)


def _counts(entry: "Entry") -> bool:
    return entry.oom_killed or entry.verdict == "stopped" or (
        entry.verdict == "exited" and entry.returncode == 0
    )  # fmt: skip
