"""What the kernel tells through readable descriptors: timers, removals, memory pressure.

An eventfd needs nothing of ours: os.eventfd has been there since Python 3.10.

Source: Documentation/accounting/psi.rst, inotify(7), timerfd_create(2).
"""

import os

from . import syscalls


class Timer:
    """A descriptor that is readable once a time has passed.

    Attributes:
        fd: its descriptor; -1 once closed.
    """

    __slots__ = ("fd",)

    def __init__(self) -> None:
        self.fd = -1
        self.fd = syscalls.timerfd_create()

    def __del__(self) -> None:
        self.close()

    def arm(self, seconds: "float | None") -> None:
        """Become readable so long from now; None: never."""
        # 0 would disarm it; a day at most, since every caller looks at its own clock again.
        span = 0 if seconds is None else max(1, int(min(seconds, 86_400.0) * 1e9))
        syscalls.timerfd_settime(self.fd, span)

    def drain(self) -> bool:
        """Whether the time had passed; the descriptor is no longer readable after it."""
        return _drain(self.fd)

    def close(self) -> None:
        """Give the descriptor back; may be called again."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


class RemovalWatch:
    """A descriptor that is readable when something was removed from a directory.

    The parent is watched because the kernel tells nothing to those who watch a cgroup itself or
    its files (6.1 to 6.18): what fires may be about a sibling, so look whether it is still there.

    Attributes:
        fd: its descriptor; -1 once closed.
    """

    __slots__ = ("fd",)

    def __init__(self, parent: str) -> None:
        """Watch a directory.

        Raises:
            OSError: EMFILE when the user has fs.inotify.max_user_instances already.
        """
        self.fd = -1
        self.fd = syscalls.inotify_init()
        mask = syscalls.IN_DELETE | syscalls.IN_ONLYDIR
        try:
            syscalls.inotify_add_watch(self.fd, os.fsencode(parent), mask)
        except OSError:
            self.close()
            raise

    def __del__(self) -> None:
        self.close()

    def drain(self) -> bool:
        """Whether anything was removed; the descriptor is no longer readable after it."""
        return _drain(self.fd)

    def close(self) -> None:
        """Give the descriptor back; may be called again."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


def set_pressure_trigger(fd: int, share: str, stall: float, window: float) -> None:
    """Make a descriptor of memory.pressure fire, at most once a window.

    Args:
        fd: opened for reading and writing; fires with POLLPRI, and POLLERR once the cgroup is gone.
        share: some or full.
        stall: time lost within `window`, both in seconds.

    Raises:
        OSError: EINVAL for times that the kernel does not take: windows are 0.5 to 10 s, and
            without CAP_SYS_RESOURCE multiples of 2 s (since 6.5; before, none at all).
    """
    # The kernel drops the last byte: it takes it for the string's end.
    os.write(fd, b"%s %d %d\0" % (share.encode(), round(stall * 1e6), round(window * 1e6)))


def _drain(fd: int) -> bool:
    drained = False
    while True:
        try:
            drained = bool(os.read(fd, 4096))
        except BlockingIOError:
            return drained
