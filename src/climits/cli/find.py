"""`climits find`: the cgroups of a container, by its short id or its name."""

import sys

from ..cgroup.layout import current
from ..errors import CgroupGoneError, InvalidValueError
from ..observe.owners import Found, all_cgroups, ambiguous, find_all
from ..observe.text import printable, table
from ..units import quoted
from .options import TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--json", None, "switch", TELLING, "an object a line, one for each container or unit"),
)
ANYWHERE = True
USAGE = "climits find ID [--json]"
EPILOG = """\
ID is the beginning of a container's id, as docker ps, podman ps, crictl ps and
nerdctl ps show it; or the name of a container (LXC, Incus, ctr), the uid of a pod or
its beginning, or a systemd unit.

Shown are its owner, its cgroups, and the directory of each in every hierarchy that
has it. Where several fit, all of them are shown, and the status is 125.

--json has the owner (runtime, name, id, unit, slice, pod, qos, container, job, step,
user) and cgroups: a list of objects with path and directories.

examples:
  climits find 3f4e1a09c2d7
  climits find web.service --json
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Look for it and show it."""
    if len(words) != 1 or not words[0]:
        raise InvalidValueError("find takes one id or name", hint="climits find 3f4e1a09c2d7")
    word = words[0]
    layout = current()
    if not layout.hierarchies:
        raise CgroupGoneError(
            "no cgroup filesystem is mounted", hint="mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        )
    closed: set[str] = set()
    directories = all_cgroups(layout, closed)
    found = find_all(word, directories)
    if not found:
        hint = "is it running, and on this host? climits stats --all lists all cgroups"
        if closed:
            hint = f"{len(closed)} cgroups could not be looked into: try as root"
        raise CgroupGoneError(f"no container or unit here is called {quoted(word)}", hint=hint)
    for number, each in enumerate(found):
        if values.get("json"):
            import json

            sys.stdout.write(json.dumps(_facts(each, directories)) + "\n")
        else:
            sys.stdout.write("\n" * bool(number) + _text(each, directories))
    if len(found) > 1:
        sys.stdout.flush()
        raise ambiguous(word, found)
    return 0


def _facts(found: Found, directories: dict[str, list[str]]) -> "dict[str, Any]":
    cgroups = [{"path": path, "directories": directories[path]} for path in found.paths]
    return found.owner.as_dict() | {"cgroups": cgroups}


def _text(found: Found, directories: dict[str, list[str]]) -> str:
    owner = found.owner.as_dict()
    rows = [(name, printable(str(value))) for name, value in owner.items() if value]
    out = table(rows, indent=0)
    for path in found.paths:
        out.append(printable(path))
        out += [f"  {printable(directory)}" for directory in directories[path]]
    return "".join(f"{line}\n" for line in out)
