"""Where one process or cgroup stands: its cgroups, the limits that hold, what it uses, with whom.

Everything is read from /proc and the cgroup filesystems, one file after the other: a process may
end and a cgroup may be removed meanwhile, and then what was seen last is told.
"""

from ..cgroup.files import Directory
from ..cgroup.find import find_cgroup, is_process
from ..cgroup.layout import Hierarchy, Layout, current
from ..errors import CgroupError, CgroupGoneError
from ..linux import proc
from ..linux.mounts import cgroup_mounts
from ..records import MemoryUsage, Record
from .bounds import Bound, bounds, is_outside, sees_the_root, way_up
from .csets import CssSet, Link, css_sets, links, touching

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..linux.mounts import Mount

_STATES = {
    "R": "running", "S": "sleeping", "D": "waiting for a device", "T": "stopped", "t": "traced",
    "Z": "zombie", "X": "dead", "I": "idle",
}  # fmt: skip
_DELETED = " (deleted)"


class ProcessFacts(Record):
    """One process.

    Attributes:
        pid, parent: process ids.
        name: 15 bytes at most.
        arguments: its command line; empty for a kernel thread.
        state: running, sleeping, stopped, zombie, ...
        uid: real user id.
        threads: how many.
        resident: memory in RAM, bytes; anon, file and shmem are its parts.
        swap: swapped out, bytes.
    """

    pid: int
    name: str
    arguments: "list[str]"
    state: "str | None" = None
    parent: "int | None" = None
    uid: "int | None" = None
    threads: "int | None" = None
    resident: "int | None" = None
    anon: "int | None" = None
    file: "int | None" = None
    shmem: "int | None" = None
    swap: "int | None" = None


class Place(Record):
    """One hierarchy, and the cgroup in it.

    Attributes:
        id: of the hierarchy, as in /proc/PID/cgroup; 0 is v2.
        label: its controllers, ``name=...``, or unified.
        version: v1 or v2.
        controllers: list[str], may be empty.
        mount_point: None where it is not mounted here.
        options: list[str], of the mount and of the filesystem.
        cgroup: path; None where the cgroup asked for is not in this hierarchy.
        removed: the cgroup was removed while tasks are still in it.
        sees_root: False where the hierarchy goes on above what can be seen from here.
    """

    id: "int | None" = None
    label: str
    version: str
    controllers: "list[str]"
    mount_point: "str | None" = None
    options: "list[str]"
    cgroup: "str | None" = None
    removed: "bool | None" = None
    sees_root: "bool | None" = None


class Namespace(Record):
    """A namespace that processes are in.

    Attributes:
        kind: cgroup, ipc, mnt, net, pid, time, user or uts.
        inode: its identity.
        ours: whether this command is in it too.
        processes: how many of those asked for are in it.
    """

    kind: str
    inode: int
    ours: bool
    processes: int = 1


class Inspection(Record):
    """What is known of one process or cgroup.

    Attributes:
        process: None when a cgroup was asked for.
        cgroup: its path, in the memory hierarchy for a process.
        hierarchies: list[Place], one for each hierarchy.
        limits: list[Bound]: what limits it.
        usage: of the memory cgroup, by kind; None without the memory controller.
        css_sets: those of what was asked for: one of a process, any number of a cgroup.
        related: other css_sets that have a cgroup in common with it, roots left out.
        namespaces: list[Namespace].
    """

    process: "ProcessFacts | None" = None
    cgroup: str
    hierarchies: "list[Place]"
    limits: "list[Bound]"
    usage: "MemoryUsage | None" = None
    css_sets: "list[CssSet]"
    related: "list[CssSet]"
    namespaces: "list[Namespace]"


def inspect(word: str) -> Inspection:
    """Look at a process (its pid, or pid:1234) or a cgroup (see find_cgroup).

    Raises:
        InvalidValueError: the word means nothing.
        CgroupGoneError: there is no such process or cgroup.
    """
    if is_process(word):
        return inspect_process(int(word.removeprefix("pid:")))
    return inspect_cgroup(word)


def inspect_process(pid: int, layout: "Layout | None" = None) -> Inspection:
    """Look at a process.

    Raises:
        CgroupGoneError: there is no such process.
    """
    layout = layout or current()
    facts = process_facts(pid)
    try:
        own = links(proc.cgroup_text(pid))
    except OSError:
        facts = None
    if facts is None:
        raise CgroupGoneError(
            f"no such process: {pid}", hint="a cgroup of that name is written /climits/NAME"
        )
    where = {}
    paths = {c: link.path for link in own for c in link.controllers.split(",")}
    for hierarchy in layout.hierarchies:
        if (path := hierarchy.path_among(paths)) is not None:
            where[hierarchy] = path
    places = _places(layout, own, where)
    sets = css_sets()
    same = [s for s in sets if s.cgroups == own]
    apart = [link for link in own if link.path != "/"]
    return Inspection(
        process=facts,
        cgroup=paths.get("memory", paths.get("", "/")),
        hierarchies=places,
        limits=bounds(_there(where)),
        usage=_usage(where),
        css_sets=same,
        related=[s for s in touching(sets, apart) if s not in same],
        namespaces=_namespaces([pid]),
    )


def inspect_cgroup(word: str) -> Inspection:
    """Look at a cgroup, in every hierarchy that has one of that path.

    Raises:
        CgroupGoneError: there is none.
    """
    group = find_cgroup(word)
    where = {part.hierarchy: group.path for part in group.parts}
    known = links(proc.cgroup_text())
    places = _places(current(), known, where)
    group.close()
    meant = [
        Link(hierarchy=link.hierarchy, controllers=link.controllers, path=group.path)
        for link in known
        if any(is_of(link, hierarchy) for hierarchy in where)
    ]
    sets = css_sets()
    same = touching(sets, meant)
    pids = [member.pid for s in same for member in s.members]
    return Inspection(
        cgroup=group.path,
        hierarchies=places,
        limits=bounds(_there(where)),
        usage=_usage(where),
        css_sets=same,
        related=[],
        namespaces=_namespaces(pids),
    )


def process_facts(pid: int) -> "ProcessFacts | None":
    """What /proc tells of a process; None when it is gone."""
    status = proc.status(pid)
    if "Name" not in status:
        return None

    def size(name: str) -> "int | None":
        return int(status[name].split()[0]) * 1024 if name in status else None

    return ProcessFacts(
        pid=pid,
        name=status["Name"],
        arguments=proc.arguments(pid),
        state=_STATES.get(status.get("State", "")[:1]),
        parent=int(status["PPid"]) if "PPid" in status else None,
        uid=int(status["Uid"].split()[0]) if "Uid" in status else None,
        threads=int(status["Threads"]) if "Threads" in status else None,
        resident=size("VmRSS"),
        anon=size("RssAnon"),
        file=size("RssFile"),
        shmem=size("RssShmem"),
        swap=size("VmSwap"),
    )


def mount_of(hierarchy: Hierarchy, mounts: "list[Mount]") -> "Mount | None":
    """The mount through which a hierarchy is used."""
    # Of two at one place the later hides the other.
    return next((m for m in reversed(mounts) if m.point == hierarchy.mount_point), None)


def mount_options(mount: "Mount") -> list[str]:
    """Options of a mount and its filesystem, in order; controllers and name left out."""
    from ..linux.mounts import controller_table

    known = {name for name, *_ in controller_table()}
    options = sorted(
        o
        for o in (mount.options | mount.flags) - {"rw", "ro"}
        if o not in known and not o.startswith("name=")
    )
    return ["ro" if mount.read_only else "rw", *options]


def is_of(link: Link, hierarchy: Hierarchy) -> bool:
    """Whether a line of /proc/PID/cgroup is about a hierarchy."""
    return hierarchy.path_among(dict.fromkeys(link.controllers.split(","), "")) is not None


def _places(layout: Layout, own: list[Link], where: dict[Hierarchy, str]) -> list[Place]:
    """Every hierarchy that the kernel has, mounted here or not, by its id."""
    mounts = list(cgroup_mounts())
    out = []
    for link in own:
        names = [c for c in link.controllers.split(",") if c and not c.startswith("name=")]
        found = [h for h in layout.hierarchies if is_of(link, h)]
        if not found:
            out.append(
                Place(
                    id=link.hierarchy,
                    label=link.controllers or "unified",
                    version="v1" if link.controllers else "v2",
                    controllers=names,
                    options=[],
                    cgroup=link.path.removesuffix(_DELETED),
                )
            )
            continue
        hierarchy = found[0]
        path, mount = where.get(hierarchy), mount_of(hierarchy, mounts)
        top = Directory(hierarchy.mount_point)
        out.append(
            Place(
                id=link.hierarchy,
                label=hierarchy.label,
                version=hierarchy.version_name,
                controllers=names or sorted(hierarchy.controllers),
                mount_point=hierarchy.mount_point,
                options=mount_options(mount) if mount else [],
                cgroup=path and path.removesuffix(_DELETED),
                removed=True if path and path.endswith(_DELETED) else None,
                sees_root=sees_the_root(top) and not is_outside(hierarchy, path or "/"),
            )
        )
        top.close()
    return sorted(out, key=lambda place: place.id or 0)


def _there(where: dict[Hierarchy, str]) -> "list[tuple[Hierarchy, str]]":
    # Of a removed cgroup the ones above still limit whoever is left in it.
    return [(hierarchy, path.removesuffix(_DELETED)) for hierarchy, path in where.items()]


def _usage(where: dict[Hierarchy, str]) -> "MemoryUsage | None":
    for hierarchy, path in where.items():
        if "memory" in hierarchy.controllers:
            for found, directory in way_up(hierarchy, path)[:1]:
                if found == path:
                    try:
                        return hierarchy.memory(directory).usage()
                    except CgroupError:
                        return None
    return None


def _namespaces(pids: list[int]) -> list[Namespace]:
    ours = proc.namespaces()
    counts: dict[tuple[str, int], int] = {}
    for pid in pids:
        for key in proc.namespaces(pid).items():
            counts[key] = counts.get(key, 0) + 1
    return [
        Namespace(kind=kind, inode=inode, ours=ours.get(kind) == inode, processes=count)
        for (kind, inode), count in sorted(counts.items())
    ]
