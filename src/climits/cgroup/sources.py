"""What an Events waits on: one object for each trigger.

Each has the descriptors that wake it, says how soon it must look without being woken where the
kernel has no notification, and looks at the kernel's own figures to say whether its event is true.

Source: Documentation/admin-guide/cgroup-v1/memory.rst (9., 10.), cgroup-v2.rst,
fs/kernfs/file.c (kernfs_generic_poll).
"""
# Implementations of an interface that is documented once, in Source.
# ruff: noqa: D102, ARG002

import errno
import os
import select
import time

from ..errors import (
    CgroupError,
    CgroupGoneError,
    CgroupPermissionError,
    InvalidValueError,
    UnsupportedError,
)
from ..units import format_size
from .triggers import Trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .group import Cgroup

#: Where usage must be polled, the next look comes when a program that takes so many bytes a second
#: could have reached the level, but no sooner and no later than so many seconds.  One that grew by
#: GROWS since the last look is taken for a fast one, and seen at most 10 ms after it has crossed
#: the level; one that rests near the level costs at most 50 looks a second.
GROWS = 1 << 19
GROWING, RESTING = (1 << 30, 0.01), (1 << 29, 0.02)
LATEST = 1.0
#: How often what cannot be waited for is looked at, seconds.
POLL = 0.1
#: The v1 OOM event comes before the kill is counted: look again from 1 ms on, doubling, this long.
_FIRST_RECHECK, _SETTLES = 0.001, 1.0  # seconds


class Source:
    """One trigger, armed.

    Attributes:
        trigger: which one.
        fds: descriptors that wake it; may be empty.
        mask: for what they are polled.
    """

    mask = select.EPOLLIN

    def __init__(self, group: "Cgroup", trigger: Trigger) -> None:
        self.group, self.trigger = group, trigger
        self.fds: list[int] = []

    def __del__(self) -> None:
        self.close()

    def drain(self) -> None:
        """Make the descriptors unreadable again.

        Raises:
            CgroupGoneError: the cgroup was removed.
        """
        for fd in self.fds:
            try:
                os.eventfd_read(fd)
            except BlockingIOError:
                pass

    def look(self, woken: bool) -> "dict[str, Any] | None":
        """What is to be told: fields of an Event, or None.

        Raises:
            CgroupGoneError: the cgroup was removed.
        """
        raise NotImplementedError

    def last(self) -> "dict[str, Any] | None":
        """What is to be told once the cgroup is gone."""
        return None

    def wait(self) -> "float | None":
        """In how many seconds it must look again though nothing wakes it; None: never."""
        return None

    def is_stale(self) -> bool:
        """Whether it was armed for a level that is no longer meant."""
        return False

    def close(self) -> None:
        """Give the descriptors back."""
        while self.fds:
            os.close(self.fds.pop())


class Usage(Source):
    """Usage of memory reaches a level."""

    def __init__(self, group: "Cgroup", trigger: Trigger) -> None:
        super().__init__(group, trigger)
        self.level = _level(group, trigger)
        # Below this it may fire again.
        self.rearmed = self.level - (trigger.hysteresis or 0)
        if self.rearmed <= 0:
            raise InvalidValueError(
                f"hysteresis: {format_size(trigger.hysteresis)}: not below the level of "
                f"{format_size(self.level)}",
                value=trigger.hysteresis,
                hint="it is how far usage must fall below the level before it counts again",
            )
        self.above = False
        self.now = self.before = self.current()
        self._watch()

    def _watch(self) -> None:
        try:
            for level in dict.fromkeys((self.level, self.rearmed)):
                fd = self.group.memory.watch_usage(level)
                if fd is not None:
                    self.fds.append(fd)
        except CgroupError as e:
            # Who may only look can poll; a real-time kernel has no cgroup.event_control.
            if not isinstance(e, CgroupPermissionError) and e.errno != errno.ENOENT:
                raise
            self.close()

    def current(self) -> int:
        """Bytes in use."""
        return self.group.memory.current()

    def look(self, woken: bool) -> "dict[str, Any] | None":
        self.before, self.now = self.now, self.current()
        if self.above:
            self.above = self.now >= self.rearmed
        elif self.now >= self.level:
            self.above = True
            return {"current": self.now, "level": self.level}
        return None

    def wait(self) -> "float | None":
        if self.fds:
            return None
        if self.above:
            return POLL
        speed, soonest = GROWING if self.now > self.before + GROWS else RESTING
        return min(max((self.level - self.now) / speed, soonest), LATEST)

    def is_stale(self) -> bool:
        return _level(self.group, self.trigger) != self.level


class Swap(Usage):
    """Usage of swap reaches a level; always polled."""

    def _watch(self) -> None:
        pass

    def current(self) -> int:
        swap = self.group.memory.usage().swap_current
        if swap is None:
            raise UnsupportedError(
                f"swap: {self.group.path}: this kernel does not account for swap",
                hint="boot with swapaccount=1",
            )
        return swap


class _Counter(Source):
    """A counter moves.  Woken by the counters' file where there is one (v2)."""

    def __init__(self, group: "Cgroup", trigger: Trigger) -> None:
        super().__init__(group, trigger)
        self.known = self.count()
        fd = group.memory.watch_counters()
        self.has_file = fd is not None
        if fd is not None:
            self.mask = select.EPOLLPRI
            self.fds.append(fd)
            _reread(fd)

    def drain(self) -> None:
        if not self.has_file:
            return super().drain()
        return _reread(self.fds[0])

    def count(self) -> int:
        """The counter."""
        raise NotImplementedError

    def look(self, woken: bool) -> "dict[str, Any] | None":
        before, self.known = self.known, self.count()
        return {"count": self.known - before} if self.known > before else None


class OomKill(_Counter):
    """The OOM killer killed a process."""

    def __init__(self, group: "Cgroup", trigger: Trigger) -> None:
        super().__init__(group, trigger)
        self.first = self.known
        self.booted = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.recheck: float | None = None
        if not self.has_file:
            self.fds.append(group.memory.watch_oom())

    def count(self) -> int:
        return self.group.memory.all_events().oom_kill or 0

    def look(self, woken: bool) -> "dict[str, Any] | None":
        found = super().look(woken)
        if found:
            self.recheck = None
        elif woken and not self.has_file:
            self.recheck = _FIRST_RECHECK
        elif self.recheck is not None:
            self.recheck *= 2
            if self.recheck > _SETTLES:  # it sleeps at its limit, or the memory was found
                self.recheck = None
        return found

    def wait(self) -> "float | None":
        return self.recheck

    def last(self) -> "dict[str, Any] | None":
        # Who removes the cgroup right after the kill takes the counter away: the log still knows.
        from ..linux.kmsg import oom_kills

        kills = oom_kills(self.group.path, self.booted, 0)
        missed = len(kills or ()) - (self.known - self.first)
        return {"count": missed} if missed > 0 else None


class LimitHit(_Counter):
    """The limit (or, on v2, the throttling mark) was hit; on v1 polled."""

    def __init__(self, group: "Cgroup", trigger: Trigger) -> None:
        super().__init__(group, trigger)
        if not group.memory.counts_limit_hits():
            self.close()
            raise UnsupportedError(
                f"limit: {group.path}: this kernel does not count hits while the swap limit is 0",
                hint="allow some swap, or watch a threshold",
            )

    def count(self) -> int:
        events = self.group.memory.all_events()
        return (events.max or 0) + (events.high or 0)

    def wait(self) -> "float | None":
        return None if self.has_file else POLL


class UnderOom(Source):
    """Tasks sleep at the limit because the OOM killer is switched off (v1)."""

    def __init__(self, group: "Cgroup", trigger: Trigger) -> None:
        super().__init__(group, trigger)
        if group.memory.under_oom() is None:
            raise UnsupportedError(
                "under-oom needs the memory controller on cgroup v1; here it is on v2, where the "
                "kernel lets nobody sleep at the limit",
                hint="watch oom or limit",
            )
        self.seen = False
        self.fds.append(group.memory.watch_oom())

    def look(self, woken: bool) -> "dict[str, Any] | None":
        now = bool(self.group.memory.under_oom())
        fires = now and (woken or not self.seen)
        self.seen = now
        return {} if fires else None


class Populated(Source):
    """The first process comes (populated), or the last one leaves (empty)."""

    def __init__(self, group: "Cgroup", trigger: Trigger) -> None:
        super().__init__(group, trigger)
        self.directory = group.tracker.directory
        self.wanted = trigger.source == "populated"
        self.was = not self.wanted  # so that what holds already is told
        if self.directory.has("cgroup.events"):
            self.mask = select.EPOLLPRI
            self.fds.append(self.directory.open_file("cgroup.events"))

    def drain(self) -> None:
        for fd in self.fds:
            _reread(fd)

    def look(self, woken: bool) -> "dict[str, Any] | None":
        before, self.was = self.was, self.directory.is_populated()
        return {} if self.was == self.wanted != before else None

    def last(self) -> "dict[str, Any] | None":
        return {} if self.was and not self.wanted else None  # only what is empty can be removed

    def wait(self) -> "float | None":
        return None if self.fds else POLL


def make_source(group: "Cgroup", trigger: Trigger) -> Source:
    """Arm a trigger.

    Raises:
        UnsupportedError: this host or cgroup cannot be watched for it.
        CgroupError: the kernel refused.
    """
    try:
        if trigger.source == "pressure":
            from .pressure import make_pressure

            return make_pressure(group, trigger)
        return _CLASSES[trigger.source](group, trigger)
    except CgroupError as e:
        if e.errno != errno.ENOENT or isinstance(e, CgroupGoneError):
            raise
        raise UnsupportedError(
            f"{trigger.source}: {e.path}: no such file: the memory controller is not switched on "
            "for this cgroup",
            path=e.path,
            hint="echo +memory > cgroup.subtree_control of its parent; the root cgroup has no usage"
            " of its own",
        ) from None


_CLASSES: "dict[str, type[Source]]" = {
    "threshold": Usage,
    "swap": Swap,
    "oom": OomKill,
    "under-oom": UnderOom,
    "limit": LimitHit,
    "populated": Populated,
    "empty": Populated,
}


def _level(group: "Cgroup", trigger: Trigger) -> int:
    if trigger.fraction is None:
        assert trigger.level is not None
        return trigger.level
    limit = group.memory.limits().max
    if not isinstance(limit, int):
        raise UnsupportedError(
            f"{trigger}: {group.path} has no memory limit to take a share of",
            hint="give a size, like 32M, or set a limit first",
        )
    return max(int(limit * trigger.fraction), 1)


def _reread(fd: int) -> None:
    """Tell the kernel that what a file says now is known."""
    try:
        os.pread(fd, 4096, 0)
    except OSError as e:
        raise CgroupGoneError("the cgroup was removed", errno=e.errno) from None
