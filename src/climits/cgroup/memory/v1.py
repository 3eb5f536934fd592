"""The memory controller on cgroup v1.

Source: Documentation/admin-guide/cgroup-v1/memory.rst, mm/memcontrol-v1.c.
"""

import errno
import os

from ...errors import CgroupError, UnsupportedError
from ...records import MemoryEvents, MemoryLimits, MemoryUsage
from ...units import MAX_BYTES, UNLIMITED, round_to_pages
from ..files import pick, refusal, stat_fields
from . import Memory, limit_text, parse_limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..figures import Figure
    from . import Limit, Report, Write

_MAX = "memory.limit_in_bytes"
_MEMSW = "memory.memsw.limit_in_bytes"  # memory and swap together; absent without swap accounting

_USAGE = (
    "memory.stat",
    "memory.usage_in_bytes",
    "memory.max_usage_in_bytes",
    "memory.kmem.usage_in_bytes",
)
_EVENTS = ("memory.failcnt", "memory.memsw.failcnt", "memory.oom_control")
_LIMITS = (_MAX, _MEMSW)
_REPORT = _USAGE + _EVENTS + _LIMITS

_memsw: "bool | None" = None  # whether this kernel has _MEMSW, once known


class MemoryV1(Memory):
    """limit_in_bytes, memsw, soft limit, swappiness, oom_control."""

    can_pause_on_oom = True

    def limits(self) -> MemoryLimits:
        limit, swap = _max_and_swap(*self.directory.read_many(_LIMITS))
        return MemoryLimits(
            max=limit,
            low=self._read_limit("memory.soft_limit_in_bytes"),
            swap_max=swap,
            swappiness=self.directory.read_int("memory.swappiness"),
            oom_pause=b"oom_kill_disable 1" in self.directory.read("memory.oom_control"),
        )

    def open_peak(self) -> tuple[int, bool]:
        return self.directory.open_file("memory.max_usage_in_bytes", os.O_RDWR), True

    def open_kills(self) -> int:
        return self.directory.open_file("memory.oom_control")

    def current(self) -> int:
        return self.directory.read_int("memory.usage_in_bytes")

    def usage(self) -> MemoryUsage:
        return _usage(*self.directory.read_many(_USAGE))

    def events(self) -> MemoryEvents:
        return _events(*self.directory.read_many(_EVENTS + _LIMITS))

    def hold_report(self) -> None:
        self.directory.hold(_REPORT)

    def report(self) -> "Report":
        files = self.directory.read_many(_REPORT)
        return (
            int(files[2]) if files[2] else None,
            _oom_kill(files[6]),
            lambda: (_usage(*files[:4]), _events(*files[4:]), *_max_and_swap(*files[7:])),
        )

    def figures(self) -> "dict[str, Figure]":
        return _FIGURES

    def words(self) -> dict[str, str]:
        return {
            "max": "memory.limit_in_bytes",
            "current": "memory.usage_in_bytes",
            "anon": "rss",
            "file": "cache without shmem",
            "kernel": "memory.kmem.usage_in_bytes",
            "real": "rss + cache + swap",
        }

    def under_oom(self) -> bool:
        return b"under_oom 1" in self.directory.read("memory.oom_control")

    def is_stuck(self) -> bool:
        return self.under_oom()

    def watch_oom(self) -> int:
        return self._eventfd("memory.oom_control", "")

    def drain_oom(self, fd: int) -> None:
        try:
            os.eventfd_read(fd)
        except BlockingIOError:
            pass  # another thread was faster

    def watch_usage(self, level: int) -> "int | None":
        return self._eventfd("memory.usage_in_bytes", f" {level}")

    def watch_counters(self) -> "int | None":
        return None

    def watch_pressure(self, level: str) -> int:
        return self._eventfd("memory.pressure_level", f" {level}")

    def _eventfd(self, file: str, argument: str) -> int:
        control = self.directory.open_file(file)
        try:
            try:
                event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            except OSError as e:
                raise refusal("cannot watch", f"{self.directory.path}/{file}", e) from None
            try:
                self.directory.write("cgroup.event_control", f"{event} {control}{argument}")
            except CgroupError:
                os.close(event)
                raise
            return event
        finally:
            os.close(control)  # the kernel holds the file for as long as the eventfd lives

    def counts_limit_hits(self) -> bool:
        return self.events().max is not None or _memsw_hits_are_counted()

    def open_reclaim(self, size: int) -> "tuple[int, str]":
        return self.directory.open_file("memory.force_empty", os.O_WRONLY), "0"  # all that it can

    def writes(self, wish: MemoryLimits, now: MemoryLimits) -> "list[Write]":
        for name in ("high", "min"):
            if getattr(wish, name) is not None:
                raise UnsupportedError(
                    f"memory.{name} needs the memory controller on cgroup v2; here it is on v1",
                    hint="boot with cgroup_no_v1=memory (or systemd.unified_cgroup_hierarchy=1)",
                )
        if wish.oom_group:
            raise UnsupportedError(
                "memory.oom.group needs the memory controller on cgroup v2; here it is on v1",
                hint="climits run --on-oom kill-group kills the rest of the group itself",
            )
        out = self._max_and_swap(wish, now)
        if wish.low is not None:
            low = round_to_pages(wish.low)
            out.append(("memory.soft_limit_in_bytes", limit_text(low, "-1"), low))
        if wish.swappiness is not None:
            out.append(("memory.swappiness", str(wish.swappiness), wish.swappiness))
        if wish.oom_pause is not None:
            out.append(("memory.oom_control", str(int(wish.oom_pause)), None))
        return out

    def _max_and_swap(self, wish: MemoryLimits, now: MemoryLimits) -> "list[Write]":
        """The kernel wants memsw >= limit after every write: raise memsw first, lower it last."""
        if wish.max is None and wish.swap_max is None:
            return []
        old = now.max if now.max is not None else UNLIMITED
        limit = old if wish.max is None else round_to_pages(wish.max)
        out: list[Write] = []
        if wish.max is not None:
            out.append((_MAX, limit_text(limit, "-1"), limit))
        if not self._has_memsw():
            return out + self._without_memsw(wish)
        swap = wish.swap_max if wish.swap_max is not None else now.swap_max
        if limit == UNLIMITED and wish.swap_max not in (None, UNLIMITED):
            raise UnsupportedError(
                "a swap limit needs a memory limit on cgroup v1, which counts both together",
                hint="give a memory limit too",
            )
        total = UNLIMITED if swap in (None, UNLIMITED) else round_to_pages(limit + (swap or 0))
        if total >= MAX_BYTES:
            total = UNLIMITED
        memsw: Write = (_MEMSW, limit_text(total, "-1"), total)
        return [memsw, *out] if limit > old or limit == UNLIMITED else [*out, memsw]

    def _has_memsw(self) -> bool:
        # The same for every cgroup of a kernel, but asked of one that exists: --explain has none.
        global _memsw
        if _memsw is None:
            _memsw = self.directory.has(_MEMSW)
        return _memsw

    def _without_memsw(self, wish: MemoryLimits) -> "list[Write]":
        if wish.swap_max in (None, UNLIMITED):
            return []
        if wish.swap_max == 0:
            # The next best: reclaim page cache and never swap, while there is another way.
            return [("memory.swappiness", "0", 0)] if wish.swappiness is None else []
        from ...linux.proc import swap_is_active

        if not swap_is_active():
            return []
        raise UnsupportedError(
            "a swap limit other than 0 or max needs memory.memsw, which this kernel does not show",
            hint="boot with swapaccount=1",
        )

    def set(self, wish: MemoryLimits, *, force: bool = False, untouched: bool = False) -> None:
        before = None if untouched else self.limits()
        try:
            super().set(wish, force=True, untouched=untouched)
        except CgroupError as e:
            # v1 reclaims by itself and never kills for a write: forced or not, EBUSY is its no.
            if e.errno != errno.EBUSY or wish.max is None or before is None:
                raise
            # Memory may have been lowered, by swapping out, before memsw was refused.
            undo = MemoryLimits(max=before.max, swap_max=before.swap_max)
            for file, text, _ in self.writes(undo, self.limits()):
                self.directory.write(file, text)
            total = self.directory.read_optional("memory.memsw.usage_in_bytes")
            used = int(total) if total else self.current()
            raise self._too_low(wish.max, used, "or choose a higher limit") from None


def _usage(
    stat: "bytes | None", current: "bytes | None", peak: "bytes | None", kernel: "bytes | None"
) -> MemoryUsage:
    # The totals, which count cgroups below too, as the other files do.
    stat = stat or b""
    return MemoryUsage(
        current=int(current) if current else None,
        peak=int(peak) if peak else None,
        anon=pick(stat, b"total_rss "),
        file=_cache(stat),
        shmem=pick(stat, b"total_shmem "),
        kernel=int(kernel) if kernel else None,
        swap_current=pick(stat, b"total_swap "),
    )


def _events(
    failcnt: "bytes | None",
    memsw_failcnt: "bytes | None",
    control: "bytes | None",
    limit: "bytes | None",
    memsw: "bytes | None",
) -> MemoryEvents:
    return MemoryEvents(
        max=_hits(failcnt, memsw_failcnt, limit, memsw),
        oom_kill=_oom_kill(control),
    )


def _hits(
    failcnt: "bytes | None",
    memsw_failcnt: "bytes | None",
    limit: "bytes | None",
    memsw: "bytes | None",
) -> "int | None":
    # Memory and swap together are charged first: where both limits are the same (swap 0), memory's
    # own is never hit, and newer kernels (6.18) do not count for memsw: then 0 means nothing.
    hits = int(failcnt or 0) + int(memsw_failcnt or 0)
    return hits if hits > 0 or limit != memsw else None


def _cache(stat: bytes) -> "int | None":
    """Page cache, bytes; the kernel's figure has shmem in it."""
    cache = pick(stat, b"total_cache ")
    return None if cache is None else max(cache - (pick(stat, b"total_shmem ") or 0), 0)


def _memsw_hits_are_counted() -> bool:
    # Since 6.15 page_counter counts failures only where it is asked to, and nobody asks for memsw.
    # Source: mm/memcontrol.c (track_failcnt)
    from ...linux.proc import kernel_version

    return kernel_version() < (6, 15)


def _oom_kill(control: "bytes | None") -> "int | None":
    return pick(control or b"", b"oom_kill ")  # since 4.13


def _max_and_swap(
    limit: "bytes | None", memsw: "bytes | None"
) -> "tuple[Limit | None, Limit | None]":
    most = parse_limit(limit) if limit else None
    if memsw is None or most is None:
        return most, None
    total = parse_limit(memsw)
    return most, UNLIMITED if total == UNLIMITED else total - most


#: As _usage and _events tell them: totals, and a count of hits only where it means something.
_FIGURES: "dict[str, Figure]" = {
    "current": (("memory.usage_in_bytes",), int),
    "peak": (("memory.max_usage_in_bytes",), int),
    "anon": (("memory.stat",), lambda data: pick(data, b"total_rss ")),
    "file": (("memory.stat",), _cache),
    "shmem": (("memory.stat",), lambda data: pick(data, b"total_shmem ")),
    "kernel": (("memory.kmem.usage_in_bytes",), int),
    "swap": (("memory.stat",), lambda data: pick(data, b"total_swap ")),
    "max": ((_MAX,), parse_limit),
    "swap_max": (_LIMITS, lambda limit, memsw: _max_and_swap(limit, memsw)[1]),
    "limit_hits": (("memory.failcnt", "memory.memsw.failcnt", *_LIMITS), _hits),
    "oom_kill": (("memory.oom_control",), _oom_kill),
    "stat": (("memory.stat",), stat_fields),
}
