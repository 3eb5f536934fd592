"""Become another program: an exec with no child, for commands that only prepare one's place."""

import _signal  # `signal` wraps it in enums, at 2.5 ms
import errno
import os

from .plan import Plan, candidates

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

#: What Python ignores for its own sake; an ignored signal stays so across an exec.
_IGNORED = (_signal.SIGPIPE, _signal.SIGXFSZ)


def replace(argv: "Sequence[str]", env: "Mapping[str, str] | None" = None) -> "NoReturn":
    """Replace this process by a program, which keeps its pid, cgroups and open standard files.

    What was written to sys.stdout must have been flushed before.

    Args:
        argv: the program, looked up in PATH as execvp does, and its arguments; not empty.
        env: its environment; None is ours.

    Raises:
        CommandNotFoundError, CommandNotExecutableError: see the hint.
        LaunchError: another refusal of the kernel.
    """
    environment = os.environ if env is None else env
    plan = Plan(
        [os.fsencode(word) for word in argv],
        [os.fsencode(f"{name}={value}") for name, value in environment.items()],
        candidates(argv[0], environment.get("PATH")) if argv[0] else (),
    )
    before = [_signal.signal(number, _signal.SIG_DFL) for number in _IGNORED]
    error = _try_each(plan, environment)
    for number, handler in zip(_IGNORED, before, strict=True):
        _signal.signal(number, handler)
    from .failures import explain  # texts that only a failure needs

    error.step = len(plan.calls)  # type: ignore[attr-defined]
    raise explain(plan, error) from None


def _try_each(plan: Plan, environment: "Mapping[str, str]") -> OSError:
    """Exec the first file that can be; what is returned is why none could."""
    failure = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for path in plan.paths:
        try:
            os.execve(path, plan.argv, environment)
        except OSError as e:
            # As execvp: a file without the right to execute it tells more than one not there.
            if e.errno == errno.EACCES:
                failure = e
            elif e.errno not in (errno.ENOENT, errno.ENOTDIR):
                return e
            elif failure.errno == errno.ENOENT:
                failure = e
    return failure
