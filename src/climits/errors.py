"""Every exception that climits raises.

::

    ClimitsError
    +-- InvalidValueError    (ValueError)         text from a person that means nothing, or too much
    +-- UnsupportedError     (NotImplementedError) this host cannot do what was asked for
    +-- CgroupError          (OSError)            the kernel refused a cgroup operation
    |   +-- CgroupGoneError  (FileNotFoundError)  the cgroup was removed under us
    |   +-- CgroupExistsError (FileExistsError)   the name is in use
    |   +-- CgroupPermissionError (PermissionError) no right to make or change the cgroup
    |   +-- CgroupTimeoutError (TimeoutError)     its processes did not stop or die in time
    |   +-- LimitTooLowError                      the limit is below what is in use
    +-- LaunchError          (OSError)            the program could not be started
    |   +-- CommandNotFoundError (FileNotFoundError)
    |   +-- CommandNotExecutableError (PermissionError)
    +-- OutOfMemoryError     (MemoryError)        the program or task was OOM-killed
    +-- WorkerDiedError      (RuntimeError)       a pool's worker died while it ran a task
    +-- TaskTimeoutError     (TimeoutError)       a task of a pool ran for too long

``TimeoutExpired`` and ``CalledProcessError`` are children of subprocess' exceptions of the same
names and live in :mod:`climits.program.checks`, which is imported when one of them is needed:
subprocess costs a third of a run.

The text of each is one line, lower case: *what failed: object: cause*.  What to do about it is in
the attribute ``hint``.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .records import Result


class ClimitsError(Exception):
    """The root.  All attributes but the text may be None.

    Attributes:
        path: the file, cgroup or command concerned.
        value: what was to be written or was given.
        errno: the kernel's error number.
        hint: one sentence: what to do.
    """

    path: str | None = None
    value: object = None
    errno: int | None = None
    hint: str | None = None

    def __init__(
        self,
        text: str,
        *,
        path: str | None = None,
        value: object = None,
        errno: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.path, self.value, self.errno, self.hint = path, value, errno, hint

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> "tuple[Any, ...]":
        return _rebuild, (type(self), self.text, dict(self.__dict__), self.errno)


def _rebuild(
    cls: type[ClimitsError], text: str, state: dict[str, object], errno: int | None
) -> ClimitsError:
    error = cls(text)
    error.__dict__.update(state)
    error.errno = errno  # of an OSError this is a slot, not part of __dict__
    return error


class InvalidValueError(ClimitsError, ValueError):
    """Text or a number from a person that means nothing, or more than the kernel can hold."""


class UnsupportedError(ClimitsError, NotImplementedError):
    """This host cannot do what was asked for; never ignored silently."""


class CgroupError(ClimitsError, OSError):
    """The kernel refused an operation on a cgroup."""


class CgroupGoneError(CgroupError, FileNotFoundError):
    """The cgroup was removed while we held it."""


class CgroupExistsError(CgroupError, FileExistsError):
    """A cgroup of that name exists and is not ours to use."""


class CgroupPermissionError(CgroupError, PermissionError):
    """No right to make, change or enter the cgroup."""


class CgroupTimeoutError(CgroupError, TimeoutError):
    """The processes of a cgroup did not stop, or die, in time."""


class LimitTooLowError(CgroupError):
    """The limit asked for is below what is in use and cannot be reclaimed."""


class LaunchError(ClimitsError, OSError):
    """The program could not be started; the text names the step that failed."""


class CommandNotFoundError(LaunchError, FileNotFoundError):
    """There is no such command."""


class CommandNotExecutableError(LaunchError, PermissionError):
    """The command is there but cannot be executed."""


class OutOfMemoryError(ClimitsError, MemoryError):
    """The program, or the worker that ran a task, was killed by the kernel's OOM killer.

    Attributes:
        result: the :class:`~climits.records.Result`, with the verdict and its evidence.
        task: name of the function, for a task of a pool.
        limit, peak: bytes; None where they are not known.
        verdict: oom-killed.
    """

    result: "Result | None" = None
    task: "str | None" = None

    @property
    def limit(self) -> "int | float | None":
        """The limit that it ran into, bytes."""
        return self.result.memory_max if self.result else None

    @property
    def peak(self) -> "int | None":
        """The highest use, bytes."""
        return self.result.memory_peak if self.result else None

    @property
    def verdict(self) -> str:
        """How it ended."""
        return "oom-killed"


class WorkerDiedError(ClimitsError, RuntimeError):
    """The worker that ran a task died, and not for want of memory.

    Attributes:
        result: of the worker, with the verdict and its evidence.
        task: name of the function.
    """

    result: "Result | None" = None
    task: "str | None" = None


class TaskTimeoutError(ClimitsError, TimeoutError):
    """A task of a pool ran for longer than it may; its worker was killed.

    Attributes:
        result: of the worker, with the verdict and its evidence.
        task: name of the function.
    """

    result: "Result | None" = None
    task: "str | None" = None
