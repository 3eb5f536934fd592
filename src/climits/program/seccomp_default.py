"""Which system calls a container's program is refused where nothing else is said.

The kernel refuses most of these already to a program that has no capabilities on the host: the
filter stands before code of the kernel in which holes were found again and again, and holds where
namespaces do not reach.  It is a list of refusals, so that a call which a later C library needs is
not refused for being unknown.

In the format of a profile file: see seccomp_profile.py.
"""

import errno
import os
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Not in the list, on purpose:
#   chroot: the root is made by pivot_root and the old one is unmounted, so a second chroot finds
#     nothing outside of it; package managers and servers use it.
#   ptrace: it reaches the container's own processes only, and since Linux 4.8 the filter also
#     judges the call that a tracer has put in the place of another.
#   sethostname, setuid and its like, mknod, sysinfo: namespaces and capabilities bound them.

# Numbers of calls that are newer than the libseccomp of a system which is still in use: the same
# on every machine.  A name that it does not know could be neither refused nor allowed.
# Source: scripts/syscall.tbl of the kernel.
RECENT = {
    "mount_setattr": 442, "quotactl_fd": 443, "landlock_create_ruleset": 444,
    "landlock_add_rule": 445, "landlock_restrict_self": 446, "memfd_secret": 447,
    "process_mrelease": 448, "futex_waitv": 449, "set_mempolicy_home_node": 450,
    "cachestat": 451, "fchmodat2": 452, "map_shadow_stack": 453, "futex_wake": 454,
    "futex_wait": 455, "futex_requeue": 456, "statmount": 457, "listmount": 458,
    "lsm_get_self_attr": 459, "lsm_set_self_attr": 460, "lsm_list_modules": 461, "mseal": 462,
    "setxattrat": 463, "getxattrat": 464, "listxattrat": 465, "removexattrat": 466,
    "open_tree_attr": 467, "file_getattr": 468, "file_setattr": 469,
}  # fmt: skip

_32_BITS = 0xFFFF_FFFF
_AF_VSOCK = 40

# CLONE_NEW*, include/uapi/linux/sched.h.  To clone the bit of NEWTIME is part of a signal number.
_NEW = {
    "NEWNS": 0x0002_0000, "NEWCGROUP": 0x0200_0000, "NEWUTS": 0x0400_0000,
    "NEWIPC": 0x0800_0000, "NEWUSER": 0x1000_0000, "NEWPID": 0x2000_0000, "NEWNET": 0x4000_0000,
}  # fmt: skip
_NEWTIME = 0x0000_0080
_CLONE_FLAGS = 1 if os.uname().machine.startswith("s390") else 0  # which argument of clone

# PER_LINUX32, and UNAME26: how the machine and the kernel are called.  All ones only asks.
_HARMLESS_PERSONALITY = 0x0002_0008


def _refuse(*names: str, error: int = errno.EPERM) -> "dict[str, Any]":
    return {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": error}


def _when(name: str, index: int, mask: int, value: int) -> "dict[str, Any]":
    """Refuse a call by the bits of one argument; the others are the caller's to choose freely."""
    bits = {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
    return {**_refuse(name), "args": [bits]}


def _personalities() -> "list[dict[str, Any]]":
    """Refuse what has a bit beyond the harmless ones, but not all ones.

    Those are never all zero nor all one: so in a ring of the other bits, somewhere a one is
    followed by a zero; or all of those are ones, and a harmless one is zero.
    """
    harmless = [1 << n for n in range(32) if _HARMLESS_PERSONALITY >> n & 1]
    others = [1 << n for n in range(32) if not _HARMLESS_PERSONALITY >> n & 1]
    pairs = list(zip(others, others[1:] + others[:1], strict=True))
    pairs += [(others[0], bit) for bit in harmless]
    return [_when("personality", 0, one | zero, one) for one, zero in pairs]


PROFILE: "dict[str, Any]" = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [
        # Mounts: the old way, and the new one by file descriptors.  What is read-only, masked or
        # not there at all must stay so.
        _refuse("mount", "umount", "umount2", "pivot_root"),
        _refuse("fsopen", "fsconfig", "fsmount", "fspick", "move_mount", "open_tree"),
        _refuse("open_tree_attr", "mount_setattr"),
        # New namespaces: a user namespace gives all capabilities in it, and with them the reach to
        # most of the kernel's holes of the last years; joining others leads out.
        _refuse("setns"),
        *(_when("unshare", 0, bit, bit) for bit in (*_NEW.values(), _NEWTIME)),
        *(_when("clone", _CLONE_FLAGS, bit, bit) for bit in _NEW.values()),
        # The flags of clone3 lie in memory, where no filter can look.  C libraries take this error
        # for an older kernel, and use clone.
        _refuse("clone3", error=errno.ENOSYS),
        # Code for the kernel, or another kernel.
        _refuse("init_module", "finit_module", "delete_module"),
        _refuse("kexec_load", "kexec_file_load"),
        # Programs inside the kernel, and its counters, which tell of every process.
        _refuse("bpf", "perf_event_open"),
        _refuse("lookup_dcookie"),  # for a profiler of the whole machine
        # The kernel's log, which tells of others; /proc/kmsg is hidden too.
        _refuse("syslog"),
        # Keys belong to a user id or a session of the host, not to a namespace.
        _refuse("add_key", "keyctl", "request_key"),
        # The machine as a whole: its running, its swap, its clock, its accounting and quotas.
        _refuse("reboot", "swapon", "swapoff"),
        _refuse("settimeofday", "stime", "clock_settime", "clock_settime64"),
        _refuse("adjtimex", "clock_adjtime", "clock_adjtime64"),
        _refuse("acct", "quotactl", "quotactl_fd"),
        # The memory of another process in one call, which nobody can see.  A debugger does without.
        _refuse("process_vm_readv", "process_vm_writev"),
        # Stops the kernel in the middle of a copy, for as long as one likes: what wins its races.
        _refuse("userfaultfd"),
        # Opens a file by its number, past the directories above it: out of the rootfs.
        _refuse("open_by_handle_at"),
        # The ports of the machine, and its 16-bit mode.
        _refuse("iopl", "ioperm", "vm86", "vm86old"),
        # Calls of its own kind, which no filter judges one by one.
        _refuse("io_uring_setup", "io_uring_enter", "io_uring_register"),
        # Input typed into a terminal that is shared with the shell outside, which would run it.
        # The kernel looks at the lower half of the argument alone.
        _when("ioctl", 1, _32_BITS, termios.TIOCSTI),
        _when("ioctl", 1, _32_BITS, termios.TIOCLINUX),
        # Sockets to the hypervisor: a network namespace does not hold them back.
        _when("socket", 0, _32_BITS, _AF_VSOCK),
        # Ways of old systems, which switch protections of memory off.
        *_personalities(),
    ],
}
