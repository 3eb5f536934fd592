"""One task: what is to be called, under which limits, and the future of its result."""

import os
import sys
from _pickle import dumps
from _thread import allocate_lock
from concurrent.futures import CancelledError
from concurrent.futures import Future as _Future
from types import FunctionType

from ..errors import InvalidValueError
from ..units import format_size, parse_size
from .worker import EACH, Packed, is_long

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..cgroup.limits import Size


class Future(_Future):  # type: ignore[type-arg]
    """As concurrent.futures.Future, and how the task went.

    Attributes:
        verdict: exited (it returned or raised), oom-killed, timed-out, signaled or stopped; None
            until it is done.
        memory_peak: the highest use of its worker while it ran, bytes; None where the kernel
            cannot tell it of one task (cgroup v2 before 6.12, unless this task set the worker's
            record).
        memory_max: the limit it last ran under, bytes or UNLIMITED.
        attempts: how often it was started.
    """

    verdict: "str | None" = None
    memory_peak: "int | None" = None
    memory_max: "int | float | None" = None
    attempts = 0


class Part:
    """What `map` gathers of one chunk: a future that only its iterator sees.

    A Future has a lock and a condition of its own, and to make one, set it and ask it takes a
    quarter of all that a chunk of short tasks costs its pool.  Here are none: each step that two
    threads may take at once is one that the interpreter does as a whole.

    Attributes:
        verdict, memory_peak, memory_max, attempts: as of Future.
    """

    __slots__ = (
        "_claim", "_done", "_error", "_value", "_waiter", "attempts", "memory_max", "memory_peak",
        "verdict",
    )  # fmt: skip

    def __init__(self) -> None:
        self._claim = [True]  # is taken by whoever runs it, or cancels it
        self._done, self.attempts = False, 0
        self._value: Any = None
        self._error: BaseException | None = None
        self._waiter: LockType | None = None
        self.verdict: str | None = None
        self.memory_peak: int | None = None
        self.memory_max: int | float | None = None

    def set_running_or_notify_cancel(self) -> bool:
        """It is about to run; False if it was cancelled."""
        try:
            return self._claim.pop()
        except IndexError:
            return False

    def cancel(self) -> None:
        """Cancel it, if it does not run yet."""
        if self.set_running_or_notify_cancel():
            self.set_exception(CancelledError())

    def set_result(self, value: "Any") -> None:
        """It has returned."""
        self._value = value
        # First the one and then the other, and who waits does it the other way round: so one of
        # the two sees the other.
        self._done = True
        waiter = self._waiter
        if waiter is not None:
            waiter.release()

    def set_exception(self, error: "BaseException | None") -> None:
        """It has failed."""
        self._error = error
        self.set_result(None)

    def result(self, timeout: "float | None" = None) -> "Any":
        """Wait for it.

        Args:
            timeout: seconds; None: for ever.

        Raises:
            TimeoutError: it is not there in time.
            BaseException: that with which it failed.
        """
        if not self._done:
            waiter = allocate_lock()
            waiter.acquire()
            self._waiter = waiter
            if not self._done and not waiter.acquire(timeout=-1 if timeout is None else timeout):
                raise TimeoutError
        if self._error is None:
            return self._value
        try:
            raise self._error
        finally:
            self = None  # type: ignore[assignment]  # or the traceback would keep it


class Wrapper:
    """A function with limits of its own; calling it calls the function.

    Attributes:
        options: dict of what differs from the executor's: memory, timeout, retry_memory.
    """

    def __init__(self, function: "Callable[..., Any]", options: "dict[str, Any]") -> None:
        from functools import update_wrapper

        self.options = options
        update_wrapper(self, function)
        self.__wrapped__ = function

    def __call__(self, *args: "Any", **kwargs: "Any") -> "Any":
        """Run it here."""
        return self.__wrapped__(*args, **kwargs)

    def __get__(self, instance: object, owner: "type | None" = None) -> "Any":
        if instance is None:
            return self
        from types import MethodType

        return MethodType(self, instance)

    def __reduce__(self) -> "Any":
        # As a function is: by its name, where that leads to it.
        if self._is_global():
            return self.__qualname__  # type: ignore[attr-defined]
        return type(self), (self.__wrapped__, self.options)

    def _is_global(self) -> bool:
        found: Any = sys.modules.get(self.__module__)
        for name in getattr(self, "__qualname__", "<>").split("."):
            found = getattr(found, name, None)
        return found is self

    @property
    def sent(self) -> "Any":
        """What a worker is to call: the function itself, by whichever name leads to it."""
        found = self._is_global() and (self.__module__ != "__main__" or main_can_be_imported())
        return _Inner(self) if found else self.__wrapped__


class _Inner:
    """Pickles as the function inside a wrapper that has taken its name."""

    def __init__(self, wrapper: Wrapper) -> None:
        self._wrapper = wrapper

    def __reduce__(self) -> "Any":
        return getattr, (self._wrapper, "__wrapped__")


def task(
    function: "Callable[..., Any] | None" = None,
    /,
    *,
    memory: "Size | None" = None,
    timeout: "float | None" = None,
    retry_memory: "Sequence[Size]" = (),
) -> "Any":
    """Give a function limits of its own in a ProcessPoolExecutor.

    ``pool.submit(climits.task(load, memory="2G"), path)``, or as a decorator.

    Args:
        function: what to call; None returns a decorator.
        memory: its limit; None: the executor's.
        timeout: seconds that it may run; None: the executor's.
        retry_memory: limits for further attempts, each after the one before ran out of memory.

    Raises:
        InvalidValueError: a size or time that means nothing, or limits that do not grow.
    """
    options = task_options(memory, timeout, retry_memory)
    if function is None:
        return lambda function: Wrapper(function, options)
    return Wrapper(function, options)


def task_options(
    memory: "Size | None", timeout: "float | None", retry_memory: "Sequence[Size]"
) -> "dict[str, Any]":
    """Read a person's wish.

    Raises:
        InvalidValueError: see `task`.
    """
    from ..cgroup.limits import whole_of

    def size(text: "Size", what: str) -> "int | float":
        whole = whole_of(None) if isinstance(text, str) and text.endswith("%") else None
        return parse_size(text, what=what, whole=whole)

    options: dict[str, Any] = {}
    if memory is not None:
        options["memory"] = size(memory, "memory")
    if timeout is not None:
        if not timeout > 0:
            raise InvalidValueError(
                f"timeout: {timeout}: must be above 0", value=timeout, hint="seconds"
            )
        options["timeout"] = float(timeout)
    if isinstance(retry_memory, (str, int)):
        retry_memory = (retry_memory,)
    ladder = [size(text, "retry_memory") for text in retry_memory]
    before = options.get("memory", 0)
    for step in ladder:
        if step <= before:
            raise InvalidValueError(
                f"retry_memory: {format_size(step)}: not above {format_size(before)}, which the "
                "attempt before has",
                value=step,
                hint="write limits that grow",
            )
        before = step
    if ladder:
        options["retry_memory"] = ladder
    return options


class Call:
    """What is called, and under which limits.

    Attributes:
        function: what a worker is to call.
        name: of it, for errors.
        named: pickle of it, where that is its name and no more; else empty.
        memory: limit of the first attempt, bytes or UNLIMITED.
        timeout: seconds, or None.
        ladder: limits of the attempts after that.
    """

    __slots__ = ("function", "ladder", "memory", "name", "named", "timeout")

    def __init__(self, name: str, function: "Any", options: "dict[str, Any]") -> None:
        self.name, self.function = name, function
        self.named = _pack_name(function)
        self.memory: int | float = options["memory"]
        self.timeout: float | None = options.get("timeout")
        self.ladder: Sequence[int | float] = options.get("retry_memory", ())


class Work:
    """A task on its way.

    Attributes:
        number: of the task, counted up.
        call: what is called.
        future: of its result.
        memory: limit of the next attempt, bytes or UNLIMITED.
        ladder: limits of the attempts after that.
        packed: the arguments, and the function where it has no name.
        flags: see worker.TASK.
    """

    __slots__ = ("call", "flags", "future", "ladder", "memory", "number", "packed", "started")

    def __init__(
        self,
        number: int,
        call: Call,
        arguments: "tuple[Any, dict[str, Any]]",
        flags: int,
        future: "Future | Part",
    ) -> None:
        self.number, self.call, self.flags = number, call, flags
        self.memory, self.ladder = call.memory, call.ladder
        whole = arguments if call.named else (call.function, *arguments)
        items = [column[0] for column in arguments[0]] if flags & EACH else arguments[0]
        self.packed = pack_call(whole, call.name, long=any(map(is_long, items)))
        self.future = future
        self.started = False

    def start(self) -> bool:
        """It is about to run, for the first time or again; False if it was cancelled."""
        self.started = self.started or self.future.set_running_or_notify_cancel()
        return self.started


def over(fn: "Any", options: "dict[str, Any]") -> "tuple[Any, dict[str, Any]]":
    """What a worker is to call for a function, and a pool's options with its own over them."""
    if not isinstance(fn, Wrapper):
        return fn, options
    options = {**options, **fn.options}
    if "memory" in fn.options and "retry_memory" not in fn.options:
        options["retry_memory"] = ()
    return fn.sent, options


def pack_call(value: "Any", name: str, *, elsewhere: bool = False, long: bool = False) -> Packed:
    """Pickle what a worker is to call; by cloudpickle what pickle cannot, where that is there.

    Args:
        value: (function, arguments, keyword arguments).
        name: of the function, for errors.
        elsewhere: the worker is on another host, where our main module is another one.
        long: see Packed.

    Raises:
        InvalidValueError: neither can.
    """
    try:
        packed = Packed(value, long=long)
    except Exception as e:  # __reduce__ may raise anything
        return _by_value(value, name, e)
    # By name it could not be found there.  Names stand in frames, of some 64 KiB; what is much
    # longer is data that is sent as it lies.
    named = False
    for part in packed.parts:  # any() over a generator is a tenth of what a short task costs
        named = named or (not (long and len(part) >= 1 << 18) and b"__main__" in part)
    if named and (elsewhere or not main_can_be_imported()):
        return _by_value(value, name, None)
    return packed


def _pack_name(function: "Any") -> bytes:
    """See Call: pickled once for many tasks, and found once by the worker that does them."""
    if type(function) is not FunctionType:
        return b""  # it may have a state, which is that of the moment
    if function.__module__ == "__main__" and not main_can_be_imported():
        return b""
    try:
        named = dumps(function, 5)
    except Exception:  # its name does not lead to it
        return b""
    return named if len(named) < 1 << 10 else b""


def _by_value(value: "Any", name: str, why: "Exception | None") -> Packed:
    try:
        import cloudpickle
    except ImportError:
        cause = f": {why}" if why else ": it was defined at a prompt, where workers cannot find it"
        raise InvalidValueError(
            f"{name} cannot be sent to a worker{cause}",
            value=value,
            hint="define it at the top of a module, or install cloudpickle",
        ) from why
    try:
        return Packed(value, cloudpickle.Pickler)
    except Exception as e:
        raise InvalidValueError(f"{name} cannot be sent to a worker: {e}", value=value) from e


def main_can_be_imported() -> bool:
    """Whether a worker can import our main module; not that of a prompt, a directory or a zip."""
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    if name:
        return name != "__main__" and not name.endswith(".__main__")
    path = getattr(main, "__file__", None)
    return path is not None and os.path.exists(path)


def name_of(function: "Any") -> str:
    """What a function is called in errors."""
    return str(getattr(function, "__qualname__", None) or repr(function))
