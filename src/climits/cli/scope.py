"""What the options say of the scope that systemd is asked for (``--slice --unit --no-systemd``)."""

import os

from ..cgroup import systemd
from ..errors import InvalidValueError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def wish(values: "dict[str, Any]", what: "list[str]", name: "str | None" = None) -> None:
    """Say how the scope of this process is to be, should there be one; nothing is done yet.

    Args:
        values: of the command line.
        what: words that tell what runs in it, for its description.
        name: what it is named after.

    Raises:
        InvalidValueError: a name that systemd would not take, or options that do not go together.
    """
    wishes = systemd.wishes
    for option in ("slice", "unit"):
        for other in ("parent", "root", "no_systemd"):
            if option in values and values.get(other):
                raise InvalidValueError(
                    f"--{option} and --{other.replace('_', '-')} do not go together",
                    hint=f"--{option} is for the scope that systemd makes",
                )
    wishes.use = not values.get("no_systemd")
    wishes.unit = _unit(values.get("unit"), "scope")
    wishes.slice = _unit(values.get("slice"), "slice")
    wishes.name = name or f"{os.path.basename(what[0])[:32].lstrip('.')}-{os.getpid()}"
    wishes.description = "climits: " + " ".join(what)
    wishes.leave_service = True


def _unit(name: "str | None", kind: str) -> "str | None":
    if name is None:
        return None
    from ..cgroup.unit_names import check_unit

    return check_unit(name, kind)
