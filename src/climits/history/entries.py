"""One run in the history: as a record, as a line of the spool, as a row of the database."""

import json
import os

from ..program.identity import user_name
from ..records import Record
from ..units import UNLIMITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..records import Limit

    Row = tuple[Any, ...]

#: As the spool's lines have them, behind the number of their format.
COLUMNS = (
    "token", "started", "source", "name", "command", "cwd", "verdict", "memory_max", "returncode",
    "exit_status", "memory_peak", "swap_peak", "oom_kill", "duration", "cpu_time", "user",
)  # fmt: skip
_TEXTS = ("source", "name", "cwd", "verdict")
_NEEDED = ("token", "started", "source", "command", "verdict", "exit_status")
_NAME, _COMMAND, _CWD = (COLUMNS.index(name) for name in ("name", "command", "cwd"))


class Entry(Record):
    """One run in the history.

    Attributes:
        started: seconds since the epoch.
        source: which command ran it: run, container, enter, batch, supervise or measure.
        name: of the job or the program, or None.
        command: the program and its arguments; very long ones are cut.
        cwd: the directory that it ran in.
        verdict, returncode, exit_status, memory_max, memory_peak, swap_peak, oom_kill, duration,
            cpu_time: as in climits.Result.
        user: who ran climits, by name.
    """

    started: float
    source: str
    name: "str | None" = None
    command: "list[str]"
    cwd: "str | None" = None
    verdict: str
    returncode: "int | None" = None
    exit_status: int
    memory_max: "Limit | None" = None
    memory_peak: "int | None" = None
    swap_peak: "int | None" = None
    oom_kill: "int | None" = None
    duration: "float | None" = None
    cpu_time: "float | None" = None
    user: "str | None" = None

    @property
    def oom_killed(self) -> bool:
        """Whether the kernel OOM-killed it, or a process of it on the way."""
        return self.verdict == "oom-killed" or bool(self.oom_kill)


def read_spool(path: str) -> "list[Row]":
    """The lines of a spool; nobody adds to it any more once its permission is gone."""
    try:
        with open(path, "rb") as file:
            os.fchmod(file.fileno(), 0o400)
            lines = [line for line in file.read().split(b"\n") if line]
    except FileNotFoundError:
        return []  # its reader had finished with it before we had the lock
    try:
        found = json.loads(b"[%s]" % b",".join(lines))
    except (ValueError, RecursionError):
        found = []
        for line in lines:  # one was cut off by a full disk
            try:
                found.append(json.loads(line))
            except (ValueError, RecursionError):
                continue
    users: dict[int, str] = {}
    rows = []
    for values in found:
        if not isinstance(values, list) or len(values) != len(COLUMNS) + 1 or values[0] != 1:
            continue
        *values, uid = values[1:]
        if not _is_row(values) or not isinstance(uid, int):
            continue
        if uid not in users:
            users[uid] = user_name(uid)
        rows.append(to_row([*values, users[uid]]))
    return rows


def _is_row(values: "list[Any]") -> bool:
    """Whether an entry can be made of these, and SQLite hold it: what was damaged may be JSON."""
    for name, value in zip(COLUMNS, values, strict=False):
        if value is None:
            good = name not in _NEEDED
        elif name == "command":
            good = isinstance(value, list) and all(isinstance(word, str) for word in value)
        elif name in _TEXTS:
            good = isinstance(value, str)
        elif name == "memory_max" and value == "max":
            good = True
        else:
            good = isinstance(value, (int, float)) and abs(value) < 1 << 63  # of nan it is not
        if not good:
            return False
    return True


def new_values(entry: Entry, token: int) -> "list[Any]":
    """An entry's values in the order of COLUMNS."""
    values = [getattr(entry, name) for name in COLUMNS[1:]]
    if entry.memory_max == UNLIMITED:
        values[COLUMNS.index("memory_max") - 1] = "max"
    return [token, *values]


def to_row(values: "list[Any]") -> "Row":
    """Values in the order of COLUMNS as the database has them."""
    _, _, _, name, command, cwd, *_ = values
    values[_COMMAND] = json.dumps(command)
    values[_NAME], values[_CWD] = _storable(name), _storable(cwd)
    return tuple(values)


def _storable(text: "str | None") -> "str | None":
    """Text without what SQLite cannot hold: names of files may be any bytes."""
    if text is None or text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # from JSON: half of a pair of surrogates, which no byte is
        return text.encode("utf-8", "backslashreplace").decode()


def from_row(row: "Row") -> Entry:
    """What to_row has made of an entry."""
    values = dict(zip(COLUMNS, row, strict=True))
    del values["token"]
    values["command"] = json.loads(values["command"])
    if values["memory_max"] == "max":
        values["memory_max"] = UNLIMITED
    return Entry(**values)
