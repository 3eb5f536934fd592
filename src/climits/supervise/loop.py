"""The supervisor's event loop: descriptors and timers, one thread, no wake-up without a reason."""

import heapq
import select
import time
from functools import partial

from ..errors import ClimitsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READABLE, WRITABLE = select.EPOLLIN, select.EPOLLOUT


class Timer:
    """Something to do later.

    Attributes:
        when: on the monotonic clock, seconds.
        call: what to do; None once it was cancelled or done.
    """

    __slots__ = ("call", "when")

    def __init__(self, when: float, call: "Callable[[], None]") -> None:
        self.when = when
        self.call: Callable[[], None] | None = call

    def __lt__(self, other: "Timer") -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        """Do not do it; may be called again."""
        self.call = None


class Loop:
    """Waits for descriptors and times, and calls whoever asked.

    Times are of the monotonic clock, which a person or NTP cannot set.
    """

    def __init__(self, on_error: "Callable[[Exception], None]") -> None:
        """Make one.

        Args:
            on_error: called with what went wrong in a call, which ends that call and no more.
        """
        self._on_error = on_error
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[int], None]] = {}
        self._timers: list[Timer] = []
        self._last: list[Callable[[], None]] = []

    def watch(self, fd: int, call: "Callable[[int], None]", events: int = select.EPOLLIN) -> None:
        """Call with the events that are ready whenever a descriptor is; again to change it."""
        if fd in self._calls:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._calls[fd] = call

    def forget(self, fd: int) -> None:
        """Watch a descriptor no longer, whether it was watched and is still open or not."""
        if self._calls.pop(fd, None):
            try:
                self._epoll.unregister(fd)
            except OSError:
                pass  # closed: the kernel has forgotten it by itself

    def after(self, delay: float, call: "Callable[[], None]") -> Timer:
        """Call once, `delay` seconds from now."""
        timer = Timer(time.monotonic() + delay, call)
        heapq.heappush(self._timers, timer)
        return timer

    def turn(self) -> None:
        """Wait until something is ready, and deal with all that is."""
        for fd, events in self._epoll.poll(self._until_timer()):
            call = self._calls.get(fd)  # an earlier one of this turn may have closed it
            if call:
                self.do(partial(call, events))
        now = time.monotonic()
        while self._timers and (self._timers[0].call is None or self._timers[0].when <= now):
            timer = heapq.heappop(self._timers)
            if timer.call:
                call_now, timer.call = timer.call, None
                self.do(call_now)
        while self._last:
            self.do(self._last.pop(0))

    def last(self, call: "Callable[[], None]") -> None:
        """Call once, at the end of this turn."""
        self._last.append(call)

    def do(self, call: "Callable[[], None]") -> None:
        """Call at once; what goes wrong is told and ends that call alone."""
        try:
            call()
        except (ClimitsError, OSError) as e:  # of one program: the others go on
            self._on_error(e)

    def _until_timer(self) -> "float | None":
        while self._timers and self._timers[0].call is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        # A day at most, since the kernel takes 32 bits of milliseconds.
        return min(max(self._timers[0].when - time.monotonic(), 0), 86_400.0)

    def close(self) -> None:
        """Give the descriptor back."""
        self._epoll.close()
