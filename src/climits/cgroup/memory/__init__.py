"""The memory controller of one cgroup, whatever its version.

The vocabulary is v2's.  Each version's module says what its kernel can do (the ``can_`` and
``has_`` capabilities) and how a wish becomes writes; what it cannot do is refused by name.
"""

import errno
import os

from ...errors import CgroupError, LimitTooLowError
from ...records import MemoryEvents, MemoryLimits, MemoryUsage
from ...units import MAX_BYTES, UNLIMITED, format_size, parse_size, round_to_pages
from ..files import refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..figures import Figure
    from ..files import Directory

    Limit = int | float
    #: (usage, events, max, swap_max)
    Details = tuple[MemoryUsage, MemoryEvents, Limit | None, Limit | None]
    #: (peak, oom_kill, the rest: not worked out unless somebody asks)
    Report = tuple[int | None, int | None, Callable[[], Details]]
    #: (file, text to write, number to read back or None)
    Write = tuple[str, str, "Limit | None"]


class Memory:
    """Limits and counters of one cgroup's memory.

    The limits are properties: ``memory.max = "60M"`` sets, ``memory.max`` reads bytes or
    UNLIMITED.
    """

    #: Tasks that hit the limit can be made to sleep until it is raised, by the kernel itself.
    can_pause_on_oom = False

    #: What poll(2) reports on a descriptor of watch_oom: POLLIN, or POLLPRI.
    OOM_MASK = 1

    #: What a cgroup has that nobody has touched.
    UNTOUCHED = MemoryLimits(max=UNLIMITED, swap_max=UNLIMITED)

    def __init__(self, directory: "Directory") -> None:
        self.directory = directory

    # -- what each version answers -----------------------------------------------------------

    def limits(self) -> MemoryLimits:
        """The limits in force."""
        raise NotImplementedError

    def usage(self) -> MemoryUsage:
        """What is in use now, by kind, and the peaks."""
        raise NotImplementedError

    def events(self) -> MemoryEvents:
        """Counters since the cgroup was made."""
        raise NotImplementedError

    def open_peak(self) -> tuple[int, bool]:
        """A descriptor from which to read the highest use, and whether a write to it starts anew.

        The descriptor is -1 where the kernel does not tell (v2 before 5.19).
        """
        raise NotImplementedError

    def open_kills(self) -> int:
        """A descriptor whose text has a line ``oom_kill N``: processes that were OOM-killed."""
        raise NotImplementedError

    def current(self) -> int:
        """Bytes in use now, page cache included."""
        raise NotImplementedError

    def report(self) -> "Report":
        """All that the end of a program wants to know, read in one go; bytes and counts."""
        raise NotImplementedError

    def hold_report(self) -> None:
        """Open what report will read; see Directory.hold.

        `usage`, `events` and `limits` close what they read of it: then report opens that again.
        """
        raise NotImplementedError

    def figures(self) -> "dict[str, Figure]":
        """What a sample reads, and what it makes of it; see cgroup.figures."""
        raise NotImplementedError

    def words(self) -> dict[str, str]:
        """What the kernel calls max, current, anon, file, kernel, and what is in real use."""
        raise NotImplementedError

    def under_oom(self) -> "bool | None":
        """Whether tasks sleep at the limit now; None where the kernel does not tell."""
        return None

    def is_stuck(self) -> bool:
        """Whether a program that is paused at its limit needs more memory to go on."""
        raise NotImplementedError

    def was_paused(self) -> bool:
        """Whether climits itself froze the program at its limit; on v1 the kernel does that."""
        return False

    def mark_paused(self, paused: "bool | None") -> None:
        """Write down, for whoever raises the limit, whether climits froze the program at it.

        None: it is no longer one that is paused at its limit.
        """

    def watch_oom(self) -> int:
        """A new descriptor that fires (OOM_MASK) when the limit is hit for good, or more often.

        A hint only: it fires on removal too, so read the counters after it.
        """
        raise NotImplementedError

    def drain_oom(self, fd: int) -> None:
        """Make a descriptor of watch_oom ready to fire again."""
        raise NotImplementedError

    def watch_usage(self, level: int) -> "int | None":
        """A new eventfd that fires when usage crosses a level, bytes, upwards or downwards.

        A hint only: it fires on removal too.  None where the kernel has no such thing (v2).
        """
        raise NotImplementedError

    def watch_counters(self) -> "int | None":
        """A new descriptor of the counters' file: POLLPRI when one moved since it was read.

        None where the kernel has no such file (v1).
        """
        raise NotImplementedError

    def watch_pressure(self, level: str) -> int:
        """A new eventfd that fires at a pressure of low, medium or critical (v1), or on removal.

        Raises:
            UnsupportedError: the kernel has no such thing (v2).
        """
        raise NotImplementedError

    def all_events(self) -> MemoryEvents:
        """As events, with those of the cgroups below too where the kernel counts them (v2)."""
        return self.events()

    def counts_limit_hits(self) -> bool:
        """Whether the counters tell of each time that the limit is hit."""
        return True

    def open_reclaim(self, size: int) -> "tuple[int, str]":
        """How to give `size` bytes back: a new descriptor and what to write to it.

        Not written here, since the write takes as long as the kernel needs.
        """
        raise NotImplementedError

    def reclaim(self, size: int) -> int:
        """Take so many bytes back, as far as the kernel can: page cache goes, the rest is swapped.

        It takes as long as the kernel needs.

        Returns:
            Bytes in use afterwards.

        Raises:
            UnsupportedError: this kernel cannot do so on request.
            CgroupError: it refused; not that it found less than was asked for.
        """
        fd, text = self.open_reclaim(size)
        try:
            os.write(fd, text.encode())
        except OSError as e:
            if e.errno not in (errno.EAGAIN, errno.EBUSY):  # they mean less than was asked for
                raise refusal("cannot reclaim", self.directory.path, e) from None
        finally:
            os.close(fd)
        return self.current()

    def writes(self, wish: MemoryLimits, now: MemoryLimits) -> "list[Write]":
        """The writes that turn the limits `now` into the `wish`, in the order the kernel accepts.

        Pure but for looking at which files the kernel has.

        Raises:
            UnsupportedError: a limit that this version or kernel cannot set.
        """
        raise NotImplementedError

    # -- setting -----------------------------------------------------------------------------

    def set(self, wish: MemoryLimits, *, force: bool = False, untouched: bool = False) -> None:
        """Set limits and read each one back.

        Args:
            wish: what to change; None leaves a limit as it is.
            force: lower the limit even below what is in use, which on v2 may kill.
            untouched: the cgroup is new: what is in force need not be read first.

        Raises:
            LimitTooLowError: the limit is below what is in use and cannot be reclaimed.
            UnsupportedError: this host cannot set one of them.
            CgroupError: the kernel refused, or kept another value.
        """
        now = self.UNTOUCHED if untouched else self.limits()
        if wish.max is not None and not untouched and not force:
            self._refuse_below_usage(wish.max)
        for file, text, expected in self.writes(wish, now):
            kept = self.directory.write(file, text, read_back=expected is not None)
            if expected is not None and parse_limit(kept) != expected:
                path = f"{self.directory.path}/{file}"
                found = format_size(parse_limit(kept))
                raise CgroupError(
                    f"{path}: the kernel kept {found} instead of {format_size(expected)}",
                    path=path,
                    value=expected,
                )

    def _read_limit(self, file: str) -> "Limit":
        return parse_limit(self.directory.read(file))

    def _refuse_below_usage(self, limit: "Limit") -> None:
        """Refuse a limit below usage before the kernel kills for it."""
        if self.current() <= limit:
            return
        self._reclaim(int(self.current() - limit))
        if (current := self.current()) > limit:
            raise self._too_low(limit, current)

    def _reclaim(self, size: int) -> None:
        """Try to give `size` bytes back: what can be reclaimed does not stand in a limit's way."""

    def _too_low(
        self, limit: "Limit", current: int, way_out: str = "choose a higher limit, or force it"
    ) -> LimitTooLowError:
        return LimitTooLowError(
            f"{self.directory.path}: cannot lower the limit to {format_size(limit)}: "
            f"{format_size(current)} is in use and cannot be reclaimed",
            path=self.directory.path,
            value=limit,
            hint=f"free memory in the program first, {way_out}",
        )

    # -- the properties ----------------------------------------------------------------------

    def _get(self, name: str) -> "Limit | None":
        value: Limit | None = getattr(self.limits(), name)
        return value

    def _put(self, name: str, value: "str | Limit") -> None:
        size = parse_size(value, what=f"memory.{name}", whole=None)
        self.set(MemoryLimits().replace(**{name: size}))

    @property
    def max(self) -> "Limit | None":
        """Hard limit."""
        return self._get("max")

    @max.setter
    def max(self, value: "str | Limit") -> None:
        self._put("max", value)

    @property
    def high(self) -> "Limit | None":
        """Throttling mark (v2)."""
        return self._get("high")

    @high.setter
    def high(self, value: "str | Limit") -> None:
        self._put("high", value)

    @property
    def low(self) -> "Limit | None":
        """Best-effort protection; on v1 the soft limit."""
        return self._get("low")

    @low.setter
    def low(self, value: "str | Limit") -> None:
        self._put("low", value)

    @property
    def min(self) -> "Limit | None":
        """Hard protection (v2)."""
        return self._get("min")

    @min.setter
    def min(self, value: "str | Limit") -> None:
        self._put("min", value)

    @property
    def swap_max(self) -> "Limit | None":
        """Swap allowed on top of `max`."""
        return self._get("swap_max")

    @swap_max.setter
    def swap_max(self, value: "str | Limit") -> None:
        self._put("swap_max", value)


def limit_text(size: "Limit", unlimited: str) -> str:
    """A size as the kernel reads it; `unlimited` is its word for no limit."""
    return unlimited if size == UNLIMITED else str(round_to_pages(size))


def parse_limit(data: bytes) -> "Limit":
    """What a limit file holds: for no limit v2 has ``max``, v1 a huge number."""
    value = UNLIMITED if data.startswith(b"max") else int(data)
    return UNLIMITED if value >= MAX_BYTES else value
