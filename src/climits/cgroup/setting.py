"""Writing parameters by name, all or none.

Limits of memory go through Memory.set: in the order that the kernel wants, refused where they are
below what is in use, and read back.  What was written before another one was refused is put back.
"""

import errno

from ..errors import CgroupError, InvalidValueError, LimitTooLowError, UnsupportedError
from ..linux.proc import kernel_version
from ..records import MemoryLimits
from ..units import format_size, parse_size
from .causes import COUNTERPARTS, likely_cause, no_such_parameter
from .cpu import parse_bandwidth, parse_weight
from .limits import whole_of
from .params import ALIASES, READERS, can_translate, holder, known, need

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .group import Cgroup
    from .placement import Part

    #: (part, file, text)
    Write = tuple[Part, str, str]

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
#: Files that every hierarchy has, and that move what they are given.
_MOVING = ("cgroup.procs", "cgroup.threads", "tasks")
_KERNEL_UNITS = "kmgtpe"  # of the kernel's own parser, by powers of 1024


def write(group: "Cgroup", wishes: "dict[str, str | int]", *, force: bool = False) -> None:
    """Set parameters: all of them, or none.

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
    prepared: list[list[Write]] = []
    seen: dict[str, str] = {}
    for given, value in wishes.items():
        name, text = ALIASES.get(given, given), str(value)
        same = ALIASES.get(other := COUNTERPARTS.get(name, name), other)
        if same in seen and same in (*_SIZES, "cpu.weight"):
            raise InvalidValueError(f"{given} and {seen[same]} are the same", value=text)
        seen[same] = given
        _check_text(name, text)
        if name in _SIZES:
            if group.part("memory") is None:
                raise no_such_parameter(group, name, known(group))
            sizes[name] = "max" if text in _UNLIMITED else text
        else:
            prepared.append(_prepare(group, name, text, force))
    limits = _limits(group, sizes) if sizes else None
    before = group.memory.limits() if limits and prepared else None
    undo: list[Write] = []
    try:
        if limits:
            hierarchy = need(group, "memory").hierarchy
            scoped = limits.max if ".scope/" in group.path else None
            if scoped is not None:
                from .scopes import follow  # D-Bus, which others need not load

                follow(hierarchy, group.path, scoped, only_up=True)
            group.memory.set(limits, force=force)
            if scoped is not None:
                follow(hierarchy, group.path, scoped, only_up=False)
        for writes in prepared:
            for part, file, text in writes:
                undo.append((part, file, _old(part, file)))
                _write_file(group, part, file, text)
    except BaseException:
        _take_back(group, undo, before)
        raise
    if limits:
        group.go_on()


def _check_text(name: str, text: str) -> None:
    if not text.isprintable():
        raise InvalidValueError(
            f"{name}: {text[:80]!r}: control characters may not stand in a value", value=text
        )
    if not text and name not in ("cpuset.cpus", "cpuset.mems"):
        raise InvalidValueError(f"{name}: empty", value=text, hint="write a value behind the =")
    digits = text.rstrip(_KERNEL_UNITS + _KERNEL_UNITS.upper())
    if digits.isascii() and digits.isdigit() and len(text) - len(digits) <= 1:
        # The kernel's own parser takes 18446744073709551616, or 16E, for 0.
        power = _KERNEL_UNITS.index(text[-1].lower()) + 1 if text != digits else 0
        if len(digits) > 40 or int(digits) * 1024**power >= 1 << 63:
            raise InvalidValueError(
                f"{name}: {text[:80]}: more than the kernel can hold", value=text, hint="write max"
            )


def _limits(group: "Cgroup", sizes: dict[str, str]) -> MemoryLimits:
    """The wish for memory's limits.

    Raises:
        UnsupportedError: it is the root cgroup, which has none.
    """
    part = need(group, "memory")
    if group.path == "/" and part.hierarchy.delegates and not part.directory.has("memory.max"):
        raise UnsupportedError(
            "the root cgroup has no limits", hint="make a cgroup: climits create NAME"
        )
    whole = None
    if any(text.endswith("%") for text in sizes.values()):
        whole = whole_of(group.path.rpartition("/")[0] or "/")
    wish = {_SIZES[n]: parse_size(text, what=n, whole=whole) for n, text in sizes.items()}
    wished: MemoryLimits = MemoryLimits().replace(**wish)
    return wished


def _prepare(group: "Cgroup", name: str, text: str, force: bool) -> "list[Write]":
    """The writes of one parameter that is no limit of memory."""
    if name in _MOVING:
        raise InvalidValueError(
            f"{name} is not set, but moves what it is given",
            value=text,
            hint=f"climits classify {group.path} {text}",
        )
    if name == "memory.kmem.limit_in_bytes" and not force and kernel_version() >= (5, 16):
        raise UnsupportedError(
            f"{name} has no effect since Linux 5.16",
            hint="kernel memory counts against memory.max; --force writes it even so",
        )
    part = holder(group, name)
    if name == "notify_on_release":
        every = [p for p in group.parts if p.directory.has(name)]
        if every:
            return [(p, name, text) for p in every]
    if name == "pids.max":
        text = "max" if text in _UNLIMITED else text
        if text != "max" and not (text.isascii() and text.isdigit()):
            raise InvalidValueError(f"{name}: {text}: not a number", value=text, hint="or max")
    if name in ("cpu.max", "cpu.weight"):
        checked = parse_bandwidth(text) if name == "cpu.max" else parse_weight(text)
        if part is not None:
            return [(part, name, checked)]
        if can_translate(group, name):
            part = need(group, "cpu")
            cpu = part.hierarchy.cpu(part.directory)
            found = cpu.max_writes(checked) if name == "cpu.max" else cpu.weight_writes(checked)
            return [(part, *one) for one in found]
    if name == "cgroup.freeze":
        return [_freeze(group, part, text)]
    if part is not None:
        return [(part, name, text or "\n")]
    if name in READERS and can_translate(group, name):
        raise UnsupportedError(f"{name} can only be read", hint=f"climits get {group.path} {name}")
    raise no_such_parameter(group, name, known(group))


def _freeze(group: "Cgroup", part: "Part | None", text: str) -> "Write":
    if text not in ("0", "1"):
        raise InvalidValueError(f"cgroup.freeze: {text}: unknown", value=text, hint="write 0 or 1")
    if part is not None:
        return part, "cgroup.freeze", text
    freezer = group.part("freezer")
    if freezer is None or not freezer.directory.has("freezer.state"):
        raise UnsupportedError(
            f"{group.path}: in no hierarchy that can freeze",
            hint="climits create NAME --controllers freezer",
        )
    return freezer, "freezer.state", "FROZEN" if text == "1" else "THAWED"


def _old(part: "Part", file: str) -> str:
    """What a file of one line holds, to be written back; "" where that means nothing."""
    try:
        text = part.directory.read(file).decode().rstrip("\n")
    except (CgroupError, UnicodeDecodeError):
        return ""
    return "" if "\n" in text else text


def _take_back(group: "Cgroup", undo: "list[Write]", before: "MemoryLimits | None") -> None:
    """Put the old values back, as far as the kernel takes them."""
    for part, file, text in reversed(undo):
        try:
            if text and _old(part, file) != text:
                part.directory.write(file, text)
        except CgroupError:
            continue
    if before is not None:
        try:
            group.memory.set(MemoryLimits(max=before.max, swap_max=before.swap_max), force=True)
            for field in ("high", "low", "min"):
                if (value := getattr(before, field)) is not None:
                    group.memory.set(MemoryLimits().replace(**{field: value}))
        except (CgroupError, UnsupportedError):
            pass


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
