"""Extended attributes, where Python has them and where it lacks them: with musl, up to 3.12.

Source: fsetxattr(2) and its kin; Modules/posixmodule.c of CPython (USE_XATTRS).
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["getxattr", "listxattr", "removexattr", "setxattr"]

if TYPE_CHECKING or hasattr(os, "getxattr"):
    from os import getxattr, listxattr, removexattr, setxattr
else:
    import ctypes

    _libc = ctypes.CDLL(None, use_errno=True)
    _libc.fgetxattr.restype = _libc.flistxattr.restype = ctypes.c_ssize_t
    _MOST = 65536  # XATTR_SIZE_MAX and XATTR_LIST_MAX, bytes

    def _call(function: "Any", target: "int | str", *args: "Any") -> int:
        fd = target if isinstance(target, int) else os.open(target, os.O_RDONLY | os.O_CLOEXEC)
        try:
            result: int = function(fd, *args)
            if result < 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            return result
        finally:
            if fd != target:
                os.close(fd)

    def getxattr(target: "int | str", name: str) -> bytes:
        """The value of an attribute."""
        buffer = ctypes.create_string_buffer(_MOST)
        size = _call(_libc.fgetxattr, target, os.fsencode(name), buffer, ctypes.c_size_t(_MOST))
        return buffer.raw[:size]

    def setxattr(target: "int | str", name: str, value: bytes) -> None:
        """Set an attribute."""
        _call(_libc.fsetxattr, target, os.fsencode(name), value, ctypes.c_size_t(len(value)), 0)

    def listxattr(target: "int | str") -> list[str]:
        """The names of all attributes."""
        buffer = ctypes.create_string_buffer(_MOST)
        size = _call(_libc.flistxattr, target, buffer, ctypes.c_size_t(_MOST))
        return [os.fsdecode(name) for name in buffer.raw[:size].split(b"\0")[:-1]]

    def removexattr(target: "int | str", name: str) -> None:
        """Remove an attribute."""
        _call(_libc.fremovexattr, target, os.fsencode(name))
