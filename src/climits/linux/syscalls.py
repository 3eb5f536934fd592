"""The system calls that Python's standard library lacks, through ctypes.

Importing ctypes costs 1.1 ms, so this is loaded by those who wait for events and by nobody else.

Source: timerfd_create(2), inotify(7), setns(2).
"""

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Source: include/uapi/linux/{time,timerfd,inotify}.h
CLOCK_MONOTONIC = 1
IN_DELETE = 0x200
IN_ONLYDIR = 0x0100_0000
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_ and IN_ flags are the same numbers

_libc = ctypes.CDLL(None, use_errno=True)
_Itimerspec = ctypes.c_long * 4  # interval and first expiry, each seconds and nanoseconds


def _call(function: "Any", *args: object) -> int:
    result: int = function(*args)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def timerfd_create() -> int:
    """A new timer of the clock that never jumps, disarmed, as a descriptor."""
    return _call(_libc.timerfd_create, CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)


def timerfd_settime(fd: int, nanoseconds: int) -> None:
    """Let a timer expire once, so long from now; 0 disarms it."""
    spec = _Itimerspec(0, 0, *divmod(nanoseconds, 1_000_000_000))
    _call(_libc.timerfd_settime, fd, 0, spec, None)


def inotify_init() -> int:
    """A new inotify instance."""
    return _call(_libc.inotify_init1, _NONBLOCK_CLOEXEC)


def inotify_add_watch(fd: int, path: bytes, mask: int) -> int:
    """Watch a path; returns the number of the watch."""
    return _call(_libc.inotify_add_watch, fd, path, ctypes.c_uint32(mask))


def setns(fd: int, flags: int) -> None:
    """Join a namespace, or those of a pidfd that the flags name."""
    _call(_libc.setns, fd, flags)
