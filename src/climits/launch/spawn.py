"""Run a plan: the only way a process is started."""

import errno

from ._spawn import signalfd as signalfd
from ._spawn import spawn as _spawn
from .plan import Plan

# clone3 may be missing (before 5.3), too old for CLONE_INTO_CGROUP (before 5.7: E2BIG or EINVAL),
# or refused by a seccomp filter (ENOSYS in Docker's, EPERM in others').  ECANCELED is _spawn's own:
# the child was killed at birth.
_NO_CLONE3 = (errno.ENOSYS, errno.EINVAL, errno.E2BIG, errno.EPERM, errno.ECANCELED)


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
        from .failures import explain  # texts that only a failure needs

        raise explain(plan, e) from None


def _run(plan: Plan) -> tuple[int, int]:
    return _spawn(
        tuple(plan.calls),
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
    other.clone_flags, other.sigmask, other.root = plan.clone_flags, plan.sigmask, plan.root
    other.command = plan.command
    assert plan.cgroup is not None
    other.join_cgroup(plan.cgroup, "cgroup.procs")
    shift = len(other.calls)
    for step in plan.steps:
        args = tuple((a[0] + shift,) if isinstance(a, tuple) else a for a in step.args)
        other.call(step.call, *args, purpose=step.purpose, expect=step.expect)
    return other
