"""`climits measure`: how much memory a command needs, found out by running it."""

import json
import os
import shlex
import signal
import sys

from ..cgroup import placement
from ..errors import ClimitsError, InvalidValueError, UnsupportedError
from ..history.least import (
    DEFAULT_RUNS,
    DEFAULT_TOLERANCE,
    LEAST_RUNS,
    Least,
    Trial,
    find_least,
    shown_limit,
)
from ..history.measure import DEFAULT_SLOWDOWN, Bench, WorkingSet, judge
from ..history.spool import record
from ..program.verdict import summarize
from ..units import UNLIMITED, format_duration, format_size, parse_duration, parse_size
from .main import complain, tell
from .options import CGROUP, LIFE, NO_HISTORY, SYSTEMD, TELLING, Option
from .scope import wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..records import Result

OPTIONS: tuple[Option, ...] = (
    ("--tolerance", "P", "float", CGROUP, "per cent by which the least limit may be too large "
     f"(default {DEFAULT_TOLERANCE:g})"),
    ("--runs", "N", "int", CGROUP, "runs at most, that under pressure apart "
     f"(default {DEFAULT_RUNS})"),
    ("--max-slowdown", "N", "float", CGROUP, "a run so many times slower than the first does not "
     f"count as working (default {DEFAULT_SLOWDOWN:g}); any may take a second"),
    ("--interval", "TIME", "text", CGROUP, "between two reclaims in the run under pressure "
     "(default: a twentieth of the first run, 20ms to 1s)"),
    ("--memory", "SIZE", "text", LIFE, "a limit for the first run too (default none)"),
    ("--timeout", "TIME", "text", LIFE, "for the first run: give up when it takes longer"),
    ("--input", "FILE", "text", LIFE, "its standard input in each run (default: none)"),
    *SYSTEMD,
    ("--json", None, "switch", TELLING, "the figures and each run as one JSON object"),
    NO_HISTORY,
)  # fmt: skip
USAGE = "climits measure [OPTIONS] [--] COMMAND [ARGUMENTS]"
EPILOG = """\
THE COMMAND IS RUN MANY TIMES, and killed in some of them: it must bear that. Its
standard output is thrown away, and so is its standard error but in the first run.

The least limit is found by bisection: under it the command ended as without one,
with nothing OOM-killed, twice. Page cache counts: a limit that is close to it may
make the command slow, and how slow is told.
The working set is what the command touches within an interval: in one more run
the kernel takes back all it can, once an interval, and the command comes back to
what it needs.

Only the first run is recorded in the history. When that fails, measure ends with
its exit status.

examples:
  climits measure -- sort big.txt
  climits measure --tolerance 1 --input data.csv -- ./import
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]

_MIB = 1 << 20
#: So many times as long, and at least so many seconds longer, is more than chance.
_SLOW, _NOISE = 1.5, 0.1


class _Ended(BaseException):
    """SIGTERM or SIGHUP came."""


def main(values: "dict[str, Any]", command: list[str]) -> int:
    """Run it many times and print what was found."""
    if not command:
        raise InvalidValueError(
            "no command was given", hint="write it last: climits measure -- sort big.txt"
        )
    wish(values, ["measure", *command])
    wishes = _read(values)

    def end(number: int, frame: object) -> None:  # noqa: ARG001
        raise _Ended(number)

    before = {n: signal.signal(n, end) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with Bench(command, input=values.get("input")) as bench:
            return _measure(bench, values, wishes)
    except _Ended as e:
        return 128 + int(e.args[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        placement.release_parents()


def _read(values: "dict[str, Any]") -> "dict[str, Any]":
    """The options, checked before anything runs."""
    wishes = {
        "tolerance": values.get("tolerance", DEFAULT_TOLERANCE),
        "runs": values.get("runs", DEFAULT_RUNS),
        "slowdown": values.get("max_slowdown", DEFAULT_SLOWDOWN),
        "interval": None,
        "timeout": None,
        "memory": parse_size(values.get("memory", UNLIMITED), what="memory"),
    }
    if not 0 < wishes["tolerance"] <= 100:
        raise InvalidValueError("tolerance: must be more than 0 and at most 100 per cent")
    if not LEAST_RUNS <= wishes["runs"] <= 1000:
        raise InvalidValueError(f"runs: {wishes['runs']}: must be {LEAST_RUNS} to 1000")
    if not 1 <= wishes["slowdown"] <= 1e6:
        raise InvalidValueError("max-slowdown: must be 1 or more")
    for name in ("interval", "timeout"):
        if name in values:
            wishes[name] = parse_duration(values[name], what=name)
            if not wishes[name]:
                raise InvalidValueError(f"{name}: must be more than 0")
    path = values.get("input")
    if path is not None:
        try:
            os.close(os.open(path, os.O_RDONLY))
        except OSError as e:
            raise InvalidValueError(
                f"input: {path}: {os.strerror(e.errno or 0).lower()}", path=path
            ) from None
    return wishes


def _measure(bench: Bench, values: "dict[str, Any]", wishes: "dict[str, Any]") -> int:
    table = _Table(quiet=bool(values.get("json")))
    first = bench.first(wishes["memory"], wishes["timeout"])
    if not values.get("no_history") and (warning := record(first, "measure")):
        tell(warning)
    if first.verdict != "exited" or first.returncode or first.oom_kill:
        complain(_unusable(first, wishes))
        return first.exit_status or 125
    table.add(judge(wishes["memory"], first, first))

    def attempt(limit: int) -> Trial:
        trial = bench.attempt(limit, first, wishes["slowdown"])
        table.add(trial)
        return trial

    least = find_least(
        attempt,
        first.memory_peak or 0,
        tolerance=wishes["tolerance"],
        runs=wishes["runs"] - 1,
    )
    working, reason = None, "the command ends too soon to tell; --interval makes it shorter"
    try:
        working = bench.squeeze(first, wishes["slowdown"], wishes["interval"])
    except UnsupportedError as e:
        reason = str(e)
    if values.get("json"):
        sys.stdout.write(json.dumps(_as_dict(bench.command, first, least, working)) + "\n")
        return 0 if least.limit is not None else 1
    lines = [*_tell_least(least, first), "", *_tell_working_set(working, reason)]
    if least.limit is not None:
        size = working.size if working and _is_slow(least, first) else 0
        lines += ["", *_tell_advice(bench.command, least.limit, size)]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    return 0 if least.limit is not None else 1


def _unusable(first: "Result", wishes: "dict[str, Any]") -> ClimitsError:
    under = "without a limit"
    if wishes["memory"] != UNLIMITED:
        under = f"under {format_size(wishes['memory'])}"
    hint = "it must end with status 0, or there is nothing to hold the other runs against"
    if first.verdict == "timed-out":
        hint = "measure needs a command that comes to its end; give it more time with --timeout"
    elif first.oom_kill and wishes["memory"] != UNLIMITED:
        hint = "give it more with --memory"
    return ClimitsError(f"the command fails {under}: {summarize(first)}", hint=hint)


class _Table:
    """Tells each run as it ends."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet, self._count = quiet, 0

    def add(self, trial: Trial) -> None:
        if not self._count:
            self._print("RUN", "LIMIT", "PEAK", "TIME", "OUTCOME")
        self._count += 1
        took = "--" if trial.duration is None else format_duration(trial.duration)
        peak = "--" if trial.memory_peak is None else format_size(trial.memory_peak)
        self._print(str(self._count), shown_limit(trial), peak, took, trial.outcome)

    def _print(self, *cells: str) -> None:
        if not self._quiet:
            run, limit, peak, took, outcome = cells
            sys.stdout.write(f"{run:>3}  {limit:>8}  {peak:>8}  {took:>7}  {outcome}\n")
            sys.stdout.flush()  # the next may take its time


def _tell_least(least: Least, first: "Result") -> "list[str]":
    if least.limit is None:
        return ["least limit: not found in so many runs; --runs allows more"]
    times = "twice" if least.confirmed else "once; --runs allows more"
    lines = [
        f"least limit:  {format_size(least.limit)}",
        f"    Under it the command works as without one; it did so {times}.",
    ]
    if least.too_little is not None:
        lines.append(f"    {format_size(least.too_little)} was too little.")
    slower = _slowdown(least, first)
    if slower is not None:
        now, then = (format_duration(s) for s in (slower[0], first.duration or 0.0))
        lines.append(f"    It took {now} there instead of {then}: {slower[1]:.1f} times as long.")
        if _is_slow(least, first):
            lines.append(
                "    It may be thrashing: page cache that it needs is dropped and read again."
            )
    return lines


def _is_slow(least: Least, first: "Result") -> bool:
    """Whether it was so much slower under the least limit that chance does not explain it."""
    found = _slowdown(least, first)
    return found is not None and found[1] >= _SLOW and found[0] - (first.duration or 0.0) > _NOISE


def _slowdown(least: Least, first: "Result") -> "tuple[float, float] | None":
    """(seconds, times as long as the first run) of the slowest run under the least limit."""
    times = [t.duration or 0.0 for t in least.trials if t.limit == least.limit and t.works]
    if not times or not first.duration:
        return None
    return max(times), max(times) / first.duration


def _tell_working_set(found: "WorkingSet | None", reason: str) -> "list[str]":
    if found is None:
        return [f"working set:  not measured: {reason}"]
    lines = [
        f"working set:  {format_size(found.size)}",
        "    The most in use while the kernel took back all that it could every "
        f"{format_duration(found.interval)}, {found.rounds} times.",
        f"    Up to {format_size(found.floor)} was left each time: heap, and what was just in use.",
    ]
    if not found.trial.works:
        lines.append(f"    That run {found.trial.outcome}, so this is of a part of it.")
    return lines


def _tell_advice(command: "list[str]", least: int, working_set: int) -> "list[str]":
    """A limit to use; `working_set` is 0 where the least limit does not slow the command down."""
    roomy = least * 6 // 5
    why = "The least limit leaves no room for larger inputs or another day. With a fifth more:"
    if working_set > roomy:
        roomy, why = working_set, "With room for the working set, so that it need not thrash:"
    return [why, f"  climits run --memory {-(-roomy // _MIB)}M -- {shlex.join(command)}"]


def _as_dict(
    command: "list[str]", first: "Result", least: Least, working: "WorkingSet | None"
) -> "dict[str, Any]":
    slower = _slowdown(least, first)
    found = {
        "schema": 1,
        "command": command,
        "least": least.limit,
        "too_little": least.too_little,
        "confirmed": least.confirmed,
        "slowdown": slower and slower[1],
        "memory_peak": first.memory_peak,
        "duration": first.duration,
        "working_set": working and working.size,
        "unreclaimable": working and working.floor,
        "interval": working and working.interval,
        "rounds": working and working.rounds,
        "trials": [trial.as_dict() for trial in least.trials],
    }
    return {name: value for name, value in found.items() if value is not None}
