"""Evidence to verdict, and both to a line for people.  Pure."""

import os

from ..records import Evidence, Result
from ..units import UNLIMITED, format_duration, format_size

#: Exit status of a program whose time was up, as timeout(1) has it.
TIMED_OUT = 124

#: A program that was OOM-killed under a limit smaller than this may never have begun: execve and
#: the dynamic loader need it.  Measured: /bin/true runs from 256 KiB on.
LEAST_TO_START = 512 * 1024
#: The same in a container, whose namespaces and mounts take some.  Measured: 700 KiB to 1 MiB.
LEAST_IN_CONTAINER = 1 << 20


def judge(
    *, status: int, oom_kill: int, timed_out: bool, stopped: bool, exceeded: bool = False
) -> str:
    """The verdict of a program that has ended.

    Args:
        status: as wait4 gives it.
        oom_kill: how far the kernel's own counter of OOM kills moved.
        timed_out: its time was up before it ended.
        stopped: somebody asked climits to end it before it ended.
        exceeded: who polled found too much, and killed it.

    Returns:
        timed-out, stopped, oom-killed, memory-exceeded, signaled or exited.
    """
    if timed_out:
        return "timed-out"
    if stopped:
        return "stopped"
    # The counter and nothing else: a SIGKILL can come from anybody.  The kernel may have taken a
    # child; when the program then ended well, that was no failure of the program.
    if oom_kill and status != 0:
        return "oom-killed"
    if exceeded and status != 0:
        return "memory-exceeded"
    return "signaled" if os.WIFSIGNALED(status) else "exited"


def exit_status(verdict: str, status: int) -> int:
    """What `climits run` exits with: the program's own, 128 + signal, or 124."""
    if verdict == "timed-out":
        return TIMED_OUT
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def summarize(result: Result) -> str:
    """One line: the verdict, what it rests on, peak and limit, time."""
    evidence = result.evidence
    if evidence is None:
        return f"{result.verdict}: {result.error}"
    if result.enforced_by == "poll":
        from .polling.words import summarize_polled

        return summarize_polled(result, evidence)
    head = _head(result, evidence)
    peak = f"peak {format_size(result.memory_peak)}"
    if result.verdict != "oom-killed" and result.memory_max != UNLIMITED:
        peak += f" of {format_size(result.memory_max)}"
    parts = [f"{head}, {peak}" if result.verdict == "oom-killed" else f"{head}: {peak}"]
    if result.swap_peak:
        parts.append(f"swap {format_size(result.swap_peak)}")
    if result.verdict != "oom-killed" and result.oom_kill:
        parts.append(f"{count(result.oom_kill, 'process')} OOM-killed on the way")
    if evidence.stragglers:
        parts.append(f"{count(evidence.stragglers, 'straggler')} killed")
    parts.append(format_duration(result.duration or 0.0))
    return ", ".join(parts)


def _oom_killed(result: Result, evidence: Evidence) -> str:
    victim = evidence.killed[-1] if evidence.killed else None
    if victim:
        who = f"pid {victim.pid} ({victim.name})"
    elif result.signal == 9:
        who = f"pid {result.pid} ({os.path.basename(result.command[0])})"
    else:
        who = f"a process of {os.path.basename(result.command[0])}"
    usage = victim.usage if victim and victim.usage is not None else result.memory_peak
    limit = victim.limit if victim and victim.limit is not None else result.memory_max
    text = f"oom-killed: {who} at {format_size(usage)} of {format_size(limit)}"
    if victim and victim.limited_by is None:
        text = f"oom-killed: {who} as the whole machine ran out of memory"
    elif victim and victim.limited_by and not victim.limited_by.endswith(result.cgroup or ""):
        text += f", the limit of {victim.limited_by}"
    if evidence.too_small_to_start:
        text += ", too small to start a program"
    # The kernel counts the first victim of a group twice; the log tells who they were.
    killed = result.oom_kill or 0
    if evidence.killed:
        killed = min(killed, len(evidence.killed))
    if killed > 1:
        text += f", {count(killed, 'process')} killed"
    return text


def _head(result: Result, evidence: Evidence) -> str:
    if result.verdict == "oom-killed":
        return _oom_killed(result, evidence)
    return ending_of(result)


def ending_of(result: Result) -> str:
    """How it ended, for every verdict that needs no evidence: ``signaled SIGTERM``."""
    ended = f"exited {result.returncode}"
    if result.signal:
        ended = signal_name(result.signal)
    if result.verdict == "exited":
        return ended
    if result.verdict == "signaled":
        return f"signaled {ended}"
    return f"{result.verdict} ({ended})"


def signal_name(number: int) -> str:
    """``SIGTERM`` for 15; the number where it has no name."""
    import signal  # enums: 2.5 ms, and only a signaled program needs a name

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def count(n: int, noun: str) -> str:
    """``1 straggler``, ``2 processes``."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{n} {noun if n == 1 else plural}"
