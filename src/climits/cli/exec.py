"""`climits exec`: become a command in a cgroup that exists."""

from ..cgroup import systemd
from ..errors import InvalidValueError
from ..launch.replace import replace
from .cgroups import the_cgroup
from .options import Option
from .scope import wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = ()
USAGE = "climits exec NAME [--] COMMAND [ARGUMENT...]"
EPILOG = """\
NAME is a cgroup that climits made, a cgroup path, or pid:1234. This process
moves into it, in every hierarchy that has it, and becomes the command: there is
no other process, and no verdict. climits run --root tells what happened.

examples:
  climits exec web -- ./app --port 80
  climits exec pid:1234 sh
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:  # noqa: ARG001 - the commands' shape
    """Join and exec."""
    command = words[1:]
    if command[:1] == ["--"]:
        command = command[1:]
    group = the_cgroup(words[:1], "exec")
    if not command:
        raise InvalidValueError("no command was given", hint="climits exec NAME -- COMMAND")
    if command[0].startswith("-") and words[1:2] != ["--"]:
        raise InvalidValueError(
            f"exec takes no options behind NAME: {command[0]}",
            hint="a command of that name goes behind --; climits exec --help tells the rest",
        )
    wish({}, command)
    for part in group.parts:
        systemd.come_near(part.hierarchy, group.path)
    group.join()
    replace(command)
