"""The end of a program: the evidence, the stragglers, the verdict."""

import atexit
import errno
import os
import select  # a shared object: loaded while the program already runs
import sys
import time

from ..cgroup.homes import own_homes
from ..cgroup.layout import current
from ..cgroup.leftovers import sweep
from ..errors import CgroupError, CgroupGoneError, ClimitsError, LaunchError
from ..records import Evidence, MemoryEvents, MemoryUsage, Result
from ..units import UNLIMITED, format_size
from .verdict import LEAST_IN_CONTAINER, LEAST_TO_START, exit_status, judge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any

    from ..cgroup.group import Cgroup, Tracked
    from ..cgroup.memory import Report
    from ..records import KilledProcess
    from .pipes import Pump
    from .process import Process


_SIGTERM = 15

# What is told of a cgroup that was removed under us.
_NOTHING: "Report" = (None, None, lambda: (MemoryUsage(), MemoryEvents(), None, None))

# Started and not yet waited for.
_live: "dict[int, Process]" = {}
_swept = _registered = False


def expect(process: "Process") -> None:
    """See to the end of a program that was just started, whatever becomes of its caller.

    At exit of the interpreter what still runs is killed.  The first time, while the program already
    runs, what dead owners left is removed.
    """
    global _swept
    _live[id(process)] = process
    end_at_exit()
    if not _swept and process.spec.enforce == "kernel":
        _swept = True
        sweep(current(), *own_homes(), most=64, timeout=1.0)


def end_at_exit() -> None:
    """See to it that at exit what still runs is ended; what is registered later comes before."""
    global _registered
    if not _registered:
        _registered = True
        atexit.register(_end_all)


def blame_limit(group: "Cgroup", error: LaunchError) -> None:
    """Say so in the hint, where it was the limit that kept a program from starting."""
    # The kernel has other words for it, too: a socket, or the arguments, that could not be had.
    if error.errno in (errno.ENOMEM, errno.E2BIG, errno.ENFILE) and group.part("memory"):
        limit = group.memory.max
        small = UNLIMITED if error.errno == errno.ENOMEM else LEAST_IN_CONTAINER
        if limit is not None and limit < small:
            error.hint = f"the limit of {format_size(limit)} is too small to start a program"


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


def run_to_end(
    process: "Process",
    timeout: "float | None",
    kill_after: float,
    input: "str | bytes | None",
    wake: int,
    on_wake: "Callable[[], None] | None",
) -> Result:
    """See Process.run_to_end."""
    pump = None
    try:
        if process.pipes is not None:
            from .pipes import Pump

            pump = Pump(process.pipes, input)
        deadline = None if timeout is None else time.monotonic() + timeout
        asked = False
        # Where it runs alone: elsewhere descriptors may be short, and the processors have work.
        if len(_live) == 1 and process.spec.enforce == "kernel":
            process.cgroup.hold_report()
        while process.returncode is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                process.turn(0.0, pump)  # it may have ended while we were stopped
                if process.returncode is not None:
                    break
                process.timed_out = True
                if asked:
                    process.kill_all()
                    deadline = None
                else:
                    process.send_signal(_SIGTERM)
                    asked, deadline = True, time.monotonic() + kill_after
                continue
            if process.turn(left, pump, wake) and on_wake:
                on_wake()
    except BaseException:
        try:
            process.kill()
            process.wait()
        finally:
            if process.pipes:
                process.pipes.close()
        raise
    assert process.result is not None
    if pump is not None:
        stdout, stderr = pump.finish()
        process.result = process.result.replace(stdout=stdout, stderr=stderr)
    return process.result


def watch(
    process: "Process", timeout: "float | None", pump: "Pump | None", wake: int
) -> tuple[bool, bool]:
    """Wait once for a program and what else there is; deal with what is not its end.

    Args:
        process: that runs.
        timeout: seconds at most, or None.
        pump: of its pipes, or None.
        wake: another descriptor, or -1.

    Returns:
        (whether `wake` is readable, whether the program has ended).
    """
    poll = select.poll()
    poll.register(process.pidfd, select.POLLIN)
    if process.oom_fd >= 0:
        poll.register(process.oom_fd, process.cgroup.memory.OOM_MASK)
    if wake >= 0:
        poll.register(wake, select.POLLIN)
    for fd, events in (pump.fds if pump else {}).items():
        poll.register(fd, events)
    if timeout is not None:
        # Rounded up to milliseconds, and at most a day, since poll takes 32 bits: every caller
        # looks at its own clock again.
        timeout = min(int(timeout * 1000) + 1, 86_400_000) if timeout > 0 else 0
    woken = ended = False
    for fd, _ in poll.poll(timeout):
        if fd == process.pidfd:
            ended = True
        elif fd == process.oom_fd:
            from .at_limit import at_oom

            at_oom(process, process.oom_fd)
        elif fd == wake:
            woken = True
        elif pump:
            pump.turn(fd)
    return woken, ended


def read_status(pidfd: int, told: int = -1) -> int:
    """How a child that has ended ended, as waitpid gives it; it is not reaped.

    Args:
        pidfd: of the child.
        told: where process 1 of a container has written how its program ended; -1 without one.
    """
    try:
        end = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return 0  # somebody else has reaped it: as subprocess, take the best
    assert end is not None  # without WNOHANG it waits
    if end.si_code == os.CLD_EXITED:
        status = end.si_status << 8
        return _told_status(told, status) if told >= 0 else status
    return end.si_status | (0x80 if end.si_code == os.CLD_DUMPED else 0)


def _told_status(fd: int, status: int) -> int:
    """What process 1 has written, if that is how its own exit status came about; else that."""
    os.set_blocking(fd, False)  # a program may have kept the other end
    try:
        told = int.from_bytes(os.read(fd, 4), sys.byteorder)
    except BlockingIOError:
        return status
    signalled = 0 < told & 0x7F < 0x7F and told >> 8 == 0
    return told if signalled and os.WTERMSIG(told) + 128 == status >> 8 else status


def collect(process: "Process", status: int, duration: float) -> Result:
    """Read what the cgroup tells, end what the program left in it, and judge.

    Args:
        process: reaped, its cgroup still there.
        status: as waitpid gives it.
        duration: wall time, seconds.
    """
    group = process.cgroup
    stragglers, error = 0, None
    tracked: Callable[[], Tracked]
    report, tracked = _NOTHING, _nothing_tracked
    try:
        report = group.memory.report()
        tracked, populated = group.report()
        if populated and not process.spec.keep and not process.shared:
            stragglers = group.kill()
    except CgroupGoneError:
        pass  # removed under us: there is nothing more to read
    except CgroupError as e:  # what is known of the run is worth more
        error = str(e)
    peak, oom_kill, details = report
    before, peak_before = process.before, process.peak_before
    if before is not None:  # in a cgroup that existed: only what is this program's to tell
        peak = peak if (peak or 0) > peak_before else None
        if oom_kill is not None:
            oom_kill -= before.oom_kill or 0
    verdict = judge(
        status=status,
        oom_kill=oom_kill or 0,
        timed_out=process.timed_out,
        stopped=process.stopped,
    )
    killed: list[KilledProcess] | None = []
    if oom_kill:
        killed = _killed(process, oom_kill) if process.spec.names_victims else None
    least = LEAST_TO_START if process.spec.container is None else LEAST_IN_CONTAINER

    def late() -> "dict[str, Any]":
        usage, events, limit, swap = details()
        pressure, cpu = tracked()
        if before is not None:
            usage, events = usage.replace(peak=peak, swap_peak=None), _since(before, events)
        return {
            "memory_max": limit,
            "swap_max": swap,
            "swap_peak": usage.swap_peak,
            "cpu_time": sum(cpu) if cpu else None,
            "evidence": Evidence(
                usage=usage,
                events=events,
                killed=killed,
                pressure=pressure,
                cpu_user=cpu[0] if cpu else None,
                cpu_system=cpu[1] if cpu else None,
                stragglers=stragglers,
                too_small_to_start=verdict == "oom-killed" and limit is not None and limit < least,
            ),
        }

    return Result.with_late(
        late,
        command=process.args,
        verdict=verdict,
        returncode=os.waitstatus_to_exitcode(status),
        signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        exit_status=exit_status(verdict, status),
        pid=process.pid,
        cgroup=group.path,
        enforced_by="kernel",
        memory_peak=peak,
        oom_kill=oom_kill,
        started=process.started,
        duration=duration,
        error=error,
    )


def name_victims(process: "Process", but: "Container[int]") -> None:
    """Look up whom the OOM killer took, where the spec had that put off.

    Args:
        process: that has ended.
        but: process ids of other runs in the same cgroup, before it or since.
    """
    result = process.result
    if process.spec.names_victims or not (result and result.evidence and result.oom_kill):
        return
    killed = _killed(process, result.oom_kill, but)
    process.result = result.replace(evidence=result.evidence.replace(killed=killed))


def _nothing_tracked() -> "tuple[None, None]":
    return None, None


def _killed(
    process: "Process", oom_kill: int, but: "Container[int]" = ()
) -> "list[KilledProcess] | None":
    from ..linux.kmsg import oom_kills

    return oom_kills(process.cgroup.path, process.booted, oom_kill, but)


def _since(before: MemoryEvents, events: MemoryEvents) -> MemoryEvents:
    counts = events.as_dict().items()
    return MemoryEvents(**{name: n - (getattr(before, name) or 0) for name, n in counts})
