"""Plan fragments: namespaces, id maps, the loopback device, the host name.

Each adds steps to a plan and does nothing itself.

Source: namespaces(7), user_namespaces(7); include/uapi/linux/{sched,sockios,if}.h.
"""

import os
import struct

from .plan import ANY_RESULT, AT_FDCWD, Plan

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
    data = os.fsencode(name)
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
    # Or the end of the file would never come.  It may have been closed by asking before.
    plan.call("close", go[1], purpose="map users and groups", expect=ANY_RESULT)
    plan.call("write", ready, b"1", 1, purpose="map users and groups", expect=1)
    # The kernel writes into it: not one of the bytes that Python shares.
    plan.call("read", go[0], bytes(16), 1, purpose="map users and groups", expect=1)
