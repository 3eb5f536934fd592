"""The end of a program: the evidence, the stragglers, the verdict."""

import atexit
import os

from ..cgroup.layout import current
from ..cgroup.leftovers import sweep
from ..errors import CgroupGoneError, ClimitsError
from ..records import Evidence, MemoryEvents, MemoryUsage, Result
from .verdict import LEAST_TO_START, exit_status, judge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..records import KilledProcess
    from .process import Process


# Started and not yet waited for.
_live: "dict[int, Process]" = {}
_expected_before = False


def expect(process: "Process") -> None:
    """See to the end of a program that was just started, whatever becomes of its caller.

    At exit of the interpreter what still runs is killed.  The first time, while the program already
    runs, what dead owners left is removed.
    """
    global _expected_before
    _live[id(process)] = process
    if not _expected_before:
        _expected_before = True
        atexit.register(_end_all)
        sweep(current(), most=64, timeout=1.0)


def forget(process: "Process") -> None:
    """It has ended and was waited for."""
    _live.pop(id(process), None)


def _end_all() -> None:
    for process in list(_live.values()):
        if process.owner != os.getpid():
            continue  # a fork ends its own only
        try:
            process.kill()
            process.wait()
        except ClimitsError:
            pass  # the others must end too


def collect(process: "Process", status: int, duration: float) -> Result:
    """Read what the cgroup tells, end what the program left in it, and judge.

    Args:
        process: reaped, its cgroup still there.
        status: as waitpid gives it.
        duration: wall time, seconds.
    """
    spec, group = process.spec, process.cgroup
    usage, events, limit, swap, pressure, cpu = (
        MemoryUsage(),
        MemoryEvents(),
        None,
        None,
        None,
        None,
    )
    stragglers = 0
    try:
        usage, events, limit, swap = group.memory.report()
        pressure, cpu = group.pressure(), group.cpu_times()
        if spec.root is not None:
            usage, events = _since_start(process, usage, events)
        if not spec.keep and not process.shared:
            stragglers = group.kill()
    except CgroupGoneError:
        pass  # removed under us: there is nothing more to read
    oom_kill = events.oom_kill or 0
    verdict = judge(
        status=status, oom_kill=oom_kill, timed_out=process.timed_out, stopped=process.stopped
    )
    return Result(
        command=process.args,
        verdict=verdict,
        returncode=os.waitstatus_to_exitcode(status),
        signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        exit_status=exit_status(verdict, status),
        pid=process.pid,
        cgroup=group.path,
        memory_max=limit,
        memory_peak=usage.peak,
        swap_max=swap,
        swap_peak=usage.swap_peak,
        oom_kill=events.oom_kill,
        started=process.started,
        duration=duration,
        cpu_time=sum(cpu) if cpu else None,
        evidence=Evidence(
            usage=usage,
            events=events,
            killed=_killed(process, oom_kill) if oom_kill else [],
            pressure=pressure,
            cpu_user=cpu[0] if cpu else None,
            cpu_system=cpu[1] if cpu else None,
            stragglers=stragglers,
            too_small_to_start=verdict == "oom-killed"
            and limit is not None
            and limit < LEAST_TO_START,
        ),
    )


def _killed(process: "Process", oom_kill: int) -> "list[KilledProcess] | None":
    from ..linux.kmsg import oom_kills

    return oom_kills(process.cgroup.path, process.booted, oom_kill)


def _since_start(
    process: "Process", usage: MemoryUsage, events: MemoryEvents
) -> tuple[MemoryUsage, MemoryEvents]:
    """In a cgroup that existed before: only what is this program's to tell."""
    counts = {
        name: count - (getattr(process.before, name) or 0)
        for name, count in events.as_dict().items()
    }
    # A peak of before says nothing about this program.
    peak = usage.peak if (usage.peak or 0) > process.peak_before else None
    return usage.replace(peak=peak, swap_peak=None), MemoryEvents(**counts)
