"""Parameters by name: one way to read and write any of them, whatever the version.

A *unified* name is cgroup v2's (``memory.max``, ``cpu.weight``; ``swap.max`` for
``memory.swap.max``).  Where the controller is on v1 it is translated, names and values.  Any other
name is a file of the kernel's and passed on as it is, to the hierarchy that has it.

Limits of memory go through Memory.set: in the order that the kernel wants, refused where they are
below what is in use, and read back.
"""

import errno
import os

from ..errors import (
    CgroupError,
    CgroupGoneError,
    InvalidValueError,
    LimitTooLowError,
    UnsupportedError,
)
from ..records import MemoryLimits
from ..units import UNLIMITED, format_size, parse_size
from .files import Directory
from .layout import KERNEL_PREFIXES, current
from .limits import whole_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .group import Cgroup
    from .placement import Part

#: Short names of what is written most.
ALIASES = {"swap.max": "memory.swap.max", "swap.current": "memory.swap.current"}

#: Limits that Memory.set knows: the field of MemoryLimits.
_SIZES = {
    "memory.max": "max",
    "memory.swap.max": "swap_max",
    "memory.high": "high",
    "memory.low": "low",
    "memory.min": "min",
}
#: How people write "no limit".
_UNLIMITED = ("max", "-1", "unlimited", "infinity")

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
    part = _holder(group, name)
    if part is not None:
        return part.directory.read(name).decode(errors="replace").rstrip("\n")
    reader = _READERS.get(name)
    if reader is None or not _can_translate(group, name):
        raise _unknown(group, name)
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


def _holder(group: "Cgroup", name: str) -> "Part | None":
    """The part of the cgroup that has a file."""
    if "/" in name or name.startswith("."):
        raise InvalidValueError(
            f"not a parameter: {name!r}", value=name, hint="write it like memory.max"
        )
    first = group.part(name.partition(".")[0])
    for part in (first, *group.parts) if first else group.parts:
        if part.directory.has(name):
            return part
    return None


def _can_translate(group: "Cgroup", name: str) -> bool:
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
        return _need(group, controller).directory.read(name).decode().rstrip("\n")

    return reader


def _cpu(method: str) -> "Callable[[Cgroup], str]":
    def reader(group: "Cgroup") -> str:
        part = _need(group, "cpu")
        value: str = getattr(part.hierarchy.cpu(part.directory), method)()
        return value

    return reader


def _frozen(group: "Cgroup") -> str:
    return str(int(group.freezer.is_frozen()))


#: Unified names where there is no file of that name: how they are read then.
_READERS: "dict[str, Callable[[Cgroup], str]]" = {
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


# ---- writing -------------------------------------------------------------------------------


def write(group: "Cgroup", wishes: dict[str, str], *, force: bool = False) -> None:
    """Set parameters.

    All names and values are looked at before the first is written.

    Args:
        group: of which cgroup.
        wishes: text by name; for sizes what parse_size reads, and max, -1 or unlimited.
        force: lower a limit even below what is in use, which on v2 may kill.

    Raises:
        InvalidValueError: an unknown parameter, or a value that means nothing.
        LimitTooLowError: a limit is below what is in use.
        UnsupportedError: this host cannot set one of them.
        CgroupError: the kernel refused; the text has the likely cause.
    """
    sizes: dict[str, str] = {}
    others: list[tuple[str, str]] = []
    for given, text in wishes.items():
        name = ALIASES.get(given, given)
        if name in sizes or any(name == known for known, _ in others):
            raise InvalidValueError(f"{given} is given twice", value=text)
        if name in _SIZES:
            if group.part("memory") is None:
                raise _unknown(group, name)
            sizes[name] = "max" if text in _UNLIMITED else text
        else:
            others.append((name, text))
    prepared = [write for name, text in others for write in _prepare(group, name, text)]
    if sizes:
        _set_sizes(group, sizes, force)
    for part, file, text in prepared:
        _write_file(group, part, file, text)


def _set_sizes(group: "Cgroup", sizes: dict[str, str], force: bool) -> None:
    if group.path == "/":
        raise UnsupportedError(
            "the root cgroup has no limits", hint="make a cgroup: climits create NAME"
        )
    whole = None
    if any(text.endswith("%") for text in sizes.values()):
        whole = whole_of(group.path.rpartition("/")[0] or "/")
    wish = {_SIZES[n]: parse_size(text, what=n, whole=whole) for n, text in sizes.items()}
    group.memory.set(MemoryLimits().replace(**wish), force=force)
    group.go_on()


def _prepare(group: "Cgroup", name: str, text: str) -> "list[tuple[Part, str, str]]":
    """The writes of one parameter that is no size."""
    if not text.isprintable():
        raise InvalidValueError(
            f"{name}: {text!r}: control characters may not stand in a value", value=text
        )
    if text.isdigit() and int(text[:40]) >= 1 << 63:
        # The kernel's own parser would take 18446744073709551616 for 0.
        raise InvalidValueError(
            f"{name}: {text}: more than the kernel can hold", value=text, hint="write max"
        )
    part = _holder(group, name)
    if name == "pids.max" and text in _UNLIMITED:
        text = "max"
    if part is not None:
        return [(part, name, text)]
    if name in ("cpu.max", "cpu.weight") and _can_translate(group, name):
        part = _need(group, "cpu")
        cpu = part.hierarchy.cpu(part.directory)
        writes = cpu.max_writes(text) if name == "cpu.max" else cpu.weight_writes(text)
        return [(part, *write) for write in writes]
    if name == "cgroup.freeze":
        freezer = group.part("freezer")
        if freezer and text in ("0", "1"):
            return [(freezer, "freezer.state", "FROZEN" if text == "1" else "THAWED")]
    if name in _READERS and _can_translate(group, name):
        raise UnsupportedError(f"{name} can only be read", hint=f"climits get {group.path} {name}")
    raise _unknown(group, name)


def _write_file(group: "Cgroup", part: "Part", file: str, text: str) -> None:
    try:
        part.directory.write(file, text)
    except CgroupError as e:
        if e.errno == errno.EBUSY and file == "memory.limit_in_bytes":
            raise _too_low(group, text, e) from None
        if e.hint is None:
            e.hint = likely_cause(part, file, e.errno or 0)
        raise


def _too_low(group: "Cgroup", text: str, e: CgroupError) -> LimitTooLowError:
    current = format_size(group.memory.current())
    return LimitTooLowError(
        f"{e.path}: cannot lower the limit to {text}: {current} is in use and cannot be reclaimed",
        path=e.path,
        value=text,
        errno=e.errno,
        hint="free memory in the program first, or choose a higher limit",
    )


# ---- why not -------------------------------------------------------------------------------

#: (file, errno): the likely cause, as a hint.
_CAUSES = {
    ("memory.limit_in_bytes", errno.EINVAL): "a size such as 64M, not above "
    "memory.memsw.limit_in_bytes; memory.max sets both in the right order",
    ("memory.memsw.limit_in_bytes", errno.EINVAL): "a size such as 64M, not below "
    "memory.limit_in_bytes; swap.max sets both in the right order",
    ("memory.oom_control", errno.EINVAL): "write 0 or 1, and not to the root cgroup",
    ("memory.swappiness", errno.EINVAL): "write 0 to 200",
    ("memory.move_charge_at_immigrate", errno.EINVAL): "this kernel no longer moves charges",
    ("memory.use_hierarchy", errno.EINVAL): "this kernel always counts hierarchically",
    ("memory.reclaim", errno.EAGAIN): "less than that could be reclaimed",
    ("memory.oom.group", errno.EINVAL): "write 0 or 1",
    ("freezer.state", errno.EINVAL): "write FROZEN or THAWED",
    ("cgroup.freeze", errno.ERANGE): "write 0 or 1",
    ("cgroup.freeze", errno.EINVAL): "write 0 or 1",
    ("pids.max", errno.EINVAL): "write a number of processes and threads, or max",
    ("cpu.max", errno.EINVAL): "write QUOTA PERIOD in microseconds, 1000 at least and PERIOD 1s "
    "at most, or max",
    ("cpu.weight", errno.ERANGE): "write 1 to 10000; 100 is the default",
    ("cpu.cfs_quota_us", errno.EINVAL): "1000 at least, and no more of the period than the "
    "cgroups above have",
    ("cpu.cfs_period_us", errno.EINVAL): "write 1000 to 1000000",
    ("cpuset.cpus", errno.EBUSY): "a child, or an exclusive sibling, uses some of them",
    ("cpuset.cpus", errno.ENOSPC): "processes live in it, and they need a CPU",
    ("cpuset.mems", errno.ENOSPC): "processes live in it, and they need a memory node",
    ("cgroup.procs", errno.ENOSPC): "set cpuset.cpus and cpuset.mems first",
    ("cgroup.procs", errno.EBUSY): "on cgroup v2 processes live in leaves: it hands controllers "
    "down to its children",
    ("cgroup.procs", errno.EOPNOTSUPP): "it is threaded: write to cgroup.threads",
    ("cgroup.procs", errno.ESRCH): "there is no such process",
    ("tasks", errno.ENOSPC): "set cpuset.cpus and cpuset.mems first",
    ("tasks", errno.ESRCH): "there is no such thread",
    ("cgroup.threads", errno.EOPNOTSUPP): "make it threaded first: cgroup.type=threaded",
    ("cgroup.subtree_control", errno.EBUSY): "processes live in it",
    ("cgroup.subtree_control", errno.ENOENT): "hand the controller down in the cgroups above first",
    ("cgroup.subtree_control", errno.EINVAL): "write +NAME or -NAME of controllers",
}


def likely_cause(part: "Part", file: str, number: int) -> "str | None":
    """Why the kernel may have refused a write to a file, as a hint; None where nothing is known."""
    hint = _CAUSES.get((file, number))
    if hint is None and file in ("cpuset.cpus", "cpuset.mems") and number in (
        errno.EINVAL, errno.EACCES, errno.ERANGE,
    ):  # fmt: skip
        above = os.path.dirname(part.directory.path)
        try:
            data = Directory(above).read_optional(file)
        except CgroupError:
            data = None
        have = (data or b"").decode().strip()
        return "write a list such as 0-1,3" + (f", out of what is above it: {have}" if have else "")
    return hint


def _need(group: "Cgroup", controller: str) -> "Part":
    part = group.part(controller)
    if part is None:
        raise _unknown(group, f"{controller}.")
    return part


def _unknown(group: "Cgroup", name: str) -> "InvalidValueError | UnsupportedError":
    """Why there is no such parameter here."""
    controller = name.partition(".")[0]
    layout = current()
    part = group.part(controller)
    if controller in KERNEL_PREFIXES - {"cgroup", "io"} and part is None:
        hierarchy = layout.holding(controller)  # or it says why there is none
        return UnsupportedError(
            f"{name}: {group.path} is not in the hierarchy of {controller}",
            hint=f"make it anew: climits create NAME --controllers {controller}; or use one below "
            f"{hierarchy.mount_point}",
        )
    if part is not None and part.hierarchy.delegates and not _is_handed_down(part, controller):
        upper = os.path.dirname(part.directory.path)
        return UnsupportedError(
            f"{name}: the {controller} controller is not handed down to {group.path}",
            hint=f"echo +{controller} > {upper}/cgroup.subtree_control",
        )
    import difflib

    known = {file for _, file in files(group)}
    known |= {n for n in (*_READERS, *_SIZES, *ALIASES) if _can_translate(group, n)}
    here = f" in {group.path}"
    counterpart = _COUNTERPARTS.get(name)
    close = [counterpart] if counterpart in known else difflib.get_close_matches(name, known, 1)
    return InvalidValueError(
        f"no such parameter{here}: {name}",
        value=name,
        hint=f"did you mean {close[0]}?" if close else f"climits get {group.path} --all lists them",
    )


def _is_handed_down(part: "Part", controller: str) -> bool:
    data = part.directory.read_optional("cgroup.controllers")
    return data is None or controller in data.decode().split()


#: What people know from v1, where there is only v2.
_COUNTERPARTS = {
    "memory.limit_in_bytes": "memory.max",
    "memory.soft_limit_in_bytes": "memory.low",
    "memory.memsw.limit_in_bytes": "swap.max",
    "memory.usage_in_bytes": "memory.current",
    "memory.max_usage_in_bytes": "memory.peak",
    "memory.oom_control": "memory.events",
    "memory.failcnt": "memory.events",
    "memory.force_empty": "memory.reclaim",
    "cpu.shares": "cpu.weight",
    "cpu.cfs_quota_us": "cpu.max",
    "cpu.cfs_period_us": "cpu.max",
    "cpuset.effective_cpus": "cpuset.cpus.effective",
    "cpuset.effective_mems": "cpuset.mems.effective",
    "freezer.state": "cgroup.freeze",
    "tasks": "cgroup.threads",
}
