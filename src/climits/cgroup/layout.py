"""Which hierarchy holds which controller: the only code that asks for the cgroup version.

Four layouts are met: *legacy* (every controller on v1), *hybrid* (controllers on v1, and a v2
hierarchy beside them for tracking), *unified* (v2 alone) and *mixed* (some controllers on v2, the
rest on v1).  The rest of the code sees hierarchies with capabilities, and asks them for the
object that speaks their version's files.
"""

import os

from ..errors import CgroupError, UnsupportedError
from ..linux.mounts import cgroup_mounts, controller_table
from ..linux.proc import cgroup_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..linux.mounts import Mount
    from .cpu import Cpu
    from .cpuset import Cpuset
    from .files import Directory
    from .freezer import Freezer
    from .memory import Memory


class Hierarchy:
    """One mounted hierarchy.

    Attributes:
        mount_point: where it is mounted.
        name: of one that was given a name (``none,name=systemd``), or None.
        root: the cgroup that is seen at the mount point; "/" unless it is a bind mount.
        controllers: names of the controllers that live in it.
        read_only: whether it refuses writes.
        born_inside: a child can be created in it by clone3, with no migration (v2).
        delegates: controllers must be handed down through cgroup.subtree_control (v2).
        kills_group_on_oom: its OOM killer can take a whole cgroup at once (v2).
        join_file: the file to which a process writes "0" to move itself.
        thread_file: the file to which the number of a thread is written to move it alone.
    """

    __slots__ = (
        "_backends",
        "_version",
        "born_inside",
        "controllers",
        "delegates",
        "join_file",
        "kills_group_on_oom",
        "mount_point",
        "name",
        "read_only",
        "root",
        "thread_file",
    )

    def __init__(
        self,
        mount: "Mount",
        version: int,
        controllers: "Iterable[str]",
        name: "str | None" = None,
    ) -> None:
        self._version, self.name = version, name
        self._backends: dict[str, Any] = {}
        self.mount_point, self.root, self.read_only = mount.point, mount.root, mount.read_only
        self.controllers = frozenset(controllers)
        self.born_inside = self.delegates = self.kills_group_on_oom = version == 2
        # On v1 a "0" in tasks moves the caller without the global lock that cgroup.procs takes.
        self.join_file = "tasks" if version == 1 else "cgroup.procs"
        self.thread_file = "tasks" if version == 1 else "cgroup.threads"

    def __repr__(self) -> str:
        return (
            f"<v{self._version} {','.join(sorted(self.controllers)) or '-'} at {self.mount_point}>"
        )

    @property
    def label(self) -> str:
        """How to name it to people: ``memory``, ``cpu,cpuacct``, ``name=systemd``, ``unified``."""
        if self._version == 2:
            return "unified"
        return ",".join(sorted(self.controllers)) or f"name={self.name}"

    @property
    def mount_words(self) -> "tuple[str, str | None]":
        """What mount(2) takes to show it once more: file system type, options."""
        if self._version == 2:
            return "cgroup2", None
        named = [f"name={self.name}"] if self.name else []
        none = [] if self.controllers else ["none"]
        return "cgroup", ",".join([*none, *sorted(self.controllers), *named])

    @property
    def version_name(self) -> str:
        """``v1`` or ``v2``, to be shown."""
        return f"v{self._version}"

    def directory_path(self, path: str) -> str:
        """File path of a cgroup of this hierarchy, given its path, such as /climits/web.

        Raises:
            CgroupError: the path climbs out of what is mounted here.
        """
        # A bind mount shows only the part below `root`.
        if self.root != "/" and f"{path}/".startswith(self.root + "/"):
            path = path[len(self.root) :]
        if ".." in path and ".." in path.split("/"):  # of another cgroup namespace
            raise self._outside(path)
        return self.mount_point + path.rstrip("/")

    def directory_of(self, path: str) -> str:
        """File path of a cgroup that the kernel names in /proc/PID/cgroup.

        Unlike what a person writes, which is meant as seen from here, such a path counts from the
        root of the hierarchy or of our cgroup namespace.

        Raises:
            CgroupError: it is not below what is mounted here.

        Source: cgroup_namespaces(7): paths, and roots of mounts, outside of ours start with /.. .
        """
        if self.root != "/" and not f"{path}/".startswith(self.root + "/"):
            raise self._outside(path)
        return self.directory_path(path)

    def _outside(self, path: str) -> CgroupError:
        return CgroupError(
            f"{self.label}: {path} lies outside of what can be seen from here",
            path=path,
            hint=f"{self.mount_point} shows a part of the hierarchy only: use a mount of all of it",
        )

    def cgroup_path(self, directory: str) -> "str | None":
        """The reverse of directory_path; None for a path outside this hierarchy."""
        if directory == self.mount_point:
            return "/"
        if directory.startswith(self.mount_point + "/"):
            return directory[len(self.mount_point) :]
        return None

    def path_among(self, paths: "dict[str, str]") -> "str | None":
        """The cgroup of a process in this hierarchy, from what proc.cgroup_paths tells."""
        if self._version == 2:
            return paths.get("")
        for controller in self.controllers:
            if controller in paths:
                return paths[controller]
        return paths.get(f"name={self.name}")

    # The modules below are imported when they are first needed, and then remembered: an import
    # statement that is run again costs as much as reading a file.

    def memory(self, directory: "Directory") -> "Memory":
        """The memory controller's files in a directory of this hierarchy."""
        make = self._backends.get("memory")
        if make is None:
            if self._version == 1:
                from .memory.v1 import MemoryV1

                make = MemoryV1
            else:
                from .memory.v2 import MemoryV2

                make = MemoryV2
            self._backends["memory"] = make
        backend: Memory = make(directory)
        return backend

    def freezer(self, directory: "Directory") -> "Freezer":
        """What stops and kills the processes of a directory of this hierarchy."""
        make = self._backends.get("freezer")
        if make is None:
            from .freezer import FreezerV1, FreezerV2

            make = self._backends["freezer"] = FreezerV1 if self._version == 1 else FreezerV2
        backend: Freezer = make(directory)
        return backend

    def cpu(self, directory: "Directory") -> "Cpu":
        """The cpu controller's files in a directory of this hierarchy."""
        make = self._backends.get("cpu")
        if make is None:
            from .cpu import CpuV1, CpuV2

            make = self._backends["cpu"] = CpuV1 if self._version == 1 else CpuV2
        backend: Cpu = make(directory)
        return backend

    def cpuset(self, directory: "Directory") -> "Cpuset":
        """The cpuset controller's files in a directory of this hierarchy."""
        from .cpuset import Cpuset, CpusetV1

        return CpusetV1(directory) if self._version == 1 else Cpuset(directory)


class Layout:
    """The hierarchies of this host.

    Attributes:
        hierarchies: list[Hierarchy], one for each hierarchy however often it is mounted.
        unified: the v2 one, or None.
    """

    def __init__(self, mounts: "Iterable[Mount]") -> None:
        found: dict[object, Hierarchy] = {}
        for mount in mounts:
            if mount.fstype == "cgroup2":
                key: object = 2
                if _preferred(mount, found.get(key)):
                    found[key] = Hierarchy(mount, 2, _v2_controllers(mount.point))
            else:
                # Options such as rw, xattr or release_agent=... are no controllers.
                key = frozenset(
                    o for o in mount.options if o in _V1_CONTROLLERS or o[:5] == "name="
                )
                if _preferred(mount, found.get(key)):
                    name = next((o[5:] for o in key if o[:5] == "name="), None)
                    controllers = (o for o in key if o in _V1_CONTROLLERS)
                    found[key] = Hierarchy(mount, 1, controllers, name)
        self.hierarchies = list(found.values())
        #: What group.hierarchies_for has found, by controllers.
        self.spans: dict[tuple[str, ...], list[tuple[Hierarchy, tuple[str, ...]]]] = {}
        self.unified = found.get(2)

    @property
    def mode(self) -> str:
        """legacy, hybrid, unified or mixed; "none" where no controller is mounted."""
        versions = {h._version for h in self.hierarchies if h.controllers - _ALWAYS_V2}
        if versions == {1}:
            return "hybrid" if self.unified else "legacy"
        if versions == {2}:
            return "unified"
        return "mixed" if versions else "none"

    def find(self, controller: str) -> "Hierarchy | None":
        """The hierarchy that holds a controller, or None."""
        for hierarchy in self.hierarchies:
            if controller in hierarchy.controllers:
                return hierarchy
        return None

    def holding(self, controller: str) -> Hierarchy:
        """The hierarchy that holds a controller.

        Raises:
            UnsupportedError: none does; the text says why and the hint what to do.
        """
        hierarchy = self.find(controller)
        if hierarchy is None:
            raise self._missing(controller)
        return hierarchy

    def trackers(self) -> list[Hierarchy]:
        """Where a program is put so that it can be followed, frozen and killed as a whole.

        The v2 hierarchy where there is one, whatever its controllers; on a legacy host the v1
        freezer, and cpuacct for its CPU time.  May be empty.
        """
        if self.unified and self._may_be_born_in(self.unified):
            return [self.unified]
        found = {self.find("freezer"): None, self.find("cpuacct"): None}  # ordered, each once
        return [hierarchy for hierarchy in found if hierarchy]

    def _may_be_born_in(self, unified: Hierarchy) -> bool:
        """Whether the kernel lets us start a process in a cgroup of ours there.

        It asks for the right to write above where we are and above the other, too.  So an ordinary
        user, to whom a part of v1 was given for memory, must be in a part of v2 that was given
        along with it.
        """
        memory = self.find("memory")
        if os.geteuid() == 0 or memory is None or memory is unified:
            return True
        paths = cgroup_paths()
        own = paths.get("", "/")
        try:
            procs = f"{unified.directory_of(own)}/cgroup.procs"
        except CgroupError:
            return False
        return own == memory.path_among(paths) and os.access(procs, os.W_OK)

    def _missing(self, controller: str) -> UnsupportedError:
        if not self.hierarchies:
            return UnsupportedError(
                f"no cgroup filesystem is mounted, so no {controller} limit can be set",
                hint="mount -t cgroup2 cgroup2 /sys/fs/cgroup",
            )
        cause, hint = self._why_missing(controller)
        return UnsupportedError(f"the {controller} controller is not available: {cause}", hint=hint)

    def _why_missing(self, controller: str) -> tuple[str, str]:
        """(cause, what to do)."""
        other = _RENAMED.get(controller)
        if other and self.find(other):
            return f"here it is called {other}", f"write {other} instead of {controller}"
        held = {name: (number, enabled) for name, number, _, enabled in controller_table()}
        number, enabled = held.get(controller, (0, None))
        only_v2 = self.unified is not None and not any(h._version == 1 for h in self.hierarchies)
        if only_v2 and controller in _GONE_ON_V2:
            return "cgroup v2 has none", _GONE_ON_V2[controller]
        if enabled is False:
            return (
                "it is switched off on the kernel's command line",
                f"remove cgroup_disable={controller} from the command line and boot again",
            )
        # Held by no v1 hierarchy it is v2's, and in cgroup.controllers if it was handed down.
        # Kernels from 6.12 on do not list those that they have on v2 alone.
        if only_v2 and number == 0 and (enabled or controller in _V2_CONTROLLERS):
            point = self.hierarchies[0].mount_point
            return (
                f"it is not in {point}/cgroup.controllers",
                f"write +{controller} into cgroup.subtree_control of the cgroup above that one, "
                "or use a kernel that has it",
            )
        if enabled is None:
            return "this kernel was built without it", "use a kernel that has it"
        return (
            "no mounted hierarchy has it",
            f"mkdir -p /sys/fs/cgroup/{controller} && "
            f"mount -t cgroup -o {controller} {controller} /sys/fs/cgroup/{controller}",
        )


# fmt: off
_V1_CONTROLLERS = frozenset((
    "blkio", "cpu", "cpuacct", "cpuset", "debug", "devices", "freezer", "hugetlb", "memory", "misc",
    "net_cls", "net_prio", "perf_event", "pids", "rdma",
))
# fmt: on
_V2_CONTROLLERS = frozenset(
    ("cpu", "cpuset", "dmem", "hugetlb", "io", "memory", "misc", "perf_event", "pids", "rdma")
)
#: The same under the other version's name.
_RENAMED = {"io": "blkio", "blkio": "io"}
#: What cgroup v2 does without a controller of its own, and how.
_GONE_ON_V2 = {
    "freezer": "cgroup.freeze does its work in every cgroup: climits freeze NAME",
    "cpuacct": "cpu.stat tells the CPU time of every cgroup",
    "devices": "there it is the work of a BPF program that is attached to the cgroup",
    "net_cls": "nftables and BPF match cgroups of v2 by their path",
    "net_prio": "nftables and BPF match cgroups of v2 by their path",
}
#: A cgroup's files are named after these; so no cgroup should be.
KERNEL_PREFIXES = _V1_CONTROLLERS | {"cgroup", "io", "dmem"}
#: Controllers that a hybrid host may leave on its v2 hierarchy without being "mixed".
_ALWAYS_V2 = frozenset(("hugetlb", "misc", "rdma", "perf_event", "dmem"))


def _preferred(mount: "Mount", known: "Hierarchy | None") -> bool:
    """Of two mounts of one hierarchy: a whole one beats a bind mount, a writable one the other."""
    if known is None:
        return True
    return (mount.root == "/", not mount.read_only) > (known.root == "/", not known.read_only)


def _v2_controllers(mount_point: str) -> list[str]:
    # Read here and not through files.Directory: there is no cgroup yet, only a mount point.
    try:
        fd = os.open(f"{mount_point}/cgroup.controllers", os.O_RDONLY)
    except OSError:
        return []
    try:
        return os.read(fd, 4096).decode("ascii").split()
    finally:
        os.close(fd)


_current: "Layout | None" = None


def current() -> Layout:
    """The layout of this host, read once a process."""
    global _current
    if _current is None:
        _current = Layout(cgroup_mounts())
    return _current
