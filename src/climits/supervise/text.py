"""Events of a supervisor as lines for people."""

from ..program.verdict import signal_name
from ..units import UNLIMITED, format_duration, format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def line(record: "dict[str, Any]", *, named: bool = True) -> str:
    """One event: ``web: started pid 4927 in /climits/web``, without the time.

    Args:
        record: the event.
        named: say which program it is about.
    """
    text = _text(record)
    return f"{record['program']}: {text}" if named and "program" in record else text


def _text(r: "dict[str, Any]") -> str:
    event = r["event"]
    if event == "started":
        limit = f", limit {size(r['memory_max'])}" if "memory_max" in r else ""
        return f"started pid {r['pid']} in cgroup {r['cgroup']}{limit}"
    if event in ("exited", "signaled", "oom-killed", "stopped", "timed-out") and "text" in r:
        return str(r["text"])
    if event == "restarting":
        delay = f" in {format_duration(r['delay'])}" if r["delay"] else ""
        return f"restarting{delay}"
    if event == "signal":
        return f"got {signal_name(r['signal'])}"
    if event == "child-oom":
        processes = "1 process was" if r["count"] == 1 else f"{r['count']} processes were"
        return f"{processes} OOM-killed in it; the program lives"
    if event == "paused":
        return (
            f"paused at {size(r.get('memory_current'))} of {size(r.get('memory_max'))}; "
            f"climits set {r['cgroup']} memory.max=SIZE gives it more and lets it go on"
        )
    if event == "limit-set":
        return f"the limit is now {size(r['memory_max'])}"
    if event == "gave-up":
        return f"gave up: {r['reason']}"
    if event == "alarm":
        return _alarm(r)
    if event == "alarm-action":
        return f"alarm: {r['text']}"
    if event == "reloaded":
        parts = [f"{len(r[k])} {k}" for k in ("changed", "added", "removed") if r.get(k)]
        return f"reloaded: {', '.join(parts) or 'nothing changed'}"
    words = event.replace("-", " ")
    error = r.get("error")
    hint = f"; hint: {r['hint']}" if r.get("hint") else ""
    return f"{words}: {error}{hint}" if error else words


def _alarm(r: "dict[str, Any]") -> str:
    text = f"alarm: {r['source']}"
    if "level" in r:
        text += f" {size(r['level'])}"
    if "current" in r:
        text += f" at {size(r['current'])}"
    return text


def size(value: "Any") -> str:
    """A size out of a record, which JSON may have been through."""
    return format_size(UNLIMITED if value == "max" else value)
