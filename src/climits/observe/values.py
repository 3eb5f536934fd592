"""What a cgroup file holds, in units for people."""
# The readers of all units have one shape, though few of them ask which file it is.
# ruff: noqa: ARG001

from ..cgroup.memory import parse_limit
from ..units import UNLIMITED, format_duration, format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .catalog import CgroupFile

#: Ticks a second in what the kernel tells, on every architecture but alpha.
_USER_HZ = 100
#: More ids than this are counted, not listed.
_MOST_IDS = 10


def describe_value(file: "CgroupFile", data: bytes) -> list[str]:
    """The content of a file for people.

    Args:
        file: which one.
        data: what was read from it.

    Returns:
        One line, or one for each line of the file; at least one.
    """
    text = data.decode(errors="replace").strip()
    if not text:
        return ["(empty)"]
    if file.unit in ("processes", "threads"):
        return [_ids(text.split(), file.unit)]
    reader = _READERS.get(file.unit)
    if reader is None:
        return text.splitlines()
    try:
        return _aligned([reader(line, file) for line in text.splitlines()])
    except (ValueError, LookupError):  # a line of a form that is newer than this table
        return text.splitlines()


def _aligned(rows: "list[tuple[str, ...]]") -> list[str]:
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
             for row in rows]  # fmt: skip
    return [line.rstrip() for line in lines]


def _ids(ids: list[str], what: str) -> str:
    kind = what[:-2] if len(ids) == 1 and what == "processes" else what
    kind = "thread" if len(ids) == 1 and what == "threads" else kind
    shown = ", ".join(ids[:_MOST_IDS]) + (", ..." if len(ids) > _MOST_IDS else "")
    return f"{len(ids)} {kind}: {shown}"


def size_text(data: "str | bytes") -> str:
    """A size as a cgroup file has it: ``60.0M (62914560)``, or ``no limit``."""
    value = parse_limit(data.encode() if isinstance(data, str) else data)
    if value == UNLIMITED:
        return "no limit"
    return f"{format_size(value)} ({value})" if value >= 1024 else f"{value} bytes"


def _bytes(line: str, file: "CgroupFile") -> tuple[str, ...]:
    if line == "-1":
        return ("no limit",)
    return (size_text(line),)


def _bytes_by_key(line: str, file: "CgroupFile") -> tuple[str, ...]:
    key, value = line.split()
    if any(key.startswith(start) for start in file.counts):
        return key, value
    return key, size_text(value)


def _counts_by_key(line: str, file: "CgroupFile") -> tuple[str, ...]:
    key, value = line.split()
    if key.endswith("_time"):  # of cpu.stat on v1
        return key, format_duration(int(value) / 1e9)
    return key, value


def _microseconds_by_key(line: str, file: "CgroupFile") -> tuple[str, ...]:
    key, value = line.split()
    return key, format_duration(int(value) / 1e6) if key.endswith("_usec") else value


def _ticks_by_key(line: str, file: "CgroupFile") -> tuple[str, ...]:
    key, value = line.split()
    return key, format_duration(int(value) / _USER_HZ)


def _microseconds(line: str, file: "CgroupFile") -> tuple[str, ...]:
    if int(line) < 0:
        return ("no limit",)
    return (f"{format_duration(int(line) / 1e6)} ({line} microseconds)",)


def _nanoseconds(line: str, file: "CgroupFile") -> tuple[str, ...]:
    return tuple(format_duration(int(number) / 1e9) for number in line.split())


def _count(line: str, file: "CgroupFile") -> tuple[str, ...]:
    return ("no limit",) if line == "max" else (line,)


def _percent(line: str, file: "CgroupFile") -> tuple[str, ...]:
    return ("no limit",) if line == "max" else (f"{float(line):g}%",)


def _flag(line: str, file: "CgroupFile") -> tuple[str, ...]:
    return (f"{line} ({'yes' if int(line) else 'no'})",)


def _bandwidth(line: str, file: "CgroupFile") -> tuple[str, ...]:
    quota, period = line.split()
    if quota == "max":
        return ("no limit",)
    return (f"{int(quota) / int(period):g} CPUs' worth ({line})",)


def _by_node(line: str, file: "CgroupFile") -> tuple[str, ...]:
    first, *nodes = line.split()
    # v1 has kind=total N0=..., counted in pages; v2 kind N0=... in bytes.
    key, _, total = first.partition("=")
    of_pages = file.unit == "pages by node"
    counted = file.unit == "pages by node" or key.startswith(("workingset_", "pg"))
    shown = []
    for node in nodes:
        name, _, value = node.partition("=")
        shown.append(f"{name} {value if counted else size_text(value)}")
    return (key, *([f"{total} pages"] if of_pages else []), *shown)


def _pressure(line: str, file: "CgroupFile") -> tuple[str, ...]:
    kind, *fields = line.split()
    values = dict(field.split("=") for field in fields)
    shares = (f"{values[f'avg{span}']}% of {span}s" for span in (10, 60, 300))
    return kind, *shares, f"{format_duration(int(values['total']) / 1e6)} in all"


_READERS: "dict[str, Callable[[str, CgroupFile], tuple[str, ...]]]" = {
    "bytes": _bytes,
    "bytes by key": _bytes_by_key,
    "counts by key": _counts_by_key,
    "pages by node": _by_node,
    "bytes by node": _by_node,
    "microseconds": _microseconds,
    "microseconds by key": _microseconds_by_key,
    "nanoseconds": _nanoseconds,
    "nanoseconds by CPU": _nanoseconds,
    "ticks by key": _ticks_by_key,
    "count": _count,
    "percent": _percent,
    "flag": _flag,
    "bandwidth": _bandwidth,
    "pressure": _pressure,
}
#: Shown as they are, or handled above.
_PLAIN = ("text", "CPUs", "memory nodes", "processes", "threads")

#: Every unit that a file of the table may have.
UNITS = (*_READERS, *_PLAIN)
