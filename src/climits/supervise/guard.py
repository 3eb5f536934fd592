"""A guard that outlives the supervisor by as long as it takes to end what it left.

The kernel kills each program when the supervisor dies (PR_SET_PDEATHSIG), but not what the program
has started.  The guard is a shell that waits at a pipe whose other end only the supervisor holds;
when that closes without a word it becomes ``climits gc``, which kills what is left in the cgroups
of a dead owner and removes them.
"""

import os
import sys

from ..launch.plan import Plan
from ..launch.spawn import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SHELL = "/bin/sh"
# `read` fails at the end of the pipe; a line is our word that nothing is left to do.
_SCRIPT = 'read word || exec "$@"'


class Guard:
    """One guard.

    Attributes:
        pidfd: readable when it has ended.
    """

    def __init__(self, parents: "Iterable[str]", sigmask: int) -> None:
        """Start it.

        Args:
            parents: of the cgroups that it is to look after.
            sigmask: the signal mask it is to have; see Plan.

        Raises:
            LaunchError: there is no shell.
        """
        words = [sys.executable, "-m", "climits", "gc", "--quiet"]
        for parent in parents:
            words += ["--parent", parent]
        argv = [os.fsencode(w) for w in (_SHELL, "-c", _SCRIPT, "climits-guard", *words)]
        waits, self._word = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        try:
            plan = Plan(argv, _environment(), [os.fsencode(_SHELL)])
            plan.sigmask = sigmask
            plan.call("setsid", purpose="start a session")  # the terminal's signals are not for it
            plan.stdio(waits, null, null)
            plan.close_others(())
            plan.chdir("/")
            self.pid, self.pidfd = spawn(plan)
        except BaseException:
            os.close(self._word)
            raise
        finally:
            os.close(waits)
            os.close(null)

    def dismiss(self) -> None:
        """Nothing is left to guard: let it go, and wait until it has."""
        try:
            os.write(self._word, b"done\n")
        except OSError:
            pass  # it was killed before us
        os.close(self._word)
        try:
            os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        except ChildProcessError:
            pass
        os.close(self.pidfd)


def _environment() -> list[bytes]:
    return [k + b"=" + v for k, v in os.environb.items()]
