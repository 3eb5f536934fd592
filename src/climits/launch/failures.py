"""Why a program did not start, in words."""

import errno
import os

from ..errors import CommandNotExecutableError, CommandNotFoundError, LaunchError
from .plan import NamedFd, Plan

_TOO_MANY = "a limit on the number of processes was reached (ulimit -u, pids.max)"
_OF_IDS = ("setgroups", "setresgid", "setresuid")


def explain(plan: Plan, e: OSError) -> LaunchError:
    """The exception for a failed step, with what to do about it.

    Args:
        plan: that was run.
        e: as `_spawn` raises it, with the number of the step.
    """
    step: int = e.step  # type: ignore[attr-defined]
    command = plan.command
    number = e.errno or 0
    cause = os.strerror(number).lower()
    if step == len(plan.steps):
        return _explain_exec(plan, command, number, cause)
    hint = None
    if step < 0:
        purpose = "clone"
        if number == errno.EAGAIN:
            hint = _TOO_MANY
    else:
        purpose = plan.steps[step].purpose
        target = plan.steps[step].args[0] if plan.steps[step].args else None
        if isinstance(target, tuple):  # what an earlier step has opened
            target = plan.steps[target[0]].args[0]
        if isinstance(target, NamedFd):
            purpose += f" {target.of}"
        if purpose == "die with climits":
            cause = "climits was killed meanwhile"
        if plan.steps[step].call == "chdir" and number in (errno.ENOENT, errno.ENOTDIR):
            hint = "name a directory that exists"
        if number in (errno.EPERM, errno.EACCES):
            hint = "this needs root, or the capability for it"
        if plan.steps[step].call == "openat2" and plan.root:
            if number == errno.ENOENT:
                hint = f"{plan.root} has no such place: make it, or lay an overlay over it"
            if number == errno.ELOOP:
                cause, hint = "a link is in the way", f"remove it from {plan.root}"
        if plan.steps[step].call in _OF_IDS and number == errno.EINVAL:
            hint = "its user namespace has no such id; /etc/subuid and /etc/subgid give a user more"
    return LaunchError(
        f"cannot start {command}: {purpose}: {cause}", path=command, errno=number, hint=hint
    )


def _explain_exec(plan: Plan, command: str, number: int, cause: str) -> LaunchError:
    text = f"cannot start {command}: {cause}"
    if number == errno.EAGAIN:
        return LaunchError(text, path=command, errno=number, hint=_TOO_MANY)
    if os.fsencode(command) != plan.argv[0]:
        text = f"cannot start {command}: process 1 of climits: {cause}"
        return LaunchError(text, path=command, errno=number)
    if number == errno.ENOENT or number == errno.ENOTDIR:
        root = os.fsencode(plan.root)
        file = next((root + path for path in plan.paths if os.path.lexists(root + path)), None)
        if file is not None:
            interpreter = _interpreter(file, root)
            if interpreter:
                return CommandNotExecutableError(
                    f"cannot start {command}: no such interpreter: {interpreter}",
                    path=command,
                    errno=number,
                    hint="install it, or correct the first line of the script",
                )
            if os.path.exists(file):
                return CommandNotExecutableError(
                    f"cannot start {command}: its dynamic loader is not there",
                    path=command,
                    errno=number,
                    hint="it was built for another system or C library",
                )
        hint = "check the spelling and PATH"
        if "/" in command:
            hint = "check the path; it is looked up in the working directory"
        if root:
            hint = f"it is looked up in the rootfs {plan.root}"
        return CommandNotFoundError(
            f"cannot start {command}: command not found", path=command, errno=number, hint=hint
        )
    if number == errno.EACCES:
        hint = "chmod +x it, and check that its file system is not mounted noexec"
        if any(os.path.isdir(path) for path in plan.paths):
            text, hint = f"cannot start {command}: it is a directory", "name the program inside it"
        return CommandNotExecutableError(text, path=command, errno=number, hint=hint)
    if number == errno.ENOEXEC:
        return CommandNotExecutableError(
            f"cannot start {command}: neither a binary for this machine nor a #! script",
            path=command,
            errno=number,
            hint="for a script, write its interpreter in the first line: #!/bin/sh",
        )
    return LaunchError(text, path=command, errno=number)


def _interpreter(file: bytes, root: bytes) -> "str | None":
    """The interpreter of a script's first line, if it names one that is not there."""
    try:
        with open(file, "rb") as script:
            line = script.read(256).partition(b"\n")[0]
    except OSError:
        return None
    name = line[2:].strip(b" \t").replace(b"\t", b" ").partition(b" ")[0]
    if line[:2] == b"#!" and name and not os.path.exists(root + name):
        # A carriage return before the newline is the usual reason: show it.
        return repr(os.fsdecode(name))[1:-1]
    return None
