"""Plan fragments: joining the namespaces of a process that runs.

Source: setns(2) (a pidfd since 5.8), ioctl_ns(2).
"""

import os

from .namespaces import NAMESPACES, flags_of
from .plan import Plan

_NS_GET_PARENT = 0xB702


def different(pid: int) -> list[str]:
    """Names of the namespaces in which a process is not with us.

    Raises:
        OSError: there is no such process, or no right to look.
    """
    return [
        name for name in NAMESPACES
        if os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")
    ]  # fmt: skip


def outer_user_namespace(pid: int) -> "int | None":
    """A descriptor of the user namespace around a process's own, where that is not ours.

    An ordinary user's container has two: see climits.program.inside.
    """
    import fcntl

    own = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    try:
        parent = fcntl.ioctl(own, _NS_GET_PARENT)
    except OSError:
        return None  # it is ours, or one that we may not see
    finally:
        os.close(own)
    if os.fstat(parent).st_ino == os.stat("/proc/self/ns/user").st_ino:
        os.close(parent)
        return None
    return parent


def join(plan: Plan, pidfd: int, names: "list[str]") -> None:
    """Add the steps: the user namespace last, since the others ask for rights outside of it."""
    others = [name for name in names if name not in ("user", "pid")]
    if others:
        plan.call("setns", pidfd, flags_of(others), purpose="join the container")
    if "user" in names:
        plan.call("setns", pidfd, flags_of(("user",)), purpose="join its user namespace")


def join_user_namespace(plan: Plan, fd: int) -> None:
    """Add the step: join the user namespace behind a descriptor, with all capabilities in it."""
    plan.call("setns", fd, flags_of(("user",)), purpose="join the user namespace")
