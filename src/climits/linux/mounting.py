"""Mount and unmount; how cgroup filesystems are brought up where no init system does it.

Source: mount(2), umount(2), Documentation/admin-guide/cgroup-v2.rst (Mounting),
Documentation/admin-guide/cgroup-v1/cgroups.rst (2.1).
"""

import os

#: The bits of mount flags, by the names that they have in mountinfo.
FLAGS = {"nosuid": 0x2, "nodev": 0x4, "noexec": 0x8}


def mount(
    fstype: str,
    point: str,
    options: str = "",
    *,
    source: "str | None" = None,
    flags: int = sum(FLAGS.values()),
) -> None:
    """Mount a file system that has no device.

    Args:
        fstype: cgroup, cgroup2 or tmpfs.
        point: a directory.
        options: of the file system, such as memory or nsdelegate.
        source: what stands as the device in mountinfo; None: the fstype.
        flags: of the mount; all of FLAGS unless told.

    Raises:
        OSError: the kernel refused.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    device, kind = (source or fstype).encode(), fstype.encode()
    if libc.mount(device, os.fsencode(point), kind, flags, options.encode() or None) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), point)


def mount_named_hierarchy(name: str, point: str) -> None:
    """Mount a v1 hierarchy without controllers; made if there is none of that name.

    Args:
        name: of the hierarchy.
        point: a directory.

    Raises:
        OSError: the kernel refused.

    Source: Documentation/admin-guide/cgroup-v1/cgroups.rst (2.3).
    """
    mount("cgroup", point, f"none,name={name}", source="climits")


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
