"""Which filesystems are mounted where; which controllers the kernel has.

Source: Documentation/filesystems/proc.rst (mountinfo), kernel/cgroup/cgroup-v1.c (/proc/cgroups).
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Mount:
    """One line of mountinfo.

    Attributes:
        point: where it is mounted.
        root: the part of the filesystem that is seen there; ``/`` for all of it.
        fstype: cgroup, cgroup2, ...
        source: what was given as the device: anything, since there is none.
        options: of the filesystem (the super block), such as {"rw", "memory"}.
        flags: of this mount, such as {"rw", "nosuid", "relatime"}.
        read_only: whether the mount or the filesystem refuses writes.
    """

    __slots__ = ("flags", "fstype", "options", "point", "read_only", "root", "source")

    def __init__(self, line: str) -> None:
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        self.fstype, source, options = right.split(" ", 2)
        self.root, self.point = _unescape(fields[3]), _unescape(fields[4])
        self.source = _unescape(source)
        self.options, self.flags = frozenset(options.split(",")), frozenset(fields[5].split(","))
        self.read_only = "ro" in self.options or "ro" in self.flags


def _unescape(text: str) -> str:
    """Undo the kernel's octal escapes of space, tab, newline, backslash, and # in a source.

    Source: fs/proc_namespace.c (mangle).
    """
    if "\\" in text:
        for char in " \t\n#\\":  # the backslash last: what it makes is no escape
            text = text.replace(f"\\{ord(char):03o}", char)
    return text


def cgroup_mounts(mountinfo: "str | None" = None) -> "Iterator[Mount]":
    """Yield the cgroup and cgroup2 mounts, oldest first.

    Args:
        mountinfo: text of /proc/self/mountinfo; None reads it.
    """
    if mountinfo is None:
        mountinfo = _read_mountinfo()
    for line in mountinfo.split("\n"):
        if " - cgroup" in line:
            yield Mount(line)


def all_mounts(mountinfo: "str | None" = None) -> "list[Mount]":
    """The mounts of this process, oldest first.

    Args:
        mountinfo: text of /proc/self/mountinfo; None reads it.
    """
    if mountinfo is None:
        mountinfo = _read_mountinfo()
    return [Mount(line) for line in mountinfo.split("\n") if " - " in line]


def _read_mountinfo() -> str:
    with open("/proc/self/mountinfo", "rb") as file:
        return os.fsdecode(file.read())


#: File systems through which the kernel is looked into and steered.
_OF_THE_KERNEL = frozenset((
    "binder", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "efivarfs", "proc", "pstore",
    "resctrl", "securityfs", "selinuxfs", "sysfs", "tracefs",
))  # fmt: skip


def kernel_mounts(mountinfo: "str | None" = None) -> "list[Mount]":
    """The mounts of the kernel's own file systems that can be reached, oldest first.

    Args:
        mountinfo: text of /proc/self/mountinfo; None reads it.
    """
    return [
        mount
        for mount in all_mounts(mountinfo)
        if mount.fstype in _OF_THE_KERNEL and os.path.exists(mount.point)
    ]


def kernel_controllers(text: "str | None" = None) -> dict[str, bool]:
    """Controllers that the kernel was built with, and whether each is enabled.

    Args:
        text: of /proc/cgroups; None reads it.
    """
    return {name: enabled for name, _, _, enabled in controller_table(text)}


def controller_table(text: "str | None" = None) -> "list[tuple[str, int, int, bool]]":
    """/proc/cgroups: (controller, id of its hierarchy, cgroups in that, whether it is enabled).

    The id is 0 for a controller on v2 and for one that no hierarchy holds.  Since 6.12 controllers
    that were built without v1 are left out.

    Args:
        text: None reads it.

    Source: kernel/cgroup/cgroup-v1.c (proc_cgroupstats_show).
    """
    if text is None:
        try:
            with open("/proc/cgroups", encoding="ascii") as file:
                text = file.read()
        except OSError:
            return []
    rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return [(r[0], int(r[1]), int(r[2]), r[3] == "1") for r in rows if len(r) == 4]
