"""Mount and unmount; how cgroup filesystems are brought up where no init system does it.

Source: mount(2), umount(2), Documentation/admin-guide/cgroup-v2.rst (Mounting),
Documentation/admin-guide/cgroup-v1/cgroups.rst (2.1).
"""

import os

_NOSUID, _NODEV, _NOEXEC = 0x2, 0x4, 0x8


def mount(fstype: str, point: str, options: str = "") -> None:
    """Mount a file system that has no device, with nosuid, nodev and noexec.

    Args:
        fstype: cgroup, cgroup2 or tmpfs; it stands as the device in mountinfo too.
        point: a directory.
        options: of the file system, such as memory or nsdelegate.

    Raises:
        OSError: the kernel refused.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    flags = _NOSUID | _NODEV | _NOEXEC
    kind = fstype.encode()
    if libc.mount(kind, os.fsencode(point), kind, flags, options.encode() or None) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), point)


def unmount(point: str) -> None:
    """Take the topmost mount of a directory away.

    Raises:
        OSError: the kernel refused; EBUSY while somebody uses it.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(point), 0) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), point)
