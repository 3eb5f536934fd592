"""The memory controller on cgroup v2.

Source: Documentation/admin-guide/cgroup-v2.rst, mm/memcontrol.c.
"""

import os

from ...errors import CgroupError, CgroupPermissionError, UnsupportedError
from ...records import MemoryEvents, MemoryLimits, MemoryUsage
from ...units import UNLIMITED, round_to_pages
from ..files import pick, stat_fields
from . import Memory, limit_text, parse_limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..figures import Figure
    from . import Limit, Report, Write

_USAGE = (
    "memory.stat",
    "memory.current",
    "memory.peak",  # since 5.19
    "memory.swap.current",
    "memory.swap.peak",  # since 6.5
)
_EVENTS = ("memory.events.local", "memory.events")  # the former since 5.2
_LIMITS = ("memory.max", "memory.swap.max")
_REPORT = _USAGE + _EVENTS + _LIMITS


#: Between memory.high, where a program is paused, and memory.max, where it would be killed: as much
#: as a fast program takes until the supervisor has frozen it, and no more than it can spare.
_MARGIN_SHARE, _MARGIN_LEAST, _MARGIN_MOST = 16, 1 << 20, 64 << 20
#: memory.current runs behind by a batch of 64 pages a CPU.
_ROUNDING = 1 << 20


#: On a cgroup whose program is paused at its limit: PAUSED while it is, else ARMED.
_PAUSE_MARK, _ARMED, _PAUSED = "user.climits.pause", b"armed", b"paused"


class MemoryV2(Memory):
    """memory.max, high, low, min, swap.max, oom.group."""

    OOM_MASK = 2

    def limits(self) -> MemoryLimits:
        limit, swap, high, low, least, group = self.directory.read_many(
            (*_LIMITS, "memory.high", "memory.low", "memory.min", "memory.oom.group")
        )
        return MemoryLimits(
            max=_limit(limit),
            swap_max=_limit(swap),
            high=_limit(high),
            low=_limit(low),
            min=_limit(least),
            oom_group=None if group is None else group.strip() == b"1",
        )

    def open_peak(self) -> tuple[int, bool]:
        if not self.directory.has("memory.peak"):
            return -1, False
        try:
            fd = self.directory.open_file("memory.peak", os.O_RDWR)
        except CgroupPermissionError:
            return self.directory.open_file("memory.peak"), False
        try:
            os.write(fd, b"0")
        except OSError:  # before 6.12 root may open it, and no more
            return fd, False
        return fd, True

    def open_kills(self) -> int:
        return self.directory.open_file("memory.events")

    def current(self) -> int:
        return self.directory.read_int("memory.current")

    def usage(self) -> MemoryUsage:
        return _usage(*self.directory.read_many(_USAGE))

    def events(self) -> MemoryEvents:
        return _events(*self.directory.read_many(_EVENTS))

    def hold_report(self) -> None:
        self.directory.hold(_REPORT)

    def report(self) -> "Report":
        files = self.directory.read_many(_REPORT)
        peak = files[2]
        return (
            int(peak) if peak else None,
            pick(files[5] or files[6] or b"", b"oom_kill "),
            lambda: (
                _usage(*files[:5]), _events(*files[5:7]), _limit(files[7]), _limit(files[8])
            ),
        )  # fmt: skip

    def figures(self) -> "dict[str, Figure]":
        return _FIGURES

    def words(self) -> dict[str, str]:
        return {
            "max": "memory.max",
            "current": "memory.current",
            "anon": "anon",
            "file": "file without shmem",
            "kernel": "kernel",
            "real": "anon + file + swap",
        }

    def watch_oom(self) -> int:
        return self.watch_counters()

    def drain_oom(self, fd: int) -> None:
        os.pread(fd, 4096, 0)  # a counter that moves after this fires again

    def watch_usage(self, level: int) -> "int | None":
        return None

    def watch_counters(self) -> int:
        return self.directory.open_file("memory.events")

    def watch_pressure(self, level: str) -> int:
        raise UnsupportedError(
            f"pressure {level} needs the memory controller on cgroup v1; here it is on v2",
            hint="write it like some 150ms/1s",
        )

    def all_events(self) -> MemoryEvents:
        return _events(None, self.directory.read("memory.events"))

    def open_reclaim(self, size: int) -> "tuple[int, str]":
        if not self.directory.has("memory.reclaim"):
            raise UnsupportedError(
                f"{self.directory.path}: this kernel cannot reclaim on request",
                hint="use a kernel from 5.19 on",
            )
        return self.directory.open_file("memory.reclaim", os.O_WRONLY), str(size)

    def writes(self, wish: MemoryLimits, now: MemoryLimits) -> "list[Write]":
        if wish.swappiness is not None:
            raise UnsupportedError(
                "memory.swappiness needs the memory controller on cgroup v1; here it is on v2",
                hint="a swap limit of 0 keeps the program out of swap on v2",
            )
        if wish.oom_pause:
            wish = wish.replace(high=self._pause_at(wish, now))
        out: list[Write] = []
        if wish.swap_max is not None and self._can_limit_swap(wish.swap_max):
            out.append(_write("memory.swap.max", wish.swap_max))
        for name in ("low", "min", "high", "max"):
            value = getattr(wish, name)
            if value is not None:
                out.append(_write(f"memory.{name}", value))
        if wish.oom_group is not None:
            out.append(("memory.oom.group", str(int(wish.oom_group)), int(wish.oom_group)))
        return out

    def _pause_at(self, wish: MemoryLimits, now: MemoryLimits) -> int:
        limit = now.max if wish.max is None else wish.max
        if limit is None or limit == UNLIMITED:
            raise UnsupportedError(
                "pausing at the limit needs a memory limit", hint="give a memory limit too"
            )
        if wish.high is not None:
            raise UnsupportedError(
                "pausing at the limit uses memory.high on cgroup v2, so high cannot be given too",
                hint="leave high out",
            )
        return int(limit) - _pause_margin(limit)

    def is_stuck(self) -> bool:
        high = self._read_limit("memory.high")
        usage = self.usage()
        if high == UNLIMITED or usage.current is None:
            return False
        # Page cache is reclaimed, at the mark too: a program that reads files is not stuck.
        cache = max((usage.file or 0) - _pause_margin(high), 0)
        return usage.current - cache >= high - _ROUNDING

    def was_paused(self) -> bool:
        return self.directory.get_mark(_PAUSE_MARK) == _PAUSED

    def mark_paused(self, paused: "bool | None") -> None:
        if paused is None:
            self.directory.remove_mark(_PAUSE_MARK)
        else:
            self.directory.set_mark(_PAUSE_MARK, _PAUSED if paused else _ARMED)

    def set(self, wish: MemoryLimits, *, force: bool = False, untouched: bool = False) -> None:
        armed = None if untouched else self.directory.get_mark(_PAUSE_MARK)
        if armed and wish.max is not None and wish.high is None:
            # Whoever raises the limit moves the mark at which the program is paused with it.
            wish = wish.replace(oom_pause=True)
        if wish.oom_pause and wish.max == UNLIMITED and not untouched:
            wish = wish.replace(oom_pause=None, high=UNLIMITED)  # nothing to pause at
        super().set(wish, force=force, untouched=untouched)
        if wish.oom_pause and not armed:
            self.mark_paused(False)

    def _can_limit_swap(self, size: "Limit") -> bool:
        if self.directory.has("memory.swap.max"):
            return True
        from ...linux.proc import swap_is_active

        if size == UNLIMITED or not swap_is_active():
            return False  # holds by itself
        raise UnsupportedError(
            "swap cannot be limited: this kernel does not account for it (no memory.swap.max)",
            hint="boot with swapaccount=1, or allow any amount with a swap limit of max",
        )

    def _reclaim(self, size: int) -> None:
        try:
            self.directory.write("memory.reclaim", str(size))  # since 5.19; EAGAIN: less than asked
        except CgroupError:
            return


def _pause_margin(limit: "Limit") -> int:
    return int(min(max(limit / _MARGIN_SHARE, _MARGIN_LEAST), _MARGIN_MOST))


def _write(file: str, size: "Limit") -> "Write":
    size = round_to_pages(size)
    return file, limit_text(size, "max"), size


def _limit(data: "bytes | None") -> "Limit | None":
    return None if data is None else parse_limit(data)


def _usage(
    stat: "bytes | None",
    current: "bytes | None",
    peak: "bytes | None",
    swap: "bytes | None",
    swap_peak: "bytes | None",
) -> MemoryUsage:
    stat = stat or b""
    return MemoryUsage(
        current=int(current) if current else None,
        peak=int(peak) if peak else None,
        anon=pick(stat, b"anon "),
        file=_cache(stat),
        shmem=pick(stat, b"shmem "),
        kernel=pick(stat, b"kernel "),  # since 5.18
        swap_current=int(swap) if swap else None,
        swap_peak=int(swap_peak) if swap_peak else None,
    )


def _cache(stat: bytes) -> "int | None":
    """Page cache, bytes; the kernel's figure has shmem in it."""
    file = pick(stat, b"file ")
    return None if file is None else max(file - (pick(stat, b"shmem ") or 0), 0)


def _events(local: "bytes | None", whole: "bytes | None") -> MemoryEvents:
    # The local file leaves out cgroups that the program may have made below its own.
    data = local or whole or b""
    return MemoryEvents(
        low=pick(data, b"low "),
        high=pick(data, b"high "),
        max=pick(data, b"max "),
        oom=pick(data, b"oom "),
        oom_kill=pick(data, b"oom_kill "),
        oom_group_kill=pick(data, b"oom_group_kill "),
    )


#: Events of the cgroups below too, as all other figures: a container may have some of its own.
_FIGURES: "dict[str, Figure]" = {
    "current": (("memory.current",), int),
    "peak": (("memory.peak",), int),
    "anon": (("memory.stat",), lambda data: pick(data, b"anon ")),
    "file": (("memory.stat",), _cache),
    "shmem": (("memory.stat",), lambda data: pick(data, b"shmem ")),
    "kernel": (("memory.stat",), lambda data: pick(data, b"kernel ")),
    "swap": (("memory.swap.current",), int),
    "max": (("memory.max",), parse_limit),
    "high": (("memory.high",), parse_limit),
    "swap_max": (("memory.swap.max",), parse_limit),
    "limit_hits": (("memory.events",), lambda data: pick(data, b"max ")),
    "oom_kill": (("memory.events",), lambda data: pick(data, b"oom_kill ")),
    "stat": (("memory.stat",), stat_fields),
}
