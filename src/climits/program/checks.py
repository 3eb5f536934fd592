"""The exceptions that a caller of subprocess expects.

Apart, and imported only when one is raised or named: subprocess costs 9 ms of start-up.
"""

import subprocess

from ..errors import ClimitsError, OutOfMemoryError
from ..records import Result
from ..units import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _WithResult:
    """What both have beside subprocess' attributes: the result, or None while it still runs."""

    result: "Result | None"

    def __reduce__(self) -> "tuple[Any, ...]":
        return _rebuild, (type(self), self.args, self.__dict__)  # type: ignore[attr-defined]


def _rebuild(cls: "type[Any]", args: "tuple[Any, ...]", state: "dict[str, Any]") -> "Any":
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class CalledProcessError(_WithResult, ClimitsError, subprocess.CalledProcessError):
    """The program exited non-zero or died of a signal (``check=True``)."""

    def __init__(self, result: Result) -> None:
        Exception.__init__(self, result)
        self.result = result
        self.returncode = result.returncode or 0
        self.cmd = result.command
        self.output, self.stderr = result.stdout, result.stderr

    __str__ = subprocess.CalledProcessError.__str__


class TimeoutExpired(_WithResult, ClimitsError, subprocess.TimeoutExpired, TimeoutError):
    """The time was up; also a TimeoutError."""

    def __init__(self, command: list[str], timeout: float, result: "Result | None" = None) -> None:
        Exception.__init__(self, command, timeout)
        self.result = result
        self.cmd, self.timeout = command, timeout
        self.output = result.stdout if result else None
        self.stderr = result.stderr if result else None

    __str__ = subprocess.TimeoutExpired.__str__


class MemoryExceededError(OutOfMemoryError):
    """The program used more than its limit, and who polled killed it; the kernel did not."""

    @property
    def verdict(self) -> str:
        """How it ended."""
        return "memory-exceeded"


def raise_for(result: Result, timeout: "float | None") -> None:
    """Raise what `check=True` promises, if the result calls for it.

    Raises:
        OutOfMemoryError, TimeoutExpired, CalledProcessError: each with `result` on it.
    """
    if result.verdict == "memory-exceeded":
        over = MemoryExceededError(
            f"{result.command[0]} was killed beyond its limit of {format_size(result.memory_max)}, "
            "which was polled",
            path=result.command[0],
            value=result.memory_max,
            hint="give it more memory",
        )
        over.result = result
        raise over
    if result.verdict == "oom-killed":
        error = OutOfMemoryError(
            f"{result.command[0]} was OOM-killed at its limit of {format_size(result.memory_max)}",
            path=result.command[0],
            value=result.memory_max,
            hint="give it more memory",
        )
        error.result = result
        raise error
    if result.verdict == "timed-out":
        raise TimeoutExpired(result.command, timeout or 0.0, result)
    if result.returncode:
        raise CalledProcessError(result)
