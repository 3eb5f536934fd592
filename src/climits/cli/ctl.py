"""`climits ctl`: steer a running supervisor."""

import sys
import time

from ..errors import InvalidValueError
from ..supervise.client import Client
from ..supervise.text import line, size
from ..units import format_duration
from .options import LIFE, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--socket", "PATH", "text", LIFE, "of the supervisor"),
    ("--follow", None, "switch", TELLING, "events: go on with those to come"),
    ("--json", None, "switch", TELLING, "for programs"),
)
ANYWHERE = True
USAGE = "climits ctl [OPTIONS] COMMAND [PROGRAM...]"
EPILOG = """\
commands:
  status [PROGRAM...]       what runs, and what it uses
  start|stop|restart [PROGRAM...]
  set-limit PROGRAM SIZE    another memory limit, for this run and those to come
  events                    the last events; with --follow those to come too
  reload                    read the configuration again
  shutdown                  stop every program and the supervisor
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]

_SIMPLE = ("start", "stop", "restart")
_ALONE = ("reload", "shutdown", "events")


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Send one request and show the answer."""
    if not words:
        raise InvalidValueError("no command was given", hint="see climits ctl --help")
    command, names = words[0], words[1:]
    _check(command, names)
    with Client(values.get("socket")) as client:
        if command == "status":
            facts = client.status(*names)
            _show_json(facts) if values.get("json") else _show_status(facts)
        elif command == "events":
            for record in client.events(follow=bool(values.get("follow"))):
                if values.get("json"):
                    _show_json(record)
                else:
                    clock = time.strftime("%H:%M:%S", time.localtime(record["time"]))
                    sys.stdout.write(f"{clock} {line(record)}\n")
                sys.stdout.flush()
        elif command == "set-limit":
            done = client.set_limit(*names)
            if values.get("json"):
                _show_json(done)
            else:
                sys.stdout.write(
                    f"{done['program']}: the limit is now {size(done['memory_max'])}\n"
                )
        elif command in _SIMPLE:
            getattr(client, command)(*names)
        else:
            client.reload() if command == "reload" else client.shut_down()
    return 0


def _check(command: str, names: list[str]) -> None:
    if command not in ("status", "set-limit", *_SIMPLE, *_ALONE):
        raise InvalidValueError(f"no such command: {command}", hint="see climits ctl --help")
    if command == "set-limit" and len(names) != 2:
        raise InvalidValueError("set-limit takes a program and a size", hint="set-limit web 90M")
    if command in _ALONE and names:
        raise InvalidValueError(f"{command} takes no program: {names[0]}", hint="leave it out")


def _show_json(data: "Any") -> None:
    import json

    sys.stdout.write(json.dumps(data) + "\n")


def _show_status(facts: "list[dict[str, Any]]") -> None:
    rows = [("PROGRAM", "STATUS", "PID", "MEMORY", "PEAK", "LIMIT", "OOM", "RESTARTS", "SINCE")]
    now = time.time()
    for f in facts:
        since = format_duration(max(now - f["started"], 0.0)) if "started" in f else "-"
        status = f["status"]
        if "verdict" in f and f["verdict"] != status:
            status += f" ({f['verdict']})"
        rows.append((
            f["program"], status, str(f.get("pid", "-")), _size(f, "memory_current"),
            _size(f, "memory_peak"), _size(f, "memory_max"), str(f["oom_kills"]),
            str(f["restarts"]), since,
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(text.rstrip() + "\n")


def _size(facts: "dict[str, Any]", key: str) -> str:
    value = facts.get(key)
    return "-" if value is None else size(value)
