"""`climits suggest`: a limit for a command, from what it used before."""

import json
import os
import shlex
import sys
import time

from ..errors import ClimitsError, InvalidValueError
from ..history.store import History
from ..history.suggest import (
    DEFAULT_MARGIN,
    DEFAULT_PERCENTILE,
    GUESS,
    NEWEST,
    Suggestion,
    hallmark,
    relevant,
    suggest,
)
from ..units import format_size
from .main import tell
from .options import CGROUP, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--percentile", "P", "text", CGROUP, "enough for so many per cent of the past runs "
     f"(default {DEFAULT_PERCENTILE:g})"),
    ("--margin", "P", "text", CGROUP, "per cent to add to a peak "
     f"(default {DEFAULT_MARGIN:g})"),
    ("--json", None, "switch", TELLING, "all figures as one JSON object"),
    ("--quiet", None, "switch", TELLING, "the limit alone, without what it rests on"),
)  # fmt: skip
USAGE = "climits suggest [OPTIONS] [--] COMMAND [ARGUMENTS]"
EPILOG = f"""\
Looks into the history for runs of this command, or of the same program with
other arguments where there is none. The limit goes to standard output, what it
rests on to standard error.

A run that ended well counts as its peak and the margin. One that ended well at
its limit counts as that limit: page cache takes whatever there is. The peak of
an OOM-killed run is only a lower bound: it counts as those that needed more, or
as {GUESS:g} times its limit where there are none. Failed runs do not count.

examples:
  climits suggest -- make -j8
  climits run --memory "$(climits suggest --margin 30 -- make -j8)" -- make -j8
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", command: list[str]) -> int:
    """Print the limit, and why."""
    if not command:
        raise InvalidValueError(
            "no command was given", hint="write it last: climits suggest -- make -j8"
        )
    percentile = _per_cent(values, "percentile", DEFAULT_PERCENTILE)
    margin = _per_cent(values, "margin", DEFAULT_MARGIN)
    with History() as history:
        history.fold()
        entries = history.query(containing=hallmark(command), limit=NEWEST)
        warning = history.warning
    if warning:
        tell(warning)
    found, exact = relevant(entries, command, os.getcwd())
    if not found:
        raise _nothing(entries, command)
    suggestion = suggest(found, exact=exact, percentile=percentile, margin=margin)
    if values.get("json"):
        sys.stdout.write(json.dumps({"command": command, **suggestion.as_dict()}) + "\n")
        return 0
    sys.stdout.write(f"{suggestion.memory >> 20}M\n")
    sys.stdout.flush()
    if not values.get("quiet"):
        for line in explain(suggestion, command[0]):
            tell(line)
    return 0


def _nothing(entries: "list[Any]", command: "list[str]") -> ClimitsError:
    text = shlex.join(command)
    ran = any(e.command == command for e in entries)
    cause = "no run of it ended well" if ran else "no run of it is in the history"
    return ClimitsError(
        f"no limit to suggest for {text}: {cause}",
        hint=f"climits measure -- {text} finds one by trying",
    )


def _per_cent(values: "dict[str, Any]", name: str, default: float) -> float:
    text = values.get(name)
    if text is None:
        return default
    try:
        return float(text.removesuffix("%"))
    except ValueError:
        raise InvalidValueError(
            f"{name}: {text or 'empty'}: not a number",
            value=text,
            hint=f"write per cent, like --{name} {default:g}",
        ) from None


def explain(found: Suggestion, program: str) -> "list[str]":
    """What a suggestion rests on, in lines for people."""
    runs = "1 run" if found.runs == 1 else f"{found.runs} runs"
    of = "of this command" if found.exact else f"of {program}, with other arguments"
    days = "" if _date(found.first) == _date(found.last) else f" to {_date(found.last)}"
    peaks = " to ".join(dict.fromkeys(map(format_size, (found.lowest, found.highest))))
    how = {
        "peak": f"peak {format_size(found.value)} + {found.margin:g} % margin",
        "limit": f"{format_size(found.value)}, a limit that was enough",
        "oom-killed": f"a guess, {GUESS:g} times the {format_size(found.value)} at which a run was "
        "OOM-killed",
    }[found.basis]
    lines = [
        f"{format_size(found.memory)} = {how}: percentile {found.percentile:g} of {runs} {of}",
        f"peaks {peaks}, {_date(found.first)}{days}",
    ]
    if found.oom_killed:
        how_counted = "as the runs that needed more"
        if found.basis == "oom-killed":
            how_counted = "as a guess: none that needed more ended well; climits measure"
        lines.append(
            f"{found.oom_killed} OOM-killed: a peak is only a lower bound then; counted "
            f"{how_counted}"
        )
    if found.at_limit:
        lines.append(
            f"{found.at_limit} ended well at the limit, which page cache fills: no margin is added"
        )
    if found.left_out:
        lines.append(f"{found.left_out} more failed, or were timed out, and do not count")
    return lines


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))
