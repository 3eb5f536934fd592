"""Capabilities: their names, and giving them up as steps of a plan.

Source: capabilities(7), include/uapi/linux/{capability,prctl}.h.
"""

import struct

from ..errors import InvalidValueError
from .plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# By number.
NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip

_PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 47, 4
_PR_CAP_AMBIENT_RAISE = 2
_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP = 28, 4
_PR_SET_NO_NEW_PRIVS = 38
_VERSION_3 = 0x2008_0522


def parse(names: "Iterable[str]") -> frozenset[str]:
    """Read names such as CHOWN, cap_chown or ALL.

    Raises:
        InvalidValueError: no such capability; the hint has the nearest.
    """
    found: set[str] = set()
    for given in names:
        name = given.upper().removeprefix("CAP_")
        if name == "ALL":
            found.update(NAMES)
        elif name in NAMES:
            found.add(name)
        else:
            import difflib

            close = difflib.get_close_matches(name, NAMES, 1)
            raise InvalidValueError(
                f"no such capability: {given}",
                value=given,
                hint=f"did you mean {close[0]}?" if close else "see capabilities(7)",
            )
    return frozenset(found)


def in_mask(mask: int) -> frozenset[str]:
    """The names of those in a mask, as /proc/PID/status has it."""
    return frozenset(name for number, name in enumerate(NAMES) if mask >> number & 1)


def last() -> int:
    """The highest number that this kernel knows."""
    try:
        with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
            return int(file.read())
    except OSError:
        return len(NAMES) - 1


def outlive_user(plan: Plan) -> None:
    """Keep capabilities when the user changes, until `keep_only`: it could not work without."""
    plan.call(
        "prctl", _PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0,
        purpose="prepare for another user",
    )  # fmt: skip


def keep_only(plan: Plan, names: "Iterable[str]", ambient: "Iterable[str]" = ()) -> None:
    """Give up every capability but some, for good: a program can never gain the others.

    A program of another user than root has none of them after its exec, as the kernel has it, but
    those in `ambient`.
    """
    kept = {NAMES.index(name) for name in names}
    raised = [NAMES.index(name) for name in ambient]
    purpose = "give up capabilities"
    for number in range(last() + 1):
        if number not in kept:
            plan.call("prctl", _PR_CAPBSET_DROP, number, 0, 0, 0, purpose=purpose)
    plan.call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, purpose=purpose)
    plan.call("prctl", _PR_SET_SECUREBITS, 0, 0, 0, 0, purpose=purpose)
    mask, inherited = sum(1 << n for n in kept), sum(1 << n for n in raised)
    header = struct.pack("II", _VERSION_3, 0)
    sets = [(m & 0xFFFF_FFFF, m >> 32) for m in (mask, mask, inherited)]
    data = struct.pack("6I", *(low for low, _ in sets), *(high for _, high in sets))
    plan.call("capset", header, data, purpose=purpose)
    for number in raised:
        plan.call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0, purpose=purpose)


def no_new_privileges(plan: Plan) -> None:
    """Let no setuid file and no file capability give more than what is there."""
    plan.call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, purpose="set no_new_privs")
