"""`climits cgtools install`: put cgcreate, cgset and their kin into a directory."""

import os
import sys
from pathlib import Path

from ..errors import ClimitsError, InvalidValueError
from ..linux.whole_file import write_whole
from .cgtools.main import TOOLS
from .options import LIFE, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--force", None, "switch", LIFE, "replace what is there under these names"),
    ("--quiet", None, "switch", TELLING, "do not tell what was made"),
)
ANYWHERE = True
USAGE = "climits cgtools install DIR [--force]"
EPILOG = """\
Makes cgcreate, cgdelete, cgset, cgget, cgexec, cgclassify, lscgroup, lssubsys,
cgsnapshot, cgconfigparser, cgxget and cgxset in DIR, which take the options,
print the lines and return the exit statuses of cgroup-tools, so that scripts
run as they are. Each tells its options with --help.

examples:
  climits cgtools install /usr/local/sbin
  climits cgtools install ~/bin --force && PATH=~/bin:$PATH ./my-script
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]

#: The kernel reads so much of a first line at least; Source: include/uapi/linux/binfmts.h.
_LONGEST_FIRST_LINE = 127

_SCRIPT = """\
# made by climits cgtools install
import gc

gc.disable()  # nothing here lives long enough to make collecting it pay
{path}from climits.cli.cgtools.main import main

main()
"""


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Install and tell."""
    if words[:1] != ["install"]:
        given = f": {words[0]}" if words else ""
        raise InvalidValueError(
            f"cgtools can only install{given}", hint="climits cgtools install DIR"
        )
    if len(words) != 2:
        raise InvalidValueError("install takes one directory", hint="climits cgtools install DIR")
    directory = words[1]
    force = bool(values.get("force"))
    _refuse_occupied(directory, force)
    text = os.fsencode(script())
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        for tool in TOOLS:
            write_whole(f"{directory}/{tool}", text, 0o755)
    except OSError as e:
        raise ClimitsError(
            f"cannot install: {e.filename or directory}: {(e.strerror or str(e)).lower()}",
            path=directory,
            errno=e.errno,
            hint="choose a directory that you may write",
        ) from None
    if not values.get("quiet"):
        for tool in TOOLS:
            sys.stdout.write(f"{directory}/{tool}\n")
    return 0


def _refuse_occupied(directory: str, force: bool) -> None:
    """Nothing is written where one of the names is somebody else's."""
    for tool in TOOLS:
        path = f"{directory}/{tool}"
        if force and not os.path.isdir(path):
            continue
        if os.path.lexists(path) and not _is_ours(path):
            raise InvalidValueError(
                f"cannot install: {path} is there already", value=path, hint="--force replaces it"
            )


def _is_ours(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return b"# made by climits cgtools install\n" in file.read(4096)
    except OSError:
        return False


def script() -> str:
    """The text of every tool: which one it is, its name says."""
    interpreter = sys.executable
    first = f"#!{interpreter} -I\n"
    if len(first) > _LONGEST_FIRST_LINE or any(char.isspace() for char in interpreter):
        # A shell can start what the kernel cannot; to Python these two lines are a string.
        quoted = "'\"'\"'".join(interpreter.split("'"))
        first = f"#!/bin/sh\n'''exec' '{quoted}' -I \"$0\" \"$@\"\n' '''\n"
    return first + _SCRIPT.format(path=_search_path())


def _search_path() -> str:
    """What makes climits importable with -I, where it is not by itself."""
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import site

    if home in site.getsitepackages():
        return ""
    return f"import sys\n\nsys.path.insert(0, {home!r})\n\n"
