"""Records what programs use while they run: samples, events and the end.

A sample holds only what has changed since the one before.  The next is taken 50 ms later while
usage moves, and ever later while it does not, up to half a second: see follower.py.
"""

import os
import time

from ...cgroup.group import Cgroup
from ...errors import ClimitsError
from ...supervise.beside import Beside
from ...units import UNLIMITED
from .file import File
from .follower import Follower
from .looker import PATIENCE, Looker, start_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _thread
    from collections.abc import Callable, Sequence
    from typing import Any, Self

    from ...program.process import Process
    from ...records import Result
    from ...supervise.client import Client

#: Seconds before one who was let go comes again.
_PAUSE = 0.1


class Recorder:
    """Records one program, or one cgroup.

    ::

        with Recorder("app.jsonl") as recorder:
            process = climits.Process(["./app"], memory="60M")
            recorder.follow(process)
            process.wait()
    """

    def __init__(
        self,
        path: str,
        *,
        command: "Sequence[str]" = (),
        warn: "Callable[[str], None] | None" = None,
    ) -> None:
        """Open the file.

        Args:
            path: where; an earlier recording is replaced once something is followed, and nothing
                else.
            command: what is to be recorded, for people.
            warn: gets one line when something cannot be recorded; the program goes on.

        Raises:
            InvalidValueError: something else is there, or the path cannot be written.
        """
        self._warn = warn or _ignore
        self._file = File(path, {"command": list(command)} if command else {}, self._warn)
        self._looker = Looker()
        self._follower: Follower | None = None
        self._kills = 0
        self._process: Process | None = None
        self._t0 = 0.0

    def follow(self, what: "Process | Cgroup") -> None:
        """Record a program that was just started, or any cgroup, until `close`."""
        facts: dict[str, Any] = {}
        before = None
        if isinstance(what, Cgroup):
            path, self._t0 = what.path, self._file.now()
            facts["name"] = what.name or "/"
        else:
            self._process, path = what, what.cgroup.path
            self._t0 = self._file.moment(what.started)
            facts |= {"name": os.path.basename(os.fsdecode(what.args[0])), "pid": what.pid}
            before = (what.before.oom_kill if what.before else 0) or 0
        self._file.start()
        self.event("started", at=self._t0, cgroup=path, **facts)
        try:
            # One of our own: the program's is given back when it has ended.
            self._follower = Follower(self._file, 0, path, Cgroup.open(path), kills_before=before)
            self._looker.add(self._follower)
        except ClimitsError as e:
            self._warn(f"recording: {e}")

    def event(self, kind: str, *, at: "float | None" = None, **fields: "Any") -> None:
        """Write down that something happened.

        Args:
            kind: what.
            at: when, seconds since the recording began; now.
            fields: what else is known, as JSON can hold it.
        """
        self._file.write(_event(self._file.now() if at is None else at, kind, fields))

    def add_kills(self, count: int) -> None:
        """Somebody else has seen so many OOM kills: write down those that no sample told of."""
        self._kills += count
        self._looker.look()
        if self._follower is not None and self._follower.kills < self._kills:
            self._follower.tell_kills(self._kills - self._follower.kills, self._file.now())

    def close(self, result: "Result | None" = None) -> None:
        """Take the last sample and write the end; may be called again.

        Args:
            result: of the program; that of the Process, where one was followed.
        """
        if self._file.closed:
            return
        if result is None and self._process is not None:
            result = self._process.result
        there = self._looker.last()
        if result is not None:
            at = self._t0 + (result.duration or 0.0)
            if self._follower is not None and self._follower.path not in there:
                self._follower.take_result(result, at)
            values = result.replace(stdout=None, stderr=None).as_dict()
            self.event(result.verdict, at=at, result=values)
        self.event("end")
        self._looker.close()
        self._file.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class SupervisorRecorder(Beside):
    """Records the programs of a supervisor."""

    def __init__(self, path: str, *, warn: "Callable[[str], None] | None" = None) -> None:
        """Nothing is opened yet.

        Args:
            path: where; an earlier recording is replaced once a program runs, and nothing else.
            warn: gets one line, from another thread, when something cannot be recorded.
        """
        self._path, self._warn = path, warn or _ignore
        self._file: File | None = None
        self._looker = Looker()
        self._numbers: dict[str, int] = {}
        self._runs: dict[str, tuple[int, str]] = {}  # of what runs: pid and cgroup
        self._last: dict[str, Any] | None = None  # the event that was heard last
        self._lost = False  # any event
        self._done: _thread.LockType | None = None

    def begin(self, connect: "Callable[[], Client]") -> None:
        """See Beside."""
        self._file = File(self._path, {}, self._warn)
        client = connect()
        self._done = start_thread(lambda: self._listen(client, connect))

    def _listen(self, client: "Client", connect: "Callable[[], Client]") -> None:
        """Hear what happens until the supervisor ends; one who is let go before comes again."""
        while True:
            try:
                self._hear(client, connect)
            except (ClimitsError, OSError, ValueError):
                pass  # the next will tell why
            finally:
                client.close()
            try:
                client = connect()
            except ClimitsError as e:
                if e.errno is not None:  # no descriptor is left, for one
                    self._tell_loss()
                return
            time.sleep(_PAUSE)

    def _hear(self, client: "Client", connect: "Callable[[], Client]") -> None:
        records = client.events(follow=True)
        # Only the last are kept for one who comes later: what else runs is asked for once nothing
        # is missed any more, which the first record tells.
        for first in records:
            with connect() as other:
                last, programs = list(other.events())[-1], other.status()
            early = [first]
            while early[-1] != last:
                early.append(next(records))
            self._catch_up(early, programs)
            break
        for record in records:
            self._take(record)

    def _catch_up(self, early: "list[dict[str, Any]]", programs: "list[dict[str, Any]]") -> None:
        """Take the first events, and what had happened before them.

        Args:
            early: events up to the last that was kept.
            programs: what the supervisor told of its programs after that.
        """
        assert self._file is not None
        again = self._last is not None
        if self._last in early:
            del early[: early.index(self._last) + 1]
        elif again:
            self._tell_loss()
        before, after = [], []
        started = {record.get("pid") for record in early if record["event"] == "started"}
        for facts in programs:
            known = self._runs.get(facts["program"])
            if "cgroup" in facts and facts["pid"] not in started:
                if known is None or known[0] != facts["pid"]:
                    before.append(_started(facts))
            elif again and known is not None and "verdict" in facts:
                after.append(_ended(facts, known[0]))
        before.sort(key=lambda record: float(record["time"]))
        # Nothing is looked at before all of it is written: samples would be ahead of events.
        for record in before + early + after:
            self._take(record, later=True)
        for name, (_, path) in self._runs.items():
            self._follow(name, path)

    def _tell_loss(self) -> None:
        assert self._file is not None
        since = self._file.moment(self._last["time"]) if self._last else 0.0
        now = self._file.now()
        lost = {"since": round(min(since, now), 3), "lost": "events"}
        self._file.write(_event(now, "gap", lost))
        if not self._lost:
            self._lost = True
            self._warn(f"recording: {self._path}: events of the supervisor were lost")

    def _take(self, heard: "dict[str, Any]", *, later: bool = False) -> None:
        """Write an event of the supervisor's, and follow the program that it is about.

        Args:
            heard: the event.
            later: somebody else sees to it that what was started is followed.
        """
        assert self._file is not None
        self._last, record = heard, dict(heard)
        event, name = record.pop("event"), record.pop("program", None)
        now = self._file.now()
        at = min(self._file.moment(record.pop("time")), now)  # the clock may have been set back
        number, known = self._number(name), self._runs.get(name)
        if event == "started":
            if known is not None and known[0] == record["pid"]:
                return  # it was asked for before its event came
            if known is not None:  # how it ended was not heard
                self._forget(name)
            self._file.start()
            self._runs[name], record["name"] = (record["pid"], record["cgroup"]), name
        elif "duration" in record and known is not None and known[0] == record.get("pid", known[0]):
            follower = self._forget(name) or Follower(self._file, number, known[1])
            kills = (record.get("oom_kill") or 0) - follower.kills
            follower.take_end(at, kills, record.get("memory_peak"))
        self._file.write(_event(at, event, {"i": number, **record} if number else record))
        if event == "started" and not later:
            self._follow(name, record["cgroup"])

    def _follow(self, name: str, path: str) -> None:
        assert self._file is not None
        if self._looker.follows(path):
            return
        try:
            self._looker.add(Follower(self._file, self._number(name), path))
        except ClimitsError as e:
            if not isinstance(e, FileNotFoundError):  # it has ended already
                self._warn(f"recording: {e}")

    def _forget(self, name: str) -> "Follower | None":
        return self._looker.take_out(self._runs.pop(name)[1])

    def _number(self, name: "str | None") -> int:
        if name is None:
            return -1
        return self._numbers.setdefault(name, len(self._numbers))

    def end(self) -> None:
        """See Beside."""
        if self._done is not None and not self._done.acquire(True, PATIENCE):
            self._tell_loss()  # it hangs in a disk or in the kernel: what is told then is left out
        self._done = None
        if self._file is not None:
            self._looker.last()
            self._file.write(_event(self._file.now(), "end", {}))
            self._file.close()
        self._looker.close()


def _started(facts: "dict[str, Any]") -> "dict[str, Any]":
    """The event that would have told of a program that runs."""
    names = ("program", "pid", "cgroup", "memory_max")
    return {"time": facts["started"], "event": "started"} | {name: facts[name] for name in names}


def _ended(facts: "dict[str, Any]", pid: int) -> "dict[str, Any]":
    """The event that would have told of a program that has ended, as far as it is known."""
    names = ("program", "returncode", "memory_peak")
    known = {name: facts[name] for name in names if name in facts}
    return {"time": time.time(), "event": facts["verdict"], "pid": pid, "duration": None} | known


def _event(at: float, kind: str, fields: "dict[str, Any]") -> str:
    import json  # the header has loaded it

    values = {k: "max" if v == UNLIMITED else v for k, v in fields.items() if v is not None}
    line = {"t": round(at, 3), "e": kind, **values}
    return json.dumps(line, separators=(",", ":")) + "\n"


def _ignore(_text: str) -> None:
    """Nobody wants to know."""
