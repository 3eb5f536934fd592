"""The end of a polled program, for people.  Pure."""

import os

from ...records import Evidence, Result
from ...units import format_duration, format_size
from ..verdict import count, ending_of

#: As it stands in every summary of a polled program.
LABEL = "not enforced by the kernel"


def summarize_polled(result: Result, evidence: Evidence) -> str:
    """One line: the verdict, what it rests on, peak and limit, who kept it, time."""
    found = evidence.polling
    peak = format_size(found.peak if found else None)
    limit = format_size(result.memory_max)
    if result.verdict == "memory-exceeded" and found:
        name = os.path.basename(result.command[0])
        parts = [
            f"memory-exceeded: {name} killed at {peak} PSS of {limit}",
            f"{format_size(found.overshoot)} beyond it",
        ]
    else:
        parts = [f"{ending_of(result)}: peak {peak} PSS of {limit}"]
        if found and found.overshoot is not None:
            parts.append("killed beyond the limit on the way")
    if evidence.stragglers:
        parts.append(f"{count(evidence.stragglers, 'straggler')} killed")
    if found:
        each = f", every {format_duration(found.interval)}" if found.interval else ""
        parts.append(f"polled {count(found.samples, 'time')}{each}")
    parts += [LABEL, format_duration(result.duration or 0.0)]
    return ", ".join(parts)
