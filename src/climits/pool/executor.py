"""ProcessPoolExecutor: concurrent.futures' interface over workers with limits."""

import atexit
import itertools
import os
import time
import weakref
from concurrent.futures import Executor

from ..cgroup.limits import make_limits
from ..errors import InvalidValueError
from ..program.ending import end_at_exit
from ..units import UNLIMITED
from .budget import Budget, parse_budget
from .channel import facts_for
from .engine import Engine
from .roster import Settings
from .work import Call, Future, Part, Work, name_of, over, pack_call, task_options
from .worker import EACH, Packed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, TypedDict, Unpack

    from ..cgroup.limits import Size

    class WorkerLimits(TypedDict, total=False):
        """Of each worker beside memory."""

        swap: Size | None
        high: Size | None
        pids: int | None
        cpus: float | None
        cpuset: str | None

    class WorkerOptions(WorkerLimits, total=False):
        """And where their cgroups are made."""

        parent: str | None


#: Tasks that `map` hands over at a time.
_MOST_AT_ONCE = 64

_engines: "weakref.WeakSet[Engine]" = weakref.WeakSet()


class ProcessPoolExecutor(Executor):
    """As concurrent.futures.ProcessPoolExecutor, with a memory limit around each worker.

    A task that runs out of memory fails alone: its future raises OutOfMemoryError, its worker is
    replaced, everything else goes on.
    """

    def __init__(
        self,
        max_workers: "int | None" = None,
        memory: "Size" = "1G",
        *,
        memory_budget: "Size | None" = None,
        timeout: "float | None" = None,
        retry_memory: "Sequence[Size]" = (),
        initializer: "Callable[..., object] | None" = None,
        initargs: "tuple[Any, ...]" = (),
        max_tasks_per_child: "int | None" = None,
        max_idle_memory: "Size | None" = None,
        **limits: "Unpack[WorkerOptions]",
    ) -> None:
        """Make one; workers are started when there is something to do.

        Args:
            max_workers: at most; None: one for each CPU, or with `memory_budget` as many as fit.
            memory: limit of each worker, which holds for each task it runs.
            memory_budget: what all tasks that run may claim together; ``%`` is of the limit around
                us, or of the RAM.  A task waits until its limit fits.
            timeout: seconds that a task may run; its worker is killed then.
            retry_memory: limits for further attempts of a task that ran out of memory.
            initializer: called in each worker at its start, with `initargs`.
            max_tasks_per_child: tasks after which a worker is replaced.
            max_idle_memory: use above which a worker is replaced when it has nothing to do.
            limits: swap, high, pids, cpus, cpuset of each worker; parent, the cgroup in which
                theirs are made.

        Raises:
            InvalidValueError: a value that means nothing, or that can never fit.
            UnsupportedError: this host cannot enforce a limit that was asked for.
        """
        _refuse_in_import()
        for what, number in (
            ("max_workers", max_workers),
            ("max_tasks_per_child", max_tasks_per_child),
        ):
            if number is not None and not (isinstance(number, int) and number >= 1):
                raise InvalidValueError(f"{what}: {number}: must be 1 at least", value=number)
        if memory is None:
            raise InvalidValueError("memory: a worker needs a limit", hint="for none write max")
        self._options = task_options(memory, timeout, retry_memory)
        make_limits(memory=self._options["memory"], **limits)  # wrong ones are told here
        budget = UNLIMITED if memory_budget is None else parse_budget(memory_budget)
        most: int | float = max_workers or UNLIMITED
        if max_workers is None and memory_budget is None:
            most = len(os.sched_getaffinity(0))
        idle = None
        if max_idle_memory is not None:
            idle = task_options(max_idle_memory, None, ())["memory"]
        start = None
        if initializer is not None:
            if not callable(initializer):
                raise TypeError("initializer must be a callable")
            packed = pack_call((initializer, initargs), name_of(initializer))
            if packed.buffers:  # there is no room beside it
                packed = Packed(packed.load(), beside=False)
            start = b"".join(packed.parts)
        self._budget = Budget(budget)
        self._check(self._options)
        self._engine = Engine(
            Settings(
                self._options["memory"], most, self._budget, facts_for(start), dict(limits),
                max_tasks_per_child, idle,
            )
        )  # fmt: skip
        self._numbers = itertools.count(1)
        self._owner = os.getpid()
        _remember(self._engine)
        # Without a shutdown its workers go when the last reference to it does.
        weakref.finalize(self, self._engine.close).atexit = False

    def _check(self, options: "dict[str, Any]") -> None:
        for size in (options["memory"], *options.get("retry_memory", ())):
            self._budget.check(size, what="memory")

    @property
    def forked(self) -> bool:
        """Whether this is a fork of the process that made it, where it cannot be used."""
        return os.getpid() != self._owner

    # -- concurrent.futures' interface ---------------------------------------------------------

    def submit(self, fn: "Callable[..., Any]", /, *args: "Any", **kwargs: "Any") -> Future:
        """Have a function called in a worker.

        Args:
            fn: the function, or one that `climits.task` has given limits of its own.
            args, kwargs: for it.

        Raises:
            InvalidValueError: it cannot be sent there, or its limit can never fit.
            BrokenPoolError: no worker can be started.
            RuntimeError: after shutdown.
        """
        future = Future()
        self._engine.submit([Work(next(self._numbers), self._call(fn), (args, kwargs), 0, future)])
        return future

    def _call(self, fn: "Any") -> Call:
        if self.forked:
            raise RuntimeError("a pool cannot be used in a fork of the process that made it")
        self._engine.check()
        called, options = over(fn, self._options)
        if options is not self._options:
            self._check(options)
        return Call(name_of(fn), called, options)

    def map(
        self,
        fn: "Callable[..., Any]",
        *iterables: "Iterable[Any]",
        timeout: "float | None" = None,
        chunksize: int = 1,
    ) -> "Iterator[Any]":
        """As the builtin, in workers; results come in order.

        Args:
            fn: called with one item of each iterable.
            iterables: are read to their end at once.
            timeout: seconds from now to the last result.
            chunksize: items that a worker gets at a time; one task, for its limits.

        Raises:
            TimeoutError: from the iterator, when a result is not there in time.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        deadline = None if timeout is None else time.monotonic() + timeout
        call, numbers = self._call(fn), self._numbers
        chunks = _chunks(iterables, chunksize)
        works = (Work(next(numbers), call, (columns, {}), EACH, Part()) for columns in chunks)
        parts: list[Any] = []
        size = 1  # the first at once, and then ever more with one turn of the thread
        while batch := list(itertools.islice(works, size)):
            self._engine.submit(batch)
            parts += [work.future for work in batch]
            size = min(2 * size, _MOST_AT_ONCE)
        return itertools.chain.from_iterable(_results(parts, deadline))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more.

        Args:
            wait: until all is done and the workers have gone.
            cancel_futures: what does not run yet is cancelled.
        """
        engine = self._engine
        engine.close(cancel_futures)
        if wait and engine.thread.ident and not self.forked:
            engine.thread.join()


def _chunks(iterables: "Sequence[Iterable[Any]]", size: int) -> "Iterator[tuple[Any, ...]]":
    if len(iterables) == 1:
        items = iter(iterables[0])
        while chunk := list(itertools.islice(items, size)):
            yield (chunk,)
    elif iterables:
        rows = zip(*iterables, strict=False)
        while some := list(itertools.islice(rows, size)):
            yield tuple(zip(*some, strict=True))


def _results(parts: "list[Part]", deadline: "float | None") -> "Iterator[list[Any]]":
    parts.reverse()
    try:
        while parts:
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            yield _taken(parts, left)
    finally:
        parts.reverse()
        while parts:  # none is left here: the traceback of its error would keep it
            parts.pop().cancel()


def _taken(parts: "list[Part]", timeout: "float | None") -> "list[Any]":
    """The last one's result; one that is late stays, to be cancelled."""
    result: list[Any] = parts[-1].result(timeout)
    parts.pop()
    return result


def _refuse_in_import() -> None:
    """A pool that is made while a worker imports the main module would make the next one."""
    import multiprocessing.process as process

    if getattr(process.current_process(), "_inheriting", False):
        raise RuntimeError(
            "a pool was made while a worker imported the main module: put what uses pools below "
            "if __name__ == '__main__':"
        )


def _remember(engine: Engine) -> None:
    if not _engines:
        end_at_exit()  # first, so that it comes last
        atexit.register(_finish)
    _engines.add(engine)


def _finish() -> None:
    """At exit of the interpreter: what was submitted is done first, as in concurrent.futures."""
    engines = [e for e in _engines if e.thread.ident and e.owner == os.getpid()]
    for engine in engines:
        engine.close()
    for engine in engines:
        engine.thread.join()
