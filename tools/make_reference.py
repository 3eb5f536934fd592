#!/usr/bin/env python3
"""Make docs/reference, the manual pages and the completions from the tables of the commands.

    python tools/make_reference.py           writes them
    python tools/make_reference.py --check   says which would change; exit status 1 if any

Needs the package and shtab installed: run it with the interpreter that climits is installed for.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import completions
import json_schemas
from command_pages import command_pages
from man_pages import man_pages

from climits.cli.explain import kernels_text, unit_text
from climits.observe.catalog import catalog
from climits.observe.remedies import TROUBLES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from climits.observe.catalog import CgroupFile

ROOT = Path(__file__).parents[1]
_MADE = "<!-- Made by tools/make_reference.py: change the table that it is made of. -->\n"
_WHOLE = {"memory": "memory", "cpuset": "cpuset", "freezer": "freezer", "pids": "pids",
          "cpu": "cpu", "cpuacct": "cpuacct", "core": "the core: every cgroup"}  # fmt: skip


def row(*cells: str) -> str:
    """One row of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table."""
    return row(*head) + row(*("---" for _ in head)) + "".join(row(*cells) for cells in rows)


# -- the files --------------------------------------------------------------------------------

_FILES = """\
# Cgroup files

Every file of the memory, cpuset, freezer, pids, cpu and cpuacct controllers and of the cgroup
core, on cgroup v1 and v2, up to kernel 6.18. `climits explain` tells the same of one file, whether
this host has it, what comes closest where it has not, and its value in a cgroup:

```sh
climits explain memory.oom_control
climits explain limit_in_bytes /
climits explain memory.max / --json
climits explain
```

*access*: r can be read, w written. *kernels*: the first that has the file; where it has lost its
effect, the last on which it works. `root`: in the root cgroup only; `child`: everywhere else.
"""


def files_page() -> str:
    """docs/reference/files.md."""
    there = {(f.version, f.controller) for f in catalog()}
    out = [_FILES]
    for version in ("v1", "v2"):
        anchors = {
            name: f"cgroup-{version}-{re.sub('[: ]+', '-', _WHOLE[name])}" for name in _WHOLE
        }
        links = (f"[{name}](#{to})" for name, to in anchors.items() if (version, name) in there)
        out.append(f"\ncgroup {version}: {', '.join(links)}.\n")
    for version in ("v1", "v2"):
        for controller, title in _WHOLE.items():
            of = [f for f in catalog() if (f.version, f.controller) == (version, controller)]
            if of:
                out.append(f"\n## cgroup {version}: {title}\n\n" + table(
                    ("file", "meaning", "unit", "access", _other(version), "kernels"),
                    map(_file, of),
                ))  # fmt: skip
    return "".join(out)


def _other(version: str) -> str:
    return "on v2" if version == "v1" else "on v1"


def _file(file: CgroupFile) -> tuple[str, ...]:
    meaning = file.meaning + (f" *{file.note}*" if file.note else "")
    where = "" if file.where == "all" else f", {file.where}"
    others = ", ".join(f"`{name}`" for name in file.counterpart) or "-"
    kernels = kernels_text(file).removeprefix("since ")
    return f"`{file.name}`", meaning, unit_text(file), file.access + where, others, kernels


# -- doctor -----------------------------------------------------------------------------------

_DOCTOR = """\
# What doctor finds, and the remedies

`climits doctor` looks at the kernel, its boot parameters, the cgroup mounts, settings and rights.
What can be tried is tried: it makes one cgroup, limits its memory, reads the limit back, and
removes it. `--fix` first removes what dead owners left, as `climits gc` does.

```sh
climits doctor || echo "exit status $?"
climits doctor --fix --quiet || true
climits doctor --json || true
```

Exit status 0: all is well. 1: degraded, memory can be limited but something is missing. 2: memory
cannot be limited here. In the JSON each finding has `check`, `state` (`ok`, `degraded`, `cannot`)
and `found`; those that are not ok have `key`, `cost` and `remedy` too.
"""


def doctor_page() -> str:
    """docs/reference/doctor.md."""
    out = [_DOCTOR]
    for check in dict.fromkeys(trouble.check for trouble in TROUBLES.values()):
        of = [t for t in TROUBLES.values() if t.check == check]
        out.append(f"\n## {check}\n\n" + table(
            ("finding", "state", "what it costs", "remedy"),
            ((f"`{t.key}`", t.state, t.cost, t.remedy) for t in of),
        ))  # fmt: skip
    return "".join(out)


# -- all of it ---------------------------------------------------------------------------------


def pages() -> dict[str, str]:
    """Text of each file that is made, by its path."""
    made = {"files.md": files_page(), "doctor.md": doctor_page(), **command_pages()}
    made |= json_schemas.pages()
    texts = {
        f"docs/reference/{name}": (_MADE if name.endswith(".md") else "") + text
        for name, text in made.items()
    }
    texts |= {f"share/man/man1/{name}": text for name, text in man_pages().items()}
    for shell, place in completions.PLACES.items():
        texts[place] = completions.completions(shell)
    return texts


def main(argv: list[str]) -> int:
    """Write the files, or compare them."""
    if argv not in ([], ["--check"]):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    # What help prints depends on the terminal.
    os.environ |= {"COLUMNS": "80", "NO_COLOR": "1"}
    stale = []
    for name, text in pages().items():
        path = ROOT / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'written' if not argv else 'run tools/make_reference.py'}")
    return 1 if argv and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
