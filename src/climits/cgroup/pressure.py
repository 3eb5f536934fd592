"""Memory pressure as an event source: PSI, and the pressure levels of v1.

Source: Documentation/accounting/psi.rst, Documentation/admin-guide/cgroup-v1/memory.rst (11.).
"""
# Implementations of an interface that is documented once, in Source.
# ruff: noqa: D102, ARG002

import errno
import os
import select

from ..errors import CgroupError, CgroupGoneError, UnsupportedError
from ..linux.notify import set_pressure_trigger
from .sources import Source
from .triggers import PSI_SHARES, Trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .files import Directory
    from .group import Cgroup


def make_pressure(group: "Cgroup", trigger: Trigger) -> Source:
    """As make_source, for a trigger of pressure."""
    return (Pressure if trigger.share in PSI_SHARES else PressureV1)(group, trigger)


class PressureV1(Source):
    """memory.pressure_level: low, medium or critical."""

    def __init__(self, group: "Cgroup", trigger: Trigger) -> None:
        super().__init__(group, trigger)
        self.directory = group.memory.directory
        self.fds.append(group.memory.watch_pressure(str(trigger.share)))

    def look(self, woken: bool) -> "dict[str, Any] | None":
        return {} if woken and not self.directory.is_gone() else None


class Pressure(Source):
    """PSI: tasks lose time to a shortage of memory.

    The kernel forgets that a trigger fired when anybody polls it, and an outer poll of the epoll
    that holds it polls it too.  So there are two alike: one that wakes, and one that only `look`
    asks.  The kernel serves the younger one first, so that it knows when the other wakes us.

    Source: kernel/sched/psi.c (psi_trigger_poll, psi_trigger_create)
    """

    mask = select.EPOLLPRI
    teller = -1

    def __init__(self, group: "Cgroup", trigger: Trigger) -> None:
        super().__init__(group, trigger)
        self.directory = group.tracker.directory
        self.fds.append(_psi(self.directory, trigger))
        self.teller = _psi(self.directory, trigger)
        self.poll = select.poll()
        self.poll.register(self.teller, select.POLLPRI)

    def drain(self) -> None:
        pass  # polling has done it

    def look(self, woken: bool) -> "dict[str, Any] | None":
        ready = self.poll.poll(0)
        if ready and self.directory.is_gone():
            raise CgroupGoneError(f"the cgroup was removed: {self.directory.path}")
        return {} if ready else None

    def close(self) -> None:
        super().close()
        if self.teller >= 0:
            fd, self.teller = self.teller, -1
            os.close(fd)


def _psi(directory: "Directory", trigger: Trigger) -> int:
    if not directory.has("memory.pressure"):
        raise UnsupportedError(
            f"{trigger}: {directory.path} has no memory.pressure",
            hint="it needs cgroup v2 (beside v1 will do) and a kernel with CONFIG_PSI; "
            "on cgroup v1 watch pressure low, medium or critical",
        )
    assert trigger.share and trigger.stall and trigger.window
    fd = directory.open_file("memory.pressure", os.O_RDWR | os.O_NONBLOCK)
    try:
        set_pressure_trigger(fd, trigger.share, trigger.stall, trigger.window)
    except OSError as e:
        os.close(fd)
        path = f"{directory.path}/memory.pressure"
        if e.errno == errno.EOPNOTSUPP:
            raise UnsupportedError(
                f"{trigger}: {path}: pressure is switched off", path=path, hint="boot with psi=1"
            ) from None
        if e.errno != errno.EINVAL:
            raise CgroupError(
                f"{trigger}: {path}: {os.strerror(e.errno or 0).lower()}", path=path, errno=e.errno
            ) from None
        raise UnsupportedError(
            f"{trigger}: {path}: the kernel refuses these times",
            path=path,
            hint="without CAP_SYS_RESOURCE the window must be a multiple of 2s, like some 300ms/2s",
        ) from None
    return fd
