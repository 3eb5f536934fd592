"""The keeper: a process that starts one program, polls what lies below itself, and ends it.

It is told what to do over one pipe and tells what happened over another, both in `marshal`, which
costs no import: first the plan and the limit; then the program's pid, or why it did not start; in
the end how it ended.  When its caller dies it ends the program.
"""

import _signal
import marshal
import os
import select
import sys
import time

from ...errors import ClimitsError
from ...launch.plan import Plan
from ...launch.spawn import spawn
from .pace import Pace
from .tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Seconds to the first look, at most: what is over soon is to have been seen too.
_FIRST = 0.005
#: Seconds to wait until all have stopped, before the last figure is read.
_STOPPING = 0.05
#: Seconds to go on killing; only what another user runs, or a device holds, is alive after that.
_KILLING = 10.0
#: What the caller may say.
GO_ON, KILL = b"g", b"k"


class Keeper:
    """One program and what it has started.

    Attributes:
        figures: what was seen, for the caller; see records.Polling.
    """

    def __init__(self, control: int, report: int, caller: int) -> None:
        """Nothing is started yet.

        Args:
            control: to read what the caller says.
            report: to write what the caller is told.
            caller: a pidfd of it.
        """
        self._control, self._report, self._caller = control, report, caller
        self._tree = Tree(os.getpid())
        self._status: int | None = None
        self._limit = self._pid = 0
        self._pidfd = -1
        self._cpu = [0.0, 0.0]
        self._began = 0.0
        self.figures: dict[str, Any] = {
            "peak": 0, "samples": 0, "hidden": 0, "exceeded": False, "overshoot": None,
            "longest": 0.0, "error": None,
        }  # fmt: skip

    def run(self) -> None:
        """Do it all."""
        order = receive(self._control)
        if order is None or not self._start(order):
            return
        try:
            self._watch()
        except Exception as e:  # a fault of ours: then nobody keeps the limit
            self.figures["error"] = f"polling failed, and all was killed: {type(e).__name__}: {e}"
        self._end()

    def _start(self, order: "dict[str, Any]") -> bool:
        """Start the program; whether it runs."""
        plan = Plan(order["argv"], order["envp"], order["paths"])
        plan.calls, plan.sigmask, plan.command = order["calls"], order["sigmask"], order["command"]
        plan.die_with_parent(os.getpid())
        for fd in order["stdio"]:
            if fd > 2 and fd not in order["pass"]:  # ours only to be handed on
                os.set_inheritable(fd, False)
        self._limit = order["limit"]
        self._tree.look()  # whoever is there now is none of ours
        begun = time.monotonic()
        try:
            self._pid, self._pidfd = spawn(plan)
        except ClimitsError as e:
            told = {"kind": type(e).__name__, "text": e.text, "path": e.path, "errno": e.errno}
            send(self._report, {**told, "hint": e.hint})
            return False
        self._control, self._report, self._caller, self._pidfd = _keep_only(
            self._control, self._report, self._caller, self._pidfd
        )
        send(self._report, {"pid": self._pid, "begun": begun})
        # Until the caller has a descriptor of it, its number must stay its own.
        if os.read(self._control, 1) != GO_ON:
            self._kill()
        return True

    # -- looking -----------------------------------------------------------------------------

    def _watch(self) -> None:
        """Look until it ends, or is to be ended."""
        pace = Pace(self._limit)
        self._began, last = time.process_time(), time.monotonic()
        pause = min(pace.wait(0, last, 0.0), _FIRST)
        watched = [self._control, self._caller, self._pidfd]
        while self._status is None:
            ready = select.select(watched, [], [], pause)[0]
            self._reap()
            if self._pidfd in ready or self._status is not None:
                return
            if ready and (self._caller in ready or os.read(self._control, 1) in (b"", KILL)):
                self._kill()
                return
            now, cpu = time.monotonic(), time.process_time()
            used = self._look()
            self.figures["longest"] = max(self.figures["longest"], now - last)
            if used > self._limit and self._exceeds():
                return
            pause, last = pace.wait(used, now, time.process_time() - cpu), now

    def _look(self) -> int:
        """What it uses, bytes; more than that only where it is still within the limit."""
        self._tree.look()
        self.figures["samples"] += 1
        used = self._tree.resident()
        # The cheap figure is never too low: the dear one is read where it may matter.
        if used > self._limit or (used > self.figures["peak"] and self._may_look_closely()):
            began = time.monotonic()
            exact = self._tree.proportional()
            after = time.monotonic()
            self._close = after, after - began
            if exact <= self._limit:
                self._note(exact)
            if used > self._limit:
                return exact
        return used

    _close = 0.0, 0.0  # when the dear figure was read last, and how long that took

    def _may_look_closely(self) -> bool:
        at, took = self._close
        return time.monotonic() - at > 20 * took

    def _note(self, exact: int) -> None:
        figures = self.figures
        figures["peak"] = max(figures["peak"], exact)
        figures["hidden"] = max(figures["hidden"], self._tree.hidden)

    # -- ending ------------------------------------------------------------------------------

    def _exceeds(self) -> bool:
        """Stop it, read how far it really got, and kill it if that is too far; whether it was."""
        stood = self._tree.stop(_STOPPING)
        used = self._tree.proportional()
        if used <= self._limit:
            # One after the other was read, and pages that two shared counted twice when one ended
            # between.
            self._tree.go_on(stood)
            return False
        self._note(used)
        self.figures["exceeded"], self.figures["overshoot"] = True, used - self._limit
        self._kill()
        return True

    def _kill(self) -> int:
        """Kill whatever is below us, until nothing is; returns how many processes it took."""
        killed: set[int] = set()
        deadline = time.monotonic() + _KILLING
        pause = 0.0005
        while self._has_children():
            self._tree.look(sure=True)
            killed.update(self._tree.living())
            self._tree.send(_signal.SIGKILL)
            if time.monotonic() > deadline:
                left = self._tree.living()
                self.figures["error"] = f"{len(left)} processes could not be killed: {left[:9]}"
                break
            time.sleep(pause)
            pause = min(pause * 2, 0.02)
        return len(killed)

    def _end(self) -> None:
        """Kill what is left, and tell how it ended."""
        at_end, has_ended = time.monotonic(), self._status is not None
        killed = self._kill()
        told = {
            **self.figures, "cpu": self._cpu, "ended": at_end,
            "own_cpu": time.process_time() - self._began,
            "status": _signal.SIGKILL if self._status is None else self._status,
            "stragglers": killed if has_ended else 0,
        }  # fmt: skip
        try:
            send(self._report, told)
        except OSError:
            pass  # nobody listens any more

    def _has_children(self) -> bool:
        """Whether anything is left below us, after reaping what has ended."""
        try:
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return True
                self._cpu[0] += usage.ru_utime
                self._cpu[1] += usage.ru_stime
                if pid == self._pid:
                    self._status = status
        except ChildProcessError:
            return False

    def _reap(self) -> None:
        self._has_children()


def send(fd: int, message: "dict[str, Any]") -> None:
    """Write a message."""
    data = marshal.dumps(message)
    data = len(data).to_bytes(8, sys.byteorder) + data
    while data:
        data = data[os.write(fd, data) :]


def receive(fd: int) -> "dict[str, Any] | None":
    """Read a message; None where there is none, or half of one."""
    size = int.from_bytes(_exactly(fd, 8), sys.byteorder)
    data = _exactly(fd, size)
    message: dict[str, Any] | None = marshal.loads(data) if data and len(data) == size else None
    return message


def _exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := os.read(fd, min(size - len(data), 1 << 20))):
        data += more
    return data


def _keep_only(*keep: int) -> list[int]:
    """Hold nothing of the program's: whoever reads its output must see the end of it.

    Returns:
        Descriptors of the same, low enough for select.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and fd not in keep:
            try:
                os.close(fd)
            except OSError:
                pass  # of the listing itself
    os.chdir("/")
    return [os.dup(fd) for fd in keep]


def main() -> None:
    """Run; the arguments are the two pipes and the pid of the caller."""
    control, report, caller = map(int, sys.argv[1:4])
    for fd in (control, report):
        os.set_inheritable(fd, False)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # ignored, the kernel would reap for us
    try:
        pidfd = os.pidfd_open(caller)
    except OSError:
        return
    if os.getppid() == caller:  # else it has died, and that number may be another's
        Keeper(control, report, pidfd).run()
