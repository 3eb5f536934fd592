"""A hierarchy of cgroups with their figures, read fast.

What a thousand cgroups cost is system calls: each is opened once, its files are read through its
descriptor, and a directory without directories in it, as its link count tells, is not listed.
"""

from ..cgroup.files import Directory
from ..cgroup.layout import Layout
from ..cgroup.memory import parse_limit
from ..errors import CgroupError, CgroupGoneError
from ..linux import proc
from ..units import UNLIMITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..cgroup.layout import Hierarchy

    Limit = int | float

#: (usage, limit): the first names that the top of a hierarchy has, or the last.
_MEMORY = (
    ("memory.usage_in_bytes", "memory.limit_in_bytes"),
    ("memory.current", "memory.max"),
)
_PIDS = ("pids.current", "pids.max")


class Node:
    """One cgroup path and what the hierarchies that have it tell of it.

    Attributes:
        path: of the cgroup.
        memory_current, memory_max: bytes, or UNLIMITED; None where there is no figure.
        pids_current, pids_max: tasks, those below included, and their limit; likewise.
        pids: list[int], processes in it, those below left out; None where they cannot be told.
        controllers: list[str]: the hierarchies on v1, what is handed down on v2.
        children: name: Node.
    """

    __slots__ = (
        "children",
        "controllers",
        "memory_current",
        "memory_max",
        "path",
        "pids",
        "pids_current",
        "pids_max",
    )

    def __init__(self, path: str) -> None:
        self.path = path
        self.memory_current: int | None = None
        self.memory_max: Limit | None = None
        self.pids_current: int | None = None
        self.pids_max: Limit | None = None
        self.pids: list[int] | None = None
        self.controllers: list[str] = []
        self.children: dict[str, Node] = {}

    def walk(self) -> "Iterator[tuple[Node, tuple[bool, ...]]]":
        """This node and all below it, parents first, children by name.

        Yields:
            (node, for each level below this one whether it is, or lies below, a last child).
        """
        # Not recursive: a path has room for more levels than Python has for calls.
        todo: list[tuple[Node, tuple[bool, ...]]] = [(self, ())]
        while todo:
            node, lasts = todo.pop()
            yield node, lasts
            names = sorted(node.children, reverse=True)
            todo += [(node.children[n], (*lasts, n == names[0])) for n in names]

    def as_dict(self) -> "dict[str, Any]":
        """Plain data for JSON, children left out; what is not known is left out."""
        figures = {
            "path": self.path,
            "memory_current": self.memory_current,
            "memory_max": self.memory_max,
            "pids_current": self.pids_current,
            "pids_max": self.pids_max,
            "controllers": self.controllers or None,
        }
        return {
            name: "max" if value == UNLIMITED else value
            for name, value in figures.items()
            if value is not None
        }


def read_tree(
    layout: Layout, path: str = "/", *, depth: "int | None" = None, controllers: bool = False
) -> Node:
    """A cgroup and those below it, in all hierarchies: those of one path are one node.

    Args:
        layout: the hierarchies.
        path: where to start.
        depth: levels below to read; None: all.
        controllers: tell the controllers of each too.

    Raises:
        CgroupGoneError: no hierarchy has it.
    """
    node = Node(path)
    found = False
    # Who knows memory's figures knows most: the processes are those in its cgroup.
    order = sorted(
        layout.hierarchies, key=lambda h: ("memory" not in h.controllers, not h.born_inside)
    )
    for hierarchy in order:
        found |= _Reader(hierarchy, controllers).read(node, depth)
    if not found:
        raise CgroupGoneError(f"no such cgroup: {path}", path=path)
    return node


class _Reader:
    """Walks one hierarchy and adds what it knows to the nodes."""

    def __init__(self, hierarchy: "Hierarchy", controllers: bool) -> None:
        self.hierarchy = hierarchy
        self.files: tuple[str, ...] = ()
        self.memory = "memory" in hierarchy.controllers
        self.counts = "pids" in hierarchy.controllers
        self.controllers = controllers
        if self.memory:
            top = Directory(hierarchy.mount_point)
            self.files += next((names for names in _MEMORY if top.has(names[0])), _MEMORY[-1])
        if self.counts:
            self.files += _PIDS

    def read(self, top: Node, depth: "int | None") -> bool:
        """Read from a node down; whether this hierarchy has it."""
        todo = [(self.hierarchy.directory_path(top.path), top, "", -1 if depth is None else depth)]
        found = False
        while todo:
            path, parent, name, levels = todo.pop()
            try:
                directory = Directory(path)
                node = _child(parent, name) if name else top
                found = True
                self._figures(directory, node)
                if levels != 0 and not directory.is_leaf():
                    names = directory.children()
                    todo += [(f"{path}/{name}", node, name, levels - 1) for name in names]
            except CgroupError:
                continue  # removed meanwhile, or not ours to look into
        return found

    def _figures(self, directory: Directory, node: Node) -> None:
        names = self.files
        wants_pids = node.pids is None
        if wants_pids:
            names += ("cgroup.procs",)
        if self.controllers and self.hierarchy.delegates:
            names += ("cgroup.controllers",)
        data = directory.read_many(names) if names else []
        if self.controllers:
            words = (data.pop() or b"").decode().split() if self.hierarchy.delegates else []
            node.controllers += words or [self.hierarchy.label]
        if wants_pids:
            pids = data.pop()
            if pids is not None and len(pids) >= 4000:  # longer than one read
                pids = directory.read("cgroup.procs")
            if pids is not None:
                # 0 is a process of another pid namespace.
                node.pids = [int(pid) for pid in pids.split() if pid != b"0"]
        if self.counts:
            limit, usage = data.pop(), data.pop()
            if usage is not None:
                node.pids_current = int(usage)
            if limit is not None:
                node.pids_max = parse_limit(limit)
        if self.memory:
            usage, limit = data
            if usage is not None:
                node.memory_current = int(usage)
            if limit is not None:
                node.memory_max = parse_limit(limit)


def _child(parent: Node, name: str) -> Node:
    """The node of a child, which another hierarchy may have made already."""
    node = parent.children.get(name)
    if node is None:
        node = parent.children[name] = Node(f"{parent.path.rstrip('/')}/{name}")
    return node


# ---- processes -----------------------------------------------------------------------------


class Process:
    """One process in a tree.

    Attributes:
        pid, name, parent: of the process.
        resident: bytes in RAM, shared memory included.
        threads: how many.
    """

    __slots__ = ("name", "parent", "pid", "resident", "threads")

    def __init__(self, pid: int, name: str, parent: int, resident: int, threads: int) -> None:
        self.pid, self.name, self.parent = pid, name, parent
        self.resident, self.threads = resident, threads

    def as_dict(self) -> "dict[str, Any]":
        """Plain data for JSON."""
        names = ("pid", "name", "parent", "resident", "threads")
        return {name: getattr(self, name) for name in names}


def process_tree(pids: list[int]) -> "list[tuple[Process, tuple[bool, ...]]]":
    """The processes as trees: one whose parent is not among them is the root of a tree.

    Kernel threads are left out, and so are processes that have ended meanwhile.

    Returns:
        (process, for each level whether it is, or lies below, a last child), parents first.
    """
    found = {}
    for pid in sorted(pids):
        facts = proc.summary(pid)
        if facts is not None and not facts[5]:
            found[pid] = Process(pid, facts[0], facts[2], facts[4], facts[3])
    below: dict[int, list[Process]] = {}
    for process in found.values():
        below.setdefault(process.parent if process.parent in found else 0, []).append(process)
    out = []
    todo: list[tuple[int, tuple[bool, ...]]] = [(0, ())]
    while todo:
        pid, lasts = todo.pop()
        if pid:
            out.append((found[pid], lasts))
        children = below.get(pid, [])[::-1]
        todo += [(child.pid, (*lasts, child is children[0])) for child in children]
    return out
