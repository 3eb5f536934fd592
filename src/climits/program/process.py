"""One program, once: place, launch, wait, collect the evidence, clean up.

`Process` has the shape of subprocess.Popen.  It starts the program inside its cgroup, ends what
the program leaves behind, and removes the cgroup.
"""

import _signal  # `signal` wraps it in enums, at 2.5 ms
import _thread
import os
import time

from ..cgroup import placement
from ..cgroup.group import Cgroup
from ..cgroup.limits import kernel_kills_group
from ..errors import CgroupError, LaunchError
from ..launch.spawn import spawn
from .spec import Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Any, Unpack

    from ..cgroup.events import Events
    from ..cgroup.limits import LimitOptions
    from ..cgroup.triggers import Trigger
    from ..records import MemoryEvents, MemoryUsage, Result
    from .inside import Surroundings
    from .pipes import Pipes, Pump
    from .spec import Options, StrPath

_SIGTERM, _SIGKILL = 15, 9


class Process:
    """A program that runs in its own cgroup.

    As a context manager it waits at the end, as Popen does; when the block is left by an
    exception, what still runs is killed first.  At exit of the interpreter every process that
    was not waited for is killed and its cgroup removed.

    Attributes:
        args: list[str], the program and its arguments.
        pid: its process id.
        pidfd: a readable descriptor once it has ended; -1 after it was waited for.
        cgroup: the Cgroup it runs in.
        stdin, stdout, stderr: our ends of its pipes, or None.
        returncode: as in subprocess; None while it runs.
        result: the Result, once it was waited for.

    What the verdict needs to know (for climits.program.ending):
        before, peak_before: counters and peak of a cgroup that existed before; else None and 0.
        shared: others live in the cgroup too.
        started, booted: when it started, seconds since the epoch and since boot.
        timed_out, stopped: we ended it, or asked it to end.
        paused: it sleeps at its limit (``on_oom="pause"``) until `set_limits` gives it more.
    """

    def __new__(cls, *_args: object, **options: object) -> "Process":
        """A process of the kind that `enforce` asks for."""
        if cls is Process and options.get("enforce") == "poll":
            from .polling.process import PolledProcess as cls
        return object.__new__(cls)

    def __init__(self, args: "Sequence[StrPath] | StrPath", **options: "Unpack[Options]") -> None:
        """Start a program.

        Args:
            args: the program and its arguments.
            options: see climits.program.spec.Options.

        Raises:
            InvalidValueError: an option that means nothing.
            UnsupportedError: this host cannot enforce a limit that was asked for.
            CgroupError: the cgroup could not be made.
            CommandNotFoundError, CommandNotExecutableError, LaunchError: it could not be started;
                nothing is left behind.
        """
        self._start(Spec(args, **options))

    @classmethod
    def from_spec(
        cls, spec: Spec, *, sigmask: int = -1, on_launch: "Callable[[Process], None] | None" = None
    ) -> "Process":
        """Start what a Spec describes; `sigmask` as in Plan, `on_launch` called at once."""
        self = cls.__new__(cls, enforce=spec.enforce)
        self._start(spec, sigmask, on_launch)
        return self

    # -- starting ----------------------------------------------------------------------------

    def _start(
        self, spec: Spec, sigmask: int = -1, on_launch: "Callable[[Process], None] | None" = None
    ) -> None:
        self.spec, self.args = spec, spec.args
        self.owner = os.getpid()
        self.returncode: int | None = None
        self.result: Result | None = None
        self.pidfd = self.oom_fd = self.status_fd = -1
        self.timed_out = self.stopped = self.paused = False
        self._status: int | None = None
        self.on_pause: Callable[[], None] | None = None
        self._lock = _thread.RLock()  # a signal handler may come back
        self.pipes: Pipes | None = None
        self.pump: Pump | None = None
        self.stdin: Any = None
        self.stdout: Any = None
        self.stderr: Any = None
        if not (spec.stdin is None and spec.stdout is None and spec.stderr is None):
            from . import pipes

            self.pipes = pipes.Pipes(spec)
        try:
            self._bring_up(sigmask)
        except BaseException:
            if self.pipes:
                self.pipes.close()
            raise
        try:
            if on_launch:
                on_launch(self)
            if self.pipes:
                self.pipes.close_child_ends()
                self.stdin, self.stdout = self.pipes.stdin, self.pipes.stdout
                self.stderr = self.pipes.stderr
            _ending().expect(self)
        except BaseException:  # Ctrl+C, most likely
            self.kill()
            self.wait()
            raise

    def _bring_up(self, sigmask: int) -> None:
        """Make its cgroup and start it there; nothing is left of an attempt that failed."""
        self.cgroup = self._place()
        try:
            self._launch(sigmask)
        except BaseException:
            self._close_oom()
            self.cgroup.remove_made()
            placement.release_parents()
            raise

    def _place(self) -> Cgroup:
        spec = self.spec
        self.before: MemoryEvents | None = None
        self.peak_before = 0
        if spec.root is not None:
            from .existing import use_existing

            group = use_existing(spec)
            if group.path == spec.root:  # else its memory is counted in one that is its own
                self.before = group.memory.events()
                self.peak_before = group.memory.usage().peak or 0
        elif spec.name is not None:
            group = Cgroup.make(spec.name, spec.limits, spec.hierarchies, spec.parent)
        else:
            group = Cgroup.make_new(spec.made_up_name, spec.limits, spec.hierarchies, spec.parent)
        if spec.tells_pressure and spec.uid is not None:
            try:
                group.tracker.directory.hand_over("memory.pressure", spec.uid)
            except BaseException:
                group.remove_made()
                raise
        # In a cgroup that we did not make others live too, now or later.
        self.shared = not group.tracker.made
        return group

    def _launch(self, sigmask: int) -> None:
        on_oom = self.spec.on_oom
        if on_oom == "pause" or (on_oom == "kill-group" and not kernel_kills_group()):
            self.oom_fd = self.cgroup.memory.watch_oom()
        try:
            if self.spec.container is None:
                return self.spawn(sigmask)
            from .inside import spawn_inside

            return spawn_inside(self, sigmask)
        except LaunchError as e:
            _ending().blame_limit(self.cgroup, e)
            raise

    def spawn(self, sigmask: int, cage: "Surroundings | None" = None) -> None:
        """Start it: a step of the constructor's."""
        plan = self.spec.plan(
            self.cgroup.parts,
            self.pipes.child if self.pipes else (None, None, None),
            # The kernel's "parent" is the thread.  One that is not the main thread may end long
            # before the program: then the mark on the cgroup alone watches over it.
            die_with_parent=self.spec.dies_with_thread or _thread.get_native_id() == os.getpid(),
            sigmask=sigmask,
            cage=cage,
        )
        self.started = time.time()
        self.booted = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._t0 = time.monotonic()
        self.pid, self.pidfd = spawn(plan)

    # -- looking -----------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<Process {self.args[0]!r} pid={self.pid} returncode={self.returncode}>"

    def usage(self) -> "MemoryUsage":
        """What its cgroup uses now, and the peaks."""
        return self.cgroup.memory.usage()

    # -- steering ----------------------------------------------------------------------------

    def set_limits(self, *, force: bool = False, **limits: "Unpack[LimitOptions]") -> None:
        """Change limits while it runs.

        Args:
            force: lower `memory` below what is in use, which on v2 may kill.
            limits: memory, swap, high, low, min, pids, cpus, cpuset, as in Cgroup.create; what is
                left out stays.  A controller that the cgroup was not made with cannot be added.

        Raises:
            LimitTooLowError: the limit is below what is in use.
            UnsupportedError, CgroupError.
        """
        from .at_limit import set_limits

        set_limits(self, force, limits)

    def freeze(self, timeout: float = 10.0) -> None:
        """Stop every process in its cgroup, and wait `timeout` seconds at most until they have.

        Raises:
            CgroupError: see Cgroup.freeze.
        """
        self.cgroup.freeze(timeout)

    def thaw(self) -> None:
        """Let them go on."""
        self.cgroup.thaw()

    def send_signal(self, number: int) -> None:
        """Send a signal to the program itself; nothing happens when it has ended."""
        with self._lock:  # the descriptor is closed when it was waited for
            if self.pidfd >= 0:
                try:
                    _signal.pidfd_send_signal(self.pidfd, number)
                except ProcessLookupError:
                    pass

    def events(self, *triggers: "Trigger") -> "Events":
        """What happens in its cgroup: iterate over it, or wait for its `fileno`.

        The end of the program is waited for too; `removed` is the last event then.

        Args:
            triggers: see climits.cgroup.events.Trigger.

        Raises:
            UnsupportedError: this host cannot watch for one of them.
        """
        from ..cgroup.events import Events

        return Events(self.cgroup, triggers, ends=(self.pidfd, self.poll))

    def terminate(self) -> None:
        """Ask it to end, with SIGTERM.  The verdict will be `stopped`."""
        self.stop(_SIGTERM)

    def stop(self, number: int) -> None:
        """Ask it to end, with a signal.  The verdict will be `stopped`."""
        with self._lock:
            if self.returncode is None:
                self.stopped = True
                self.send_signal(number)

    def kill(self) -> None:
        """SIGKILL everything in its cgroup.  The verdict will be `stopped`."""
        with self._lock:
            if self.returncode is None:
                self.stopped = True
                self.kill_all()

    def kill_all(self) -> None:
        """As kill, for those who have a verdict of their own."""
        self.send_signal(_SIGKILL)
        if not self.shared:  # else others live in the cgroup: the program alone is ours
            self.cgroup.kill()

    # -- waiting -----------------------------------------------------------------------------

    def poll(self) -> "int | None":
        """The returncode if it has ended, else None."""
        self.turn(0.0)
        return self.returncode

    def wait(self, timeout: "float | None" = None) -> int:
        """Wait for the end.

        Args:
            timeout: seconds; None waits for ever.

        Returns:
            The returncode; `result` holds the rest.

        Raises:
            TimeoutExpired: it still runs.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                self.turn(0.0)
                if self.returncode is not None:
                    break
                from .checks import TimeoutExpired

                raise TimeoutExpired(self.args, timeout or 0.0)
            self.turn(left)
        return self.returncode

    def communicate(
        self, input: "str | bytes | None" = None, timeout: "float | None" = None
    ) -> "tuple[Any, Any]":
        """Send input, read all output, wait for the end.

        Args:
            input: for standard input, which must be a pipe.
            timeout: seconds; None waits for ever.

        Returns:
            (stdout, stderr): bytes or text; None for what is no pipe.

        Raises:
            TimeoutExpired: it still runs; call again to go on.
        """
        from .pipes import communicate

        return communicate(self, input, timeout)

    def run_to_end(
        self,
        timeout: "float | None",
        kill_after: float,
        *,
        input: "str | bytes | None" = None,
        wake: int = -1,
        on_wake: "Callable[[], None] | None" = None,
        on_pause: "Callable[[], None] | None" = None,
    ) -> "Result":
        """Wait for the end, and bring it about when the time is up.

        Args:
            timeout: seconds to SIGTERM, or None.
            kill_after: seconds from there to SIGKILL of the whole cgroup.
            input: for its standard input, if that is a pipe.
            wake: a descriptor to watch beside it.
            on_wake: called when that is readable.
            on_pause: called when the program sleeps at its limit (``on_oom="pause"``).
        """
        self.on_pause = on_pause
        result: Result = _ending().run_to_end(self, timeout, kill_after, input, wake, on_wake)
        return result

    def turn(self, timeout: "float | None", pump: "Pump | None" = None, wake: int = -1) -> bool:
        """Wait once, at most `timeout` seconds, and deal with what happened.

        Returns:
            Whether `wake`, another descriptor, became readable.
        """
        if self.returncode is not None:
            return False
        try:
            return self._wait_once(timeout, pump, wake)
        except ChildProcessError:
            self._finish()  # somebody else has reaped it
            return False
        except (OSError, ValueError):
            with self._lock:  # another thread was faster, and has given the pidfd back
                if self.returncode is None:
                    raise
            return False

    def _wait_once(self, timeout: "float | None", pump: "Pump | None", wake: int) -> bool:
        if timeout is None and pump is None and self.oom_fd < 0 and wake < 0:
            os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT)  # nothing else to watch
            self._finish()
            return False
        woken, ended = _ending().watch(self, timeout, pump, wake)
        if ended:
            self._finish()
        return bool(woken)

    # -- the end -----------------------------------------------------------------------------

    def _finish(self) -> None:
        """Reap it, read the evidence, kill what it left, remove the cgroup.  Once."""
        with self._lock:
            if self.returncode is not None:
                return
            # A Ctrl+C between two steps brings us here again: so the status is kept before the
            # program is reaped, and all but the last step may be done twice.
            if self._status is None:
                self._t1 = time.monotonic()  # first: whoever finds the status needs it too
                self._status = self._read_status()
            try:
                os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
            except ChildProcessError:
                pass  # reaped by somebody else, or by us
            try:
                self.result = self._collect(self._status)
            except Exception:
                self._let_go()
                raise
            self._let_go()
            try:
                self._remove_cgroup()
            except CgroupError as e:  # what is known of the run is worth more
                self.result = self.result.replace(error=str(e))
            except BaseException:
                self._remove_cgroup()
                raise

    def _read_status(self) -> int:
        status: int = _ending().read_status(self.pidfd, self.status_fd)
        return status

    def _collect(self, status: int) -> "Result":
        result: Result = _ending().collect(self, status, self._t1 - self._t0)
        return result

    def _let_go(self) -> None:
        assert self._status is not None
        self.returncode = os.waitstatus_to_exitcode(self._status)
        self._close_oom()
        fds, self.pidfd = {self.pidfd, self.status_fd} - {-1}, -1
        for fd in fds:
            os.close(fd)
        _ending().forget(self)

    def _remove_cgroup(self) -> None:
        if self.spec.on_oom == "pause":
            self.cgroup.memory.mark_paused(None)  # it may stay, or be used again
        if self.spec.keep:
            self.cgroup.keep()
        # What was read a moment ago is there, and no other of its name.
        there = self.result is not None and self.result.memory_peak is not None
        self.cgroup.remove_made(there=there)

    def _close_oom(self) -> None:
        if self.oom_fd >= 0:
            fd, self.oom_fd = self.oom_fd, -1
            os.close(fd)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is not None:
            self.kill()
        if self.pipes:
            self.pipes.close()  # the program sees the end of its input
        self.wait()


_ending_module: "ModuleType | None" = None


def _ending() -> "ModuleType":
    """What is needed from the start of a program on: loaded beside the first, not before it."""
    global _ending_module
    if _ending_module is None:
        from . import ending

        _ending_module = ending
    return _ending_module
