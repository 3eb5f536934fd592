"""Records what programs use while they run: samples, events and the end.

A sample holds only what has changed since the one before.  The next is taken 50 ms later while
usage moves, and ever later while it does not, up to half a second: see follower.py.
"""

import _signal  # `signal` wraps it in enums, at 2.5 ms
import _thread
import os

from ...cgroup.group import Cgroup
from ...errors import ClimitsError
from ...supervise.beside import Beside
from ...units import UNLIMITED
from ..sampler import Sampler
from .file import FIELDS, File
from .follower import FASTEST, SLOWEST, Follower

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Any, Self

    from ...program.process import Process
    from ...records import Result
    from ...supervise.client import Client

#: Looks a second at all programs of a supervisor together.
_MOST_LOOKS = 200


class Looker:
    """A thread that samples cgroups, all of them when one of them is due."""

    def __init__(self) -> None:
        self._sampler = Sampler(figures=FIELDS.values())
        self._followers: dict[str, Follower] = {}
        self._lock = _thread.allocate_lock()  # of the two above
        self._wake = _thread.allocate_lock()
        self._wake.acquire()
        self._done: _thread.LockType | None = None
        self._ending = False

    def add(self, follower: Follower) -> None:
        """Follow a cgroup from now on; the first sample is taken here.

        Raises:
            CgroupError, UnsupportedError: it is gone, or cannot be read.
        """
        with self._lock:
            self._sampler.discard(follower.path)  # one that was removed, and is made anew
            self._sampler.add(follower.path)
            self._followers[follower.path] = follower
        self.look()
        if self._done is None:
            self._done = start_thread(self._run)
        elif self._wake.locked():
            self._wake.release()

    def take_out(self, path: str) -> "Follower | None":
        """Follow it no longer; the caller closes the follower."""
        with self._lock:
            self._sampler.discard(path)
            return self._followers.pop(path, None)

    def look(self) -> "set[str]":
        """Sample all of them now; the paths of those that are still there."""
        with self._lock:
            samples = self._sampler.sample()
            for path, sample in samples.items():
                self._followers[path].take(sample)
        return set(samples)

    def _run(self) -> None:
        while not self._ending:
            # Programs that are many are looked at less often, so that it costs no more.
            fastest = max(FASTEST, len(self._followers) / _MOST_LOOKS)
            with self._lock:
                wanted = [f.interval for f in self._followers.values()]
            if not self._wake.acquire(True, max(min(wanted, default=SLOWEST), fastest)):
                self.look()

    def last(self) -> "set[str]":
        """End the thread, and take a last sample of what is still there; the paths of that."""
        if self._done is not None:
            self._ending = True
            if self._wake.locked():
                self._wake.release()
            self._done.acquire()
            self._done = None
        return self.look()

    def close(self) -> None:
        """Give the descriptors back."""
        for follower in self._followers.values():
            follower.close()
        self._sampler.close()


def start_thread(function: "Callable[[], None]") -> "_thread.LockType":
    """Start a thread; the lock that is returned can be taken once it has ended."""
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            function()
        finally:
            done.release()

    # Python's handlers run in the main thread, which would not be woken by a signal that the kernel
    # gives to this one.
    old = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    try:
        _thread.start_new_thread(run, ())
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, old)
    return done


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
            path: where; an earlier recording is replaced, and nothing else.
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
        if isinstance(what, Cgroup):
            path, self._t0 = what.path, self._file.now()
            facts["name"] = what.name or "/"
        else:
            self._process, path = what, what.cgroup.path
            self._t0 = self._file.moment(what.started)
            facts |= {"name": os.path.basename(os.fsdecode(what.args[0])), "pid": what.pid}
        self.event("started", at=self._t0, cgroup=path, **facts)
        try:
            # One of our own: the program's is given back when it has ended.
            self._follower = Follower(self._file, 0, path, Cgroup.open(path))
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

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: "BaseException | None",
        trace: "TracebackType | None",
    ) -> None:
        self.close()


class SupervisorRecorder(Beside):
    """Records the programs of a supervisor."""

    def __init__(self, path: str, *, warn: "Callable[[str], None] | None" = None) -> None:
        """Nothing is opened yet.

        Args:
            path: where; an earlier recording is replaced, and nothing else.
            warn: gets one line, from another thread, when something cannot be recorded.
        """
        self._path, self._warn = path, warn or _ignore
        self._file: File | None = None
        self._client: Client | None = None
        self._looker = Looker()
        self._numbers: dict[str, int] = {}
        self._paths: dict[str, str] = {}
        self._done: _thread.LockType | None = None

    def begin(self, connect: "Callable[[], Client]") -> None:
        """See Beside."""
        self._file = File(self._path, {}, self._warn)
        self._client = connect()
        self._done = start_thread(self._listen)

    def _listen(self) -> None:
        assert self._client is not None
        try:
            for record in self._client.events(follow=True):
                self._take(record)
        except (ClimitsError, OSError, ValueError):
            pass  # the supervisor has ended, or thinks that we have

    def _take(self, record: "dict[str, Any]") -> None:
        """Write an event of the supervisor's, and follow the program that it is about."""
        assert self._file is not None
        event, name = record.pop("event"), record.pop("program", None)
        at = self._file.moment(record.pop("time"))
        number = self._number(name)
        if event == "started":
            self._paths[name], record["name"] = record["cgroup"], name
        elif "duration" in record and name in self._paths:  # it has ended
            follower = self._looker.take_out(self._paths.pop(name))
            if follower is not None:
                kills = (record.get("oom_kill") or 0) - follower.kills
                follower.take_end(at, kills, record.get("memory_peak"))
        self._file.write(_event(at, event, {"i": number, **record} if number else record))
        if event == "started":
            try:
                self._looker.add(Follower(self._file, number, record["cgroup"]))
            except ClimitsError as e:
                if not isinstance(e, FileNotFoundError):  # it has ended already
                    self._warn(f"recording: {e}")

    def _number(self, name: "str | None") -> int:
        if name is None:
            return -1
        return self._numbers.setdefault(name, len(self._numbers))

    def end(self) -> None:
        """See Beside."""
        if self._done is not None:
            self._done.acquire()
            self._done = None
        if self._client is not None:
            self._client.close()
        if self._file is not None:
            self._looker.last()
            self._file.write(_event(self._file.now(), "end", {}))
            self._file.close()
        self._looker.close()


def _event(at: float, kind: str, fields: "dict[str, Any]") -> str:
    import json  # the header has loaded it

    values = {k: "max" if v == UNLIMITED else v for k, v in fields.items() if v is not None}
    line = {"t": round(at, 3), "e": kind, **values}
    return json.dumps(line, separators=(",", ":")) + "\n"


def _ignore(_text: str) -> None:
    """Nobody wants to know."""
