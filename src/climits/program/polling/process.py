"""A program without a cgroup: Process, with a keeper between it and us."""

import _signal
import os
import sys
import time

from ... import errors
from ...cgroup.files import Directory
from ...cgroup.group import hierarchies_for
from ...cgroup.homes import foreseen_parent
from ...cgroup.layout import current
from ...errors import ClimitsError, LaunchError, UnsupportedError
from ...launch.plan import Plan
from ...launch.signals import mask_of
from ...launch.spawn import spawn
from ...records import Evidence, MemoryEvents, MemoryUsage, Polling, Result
from ..process import Process
from ..verdict import exit_status, judge
from .keeper import GO_ON, KILL, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Never

_PR_SET_CHILD_SUBREAPER = 36
_ALL_SIGNALS = (1 << 64) - 1 & ~(1 << 8)  # all but SIGKILL, which no mask can have
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))
_CODE = (
    "import sys; sys.path.append(sys.argv.pop(1)); "
    "from climits.program.polling.keeper import main; main()"
)
_KILLED = "who polled was killed, and the program with it; what that had started may still run"


class PolledProcess(Process):
    """A program whose memory is polled.  What needs a cgroup raises UnsupportedError.

    Attributes:
        pid: of the program; `pidfd` is that of its keeper, which ends when nothing is left.
    """

    _control = _program_fd = -1

    def __getattr__(self, name: str) -> "Never":
        if name == "cgroup":
            raise UnsupportedError(
                "there is no cgroup with enforce='poll'",
                hint="limits, usage and events of a cgroup need the kernel to enforce them",
            )
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    # -- starting ----------------------------------------------------------------------------

    def _bring_up(self, sigmask: int) -> None:
        theirs, self._control = os.pipe()
        self.status_fd, report = os.pipe()
        keeper = -1
        try:
            stdio = self.pipes.child if self.pipes else (None, None, None)
            handed = [fd for fd in stdio if fd is not None]
            plan = self._keeper_plan(theirs, report, handed)
            keeper, self.pidfd = spawn(plan)
            os.close(theirs)
            os.close(report)
            theirs = report = -1
            self.started = time.time()
            send(self._control, self._order(stdio, handed, sigmask))
            self._take_start(receive(self.status_fd))
        except BaseException as e:
            for fd in (theirs, report, self._control, self.status_fd):
                if fd >= 0:
                    os.close(fd)
            self._control = self.status_fd = -1
            if keeper >= 0:  # it ends what it has started when nobody speaks to it any more
                os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
                os.close(self.pidfd)
                self.pidfd = -1
            if isinstance(e, BrokenPipeError):
                raise _no_keeper(self.args) from None
            raise

    def _keeper_plan(self, control: int, report: int, handed: list[int]) -> Plan:
        numbers = [str(n) for n in (control, report, os.getpid())]
        argv = [sys.executable, "-I", "-S", "-c", _CODE, _ROOT, *numbers]
        environment = [k + b"=" + v for k, v in os.environb.items()]
        path = os.fsencode(sys.executable)
        plan = Plan([os.fsencode(word) for word in argv], environment, [path])
        plan.sigmask = _ALL_SIGNALS  # those of the terminal are not for it
        plan.call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0, purpose="become a subreaper")
        if self.spec.close_fds:
            plan.close_others((control, report, *handed, *self.spec.pass_fds))
        else:
            plan.inherit([control, report, *(fd for fd in handed if fd > 2), *self.spec.pass_fds])
        return plan

    def _order(
        self, stdio: "tuple[int | None, int | None, int | None]", handed: list[int], sigmask: int
    ) -> "dict[str, Any]":
        if sigmask == -1:
            sigmask = mask_of(_signal.pthread_sigmask(_signal.SIG_BLOCK, ()))
        plan = self.spec.plan((), stdio, die_with_parent=False, sigmask=sigmask)
        return {
            "argv": plan.argv, "envp": plan.envp, "paths": plan.paths, "calls": plan.calls,
            "sigmask": sigmask, "command": plan.command, "limit": self.spec.limits.memory.max,
            "stdio": handed, "pass": self.spec.pass_fds,
        }  # fmt: skip

    def _take_start(self, told: "dict[str, Any] | None") -> None:
        if told is None:
            raise _no_keeper(self.args)
        if "pid" not in told:
            kind: type[ClimitsError] = getattr(errors, told["kind"])
            raise kind(told["text"], path=told["path"], errno=told["errno"], hint=told["hint"])
        self.pid, self._t0 = told["pid"], told["begun"]
        self._program_fd = os.pidfd_open(self.pid)
        os.write(self._control, GO_ON)

    # -- steering ----------------------------------------------------------------------------

    def send_signal(self, number: int) -> None:
        """Send a signal to the program itself; nothing happens when it has ended."""
        with self._lock:
            if self._program_fd >= 0:
                try:
                    _signal.pidfd_send_signal(self._program_fd, number)
                except ProcessLookupError:
                    pass

    def kill_all(self) -> None:
        """As kill, for those who have a verdict of their own."""
        with self._lock:
            if self._control >= 0:
                try:
                    os.write(self._control, KILL)
                except BrokenPipeError:
                    pass  # it is at its end

    # -- the end -----------------------------------------------------------------------------

    def _read_status(self) -> int:
        told = self._last_words()
        return super()._read_status() if told is None else int(told["status"])

    def _collect(self, status: int) -> Result:
        told = self._last_words()
        limit = self.spec.limits.memory.max
        assert limit is not None
        polling = None
        if told:
            self._t1 = told["ended"]
            polling = Polling(
                peak=told["peak"] or None,
                overshoot=told["overshoot"],
                samples=told["samples"],
                interval=(self._t1 - self._t0) / told["samples"] if told["samples"] else None,
                longest_interval=told["longest"],
                estimated=told["hidden"],
                cpu_time=told["own_cpu"],
                kernel_could=kernel_could(),
            )
        verdict = judge(
            status=status,
            oom_kill=0,
            timed_out=self.timed_out,
            stopped=self.stopped,
            exceeded=bool(told and told["exceeded"]),
        )
        cpu = told["cpu"] if told else None
        return Result(
            command=self.args,
            verdict=verdict,
            returncode=os.waitstatus_to_exitcode(status),
            signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            exit_status=exit_status(verdict, status),
            pid=self.pid,
            memory_max=limit,
            started=self.started,
            duration=self._t1 - self._t0,
            cpu_time=sum(cpu) if cpu else None,
            error=told["error"] if told else _KILLED,
            enforced_by="poll",
            evidence=Evidence(
                usage=MemoryUsage(),
                events=MemoryEvents(),
                cpu_user=cpu[0] if cpu else None,
                cpu_system=cpu[1] if cpu else None,
                stragglers=told["stragglers"] if told else 0,
                polling=polling,
            ),
        )

    _words: "dict[str, Any] | None" = None

    def _last_words(self) -> "dict[str, Any] | None":
        """What the keeper has told in the end; None where it was killed."""
        if self._words is None:
            os.set_blocking(self.status_fd, True)
            self._words = receive(self.status_fd)
        return self._words

    def _let_go(self) -> None:
        super()._let_go()
        self.status_fd = -1
        for fd in {self._control, self._program_fd} - {-1}:
            os.close(fd)
        self._control = self._program_fd = -1

    def _remove_cgroup(self) -> None:
        pass  # there is none


def _no_keeper(args: list[str]) -> LaunchError:
    return LaunchError(
        f"cannot start {args[0]}: the process that polls for it ended at once", path=args[0],
        hint=f"does {sys.executable} run?",
    )  # fmt: skip


def kernel_could() -> bool:
    """Whether the kernel could have enforced the limit here, as far as can be seen."""
    try:
        wanted = hierarchies_for(current(), ("memory",))
        parent = foreseen_parent([hierarchy for hierarchy, _ in wanted])
    except ClimitsError:
        return False
    for hierarchy, controllers in wanted:
        path = hierarchy.directory_path(parent)
        while not os.path.isdir(path):
            path = os.path.dirname(path)
        if not os.access(path, os.W_OK | os.X_OK):
            return False
        if hierarchy.delegates and not {*controllers} <= {*Directory(path).controllers()}:
            return False  # as in a step of Slurm's, which is its user's and has no controller
    return True
