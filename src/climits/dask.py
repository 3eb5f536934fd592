"""Functions on many machines: `climits.dask.Executor(client, memory="2G")`.

Needs ``pip install "climits[dask]"``.
"""

from .batch.dask_executor import Executor, Future

__all__ = ["Executor", "Future"]
