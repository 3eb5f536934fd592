"""What can be watched in a cgroup, as records, and their text as a person writes it."""

from ..errors import InvalidValueError
from ..records import Record
from ..units import UNLIMITED, format_size, parse_duration, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOURCES = (
    "threshold", "oom", "under-oom", "limit", "pressure", "populated", "empty", "swap",
)  # fmt: skip
_LEVELLED = ("threshold", "swap", "pressure")
PSI_SHARES = ("some", "full")
V1_PRESSURES = ("low", "medium", "critical")

_LEVEL_HINTS = {
    "threshold": "a size or a share of the cgroup's limit, like 32M or 80%",
    "swap": "a size, like 10M",
    "pressure": "time lost within a window, like some 150ms/1s; on cgroup v1 low, medium, critical",
}
#: The kernel's bounds of a PSI window, seconds.  Source: kernel/sched/psi.c
_WINDOW = (0.5, 10.0)


class Trigger(Record):
    """What is waited for.

    Attributes:
        source: threshold, oom, under-oom, limit, pressure, populated, empty or swap.
        level: usage of memory (threshold) or of swap from which on it fires, bytes.
        fraction: the same as a part of the cgroup's memory limit, 0 to 1, instead of `level`.
        hysteresis: it fires again only after usage fell so far below, bytes; None: after any fall.
        share: of pressure: some or full (PSI); low, medium or critical (v1).
        stall: of PSI: time lost within `window`, both in seconds.
    """

    source: str
    level: "int | None" = None
    fraction: "float | None" = None
    hysteresis: "int | None" = None
    share: "str | None" = None
    stall: "float | None" = None
    window: "float | None" = None

    def __str__(self) -> str:
        text = self.source
        if self.fraction is not None:
            text += f"={self.fraction * 100:g}%"
        elif self.level is not None:
            text += f"={format_size(self.level)}"
        elif self.stall is not None and self.window is not None:
            text += f"={self.share} {self.stall * 1000:g}ms/{self.window:g}s"
        elif self.share is not None:
            text += f"={self.share}"
        return text


class Event(Record):
    """Something that happened in a cgroup.

    Attributes:
        kind: the source of the trigger, or ``removed``.
        cgroup: its path, such as /climits/web.
        time: seconds since the epoch.
        current: memory in use when it was looked at, bytes; of swap the swap.
        level: what was reached, bytes.
        limit: the memory limit, bytes; None where there is none.
        count: how far the counter moved: processes killed (oom), times (limit).
        trigger: what it was waited for by; None for ``removed``.
    """

    kind: str
    cgroup: str
    time: float
    current: "int | None" = None
    level: "int | None" = None
    limit: "int | None" = None
    count: "int | None" = None
    trigger: "Trigger | None" = None


def make_trigger(source: object, level: "Any" = None, hysteresis: "Any" = None) -> Trigger:
    """Read a trigger.

    Args:
        source: one of SOURCES.
        level: of threshold ``32M`` or ``80%``, of swap ``10M``, of pressure ``some 150ms/1s`` or
            ``low``; of the others None.
        hysteresis: of threshold and swap, a size.

    Raises:
        InvalidValueError: naming the key that is wrong.
    """
    if source not in SOURCES:
        raise InvalidValueError(
            f"source: {source!r}: not a source" if source else "source: missing",
            value=source,
            hint="one of " + ", ".join(SOURCES),
        )
    source = str(source)
    if (level is None) != (source not in _LEVELLED):
        text = f"{source} has no level" if level is not None else f"{source} needs a level"
        raise InvalidValueError(f"level: {text}", value=level, hint=_LEVEL_HINTS.get(source))
    if hysteresis is not None and source not in ("threshold", "swap"):
        raise InvalidValueError(
            f"hysteresis: {source} has none",
            value=hysteresis,
            hint="it goes with threshold and swap",
        )
    if source == "pressure":
        return _pressure(level)
    if source not in _LEVELLED:
        return Trigger(source=source)
    fraction = _fraction(level) if source == "threshold" else None
    size = None if fraction is not None else bounded_size(level, "level")
    fall = None if hysteresis is None else bounded_size(hysteresis, "hysteresis")
    if size is not None and fall is not None and fall >= size:
        raise InvalidValueError(
            f"hysteresis: {hysteresis}: not below the level of {format_size(size)}",
            value=hysteresis,
            hint="it is how far usage must fall below the level before it counts again",
        )
    return Trigger(source=source, level=size, fraction=fraction, hysteresis=fall)


def parse_trigger(text: str) -> Trigger:
    """Read ``threshold=32M``, ``oom``, ``pressure=some 150ms/1s`` and the like.

    Raises:
        InvalidValueError: it is none.
    """
    source, equals, level = text.partition("=")
    return make_trigger(source, level if equals else None)


def bounded_size(text: "Any", what: str) -> int:
    """A size above 0 and below no limit, bytes.

    Raises:
        InvalidValueError: it is none.
    """
    size = parse_size(text, what=what)
    if size == UNLIMITED or size == 0:
        raise InvalidValueError(
            f"{what}: {text}: must be more than 0 and less than max",
            value=text,
            hint="write it like 32M",
        )
    return int(size)


def _fraction(level: "Any") -> "float | None":
    """``80%`` as 0.8; None for what is no percentage."""
    if not (isinstance(level, str) and level.endswith("%")):
        return None
    # parse_size reads the number: of a billion, so that nine digits of it are kept.
    fraction = parse_size(level, what="level", whole=10**9) / 10**9
    if not 0 < fraction <= 1:
        raise InvalidValueError(
            f"level: {level}: must be more than 0% and at most 100%",
            value=level,
            hint="a share of the cgroup's memory limit, like 80%",
        )
    return fraction


def _pressure(level: "Any") -> Trigger:
    share, _, times = str(level).replace("=", " ", 1).partition(" ")
    if share in V1_PRESSURES and not times:
        return Trigger(source="pressure", share=share)
    stall_text, slash, window_text = times.strip().partition("/")
    if share not in PSI_SHARES or not slash:
        raise InvalidValueError(
            f"level: {level}: not a pressure", value=level, hint=_LEVEL_HINTS["pressure"]
        )
    stall = parse_duration(stall_text, what="level")
    window = parse_duration(window_text, what="level")
    if not _WINDOW[0] <= window <= _WINDOW[1]:
        raise InvalidValueError(
            f"level: {level}: the kernel takes windows of 500ms to 10s", value=level
        )
    if not 0 < stall <= window:
        raise InvalidValueError(
            f"level: {level}: the time lost must be more than 0 and fit into the window",
            value=level,
            hint=_LEVEL_HINTS["pressure"],
        )
    return Trigger(source="pressure", share=share, stall=stall, window=window)
