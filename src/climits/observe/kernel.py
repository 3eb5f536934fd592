"""The kernel's own structures, read with drgn, beside what userspace tells.

A task points to its css_set; that has an array `subsys` with one css (the state of one controller
in one cgroup) for each controller, and a list of links to its cgroups, one in each hierarchy; each
cgroup has links back to the css_sets with tasks in it.

Source: include/linux/cgroup-defs.h (struct css_set, cgroup_subsys_state, cgroup, cgroup_root),
kernel/cgroup/cgroup-internal.h (struct cgrp_cset_link).
"""

import os

from ..errors import CgroupGoneError, UnsupportedError
from ..linux.proc import cgroup_text
from ..records import Record
from .csets import CssSet, Link, links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from drgn import Program

    from .inspect import Inspection

_KCORE = "/proc/kcore"
_BTF = "/sys/kernel/btf/vmlinux"
_INSTALL = "pip install 'climits[kernel]'"
#: BTF has no types of variables: those that are used here, and by drgn's helpers.
_VARIABLES = {
    "init_task": "struct task_struct",
    "init_pid_ns": "struct pid_namespace",
    "cgroup_roots": "struct list_head",
}


class KernelSet(Record):
    """A css_set.

    Attributes:
        address: in hexadecimal.
        tasks: how many.
        pids: list[int], thread ids, in order.
    """

    address: str
    tasks: int
    pids: "list[int]"


class KernelSubsystem(Record):
    """One entry of css_set.subsys[].

    Attributes:
        name: of the controller.
        address: of the css, in hexadecimal.
        root: address of the cgroup_root.
        hierarchy: id of it.
        path: of the cgroup that the css belongs to: on v2 the nearest one upwards that has the
            controller handed down.
    """

    name: str
    address: str
    root: str
    hierarchy: int
    path: str


class KernelLink(Record):
    """One cgroup of a css_set, through css_set.cgrp_links, and back through cgroup.cset_links.

    Attributes:
        hierarchy: id.
        name: of a named hierarchy.
        address: of the cgroup.
        path: of the cgroup.
        css_sets: list[KernelSet]: all that have a link to it.
    """

    hierarchy: int
    name: "str | None" = None
    address: str
    path: str
    css_sets: "list[KernelSet]"


class KernelFacts(Record):
    """What the kernel's memory says of a process or cgroup.

    Attributes:
        release: of the kernel.
        source: what read it, such as ``drgn 0.3.0 with BTF``.
        task: address of the task; None when a cgroup was asked for.
        css_set: address of its css_set; likewise.
        tasks: how many share it.
        subsystems: list[KernelSubsystem].
        links: list[KernelLink], by hierarchy.
        differences: list[str]: where userspace tells another thing; empty when all agrees.
    """

    release: str
    source: str
    task: "str | None" = None
    css_set: "str | None" = None
    tasks: "int | None" = None
    subsystems: "list[KernelSubsystem]"
    links: "list[KernelLink]"
    differences: "list[str]"


# ---- opening -------------------------------------------------------------------------------


def open_kernel() -> "tuple[Program, str]":
    """The running kernel as a drgn program, and what its types come from.

    Raises:
        UnsupportedError: something is missing; the text says what, the hint how to get it.
    """
    try:
        import drgn
    except ImportError as e:
        raise _missing(f"drgn cannot be imported ({e})", _INSTALL) from None
    if not os.path.exists(_KCORE):
        raise _missing(f"there is no {_KCORE}", "use a kernel with CONFIG_PROC_KCORE=y")
    if not os.access(_KCORE, os.R_OK) or os.geteuid() != 0:
        raise _missing(f"no right to read {_KCORE}", "run as root")
    program = drgn.Program()
    try:
        program.set_kernel()
    except OSError as e:
        raise _missing(f"{_KCORE} cannot be read ({e.strerror or e})", "run as root") from None
    source = f"drgn {drgn.__version__}"
    if os.path.exists(_BTF):
        _use_btf(program)
        return program, f"{source} with BTF"
    try:
        program.load_default_debug_info()
    except drgn.MissingDebugInfoError:
        raise _missing(
            f"there is neither {_BTF} nor DWARF of this kernel",
            "use a kernel with CONFIG_DEBUG_INFO_BTF=y, or install its debug package "
            "(linux-image-*-dbg, kernel-debuginfo)",
        ) from None
    return program, f"{source} with DWARF"


def _missing(what: str, hint: str) -> UnsupportedError:
    return UnsupportedError(f"the kernel's own structures cannot be read: {what}", hint=hint)


def _use_btf(program: "Program") -> None:
    """Types from BTF, addresses of variables from /proc/kallsyms."""
    from drgn import FindObjectFlags, Object

    from .btf import Btf

    with open(_BTF, "rb") as file:
        btf = Btf(program, file.read())
    addresses = _addresses()

    def find_type(_program: "Any", kinds: "Any", name: str, _file: object) -> "Any":
        return next((t for kind in kinds if (t := btf.find(kind, name)) is not None), None)

    def find_object(program: "Any", name: str, flags: "Any", _file: object) -> "Any":
        if name in addresses and flags & FindObjectFlags.VARIABLE:
            return Object(program, _VARIABLES[name], address=addresses[name])
        return btf.constant(name) if flags & FindObjectFlags.CONSTANT else None

    program.register_type_finder("btf", find_type, enable_index=0)
    program.register_object_finder("btf", find_object, enable_index=0)


def _addresses() -> dict[str, int]:
    """Addresses of the variables that we name."""
    with open("/proc/kallsyms", "rb") as file:
        data = file.read()
    found = {}
    for name in _VARIABLES:
        at = data.find(f" {name}\n".encode())
        line = data[data.rfind(b"\n", 0, at) + 1 : at] if at >= 0 else b"0"
        found[name] = int(line.split()[0], 16)
    if not all(found.values()):
        raise _missing(
            "/proc/kallsyms hides the addresses of variables",
            "use a kernel with CONFIG_KALLSYMS_ALL=y, and sysctl kernel.kptr_restrict=1",
        )
    return found


# ---- walking -------------------------------------------------------------------------------


def look(facts: "Inspection") -> KernelFacts:
    """Follow the kernel's pointers for what was inspected, and compare.

    Raises:
        UnsupportedError: what is needed is missing, or the kernel's structures are not those that
            we know.
    """
    program, source = open_kernel()
    try:
        if facts.process is not None:
            return _of_process(program, source, facts, facts.process.pid)
        return _of_cgroup(program, source, facts)
    except (LookupError, AttributeError) as e:
        raise _missing(
            f"this kernel has other ones than are known here ({e})", "report it, with uname -r"
        ) from None


def _of_process(program: "Program", source: str, facts: "Inspection", pid: int) -> KernelFacts:
    from drgn.helpers.linux.cgroup import cgroup_path
    from drgn.helpers.linux.list import list_for_each_entry
    from drgn.helpers.linux.pid import find_task

    task = find_task(program, pid)
    if not task:
        raise CgroupGoneError(
            f"no such process in the kernel's table: {pid}",
            hint="it has ended, or this is another pid namespace than the machine's",
        )
    cset = task.cgroups.read_()
    subsystems = []
    for css in cset.subsys:
        if css:
            root = css.cgroup.root
            subsystems.append(
                KernelSubsystem(
                    name=_text(css.ss.name),
                    address=_hex(css),
                    root=_hex(root),
                    hierarchy=root.hierarchy_id.value_(),
                    path=os.fsdecode(cgroup_path(css.cgroup)),
                )
            )
    cgroups = [
        link.cgrp
        for link in list_for_each_entry(
            "struct cgrp_cset_link", cset.cgrp_links.address_of_(), "cgrp_link"
        )
    ]
    found = sorted(map(_link, cgroups), key=lambda link: link.hierarchy)
    own = _css_set(cset)
    return KernelFacts(
        release=os.uname().release,
        source=source,
        task=_hex(task),
        css_set=own.address,
        tasks=own.tasks,
        subsystems=subsystems,
        links=found,
        differences=[
            *_paths_apart(found, facts.css_sets[0].cgroups if facts.css_sets else []),
            *_tasks_apart(set(own.pids), facts.css_sets),
        ],
    )


def _of_cgroup(program: "Program", source: str, facts: "Inspection") -> KernelFacts:
    from drgn.helpers.linux.list import list_for_each_entry

    roots = {
        root.hierarchy_id.value_(): root
        for root in list_for_each_entry(
            "struct cgroup_root", program["cgroup_roots"].address_of_(), "root_list"
        )
    }
    found, differences = [], []
    for place in facts.hierarchies:
        if place.cgroup is None or place.id not in roots:
            continue
        cgroup = _find(roots[place.id].cgrp, place.cgroup)
        if cgroup is None:
            differences.append(f"the kernel has no {place.label}:{place.cgroup}")
            continue
        link = _link(cgroup)
        found.append(link)
        inside = [
            s
            for s in facts.css_sets
            if any(k.hierarchy == place.id and k.path == place.cgroup for k in s.cgroups)
        ]
        pids = {pid for s in link.css_sets for pid in s.pids}
        differences += _tasks_apart(pids, inside)
    return KernelFacts(
        release=os.uname().release,
        source=source,
        subsystems=[],
        links=found,
        differences=differences,
    )


#: Source: include/linux/cgroup-defs.h
_CSS_ONLINE = 1 << 1


def _find(cgroup: "Any", path: str) -> "Any":
    """The cgroup of a path below another."""
    from drgn.helpers.linux.cgroup import cgroup_name, css_for_each_child

    for name in path.split("/")[1:] if path != "/" else ():
        for css in css_for_each_child(cgroup.self.address_of_()):
            # One that was removed stays among them while memory is charged to it.
            online = css.flags.value_() & _CSS_ONLINE
            if online and os.fsdecode(cgroup_name(css.cgroup)) == name:
                cgroup = css.cgroup
                break
        else:
            return None
    return cgroup


def _link(cgroup: "Any") -> KernelLink:
    from drgn.helpers.linux.cgroup import cgroup_path
    from drgn.helpers.linux.list import list_for_each_entry

    sets = list_for_each_entry(
        "struct cgrp_cset_link", cgroup.cset_links.address_of_(), "cset_link"
    )
    pointer = cgroup if cgroup.type_.kind.name == "POINTER" else cgroup.address_of_()
    return KernelLink(
        hierarchy=cgroup.root.hierarchy_id.value_(),
        name=_text(cgroup.root.name) or None,
        address=_hex(pointer),
        path=os.fsdecode(cgroup_path(pointer)),
        css_sets=[_css_set(link.cset) for link in sets],
    )


def _css_set(cset: "Any") -> KernelSet:
    from drgn.helpers.linux.list import list_for_each_entry

    # Those that are on their way out are in another list, dying_tasks.
    tasks = list_for_each_entry("struct task_struct", cset.tasks.address_of_(), "cg_list")
    return KernelSet(
        address=_hex(cset),
        tasks=cset.nr_tasks.value_(),
        pids=sorted(task.pid.value_() for task in tasks),
    )


def _hex(pointer: "Any") -> str:
    return f"{pointer.value_():#x}"


def _text(chars: "Any") -> str:
    return os.fsdecode(chars.string_())


# ---- comparing -----------------------------------------------------------------------------


def _paths_apart(links: list[KernelLink], told: list[Link]) -> list[str]:
    ours = {link.hierarchy: link.path for link in links}
    out = []
    for link in told:
        path = ours.get(link.hierarchy)
        if path != link.path.removesuffix(" (deleted)"):
            out.append(f"hierarchy {link.hierarchy}: {path} in the kernel, {link.path} there")
    return out


def _tasks_apart(kernel: set[int], told: list[CssSet]) -> list[str]:
    """Tasks come and go while we look: what differs is looked at again."""
    ours = {tid for s in told for member in s.members for tid in member.tasks}
    texts = {tuple((k.hierarchy, k.path) for k in s.cgroups) for s in told}
    out = []
    for tid in sorted(kernel ^ ours):
        try:
            now = tuple((k.hierarchy, k.path) for k in links(cgroup_text(tid)))
        except OSError:
            continue  # ended meanwhile
        if (now in texts) != (tid in kernel):
            where = "the kernel's css_set" if tid in kernel else "/proc"
            out.append(f"task {tid} is only in {where}")
    return out
