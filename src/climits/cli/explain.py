"""`climits explain`: what a cgroup file means, what it is called here, and its value."""

import os
import sys
import textwrap

from ..cgroup.find import find_cgroup
from ..cgroup.layout import current
from ..errors import InvalidValueError
from ..observe.catalog import CgroupFile, catalog, counterparts, find_files, on_this_host
from ..observe.values import describe_value
from ..records import Record
from .options import TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..cgroup.group import Cgroup
    from ..cgroup.layout import Layout

OPTIONS: tuple[Option, ...] = (("--json", None, "switch", TELLING, "for programs: one array"),)
ANYWHERE = True
USAGE = "climits explain [FILE [CGROUP]] [--json]"
EPILOG = """\
FILE is a file of the memory, cpuset, freezer, pids, cpu or cpuacct controller
or of the cgroup core, of v1 or v2; limit_in_bytes for memory.limit_in_bytes
will do. Without one, all of them are listed.

With a CGROUP (a name, a path or pid:1234) its value is shown too; where this
host has the file under another name, the value of that one.

examples:
  climits explain memory.oom_control
  climits explain limit_in_bytes web
  climits explain cpu.max pid:4711 --json
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]

_WIDTH = 92
_LABEL = 12


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Explain one file, or list them all."""
    if len(words) > 2:
        raise InvalidValueError(
            f"explain takes a file and a cgroup: {words[2]}", hint="see climits explain --help"
        )
    layout, kernel = current(), os.uname().release
    files = find_files(words[0]) if words else list(catalog())
    # First what this host has.
    here = on_this_host(files, layout, kernel)
    files.sort(key=lambda file: file not in here)
    if not words:
        _list(files, values, layout, kernel)
        return 0
    group = find_cgroup(words[1]) if len(words) > 1 else None
    try:
        told = [_explain(file, layout, kernel, group) for file in files]
    finally:
        if group is not None:
            group.close()
    if values.get("json"):
        _print_json([_plain(one) for one in told])
    else:
        sys.stdout.write("\n".join(map(_text, told)))
    return 0


class _Value(Record):
    """What a file of this host holds in the cgroup that was named.

    Attributes:
        file: which one.
        path: None where the cgroup is not in that hierarchy.
        content: None where it cannot be had; `reason` says why.
        reason: as a part of a sentence.
    """

    file: CgroupFile
    path: "str | None" = None
    content: "bytes | None" = None
    reason: "str | None" = None


class _Explained(Record):
    """All that is told of one file.

    Attributes:
        file: which one.
        kernel: the running one's release.
        layout: of this host.
        here: files of this host: itself, or those that come closest; may be empty.
        values: of each of them in the cgroup, where one was named.
    """

    file: CgroupFile
    kernel: str
    layout: "Layout"
    here: "list[CgroupFile]"
    values: "list[_Value]"


def _explain(file: CgroupFile, layout: "Layout", kernel: str, group: "Cgroup | None") -> _Explained:
    others = on_this_host(counterparts(file), layout, kernel)
    here = on_this_host([file], layout, kernel) or others
    # One that has the same name on both versions is told twice; its value once.
    wanted = [f for f in here if f is file or f.name != file.name]
    values = [_read(f, group) for f in wanted] if group else []
    return _Explained(file=file, kernel=kernel, layout=layout, here=here, values=values)


def _read(file: CgroupFile, group: "Cgroup") -> _Value:
    for part in sorted(group.parts, key=lambda p: "memory" not in p.hierarchy.controllers):
        hierarchy, directory = part.hierarchy, part.directory
        if hierarchy.version_name != file.version or not (
            file.controller == "core" or file.controller in hierarchy.controllers
        ):
            continue
        content = reason = None
        if "r" not in file.access:
            reason = "can only be written"
        elif not directory.has(file.name):
            at_root = directory.path == hierarchy.mount_point
            reason = "the root cgroup has none" if at_root else "this cgroup has none"
        elif (content := directory.read_many((file.name,))[0]) is None:
            reason = "cannot be read"
        path = f"{directory.path}/{file.name}"
        return _Value(file=file, path=path, content=content, reason=reason)
    return _Value(file=file, reason="the cgroup is not in that hierarchy")


# ---- for people ----------------------------------------------------------------------------


def _text(told: _Explained) -> str:
    file = told.file
    whose = "every cgroup" if file.controller == "core" else f"{file.controller} controller"
    lines = [f"{file.name}  ({whose}, cgroup {file.version})", ""]
    lines += textwrap.wrap(file.meaning, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    lines.append("")
    rows = [("unit", unit_text(file)), ("access", file.access_on(told.kernel))]
    if file.where != "all":
        rows.append(("where", "in the root cgroup only" if file.where == "root"
                     else "not in the root cgroup"))  # fmt: skip
    other = "v1" if file.version == "v2" else "v2"
    rows.append((f"on {other}", " and ".join(file.counterpart) or "nothing like it"))
    rows.append(("kernels", kernels_text(file)))
    if file.note:
        rows.append(("note", file.note))
    rows.append(("here", _here(told)))
    rows += [("value", _value(value)) for value in told.values]
    for label, text in rows:
        lines += _row(label, text)
    return "\n".join(lines) + "\n"


def _row(label: str, text: str) -> list[str]:
    indent = " " * (_LABEL + 2)
    lines: list[str] = []
    for i, line in enumerate(text.split("\n")):
        start = f"  {label:{_LABEL}}" if i == 0 else indent
        # Only prose is wrapped: what has columns stays as it is.
        whole = [line] if "\n" in text else textwrap.wrap(line, _WIDTH - len(indent)) or [""]
        lines += [start + whole[0], *(indent + more for more in whole[1:])]
    return lines


def unit_text(file: CgroupFile) -> str:
    """The unit for people."""
    return {"flag": "0 or 1", "text": "text", "count": "a number"}.get(file.unit, file.unit)


def kernels_text(file: CgroupFile) -> str:
    """Since and until when, in words."""
    text = f"since {file.since}"
    if file.vendor:
        text = f"not in the mainline kernel; seen on {file.since}"
    if file.until:
        text += f", without effect after {file.until}"
    if file.deprecated:
        text += f", deprecated since {file.deprecated}"
    if file.writable_since:
        text += f", writable since {file.writable_since}"
    if file.needs:
        text += f"; needs {' and '.join(file.needs)}"
    return text


def _here(told: _Explained) -> str:
    file, here, layout, kernel = told.file, told.here, told.layout, told.kernel
    hierarchy = file.hierarchy_in(layout)
    if hierarchy and here == [file]:
        text = f"yes, below {hierarchy.mount_point}"
        if not file.works_on(kernel):
            text += f", but without effect on this kernel ({kernel})"
        return text
    if hierarchy:
        reason = f"this kernel ({kernel}) has none"
        if file.exists_on(kernel) and file.needs:
            reason += f", though it is new enough: it needs {' and '.join(file.needs)}"
    elif file.controller == "core":
        reason = f"cgroup {file.version} is not mounted"
    elif (held := layout.find(file.controller)) is None:
        reason = f"no mounted hierarchy has the {file.controller} controller"
    else:
        reason = f"the {file.controller} controller is on cgroup {held.version_name}"
    names = " and ".join(f.name if f.name != file.name else f"{f.version}'s own" for f in here)
    return f"no: {reason}" + (f"; use {names}" if here else "")


def _value(value: _Value) -> str:
    if value.content is None:
        return f"{value.path or value.file.name}: {value.reason}"
    lines = describe_value(value.file, value.content)
    return (
        f"{lines[0]}\n({value.path})" if len(lines) == 1 else "\n".join([f"{value.path}:", *lines])
    )


def _list(files: list[CgroupFile], values: "dict[str, Any]", layout: "Layout", kernel: str) -> None:
    here = on_this_host(files, layout, kernel)
    if values.get("json"):
        _print_json([file.as_dict() | {"here": file in here} for file in files])
        return
    width = max(len(file.name) for file in files)
    for title, some in (
        ("on this host:", here),
        ("not on this host:", [f for f in files if f not in here]),
    ):
        sys.stdout.write(f"{title}\n")
        for file in some:
            first = textwrap.shorten(file.meaning, 100 - width - 8, placeholder=" ...")
            sys.stdout.write(f"  {file.version}  {file.name:{width}}  {first}\n")


# ---- for programs --------------------------------------------------------------------------


def _plain(told: _Explained) -> "dict[str, Any]":
    file, here = told.file, told.here == [told.file]
    return file.as_dict() | {
        "here": here,
        "works_here": here and file.works_on(told.kernel),
        "use": [f.name for f in told.here],
        "values": [
            {
                "name": value.file.name,
                "path": value.path,
                "value": value.content.decode(errors="replace").strip(),
                "text": describe_value(value.file, value.content),
            }
            if value.content is not None
            else {"name": value.file.name, "path": value.path, "reason": value.reason}
            for value in told.values
        ],
    }


def _print_json(data: "Any") -> None:
    import json

    sys.stdout.write(json.dumps(data, indent=2) + "\n")
