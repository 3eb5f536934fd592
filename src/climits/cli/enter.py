"""`climits enter`: a command in a container that runs."""

from ..errors import InvalidValueError
from ..program.joining import Joining
from .options import LIFE, RUN, TELLING, Option
from .run import run_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PLACE = ("--name", "--parent", "--root", "--keep", "--slice", "--unit")

OPTIONS: tuple[Option, ...] = tuple(
    o for o in RUN if o[3] in (LIFE, TELLING) and o[0] not in (*_PLACE, "--explain")
)
USAGE = "climits enter [OPTIONS] NAME [--] [COMMAND [ARGUMENTS]]"
EPILOG = """\
NAME is the container's cgroup, as climits ps lists it, or pid:1234. The command,
sh unless one is given, gets its namespaces, its limits and no more rights than
its process 1. Exit status and summary are those of climits run.

example:
  climits enter web -- ps ax
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Join and run."""
    if not words or words[0] == "--":
        raise InvalidValueError("no container was given", hint="climits enter NAME -- COMMAND")
    command = words[1:]
    if command[:1] == ["--"]:
        command = command[1:]
    joining = Joining(words[0])
    return run_command({**values, "root": joining.path}, command or ["sh"], joining)
