"""`climits.dask.Executor`: functions on a Dask cluster, each under a limit on its host."""

import queue
import threading
from concurrent.futures import Executor as _Executor
from functools import partial
from itertools import chain, islice

from ..errors import ClimitsError, InvalidValueError, OutOfMemoryError, WorkerDiedError
from ..pool.failures import RemoteTraceback
from ..pool.work import Future as _Future
from ..pool.work import Wrapper, name_of, over, pack_call, task_options
from .dask_call import call_each, frames_of, load
from .dask_cluster import LOST, Cluster, error_of, pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, Unpack

    from ..cgroup.limits import Size
    from ..pool.executor import WorkerLimits
    from .dask_call import Frames
    from .dask_cluster import Task
    from .dask_worker import Answer


class Future(_Future):
    """As that of climits.ProcessPoolExecutor; but where it runs, only the cluster knows.

    `running()` is false until it is done.  `cancel()` ends it even while it runs.  The verdict may
    also be worker-lost: the hosts that ran it died.
    """

    def __init__(self, work: "_Work", cancel: "Callable[[_Work], bool]") -> None:
        super().__init__()
        self._work, self._cancel = work, cancel

    def cancel(self) -> bool:
        """Give it up, and have what runs of it killed.

        Returns:
            False when it has ended already.
        """
        return self._cancel(self._work)


class Executor(_Executor):
    """concurrent.futures' interface over a Dask cluster, with a memory limit around each task.

    Each task claims its limit of the memory that the workers offer, so Dask's scheduler starts as
    many as fit.  On the host where it runs it has a process and a cgroup of its own: what runs out
    of memory is that task, and not the Dask worker.
    """

    def __init__(
        self,
        client: "Any",
        memory: "Size" = "1G",
        *,
        timeout: "float | None" = None,
        retry_memory: "Sequence[Size]" = (),
        **limits: "Unpack[WorkerLimits]",
    ) -> None:
        """Look at the cluster; nothing is started.

        Args:
            client: a distributed.Client; it is not closed by us.
            memory: limit of each task.
            timeout: seconds that a task may run on its host; waiting for a place is not counted.
            retry_memory: limits for further attempts of a task that ran out of memory.
            limits: swap, high, pids, cpus, cpuset of each task.

        Raises:
            InvalidValueError: a value that means nothing, or more than any worker has.
            UnsupportedError: the workers do not say how much memory they have, lack this version of
                climits, or cannot limit memory.
            ClimitsError: the scheduler is gone.
        """
        for size in (memory, *([retry_memory] if isinstance(retry_memory, str) else retry_memory)):
            if isinstance(size, str) and size.strip().endswith("%"):
                raise InvalidValueError(
                    f"memory: {size}: hosts differ", value=size, hint="write a size, like 2G"
                )
        self._options = task_options(memory, timeout, retry_memory)
        self._limits = {key: value for key, value in limits.items() if value is not None}
        self._cluster = Cluster(client)
        self._check(self._options)
        self._lock = threading.Lock()
        self._works: set[_Work] = set()
        self._shut = False
        self._heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._hear, name="climits-dask", daemon=True)
        self._thread.start()

    def _check(self, options: "dict[str, Any]") -> None:
        self._cluster.check_fits((options["memory"], *options.get("retry_memory", ())))

    # -- concurrent.futures' interface ---------------------------------------------------------

    def submit(self, fn: "Callable[..., Any]", /, *args: "Any", **kwargs: "Any") -> Future:
        """Have a function called on the cluster.

        Args:
            fn: the function, or one that `climits.task` has given limits of its own.  What it is
                defined in must be there on the hosts too, but for the main module.
            args, kwargs: for it; they go through the scheduler.

        Raises:
            InvalidValueError: it cannot be sent there, or its limit fits no worker.
            ClimitsError: the scheduler is gone.
            RuntimeError: after shutdown.
        """
        name = name_of(fn)
        called, options = over(fn, self._options)
        if options is not self._options:
            self._check(options)
        frames = frames_of(pack_call((called, args, kwargs), name, elsewhere=True))
        work = _Work(self._cancel, frames, name, options)
        with self._lock:
            if self._shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._works.add(work)
        try:
            self._send(work)
        except BaseException:
            self._forget(work)
            raise
        return work.future

    def map(
        self,
        fn: "Callable[..., Any]",
        *iterables: "Iterable[Any]",
        timeout: "float | None" = None,
        chunksize: int = 1,
    ) -> "Iterator[Any]":
        """As the builtin, on the cluster; results come in order.

        Args:
            fn: called with one item of each iterable.
            iterables: are read to their end at once.
            timeout: seconds from now to the last result.
            chunksize: items that make one task, for its limits too.

        Raises:
            TimeoutError: from the iterator, when a result is not there in time.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout)
        rows = zip(*iterables, strict=False)
        chunks = iter(lambda: list(islice(rows, chunksize)), [])
        each: Any = partial(call_each, fn.sent if isinstance(fn, Wrapper) else fn)
        each.__qualname__ = name_of(fn)
        if isinstance(fn, Wrapper):
            each = Wrapper(each, fn.options)
        return chain.from_iterable(super().map(each, chunks, timeout=timeout))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more.

        Args:
            wait: until all is done.
            cancel_futures: what is not done is cancelled, and ended where it runs.
        """
        with self._lock:
            self._shut = True
            works = list(self._works)
        if cancel_futures:
            for work in works:
                work.future.cancel()
        self._heard.put(None)
        if wait:
            self._thread.join()

    # -- on their way --------------------------------------------------------------------------

    def _send(self, work: "_Work") -> None:
        data = pack({
            "frames": work.frames, "name": work.name, "memory": work.memory,
            "timeout": work.timeout, "limits": self._limits,
        })  # fmt: skip
        work.future.attempts += 1
        work.future.memory_max = work.memory
        work.task = self._cluster.submit(
            data, int(work.memory), _for_dashboard(work.name),
            lambda answer, error: self._heard.put((work, answer, error)),
        )  # fmt: skip
        if work.future.cancelled():  # meanwhile
            self._cluster.cancel([work.task])

    def _cancel(self, work: "_Work") -> bool:
        future = work.future
        with self._lock:
            if future.cancelled():
                return True
            if not _Future.cancel(future):
                return False
            future.set_running_or_notify_cancel()
        if work.task is not None:
            self._cluster.cancel([work.task])
        self._forget(work)
        return True

    def _forget(self, work: "_Work") -> None:
        with self._lock:
            self._works.discard(work)
            last = self._shut and not self._works
        if last:
            self._heard.put(None)

    def _hear(self) -> None:
        """The thread: take what has come, so that Dask's own thread is never kept waiting."""
        while not (self._shut and not self._works):
            item = self._heard.get()
            if item is not None:
                work, answer, error = item
                try:
                    self._finish(work, answer, error)
                except BaseException as e:
                    self._fail(work, e)

    def _finish(self, work: "_Work", data: "bytes | None", error: "BaseException | None") -> None:
        if data is None:
            assert error is not None
            told = error_of(error, work.name, self._cluster.client)
            work.future.verdict = LOST if isinstance(told, WorkerDiedError) else "stopped"
            self._fail(work, told)
            return
        import pickle

        answer: Answer = pickle.loads(data)
        future = work.future
        future.memory_peak = answer.memory_peak
        if answer.memory_max is not None:
            future.memory_max = answer.memory_max
        if isinstance(answer.error, OutOfMemoryError) and work.ladder:
            if not future.cancelled():
                work.memory, work.ladder = work.ladder[0], work.ladder[1:]
                self._send(work)
            return
        future.verdict = answer.verdict or "stopped"
        if answer.error is not None:
            self._fail(work, _error(answer))
        elif answer.failed is not None:
            self._fail(work, _raised(answer.failed))
        else:
            assert answer.value is not None
            self._settle(work, load(answer.value), None)

    def _fail(self, work: "_Work", error: BaseException) -> None:
        self._settle(work, None, error)

    def _settle(self, work: "_Work", value: "Any", error: "BaseException | None") -> None:
        future = work.future
        with self._lock:
            wanted = not future.done() and future.set_running_or_notify_cancel()
        if wanted and error is not None:
            future.set_exception(error)
        elif wanted:
            future.set_result(value)
        self._forget(work)


class _Work:
    """A task on its way; see pool.work.Work."""

    __slots__ = ("frames", "future", "ladder", "memory", "name", "task", "timeout")

    def __init__(
        self,
        cancel: "Callable[[_Work], bool]",
        frames: "Frames",
        name: str,
        options: "dict[str, Any]",
    ) -> None:
        self.future, self.frames, self.name = Future(self, cancel), frames, name
        self.memory: int | float = options["memory"]
        self.timeout: float | None = options.get("timeout")
        self.ladder: Sequence[int | float] = options.get("retry_memory", ())
        self.task: Task | None = None


def _raised(frames: "Frames") -> BaseException:
    """The error that a function has raised, with the traceback that it had there as its cause."""
    error, text = load(frames)
    assert isinstance(error, BaseException)
    error.__cause__ = RemoteTraceback(text)
    return error


def _error(answer: "Answer") -> BaseException:
    error = answer.error
    if not isinstance(error, BaseException):
        return ClimitsError(str(error))
    if answer.failed is not None:
        error.__cause__ = _raised(answer.failed)
    return error


def _for_dashboard(name: str) -> str:
    """A word that Dask's dashboard groups tasks by."""
    return "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name)[:48]
