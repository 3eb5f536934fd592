"""`climits ps`: what climits runs."""

import sys
import time

from ..cgroup import ownership
from ..cgroup.group import Cgroup
from ..cgroup.homes import homes
from ..cgroup.layout import current
from ..cgroup.removal import pids_below
from ..errors import CgroupError, InvalidValueError
from ..launch.joining import different
from ..linux import proc
from ..units import UNLIMITED, format_duration, format_size
from .options import TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (("--json", None, "switch", TELLING, "one JSON object a line"),)
ANYWHERE = True
USAGE = "climits ps [OPTIONS]"
EPILOG = """\
Lists the runs, containers and supervised programs of every climits on this
machine, by the name of their cgroup, with the pid of their first process.
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """List them."""
    if words:
        raise InvalidValueError(f"ps takes no arguments: {words[0]}", hint="see climits ps --help")
    rows = [row for path in _paths() if (row := _facts(path))]
    if values.get("json"):
        import json

        for row in rows:
            sys.stdout.write(json.dumps(row) + "\n")
    else:
        _print(rows)
    return 0


def _paths() -> list[str]:
    """Cgroups with a mark of climits, where one makes them."""
    from ..cgroup.files import Directory

    found: set[str] = set()
    for hierarchy in current().hierarchies:
        for home in homes():
            try:
                directory = Directory(hierarchy.directory_path(home))
                names = directory.children()
            except CgroupError:
                continue
            for name in names:
                try:
                    if directory.child(name).get_mark(ownership.MARK):
                        found.add(f"{home}/{name}")
                except CgroupError:
                    continue  # gone meanwhile
    return sorted(found)


def _facts(path: str) -> "dict[str, Any] | None":
    """One row; sizes in bytes, times in seconds; None for one that is empty or gone."""
    try:
        group = Cgroup.open(path)
        started = {pid: proc.start_time(pid) for pid in pids_below(group)}
        alive = {pid: ticks for pid, ticks in started.items() if ticks is not None}
        if not alive:
            return None
        pid = min(alive, key=lambda p: (alive[p], p))
        facts: dict[str, Any] = {"name": path.rpartition("/")[2], "cgroup": path, "pid": pid}
        facts["kind"] = "container" if _is_apart(pid) else "run"
        facts["processes"] = len(alive)
        if group.part("memory"):
            limit = group.memory.max
            facts["memory_current"] = group.memory.current()
            facts["memory_max"] = "max" if limit == UNLIMITED else limit
        group.close()
    except CgroupError:
        return None
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - alive[pid] / _ticks()
    command = proc.arguments(pid)
    if command[:1] == ["climits-init"]:  # process 1 of a container; then its descriptor
        del command[:2]
    return facts | {"age": round(max(seconds, 0.0), 2), "command": command}


def _is_apart(pid: int) -> bool:
    try:
        return "pid" in (names := different(pid)) or "mnt" in names
    except OSError:
        return False


def _ticks() -> int:
    import os

    return os.sysconf("SC_CLK_TCK")


def _print(rows: "list[dict[str, Any]]") -> None:
    table = [("NAME", "PID", "KIND", "MEMORY", "LIMIT", "AGE", "COMMAND")]
    for row in rows:
        limit, used = row.get("memory_max"), row.get("memory_current")
        command = " ".join(row["command"])
        table.append((
            row["name"], str(row["pid"]), row["kind"],
            "-" if used is None else format_size(used),
            limit if limit == "max" else "-" if limit is None else format_size(limit),
            format_duration(row["age"]),
            command if command.isprintable() else ascii(command)[1:-1],
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in table) for i in range(6)]
    for *cells, command in table:
        shown = "  ".join(f"{c:{w}}" for c, w in zip(cells, widths, strict=True))
        sys.stdout.write(f"{shown}  {command[:60]}".rstrip() + "\n")
