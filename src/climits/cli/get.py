"""`climits get`: print parameters of a cgroup."""

import sys

from ..cgroup import params
from ..errors import CgroupError, InvalidValueError
from .cgroups import the_cgroup
from .options import TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--all", None, "switch", TELLING, "every file that the kernel shows"),
    ("--json", None, "switch", TELLING, "as one JSON object"),
)
ANYWHERE = True
USAGE = "climits get NAME [PARAMETER...] [OPTIONS]"
EPILOG = """\
NAME is a cgroup that climits made, a cgroup path, or pid:1234.
PARAMETER is a name of cgroup v2's, such as memory.max, which is translated
where the controller is on v1, or any file of the kernel's. One parameter prints
its value alone; none prints the limits and the usage. Sizes are bytes; max is
no limit.

examples:
  climits get web memory.peak
  climits get pid:1234 --json
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Read and print."""
    group = the_cgroup(words[:1], "get")
    names = words[1:]
    if values.get("all"):
        if names:
            raise InvalidValueError(f"--all takes no parameter: {names[0]}", hint="leave it out")
        found = _all(group)
    elif names:
        found = {name: params.read(group, name) for name in names}
    else:
        found = params.read_known(group, params.SUMMARY)
    if values.get("json"):
        import json

        sys.stdout.write(json.dumps(found) + "\n")
    elif len(names) == 1:
        sys.stdout.write(found[names[0]] + "\n")
    else:
        _print(found)
    return 0


def _all(group: "Any") -> dict[str, str]:
    found = {}
    for part, name in params.files(group):
        try:
            found[name] = part.directory.read(name).decode(errors="replace").rstrip("\n")
        except CgroupError:
            continue  # some can only be read with a feature switched on, such as PSI
    return found


def _print(found: dict[str, str]) -> None:
    width = max(map(len, found), default=0)
    for name, value in found.items():
        first, *more = value.split("\n")
        sys.stdout.write(f"{name:{width}}  {first}".rstrip() + "\n")
        for line in more:
            sys.stdout.write(f"{'':{width}}  {line}\n")
