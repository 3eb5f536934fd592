"""Run a plan: the only way a process is started."""

import errno
import os

from ..errors import CommandNotExecutableError, CommandNotFoundError, LaunchError
from ._spawn import signalfd as signalfd
from ._spawn import spawn as _spawn
from .plan import NamedFd, Plan

# clone3 may be missing (before 5.3), too old for CLONE_INTO_CGROUP (before 5.7: E2BIG or EINVAL),
# or refused by a seccomp filter (ENOSYS in Docker's, EPERM in others').
_NO_CLONE3 = (errno.ENOSYS, errno.EINVAL, errno.E2BIG, errno.EPERM)


def spawn(plan: Plan) -> tuple[int, int]:
    """Start the program of a plan.

    Blocks until the program runs or a step has failed.  Signals of this thread wait meanwhile;
    the GIL is released.

    Returns:
        (pid, pidfd).  The pidfd is close-on-exec.

    Raises:
        CommandNotFoundError, CommandNotExecutableError: see the hint.
        LaunchError: another step failed; the text names it.
    """
    try:
        return _run(plan)
    except OSError as e:
        if e.step == -1 and plan.cgroup is not None and e.errno in _NO_CLONE3:  # type: ignore[attr-defined]
            plan = _without_clone3(plan)
            try:
                return _run(plan)
            except OSError as again:
                e = again
        raise _explain(plan, e) from None


def _run(plan: Plan) -> tuple[int, int]:
    return _spawn(
        plan.table(),
        plan.paths,
        plan.argv,
        plan.envp,
        plan.clone_flags,
        -1 if plan.cgroup is None else plan.cgroup,
        plan.sigmask,
    )


def _without_clone3(plan: Plan) -> Plan:
    """The same, but the child moves itself into the v2 cgroup as its first steps."""
    other = Plan(plan.argv, plan.envp, plan.paths)
    other.clone_flags, other.sigmask = plan.clone_flags, plan.sigmask
    assert plan.cgroup is not None
    other.join_cgroup(plan.cgroup, "cgroup.procs")
    shift = len(other.steps)
    for step in plan.steps:
        args = tuple((a[0] + shift,) if isinstance(a, tuple) else a for a in step.args)
        other.call(step.call, *args, purpose=step.purpose, expect=step.expect)
    return other


def _explain(plan: Plan, e: OSError) -> LaunchError:
    step: int = e.step  # type: ignore[attr-defined]
    command = os.fsdecode(plan.argv[0])
    number = e.errno or 0
    cause = os.strerror(number).lower()
    if step == len(plan.steps):
        return _explain_exec(plan, command, number, cause)
    hint = None
    if step < 0:
        purpose = "clone"
        if number == errno.EAGAIN:
            hint = "a limit on the number of processes was reached (ulimit -u, pids.max)"
    else:
        purpose = plan.steps[step].purpose
        target = plan.steps[step].args[:1]
        if target and isinstance(target[0], NamedFd):
            purpose += f" {target[0].of}"
        if purpose == "die with climits":
            cause = "climits was killed meanwhile"
        if number in (errno.EPERM, errno.EACCES):
            hint = "this needs root, or the capability for it"
    return LaunchError(
        f"cannot start {command}: {purpose}: {cause}", path=command, errno=number, hint=hint
    )


def _explain_exec(plan: Plan, command: str, number: int, cause: str) -> LaunchError:
    text = f"cannot start {command}: {cause}"
    if number == errno.ENOENT or number == errno.ENOTDIR:
        file = next((path for path in plan.paths if os.path.lexists(path)), None)
        if file is not None:
            interpreter = _interpreter(file)
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


def _interpreter(file: bytes) -> "str | None":
    """The interpreter of a script's first line, if it names one that is not there."""
    try:
        with open(file, "rb") as script:
            line = script.read(256).partition(b"\n")[0]
    except OSError:
        return None
    name = line[2:].strip(b" \t").replace(b"\t", b" ").partition(b" ")[0]
    if line[:2] == b"#!" and name and not os.path.exists(name):
        # A carriage return before the newline is the usual reason: show it.
        return repr(os.fsdecode(name))[1:-1]
    return None
