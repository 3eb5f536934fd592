"""One supervised program: started, watched, ended, started again."""

import os
import time
from functools import partial

from ..errors import ClimitsError
from ..program.ending import name_victims
from ..program.pipes import DEVNULL
from ..program.process import Process
from ..program.spec import Spec
from ..program.verdict import summarize
from ..units import UNLIMITED
from .oom import OomWatch
from .policy import Policy, State, after_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..cgroup.events import Events
    from ..records import Limit, Result
    from .alarms import Alarm
    from .config import ProgramConfig
    from .loop import Timer
    from .outputs import Outputs
    from .supervisor import Supervisor

#: What a program can be doing.
STOPPED, RUNNING, PAUSED, WAITING, STOPPING, EXITED, FAILED = (
    "stopped", "running", "paused", "waiting", "stopping", "exited", "failed",
)  # fmt: skip


#: Victims of the OOM killer that are remembered: those of the last second would do.
_MOST_VICTIMS = 16

#: What follows a run that was ended by us: nothing, another run, or what the policy says.
STOP, START, CHILD_OOM = "stop", "start", "child-oom"


class Program:
    """A program under a supervisor.

    Attributes:
        config: how it is to be run.
        status: stopped, running, paused, waiting (for a restart), stopping, exited or failed.
        process: the run that is on, or None.
        result: of the last run, or None.
        restarts, oom_kills: counts since the supervisor has it.
        verdicts: how often each verdict was given to its runs, since then; None: no run has ended.
        memory: a limit that took the place of the configured one, bytes, or None.
        next_config: takes the place of `config` once the run that is on has ended, or None.
    """

    # There may be thousands: no dict for each, and no empty lists.
    __slots__ = (
        "_after", "_alarms", "_oom", "_outputs", "_spec", "_state", "_timer", "_victims", "config",
        "memory", "next_config", "oom_kills", "process", "restarts", "result", "status",
        "supervisor", "verdicts",
    )  # fmt: skip

    def __init__(self, config: "ProgramConfig", supervisor: "Supervisor") -> None:
        self.config, self.supervisor = config, supervisor
        self.status = STOPPED
        self.process: Process | None = None
        self.result: Result | None = None
        self.restarts = self.oom_kills = 0
        self.verdicts: dict[str, int] | None = None
        self.memory: Limit | None = None
        self._state = State()
        self._spec: Spec | None = None
        self._timer: Timer | None = None
        self._oom: OomWatch | None = None
        self._alarms: tuple[Events, ...] = ()
        self._outputs: Outputs | None = None
        self.next_config: ProgramConfig | None = None
        self._victims: tuple[int, ...] = ()  # process ids of those that were told last
        self._after: str | None = None  # what was ended by us: STOP, START or CHILD_OOM

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self.config.name

    def tell(self, event: str, *, at: "float | None" = None, **fields: "Any") -> None:
        """Report an event of this program."""
        self.supervisor.tell(event, at=at, program=self.name, **fields)

    # -- starting ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, unless it runs, or all is being shut down; if it is ending, after that."""
        self.supervisor.to_stop.discard(self.name)
        if self.process is None:
            self._start()
        elif self.status == STOPPING:
            self._after = START

    def _start(self) -> None:
        if self.supervisor.ending:
            return
        self._cancel_timer()
        try:
            self._launch()
        except (ClimitsError, OSError) as e:
            if self._outputs:
                self._outputs.close_pipes()
            self._count("failed-to-start")
            self.tell("failed-to-start", error=str(e), hint=getattr(e, "hint", None))
            self._decide(oom=False, failed=True, ran=0.0)

    def _launch(self) -> None:
        spec = self._spec or self._make_spec()
        config = self.config
        if config.stdout is not None or config.stderr is not None:
            if self._outputs is None:
                from .outputs import Outputs

                self._outputs = Outputs(config, self.supervisor.loop, self.tell)
            spec.stdout, spec.stderr = self._outputs.open()
        process = Process.from_spec(spec, sigmask=self.supervisor.sigmask)
        if self._outputs:
            self._outputs.close_child()
        try:
            self._follow(process)
        except BaseException:  # it must not run on with nobody to see its end
            self._unfollow((process.oom_fd, process.pidfd))
            process.kill()
            process.wait()
            raise
        self.process, self.status = process, RUNNING
        self.tell("started", pid=process.pid, cgroup=process.cgroup.path, memory_max=self.limit)
        self._arm()
        process.cgroup.rest()

    def _follow(self, process: Process) -> None:
        loop = self.supervisor.loop
        loop.watch(process.pidfd, self._at_end)
        process.on_pause = self._at_pause
        if process.oom_fd >= 0:
            loop.watch(process.oom_fd, self._at_end, process.cgroup.memory.OOM_MASK)
        elif process.cgroup.part("memory"):
            known = process.before.oom_kill if process.before else 0
            self._oom = OomWatch(loop, process, self._at_child_oom, known or 0)

    def _unfollow(self, watched: "tuple[int, ...]") -> None:
        for fd in watched:
            self.supervisor.loop.forget(fd)
        if self._oom:
            self._oom.close()
            self._oom = None
        self._disarm()

    @property
    def limit(self) -> "Limit | None":
        """The memory limit of its runs, bytes or UNLIMITED."""
        if self.memory is not None:
            return self.memory
        return self._spec.limits.memory.max if self._spec else None

    def _make_spec(self) -> Spec:
        options = dict(self.config.options)
        if self.memory is not None:
            options["memory"] = self.memory
        if "container" in options:
            from ..program.container import Container

            options["container"] = Container(**options["container"])
        if self.supervisor.many:
            options.setdefault("name", self.config.name)
            options["start_new_session"] = True
            options["stdin"] = DEVNULL
        self._spec = spec = Spec(self.config.command, **options)
        spec.open_files = self.supervisor.open_files
        spec.tells_pressure = True
        # Whom the OOM killer took is looked up when the program runs again.  Of a group that the
        # kernel kills as a whole it counts one twice: then only now can they be told from new ones.
        spec.names_victims = spec.on_oom == "kill-group"
        return spec

    # -- while it runs -----------------------------------------------------------------------

    def _at_pause(self) -> None:
        process = self.process
        assert process is not None
        if self.status == RUNNING:
            self.status = PAUSED
        self.tell(
            "paused", pid=process.pid, cgroup=process.cgroup.path, memory_max=self.limit,
            memory_current=process.usage().current,
        )  # fmt: skip

    def _at_child_oom(self, killed: int) -> None:
        assert self.process is not None
        self.oom_kills += killed
        self.tell("child-oom", pid=self.process.pid, count=killed, memory_max=self.limit)
        if self.config.policy.child_oom == "restart" and self.status == RUNNING:
            self._end(CHILD_OOM)

    def set_limit(self, memory: "str | Limit") -> "Limit":
        """Set another memory limit, for this run and for those to come.

        Returns:
            The limit, bytes or UNLIMITED.

        Raises:
            ClimitsError: as Process.set_limits.
        """
        from ..cgroup.limits import make_limits

        limit = make_limits(memory=memory, new=False).memory.max
        assert limit is not None
        process = self.process
        if process is not None:
            try:
                process.set_limits(memory=limit)
            finally:
                process.cgroup.rest()
            if self.status == PAUSED and not process.paused:
                self.status = RUNNING
                self.tell("resumed", pid=process.pid, memory_max=limit)
        self._take_limit(limit)
        return limit

    def _take_limit(self, limit: "Limit") -> None:
        self.memory, self._spec = limit, None
        self.tell("limit-set", memory_max=limit)
        self._spec = self._make_spec()
        for events in self._alarms:
            events.refresh()  # a level in per cent is of the new limit

    # -- alarms ------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Watch for what the alarms are about."""
        if not self.config.alarms or self.process is None:
            return
        from ..cgroup.events import Events

        for alarm in self.config.alarms:
            try:
                events = Events(self.process.cgroup, [alarm.trigger], removal=False)
            except ClimitsError as e:
                self.tell("alarm-failed", error=str(e), hint=e.hint)
                continue
            self._alarms = (*self._alarms, events)
            self.supervisor.loop.watch(events.fileno(), partial(self._at_alarm, alarm, events))

    def _at_alarm(self, alarm: "Alarm", events: "Events", _ready: int) -> None:
        process = self.process
        for event in events.read():
            if process is None or process.returncode is not None or event.kind == "removed":
                continue
            fields = event.as_dict()
            self.tell("alarm", source=fields.pop("kind"), **fields)
            if alarm.grow is not None:
                self._grow(alarm.grow, alarm.grow_max)
            rest = alarm.replace(grow=None)
            for line in self.supervisor.actor.perform(
                rest, event, process.cgroup, process.send_signal
            ):
                self.tell("alarm-action", text=line)
        if process is not None and process.returncode is None:
            process.cgroup.rest()

    def _grow(self, factor: float, most: "int | None") -> None:
        # Here and not by the actor: the runs to come are to have it too.
        limit = self.limit
        if limit is None or limit == UNLIMITED:
            return
        wanted = int(min(limit * factor, most if most is not None else UNLIMITED))
        if wanted > limit:
            self.set_limit(wanted)

    def _disarm(self) -> None:
        for events in self._alarms:
            self.supervisor.loop.forget(events.fileno())
            events.close()
        self._alarms = ()

    # -- ending ------------------------------------------------------------------------------

    def stop(self, told: int = 0) -> None:
        """Ask it to end; SIGKILL to all of its cgroup if it does not in time.

        Args:
            told: a signal that it has had already, from the terminal.
        """
        if self.process is None:
            self._cancel_timer()
            if self.status == WAITING:
                self.status = STOPPED
        else:
            self._end(STOP, told)

    def restart(self) -> None:
        """End it and start it again."""
        self.supervisor.to_stop.discard(self.name)
        if self.process is None:
            self.start()
        else:
            self._end(START)

    def reconfigure(self, config: "ProgramConfig") -> None:
        """Take another configuration, after the run that is on, and start it with that."""
        self.next_config = config
        if self.process is not None:
            self._end(START if config.autostart else STOP)
        else:
            self._take_config()
            if self.config.autostart:
                self.start()

    def _take_config(self) -> None:
        if self.next_config is not None:
            self.close()
            self.memory = self._spec = None
            self._state = State()
            self.config, self.next_config = self.next_config, None

    def check(self) -> None:
        """Look whether it has ended."""
        self._at_end(0)

    def _end(self, after: str, told: int = 0) -> None:
        process = self.process
        assert process is not None
        self._after = after  # whatever it was to be ended for before
        if self.status == STOPPING:
            return
        self.status = STOPPING
        if after != CHILD_OOM:
            self.tell("stopping", pid=process.pid)
        policy = self.config.policy
        # Ctrl+C has reached a program that shares our terminal; unless it ends by something else.
        if told and policy.stop_signal in (told, Policy.stop_signal):
            process.stopped = True
        else:
            process.stop(policy.stop_signal)
        self._timer = self.supervisor.loop.after(policy.stop_timeout, process.kill)

    def _at_end(self, _events: int) -> None:
        """It has ended, or something happened at its limit."""
        process = self.process
        if process is None:
            return
        watched = process.oom_fd, process.pidfd
        if process.poll() is None:
            return
        self._unfollow(watched)
        self._cancel_timer()
        self.process = None
        # First of all it is to run again: to put the end into words takes as long as to start it.
        self.supervisor.urgently(partial(self._after_end, process))

    def _after_end(self, process: Process) -> None:
        result = process.result
        assert result is not None
        self._count(result.verdict)
        if result.verdict == "oom-killed":
            self.oom_kills += result.oom_kill or 1
        self.supervisor.later(partial(self._tell_end, self.config, process, time.time()))
        after, self._after = self._after, None
        self._take_config()
        if after == STOP or self.supervisor.ending:
            self.status = STOPPED
            self.supervisor.at_rest()
        elif after == START:
            self.status = STOPPED
            self._start()
        else:
            self._decide(
                oom=result.verdict == "oom-killed" or after == CHILD_OOM,
                failed=result.verdict != "exited" or result.returncode != 0,
                ran=result.duration or 0.0,
            )

    def _count(self, verdict: str) -> None:
        self.verdicts = self.verdicts or {}
        self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1

    def _tell_end(self, config: "ProgramConfig", process: Process, at: float) -> None:
        # The log goes by the name of the cgroup, which runs before and after this one have too.
        since = (self.process.pid,) if self.process else ()
        name_victims(process, self._victims + since)
        self.result = result = process.result
        assert result is not None
        victims = (result.evidence.killed if result.evidence else None) or ()
        self._victims = (*self._victims, *(victim.pid for victim in victims))[-_MOST_VICTIMS:]
        self.tell(
            result.verdict, at=at,
            pid=result.pid, returncode=result.returncode, signal=result.signal,
            memory_peak=result.memory_peak, memory_max=result.memory_max,
            oom_kill=result.oom_kill or None, duration=result.duration, text=summarize(result),
            killed=[victim.as_dict() for victim in victims] or None,
        )  # fmt: skip
        if result.error:
            self.tell("failed-to-clean-up", at=at, error=result.error)
        self.supervisor.record(config, result, at)

    def _decide(self, *, oom: bool, failed: bool, ran: float) -> None:
        decision = after_end(
            self.config.policy,
            self._state,
            oom=oom,
            failed=failed,
            ran=ran,
            memory=self.limit,
            now=time.monotonic(),
            chance=os.urandom(1)[0] / 255,  # `random` would take half a MiB
        )
        if decision.action == "restart":
            self.restarts += 1
            if decision.memory is not None:
                self._take_limit(decision.memory)
            self.status = WAITING
            self.tell("restarting", delay=decision.delay, restarts=self.restarts)
            if decision.delay > 0:
                self._timer = self.supervisor.loop.after(decision.delay, self._start)
            else:
                self._start()
            return
        self.status = FAILED if failed or oom else EXITED
        if decision.reason:
            self.tell("gave-up", reason=decision.reason)
        self.supervisor.at_rest()

    def _cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Give the log files back."""
        if self._outputs:
            self._outputs.close()
            self._outputs = None

    # -- looking -----------------------------------------------------------------------------

    def facts(self) -> "dict[str, Any]":
        """What `status` tells."""
        facts: dict[str, Any] = {
            "program": self.name, "status": self.status, "restarts": self.restarts,
            "oom_kills": self.oom_kills, "verdicts": self.verdicts or {},
            "memory_max": self.limit,
        }  # fmt: skip
        process = self.process
        if process is not None:
            facts |= {
                "pid": process.pid, "cgroup": process.cgroup.path, "started": process.started,
            }  # fmt: skip
            try:
                usage = process.usage()
                process.cgroup.rest()
                facts |= {"memory_current": usage.current, "memory_peak": usage.peak}
            except ClimitsError:
                pass  # it is just ending
        elif self.result is not None:
            facts |= {
                "verdict": self.result.verdict, "returncode": self.result.returncode,
                "memory_peak": self.result.memory_peak,
            }  # fmt: skip
        return facts
