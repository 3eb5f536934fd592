"""A seccomp filter, which system calls are refused, as a step of a plan.

Source: seccomp(2), include/uapi/linux/{prctl,seccomp,filter}.h.
"""

import struct

from ._spawn import address
from .plan import Plan

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_INSTRUCTION = 8  # bytes of a struct sock_filter


class _Program(bytes):
    """A struct sock_fprog, and with it the filter that it points to."""

    filter: bytes

    def __new__(cls, program: bytes) -> "_Program":
        """Point to the filter, and keep it."""
        head = struct.pack("HP", len(program) // _INSTRUCTION, address(program))
        self = super().__new__(cls, head)
        self.filter = program
        return self


def filter_calls(plan: Plan, program: bytes) -> None:
    """Have every system call from here on judged by a filter, for good: children inherit it.

    The kernel wants no_new_privs before, or CAP_SYS_ADMIN in the user namespace that one is in.

    Args:
        plan: every later step of it, and the exec, must be allowed by the filter.
        program: BPF instructions, at least one.
    """
    plan.call(
        "prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _Program(program), 0, 0,
        purpose="set the seccomp filter",
    )  # fmt: skip
