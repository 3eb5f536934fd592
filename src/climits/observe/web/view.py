"""What the page shows, out of what the supervisor tells.  Pure.

A row is what one line of the table says, as text, so that the page as it is loaded and the page
as it is kept up to date say the same.
"""

import time

from ...supervise.text import line, size
from ...units import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Row = dict[str, Any]

#: From so many per cent of the limit on, usage is near it, and next to it.
NEAR, FULL = 80, 95

_TONES = {
    "running": "good", "waiting": "warn", "paused": "warn", "stopping": "warn", "failed": "bad",
}  # fmt: skip
_BAD = ("oom-killed", "failed-to-start", "gave-up", "child-oom", "signaled", "timed-out", "error")
_WARN = ("alarm", "paused", "restarting")
#: Fields that may hold what is not everybody's: paths, URLs with a password in them.
_PRIVATE = ("error", "hint")


def row(facts: "dict[str, Any]") -> "Row":
    """One line of the table.

    Args:
        facts: of one program, as the supervisor's `status` tells them.
    """
    status = facts["status"]
    limit, used = facts.get("memory_max"), facts.get("memory_current")
    bounded = isinstance(limit, (int, float)) and 0 < limit < float("inf")
    percent = None
    if used is not None and bounded:
        percent = min(int(used * 100 / limit), 100)
    running = "pid" in facts
    return {
        "name": facts["program"],
        "state": status,
        "tone": _TONES.get(status, "off"),
        "note": "" if running else _end(facts),
        "used": "-" if used is None else format_size(used),
        "limit": ("limit " if used is None else "of ") + size(limit) if bounded else "no limit",
        "percent": percent,
        "peak": "" if facts.get("memory_peak") is None else format_size(facts["memory_peak"]),
        "oom_kills": facts["oom_kills"],
        "restarts": facts["restarts"],
        "since": facts.get("started"),
        "pid": facts.get("pid"),
        "stops": running or status == "waiting",
    }


def _end(facts: "dict[str, Any]") -> str:
    """How the last run ended, where the state does not say so."""
    verdict, code = facts.get("verdict"), facts.get("returncode")
    if verdict == "exited":
        return f"exit status {code}"
    return "" if verdict in (None, facts["status"]) else str(verdict)


def event(record: "dict[str, Any]", *, private: bool) -> "dict[str, Any]":
    """One event.

    Args:
        record: as the supervisor tells it.
        private: for a holder of the token, with what may not be everybody's.
    """
    kind = record["event"]
    if private:
        text = line(record, named=False)
    elif kind == "alarm-action":
        text = "alarm: an action was done; what came of it is shown with the token"
    else:
        text = line({k: v for k, v in record.items() if k not in _PRIVATE}, named=False)
    bad = (
        kind in _BAD or kind.endswith("-failed") or (kind == "exited" and record.get("returncode"))
    )
    return {
        "clock": time.strftime("%H:%M:%S", time.localtime(record["time"])),
        "iso": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(record["time"])),
        "program": record.get("program", ""),
        "text": text,
        "tone": "bad" if bad else "warn" if kind in _WARN else "off",
    }


def summary(rows: "Iterable[Row]") -> str:
    """``12 programs: 10 running, 1 waiting, 1 failed; 3 OOM kills``."""
    rows = list(rows)
    counts: dict[str, int] = {}
    for each in rows:
        counts[each["state"]] = counts.get(each["state"], 0) + 1
    text = "1 program" if len(rows) == 1 else f"{len(rows)} programs"
    if counts:
        text += ": " + ", ".join(f"{n} {state}" for state, n in sorted(counts.items(), key=_order))
    killed = sum(each["oom_kills"] for each in rows)
    return text + (f"; {killed} OOM kill{'s' * (killed != 1)}" if killed else "")


_STATES = ("running", "paused", "waiting", "stopping", "failed", "stopped", "exited")


def _order(count: "tuple[str, int]") -> int:
    return _STATES.index(count[0]) if count[0] in _STATES else len(_STATES)
