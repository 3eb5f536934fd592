"""Programs for ever: waits on descriptors, asks the policy, acts."""

import os
import resource
import signal
import time
from functools import partial

from ..errors import ClimitsError, InvalidValueError, LaunchError
from ..history.spool import record
from ..launch.signals import SI_KERNEL, mask_of, read_signals
from ..launch.spawn import signalfd
from ..linux import kmsg
from .guard import Guard
from .loop import Loop
from .program import EXITED, FAILED, STOPPED, STOPPING, Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from ..records import Result
    from .actions import Actor
    from .beside import Beside
    from .config import Config, ProgramConfig
    from .control import Control
    from .notify import Notifier

    Tell = Callable[[dict[str, Any]], None]

_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
_FORWARD = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGWINCH)
_WATCHED = (*_STOP, *_FORWARD, signal.SIGHUP)

#: Descriptors that a program needs at most while it starts and runs, and ours besides.
_FDS_EACH, _FDS_OURS = 6, 256


class Supervisor:
    """Keeps programs alive under their limits.

    Attributes:
        programs: dict[str, Program], in the order in which they are started.
        many: programs of a configuration, and not one from the command line.
        loop: the event loop.
        sigmask: the signal mask that programs get.
        open_files: (soft, hard) RLIMIT_NOFILE that programs get.
        ending: it is being shut down: nothing is started any more.
        to_stop: names of those that are to stop once nothing that runs depends on them.
    """

    def __init__(
        self,
        programs: "Sequence[ProgramConfig]",
        tell: "Tell",
        *,
        many: bool = False,
        socket: "str | None" = None,
        must_listen: bool = True,
        reload: "Callable[[], Config] | None" = None,
        notifier: "Notifier | None" = None,
        history: bool = False,
        beside: "Sequence[Beside]" = (),
    ) -> None:
        """Prepare; nothing is started.

        Args:
            programs: in start order.
            tell: called with each event, a dict that JSON can hold.
            many: they come from a configuration: each gets a session and standard input of its
                own, and the supervisor stays when all have ended.
            socket: path at which to listen for `climits ctl`.
            must_listen: fail where that cannot be; else only say so.
            reload: reads the configuration again.
            notifier: tells systemd how we are.
            history: record each run of a program that has ended.
            beside: what runs in threads beside it.
        """
        self._tell, self.many, self._socket = tell, many, socket
        self._must_listen, self._reload, self._notifier = must_listen, reload, notifier
        self._beside = beside
        self.listeners: list[Tell] = []
        self.loop = Loop(lambda e: self.tell("error", error=str(e), hint=getattr(e, "hint", None)))
        self.programs = {config.name: Program(config, self) for config in programs}
        self.ending = False
        self.to_stop: set[str] = set()
        self._removed: set[str] = set()  # by a reload, and still ending
        self._history, self._history_warning = history, ""
        self._later: list[Callable[[], None]] | None = None  # while telling has to wait
        self._actor: Actor | None = None
        self.open_files = resource.getrlimit(resource.RLIMIT_NOFILE)

    @property
    def actor(self) -> "Actor":
        """What does the actions of alarms: made when the first alarm is raised."""
        if self._actor is None:
            from .actions import Actor

            self._actor = Actor(sigmask=self.sigmask)
            self.loop.watch(self._actor.fileno(), self._at_actions)
        return self._actor

    def _at_actions(self, _events: int) -> None:
        for line in self.actor.turn():
            self.tell("alarm-action", text=line)

    def tell(self, event: str, *, at: "float | None" = None, **fields: "Any") -> None:
        """Report an event, which happened now or at a time; fields that are None are left out."""
        record = {"time": round(at or time.time(), 6), "event": event}
        record |= {
            name: "max" if value == float("inf") else value
            for name, value in fields.items()
            if value is not None
        }
        self.later(partial(self._deliver, record))

    def later(self, call: "Callable[[], None]") -> None:
        """Call once nothing is more urgent: mostly at once; see urgently."""
        if self._later is None:
            call()
        else:
            self._later.append(call)

    def urgently(self, call: "Callable[[], None]") -> None:
        """Call; all that is told in this turn of the loop, or put off by `later`, comes after it.

        In order; and after all else that is urgent in this turn.
        """
        if self._later is None:
            self._later = []
            self.loop.last(self._catch_up)
        call()

    def _catch_up(self) -> None:
        """Do what was put off."""
        waiting, self._later = self._later or [], None
        try:
            while waiting:
                self.loop.do(waiting.pop(0))
        finally:
            self._later = waiting or None  # the rest is for `run` to do before it ends

    def _deliver(self, record: "dict[str, Any]") -> None:
        self._tell(record)
        for listener in self.listeners:
            listener(record)

    def record(self, config: "ProgramConfig", result: "Result", at: float) -> None:
        """Add a run to the history, which ended at that time."""
        if self._history:
            cwd = config.options.get("cwd")
            warning = record(result, "supervise", name=config.name, cwd=cwd) or ""
            if warning not in ("", self._history_warning):  # told once, not for each run
                self.tell("no-history", at=at, error=warning)
            self._history_warning = warning

    # -- running -----------------------------------------------------------------------------

    def run(self) -> None:
        """Start the programs and stay until they have ended, or a signal says so."""
        # Ignored, as some daemons leave it, the kernel would reap our programs for us.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # What was ignored when we were started (nohup, or & without job control) stays so.
        watched = [n for n in _WATCHED if signal.getsignal(n) != signal.SIG_IGN]
        if _is_reaper():
            watched.append(signal.SIGCHLD)
        self._raise_open_files(len(self.programs))
        old = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        self.sigmask = mask_of({int(number) for number in old})
        signals = signalfd(mask_of(tuple(map(int, watched))))
        guard: Guard | None = None
        control: Control | None = None
        try:
            control = self._open_control()
            _follow_kernel_log()
            self.loop.watch(signals, lambda _: self._at_signals(signals))
            guard = self._start_guard()
            for program in list(self.programs.values()):
                if program.config.autostart:
                    program.start()
            if self._notifier:
                self._notifier.ready()
                self._keep_watchdog()
            while not self._is_over():
                self.loop.turn()
        finally:
            self._end_all()  # before any words, of which one may fail
            self._catch_up()
            if control:
                control.close()
            for other in self._beside:  # once it cannot wait for an answer of ours
                try:
                    other.end()
                except (ClimitsError, OSError) as e:
                    self.tell("error", error=str(e), hint=getattr(e, "hint", None))
            if guard:
                guard.dismiss()
            if self._actor:
                self._actor.close()
            os.close(signals)
            self.loop.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, old)
            resource.setrlimit(resource.RLIMIT_NOFILE, self.open_files)

    def _open_control(self) -> "Control | None":
        if self._socket is None and not self._beside:
            return None
        from .control import Control

        control = Control(self)
        try:
            if self._socket is not None:
                self._listen(control, self._socket)
            for other in self._beside:
                other.begin(control.connect)
        except BaseException:
            control.close()
            raise
        return control

    def _listen(self, control: "Control", path: str) -> None:
        try:
            control.listen(path)
        except ClimitsError as e:
            if self._must_listen:
                raise
            self.tell("no-control", error=str(e), hint=e.hint)

    def _start_guard(self) -> "Guard | None":
        parents = (program.config.options.get("parent") for program in self.programs.values())
        try:
            return Guard(dict.fromkeys(parent for parent in parents if parent), self.sigmask)
        except LaunchError as e:  # a container may have no shell
            hint = "climits gc removes what a kill -9 would leave"
            self.tell("no-guard", error=str(e), hint=hint)
            return None

    def _is_over(self) -> bool:
        if self.many and not self.ending:
            return False
        return all(p.status in (STOPPED, EXITED, FAILED) for p in self.programs.values())

    def _raise_open_files(self, programs: int) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # others may have raised it since
        wanted = programs * _FDS_EACH + _FDS_OURS
        if soft < wanted and soft != resource.RLIM_INFINITY:
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))

    def _keep_watchdog(self) -> None:
        notifier = self._notifier
        if notifier and notifier.interval:
            notifier.watchdog()
            self.loop.after(notifier.interval, self._keep_watchdog)

    def at_rest(self) -> None:
        """A program has ended and is not going to be started again."""
        self._stop_free()
        self._drop_removed()
        if self._notifier:
            running = sum(p.process is not None for p in self.programs.values())
            self._notifier.status(f"{running} of {len(self.programs)} programs run")

    def _end_all(self) -> None:
        """Whatever happened: leave no program behind."""
        for program in self.programs.values():
            if program.process is not None:
                try:
                    program.process.kill()
                    program.process.wait()
                except (ClimitsError, OSError) as e:
                    program.tell("failed-to-clean-up", error=str(e))
            program.close()

    # -- signals -----------------------------------------------------------------------------

    def _at_signals(self, fd: int) -> None:
        for number, code, _pid in read_signals(fd):
            if number == signal.SIGCHLD:
                self._reap()
            elif number in _STOP:
                self.tell("signal", signal=number)
                # The terminal has sent it to a single program too, which shares our group.
                self.shut_down(told=number if code == SI_KERNEL and not self.many else 0)
            elif number == signal.SIGHUP and self._reload:
                self.tell("signal", signal=number)
                try:
                    self.reload()
                except ClimitsError:
                    pass  # was told; what runs keeps running
            else:
                for program in self.programs.values():
                    if program.process and code != SI_KERNEL:
                        program.process.send_signal(number)

    def _reap(self) -> None:
        """As PID 1 we inherit every orphan: take those that are nobody's."""
        while True:
            try:
                end = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if end is None:
                return
            # Looked up each time: the one before may have been started again meanwhile.
            program = self._with_pid(end.si_pid)
            if program is not None:
                program.check()
                continue
            if self._actor:
                self._at_actions(0)  # reaps what is its own
            try:
                os.waitpid(end.si_pid, os.WNOHANG)
            except ChildProcessError:
                pass

    def _with_pid(self, pid: int) -> "Program | None":
        for program in self.programs.values():
            if program.process is not None and program.process.pid == pid:
                return program
        return None

    # -- steering ----------------------------------------------------------------------------

    def find(self, name: str) -> Program:
        """A program by its name.

        Raises:
            InvalidValueError: there is none.
        """
        if name in self.programs:
            return self.programs[name]
        from difflib import get_close_matches

        close = get_close_matches(name, self.programs, 1)
        names = ", ".join(self.programs) or "none"
        hint = f"did you mean {close[0]}?" if close else f"there are: {names}"
        raise InvalidValueError(f"no program {name!r}", value=name, hint=hint)

    def shut_down(self, *, told: int = 0) -> None:
        """Stop every program, those that depend on others first, and then return from `run`.

        Args:
            told: the signal that they have had already, from the terminal.
        """
        if not self.ending:
            self.ending = True
            if self._notifier:
                self._notifier.stopping()
        self.stop(list(self.programs), told=told)

    def stop(self, names: "Iterable[str]", *, told: int = 0) -> None:
        """Stop programs, each after those of them that depend on it."""
        self.to_stop.update(names)
        self._stop_free(told)

    def _stop_free(self, told: int = 0) -> None:
        wanted = [p for p in reversed(list(self.programs.values())) if p.name in self.to_stop]
        needed = {name for p in wanted if p.process for name in p.config.depends_on}
        for program in wanted:
            if program.process is None:
                program.stop()  # nor is it started again
                self.to_stop.discard(program.name)
            elif program.status == STOPPING or program.name not in needed:
                program.stop(told)

    def reload(self) -> None:
        """Read the configuration again; what did not change keeps running."""
        if self._reload is None:
            raise InvalidValueError(
                "there is no configuration to reload", hint="start supervise with -c FILE"
            )
        if self.ending:
            raise InvalidValueError("it is being shut down", hint="start it again")
        if self._notifier:
            self._notifier.reloading()
        try:
            configs = {config.name: config for config in self._reload().programs}
        except ClimitsError as e:
            self.tell("reload-failed", error=str(e), hint=e.hint)
            raise
        finally:
            if self._notifier:
                self._notifier.ready()
        known = {n: p.next_config or p.config for n, p in self.programs.items()}
        changed = [n for n in known if n in configs and known[n] != configs[n]]
        removed = [n for n in known if n not in configs and n not in self._removed]
        added = [n for n in configs if n not in known or n in self._removed]
        self.tell("reloaded", changed=changed, removed=removed, added=added)
        self._raise_open_files(len(configs))
        self._removed = {n for n in known if n not in configs}
        before, self.programs = self.programs, {}
        for name, config in configs.items():
            self.programs[name] = before.get(name) or Program(config, self)
        self.programs |= {name: before[name] for name in self._removed}
        self.stop(removed)
        for name in changed:
            self.programs[name].reconfigure(configs[name])
        for name in added:
            if configs[name].autostart:
                self.programs[name].start()
        self._drop_removed()

    def _drop_removed(self) -> None:
        for name in [n for n in self._removed if self.programs[n].process is None]:
            self.programs.pop(name).close()
            self._removed.discard(name)


def _follow_kernel_log() -> None:
    """Know the end of the kernel log, so that an OOM kill need not wait for the rest of it."""
    try:
        kmsg.log.follow()
    except OSError:
        pass  # it may not be read: then nobody will look into it


def _is_reaper() -> bool:
    """Whether orphans come to us: as PID 1 of a container."""
    return os.getpid() == 1
