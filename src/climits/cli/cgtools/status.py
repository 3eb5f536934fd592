"""Exit statuses of cgroup-tools, and how a tool gives up with one.

The library's error numbers start at 50000; a process can return only their low byte.

Source: libcgroup, include/libcgroup/error.h and src/tools/tools-common.h (interface).
"""

import errno

from ...errors import CgroupError, CgroupGoneError, InvalidValueError, UnsupportedError

#: A group that has to exist does not.
NO_GROUP = 82
#: No mounted hierarchy has the controller.
NOT_MOUNTED = 84
#: No right to do it.
NOT_ALLOWED = 87
#: A value or name that means nothing.
INVALID = 91
#: It failed, and no other status says why.
FAILED = 93
#: A parameter that the group does not have.
NO_PARAMETER = 95
#: The kernel refused; the message has its reason.
REFUSED = 96
#: A file of rules could not be read or understood.
RULES = 99
#: mount(2) failed.
MOUNT_FAILED = 101
#: A configuration file could not be understood.
SYNTAX = 104
#: A parameter that the other version of cgroups does not have.
NO_COUNTERPART = 111
#: A usage error, since libcgroup 3.0.
USAGE = 129
#: What returns -1 in C.
MINUS_ONE = 255


class GiveUp(Exception):
    """A tool ends with this status, having told these lines on standard error.

    Attributes:
        status: exit status.
        lines: list[str], may be empty.
    """

    def __init__(self, status: int, *lines: str) -> None:
        super().__init__(*lines)
        self.status, self.lines = status, list(lines)


def status_of(error: Exception) -> int:
    """The exit status for an error of the library."""
    if isinstance(error, UnsupportedError):
        return NOT_MOUNTED
    if isinstance(error, CgroupGoneError):
        return NO_GROUP
    if isinstance(error, InvalidValueError):
        return INVALID
    if isinstance(error, CgroupError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NOT_ALLOWED
    return REFUSED


def tell(error: Exception) -> str:
    """An error and what to do about it, on one line."""
    hint = getattr(error, "hint", None)
    text = " ".join(str(error).split("\n"))
    return f"{text}; hint: {hint}" if hint else text
