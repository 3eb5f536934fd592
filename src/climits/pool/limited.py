"""One function under a limit: called as ever, run in a worker of its own."""

import threading

from .executor import ProcessPoolExecutor
from .work import Wrapper, task_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..cgroup.limits import Size


class Limited(Wrapper):
    """Calling it calls the function in a worker, and returns what that returns or raises."""

    def __init__(self, function: "Callable[..., Any]", options: "dict[str, Any]") -> None:
        super().__init__(function, options)
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None

    def __call__(self, *args: "Any", **kwargs: "Any") -> "Any":
        """Run it in a worker."""
        with self._lock:
            if self._pool is None or self._pool.forked:
                self._pool = ProcessPoolExecutor(memory=self.options["memory"])
            pool = self._pool
        return pool.submit(self, *args, **kwargs).result()

    def shutdown(self) -> None:
        """End its workers; the next call starts one anew."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool and not pool.forked:
            pool.shutdown()


def limited(
    function: "Callable[..., Any] | None" = None,
    /,
    *,
    memory: "Size" = "1G",
    timeout: "float | None" = None,
    retry_memory: "Sequence[Size]" = (),
) -> "Any":
    """Make a function run in a process of its own, under a limit.

    The worker is kept for the next call; calls from several threads run side by side, one worker
    for each CPU at most.

    Args:
        function: what to call; None returns a decorator.
        memory: its limit.
        timeout: seconds that a call may take.
        retry_memory: limits for further attempts, each after the one before ran out of memory.

    Raises:
        InvalidValueError: a size or time that means nothing, or limits that do not grow.
        OutOfMemoryError, TaskTimeoutError, WorkerDiedError: from a call.
    """
    options = task_options(memory, timeout, retry_memory)
    if function is None:
        return lambda function: Limited(function, options)
    return Limited(function, options)
