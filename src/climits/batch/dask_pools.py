"""Pools of workers in the process of a Dask worker, kept from one task to the next."""

import threading

from distributed import get_worker

from ..pool.executor import ProcessPoolExecutor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..pool.work import Future

#: Seconds that a pool without a task is kept for the next.
_LINGERS = 5.0
#: Seconds after which it is looked whether a task has ended that was to end.
_AGAIN = 0.05
#: An idle worker that holds more is replaced, bytes: Dask counts it as free.
_IDLE = 256 << 20

_lock = threading.Lock()
_pools: "dict[str, Pool]" = {}


class Pool(ProcessPoolExecutor):
    """A pool that can end a task which runs.

    Attributes:
        tasks: how many it has.
        timer: closes it when it has had none for a while.
    """

    tasks = 0
    timer: "threading.Timer | None" = None

    @property
    def broken(self) -> bool:
        """Whether it cannot be used any more."""
        return self._engine.broken is not None

    def end(self, future: "Future") -> None:
        """Kill the worker that runs a task; one that does not run yet is cancelled."""
        if future.cancel() or future.done():
            return
        self._engine.kill(future)
        # It may be on its way to a worker, or go to another since the first had not read it yet.
        timer = threading.Timer(_AGAIN, self.end, [future])
        timer.daemon = True
        timer.start()


def take_pool(limits: "dict[str, Any]") -> Pool:
    """One for a task of the Dask worker whose thread this is.

    Args:
        limits: of its workers, beside memory.

    Raises:
        ClimitsError: this host cannot enforce them.
    """
    worker = get_worker()
    name = repr((id(worker), sorted(limits.items())))
    with _lock:
        pool = _pools.get(name)
        if pool is None or pool.broken:
            pool = _pools[name] = Pool(worker.state.nthreads, max_idle_memory=_IDLE, **limits)
        pool.tasks += 1
        if pool.timer is not None:
            pool.timer.cancel()
            pool.timer = None
    return pool


def give_back(pool: Pool) -> None:
    """The task has ended."""
    with _lock:
        pool.tasks -= 1
        if not pool.tasks:
            pool.timer = threading.Timer(_LINGERS, close_pools)
            pool.timer.daemon = True
            pool.timer.start()


def close_pools() -> None:
    """Let the pools go that have nothing to do."""
    with _lock:
        idle = {name: pool for name, pool in _pools.items() if not pool.tasks}
        for name, pool in idle.items():
            del _pools[name]
            if pool.timer is not None:
                pool.timer.cancel()
    for pool in idle.values():
        pool.shutdown()
