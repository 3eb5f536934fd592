"""A person's wish for the limits of a cgroup: text to numbers."""

from ..errors import CgroupGoneError, InvalidValueError
from ..linux.proc import memory_total
from ..records import MemoryLimits
from ..units import UNLIMITED, parse_size
from . import placement
from .files import Directory
from .layout import current
from .naming import check_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict

    Size = str | int | float

    class LimitOptions(TypedDict, total=False):
        """Keyword arguments that change limits."""

        memory: Size | None
        swap: Size | None
        high: Size | None
        low: Size | None
        min: Size | None
        pids: int | None
        cpus: float | None
        cpuset: str | None


#: What may happen when the limit cannot be met by reclaim.
ON_OOM = ("kill", "kill-group", "pause")


class Limits:
    """A wish for all controllers; None leaves a limit as it is.

    Attributes:
        memory: the memory controller's.
        pids: processes and threads at most.
        cpus: CPUs' worth of time, such as 1.5.
        cpuset: CPUs to run on, such as 0-1,3.
    """

    __slots__ = ("cpus", "cpuset", "memory", "pids")

    def __init__(
        self,
        memory: MemoryLimits,
        pids: "int | None" = None,
        cpus: "float | None" = None,
        cpuset: "str | None" = None,
    ) -> None:
        self.memory, self.pids, self.cpus, self.cpuset = memory, pids, cpus, cpuset

    def controllers(self) -> tuple[str, ...]:
        """The controllers that this wish needs; memory always, for the evidence."""
        wanted = (("pids", self.pids), ("cpu", self.cpus), ("cpuset", self.cpuset))
        return ("memory", *(name for name, value in wanted if value is not None))


def make_limits(
    *,
    memory: "Size | None" = None,
    swap: "Size | None" = None,
    high: "Size | None" = None,
    low: "Size | None" = None,
    min: "Size | None" = None,
    swappiness: "int | None" = None,
    on_oom: str = "kill",
    pids: "int | None" = None,
    cpus: "float | None" = None,
    cpuset: "str | None" = None,
    parent: "str | None" = None,
    new: bool = True,
) -> Limits:
    """Read a person's wish: text to numbers, ``%`` to bytes, the default of swap.

    Args:
        on_oom: kill, kill-group or pause.
        parent: what ``%`` is of; None: the usual parent's limit, or the RAM.
        new: for a new cgroup, whose swap is 0 where `memory` is given and `swap` is not.
        memory, swap, high, low, min, swappiness, pids, cpus, cpuset: see Cgroup.create.

    Raises:
        InvalidValueError: see the text.
    """
    if on_oom not in ON_OOM:
        raise InvalidValueError(
            f"on_oom: {on_oom}: unknown", value=on_oom, hint=f"write one of {', '.join(ON_OOM)}"
        )
    whole = None
    sizes: dict[str, Any] = {}  # only what was given: most runs give one
    for field, what, text in (
        ("max", "memory", memory), ("swap_max", "swap", swap), ("high", "high", high),
        ("low", "low", low), ("min", "min", min),
    ):  # fmt: skip
        if text is not None:
            if whole is None and isinstance(text, str) and text.endswith("%"):
                whole = whole_of(parent)
            sizes[field] = parse_size(text, what=what, whole=whole)
    if new and swap is None and memory is not None and sizes["max"] != UNLIMITED:
        sizes["swap_max"] = 0  # the limit means what it says
    if swappiness is not None:
        sizes["swappiness"] = swappiness
    if on_oom == "pause":
        sizes["oom_pause"] = True
    elif on_oom == "kill-group" and kernel_kills_group():
        sizes["oom_group"] = True
    wish = MemoryLimits(**sizes)
    if swappiness is not None and not 0 <= swappiness <= 200:
        raise InvalidValueError(
            f"swappiness: {swappiness}: out of range", value=swappiness, hint="write 0 to 200"
        )
    if pids is not None and pids < 1:
        raise InvalidValueError(f"pids: {pids}: must be 1 at least", value=pids)
    if cpus is not None and not 0.01 <= cpus <= 65536:
        raise InvalidValueError(
            f"cpus: {cpus:g}: out of range",
            value=cpus,
            hint="write the number of CPUs, such as 1.5",
        )
    if cpuset is not None and not cpuset.strip():
        raise InvalidValueError("cpuset: empty", value=cpuset, hint="write CPUs such as 0-1,3")
    return Limits(wish, pids, cpus, cpuset)


def kernel_kills_group() -> bool:
    """Whether the kernel itself does what ``kill-group`` promises; else climits does."""
    hierarchy = current().find("memory")
    return hierarchy is not None and hierarchy.kills_group_on_oom


def whole_of(parent: "str | None") -> int:
    """What a percentage is of, bytes: the least limit from the parent up, or the RAM."""
    layout = current()
    whole: int | float = memory_total()
    hierarchy = layout.find("memory")
    path = check_path(parent, layout, what="parent") if parent else placement.HOME
    while hierarchy:
        try:
            limit = hierarchy.memory(Directory(hierarchy.directory_path(path or "/"))).max
        except CgroupGoneError:
            limit = None
        if limit is not None and limit < whole:
            whole = limit
        if path in ("", "/"):
            break  # the host's has no limit, but the one that a container sees as its root has
        path = path.rpartition("/")[0]
    return int(whole)
