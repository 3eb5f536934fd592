"""`climits inspect`: where a process or cgroup stands, and which limit binds it."""

import sys

from ..errors import InvalidValueError
from ..observe.csets import CssSet, graph
from ..observe.inspect import Inspection, ProcessFacts, inspect
from ..observe.text import by_id, count, printable, size, table, wrapped
from ..units import UNLIMITED, format_size
from .options import CGROUP, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..observe.bounds import Bound, Level
    from ..observe.kernel import KernelFacts

OPTIONS: tuple[Option, ...] = (
    ("--kernel", None, "switch", CGROUP, "read the kernel's own structures too (needs drgn, root)"),
    (
        "--graph",
        "FORM",
        "text",
        TELLING,
        "draw who shares which cgroups instead: dot (Graphviz) or mermaid",
    ),
    ("--json", None, "switch", TELLING, "one object"),
)
ANYWHERE = True
USAGE = "climits inspect PID|NAME [OPTIONS]"
EPILOG = """\
PID is a process (1234 or pid:1234), NAME a cgroup that climits made, a cgroup
path such as /system.slice/web.service, or a directory below /sys/fs/cgroup.

A cgroup gets no more than any cgroup above it: of each kind of limit the
tightest on the way up is the one that counts, and is starred in the table. When
a cgroup above, which others use too, has less room left, that is said as well.

Tasks that are in exactly the same cgroups share what the kernel calls a
css_set. --graph draws the css_sets concerned and all their cgroups.

--kernel follows task, css_set, subsys[], cgroup and back in the kernel's memory
(/proc/kcore) and says whether /proc/PID/cgroup tells the same.

examples:
  climits inspect 4711
  climits inspect web --json
  climits inspect 4711 --graph dot | dot -Tsvg > shares.svg
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]

_NAMES = {"memory": "MEMORY", "high": "HIGH", "swap": "SWAP", "memory+swap": "MEM+SWAP"}


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Look and show."""
    if len(words) != 1:
        raise InvalidValueError(
            f"inspect takes one process or cgroup: {words[1]}" if words
            else "no process or cgroup was given",
            hint="climits inspect PID, or climits inspect NAME",
        )  # fmt: skip
    form = values.get("graph")
    if form not in (None, "dot", "mermaid"):
        raise InvalidValueError(
            f"graph: {form}: not a form", value=form, hint="write dot or mermaid"
        )
    facts = inspect(words[0])
    if form:
        own = {s.number for s in facts.css_sets}
        sys.stdout.write(graph([*facts.css_sets, *facts.related], form, own))
        return 0
    kernel = error = None
    if values.get("kernel"):
        from ..errors import UnsupportedError
        from ..observe.kernel import look

        try:
            kernel = look(facts)
        except UnsupportedError as e:
            error = e  # told after what can be told
    if values.get("json"):
        import json

        data = facts.as_dict()
        if kernel is not None:
            data["kernel"] = kernel.as_dict()
        sys.stdout.write(json.dumps(data) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(facts, kernel)) + "\n")
    if error is not None:
        sys.stdout.flush()
        raise error
    return 0


def _lines(facts: Inspection, kernel: "KernelFacts | None") -> list[str]:
    lines = _process(facts.process) if facts.process else [f"cgroup {printable(facts.cgroup)}"]
    lines += ["", *_hierarchies(facts), "", *_limits(facts), "", *_usage(facts)]
    lines += ["", *_shares(facts)]
    if facts.namespaces:
        lines += ["", *_namespaces(facts)]
    if kernel is not None:
        lines += ["", *_kernel(kernel)]
    return lines


def _process(p: ProcessFacts) -> list[str]:
    command = printable(" ".join(p.arguments)) or f"[{printable(p.name)}]"
    facts = [f"parent {p.parent}", f"user {p.uid}", f"{p.threads} thread{'s'[: p.threads != 1]}"]
    lines = [
        *wrapped(f"process {p.pid}: {command}"),
        f"  {', '.join(facts)}, {p.state or 'state unknown'}",
    ]
    if p.resident is not None:
        lines.append(
            f"  resident {size(p.resident)}: anonymous {size(p.anon)}, files {size(p.file)}, "
            f"shared {size(p.shmem)}; swapped out {size(p.swap)}"
        )
    return lines


def _hierarchies(facts: Inspection) -> list[str]:
    rows = [("ID", "HIERARCHY", "MOUNTED AT", "CGROUP")]
    for p in facts.hierarchies:
        label = "v2" if p.version == "v2" else f"v1 {p.label}"
        cgroup = "-" if p.cgroup is None else printable(p.cgroup)
        if p.removed:
            cgroup += " (removed)"
        at = printable(p.mount_point) if p.mount_point else "not mounted here"
        rows.append((count(p.id), label, at, cgroup))
    lines = ["hierarchies", *table(rows, right="ID")]
    for p in facts.hierarchies:
        if p.version == "v2" and p.mount_point:
            lines += wrapped(f"v2 holds {', '.join(p.controllers) or 'no controller'}", indent=2)
    for options in dict.fromkeys(tuple(p.options) for p in facts.hierarchies if p.options):
        ids = by_id(p.id for p in facts.hierarchies if tuple(p.options) == options)
        lines += wrapped(f"options {printable(','.join(options))}: {ids}", indent=2)
    hidden = [p.id for p in facts.hierarchies if p.sees_root is False]
    if hidden:
        lines += wrapped(
            "what is shown as the root is not the root (a container, or a bind mount): there may "
            f"be limits above it that cannot be seen from here: {by_id(hidden)}",
            indent=2,
        )
    return lines


# ---- limits --------------------------------------------------------------------------------


def _limits(facts: Inspection) -> list[str]:
    lines = ["limits"]
    if not facts.limits:
        return [*lines, "  none can be seen from here"]
    width = max(len(bound.kind) for bound in facts.limits)
    for bound in facts.limits:
        first, *rest = _sentences(bound)
        lines.append(f"  {bound.kind:{width}}  {first}")
        lines += [f"  {'':{width}}  {line}" for line in rest]
    return [*lines, "  on the way up (a star: the one that counts)", *_way_up(facts.limits)]


def _sentences(bound: "Bound") -> list[str]:
    if bound.path is None:
        if bound.kind == "cpuset" and bound.limit != UNLIMITED:
            return [f"no limit: CPUs {bound.limit}"]
        return ["no limit"]
    text = f"effective limit {_value(bound.kind, bound.limit)}, set at {printable(bound.path)}"
    if bound.usage is not None:
        text += f" ({_value(bound.kind, bound.usage, exact=False)} in use there)"
    lines = [text]
    if bound.closest not in (None, bound.path) and bound.left is not None:
        left = _value(bound.kind, max(bound.left, 0), exact=False)
        lines.append(f"first to bind now: {printable(bound.closest or '')}, with {left} left")
    return lines


def _value(kind: str, value: "int | float | str | None", *, exact: bool = True) -> str:
    if isinstance(value, str):
        return f"CPUs {value}"
    if kind == "cpu" and value not in (None, UNLIMITED):
        return f"{value:g} CPU{'s'[: value != 1]}"
    if kind in ("pids", "cpu", "cpuset"):
        return count(value)
    return size(value) if exact else format_size(value)


def _way_up(bounds: "list[Bound]") -> list[str]:
    """One row a cgroup, one column a kind of limit."""
    cells: dict[str, dict[str, Level]] = {}
    used: dict[str, int | None] = {}
    for bound in bounds:
        for level in bound.levels:
            cells.setdefault(level.path, {})[bound.kind] = level
            if bound.kind == "memory":
                used[level.path] = level.usage
    rows = [("CGROUP", "USED", *(_NAMES.get(b.kind, b.kind.upper()) for b in bounds))]
    # Those of other hierarchies may lie elsewhere: the deepest first.
    for path in sorted(cells, key=lambda path: (-path.rstrip("/").count("/"), path)):
        row = [printable(path), size(used.get(path))]
        for bound in bounds:
            here = cells[path].get(bound.kind)
            text = "-" if here is None or here.limit is None else _cell(bound.kind, here)
            row.append(f"{text}*" if path == bound.path else text)
        rows.append(tuple(row))
    return table(rows, right=" ".join(rows[0][1:]))


def _cell(kind: str, level: "Level") -> str:
    if isinstance(level.limit, str):
        return level.limit
    if kind == "cpu" and level.limit not in (None, UNLIMITED):
        return f"{level.limit:g}"
    return _value(kind, level.limit)


# ---- usage, sharing, namespaces ------------------------------------------------------------


def _usage(facts: Inspection) -> list[str]:
    where = next((p.cgroup for p in facts.hierarchies if "memory" in p.controllers), None)
    if facts.usage is None:
        return ["usage: not known, for want of the memory controller here"]
    names = ("current", "peak", "anon", "file", "shmem", "kernel", "swap_current", "swap_peak")
    heads = ("CURRENT", "PEAK", "ANON", "FILE", "SHMEM", "KERNEL", "SWAP", "SWAP-PEAK")
    rows = [heads, tuple(size(getattr(facts.usage, name)) for name in names)]
    title = f"usage of {printable(where or facts.cgroup)}, cgroups below it included"
    return [title, *table(rows, right=" ".join(heads))]


def _shares(facts: Inspection) -> list[str]:
    if facts.process is None:
        if not facts.css_sets:
            return ["css_sets: no task is in this cgroup itself"]
        lines = ["css_sets with tasks in this cgroup itself, and where else these are"]
        return lines + _sets(facts.css_sets, {facts.cgroup})
    own = facts.css_sets[0] if facts.css_sets else None
    if own is None:
        return ["css_set: the process has left its cgroups"]
    tasks = "1 task" if own.tasks == 1 else f"{own.tasks} tasks"
    lines = [f"shares exactly this set of cgroups (css_set {own.number}): {tasks}"]
    lines += wrapped(_members(own, most=40), indent=2)
    if facts.related:
        lines.append("other sets with a cgroup in common, roots left out")
        lines += _sets(facts.related, set())
    return lines


def _sets(sets: list[CssSet], known: set[str]) -> list[str]:
    rows = [("CSS_SET", "TASKS", "PROCESSES", "CGROUPS")]
    for s in sets[:30]:
        apart = [printable(str(k)) for k in s.cgroups if k.path != "/" and k.path not in known]
        rows.append((str(s.number), str(s.tasks), _members(s), " ".join(apart) or "-"))
    lines = table(rows, right="CSS_SET TASKS")
    if len(sets) > 30:
        lines.append(f"  ... and {len(sets) - 30} more: see --json")
    return lines


def _members(s: CssSet, most: int = 3) -> str:
    shown = [
        f"{printable(m.name)}({m.pid})" + (f"*{len(m.tasks)}" if len(m.tasks) > 1 else "")
        for m in s.members[:most]
    ]
    if len(s.members) > most:
        shown.append(f"... {len(s.members) - most} more")
    return ", ".join(shown)


def _namespaces(facts: Inspection) -> list[str]:
    rows = [("NAMESPACE", "INODE", "PROCESSES", "")]
    rows += [
        (n.kind, str(n.inode), str(n.processes), "as this command" if n.ours else "another one")
        for n in facts.namespaces
    ]
    if facts.process:
        return ["namespaces", *table([(kind, inode, which) for kind, inode, _, which in rows])]
    return ["namespaces", *table(rows, right="PROCESSES")]


# ---- the kernel's own ----------------------------------------------------------------------


def _kernel(k: "KernelFacts") -> list[str]:
    lines = [f"kernel {k.release}, read from /proc/kcore by {k.source}"]
    if k.css_set is not None:
        tasks = "1 task" if k.tasks == 1 else f"{k.tasks} tasks"
        lines.append(f"  task {k.task} -> css_set {k.css_set}, of {tasks}")
        rows = [("SUBSYS", "CSS", "ROOT", "HIERARCHY", "CGROUP")]
        rows += [
            (s.name, s.address, s.root, str(s.hierarchy), printable(s.path)) for s in k.subsystems
        ]
        lines += ["  subsys[]", *table(rows, right="HIERARCHY", indent=4)]
    rows2 = [("HIERARCHY", "NAME", "CGROUP", "CSS_SETS (TASKS) THROUGH cset_links")]
    for link in k.links:
        sets = ", ".join(f"{s.address} ({s.tasks})" for s in link.css_sets[:4])
        if len(link.css_sets) > 4:
            sets += f", ... {len(link.css_sets) - 4} more"
        rows2.append((str(link.hierarchy), link.name or "-", printable(link.path), sets or "none"))
    lines += ["  cgrp_links, and back", *table(rows2, right="HIERARCHY", indent=4)]
    if not k.differences:
        return [*lines, "  the same as /proc/PID/cgroup tells"]
    for text in k.differences:
        lines += wrapped(f"differs from /proc/PID/cgroup: {printable(text)}", indent=2)
    return lines
