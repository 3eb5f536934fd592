"""`climits ls`: list cgroups."""

import sys

from ..cgroup.files import Directory
from ..cgroup.layout import Hierarchy, current
from ..errors import CgroupError
from ..observe.text import printable
from ..units import UNLIMITED, format_size
from .cgroups import the_cgroup
from .options import CGROUP, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--recursive", None, "switch", CGROUP, "those below them too (-r)"),
    ("--json", None, "switch", TELLING, "one JSON object a line"),
)
ANYWHERE = True
USAGE = "climits ls [CGROUP] [OPTIONS]"
EPILOG = """\
Lists the cgroups below CGROUP: a path such as /climits, a name, or pid:1234;
below / when none is given. Of a directory below a mount point, such as
/sys/fs/cgroup/pids/web, those of that hierarchy.
PROCS counts the processes in the cgroup itself, HIERARCHIES says which have it.
climits tree shows more.
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """List them."""
    hierarchies, path = current().hierarchies, "/"
    if words:
        group = the_cgroup(words, "ls", acts=True)
        hierarchies, path = [part.hierarchy for part in group.parts], group.path
        group.close()
    below = _below(hierarchies, path, bool(values.get("recursive")))
    rows = [_facts(hierarchies, child) for child in below]
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


def _below(hierarchies: list[Hierarchy], top: str, recursive: bool) -> list[str]:
    """Paths below one, in the order of a tree."""
    found: list[str] = []
    todo = [top]
    while todo:
        path = todo.pop()
        if path != top:
            found.append(path)
        if path != top and not recursive:
            continue
        names: set[str] = set()
        for hierarchy in hierarchies:
            directory = _open(hierarchy, path)
            if directory is not None:
                names |= set(directory.children())
                directory.close()
        todo += [f"{path.rstrip('/')}/{name}" for name in sorted(names, reverse=True)]
    return found


def _facts(hierarchies: list[Hierarchy], path: str) -> "dict[str, Any]":
    """What one line tells; sizes in bytes, None where the kernel does not report it."""
    pids: set[int] = set()
    labels = []
    facts: dict[str, Any] = {"path": path, "processes": 0, "memory_current": None}
    for hierarchy in hierarchies:
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
            pass  # removed meanwhile, threaded, or without the controller
        directory.close()
    return facts | {"processes": len(pids), "hierarchies": sorted(labels)}


def _print(rows: "list[dict[str, Any]]") -> None:
    table = [("CGROUP", "PROCS", "MEMORY", "LIMIT", "HIERARCHIES")]
    for row in rows:
        limit = row.get("memory_max")
        table.append((
            printable(row["path"]),
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
