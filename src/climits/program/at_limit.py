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
        stuck = memory.is_stuck()
        if process.paused and not memory.can_pause_on_oom and not memory.was_paused():
            process.paused = False  # somebody else has let it go on
        if stuck and not process.paused:
            if not memory.can_pause_on_oom:  # then the kernel does not do it for us
                process.cgroup.freezer.start_freezing()
                memory.mark_paused(True)
            process.paused = True
            if process.on_pause:
                process.on_pause()
        elif not stuck and memory.can_pause_on_oom:
            process.paused = False  # somebody else has given it more
        return
    settled = time.monotonic() + _SETTLES
    before = (process.before.oom_kill or 0) if process.before else 0
    while time.monotonic() < settled:
        if (memory.events().oom_kill or 0) > before:
            process.kill_all()
            return
        time.sleep(_RECHECK)


def set_limits(process: "Process", force: bool, limits: "LimitOptions") -> None:
    """Change limits of a program, and let it go on if it was paused and now has the memory to."""
    pauses = process.spec.on_oom == "pause"
    wish = make_limits(new=False, on_oom="pause" if pauses else "kill", **limits)
    process.cgroup.set_limits(wish, force=force)
    if process.paused and (process.cgroup.memory.can_pause_on_oom or process.cgroup.go_on()):
        process.paused = False  # if that is not enough, the kernel tells again
