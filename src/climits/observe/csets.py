"""Who is in exactly the same cgroups: the kernel's css_sets, seen from userspace.

A task is in one cgroup of each hierarchy.  The kernel does not keep that list with the task: tasks
with the same list share one *css_set*, which points to its cgroups, and each cgroup points back to
the css_sets that have tasks in it.  /proc/PID/cgroup shows a task's list, so tasks with the same
text share a css_set.  (A threaded v2 subtree may need more than one for the same list.)

Source: include/linux/cgroup-defs.h (struct css_set), kernel/cgroup/cgroup.c (find_css_set).
"""

from ..linux import proc
from ..records import Record
from ..units import printable


class Member(Record):
    """The tasks of one process in a css_set.

    Attributes:
        pid: of the process.
        name: of the process, 15 bytes at most.
        tasks: list[int], its thread ids that are in the set.
    """

    pid: int
    name: str
    tasks: "list[int]"


class Link(Record):
    """A cgroup in one hierarchy.

    Attributes:
        hierarchy: id; 0 is v2.
        controllers: as /proc/PID/cgroup has it: ``cpu,cpuacct``, ``name=systemd``, or "" for v2.
        path: of the cgroup.
    """

    hierarchy: int
    controllers: str
    path: str

    def __str__(self) -> str:
        return f"{self.controllers or 'unified'}:{self.path}"


class CssSet(Record):
    """Tasks that are in exactly the same cgroups.

    Attributes:
        number: of this picture only, from 1 on, in the order of the lowest pids.
        cgroups: list[Link], one for each hierarchy.
        members: list[Member].
        tasks: how many.
    """

    number: int
    cgroups: "list[Link]"
    members: "list[Member]"
    tasks: int


def css_sets() -> list[CssSet]:
    """The css_sets of all tasks that can be seen, kernel threads included; zombies have none."""
    found: dict[bytes, dict[int, list[int]]] = {}
    names = {}
    for pid in proc.processes():
        facts = proc.summary(pid)
        if facts is None or facts[1] in "ZX":
            continue
        names[pid] = facts[0]
        for tid in proc.threads(pid):
            try:
                text = proc.cgroup_text(f"{pid}/task/{tid}")
            except OSError:
                continue  # ended meanwhile
            found.setdefault(text, {}).setdefault(pid, []).append(tid)
    return [
        CssSet(
            number=number,
            cgroups=links(text),
            members=[Member(pid=p, name=names[p], tasks=tids) for p, tids in members.items()],
            tasks=sum(map(len, members.values())),
        )
        for number, (text, members) in enumerate(found.items(), 1)
    ]


def links(text: bytes) -> list[Link]:
    """The cgroups that a text of /proc/PID/cgroup names."""
    return [
        Link(hierarchy=number, controllers=controllers, path=path)
        for number, controllers, path in proc.cgroup_entries(text)
    ]


def touching(sets: list[CssSet], cgroups: list[Link]) -> list[CssSet]:
    """Those of the sets that have a task in one of the cgroups."""
    wanted = {(link.controllers, link.path) for link in cgroups}
    return [s for s in sets if any((k.controllers, k.path) in wanted for k in s.cgroups)]


# ---- graphs --------------------------------------------------------------------------------


def graph(sets: list[CssSet], form: str, own: "set[int] | None" = None) -> str:
    """The many-to-many picture: css_sets on the left, cgroups on the right.

    Args:
        sets: what to draw.
        form: dot (Graphviz) or mermaid.
        own: numbers of the sets to stress.
    """
    own = own or set()
    cgroups = sorted({str(link) for s in sets for link in s.cgroups})
    names = {cgroup: f"cg{n}" for n, cgroup in enumerate(cgroups, 1)}
    edges = [(f"set{s.number}", names[str(link)]) for s in sets for link in s.cgroups]
    draw = _mermaid if form == "mermaid" else _dot
    return draw([(s, s.number in own) for s in sets], names, edges)


def _caption(s: CssSet) -> list[str]:
    """Two short lines on a css_set."""
    shown = [f"{member.name}({member.pid})" for member in s.members[:4]]
    if len(s.members) > len(shown):
        shown.append(f"... {len(s.members) - len(shown)} more")
    tasks = "1 task" if s.tasks == 1 else f"{s.tasks} tasks"
    return [f"css_set {s.number}: {tasks}", ", ".join(shown)]


def _dot(
    sets: "list[tuple[CssSet, bool]]", cgroups: dict[str, str], edges: "list[tuple[str, str]]"
) -> str:
    def quote(text: str) -> str:
        return printable(text).replace("\\", "\\\\").replace('"', '\\"')

    lines = ["graph css_sets {", "  rankdir=LR;", "  node [shape=box];"]
    for s, stressed in sets:
        style = ", style=bold" if stressed else ""
        label = "\\n".join(quote(line) for line in _caption(s))
        lines.append(f'  set{s.number} [label="{label}", shape=ellipse{style}];')
    lines += [f'  {name} [label="{quote(cgroup)}"];' for cgroup, name in cgroups.items()]
    lines += [f"  {left} -- {right};" for left, right in edges]
    return "\n".join([*lines, "}"]) + "\n"


def _mermaid(
    sets: "list[tuple[CssSet, bool]]", cgroups: dict[str, str], edges: "list[tuple[str, str]]"
) -> str:
    def quote(text: str) -> str:
        # '#' starts an entity, '<' a tag, in Mermaid's quoted labels.
        for char, entity in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;")):
            text = text.replace(char, entity)
        return printable(text)

    lines = ["graph LR"]
    for s, stressed in sets:
        label = "<br/>".join(quote(line) for line in _caption(s))
        lines.append(f'  set{s.number}(["{label}"])' + (":::own" if stressed else ""))
    lines += [f'  {name}["{quote(cgroup)}"]' for cgroup, name in cgroups.items()]
    lines += [f"  {left} --- {right}" for left, right in edges]
    if any(stressed for _, stressed in sets):
        lines.append("  classDef own stroke-width:3px")
    return "\n".join(lines) + "\n"
