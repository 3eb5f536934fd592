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
        options: of the filesystem (the super block), such as {"rw", "memory"}.
        read_only: whether the mount or the filesystem refuses writes.
    """

    __slots__ = ("fstype", "options", "point", "read_only", "root")

    def __init__(self, line: str) -> None:
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        self.fstype, _source, options = right.split(" ", 2)
        self.root, self.point = _unescape(fields[3]), _unescape(fields[4])
        self.options = frozenset(options.split(","))
        self.read_only = "ro" in self.options or "ro" in fields[5].split(",")


def _unescape(text: str) -> str:
    """Undo the kernel's octal escapes of space, tab, newline and backslash."""
    if "\\" in text:
        for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            text = text.replace(code, char)
    return text


def cgroup_mounts(mountinfo: "str | None" = None) -> "Iterator[Mount]":
    """Yield the cgroup and cgroup2 mounts, oldest first.

    Args:
        mountinfo: text of /proc/self/mountinfo; None reads it.
    """
    if mountinfo is None:
        with open("/proc/self/mountinfo", "rb") as file:
            mountinfo = os.fsdecode(file.read())
    for line in mountinfo.split("\n"):
        if " - cgroup" in line:
            yield Mount(line)


def kernel_controllers(text: "str | None" = None) -> dict[str, bool]:
    """Controllers that the kernel was built with, and whether each is enabled.

    Args:
        text: of /proc/cgroups; None reads it.
    """
    if text is None:
        try:
            with open("/proc/cgroups", encoding="ascii") as file:
                text = file.read()
        except OSError:
            return {}
    rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {row[0]: row[3] == "1" for row in rows if len(row) == 4}
