"""Frozen values that travel between the rooms.

Sizes are bytes, times are seconds, counts are ints.  None means that the kernel does not report
the figure; "no limit" is :data:`climits.UNLIMITED`.  Plain classes: `dataclasses` imports `re`
and `inspect`, a third of what a whole run may cost.
"""

from .units import UNLIMITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self, dataclass_transform

    Limit = int | float

    @dataclass_transform(frozen_default=True, kw_only_default=True)
    class Record:
        """See below."""

        @classmethod
        def with_late(cls, late: Callable[[], dict[str, Any]], **values: Any) -> Self: ...
        def as_dict(self) -> dict[str, Any]: ...
        def replace(self, **changes: Any) -> Any: ...

    def _late() -> Any: ...

else:
    Limit = "int | float"

    class _late:
        """A field that may be worked out at its first use, since few callers look at it."""

        def __set_name__(self, owner, name):
            self.name = name

        def __get__(self, record, owner):  # only while the record itself has no such field
            return None if record is None else record._values().get(self.name)

    class Record:
        """A frozen value: its fields are the annotations, their defaults the class attributes."""

        def __init__(self, **values):
            if not values.keys() <= type(self).__annotations__.keys():
                unknown = sorted(values.keys() - type(self).__annotations__.keys())
                raise TypeError(f"{type(self).__name__} has no field {unknown[0]}")
            self.__dict__.update(values)

        @classmethod
        def with_late(cls, late, **values):
            """A record whose late fields are worked out at their first use, by `late`."""
            self = cls(**values)
            self.__dict__["_late"] = late
            return self

        def _values(self):
            late = self.__dict__.get("_late")
            if late:
                self.__dict__.update(late())
                self.__dict__.pop("_late", None)  # another thread may have been here too
            return self.__dict__

        def __setattr__(self, name, value):
            raise AttributeError(f"{type(self).__name__} is frozen: cannot set {name}")

        def __delattr__(self, name):
            raise AttributeError(f"{type(self).__name__} is frozen: cannot delete {name}")

        def __eq__(self, other):
            if type(self) is not type(other):
                return NotImplemented
            return all(getattr(self, n) == getattr(other, n) for n in type(self).__annotations__)

        def __hash__(self):
            return hash(tuple(_hashable(getattr(self, n)) for n in type(self).__annotations__))

        def __repr__(self):
            fields = ", ".join(
                f"{n}={getattr(self, n)!r}"
                for n in type(self).__annotations__
                if n in self._values()
            )
            return f"{type(self).__name__}({fields})"

        def __reduce__(self):
            return _rebuild, (type(self), self._values())

        def replace(self, **changes):
            """A copy with some fields changed."""
            return type(self)(**{**self._values(), **changes})

        def as_dict(self):
            """Plain data for JSON: UNLIMITED becomes "max", what is None is left out."""
            return {
                name: _plain(value)
                for name in type(self).__annotations__
                if (value := getattr(self, name)) is not None
            }


def _rebuild(cls: "type[Any]", values: "dict[str, Any]") -> "Any":
    return cls(**values)


def _hashable(value: "Any") -> "Any":
    return tuple(map(_hashable, value)) if isinstance(value, (list, tuple)) else value


def _plain(value: "Any") -> "Any":
    if isinstance(value, Record):
        return value.as_dict()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return "max" if value == UNLIMITED else value


class MemoryLimits(Record):
    """The limits of one cgroup.  As a wish, None means "leave as it is".

    Attributes:
        max: hard limit, bytes or UNLIMITED.
        high: throttling mark, bytes or UNLIMITED (v2).
        low: best-effort protection, bytes or UNLIMITED; on v1 the soft limit.
        min: hard protection, bytes or UNLIMITED (v2).
        swap_max: swap on top of `max`, bytes or UNLIMITED.
        swappiness: 0 to 200, the v1 reclaim preference.
        oom_group: the OOM killer takes the whole cgroup (v2).
        oom_pause: tasks that hit the limit sleep instead of being killed (v1).
    """

    max: "Limit | None" = None
    high: "Limit | None" = None
    low: "Limit | None" = None
    min: "Limit | None" = None
    swap_max: "Limit | None" = None
    swappiness: "int | None" = None
    oom_group: "bool | None" = None
    oom_pause: "bool | None" = None


class MemoryUsage(Record):
    """What a cgroup uses, bytes.

    Attributes:
        current: everything charged, page cache included.
        peak: the highest `current` so far.
        anon: anonymous memory: heap, stacks, private maps.
        file: page cache, shmem left out; most of it can be reclaimed.
        shmem: shared memory and tmpfs.
        kernel: kernel memory: page tables, stacks, slab, sockets.
        swap_current: swap in use.
        swap_peak: the highest `swap_current` so far.
    """

    current: "int | None" = None
    peak: "int | None" = None
    anon: "int | None" = None
    file: "int | None" = None
    shmem: "int | None" = None
    kernel: "int | None" = None
    swap_current: "int | None" = None
    swap_peak: "int | None" = None


class MemoryEvents(Record):
    """How often things happened in a cgroup since it was made, counts.

    Attributes:
        low: reclaimed although below `low`.
        high: throttled at `high`.
        max: ran into the limit; on v1 None where the kernel does not count it (swap 0 on 6.18).
        oom: the limit could not be met by reclaim.
        oom_kill: processes that the OOM killer killed, by whichever limit.
        oom_group_kill: times that it took the whole cgroup.
    """

    low: "int | None" = None
    high: "int | None" = None
    max: "int | None" = None
    oom: "int | None" = None
    oom_kill: "int | None" = None
    oom_group_kill: "int | None" = None


class KilledProcess(Record):
    """One OOM kill, as the kernel log tells it.

    Attributes:
        pid: in the initial pid namespace.
        name: the first 15 bytes of its command name.
        anon, file, shmem: its resident memory by kind, bytes.
        limited_by: the cgroup whose limit was hit; None for the whole machine.
        usage, limit: of that cgroup at that moment, bytes.
    """

    pid: int
    name: str
    anon: "int | None" = None
    file: "int | None" = None
    shmem: "int | None" = None
    limited_by: "str | None" = None
    usage: "int | None" = None
    limit: "int | None" = None


class Pressure(Record):
    """Time lost to a shortage of memory since the cgroup was made (PSI), seconds.

    Attributes:
        memory_some: at least one task waited for memory.
        memory_full: all tasks waited for memory at once.
    """

    memory_some: "float | None" = None
    memory_full: "float | None" = None


class Polling(Record):
    """What was found by polling, where no kernel kept the limit.

    Memory is the sum of the proportional set sizes of all processes, and of their swap.

    Attributes:
        peak: the highest that was read, bytes; between two looks it may have been more.  None
            where the program ended before the first.
        overshoot: how far beyond the limit it was when it had been stopped, bytes; None where it
            stayed within.
        samples: how often was looked.
        interval: mean time between two looks, seconds; None without any.
        longest_interval: the longest, seconds.
        estimated: processes whose proportional size the kernel does not show to us (those of
            other users): what they have alone was counted for them; the most in one look.
        cpu_time: what the looking itself took, seconds.
        kernel_could: the kernel could have enforced the limit here, as far as can be seen.
    """

    peak: "int | None" = None
    overshoot: "int | None" = None
    samples: int
    interval: "float | None" = None
    longest_interval: float
    estimated: int = 0
    cpu_time: float
    kernel_could: bool = False


class Evidence(Record):
    """What a verdict rests on, read before the cgroup was removed.

    Attributes:
        usage: what was still charged when the program ended, by kind; the peaks.
        events: counters of the cgroup while the program ran.
        killed: OOM kills found in the kernel log; empty when there were none, None when the log
            cannot be read.
        pressure: PSI totals; None where the kernel has none for this cgroup.
        cpu_user, cpu_system: CPU time of the whole cgroup, seconds; None where the kernel does not
            count it for the cgroup (v1 without cpuacct).
        stragglers: processes that the program left behind and that were killed.
        too_small_to_start: the limit left no room even for execve.
        polling: what was found by polling; None where the kernel kept the limit.
    """

    usage: MemoryUsage
    events: MemoryEvents
    killed: "list[KilledProcess] | None" = None
    pressure: "Pressure | None" = None
    cpu_user: "float | None" = None
    cpu_system: "float | None" = None
    stragglers: int = 0
    too_small_to_start: bool = False
    polling: "Polling | None" = None


class Result(Record):
    """How one run ended.

    Attributes:
        schema: version of this record's JSON.
        command: the program and its arguments.
        verdict: exited, signaled, oom-killed, memory-exceeded, timed-out, stopped or
            failed-to-start.
        returncode: exit status, or minus the number of the signal, as in subprocess; None when
            the program did not start.
        signal: number of the signal that ended it.
        exit_status: what `climits run` exits with.
        pid: of the program.
        cgroup: its path below the mount point, such as /climits/web.
        enforced_by: who kept its limits: kernel, or poll (then see evidence.polling); None where
            it did not start.
        memory_max: the limit when it ended, bytes or UNLIMITED.
        memory_peak: highest usage, bytes.
        swap_max: the swap limit when it ended, bytes or UNLIMITED.
        swap_peak: highest swap usage, bytes.
        oom_kill: processes that the kernel OOM-killed in the cgroup.
        started: seconds since the epoch.
        duration: wall time, seconds.
        cpu_time: user and system time of the whole cgroup, seconds.
        error: why it did not start.
        evidence: the rest.
        stdout, stderr: what was captured, or None.
    """

    schema: int = 1
    command: "list[str]"
    verdict: str
    returncode: "int | None" = None
    signal: "int | None" = None
    exit_status: int
    pid: "int | None" = None
    cgroup: "str | None" = None
    enforced_by: "str | None" = None
    memory_max: "Limit | None" = _late()
    memory_peak: "int | None" = None
    swap_max: "Limit | None" = _late()
    swap_peak: "int | None" = _late()
    oom_kill: "int | None" = None
    started: "float | None" = None
    duration: "float | None" = None
    cpu_time: "float | None" = _late()
    error: "str | None" = None
    evidence: "Evidence | None" = _late()
    stdout: "Any" = None
    stderr: "Any" = None
