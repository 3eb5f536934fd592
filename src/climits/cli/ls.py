"""`climits ls`: list cgroups."""

import sys

from ..cgroup import placement
from ..cgroup.files import Directory
from ..cgroup.layout import Hierarchy, Layout, current
from ..errors import CgroupError, CgroupGoneError, InvalidValueError
from ..units import UNLIMITED, format_size
from .options import CGROUP, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--recursive", None, "switch", CGROUP, "those below them too (-r)"),
    ("--json", None, "switch", TELLING, "one JSON object a line"),
)
ANYWHERE = True
USAGE = "climits ls [PATH] [OPTIONS]"
EPILOG = """\
Lists the cgroups below PATH, such as /climits; below / when none is given.
PROCS counts the processes in the cgroup itself, HIERARCHIES says which have it.
climits tree shows more.
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """List them."""
    if len(words) > 1:
        raise InvalidValueError(f"ls takes one path: {words[1]}", hint="see climits ls --help")
    layout = current()
    path = placement.check_path(words[0], layout, what="path") if words else "/"
    if not any(_open(hierarchy, path) for hierarchy in layout.hierarchies):
        raise CgroupGoneError(f"no such cgroup: {path}", path=path, hint="climits ls lists all")
    rows = [_facts(layout, child) for child in _below(layout, path, bool(values.get("recursive")))]
    if values.get("json"):
        import json

        for row in rows:
            sys.stdout.write(json.dumps({k: v for k, v in row.items() if v is not None}) + "\n")
    else:
        _print(rows)
    return 0


def _open(hierarchy: Hierarchy, path: str) -> "Directory | None":
    try:
        return Directory(hierarchy.directory_path(path))
    except CgroupError:
        return None  # removed while we look, or not in this hierarchy


def _below(layout: Layout, path: str, recursive: bool) -> "list[str]":
    names: set[str] = set()
    for hierarchy in layout.hierarchies:
        directory = _open(hierarchy, path)
        names |= set(directory.children()) if directory else set()
    found = []
    for name in sorted(names):
        child = f"{path.rstrip('/')}/{name}"
        found.append(child)
        if recursive:
            found += _below(layout, child, True)
    return found


def _facts(layout: Layout, path: str) -> "dict[str, Any]":
    """What one line tells; sizes in bytes, None where the kernel does not report it."""
    pids: set[int] = set()
    labels = []
    facts: dict[str, Any] = {"path": path, "processes": 0, "memory_current": None}
    for hierarchy in layout.hierarchies:
        directory = _open(hierarchy, path)
        if directory is None:
            continue
        labels.append(hierarchy.label)
        try:
            pids |= set(directory.pids())
            if "memory" in hierarchy.controllers:
                memory = hierarchy.memory(directory)
                limit = memory.limits().max
                facts["memory_current"] = memory.current()
                facts["memory_max"] = "max" if limit == UNLIMITED else limit
        except CgroupError:
            continue  # removed meanwhile, threaded, or without the controller
    return facts | {"processes": len(pids), "hierarchies": sorted(labels)}


def _print(rows: "list[dict[str, Any]]") -> None:
    table = [("CGROUP", "PROCS", "MEMORY", "LIMIT", "HIERARCHIES")]
    for row in rows:
        limit = row.get("memory_max")
        table.append((
            row["path"],
            str(row["processes"]),
            "-" if row["memory_current"] is None else format_size(row["memory_current"]),
            limit if limit == "max" else "-" if limit is None else format_size(limit),
            " ".join(row["hierarchies"]),
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in table) for i in range(5)]
    for path, procs, memory, limit, labels in table:
        sys.stdout.write(
            f"{path:{widths[0]}}  {procs:>{widths[1]}}  {memory:>{widths[2]}}  "
            f"{limit:>{widths[3]}}  {labels}\n"
        )
