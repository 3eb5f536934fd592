"""What a future raises that did not end well."""

from concurrent.futures import BrokenExecutor

from ..errors import ClimitsError, OutOfMemoryError, TaskTimeoutError, WorkerDiedError
from ..program.verdict import signal_name
from ..units import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..records import Result
    from .channel import Worker
    from .work import Work


class BrokenPoolError(ClimitsError, BrokenExecutor):
    """The workers cannot be started, or the initializer fails: nothing can be done any more."""


class RemoteTraceback(Exception):
    """The traceback of an error in a worker, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}\n"""'


def with_cause(error: BaseException, text: str) -> BaseException:
    """Give an error the traceback that it had where it was raised."""
    if text:
        error.__cause__ = RemoteTraceback(text)
    return error


def broken(text: str, cause: "BaseException | None" = None) -> BrokenPoolError:
    """Nothing can be done any more, because of that."""
    error = BrokenPoolError(f"the pool is broken: {text}", hint=getattr(cause, "hint", None))
    error.__cause__ = cause
    return error


def cannot_start(worker: "Worker", result: "Result") -> ClimitsError:
    """Why workers with that limit die before they are ready."""
    limit = format_size(worker.memory)
    if result.verdict != "oom-killed":
        return WorkerDiedError(f"workers die before they are ready: the last {_how(result)}")
    why = OutOfMemoryError(
        f"workers run out of memory before they are ready, at their limit of {limit}",
        hint=f"is {limit} enough to start Python and the initializer?",
    )
    why.result = result
    return why


def out_of_memory(
    work: "Work", worker: "Worker", result: "Result | None", why: "BaseException | None"
) -> OutOfMemoryError:
    """The task's.

    Args:
        work: the task.
        worker: which ran it.
        result: how the worker ended; None: it lives, and a process was killed beside it.
        why: what the task raised then.
    """
    name = work.call.name
    whose = f"{name} ran" if result else f"a process that {name} had started ran"
    error = OutOfMemoryError(
        f"{whose} out of memory at its limit of {format_size(worker.memory)}",
        hint="give it more with climits.task(memory=...) or retry_memory",
    )
    error.task, error.result = name, result
    error.__cause__ = why
    return error


def death(work: "Work", worker: "Worker", result: "Result") -> ClimitsError:
    """The task's whose worker died, and not for want of memory."""
    error: Any
    name = work.call.name
    if worker.timed_out:
        error = TaskTimeoutError(f"{name} ran for more than {work.call.timeout:g}s")
    else:
        error = WorkerDiedError(f"the worker that ran {name} {_how(result)}")
    error.task, error.result = name, result
    died: ClimitsError = error
    return died


def _how(result: "Result") -> str:
    if not result.signal:
        return f"exited with status {result.returncode}"
    return f"was killed by {signal_name(result.signal)}"
