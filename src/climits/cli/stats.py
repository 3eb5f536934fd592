"""`climits stats`: what each cgroup uses, and whose it is."""

import os
import shutil
import sys
import time

from ..cgroup.layout import Layout, current
from ..errors import CgroupGoneError, InvalidValueError
from ..observe.owners import paths_of
from ..observe.stats import Row, Stats
from ..observe.stats_table import lines
from ..observe.text import printable
from .options import CGROUP, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--all", None, "switch", CGROUP, "every cgroup, those without processes too"),
    ("--watch", None, "switch", TELLING, "again each second, until Ctrl+C"),
    ("--explain", None, "switch", TELLING, "take the usage of each apart, and say what counts"),
    ("--json", None, "switch", TELLING, "an object a line, one for each cgroup"),
)
ANYWHERE = True
USAGE = "climits stats [NAME | CONTAINER | PID ...] [OPTIONS]"
EPILOG = """\
Without words, all containers, units, jobs and programs that have processes, those
with the most memory first. A word is the name of a cgroup that climits made, a
container by its name or the beginning of its id as docker ps shows it, a systemd
unit (with or without .service), a pod, a process (pid:1234, or 1234) or a cgroup
path (/system.slice).

MEMORY is all that is charged to the cgroup and those below it, % how much of LIMIT
that is. ANON is heap and stacks, FILE page cache, most of which can be given back,
SHMEM shared memory and tmpfs. HITS: how often it ran into its limit; OOM: processes
that the kernel killed for it (on v2 those below are counted in). PSI%: of the time,
some task waited for memory. CPU%: of one CPU. PIDS: tasks, threads counted. The two
percentages of time need two looks, half a second apart, or a second with --watch.
What the kernel does not tell is shown as -. A narrow terminal shows fewer columns.

--json has the path, the owner (runtime, name, id, unit, slice, pod, qos, container,
job, step, user) and the figures in bytes, seconds and percent: current, peak, max,
high, anon, file, shmem, kernel, swap, swap_max, limit_hits, oom_kill, pressure_some,
pressure_full, cpu, pids, memory_percent, pressure_percent, cpu_percent; with --watch
also time, in seconds since the epoch, the same for all of one look.

examples:
  climits stats
  climits stats web --explain
  climits stats 3f4e1a09c2d7 --json
  climits stats --watch
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]

#: Seconds between the two looks that make a rate.
_APART = 0.5
_EACH = 1.0


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Look and show."""
    if values.get("explain") and (values.get("watch") or not words):
        raise InvalidValueError(
            "explain takes named cgroups, and one look", hint="climits stats NAME --explain"
        )
    if values.get("all") and words:
        raise InvalidValueError(
            f"all goes without names: {words[0]}", hint="climits stats --all, or climits stats NAME"
        )
    layout = current()
    paths = paths_of(words, layout) if words else None
    with Stats(layout, paths, everything=bool(values.get("all"))) as stats:
        if values.get("watch"):
            _watch(stats, as_json=bool(values.get("json")))
        stats.look()
        time.sleep(_APART)
        rows = stats.look()
        if paths and not rows:
            raise CgroupGoneError(f"the cgroup was removed: {paths[0]}")
        if values.get("explain"):
            _explain(layout, rows, as_json=bool(values.get("json")))
        elif values.get("json"):
            sys.stdout.write(_as_json(rows))
        else:
            sys.stdout.write("".join(f"{line}\n" for line in lines(rows, _width())))
        _tell_skipped(stats)
    return 0


# ---- showing -------------------------------------------------------------------------------


def _as_json(rows: list[Row], **more: float) -> str:
    import json

    return "".join(json.dumps(more | row.as_dict()) + "\n" for row in rows)


def _explain(layout: Layout, rows: list[Row], *, as_json: bool) -> None:
    from ..observe.real_usage import explain, real_usage

    out = []
    for row in rows:
        usage = real_usage(layout, row.sample)
        if as_json:
            import json

            out.append(json.dumps(row.as_dict() | usage.replace(words=None).as_dict()))
        else:
            owner = " ".join(filter(None, (row.owner.runtime, row.owner.name)))
            out += ["", *explain(usage, printable(f"{row.path} ({owner})"))]
    sys.stdout.write("".join(f"{line}\n" for line in (out if as_json else out[1:])))


def _tell_skipped(stats: Stats) -> None:
    """One line for each reason why some could not be read."""
    reasons: dict[str, int] = {}
    for text in stats.skipped.values():
        reason = text.rpartition(": ")[2]
        reasons[reason] = reasons.get(reason, 0) + 1
    sys.stdout.flush()
    for reason, number in reasons.items():
        what = "1 cgroup" if number == 1 else f"{number} cgroups"
        sys.stderr.write(f"climits: {what} could not be read: {reason}\n")


def _width() -> "int | None":
    """Columns of the terminal, or of COLUMNS; None where there is neither."""
    if os.environ.get("COLUMNS", "").isdigit() or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return None


def _watch(stats: Stats, *, as_json: bool) -> None:
    """Show them again each second; on a terminal in place."""
    in_place = sys.stdout.isatty() and not as_json
    stats.look()
    due = time.monotonic() + _APART
    first = True
    while True:
        time.sleep(max(due - time.monotonic(), 0))
        due = max(due + _EACH, time.monotonic())
        rows = stats.look()
        if stats.wanted and not rows:
            raise CgroupGoneError(f"the cgroup was removed: {stats.wanted[0]}")
        if as_json:
            sys.stdout.write(_as_json(rows, time=round(time.time(), 3)))
        elif in_place:
            sys.stdout.write(_screen(rows, "\x1b[2J" if first else ""))
        else:
            text = "".join(f"{line}\n" for line in lines(rows, _width()))
            sys.stdout.write(text if first else f"\n{text}")
        if first:
            _tell_skipped(stats)
        sys.stdout.flush()
        first = False


def _screen(rows: list[Row], clear: str) -> str:
    """The table from the top left, as much as there is room for."""
    columns, height = shutil.get_terminal_size()
    shown = lines(rows, columns)
    if len(shown) >= height:
        rest = len(shown) - (height - 2)
        shown = [*shown[: height - 2], f"{rest} more"]
    return f"{clear}\x1b[H" + "".join(f"{line}\x1b[K\n" for line in shown) + "\x1b[J"
