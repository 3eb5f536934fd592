"""At the limit on v1, where the kernel tells but does not act on a whole group."""

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .process import Process

#: Between the OOM event and the kernel's count of the kill: look again so often, this long.
_RECHECK, _SETTLES = 0.001, 1.0  # seconds


def at_oom(process: "Process", event: int) -> None:
    """Deal with an OOM event: a hint that the kernel has killed, or is about to.

    Args:
        process: whose cgroup it is about.
        event: the eventfd, which is readable.
    """
    os.eventfd_read(event)
    memory = process.cgroup.memory
    if process.spec.on_oom == "pause":
        if process.on_pause and memory.under_oom():
            process.on_pause()
        return
    settled = time.monotonic() + _SETTLES
    before = (process.before.oom_kill or 0) if process.before else 0
    while time.monotonic() < settled:
        if (memory.events().oom_kill or 0) > before:
            process.kill_all()
            return
        time.sleep(_RECHECK)
