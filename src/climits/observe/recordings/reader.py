"""Reads what climits.observe.recordings.recorder has written, as far as it is good.

A recording may have been cut off anywhere: by a full disk, by the end of the machine, or because it
is still being written.  Everything before that counts.
"""

import fcntl
import json
import math
import os
from array import array

from ...errors import ClimitsError, InvalidValueError
from ...records import Record
from ...units import UNLIMITED, format_duration, shown
from .file import BEGINNING, FIELDS, FORMAT, SCHEMA
from .result import is_number, result_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from ...records import KilledProcess, Result

NAN = math.nan
#: No line that we write comes near it, bytes.
_LONGEST = 1 << 24
#: The year 5138, seconds since the epoch: no clock tells that.
_LATEST_BEGIN = 1e11
#: Memory by kind, but for what is the kernel's own; with it all of it.
_OF_A_VICTIM = ("anon", "shmem")
_KINDS = (*_OF_A_VICTIM, "file", "kernel")
#: Keys of what may be unlimited.
_LIMITS = ("m", "h", "x")
#: Verdicts, as a supervisor tells them.
ENDS = ("exited", "signaled", "oom-killed", "timed-out", "stopped", "failed-to-start")


class Event(Record):
    """Something that happened.

    Attributes:
        time: seconds since the recording began.
        kind: started, restarted, oom-kill, paused, resumed, frozen, thawed, alarm, a verdict, ...
        fields: what else its line tells, such as count.
    """

    time: float
    kind: str
    fields: "dict[str, Any]"


class Trace:
    """What was recorded of one program, or of one cgroup.

    Attributes:
        name: of the program, for people.
        path: of its cgroup, or None.
        times: of the samples, seconds since the recording began, rising.
        columns: the figures by the names of climits.observe.sampler.Sample: bytes, counts, seconds;
            each as long as `times`.  nan where it was not reported or nothing ran; no limit is
            UNLIMITED.
        events: what happened, in order.
        result: how it ended the last time, or None.
        text: the same as a line for people, or None.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.path: str | None = None
        self.times = array("d")
        self.columns = {field: array("d") for field in FIELDS.values()}
        self.events: list[Event] = []
        self.result: Result | None = None
        self.text: str | None = None
        self._now = dict.fromkeys(self.columns, NAN)

    @property
    def began(self) -> float:
        """When the program was first seen, seconds since the recording began."""
        first = [e.time for e in self.events if e.kind == "started"][:1] + list(self.times[:1])
        return min(first, default=0.0)

    @property
    def ended(self) -> float:
        """When it was last seen, seconds since the recording began."""
        last = list(self.times[-1:]) + [e.time for e in self.events[-1:]]
        return max(last, default=0.0)

    def top(self, name: str) -> "float | None":
        """The highest value of a column; None where there is none."""
        return max((v for v in self.columns[name] if not math.isnan(v)), default=None)

    def total(self, name: str) -> "float | None":
        """How far a count has risen, over all runs: each may begin anew; None where there is none.

        What it had come to before the first sample counts too.
        """
        sum_, before = None, 0.0
        for value in self.columns[name]:
            if not math.isnan(value):
                sum_ = (sum_ or 0.0) + (value - before if value >= before else value)
                before = value
        return sum_

    def count(self, kind: str) -> int:
        """How often something happened; of OOM kills, how many processes died."""
        return sum(int(e.fields.get("count", 1)) for e in self.events if e.kind == kind)

    def explain(self, victim: "KilledProcess") -> None:
        """Take the kinds at the highest usage of the last run from what was killed there.

        A sample may have the usage of before a kill, and the kinds of after it, or none.

        Args:
            victim: the only one that was killed, so that most of it was that one's.
        """
        usage = self.columns["current"]
        begin = max((e.time for e in self.events if e.kind in ("started", "restarted")), default=0)
        best, at = None, len(usage) - 1
        while at >= 0 and self.times[at] >= begin:
            if not math.isnan(usage[at]) and (best is None or usage[at] > usage[best]):
                best = at
            at -= 1
        if best is None:
            return
        known = [size for kind in _KINDS if (size := self.columns[kind][best]) > 0]
        own = {kind: getattr(victim, kind) for kind in _OF_A_VICTIM}
        taken = sum(size for size in own.values() if size)
        if sum(known) >= usage[best] / 2 or not usage[best] / 2 <= taken <= usage[best]:
            return
        for kind in _KINDS:
            of_it = own.get(kind)
            self.columns[kind][best] = NAN if of_it is None else of_it

    def last_until(self, time: float) -> None:
        """It was as it is until then, seconds since the beginning, unless it had ended."""
        if self.times and self.times[-1] < time and not math.isnan(self.columns["current"][-1]):
            self.add(time, {})

    def add(self, time: float, changes: "dict[str, float]") -> None:
        """Add a sample: what is not among the changes is as it was."""
        self._now.update(changes)
        self.times.append(time)
        for name, column in self.columns.items():
            column.append(self._now[name])

    def interrupt(self, time: float) -> None:
        """Nothing runs from here on; what comes then is counted from nothing."""
        self._now = dict.fromkeys(self.columns, NAN)
        if self.times and not math.isnan(self.columns["current"][-1]):
            self.add(time, {})


class Recording:
    """A recording that was read.

    Attributes:
        path: of the file.
        header: its first line.
        traces: one for each program; may be empty.
        events: what concerns none of them.
        lines: how many are good, the header included.
        until: the last moment that it tells of, seconds since it began.
        finished: it has its end.
        written: a climits writes it at this moment.
        problem: why it is not good to its end, or None.
    """

    def __init__(self, path: str, header: "dict[str, Any]") -> None:
        self.path, self.header = path, header
        self.traces: list[Trace] = []
        self.events: list[Event] = []
        self.lines = 1
        self.until = 0.0
        self.finished = self.written = False
        self.problem: str | None = None
        self._by_number: dict[int, Trace] = {}

    @property
    def began(self) -> float:
        """When it began, seconds since the epoch."""
        return float(self.header["time"])

    @property
    def command(self) -> list[str]:
        """The command line that was recorded; may be empty."""
        command = self.header.get("command")
        return [str(word) for word in command] if isinstance(command, list) else []

    def note(self) -> "str | None":
        """One line that says how far it is good; None where it is whole."""
        if self.problem is None and self.finished:
            return None
        good = f"good up to line {self.lines}, {format_duration(self.until)}"
        if self.written:
            return f"{self.path}: is still being written: {good}"
        cause = self.problem or "it has no end: climits was killed, or the machine went down"
        return f"{self.path}: {cause}: {good}"

    def trace(self, number: int) -> Trace:
        """The trace of a program by its number in the file."""
        if number not in self._by_number:
            command = self.command or [f"program {number}"]
            self._by_number[number] = Trace(os.path.basename(command[0]))
            self.traces.append(self._by_number[number])
        return self._by_number[number]


def read_recording(path: str) -> Recording:
    """Read a recording as far as it is good.

    Raises:
        InvalidValueError: it is not a recording.
        ClimitsError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            recording = _begin(path, file)
            recording.written = _is_written(file.fileno())
            _read_lines(recording, file)
            for trace in recording.traces:
                trace.last_until(recording.until)
    except OSError as e:
        raise ClimitsError(
            f"cannot read the recording: {shown(path)}: {os.strerror(e.errno or 0).lower()}",
            path=path,
            errno=e.errno,
            hint="name a file that climits run --record FILE has written",
        ) from None
    return recording


def _begin(path: str, file: "BinaryIO") -> Recording:
    line = file.readline(_LONGEST)
    if not line:
        raise _not_one(path, "it is empty")
    try:
        header = json.loads(line)
        good = isinstance(header, dict) and header["climits"] == FORMAT
        schema = int(header["schema"]) if good else 0
        good = good and is_number(header["time"]) and 0 <= header["time"] < _LATEST_BEGIN
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        good = False
    if not good:
        cut_off = line.startswith(BEGINNING) and not line.endswith(b"\n")
        raise _not_one(path, "its first line is cut off" if cut_off else "it does not begin as one")
    if schema > SCHEMA:
        raise InvalidValueError(
            f"{shown(path)}: a recording of a later climits (schema {schema})",
            path=path,
            hint="read it with that version",
        )
    return Recording(path, header)


def _not_one(path: str, cause: str) -> InvalidValueError:
    return InvalidValueError(
        f"{shown(path)}: not a recording: {cause}",
        path=path,
        hint="climits run --record FILE -- COMMAND makes one",
    )


def _is_written(fd: int) -> bool:
    """Whether a climits holds it: see file.File."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        pass
    return False


def _read_lines(recording: Recording, file: "BinaryIO") -> None:
    while line := file.readline(_LONGEST):
        if not line.endswith(b"\n"):
            recording.problem = "its last line is cut off"
            return
        try:
            fields = json.loads(line)
            time = fields.pop("t")
            if not is_number(time) or time < recording.until - 1.0:
                raise ValueError
            # The end of a run is told with the moment it happened, and written a little later.
            _take(recording, max(float(time), recording.until), fields)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            recording.problem = f"line {recording.lines + 1} is damaged"
            return
        recording.until = max(recording.until, time)
        recording.lines += 1


def _take(recording: Recording, time: float, fields: "dict[str, Any]") -> None:
    number, kind = fields.pop("i", 0), fields.pop("e", None)
    if not isinstance(number, int):
        raise TypeError
    if kind is None:
        changes = {FIELDS[k]: _figure(v, k) for k, v in fields.items() if k in FIELDS}
        recording.trace(number).add(time, changes)
        return
    if not is_number(fields.get("count", 1)):
        raise ValueError
    event = Event(time=time, kind=str(kind), fields=fields)
    if kind == "end":
        recording.finished = True
    elif kind == "gap":
        since = _figure(fields["since"], "since")
        recording.problem = recording.problem or _gap(since, time, fields.get("lost"))
        if fields.get("lost") != "events":
            for trace in recording.traces:
                trace.interrupt(since)
    elif number < 0:
        recording.events.append(event)
    else:
        trace = recording.trace(number)
        if kind == "started" and any(e.kind == "started" for e in trace.events):
            event = event.replace(kind="restarted")
        trace.events.append(event)
        _follow(trace, event)


def _gap(since: float, until: float, lost: object) -> str:
    if lost == "events":
        return f"events of the supervisor between {since:.1f} s and {until:.1f} s were lost"
    return f"nothing could be written from {since:.1f} s to {until:.1f} s"


def _follow(trace: Trace, event: Event) -> None:
    """What an event says about the trace itself."""
    if event.kind in ("started", "restarted"):
        trace.interrupt(event.time)
        trace.path = _text(event.fields.get("cgroup")) or trace.path
        trace.name = str(event.fields.get("name", trace.name))
    elif event.kind == "removed":
        trace.interrupt(event.time)
        trace.text = "the cgroup was removed"
    elif event.kind in ENDS:
        trace.interrupt(event.time)
        trace.text = _text(event.fields.get("text")) or _text(event.fields.get("error"))
        # Of failed-to-start a supervisor tells why, and no more.
        known = event.fields.get("result") or event.fields
        trace.result = result_of({**known, "verdict": event.kind})
        evidence = trace.result.evidence
        if evidence is not None and evidence.killed is not None and len(evidence.killed) == 1:
            trace.explain(evidence.killed[0])


def _text(value: object) -> "str | None":
    return value if isinstance(value, str) else None


def _figure(value: object, key: str) -> float:
    if value == "max" and key in _LIMITS:
        return UNLIMITED
    if value is None and key in FIELDS:
        return NAN
    if not is_number(value):
        raise ValueError
    return float(value)  # type: ignore[arg-type]
