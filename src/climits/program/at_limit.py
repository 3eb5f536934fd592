"""At the limit, where the kernel tells and the rest is up to us."""

import time

from ..cgroup.limits import make_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cgroup.limits import LimitOptions
    from .process import Process

#: Between the OOM event and the kernel's count of the kill: look again so often, this long.
_RECHECK, _SETTLES = 0.001, 1.0  # seconds


def at_oom(process: "Process", event: int) -> None:
    """Deal with an event of Memory.watch_oom: a hint that the limit is, or is about to be, hit.

    Args:
        process: whose cgroup it is about.
        event: the descriptor, which is readable.
    """
    memory = process.cgroup.memory
    memory.drain_oom(event)
    if process.spec.on_oom == "pause":
        _pause(process)
        return
    settled = time.monotonic() + _SETTLES
    before = (process.before.oom_kill or 0) if process.before else 0
    while time.monotonic() < settled:
        if (memory.events().oom_kill or 0) > before:
            process.kill_all()
            return
        time.sleep(_RECHECK)


def _pause(process: "Process") -> None:
    """Let the program sleep at its limit, or see that somebody else has let it go on."""
    memory, freezer = process.cgroup.memory, process.cgroup.freezer
    stuck = memory.is_stuck()
    if memory.can_pause_on_oom:  # the kernel does it, and ends it when there is more memory
        begins, process.paused = stuck and not process.paused, stuck
    else:
        if process.paused and not freezer.is_asked():
            process.paused = False
        begins = stuck and not process.paused
        if begins:
            # In this order: whoever raises the limit meanwhile finds the mark, or we see the room.
            memory.mark_paused(True)
            freezer.start_freezing()
            if not memory.is_stuck():
                freezer.thaw()
                memory.mark_paused(False)
                return
            process.paused = True
    if begins and process.on_pause:
        process.on_pause()


def set_limits(process: "Process", force: bool, limits: "LimitOptions") -> None:
    """Change limits of a program, and let it go on if it was paused and now has the memory to."""
    pauses = process.spec.on_oom == "pause"
    wish = make_limits(new=False, on_oom="pause" if pauses else "kill", **limits)
    process.cgroup.set_limits(wish, force=force)
    # On v1 the kernel has woken it.  If that is not enough, it tells again.
    if process.paused and (process.cgroup.memory.can_pause_on_oom or process.cgroup.go_on(True)):
        process.paused = False
