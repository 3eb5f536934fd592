"""The controllers and hierarchies of this host, explained; and a hierarchy only to track processes.

Source: kernel/cgroup/cgroup-v1.c (/proc/cgroups, release_agent), mountinfo,
Documentation/admin-guide/cgroup-v1/cgroups.rst.
"""

import os

from ..cgroup import files
from ..cgroup.layout import Hierarchy, Layout
from ..cgroup.naming import check_name
from ..errors import CgroupError, InvalidValueError, UnsupportedError
from ..linux.mounting import mount_named_hierarchy
from ..linux.mounts import cgroup_mounts, controller_table
from ..linux.proc import command_name
from ..records import Record
from .csets import Link, links
from .inspect import is_of, mount_of, mount_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..linux.mounts import Mount

#: What each controller is for.  Source: Documentation/admin-guide/cgroup-v{1,2}.
PURPOSES = {
    "blkio": "disk bandwidth for each device; v2: io",
    "cpu": "CPU time: shares under contention, and quotas",
    "cpuacct": "counts CPU time; v2: cpu.stat of every cgroup",
    "cpuset": "which CPUs and memory nodes may be used",
    "debug": "shows the kernel's own structures",
    "devices": "which devices may be opened; v2: a BPF program",
    "dmem": "limits the memory of devices such as GPUs",
    "freezer": "stops all processes at once; v2: cgroup.freeze",
    "hugetlb": "limits huge pages",
    "io": "disk bandwidth and latency for each device",
    "memory": "limits and counts memory and swap; OOM kills",
    "misc": "limits scarce hardware, such as encryption keys",
    "net_cls": "marks packets; v2: firewalls match the path",
    "net_prio": "priority of packets; v2: firewalls set it by path",
    "perf_event": "lets perf watch one cgroup; v2: always on",
    "pids": "limits the number of processes and threads",
    "rdma": "limits RDMA resources",
}
#: On v2 without being listed: it needs no handing down.  Source: kernel/events/core.c
#: (perf_event_cgrp_subsys, implicit_on_dfl).
_IMPLICIT = ("perf_event",)


class ControllerFacts(Record):
    """One controller.

    Attributes:
        name: of it.
        hierarchy: id of the hierarchy that holds it; 0 is v2; None where none does.
        version: v1 or v2; None where no hierarchy holds it.
        cgroups: how many there are in that hierarchy, its root included.
        enabled: False when the kernel was booted with cgroup_disable=.
        purpose: what it is for.
        mount_point: where to find it; None where it is not mounted here.
    """

    name: str
    hierarchy: "int | None" = None
    version: "str | None" = None
    cgroups: "int | None" = None
    enabled: bool
    purpose: str
    mount_point: "str | None" = None


class HierarchyFacts(Record):
    """One hierarchy.

    Attributes:
        id: 0 is v2.
        name: of a named one.
        label: its controllers, ``name=NAME`` or unified.
        version: v1 or v2.
        controllers: list[str]; empty of one that only tracks.
        cgroups: how many, its root included; None where it is not known.
        mount_points: list[str], all of them; empty where it is not mounted here.
        source: what the mount calls its device.
        options: list[str], of the mount and of the filesystem.
        mounted_by: who did, as far as can be told: the kernel does not write it down.
        notify_on_release: of the root, which new cgroups inherit (v1).
        release_agent: the program that is run when a cgroup with notify_on_release becomes empty
            (v1); "" when none is set.
        events_file: the file that tells the same on v2.
    """

    id: int
    name: "str | None" = None
    label: str
    version: str
    controllers: "list[str]"
    cgroups: "int | None" = None
    mount_points: "list[str]"
    source: "str | None" = None
    options: "list[str]"
    mounted_by: "str | None" = None
    notify_on_release: "bool | None" = None
    release_agent: "str | None" = None
    events_file: "str | None" = None


def hierarchies() -> "tuple[list[HierarchyFacts], list[ControllerFacts]]":
    """Those that the kernel has, mounted here or not, by id; and the controllers, by name."""
    from ..linux.proc import cgroup_text

    mounts = list(cgroup_mounts())
    layout = Layout(mounts)
    table = controller_table()
    known = links(cgroup_text())
    found = []
    for link in known:
        mounted = next((h for h in layout.hierarchies if is_of(link, h)), None)
        found.append(
            _unmounted(link, table) if mounted is None else _mounted(link, mounted, mounts, table)
        )
    found.sort(key=lambda facts: facts.id)
    return found, _controllers(found, table)


def _unmounted(link: Link, table: "list[tuple[str, int, int, bool]]") -> HierarchyFacts:
    words = [word for word in link.controllers.split(",") if word]
    return HierarchyFacts(
        id=link.hierarchy,
        name=next((w[5:] for w in words if w.startswith("name=")), None),
        label=link.controllers or "unified",
        version="v1" if link.controllers else "v2",
        controllers=[w for w in words if not w.startswith("name=")],
        cgroups=next((n for _, id, n, _ in table if id and id == link.hierarchy), None),
        mount_points=[],
        options=[],
    )


def _mounted(
    link: Link,
    hierarchy: Hierarchy,
    mounts: "list[Mount]",
    table: "list[tuple[str, int, int, bool]]",
) -> HierarchyFacts:
    mount = mount_of(hierarchy, mounts)
    top = files.Directory(hierarchy.mount_point)
    agent = top.read_optional("release_agent")
    notify = top.read_optional("notify_on_release")
    cgroups = next((n for _, id, n, _ in table if id and id == link.hierarchy), None)
    stat = top.read_optional("cgroup.stat")  # v2 only
    if cgroups is None and stat is not None:
        below = files.pick(stat, b"nr_descendants ")
        cgroups = None if below is None else below + 1
    if cgroups is None:  # of a named one only the directories tell
        cgroups = sum(1 for _ in os.walk(hierarchy.mount_point))
    top.close()
    return HierarchyFacts(
        id=link.hierarchy,
        name=hierarchy.name,
        label=hierarchy.label,
        version=hierarchy.version_name,
        controllers=sorted(hierarchy.controllers),
        cgroups=cgroups,
        mount_points=[m.point for m in mounts if mount and _same(m, mount)],
        source=mount.source if mount else None,
        options=mount_options(mount) if mount else [],
        mounted_by=_mounted_by(mount) if mount else None,
        notify_on_release=None if notify is None else notify.strip() == b"1",
        release_agent=None if agent is None else os.fsdecode(agent).rstrip("\n"),
        events_file="cgroup.events" if hierarchy.born_inside else None,
    )


def _same(one: "Mount", other: "Mount") -> bool:
    return one.fstype == other.fstype and (
        one.fstype == "cgroup2" or one.options - {"ro", "rw"} == other.options - {"ro", "rw"}
    )


def _mounted_by(mount: "Mount") -> str:
    """A guess from what the mount looks like, in words that say so."""
    if mount.source == "climits":
        return "climits hierarchies --track"
    if mount.root != "/":
        return "a container runtime, which shows only a part of it"
    if not f"{mount.point}/".startswith("/sys/fs/cgroup/"):
        return "somebody by hand, or a service: it is outside /sys/fs/cgroup"
    first = command_name(1)
    if first == "systemd" and {"nosuid", "nodev", "noexec"} <= mount.flags:
        return "systemd, at boot"
    return f"{first or 'init'} (pid 1) or a script, at boot"


def _controllers(
    known: list[HierarchyFacts], table: "list[tuple[str, int, int, bool]]"
) -> list[ControllerFacts]:
    rows = {name: (id, cgroups, enabled) for name, id, cgroups, enabled in table}
    holders = {name: facts for facts in known for name in facts.controllers}
    for facts in known:
        if facts.events_file:
            for name in rows.keys() & _IMPLICIT:
                holders.setdefault(name, facts)
    out = []
    # Since 6.12 /proc/cgroups leaves out what was built without v1, and it has v1's names only.
    for name in sorted(rows.keys() | holders.keys()):
        id, cgroups, enabled = rows.get(name, (0, None, True))
        holder = holders.get(name)
        out.append(
            ControllerFacts(
                name=name,
                hierarchy=holder.id if holder else id or None,
                version=holder.version if holder else None,
                cgroups=cgroups if holder is None or not holder.cgroups else holder.cgroups,
                enabled=enabled,
                purpose=PURPOSES.get(name, ""),
                mount_point=holder.mount_points[0] if holder and holder.mount_points else None,
            )
        )
    return out


# ---- tracking ------------------------------------------------------------------------------


def track(name: str, release_agent: "str | None" = None) -> HierarchyFacts:
    """Mount a v1 hierarchy without controllers, in which cgroups only keep processes together.

    One of that name that is mounted already is used as it is.

    Args:
        name: of the hierarchy.
        release_agent: a program to run, as root and with the cgroup's path as its argument, when
            the last process and the last child of a cgroup have gone; "" for none any more.

    Raises:
        InvalidValueError: the name or the program will not do.
        UnsupportedError: this host has v2 alone, where cgroup.events does it.
        CgroupError: the kernel refused.
    """
    _check(name, release_agent)
    layout = Layout(cgroup_mounts())
    hierarchy = _named(layout, name)
    if hierarchy is None:
        _mount(name, layout)
        hierarchy = _named(Layout(cgroup_mounts()), name)
        if hierarchy is None:
            raise CgroupError(f"the hierarchy was unmounted meanwhile: name={name}", value=name)
    if release_agent is not None:
        top = files.Directory(hierarchy.mount_point)
        top.write("release_agent", release_agent or "\n")
        # New cgroups take it over from their parents.
        top.write("notify_on_release", "1" if release_agent else "0")
        top.close()
    found, _ = hierarchies()
    return next(facts for facts in found if facts.name == name)


def _check(name: str, release_agent: "str | None") -> None:
    check_name(name, what="track")
    # Source: kernel/cgroup/cgroup-v1.c (cgroup1_parse_param).
    if not all(c.isascii() and (c.isalnum() or c in ".-_") for c in name) or len(name) > 63:
        raise InvalidValueError(
            f"track: {name!r}: not a name of a hierarchy",
            value=name,
            hint="at most 63 letters, digits, dots, dashes and underscores",
        )
    if release_agent and not os.path.isabs(release_agent):
        raise InvalidValueError(
            f"release-agent: {release_agent}: not an absolute path",
            value=release_agent,
            hint="the kernel runs it, in no directory of yours",
        )
    if release_agent and not os.access(release_agent, os.X_OK):
        raise InvalidValueError(
            f"release-agent: {release_agent}: no such program, or it cannot be executed",
            value=release_agent,
            hint="write the path of a program",
        )


def _named(layout: Layout, name: str) -> "Hierarchy | None":
    return next((h for h in layout.hierarchies if h.name == name), None)


def _mount(name: str, layout: Layout) -> None:
    if layout.mode == "unified":
        raise UnsupportedError(
            "no named hierarchy is made here: this host is on cgroup v2 alone, where every cgroup "
            "tells in its file cgroup.events when it becomes empty",
            hint="make a cgroup, and wait with climits watch NAME --empty --exec COMMAND",
        )
    # On a tmpfs beside the others; what is a cgroup filesystem itself has no room for it.
    home = "/sys/fs/cgroup"
    if not os.path.isdir(home) or any(m.point == home for m in cgroup_mounts()):
        home = "/run/climits"
    point = f"{home}/{name}"
    if any(m.point == point for m in cgroup_mounts()):
        raise CgroupError(
            f"cannot mount the hierarchy: {point}: another one is mounted there", path=point,
            value=name, hint="choose another name",
        )  # fmt: skip
    made = not os.path.isdir(point)
    try:
        if not os.path.isdir(home):
            files.make(home)
        if made:
            files.make(point)
        mount_named_hierarchy(name, point)
    except OSError as e:
        if made:
            files.remove(point)
        if isinstance(e, CgroupError):
            raise
        raise files.refusal("cannot mount the hierarchy", f"{point} (name={name})", e) from None
