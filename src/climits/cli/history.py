"""`climits history`: what ran before, and what it used."""

import fnmatch
import json
import os
import shlex
import sys
import time

from ..errors import InvalidValueError
from ..history.entries import Entry
from ..history.store import DEFAULT_AGE, DEFAULT_SIZE, History, parse_age
from ..program.verdict import signal_name
from ..units import UNLIMITED, format_duration, format_size, printable
from .main import tell
from .options import CGROUP, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--command", "PATTERN", "text", CGROUP, "command lines with this in them; *, ? and [a-z] "
     "stand for what they do in the shell, and then for the whole line"),
    ("--oom", None, "switch", CGROUP, "OOM-killed runs only, and those with a process OOM-killed"),
    ("--since", "TIME", "text", CGROUP, "started no longer ago than this: 30m, 12h, 7d"),
    ("--source", "NAME", "text", CGROUP, "run, container, enter, batch, supervise or measure"),
    ("--limit", "N", "int", CGROUP, "the newest N (default: 30, with --json all)"),
    ("--json", None, "switch", TELLING, "one JSON object a line, with all that is known"),
    ("--clear", None, "switch", TELLING, "forget all of it"),
)  # fmt: skip
USAGE = "climits history [OPTIONS]"
EPILOG = f"""\
The newest comes last. PEAK is the highest memory usage, page cache included;
LIMIT the memory limit; -- stands for what is not known.

Kept for {DEFAULT_AGE} and up to {DEFAULT_SIZE}, the oldest goes first: CLIMITS_HISTORY_AGE and
CLIMITS_HISTORY_SIZE change that, 0 records nothing. It is in CLIMITS_STATE_DIR, or
$XDG_STATE_HOME/climits, or ~/.local/state/climits, for its owner alone to read:
command lines may hold passwords.

examples:
  climits history
  climits history --oom --since 7d
  climits history --command 'make *' --json
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]

_SHOWN = 30
SOURCES = ("run", "container", "enter", "batch", "supervise", "measure")


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Print it, or forget it."""
    if words:
        raise InvalidValueError(
            f"history takes no arguments: {words[0]}",
            value=words[0],
            hint=f"climits history --command {shlex.quote(words[0])}",
        )
    limit = values.get("limit", None if values.get("json") else _SHOWN)
    if limit is not None and limit < 1:
        raise InvalidValueError(f"limit: {limit}: must be 1 or more", value=limit)
    source = values.get("source", SOURCES[0])
    if source not in SOURCES:
        hint = f"there are {', '.join(SOURCES)}"
        raise InvalidValueError(f"source: {source}: there is no such", value=source, hint=hint)
    since = None
    if "since" in values:
        since = time.time() - parse_age(values["since"], what="since")
    with History() as history:
        if values.get("clear"):
            return _clear(history, values)
        history.fold()
        entries = _query(history, values, since, limit)
        if history.warning:
            tell(history.warning)
    if values.get("json"):
        sys.stdout.writelines(json.dumps(entry.as_dict()) + "\n" for entry in entries)
    elif entries:
        sys.stdout.write(_table(entries))
    else:
        tell("nothing of that kind was recorded")
    return 0


def _clear(history: History, values: "dict[str, Any]") -> int:
    others = [f"--{name}" for name in values if name != "clear"]
    if others:
        raise InvalidValueError(
            f"{others[0]} does not go with --clear", hint="--clear forgets all of it"
        )
    count = history.clear()
    sys.stdout.write(f"{count} {'run' if count == 1 else 'runs'} forgotten\n")
    return 0


def _query(
    history: History, values: "dict[str, Any]", since: "float | None", limit: "int | None"
) -> "list[Entry]":
    pattern, wanted = values.get("command"), None
    if pattern is not None:

        def wanted(entry: Entry) -> bool:
            return matches(pattern, entry.command)

    return history.query(
        wanted,
        containing=hallmark(pattern or ""),
        source=values.get("source"),
        oom=bool(values.get("oom")),
        since=since,
        limit=limit,
    )


def hallmark(pattern: str) -> str:
    """What is in each command line of a pattern, and looks the same in JSON."""
    if "[" in pattern:
        return ""
    plain = "".join(c if (c.isascii() and c.isalnum()) or c in "-_./=" else " " for c in pattern)
    return max(plain.split(), key=len, default="")


def matches(pattern: str, command: "list[str]") -> bool:
    """Whether a command line has this in it, or is like this as a whole where it has wildcards."""
    if any(c in pattern for c in "*?["):
        return fnmatch.fnmatchcase(" ".join(command), pattern)
    return pattern in " ".join(command)


def _table(entries: "list[Entry]") -> str:
    rows = [("STARTED", "SOURCE", "VERDICT", "PEAK", "LIMIT", "TIME", "COMMAND")]
    rows += [
        (
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.started)),
            entry.source,
            _verdict(entry),
            _size(entry.memory_peak),
            _size(entry.memory_max),
            "--" if entry.duration is None else format_duration(entry.duration),
            _command(entry),
        )
        for entry in entries
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    right = (3, 4, 5)  # figures
    out = []
    for *cells, command in rows:
        parts = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        out.append("  ".join([*parts, command]) + "\n")
    return "".join(out)


def _verdict(entry: Entry) -> str:
    if entry.verdict == "exited":
        killed = f", {entry.oom_kill} OOM-killed" if entry.oom_kill else ""
        return f"exited {entry.returncode}{killed}"
    if entry.verdict == "signaled" and entry.returncode is not None:
        return f"signaled {signal_name(-entry.returncode)}"
    return entry.verdict


def _size(size: "int | float | None") -> str:
    return "--" if size is None else "none" if size == UNLIMITED else format_size(size)


def _command(entry: Entry) -> str:
    """The command as a shell would take it, on one line, cut where nobody reads on."""
    text = printable(shlex.join(entry.command))
    named = entry.name and entry.name != os.path.basename(entry.command[0])
    if named and entry.source in ("batch", "supervise"):
        text = f"{entry.name}: {text}"
    width = 60 if not sys.stdout.isatty() else max(os.get_terminal_size().columns - 80, 30)
    return text if len(text) <= width else f"{text[: width - 3]}..."
