"""Doing what an alarm asks for, without ever holding up the loop that it was raised in."""

import json
import os
import select
import signal
import time

from ..errors import ClimitsError
from ..launch.plan import Plan, candidates
from ..launch.spawn import spawn
from ..linux.notify import Timer
from ..program.verdict import signal_name
from ..records import MemoryLimits
from ..units import format_size
from .workers import Worker, post

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..cgroup.events import Event
    from ..cgroup.group import Cgroup
    from .alarms import Alarm

#: Commands at once; and how long one may run, seconds.
MOST_COMMANDS, COMMAND_TIMEOUT = 8, 30.0


class _Command:
    """A command that runs."""

    __slots__ = ("deadline", "name", "pid", "pidfd")

    def __init__(self, name: str, pid: int, pidfd: int, deadline: "float | None") -> None:
        self.name, self.pid, self.pidfd, self.deadline = name, pid, pidfd, deadline


class Actor:
    """Does the actions of alarms for an event loop.

    Call `turn` whenever `fileno` is readable.  Close it at the end.
    """

    def __init__(self, *, sigmask: int = -1, timeout: float = COMMAND_TIMEOUT) -> None:
        """Prepare; nothing runs before the first alarm.

        Args:
            sigmask: signal mask of the commands, as in Plan; -1: the caller's.
            timeout: of a command, seconds; then it is killed, with its children.
        """
        self._sigmask, self._timeout = sigmask, timeout
        self._commands: dict[int, _Command] = {}
        self._workers: dict[str, Worker] = {}
        self._timer = Timer()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll = select.epoll()
        self._epoll.register(self._timer.fd, select.EPOLLIN)
        self._epoll.register(self._wake, select.EPOLLIN)

    def fileno(self) -> int:
        """The descriptor that is readable when `turn` has something to do."""
        return self._epoll.fileno()

    @property
    def busy(self) -> bool:
        """Whether a command runs, or something waits to be sent."""
        return bool(self._commands) or any(worker.pending for worker in self._workers.values())

    # -- acting ------------------------------------------------------------------------------

    def perform(
        self, alarm: "Alarm", event: "Event", group: "Cgroup", send_signal: "Callable[[int], None]"
    ) -> list[str]:
        """Do the actions of an alarm, those that save the program first.

        Args:
            alarm: whose actions.
            event: that raised it; commands and webhooks get it.
            group: the cgroup that is frozen, gets more memory or has to give some back.
            send_signal: sends a signal to the program, by its number.

        Returns:
            A line for each action: what was done or why it could not be; may be empty.
        """
        lines = []
        if alarm.grow is not None and alarm.grow_max is not None:
            lines.append(_try("raise the limit", _grow, group, alarm.grow, alarm.grow_max))
        if alarm.reclaim is not None:
            lines.append(_try("reclaim", self._reclaim, group, alarm.reclaim))
        if alarm.freeze:
            lines.append(_try("freeze", _freeze, group))
        if alarm.signal is not None:
            lines.append(_try("send the signal", _signal, send_signal, alarm.signal))
        if alarm.command:
            lines.append(_try(f"start {alarm.command[0]}", self._start, alarm.command, event))
        if alarm.webhook is not None:
            lines.append(_try("post", self._post, alarm.webhook, event))
        return lines

    def _start(self, command: list[str], event: "Event") -> str:
        if len(self._commands) >= MOST_COMMANDS:
            return f"not started: {command[0]}: {MOST_COMMANDS} commands of alarms run already"
        # A file in memory: it takes all of the text at once, whether anybody reads it or not.
        stdin = os.memfd_create("climits-event")
        try:
            os.write(stdin, _json(event) + b"\n")
            os.lseek(stdin, 0, os.SEEK_SET)
            plan = Plan(
                [os.fsencode(word) for word in command],
                _environment(event),
                candidates(command[0], os.environ.get("PATH")),
            )
            plan.sigmask = self._sigmask
            # In a session of its own: Ctrl+C is not meant for it, and its children end with it.
            plan.call("setsid", purpose="start a new session")
            plan.stdio(stdin, 2, None)  # standard output is for the events
            plan.close_others(())
            pid, pidfd = spawn(plan)
        finally:
            os.close(stdin)
        deadline = time.monotonic() + self._timeout
        self._commands[pidfd] = _Command(command[0], pid, pidfd, deadline)
        self._epoll.register(pidfd, select.EPOLLIN)
        self._arm()
        return f"started {command[0]} (pid {pid})"

    def _post(self, url: str, event: "Event") -> str:
        body = _json(event)
        if self._worker("webhook").submit(lambda: post(url, body)):
            return f"posting to {url}"
        return f"not posted to {url}: too much waits to be posted already"

    def _reclaim(self, group: "Cgroup", size: int) -> str:
        fd, text = group.memory.open_reclaim(size)

        def write() -> "str | None":
            try:
                os.write(fd, text.encode())
            except OSError as e:  # EAGAIN: there was less to reclaim
                if not isinstance(e, BlockingIOError):
                    return f"cannot reclaim: {group.path}: {os.strerror(e.errno or 0).lower()}"
            finally:
                os.close(fd)
            return None

        if self._worker("reclaim").submit(write):
            return f"reclaiming {format_size(size)}"
        os.close(fd)
        return "not reclaimed: too much waits to be reclaimed already"

    def _worker(self, name: str) -> Worker:
        if name not in self._workers:
            self._workers[name] = Worker(self._wake)
        return self._workers[name]

    # -- what follows ------------------------------------------------------------------------

    def turn(self) -> list[str]:
        """Deal with what has ended or taken too long.

        Returns:
            A line for each command or webhook that failed; may be empty.
        """
        lines = []
        for fd, _ in self._epoll.poll(0):
            if fd in self._commands:
                lines += self._reap(self._commands.pop(fd))
            elif fd == self._wake:
                os.eventfd_read(fd)
            else:
                self._timer.drain()
        for worker in self._workers.values():
            lines += worker.results()
        now = time.monotonic()
        for command in self._commands.values():
            if command.deadline is not None and now >= command.deadline:
                command.deadline = None
                _kill(command)
                lines.append(f"killed {command.name} (pid {command.pid}): it took too long")
        self._arm()
        return lines

    def _reap(self, command: _Command) -> list[str]:
        self._epoll.unregister(command.pidfd)
        try:
            end = os.waitid(os.P_PIDFD, command.pidfd, os.WEXITED)
        except ChildProcessError:
            end = None  # somebody else has reaped it
        os.close(command.pidfd)
        if end is None or end.si_status == 0 or command.deadline is None:
            return []
        how = "exit status" if end.si_code == os.CLD_EXITED else "ended by signal"
        return [f"failed: {command.name} (pid {command.pid}): {how} {end.si_status}"]

    def _arm(self) -> None:
        due = [c.deadline for c in self._commands.values() if c.deadline is not None]
        self._timer.arm(max(min(due) - time.monotonic(), 0.0) if due else None)

    def finish(self, timeout: float = COMMAND_TIMEOUT) -> list[str]:
        """Wait until all is done, at most so many seconds; lines as from `turn`."""
        lines = []
        deadline = time.monotonic() + timeout
        poll = select.poll()
        poll.register(self, select.POLLIN)
        while self.busy and (left := deadline - time.monotonic()) > 0:
            poll.poll(int(left * 1000) + 1)
            lines += self.turn()
        return lines

    def close(self) -> None:
        """Kill the commands that still run and give everything back."""
        for command in self._commands.values():
            _kill(command)
            command.deadline = None
            self._reap(command)
        self._commands.clear()
        for worker in self._workers.values():
            worker.close()
        self._timer.close()
        self._epoll.close()
        if self._wake >= 0:
            fd, self._wake = self._wake, -1
            os.close(fd)


def _try(what: str, function: "Callable[..., str]", *args: object) -> str:
    """The line of an action; no failure of one keeps the others from being done."""
    try:
        return function(*args)
    except ClimitsError as e:
        return f"cannot {what}: {e}" + (f"; hint: {e.hint}" if e.hint else "")
    except OSError as e:
        return f"cannot {what}: {os.strerror(e.errno or 0).lower()}"


def _grow(group: "Cgroup", factor: float, most: int) -> str:
    limit = group.memory.limits().max
    if not isinstance(limit, int):
        return f"the limit was not raised: {group.path} has none"
    size = min(int(limit * factor), most)
    if size <= limit:
        return f"the limit was not raised: {format_size(limit)} is as far as it may grow"
    group.memory.set(MemoryLimits(max=size))
    return f"raised the limit from {format_size(limit)} to {format_size(size)}"


def _freeze(group: "Cgroup") -> str:
    group.freezer.start_freezing()
    return f"freezing {group.path}"


def _signal(send: "Callable[[int], None]", number: int) -> str:
    send(number)
    return f"sent {signal_name(number)}"


def _kill(command: _Command) -> None:
    try:
        signal.pidfd_send_signal(command.pidfd, signal.SIGKILL)
        os.killpg(command.pid, signal.SIGKILL)  # still ours: it has not been reaped
    except OSError:
        pass  # it has ended meanwhile


def _json(event: "Event") -> bytes:
    return json.dumps(event.as_dict()).encode()


def _environment(event: "Event") -> list[bytes]:
    told = {"event": event.kind} | {
        name: value for name, value in event.as_dict().items() if name not in ("kind", "trigger")
    }
    environment = os.environb | {
        f"CLIMITS_{name.upper()}".encode(): os.fsencode(str(value)) for name, value in told.items()
    }
    return [name + b"=" + value for name, value in environment.items()]
