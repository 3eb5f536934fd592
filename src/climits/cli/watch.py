"""`climits watch`: tell what happens in a cgroup, ours or not, and do something about it."""

import json
import os
import select
import signal
import sys
import time

from ..cgroup.events import Event, Events, Trigger
from ..cgroup.files import Directory
from ..cgroup.find import find_cgroup
from ..cgroup.group import Cgroup
from ..errors import CgroupGoneError, InvalidValueError
from ..launch.signals import mask_of, read_signals
from ..launch.spawn import signalfd
from ..supervise.actions import Actor
from ..supervise.alarms import Alarm, make_alarm
from ..units import format_size
from .options import ALARMS, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..observe.recordings.recorder import Recorder

OPTIONS: tuple[Option, ...] = (
    ("--threshold", "SIZE", "list", ALARMS, "usage reaches 32M, or 80%% of the limit"),
    ("--hysteresis", "SIZE", "text", ALARMS, "again only after usage fell so far below"),
    ("--oom", None, "switch", ALARMS, "the OOM killer killed a process"),
    ("--under-oom", None, "switch", ALARMS, "tasks sleep at the limit (cgroup v1)"),
    ("--limit", None, "switch", ALARMS, "the limit was hit; on v2 the high mark too"),
    ("--pressure", "SPEC", "list", ALARMS, "time lost for want of memory: some=150ms/1s; "
     "on cgroup v1 also low, medium, critical"),
    ("--populated", None, "switch", ALARMS, "there are processes in it"),
    ("--empty", None, "switch", ALARMS, "the last process has left"),
    ("--swap", "SIZE", "list", ALARMS, "usage of swap reaches a size"),
    ("--exec", "COMMAND", "text", ALARMS, "run a command, which gets the event; 30 s at most"),
    ("--signal", "NAME", "text", ALARMS, "send a signal to every process of the cgroup"),
    ("--webhook", "URL", "text", ALARMS, "post the event there, as JSON"),
    ("--freeze", None, "switch", ALARMS, "stop every process of the cgroup"),
    ("--grow", "FACTOR", "text", ALARMS, "raise the memory limit, such as 1.5 times"),
    ("--grow-max", "SIZE", "text", ALARMS, "but no further than this"),
    ("--reclaim", "SIZE", "text", ALARMS, "ask the kernel to take so much back; on v1 all it can"),
    ("--record", "FILE", "text", TELLING, "record usage and events there, for climits report"),
    ("--once", None, "switch", TELLING, "end after the first event"),
    ("--json", None, "switch", TELLING, "events as JSON, one a line"),
)  # fmt: skip
ANYWHERE = True
USAGE = "climits watch CGROUP|PID|NAME [OPTIONS]"
EPILOG = """\
CGROUP is a path such as /system.slice/web.service or a directory below
/sys/fs/cgroup, PID a process whose memory cgroup is meant, NAME a cgroup that
climits made. Ends with status 0 when the cgroup is removed, or by Ctrl+C.

Actions are done for each event but the removal. A command gets the event as
JSON on standard input and in CLIMITS_EVENT, CLIMITS_CGROUP, CLIMITS_TIME,
CLIMITS_CURRENT, CLIMITS_LIMIT, CLIMITS_LEVEL and CLIMITS_COUNT.

--json has one object a line, with what is known of: kind (the source, or
removed), cgroup, time (seconds since the epoch), current, level and limit
(bytes), count (of oom: processes killed; of limit: hits), trigger.

examples:
  climits watch web --threshold 80% --signal USR1
  climits watch 4711 --oom --limit --exec './report.sh --short'
  climits watch /jobs/big --pressure some=150ms/1s --grow 1.5 --grow-max 2G
  climits watch /system.slice/web.service --record web.jsonl
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]

_PLAIN = ("oom", "under_oom", "limit", "populated", "empty")
_LEVELLED = ("threshold", "swap", "pressure")
_ACTIONS = ("signal", "exec", "webhook", "freeze", "grow", "grow_max", "reclaim")
_OOM = Trigger(source="oom")
_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Watch until the cgroup is removed or somebody asks for the end."""
    if len(words) > 1:
        raise InvalidValueError(
            f"watch takes one cgroup: {words[1]}", hint="see climits watch --help"
        )
    if not words:
        raise InvalidValueError(
            "no cgroup was given", hint="climits watch NAME --threshold 32M --signal TERM"
        )
    alarms = _alarms(values)
    group = find_cgroup(words[0])
    recorder = None
    try:
        _check(group, alarms)
        if "record" in values:
            from ..observe.recordings.recorder import Recorder

            recorder = Recorder(values["record"], warn=lambda text: _say([text]))
        _Watch(group, alarms, bool(values.get("json")), bool(values.get("once")), recorder).run()
    finally:
        if recorder:
            recorder.close()
        group.close()
    return 0


def _alarms(values: "dict[str, Any]") -> list[Alarm]:
    actions = {name: values[name] for name in _ACTIONS if name in values}
    triggers: list[dict[str, Any]] = [
        {"source": name.replace("_", "-")} for name in _PLAIN if values.get(name)
    ]
    for name in _LEVELLED:
        for level in values.get(name, ()):
            trigger = {"source": name, "level": level}
            if "hysteresis" in values and name != "pressure":
                trigger["hysteresis"] = values["hysteresis"]
            triggers.append(trigger)
    if not triggers and "record" not in values:
        raise InvalidValueError(
            "nothing to watch for",
            hint="say at least one of --threshold, --oom, --pressure, --record, ...",
        )
    if "hysteresis" in values and not any("hysteresis" in t for t in triggers):
        raise InvalidValueError(
            "hysteresis goes with a threshold", hint="say --threshold or --swap too"
        )
    return [make_alarm(trigger | actions) for trigger in triggers]


def _check(group: Cgroup, alarms: list[Alarm]) -> None:
    """Refuse what would hit the innocent, or us."""
    if group.path == "/" and any(alarm.signal or alarm.freeze for alarm in alarms):
        raise InvalidValueError(
            "signal and freeze would reach every process of the machine: the cgroup is /",
            hint="watch a cgroup of its own",
        )
    if any(alarm.freeze for alarm in alarms) and os.getpid() in _pids(group.tracker.directory):
        raise InvalidValueError(
            f"freeze would stop this command too: it runs in {group.path}",
            hint="run it from another cgroup",
        )


class _Watch:
    """The loop."""

    def __init__(
        self,
        group: Cgroup,
        alarms: list[Alarm],
        as_json: bool,
        once: bool,
        recorder: "Recorder | None",
    ) -> None:
        self.group, self.as_json, self.once, self.recorder = group, as_json, once, recorder
        self.alarms = {alarm.trigger: alarm for alarm in alarms}
        self.memory = (group.part("memory") or group.tracker).directory

    def run(self) -> None:
        old = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        signals = signalfd(mask_of(tuple(map(int, _ENDING))))
        actor = Actor(sigmask=mask_of({int(number) for number in old}))
        try:
            triggers = list(self.alarms)
            if self.recorder:
                self.recorder.follow(self.group)
                if self.group.part("memory"):
                    triggers.append(_OOM)  # a kill may come right before the end
            with Events(self.group, triggers) as events:
                if self._loop(events, actor, signals):
                    _say(actor.finish())
        finally:
            actor.close()
            os.close(signals)
            signal.pthread_sigmask(signal.SIG_SETMASK, old)

    def _loop(self, events: Events, actor: Actor, signals: int) -> bool:
        """Whether what was begun should be ended in peace."""
        poll = select.poll()
        for fd in (events.fileno(), actor.fileno(), signals):
            poll.register(fd, select.POLLIN)
        while not events.removed:
            ready = {fd for fd, _ in poll.poll()}
            if signals in ready and read_signals(signals):
                return False
            if actor.fileno() in ready:
                _say(actor.turn())
            if events.fileno() in ready:
                for event in events.read():
                    if self.recorder:
                        _record(self.recorder, event)
                    if event.trigger is not None and event.trigger not in self.alarms:
                        continue  # the recorder's alone
                    self._tell(event)
                    self._act(event, events, actor)
                    if self.once:
                        return True
        return True

    def _act(self, event: Event, events: Events, actor: Actor) -> None:
        if event.trigger is None:
            return
        alarm = self.alarms[event.trigger]
        _say(actor.perform(alarm, event, self.group, self._send_signal))
        if alarm.grow is not None:
            events.refresh()

    def _send_signal(self, number: int) -> None:
        for pid in _pids(self.memory) - {os.getpid()}:
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                # The pid may have been given to another process meanwhile.
                if pid in _pids(self.memory):
                    signal.pidfd_send_signal(fd, number)
            except ProcessLookupError:
                pass
            finally:
                os.close(fd)

    def _tell(self, event: Event) -> None:
        line = json.dumps(event.as_dict()) if self.as_json else _text(event)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _record(recorder: "Recorder", event: Event) -> None:
    """Add an event to a recording."""
    fields = {name: value for name, value in event.as_dict().items() if name != "time"}
    kind = fields.pop("kind")
    if kind == "removed":
        recorder.event("removed")
    elif kind == "oom":
        recorder.add_kills(event.count or 1)
    else:
        recorder.event("alarm", source=kind, **fields)


def _say(lines: list[str]) -> None:
    for line in lines:
        sys.stderr.write(f"climits: {line}\n")


def _pids(directory: Directory) -> set[int]:
    """Processes of a cgroup and of those below it."""
    pids = set(directory.pids())
    for name in directory.children():
        try:
            pids |= _pids(directory.child(name))
        except CgroupGoneError:
            continue
    return pids


def _text(event: Event) -> str:
    """An event as a line for people."""
    figures = []
    if event.count is not None:
        figures.append(f"{event.count} killed" if event.kind == "oom" else f"{event.count} times")
    if event.current is not None:
        figures.append(f"{format_size(event.current)} in use")
    if event.level is not None:
        figures.append(f"level {format_size(event.level)}")
    if event.limit is not None:
        figures.append(f"limit {format_size(event.limit)}")
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    kind = event.kind
    if event.trigger is not None and event.trigger.share is not None:
        kind = str(event.trigger)
    return f"{clock} {event.cgroup}: {kind}" + (f": {', '.join(figures)}" if figures else "")
