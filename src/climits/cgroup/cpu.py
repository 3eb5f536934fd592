"""CPU bandwidth and CPU time.

Source: Documentation/scheduler/sched-bwc.rst, Documentation/admin-guide/cgroup-v1/cpuacct.rst,
Documentation/admin-guide/cgroup-v2.rst (cpu.max, cpu.stat).
"""

import os

from ..errors import InvalidValueError
from .files import Directory, pick

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .figures import Figure

_PERIOD = 100_000  # microseconds, the kernel's default


class Cpu:
    """CPU bandwidth and CPU time of one cgroup."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory

    def writes(self, cpus: float) -> list[tuple[str, str]]:
        """The writes that allow `cpus` CPUs' worth of time."""
        raise NotImplementedError

    def max(self) -> str:
        """The bandwidth, as v2 writes it: ``QUOTA PERIOD`` in microseconds, or ``max PERIOD``."""
        raise NotImplementedError

    def max_writes(self, text: str) -> list[tuple[str, str]]:
        """The writes for a bandwidth: ``QUOTA``, ``QUOTA PERIOD`` or ``max``."""
        return [("cpu.max", text)]

    def weight(self) -> str:
        """The share under contention, 1 to 10000; 100 is the default."""
        raise NotImplementedError

    def weight_writes(self, text: str) -> list[tuple[str, str]]:
        """The writes for a share."""
        return [("cpu.weight", text)]

    def times(self) -> "tuple[float, float] | None":
        """User and system time so far, seconds; None where nothing counts it here."""
        raise NotImplementedError

    def figures(self) -> "dict[str, Figure]":
        """What a sample reads, and what it makes of it; see cgroup.figures."""
        raise NotImplementedError


class CpuV1(Cpu):
    """The cpu and cpuacct controllers."""

    def writes(self, cpus: float) -> list[tuple[str, str]]:
        """The writes that allow `cpus` CPUs' worth of time."""
        return [
            ("cpu.cfs_period_us", str(_PERIOD)),
            ("cpu.cfs_quota_us", str(round(cpus * _PERIOD))),
        ]

    def max(self) -> str:
        quota = self.directory.read_int("cpu.cfs_quota_us")
        return f"{'max' if quota < 0 else quota} {self.directory.read_int('cpu.cfs_period_us')}"

    def max_writes(self, text: str) -> list[tuple[str, str]]:
        quota, *period = text.split()
        quota = "-1" if quota == "max" else quota
        # A quota above the old period's share of the parent's is refused: unlimited in between.
        lift = [("cpu.cfs_quota_us", "-1"), ("cpu.cfs_period_us", period[0])] if period else []
        return [*lift, ("cpu.cfs_quota_us", quota)]

    def weight(self) -> str:
        # The kernel's own scale: 1024 shares are a weight of 100.
        return str(max(1, round(self.directory.read_int("cpu.shares") * 100 / 1024)))

    def weight_writes(self, text: str) -> list[tuple[str, str]]:
        return [("cpu.shares", str(round(int(text) * 1024 / 100)))]

    def times(self) -> "tuple[float, float] | None":
        """User and system time so far, seconds; None where cpuacct is not here."""
        data = self.directory.read_optional("cpuacct.stat")
        if data is None:
            return None
        tick = os.sysconf("SC_CLK_TCK")
        return (pick(data, b"user ") or 0) / tick, (pick(data, b"system ") or 0) / tick

    def figures(self) -> "dict[str, Figure]":
        return _FIGURES_V1


class CpuV2(Cpu):
    """cpu.max, and cpu.stat, which counts even where the controller is off."""

    def writes(self, cpus: float) -> list[tuple[str, str]]:
        """The writes that allow `cpus` CPUs' worth of time."""
        return [("cpu.max", f"{round(cpus * _PERIOD)} {_PERIOD}")]

    def times(self) -> "tuple[float, float] | None":
        """User and system time so far, seconds.  Counted even where the controller is off."""
        data = self.directory.read_optional("cpu.stat")
        return None if data is None else stat_times(data)

    def figures(self) -> "dict[str, Figure]":
        return _FIGURES_V2


def parse_bandwidth(text: str) -> str:
    """Check ``QUOTA``, ``QUOTA PERIOD``, ``max`` or ``max PERIOD``, in microseconds.

    Returns:
        The same, with one spelling for no limit: max.

    Raises:
        InvalidValueError: the kernel would refuse it, or take it for something else.
    """
    quota, *period = text.split() or [""]
    if quota in ("max", "-1", "unlimited", "infinity"):
        quota = "max"
    numbers = [word for word in (quota, *period) if word != "max"]
    good = len(period) <= 1 and all(w.isascii() and w.isdigit() and len(w) < 16 for w in numbers)
    if good:
        good = all(int(word) >= 1000 for word in numbers)
        good = good and all(int(word) <= 1_000_000 for word in period)
    if not good:
        raise InvalidValueError(
            f"cpu.max: {text[:80]}: not a bandwidth",
            value=text,
            hint="write QUOTA PERIOD in microseconds, such as 50000 100000 (1000 at least, the "
            "period 1000000 at most), or max",
        )
    return " ".join((quota, *period))


def parse_weight(text: str) -> str:
    """Check a share of 1 to 10000.

    Raises:
        InvalidValueError: it is none.
    """
    digits = text.lstrip("0")[:9]  # int() refuses 4300 digits
    if not (text.isascii() and text.isdigit() and digits and int(digits) <= 10000):
        raise InvalidValueError(
            f"cpu.weight: {text[:80]}: not a weight", value=text, hint="write 1 to 10000"
        )
    return text


def stat_times(data: bytes) -> tuple[float, float]:
    """User and system time, seconds, from a v2 cpu.stat."""
    return (pick(data, b"user_usec ") or 0) / 1e6, (pick(data, b"system_usec ") or 0) / 1e6


_FIGURES_V1: "dict[str, Figure]" = {"cpu": (("cpuacct.usage",), lambda data: int(data) / 1e9)}
_FIGURES_V2: "dict[str, Figure]" = {
    "cpu": (("cpu.stat",), lambda data: (pick(data, b"usage_usec ") or 0) / 1e6)
}
