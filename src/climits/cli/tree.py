"""`climits tree`: cgroups with their usage, or their processes, as a tree."""

import sys

from ..cgroup.find import find_cgroup
from ..cgroup.layout import current
from ..errors import CgroupGoneError, InvalidValueError
from ..observe.text import branch, count, printable, size, wrapped
from ..observe.tree import Node, process_tree, read_tree
from .options import CGROUP, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--depth", "N", "int", CGROUP, "levels below the first to show; default: all"),
    ("--controllers", None, "switch", TELLING, "name the hierarchies or controllers of each too"),
    ("--pids", None, "switch", TELLING, "show the processes of each, as pstree -p would"),
    ("--json", None, "switch", TELLING, "a list of objects, one a cgroup, parents first"),
)
ANYWHERE = True
USAGE = "climits tree [NAME] [OPTIONS]"
EPILOG = """\
NAME is a cgroup that climits made, a cgroup path such as /system.slice, or a
process (pid:1234). Cgroups of one path in several hierarchies are one line.

MEMORY is what is charged to the cgroup and those below it, LIMIT its own limit
(max: none), PROCS the processes in it, those below left out, PIDS the tasks
(threads) in it and below, with their limit. A figure that the kernel does not
tell is shown as -, as it is where a controller is not on.

With --pids, RSS is what a process has in RAM. What processes share counts for
each of them, and page cache for none: the sum differs from MEMORY. Kernel
threads are left out.

examples:
  climits tree
  climits tree /system.slice --depth 1 --controllers
  climits tree web --pids
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Read and show."""
    if len(words) > 1:
        raise InvalidValueError(
            f"tree takes one cgroup: {words[1]}", hint="see climits tree --help"
        )
    depth = values.get("depth")
    if depth is not None and depth < 0:
        raise InvalidValueError(f"depth: {depth}: negative", value=depth, hint="write 0 or more")
    controllers = bool(values.get("controllers"))
    path = "/"
    if words and words[0] != "/":
        group = find_cgroup(words[0])
        path = group.path
        group.close()
    layout = current()
    if not layout.hierarchies:
        raise CgroupGoneError(
            "no cgroup filesystem is mounted", hint="mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        )
    top = read_tree(layout, path, depth=depth, controllers=controllers)
    if values.get("json"):
        import json

        sys.stdout.write(json.dumps(_facts(top, pids=bool(values.get("pids")))) + "\n")
        return 0
    lines = _with_processes(top) if values.get("pids") else _figures(top)
    text = "\n".join(lines) + "\n"
    sys.stdout.write(_in_ascii(text) if _needs_ascii() else text)
    return 0


def _facts(top: Node, *, pids: bool) -> "list[dict[str, Any]]":
    out = []
    for node, _ in top.walk():
        facts = node.as_dict()
        if node.pids is not None:
            facts["processes"] = len(node.pids)
        if pids:
            facts["pids"] = [process.as_dict() for process, _ in process_tree(node.pids or [])]
        out.append(facts)
    return out


def _figures(top: Node) -> "Iterator[str]":
    yield f"{'MEMORY':>8} {'LIMIT':>8} {'PROCS':>5} {'PIDS':>9}  CGROUP"
    for node, lasts in top.walk():
        tasks = count(node.pids_current)
        if node.pids_max is not None:
            tasks += f"/{count(node.pids_max)}"
        procs = "-" if node.pids is None else str(len(node.pids))
        line = (
            f"{size(node.memory_current):>8} {size(node.memory_max):>8} {procs:>5} {tasks:>9}  "
            f"{branch(lasts)}{_name(node, lasts)}"
        )
        yield from _with_controllers(line, node)


def _with_processes(top: Node) -> "Iterator[str]":
    yield f"{'MEMORY':>8} {'LIMIT':>8} {'RSS':>8} {'THREADS':>7}  CGROUP, PROCESS(PID)"
    for node, lasts in top.walk():
        tree = process_tree(node.pids or [])
        resident = sum(process.resident for process, _ in tree)
        threads = sum(process.threads for process, _ in tree)
        figures = f"{size(resident):>8} {threads:>7}" if tree else f"{'':8} {'':7}"
        line = (
            f"{size(node.memory_current):>8} {size(node.memory_max):>8} {figures}  "
            f"{branch(lasts)}{_name(node, lasts)}"
        )
        yield from _with_controllers(line, node)
        for process, levels in tree:
            # The cgroups below follow: a process is the last only where there are none.
            levels = (levels[0] and not node.children, *levels[1:])
            yield (
                f"{'':17} {size(process.resident):>8} {process.threads:>7}  "
                f"{branch((*lasts, *levels))}{printable(process.name)}({process.pid})"
            )


def _with_controllers(line: str, node: Node) -> list[str]:
    """The line of a cgroup, with its controllers where they were asked for."""
    if not node.controllers:
        return [line]
    names = f"[{' '.join(node.controllers)}]"
    if len(line) + len(names) <= 98:
        return [f"{line}  {names}"]
    return [line, *wrapped(names, indent=38)]  # at the root of a v1 host, which has all


def _name(node: Node, lasts: tuple[bool, ...]) -> str:
    """The last component; of the first line the whole path."""
    return printable(node.path.rpartition("/")[2] if lasts else node.path)


def _needs_ascii() -> bool:
    """Whether the terminal has no lines to draw with."""
    try:
        "└".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def _in_ascii(text: str) -> str:
    for line, plain in (("└─", "`-"), ("├─", "|-"), ("│", "|")):
        text = text.replace(line, plain)
    return text.encode("ascii", "backslashreplace").decode()
