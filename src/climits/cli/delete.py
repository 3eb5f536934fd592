"""`climits delete`: remove a cgroup."""

from ..cgroup.find import find_cgroup
from ..cgroup.removal import delete
from ..errors import InvalidValueError
from .cgroups import the_cgroup
from .options import CGROUP, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--recursive", None, "switch", CGROUP, "the cgroups below it too (-r)"),
    ("--kill", None, "switch", CGROUP, "kill the processes in it first"),
    ("--move-to", "CGROUP", "text", CGROUP, "move the processes in it there first"),
)
ANYWHERE = True
USAGE = "climits delete NAME [OPTIONS]"
EPILOG = """\
NAME is a cgroup that climits made, or a cgroup path. It is removed from every
hierarchy that has it; a directory below a mount point, such as
/sys/fs/cgroup/pids/web, is removed alone. One with processes or children is
refused unless an option says what to do with them. Processes are moved all or
none; on cgroup v2 only into a cgroup whose children get no controllers.

examples:
  climits delete web --kill
  climits delete /jobs/old -r --move-to /jobs/new
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Remove it."""
    if values.get("kill") and "move_to" in values:
        raise InvalidValueError("--kill and --move-to do not go together", hint="choose one")
    group = the_cgroup(words, "delete", acts=True)
    target = find_cgroup(values["move_to"]) if "move_to" in values else None
    delete(
        group,
        recursive=bool(values.get("recursive")),
        kill=bool(values.get("kill")),
        move_to=target,
    )
    return 0
