"""A recording in words: how it ended, why, and the figures.  Pure."""

import math
import shlex
import time

from ...program.verdict import signal_name, summarize
from ...units import UNLIMITED, cut, format_duration, format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...records import Evidence, KilledProcess, Result
    from .reader import Recording, Trace

#: Attribute of a sample: what it is called, and what it is; from the bottom of the stack up.
KINDS = {
    "anon": ("anonymous", "heap, stacks and private maps"),
    "shmem": ("shared", "shared memory and tmpfs, such as files in /dev/shm"),
    "kernel": ("kernel", "page tables, stacks of threads, sockets, open files"),
    "file": ("page cache", "files that were read or written"),
}
#: Of the whole, from which on a kind of memory is named as what filled it.
_MOST = 0.5
#: Of the highest usage, from which on a sample before that tells what it was.
_SEEN = 0.1
#: What is not known, or was not.
_NOTHING = "-"


def headline(trace: "Trace") -> str:
    """How it ended, as the command says it."""
    if trace.text:
        return trace.text
    if trace.result is not None:
        return summarize(trace.result)
    return "no verdict: the recording ended before it did"


def why(trace: "Trace") -> list[str]:
    """Why it ended as it did, in sentences; may be empty."""
    result = trace.result
    if result is None:
        return _so_far(trace)
    evidence = result.evidence
    if result.verdict == "oom-killed" or result.oom_kill:
        return [*_killed(trace, result, evidence), *_what_filled_it(trace), *_how_fast(trace),
                *_before_it(trace)]  # fmt: skip
    if result.verdict == "signaled" and result.signal == 9:
        return ["SIGKILL ended it, but the kernel counted no OOM kill in its cgroup: somebody sent "
                "that signal."]  # fmt: skip
    if result.verdict == "timed-out":
        return ["Its time was up, and climits ended it.", *_before_it(trace)]
    if result.verdict == "stopped":
        return ["climits was asked to end it."]
    if result.verdict == "failed-to-start":
        return [f"It did not start: {result.error}." if result.error else "It did not start."]
    return _before_it(trace)


def _so_far(trace: "Trace") -> list[str]:
    kills = trace.count("oom-kill")
    if not kills:
        return _before_it(trace)
    return [f"{_processes(kills)} OOM-killed in its cgroup.", *_what_filled_it(trace),
            *_before_it(trace)]  # fmt: skip


def _killed(trace: "Trace", result: "Result", evidence: "Evidence | None") -> list[str]:
    victims = (evidence.killed if evidence else None) or []
    victim = victims[-1] if victims else None
    limit = result.memory_max
    whose = "its cgroup's limit"
    if victim is not None and victim.limited_by is None:
        out = [f"The kernel killed {_name(victim)}, because the whole machine ran out of memory: "
               "it was not the limit of this program."]  # fmt: skip
    else:
        if victim is not None:
            limit = victim.limit if victim.limit is not None else limit
            if trace.path and victim.limited_by and not victim.limited_by.endswith(trace.path):
                whose = f"the limit of {victim.limited_by}, which it is a part of,"
        who = _name(victim) if victim else _processes(result.oom_kill or 1, verb="")
        out = [f"The kernel's OOM killer killed {who}: usage had reached {whose} of "
               f"{format_size(limit)}, and nothing more could be taken back."]  # fmt: skip
    if evidence and evidence.too_small_to_start:
        out.append("Such a limit is too small for any program to start.")
    if result.verdict != "oom-killed":
        ended = signal_name(result.signal) if result.signal else f"exit status {result.returncode}"
        out.append(f"The program itself lived on, and ended by {ended}.")
    if result.swap_max == 0:
        out.append("It was allowed no swap.")
    elif result.swap_max not in (None, UNLIMITED):
        out.append(f"It was allowed {format_size(result.swap_max)} of swap.")
    return out


def _name(victim: "KilledProcess") -> str:
    return f"pid {victim.pid} ({victim.name})"


def _processes(count: int, verb: str = " was| were") -> str:
    one, _, many = verb.partition("|")
    return f"1 process{one}" if count == 1 else f"{count} processes{many}"


def fullest(trace: "Trace") -> "int | None":
    """The number of the last sample with the highest usage; None where none has one."""
    usage = trace.columns["current"]
    best, most = None, -1.0
    for number, value in enumerate(usage):
        if value >= most:
            best, most = number, value
    return best


def _what_filled_it(trace: "Trace") -> list[str]:
    at = fullest(trace)
    if at is None:
        return []
    top, seen = at, "What filled it"
    while at and not _shares(trace, at) and not math.isnan(trace.columns["current"][at]):
        at -= 1
    whole, shares = trace.columns["current"][at], _shares(trace, at)
    if not whole or not shares or whole < trace.columns["current"][top] * _SEEN:
        return []
    if at != top:
        before = format_duration(trace.times[top] - trace.times[at])
        seen = f"What filled it in the end was not seen; {before} before"
    kind = max(shares, key=lambda k: shares[k])
    share = shares[kind] / whole
    if share < _MOST:
        return []
    name, meaning = KINDS[kind]
    return [f"{seen}: {format_size(shares[kind])} of {format_size(whole)} "
            f"({share:.0%}) was {name} memory: {meaning}."]  # fmt: skip


def _shares(trace: "Trace", at: int) -> dict[str, float]:
    """The kinds that are known of a sample, bytes."""
    shares = {kind: trace.columns[kind][at] for kind in KINDS}
    return {kind: size for kind, size in shares.items() if not math.isnan(size)}


def _how_fast(trace: "Trace") -> list[str]:
    """From half of what it was at the end, or later, to the end: in what time."""
    at = fullest(trace)
    if at is None or not at:
        return []
    usage, times = trace.columns["current"], trace.times
    while at and usage[at - 1] == usage[at]:  # when it came to that, and not for how long it stayed
        at -= 1
    start = at
    while start > 0 and usage[start - 1] >= usage[at] / 2:  # of nan this is false
        start -= 1
    took = times[at] - times[start]
    grown = usage[at] - usage[start]
    if took < 0.2 or grown < usage[at] * 0.05:
        return []
    rate = format_size(grown / took)
    return [f"In the {format_duration(took)} before, usage rose from {format_size(usage[start])} "
            f"to {format_size(usage[at])}: {rate} a second."]  # fmt: skip


def _before_it(trace: "Trace") -> list[str]:
    out = []
    hits = trace.total("limit_hits")
    if hits:
        times = "once" if hits == 1 else f"{int(hits)} times"
        out.append(f"It ran into its limit {times}; each time the kernel took back what it could.")
    waited, span = trace.total("pressure_some"), trace.ended - trace.began
    if waited and span and waited / span >= 0.01:
        out.append(f"For {format_duration(waited)} ({waited / span:.0%} of the time) something in "
                   "it waited for memory.")  # fmt: skip
    return out


# ---- the table -----------------------------------------------------------------------------


def rows(recording: "Recording", trace: "Trace") -> list[tuple[str, str]]:
    """What is known of a run, as (what, value)."""
    result = trace.result
    at = fullest(trace)
    out = [
        ("verdict", result.verdict if result else "none yet"),
        ("ended by", _ended_by(result)),
        ("memory limit", _last(trace, "max", result.memory_max if result else None)),
        ("high mark", _last(trace, "high", None)),
        ("highest usage", _size(_peak(trace))),
    ]
    for kind, (name, _) in KINDS.items():
        value = None if at is None else trace.columns[kind][at]
        out.append((f"of that, {name}", _size(value)))
    out += [
        ("swap limit", _last(trace, "swap_max", result.swap_max if result else None)),
        ("highest swap", _size(trace.top("swap"))),
        ("limit hits", _count(trace.total("limit_hits"))),
        ("OOM kills", str(_kills(trace))),
        ("killed", _victims(result)),
        ("restarts", str(trace.count("restarted"))),
        ("waited for memory (some)", _seconds(trace.total("pressure_some"))),
        ("waited for memory (full)", _seconds(trace.total("pressure_full"))),
        ("CPU time", _seconds(trace.total("cpu"))),
        ("time", format_duration(trace.ended - trace.began)),
        ("samples", str(len(trace.times))),
        ("started", _clock(recording.began + trace.began)),
        ("command", cut(shlex.join(recording.command)) or _NOTHING),
        ("cgroup", trace.path or _NOTHING),
        ("host", _host(recording)),
    ]
    return out


def _ended_by(result: "Result | None") -> str:
    if result is None:
        return _NOTHING
    if result.signal:
        return signal_name(result.signal)
    return _NOTHING if result.returncode is None else f"exit status {result.returncode}"


def _peak(trace: "Trace") -> "float | None":
    tops = [trace.top("peak"), trace.top("current")]
    if trace.result is not None:
        tops.append(trace.result.memory_peak)
    return max((top for top in tops if top is not None), default=None)


def _kills(trace: "Trace") -> int:
    result = trace.result
    return max(trace.count("oom-kill"), (result.oom_kill or 0) if result else 0)


def _victims(result: "Result | None") -> str:
    killed = (result.evidence.killed if result and result.evidence else None) or []
    names = ", ".join(_name(victim) for victim in killed[:5])
    more = f" and {len(killed) - 5} more" if len(killed) > 5 else ""
    return names + more or _NOTHING


def _last(trace: "Trace", column: str, fallback: "float | None") -> str:
    """A limit, as it was last."""
    values = [v for v in trace.columns[column] if not math.isnan(v)]
    return _size(values[-1] if values else fallback)


def _size(value: "float | None") -> str:
    return _NOTHING if value is None or math.isnan(value) else format_size(value)


def _count(value: "float | None") -> str:
    return _NOTHING if value is None else str(int(value))


def _seconds(value: "float | None") -> str:
    return _NOTHING if value is None else format_duration(value)


def _clock(moment: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    except (OSError, OverflowError, ValueError):  # no year that there is, in a damaged recording
        return _NOTHING


def _host(recording: "Recording") -> str:
    header = recording.header
    words = [str(header.get(name, "")) for name in ("host", "kernel", "layout")]
    return ", ".join(word for word in words if word) or _NOTHING
