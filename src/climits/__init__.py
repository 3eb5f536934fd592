"""climits: run anything under a memory limit that the Linux kernel enforces.

>>> import climits
>>> climits.run(["true"], memory="60M").verdict
'exited'

The names below are loaded when they are first used (PEP 562), so that ``import climits`` costs
next to nothing.
"""

import sys

if sys.platform != "linux":
    raise ImportError(
        f"climits needs Linux (this is {sys.platform}): its limits are kept by the kernel's cgroups"
    )

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .cgroup.group import Cgroup
    from .errors import (
        CgroupError,
        CgroupExistsError,
        CgroupGoneError,
        CgroupPermissionError,
        CgroupTimeoutError,
        ClimitsError,
        CommandNotExecutableError,
        CommandNotFoundError,
        InvalidValueError,
        LaunchError,
        LimitTooLowError,
        OutOfMemoryError,
        TaskTimeoutError,
        UnsupportedError,
        WorkerDiedError,
    )
    from .observe.recordings.recorder import Recorder
    from .pool.executor import ProcessPoolExecutor
    from .pool.limited import limited
    from .pool.work import task
    from .program.checks import CalledProcessError, TimeoutExpired
    from .program.container import Container
    from .program.process import Process
    from .program.run import run
    from .records import Evidence, KilledProcess, MemoryEvents, MemoryLimits, MemoryUsage, Result
    from .units import UNLIMITED

__version__ = "0.1.0"

_HOME = {
    "cgroup.group": ("Cgroup",),
    "errors": (
        "CgroupError",
        "CgroupExistsError",
        "CgroupGoneError",
        "CgroupPermissionError",
        "CgroupTimeoutError",
        "ClimitsError",
        "CommandNotExecutableError",
        "CommandNotFoundError",
        "InvalidValueError",
        "LaunchError",
        "LimitTooLowError",
        "OutOfMemoryError",
        "TaskTimeoutError",
        "UnsupportedError",
        "WorkerDiedError",
    ),
    "observe.recordings.recorder": ("Recorder",),
    "pool.executor": ("ProcessPoolExecutor",),
    "pool.limited": ("limited",),
    "pool.work": ("task",),
    "program.checks": ("CalledProcessError", "TimeoutExpired"),
    "program.container": ("Container",),
    "program.process": ("Process",),
    "program.run": ("run",),
    "records": (
        "Evidence",
        "KilledProcess",
        "MemoryEvents",
        "MemoryLimits",
        "MemoryUsage",
        "Result",
    ),
    "units": ("UNLIMITED",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "UNLIMITED",
    "CalledProcessError",
    "Cgroup",
    "CgroupError",
    "CgroupExistsError",
    "CgroupGoneError",
    "CgroupPermissionError",
    "CgroupTimeoutError",
    "ClimitsError",
    "CommandNotExecutableError",
    "CommandNotFoundError",
    "Container",
    "Evidence",
    "InvalidValueError",
    "KilledProcess",
    "LaunchError",
    "LimitTooLowError",
    "MemoryEvents",
    "MemoryLimits",
    "MemoryUsage",
    "OutOfMemoryError",
    "Process",
    "ProcessPoolExecutor",
    "Recorder",
    "Result",
    "TaskTimeoutError",
    "TimeoutExpired",
    "UnsupportedError",
    "WorkerDiedError",
    "limited",
    "run",
    "task",
]


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
