"""Parameters by name: one way to read and write any of them, whatever the version.

A *unified* name is cgroup v2's (``memory.max``, ``cpu.weight``; ``swap.max`` for
``memory.swap.max``).  Where the controller is on v1 it is translated, names and values.  Any other
name is a file of the kernel's and passed on as it is, to the hierarchy that has it.

See setting.py for how they are written.
"""

from ..errors import CgroupError, CgroupGoneError, InvalidValueError, UnsupportedError
from ..units import UNLIMITED
from .causes import no_such_parameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .group import Cgroup
    from .placement import Part

#: Short names of what is written most.
ALIASES = {"swap.max": "memory.swap.max", "swap.current": "memory.swap.current"}

#: What `get` shows when no parameter is named, where it is reported.
SUMMARY = (
    "memory.current", "memory.peak", "memory.max", "memory.high", "memory.low", "memory.min",
    "memory.swap.current", "memory.swap.max", "pids.current", "pids.max", "cpu.max", "cpu.weight",
    "cpuset.cpus", "cpuset.cpus.effective", "cpuset.mems", "cgroup.freeze",
)  # fmt: skip


# ---- reading -------------------------------------------------------------------------------


def read(group: "Cgroup", name: str) -> str:
    """The value of a parameter, without the final line feed.

    Args:
        group: of which cgroup.
        name: a unified name, or the name of a file.

    Returns:
        Of a unified name bytes, or ``max`` for no limit; of a file all that it holds.

    Raises:
        InvalidValueError: there is no such parameter; the hint has the nearest.
        UnsupportedError: its controller is not here, or the kernel does not report it.
        CgroupGoneError, CgroupPermissionError, CgroupError: as the kernel says.
    """
    name = ALIASES.get(name, name)
    part = holder(group, name)
    if part is not None:
        return part.directory.read(name).decode(errors="replace").rstrip("\n")
    reader = READERS.get(name)
    if reader is None or not can_translate(group, name):
        raise no_such_parameter(group, name, known(group))
    return reader(group)


def read_known(group: "Cgroup", names: "Iterable[str]") -> dict[str, str]:
    """Those of the parameters that this cgroup has; may be empty."""
    found = {}
    for name in names:
        try:
            found[name] = read(group, name)
        except (InvalidValueError, UnsupportedError):
            continue
        except CgroupError as e:
            if isinstance(e, CgroupGoneError):
                raise
    return found


def files(group: "Cgroup") -> "list[tuple[Part, str]]":
    """Every file of the cgroup that can be read, with the part that has it; names sorted."""
    found: dict[str, Part] = {}
    for part in group.parts:
        for name in part.directory.files():
            found.setdefault(name, part)
    return [(found[name], name) for name in sorted(found)]


def known(group: "Cgroup") -> set[str]:
    """The names of all parameters that this cgroup has."""
    names = {file for _, file in files(group)}
    return names | {name for name in (*READERS, *ALIASES) if can_translate(group, name)}


def holder(group: "Cgroup", name: str) -> "Part | None":
    """The part of the cgroup that has a file; of a file that every part has, memory's."""
    if "/" in name or name.startswith(".") or not name.isprintable():
        raise InvalidValueError(
            f"not a parameter: {name[:80]!r}", value=name, hint="write it like memory.max"
        )
    first = group.part(name.partition(".")[0]) or group.part("memory") or group.tracker
    for part in (first, *group.parts):
        if part.directory.has(name):
            return part
    return None


def can_translate(group: "Cgroup", name: str) -> bool:
    """Whether a unified name stands for something else here."""
    controller = name.partition(".")[0]
    if controller == "cgroup":
        return True
    part = group.part(controller)
    return part is not None and not part.hierarchy.delegates


def _size(field: str) -> "Callable[[Cgroup], str]":
    def reader(group: "Cgroup") -> str:
        value = getattr(group.memory.limits(), field)
        if value is None:
            raise UnsupportedError(
                f"{group.path}: {field} is not known to the memory controller here, on cgroup v1"
            )
        return "max" if value == UNLIMITED else str(int(value))

    return reader


def _usage(field: str) -> "Callable[[Cgroup], str]":
    def reader(group: "Cgroup") -> str:
        value = getattr(group.memory.usage(), field)
        if value is None:
            raise UnsupportedError(f"{group.path}: the kernel does not report it")
        return str(value)

    return reader


def _file(name: str) -> "Callable[[Cgroup], str]":
    controller = name.partition(".")[0]

    def reader(group: "Cgroup") -> str:
        return need(group, controller).directory.read(name).decode().rstrip("\n")

    return reader


def _cpu(method: str) -> "Callable[[Cgroup], str]":
    def reader(group: "Cgroup") -> str:
        part = need(group, "cpu")
        value: str = getattr(part.hierarchy.cpu(part.directory), method)()
        return value

    return reader


def _frozen(group: "Cgroup") -> str:
    part = group.part("freezer")
    if part is None:
        raise UnsupportedError(
            f"{group.path}: in no hierarchy that can freeze",
            hint="climits create NAME --controllers freezer",
        )
    return str(int(part.hierarchy.freezer(part.directory).is_asked()))


def need(group: "Cgroup", controller: str) -> "Part":
    """The part of a controller, or the error that says why there is none."""
    part = group.part(controller)
    if part is None:
        raise no_such_parameter(group, f"{controller}.", ())
    return part


#: Unified names where there is no file of that name: how they are read then.
READERS: "dict[str, Callable[[Cgroup], str]]" = {
    **{f"memory.{name}": _size(name) for name in ("max", "high", "low", "min")},
    "memory.swap.max": _size("swap_max"),
    **{f"memory.{name}": _usage(name) for name in ("current", "peak")},
    "memory.swap.current": _usage("swap_current"),
    "cpu.max": _cpu("max"),
    "cpu.weight": _cpu("weight"),
    "cpuset.cpus.effective": _file("cpuset.effective_cpus"),
    "cpuset.mems.effective": _file("cpuset.effective_mems"),
    "cgroup.freeze": _frozen,
}
