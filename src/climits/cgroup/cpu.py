"""CPU bandwidth and CPU time.

Source: Documentation/scheduler/sched-bwc.rst, Documentation/admin-guide/cgroup-v1/cpuacct.rst,
Documentation/admin-guide/cgroup-v2.rst (cpu.max, cpu.stat).
"""

import os

from .files import Directory, pick

_PERIOD = 100_000  # microseconds, the kernel's default


class Cpu:
    """CPU bandwidth and CPU time of one cgroup."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory

    def writes(self, cpus: float) -> list[tuple[str, str]]:
        """The writes that allow `cpus` CPUs' worth of time."""
        raise NotImplementedError

    def times(self) -> "tuple[float, float] | None":
        """User and system time so far, seconds; None where nothing counts it here."""
        raise NotImplementedError


class CpuV1(Cpu):
    """The cpu and cpuacct controllers."""

    def writes(self, cpus: float) -> list[tuple[str, str]]:
        """The writes that allow `cpus` CPUs' worth of time."""
        return [
            ("cpu.cfs_period_us", str(_PERIOD)),
            ("cpu.cfs_quota_us", str(round(cpus * _PERIOD))),
        ]

    def times(self) -> "tuple[float, float] | None":
        """User and system time so far, seconds; None where cpuacct is not here."""
        data = self.directory.read_optional("cpuacct.stat")
        if data is None:
            return None
        tick = os.sysconf("SC_CLK_TCK")
        return (pick(data, b"user ") or 0) / tick, (pick(data, b"system ") or 0) / tick


class CpuV2(Cpu):
    """cpu.max, and cpu.stat, which counts even where the controller is off."""

    def writes(self, cpus: float) -> list[tuple[str, str]]:
        """The writes that allow `cpus` CPUs' worth of time."""
        return [("cpu.max", f"{round(cpus * _PERIOD)} {_PERIOD}")]

    def times(self) -> "tuple[float, float] | None":
        """User and system time so far, seconds.  Counted even where the controller is off."""
        data = self.directory.read_optional("cpu.stat")
        return None if data is None else stat_times(data)


def stat_times(data: bytes) -> tuple[float, float]:
    """User and system time, seconds, from a v2 cpu.stat."""
    return (pick(data, b"user_usec ") or 0) / 1e6, (pick(data, b"system_usec ") or 0) / 1e6
