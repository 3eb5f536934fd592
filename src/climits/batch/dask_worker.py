"""What runs in the process of a Dask worker: tasks and jobs, each under climits' limits there.

Dask gives a task one of its threads, which waits here for what runs under the limit.  When the
task is not wanted any more (it was cancelled, or the client has died), or the Dask worker ends,
what it runs is ended.  When the process is killed, a guard ends what it left.
"""

import atexit
import os
import pickle
import threading
import weakref

from distributed import WorkerPlugin, get_worker
from distributed.utils import sync

from .. import __version__
from ..errors import ClimitsError, LaunchError, UnsupportedError
from ..pool.work import Wrapper
from ..records import Record
from ..supervise.guard import Guard
from .dask_call import TaskFailed, call
from .dask_pools import close_pools, give_back, take_pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Any

    from ..records import Result
    from .dask_call import Frames

_PLUGIN = "climits"
#: Seconds for the event loop of the Dask worker to answer.
_ANSWERS_IN = 30.0

_lock = threading.Lock()
_running: "dict[str, Entry]" = {}  # by Dask's key
_closing: "weakref.WeakSet[Any]" = weakref.WeakSet()  # Dask workers
_stopped: set[str] = set()  # beginnings of keys that are not to be started any more
_guard: "Guard | None" = None


class Answer(Record):
    """What came of a task.

    Attributes:
        verdict: see pool.work.Future, and batch.job.
        memory_peak: see pool.work.Future.
        memory_max: the limit, bytes or UNLIMITED.
        value: what the function returned, packed; None if it did not return.
        failed: the error that it raised, packed; or None.
        error: of climits: why there is neither; or None.
        result: of a job.
        out, err: what a job has written, or the beginning of it.
    """

    verdict: "str | None" = None
    memory_peak: "int | None" = None
    memory_max: "int | float | None" = None
    value: "Frames | None" = None
    failed: "Frames | None" = None
    error: "ClimitsError | str | None" = None
    result: "Result | None" = None
    out: bytes = b""
    err: bytes = b""

    def dump(self) -> bytes:
        """As it goes back."""
        return pickle.dumps(self, protocol=5)


def trial() -> "int | tuple[str, str | None]":
    """Whether memory can be limited here.

    Returns:
        The CPUs that we may run on; or what is wrong, and a hint.
    """
    from ..program.run import run

    try:
        run(["true"], memory="100M", stdout=-3, stderr=-3)
    except (ClimitsError, OSError) as e:
        return f"memory cannot be limited there: {e}", getattr(e, "hint", None)
    return len(os.sched_getaffinity(0))


# ---- ending ------------------------------------------------------------------------------------


class _Watch(WorkerPlugin):  # type: ignore[misc]
    """Hears from Dask what is not wanted any more."""

    def transition(self, key: "Any", _start: str, finish: str, **_: "Any") -> None:
        """A task of the worker goes from one of Dask's states to another."""
        if finish in ("cancelled", "released", "forgotten") and key in _running:
            end([key], True)

    def teardown(self, worker: "Any") -> None:
        """The worker closes: other hosts get what runs here."""
        with _lock:
            _closing.add(worker)
            keys = [key for key, entry in _running.items() if entry.worker is worker]
        end(keys, True)
        close_pools()


async def _watch(worker: "Any") -> None:
    """In the loop's thread, where no other task can do the same: adding it again would end all."""
    if _PLUGIN not in worker.plugins:
        await worker.plugin_add(plugin=_Watch(), name=_PLUGIN)


class Entry:
    """A task while it runs: as a context manager, known to those who may want to end it.

    Attributes:
        worker: Dask's, that runs it.
        end: ends it; True: now, False: in peace.
    """

    def __init__(self, end: "Callable[[bool], None]") -> None:
        self.end = end
        self.worker = get_worker()
        self._key = self.worker.get_current_task()

    def __enter__(self) -> None:
        with _lock:
            _running[self._key] = self
            unwanted = self.worker in _closing or self._key.startswith(tuple(_stopped))
        if not unwanted and _PLUGIN not in self.worker.plugins:
            try:
                sync(self.worker.loop, _watch, self.worker, callback_timeout=_ANSWERS_IN)
            except Exception:
                unwanted = True  # the worker is about to go: Dask gives its tasks to another
        # It may have been cancelled before anybody could tell us.
        state = self.worker.state.tasks.get(self._key)
        if unwanted or state is None or state.state not in ("executing", "long-running"):
            self.end(True)

    def __exit__(self, *_: object) -> None:
        with _lock:
            del _running[self._key]


def end(keys: "list[str]", now: bool) -> None:
    """End what runs here.

    Args:
        keys: what Dask calls it.
        now: by SIGKILL; else as a batch does that is stopped.
    """
    with _lock:
        found = [_running[key] for key in keys if key in _running]
    for entry in found:
        entry.end(now)


def stop(prefix: str) -> list[str]:
    """Ask what runs here to end, and start no more of it.

    Args:
        prefix: what Dask's names for it begin with.

    Returns:
        Those that run.
    """
    with _lock:
        _stopped.add(prefix)
        found = [key for key in _running if key.startswith(prefix)]
    end(found, False)
    return found


# ---- functions ---------------------------------------------------------------------------------


def run_call(data: bytes) -> bytes:
    """Call a function under a limit, in a worker that was used before where there is one.

    Args:
        data: version, frames, name, memory, timeout, limits (of the pool).

    Returns:
        An Answer.
    """
    told = pickle.loads(data)
    try:
        check_version(told)
        pool = take_pool(told["limits"])
    except ClimitsError as e:
        return Answer(error=e).dump()
    options = {key: told[key] for key in ("memory", "timeout") if told[key] is not None}
    function = Wrapper(call, options)
    function.__qualname__ = told["name"]  # type: ignore[attr-defined]  # what errors call it
    try:
        future = pool.submit(function, told["frames"])
        with Entry(lambda _now: pool.end(future)):
            answer = _answer(future)
    except ClimitsError as e:
        return Answer(error=e).dump()
    finally:
        give_back(pool)
    whole: Answer = answer.replace(
        verdict=future.verdict, memory_peak=future.memory_peak, memory_max=future.memory_max
    )
    return whole.dump()


def _answer(future: "Future[Any]") -> Answer:
    try:
        return Answer(value=future.result())
    except TaskFailed as e:
        return Answer(failed=e.frames)
    except ClimitsError as e:
        cause = e.__cause__  # of a function whose child ran out of memory; pickle would lose it
        return Answer(error=e, failed=cause.frames if isinstance(cause, TaskFailed) else None)
    except BaseException as e:  # cancelled, or a fault of the pool's own
        return Answer(error=f"{type(e).__qualname__}: {e}")


def check_version(told: "dict[str, Any]") -> None:
    """A worker that has come later was not asked when the client was."""
    if told["version"] != __version__:
        raise UnsupportedError(
            f"dask worker {get_worker().address}: climits {__version__} is there, and "
            f"{told['version']} where the task is from",
            hint="install the same version on each host",
        )


def start_guard() -> None:
    """Once for the process: jobs outlive a thread that is killed with it."""
    global _guard
    with _lock:
        if _guard is None:
            try:
                _guard = Guard((), -1)
            except LaunchError:  # a container may have no shell; its end is the end of all in it
                pass


def _cleanup() -> None:
    global _guard
    with _lock:
        guard, _guard = _guard, None
    if guard is not None:
        guard.dismiss()


atexit.register(_cleanup)
