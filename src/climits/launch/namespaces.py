"""Plan fragments: namespaces, id maps, mounts, a new root, the loopback device.

Each adds steps to a plan and does nothing itself.

Source: namespaces(7), user_namespaces(7), mount(2), pivot_root(2), mount_setattr(2);
include/uapi/linux/{sched,mount,sockios,if}.h.
"""

import os
import struct

from .plan import AT_FDCWD, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: Flags of clone and unshare, by the names of /proc/PID/ns.
NAMESPACES = {
    "mnt": 0x0002_0000,
    "cgroup": 0x0200_0000,
    "uts": 0x0400_0000,
    "ipc": 0x0800_0000,
    "user": 0x1000_0000,
    "pid": 0x2000_0000,
    "net": 0x4000_0000,
}

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
_MNT_DETACH = 2
_AT_RECURSIVE, _AT_EMPTY_PATH, _OPEN_TREE_CLONE = 0x8000, 0x1000, 1
#: Of mount_setattr, MOUNT_ATTR_*.
MOUNT_FLAGS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8}
#: As `expect`: a failure of the step does not matter.
ANY_RESULT = -1

_AF_INET, _SOCK_DGRAM, _SOCK_CLOEXEC = 2, 2, 0o2000000
_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 0x1, 0x40


def flags_of(names: "Iterable[str]") -> int:
    """The clone flags of some namespaces."""
    flags = 0
    for name in names:
        flags |= NAMESPACES[name]
    return flags


def unshare(plan: Plan, *names: str) -> None:
    """Leave namespaces for new ones."""
    plan.call("unshare", flags_of(names), purpose=f"new {' and '.join(names)} namespace")


# ---- mounts --------------------------------------------------------------------------------


def mount(
    plan: Plan,
    source: "str | None",
    target: str,
    fstype: "str | None",
    flags: int = 0,
    data: "str | None" = None,
    *,
    purpose: str = "",
) -> None:
    """Add a mount."""
    plan.call(
        "mount", _bytes(source or "none"), _bytes(target), _bytes(fstype), flags, _bytes(data),
        purpose=purpose or f"mount {fstype or source} on {target}",
    )  # fmt: skip


def private_mounts(plan: Plan) -> None:
    """Keep what is mounted from here on from spreading to the host, and the other way round."""
    mount(plan, None, "/", None, MS_REC | MS_PRIVATE, purpose="make the mounts private")


def bind(plan: Plan, source: str, target: str, *, recursive: bool = True) -> None:
    """Show a file or directory at another place too."""
    flags = MS_BIND | (MS_REC if recursive else 0)
    mount(plan, source, target, None, flags, purpose=f"bind {source} to {target}")


def restrict(plan: Plan, target: str, flags: "Iterable[str]", *, below: bool = True) -> None:
    """Set flags of a mount, and of those below it; the others stay as they are (since 5.12).

    Remounting would take away flags that the mount has from where it comes from, which an ordinary
    user may not even do.

    Args:
        plan: which sees the mount.
        target: where it is.
        flags: names in MOUNT_FLAGS.
        below: those below it too.
    """
    _set_attributes(
        plan, AT_FDCWD, target, flags, _AT_RECURSIVE if below else 0,
        f"make {target} {', '.join(sorted(flags))}",
    )  # fmt: skip


def make_read_only(plan: Plan, target: str) -> None:
    """Make a mount and all below it read-only."""
    restrict(plan, target, ("ro",))


def _set_attributes(
    plan: Plan,
    directory: "int | tuple[int]",
    path: str,
    flags: "Iterable[str]",
    how: int,
    purpose: str,
) -> None:
    attributes = struct.pack("QQQQ", sum(MOUNT_FLAGS[flag] for flag in flags), 0, 0, 0)
    plan.call(
        "mount_setattr", directory, _bytes(path), how, attributes, len(attributes), purpose=purpose
    )


def read_only_copy(plan: Plan, path: str, fd: int) -> None:
    """Replace a descriptor by one of the same file on a mount of its own that cannot be written.

    What is executed through it can be found by the program, as /proc/PID/exe.

    Args:
        plan: while the mounts of the host may still be copied.
        path: of the file, as seen here.
        fd: which number it is to have; close-on-exec.
    """
    purpose = f"copy the mount of {path}"
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    copy = plan.call("open_tree", AT_FDCWD, _bytes(path), flags, purpose=purpose)
    _set_attributes(plan, copy, "", ("ro",), _AT_EMPTY_PATH, purpose)
    plan.call("dup3", copy, fd, os.O_CLOEXEC, purpose=purpose)
    plan.call("close", copy)


def make_directory(plan: Plan, path: str, mode: int = 0o755) -> None:
    """Make a directory where there is none."""
    plan.call("mkdirat", AT_FDCWD, _bytes(path), mode, purpose=f"make {path}", expect=ANY_RESULT)


def make_file(plan: Plan, path: str) -> None:
    """Make an empty file where there is none."""
    flags = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = plan.call("openat", AT_FDCWD, _bytes(path), flags, 0o644, purpose=f"make {path}")
    plan.call("close", fd)


def make_link(plan: Plan, text: str, path: str) -> None:
    """Make a symbolic link."""
    plan.call("symlinkat", _bytes(text), AT_FDCWD, _bytes(path), purpose=f"make the link {path}")


def pivot_here(plan: Plan) -> None:
    """Make the current directory, a mount, the root, and give the old root back.

    Both stand at the same place for a moment, so that no directory is needed for the old one.
    """
    plan.call("pivot_root", b".", b".", purpose="pivot_root")
    plan.call("umount2", b".", _MNT_DETACH, purpose="unmount the old root")
    plan.call("chdir", b"/", purpose="change to /")


# ---- network and name ----------------------------------------------------------------------


def raise_loopback(plan: Plan) -> None:
    """Switch on the loopback device of a new network namespace."""
    purpose = "switch the loopback device on"
    fd = plan.call("socket", _AF_INET, _SOCK_DGRAM | _SOCK_CLOEXEC, 0, purpose=purpose)
    request = struct.pack("16sh22x", b"lo", _IFF_UP | _IFF_RUNNING)
    plan.call("ioctl", fd, _SIOCSIFFLAGS, request, purpose=purpose)
    plan.call("close", fd)


def host_name(plan: Plan, name: str) -> None:
    """Set the host name."""
    data = _bytes(name) or b""
    plan.call("sethostname", data, len(data), purpose=f"set the host name {name}")


# ---- ids -----------------------------------------------------------------------------------


def map_own_id(plan: Plan, uid: int, gid: int, inside_uid: int, inside_gid: int) -> None:
    """Map our own user and group, and nobody else, which needs no right.

    Args:
        plan: after a step that made a user namespace.
        uid, gid: as seen in the namespace above.
        inside_uid, inside_gid: what they are to be inside.
    """
    # Without giving up setgroups an ordinary user could leave a group that denies access.
    plan.open_and_write(AT_FDCWD, "/proc/self/setgroups", "deny", "give up setgroups")
    plan.open_and_write(AT_FDCWD, "/proc/self/uid_map", f"{inside_uid} {uid} 1", "map the user")
    plan.open_and_write(AT_FDCWD, "/proc/self/gid_map", f"{inside_gid} {gid} 1", "map the group")


def ask_for_maps(plan: Plan, ready: int, go: "tuple[int, int]") -> None:
    """Have another thread of climits write the id maps, and wait for it.

    Args:
        plan: after a step that made a user namespace.
        ready: descriptor to which a byte is written.
        go: (reading, writing) end of a pipe: a byte means done, the end of file that it failed.
    """
    plan.call("close", go[1], purpose="map users and groups")
    plan.call("write", ready, b"1", 1, purpose="map users and groups", expect=1)
    # The kernel writes into it: not one of the bytes that Python shares.
    plan.call("read", go[0], bytes(16), 1, purpose="map users and groups", expect=1)


def _bytes(text: "str | None") -> "bytes | None":
    if text is None:
        return None
    data = os.fsencode(text)
    if b"\0" in data:  # the kernel would read up to it
        raise ValueError("embedded null byte")
    return data
