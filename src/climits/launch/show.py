"""A plan as text, for ``climits run --explain``."""

import os

from .plan import ANY_RESULT, Plan, Step


def describe(plan: Plan) -> list[str]:
    """One line a step: the clone, the calls by number, the execve for each file to try."""
    flags = "CLONE_VM|CLONE_VFORK|CLONE_PIDFD"
    lines = [f"clone({flags})"]
    if plan.cgroup is not None:
        lines = [f"clone3({flags}|CLONE_INTO_CGROUP, cgroup={plan.cgroup!r})"]
    width = len(str(len(plan.steps)))
    lines += [f"${i:<{width}} {describe_step(step)}" for i, step in enumerate(plan.steps)]
    argv = ", ".join(_show(arg) for arg in plan.argv)
    for path in plan.paths:
        lines.append(f"execve({_show(path)}, [{argv}], {len(plan.envp)} variables)")
    return lines


def describe_step(step: Step) -> str:
    """The call as strace would write it; ``$3`` is the result of step 3."""
    args = ", ".join(f"${a[0]}" if isinstance(a, tuple) else _show(a) for a in step.args)
    checked = step.expect is not None and step.expect != ANY_RESULT
    return f"{step.call}({args})" + (f" == {step.expect}" if checked else "")


def _show(arg: "int | bytes | None") -> str:
    if arg is None:
        return "NULL"
    if isinstance(arg, bytes):
        # As a string literal would show it: nothing in it reaches the terminal as a command.
        return '"' + repr(os.fsdecode(arg))[1:-1].replace('"', '\\"') + '"'
    return repr(arg)
