# ruff: noqa: D102
"""A part of the cgroup tree that belongs to a user, and the leaf that frees a container's root.

Source: Documentation/admin-guide/cgroup-v2.rst (Delegation, No Internal Process Constraint),
Documentation/admin-guide/cgroup-v1/cgroups.rst.
"""

import errno
import os

from ...cgroup import files
from ...cgroup.files import Directory
from ...cgroup.layout import Layout
from ...errors import CgroupError, CgroupExistsError, CgroupGoneError
from .changes import Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...cgroup.layout import Hierarchy
    from .changes import Note

#: What is handed down on cgroup v2, where it is there.
CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")
#: What a user may be given on v1; others, such as devices, have no use for climits.
_ON_V1 = frozenset((*CONTROLLERS, "blkio", "cpuacct", "freezer"))
#: Given to the user; the limits of the subtree itself stay the administrator's.
_HANDED = (".", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks")
#: Where a session of the user is started, on a hierarchy in which processes live in leaves.
SESSION = "session"
#: Where the processes of a container's root go.
LEAF = "climits-init"
#: Processes may fork while they are moved: so often is looked again.
_ROUNDS = 100


class OwnedSubtree(Change):
    """One cgroup in each hierarchy that a user may make others in.

    Attributes:
        target: its path, such as /climits/user-1000.
    """

    kind = "subtree"
    lasts = False

    def __init__(self, layout: Layout, path: str, uid: int, gid: int) -> None:
        super().__init__(path)
        self.layout, self.uid, self.gid = layout, uid, gid
        self._hierarchies = spanned(layout)

    def is_done(self) -> bool:
        return all(self._is_ours(h) for h in self._hierarchies)

    def _is_ours(self, hierarchy: "Hierarchy") -> bool:
        try:
            directory = Directory(hierarchy.directory_path(self.target))
            ours = all(
                os.stat(name, dir_fd=directory.fd).st_uid == self.uid
                for name in (".", "cgroup.procs")
            )
            if not hierarchy.delegates:
                return ours
            enabled = directory.read("cgroup.subtree_control").decode().split()
            return ours and directory.has(SESSION) and set(_offered(hierarchy)) <= {*enabled}
        except (CgroupError, OSError):
            return False

    def note(self) -> "Note":
        made, enabled = [], []
        for hierarchy in self._hierarchies:
            for path in _upwards(self.target):
                directory = hierarchy.directory_path(path)
                if not os.path.isdir(directory):
                    made.append(directory)
                elif hierarchy.delegates:
                    missing = _missing(Directory(directory), _offered(hierarchy))
                    if missing:
                        enabled.append([directory, missing])
        return {"made": made, "enabled": enabled}

    def merged(self, note: "Note") -> "Note":
        # A hierarchy may have been mounted, or a cgroup removed, since the first time.
        new = self.note()
        enabled = {path: list(names) for path, names in note["enabled"]}
        for path, names in new["enabled"]:
            there = enabled.setdefault(path, [])
            there += [name for name in names if name not in there]
        # Undone from the end: a cgroup sorts before those below it.
        return {
            "made": sorted({*note["made"], *new["made"]}),
            "enabled": [[path, names] for path, names in sorted(enabled.items())],
        }

    def do(self) -> None:
        for hierarchy in self._hierarchies:
            above: Directory | None = None
            for path in _upwards(self.target):
                directory = _make(hierarchy.directory_path(path))
                if hierarchy.delegates:
                    _enable(directory, _offered(hierarchy))
                elif above is not None and "cpuset" in hierarchy.controllers:
                    hierarchy.cpuset(directory).inherit(above)
                above = directory
            assert above is not None
            self._hand_over(above)
            if hierarchy.delegates:
                self._hand_over(_make(f"{above.path}/{SESSION}"))

    def _hand_over(self, directory: Directory) -> None:
        for name in _HANDED:
            directory.hand_over(name, self.uid, self.gid)

    @staticmethod
    def undo(target: str, note: "Note") -> "str | None":
        left = None
        for path in reversed(note["made"]):
            try:
                directory = Directory(path)
            except CgroupGoneError:
                continue
            if path.endswith(target):  # with what its owner has left in it
                busy = files.remove_below(directory)
            else:
                busy = None if files.remove(path) or directory.children() else path
            if busy:
                left = f"{busy}: processes live in it, or others use it: left as it is"
        for path, controllers in reversed(note["enabled"]):
            _disable(path, controllers)
        return left


class Leaf(Change):
    """The processes in the root of a container's cgroup namespace, moved into a leaf below it.

    On cgroup v2 only a cgroup without processes hands controllers down.

    Attributes:
        target: where the hierarchy is mounted.
    """

    kind = "leaf"
    lasts = False

    def __init__(self, hierarchy: "Hierarchy") -> None:
        super().__init__(hierarchy.mount_point)
        self._hierarchy = hierarchy

    def is_done(self) -> bool:
        return not is_busy(self._hierarchy)

    def note(self) -> "Note":
        root = Directory(self.target)
        return {"controllers": _missing(root, _offered(self._hierarchy))}

    def do(self) -> None:
        root = Directory(self.target)
        leaf = _make(f"{self.target}/{LEAF}")
        _move_all(root, leaf)
        _enable(root, _offered(self._hierarchy))

    @staticmethod
    def undo(target: str, note: "Note") -> "str | None":
        root = Directory(target)
        try:
            leaf = root.child(LEAF)
        except CgroupGoneError:
            return None
        others = [name for name in root.children() if name != LEAF]
        if others:
            return f"{target} has other cgroups ({', '.join(others)}): left as it is"
        _disable(target, note["controllers"], beside=LEAF)
        _move_all(leaf, root)
        return None if files.remove(leaf.path) else f"{leaf.path} is in use: left as it is"


def spanned(layout: Layout) -> "list[Hierarchy]":
    """The hierarchies that an owned subtree is made in.

    Not that of cgroup v2 beside v1: without memory it would only track programs, which v1 does too,
    and the user's shell would have to be started in it.
    """
    memory = layout.find("memory")
    return [
        h for h in layout.hierarchies if (h is memory if h.delegates else h.controllers & _ON_V1)
    ]


def is_busy(hierarchy: "Hierarchy | None") -> bool:
    """Whether what is mounted is no true root, processes live in it, and memory is not handed down.

    Those of the true root are no hindrance.
    """
    if hierarchy is None or not hierarchy.delegates:
        return False
    try:
        root = Directory(hierarchy.mount_point)
        # Only the true root has no such file.
        return root.has("cgroup.type") and bool(root.pids()) and (
            "memory" not in root.read("cgroup.subtree_control").decode().split()
        )  # fmt: skip
    except CgroupError:
        return False


def _upwards(path: str) -> list[str]:
    """/, /a and /a/b of /a/b."""
    parts = path.strip("/").split("/")
    return ["/", *("/" + "/".join(parts[: i + 1]) for i in range(len(parts)))]


def _make(path: str) -> Directory:
    try:
        files.make(path)
    except CgroupExistsError:
        pass
    return Directory(path)


def _offered(hierarchy: "Hierarchy") -> list[str]:
    return [name for name in CONTROLLERS if name in hierarchy.controllers]


def _missing(directory: Directory, wanted: list[str]) -> list[str]:
    there = directory.read("cgroup.subtree_control").decode().split()
    return [name for name in wanted if name not in there]


def _enable(directory: Directory, wanted: list[str]) -> None:
    if missing := _missing(directory, wanted):
        directory.write("cgroup.subtree_control", " ".join(f"+{name}" for name in missing))


def _disable(path: str, controllers: list[str], beside: str = "") -> None:
    """Take controllers back where no cgroup is left that could have a limit through them."""
    try:
        directory = Directory(path)
        if controllers and not [name for name in directory.children() if name != beside]:
            text = " ".join(f"-{name}" for name in controllers)
            directory.write("cgroup.subtree_control", text)
    except CgroupGoneError:
        pass


def _move_all(source: Directory, target: Directory) -> None:
    for _ in range(_ROUNDS):
        pids = source.pids()
        if not pids:
            return
        if 0 in pids:
            raise CgroupError(
                f"cannot empty {source.path}: a process of another pid namespace lives in it",
                path=source.path,
                hint="start the container with a cgroup of its own",
            )
        for pid in pids:
            try:
                target.write("cgroup.procs", str(pid))
            except CgroupGoneError:
                raise
            except CgroupError as e:
                if e.errno != errno.ESRCH:  # it has ended meanwhile
                    raise
    raise CgroupError(
        f"cannot empty {source.path}: it keeps making processes",
        path=source.path,
        hint="stop what starts them, and run it again",
    )
