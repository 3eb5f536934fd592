"""Where each of the tools starts: the name by which it was called says which it is."""

import os
import sys

from ...errors import ClimitsError
from .status import FAILED, GiveUp, status_of, tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

#: The names that are installed.
TOOLS = (
    "cgcreate", "cgdelete", "cgset", "cgget", "cgexec", "cgclassify", "lscgroup", "lssubsys",
    "cgsnapshot", "cgconfigparser", "cgxget", "cgxset",
)  # fmt: skip


def main() -> "NoReturn":
    """Run the tool that argv[0] names and exit with its status."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:  # closed: or our own files would take its number
            os.open(os.devnull, os.O_RDWR)
    status = run(os.path.basename(sys.argv[0]), sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        status = status or FAILED  # whoever reads us has gone
    # Everything is written: tearing the interpreter down would only cost time.
    os._exit(status)


def run(tool: str, argv: list[str]) -> int:
    """Run one tool.

    Returns:
        The exit status.
    """
    try:
        return _run(tool, argv)
    except GiveUp as e:
        status, lines = e.status, e.lines
    except ClimitsError as e:
        status, lines = status_of(e), [f"{tool}: {tell(e)}"]
    except BrokenPipeError:
        return FAILED
    except KeyboardInterrupt:
        return 130
    except OSError as e:
        status, lines = FAILED, [f"{tool}: {e}"]
    for line in lines:
        complain(line)
    return status


def complain(line: str) -> None:
    """Tell a line on standard error."""
    try:
        sys.stdout.flush()  # so that the two stand in order where they go to one file
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except OSError:
        pass  # nobody reads it


def _run(tool: str, argv: list[str]) -> int:
    # Each import only where it is needed: a tool that starts slowly slows every script.
    start: Callable[[list[str]], int]
    if tool == "cgcreate":
        from .create import cgcreate as start
    elif tool == "cgdelete":
        from .delete import cgdelete as start
    elif tool == "cgset":
        from .set import cgset as start
    elif tool == "cgxset":
        from .set import cgxset as start
    elif tool == "cgget":
        from .get import cgget as start
    elif tool == "cgxget":
        from .get import cgxget as start
    elif tool == "cgexec":
        from .execute import cgexec as start
    elif tool == "cgclassify":
        from .execute import cgclassify as start
    elif tool == "lscgroup":
        from .listing import lscgroup as start
    elif tool == "lssubsys":
        from .listing import lssubsys as start
    elif tool == "cgsnapshot":
        from .snapshot import cgsnapshot as start
    elif tool == "cgconfigparser":
        from .config import cgconfigparser as start
    else:
        raise GiveUp(
            FAILED, f"{tool}: no such tool", f"known by these names: {', '.join(sorted(TOOLS))}"
        )
    return start(argv)
