"""What happens in a cgroup, as one readable descriptor.

An event is a hint, the counter is the fact: after each wake-up the kernel's figures are read anew.
While nothing happens nothing wakes up, but for what the kernel has no notification of: usage of
memory on v2 and of swap, hits of the limit on v1, the coming and going of processes on a host
without cgroup v2.  Those are polled by a timer of the kernel.
"""

import os
import select
import time

from ..errors import CgroupError, CgroupGoneError, UnsupportedError
from ..linux.notify import RemovalWatch, Timer
from .sources import LATEST, Source, make_source
from .triggers import Event, Trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from .group import Cgroup

__all__ = ["Event", "Events", "Trigger"]


class Events:
    """Waits for triggers of one cgroup, ours or not.

    ::

        with Events(group, [Trigger(source="threshold", level=32 << 20)]) as events:
            for event in events:      # until the cgroup is removed
                ...

    For an event loop: when `fileno` is readable call `read`, until `removed`.

    Attributes:
        group: the cgroup; must stay open as long.
        removed: it was removed, and that has been told: nothing more will come.
    """

    def __init__(
        self,
        group: "Cgroup",
        triggers: "Iterable[Trigger]",
        *,
        removal: bool = True,
        ends: "tuple[int, Callable[[], object]] | None" = None,
    ) -> None:
        """Arm the triggers.

        What holds already (usage above the threshold, an empty cgroup) is told at the first
        `read`; counters count from now on.

        Args:
            group: what to watch.
            triggers: equal ones count once.
            removal: wake up when the cgroup is removed; for those who remove it themselves, False
                saves a descriptor.
            ends: a descriptor that is readable when the program in it has ended, and what is to be
                called then, which may remove the cgroup.

        Raises:
            UnsupportedError: this host or cgroup cannot be watched for one of them.
            CgroupError: the kernel refused.
        """
        self.group = group
        self.removed = False
        part = group.part("memory") or group.tracker
        self._directory = part.directory
        self._sources: list[Source] = []
        self._removal: RemovalWatch | None = None
        self._polls_removal = False
        self._timed = True
        self._ends = ends
        self._epoll = select.epoll()
        try:
            self._timer = Timer()
            self._epoll.register(self._timer.fd, select.EPOLLIN)
            for trigger in dict.fromkeys(triggers):
                self._arm(trigger)
            if removal and group.path != "/":
                self._watch_removal()
            if ends and ends[0] >= 0:
                self._epoll.register(ends[0], select.EPOLLIN)
            self._timer.arm(0.0)  # for the first look
        except BaseException:
            self.close()
            raise

    def _arm(self, trigger: Trigger) -> None:
        source = make_source(self.group, trigger)
        self._sources.append(source)
        for fd in source.fds:
            self._epoll.register(fd, source.mask)

    def _watch_removal(self) -> None:
        try:
            self._removal = RemovalWatch(os.path.dirname(self._directory.path))
        except OSError:  # the user has as many as the system allows
            self._polls_removal = True
        else:
            self._epoll.register(self._removal.fd, select.EPOLLIN)

    def __repr__(self) -> str:
        return f"<Events {self.group.path} {', '.join(str(s.trigger) for s in self._sources)}>"

    def fileno(self) -> int:
        """The descriptor that is readable (POLLIN) when `read` has something to do; ours."""
        return self._epoll.fileno()

    def read(self) -> list[Event]:
        """What has happened; may be empty.  Never blocks."""
        if self.removed:
            return []
        ready = {fd for fd, _ in self._epoll.poll(0)}
        if self._timer.fd in ready:
            self._timer.drain()
        if self._removal and self._removal.fd in ready:
            self._removal.drain()
        out = []
        for source in tuple(self._sources):
            fields = self._ask(source, any(fd in ready for fd in source.fds))
            if fields is not None:
                out.append(self._event(source, fields))
        if self._ends and self._ends[0] in ready:
            self._epoll.unregister(self._ends[0])
            at_end, self._ends = self._ends[1], None
            at_end()
        if self._directory.is_gone():
            self._end(out)
        else:
            self._arm_timer()
        return out

    def _ask(self, source: Source, woken: bool) -> "dict[str, Any] | None":
        try:
            if woken:
                source.drain()
            return source.look(woken)
        except CgroupGoneError:
            # Its part of the cgroup is gone; left open its descriptor would wake us for ever.
            self._drop(source)
            return source.last()

    def _drop(self, source: Source) -> None:
        self._sources.remove(source)
        for fd in source.fds:
            self._epoll.unregister(fd)
        source.close()

    def _event(self, source: Source, fields: "dict[str, Any]") -> Event:
        limit: Any = None
        try:
            if "current" not in fields:
                fields["current"] = self.group.memory.current()
            limit = self.group.memory.limits().max
        except (CgroupError, UnsupportedError):
            pass  # gone, or not in the memory controller's hierarchy
        return Event(
            kind=source.trigger.source,
            cgroup=self.group.path,
            time=time.time(),
            limit=limit if isinstance(limit, int) else None,
            trigger=source.trigger,
            **fields,
        )

    def _end(self, out: list[Event]) -> None:
        for source in tuple(self._sources):
            self._drop(source)
            fields = source.last()
            if fields is not None:
                out.append(self._event(source, fields))
        out.append(Event(kind="removed", cgroup=self.group.path, time=time.time()))
        self._timer.close()
        if self._removal:
            self._removal.close()
        self.removed = True

    def _arm_timer(self) -> None:
        waits = [wait for s in self._sources if (wait := s.wait()) is not None]
        if self._polls_removal:
            waits.append(LATEST)
        if waits or self._timed:
            self._timer.arm(min(waits, default=None))
        self._timed = bool(waits)

    def refresh(self) -> None:
        """Work thresholds in percent out anew, after the memory limit has changed.

        Raises:
            UnsupportedError: there is no limit any more.
        """
        for source in tuple(self._sources):
            if source.is_stale():
                self._drop(source)
                self._arm(source.trigger)
        self._timer.arm(0.0)

    def __iter__(self) -> "Iterator[Event]":
        """Wait for events and yield them, the removal last."""
        poll = select.poll()
        poll.register(self, select.POLLIN)
        while not self.removed:
            poll.poll()
            yield from self.read()

    def close(self) -> None:
        """Give the descriptors back; may be called again."""
        for source in self._sources:
            source.close()
        self._sources.clear()
        if self._removal:
            self._removal.close()
        if hasattr(self, "_timer"):
            self._timer.close()
        self._epoll.close()

    def __del__(self) -> None:
        if hasattr(self, "_epoll"):
            self.close()

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
