"""systemd: what it has delegated to us, and a scope of our own where it has not.

On a host that systemd manages the tree is its own, but for what it delegates.  Where this process
is in no delegated unit, systemd is asked, once, for a transient scope with ``Delegate=yes`` and
moves this process into it; programs live in leaves below.  An ordinary user's is asked of the
user's own manager.

Source: systemd's Control Group Interfaces and CGROUP_DELEGATION; org.freedesktop.systemd1(5).
"""

import errno
import os
import time

from ..errors import CgroupError, CgroupExistsError, CgroupPermissionError, InvalidValueError
from ..linux.proc import cgroup_paths
from ..linux.xattrs import getxattr
from ..units import UNLIMITED, cut, format_size, printable, quoted
from . import files
from .files import Directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .layout import Hierarchy

#: The leaf of a delegated unit into which this process steps: what has children with controllers
#: may have no processes of its own on cgroup v2.
LEAF = "climits-self"
#: The unit whose cgroup holds what stays without a process of ours (climits create).
LASTING_UNIT = "climits.service"
#: Bytes that the limit of a scope leaves to climits itself, beside its program's.
ROOM = 16 << 20

#: Where systemd's own hierarchy is mounted on v1 and hybrid hosts.
_SYSTEMDS = ("unified", "systemd")
_UNITS = (".scope", ".service", ".socket", ".mount", ".swap")
_MAX_UNIT = 255
#: On a scope: the limit of its program, bytes, which its MemoryMax follows.
_MIRRORS = "user.climits.mirrors"
_INFINITY = 2**64 - 1


class Wishes:
    """What the scope of this process is to be like.

    Attributes:
        use: whether systemd is asked at all.
        unit: its name, as a person gave it; then one is made, wherever we are.
        name: what it is named after where no unit was given.
        slice: that it is to be in, as a person gave it; likewise.
        description: as systemctl shows it.
        memory_max: limit of the one program that runs in it, bytes; None: there may be more.
        leave_service: leave a service that we are part of.
    """

    __slots__ = (
        "description", "leave_service", "memory_max", "name", "slice", "unit", "use",
    )  # fmt: skip

    def __init__(self) -> None:
        self.use = True
        self.leave_service = False
        self.unit: str | None = None
        self.name = ""
        self.slice: str | None = None
        self.description = "climits"
        self.memory_max: int | None = None


#: Set by the commands, before the first cgroup is made.
wishes = Wishes()


def running() -> bool:
    """Whether systemd manages this host, and is to be asked.

    Source: sd_booted(3).
    """
    return wishes.use and os.path.isdir("/run/systemd/system")


# ---- where we are --------------------------------------------------------------------------


def unit_path(path: str) -> "str | None":
    """The part of a cgroup path that is the unit's: /a.slice/b.scope of /a.slice/b.scope/leaf."""
    found = ""
    for component in path.split("/")[1:]:
        found += "/" + component
        # user@1000.service has units of its own below it.
        if component.endswith(_UNITS) and not component.startswith("user@"):
            return found
    return None


def is_delegated(hierarchy: "Hierarchy", unit: str) -> bool:
    """Whether systemd has given the tree below a unit away.

    Source: ``user.delegate`` (systemd 251) and, for root, ``trusted.delegate``: CGROUP_DELEGATION.
    """
    if unit in _ours:
        return True
    # Where memory is on v1 the mark is in the hierarchy in which systemd itself keeps its units.
    path = hierarchy.directory_path(unit)
    own = (path, *(f"/sys/fs/cgroup/{name}{unit}" for name in _SYSTEMDS))
    if any(map(_has_mark, own)):
        return True
    uid, name = os.geteuid(), unit.rpartition("/")[2]
    if name.startswith("session-"):
        return False  # a login
    if uid and not unit.startswith(_user_manager(uid)):
        return True  # the system's manager gives to a user only what it delegates
    from .systemd_manager import connect

    # Before systemd 251 only root with all of its capabilities may read the mark.
    with connect() as manager:
        return manager.delegates(name)


def _user_manager(uid: int) -> str:
    return f"/user.slice/user-{uid}.slice/user@{uid}.service"


def was_given(directory: str) -> bool:
    """Whether a directory is that of a unit which systemd gave away, to us or somebody."""
    return _has_mark(directory) or any(directory.endswith(unit) for unit in _ours)


def _has_mark(directory: str) -> bool:
    for attribute in ("user.delegate", "trusted.delegate"):
        try:
            return getxattr(directory, attribute) == b"1"
        except OSError:
            continue
    return False


def is_ours_alone(hierarchy: "Hierarchy", unit: str) -> bool:
    """Whether a scope is an ordinary user's and has this process only, as ``systemd-run`` makes it.

    Not delegated, but systemd keeps its hands off a scope; and what we hand down in it cannot be
    taken back while a cgroup below has it.
    """
    path = hierarchy.directory_path(unit)
    if os.geteuid() == 0 or not unit.endswith(".scope") or not os.access(path, os.W_OK):
        return False
    directory = Directory(path)
    alone = directory.pids() == [os.getpid()]
    directory.close()
    return alone


def delegated_unit(hierarchy: "Hierarchy") -> "str | None":
    """The unit that we are in and may use; None: there is none, or another is wished."""
    if (wishes.unit or wishes.slice) and not _ours:
        return None
    path = hierarchy.path_among(cgroup_paths())
    unit = unit_path(path) if path and ".." not in path.split("/") else None
    try:
        # One that is another user's, whose program we are, is not for us: root's neither.
        if unit is None or os.stat(hierarchy.directory_path(unit)).st_uid != os.geteuid():
            return None
    except OSError:
        return None
    if is_ours_alone(hierarchy, unit) or is_delegated(hierarchy, unit):
        _ours.add(unit)
        return unit
    return None


def come_near(hierarchy: "Hierarchy", path: str) -> None:
    """Move out of a login session before a cgroup of the user's own is joined.

    To move or be born from one cgroup into another the kernel asks for the right to write in what
    is above both.  Above an ordinary user's session that is root's; above all that the user's
    manager keeps it is the user's.

    Raises:
        CgroupError: as enter_scope.
    """
    uid = os.geteuid()
    kept = _user_manager(uid) + "/"
    if uid and running() and hierarchy.delegates and path.startswith(kept):
        own = hierarchy.path_among(cgroup_paths()) or "/"
        if not own.startswith(kept):
            enter_scope(hierarchy)


# ---- a scope -------------------------------------------------------------------------------

#: Paths of the units that are ours.
_ours: set[str] = set()


def enter_scope(hierarchy: "Hierarchy") -> str:
    """Have a scope made and this process moved into it.

    Args:
        hierarchy: the memory controller's.

    Returns:
        The scope's cgroup path.

    Raises:
        CgroupExistsError: another unit has the name.
        CgroupPermissionError: there is no systemd to ask, or it refuses.
        CgroupError: it did not come to be.
    """
    path = hierarchy.path_among(cgroup_paths()) or "/"
    unit = unit_path(path) or ""
    if unit.endswith(".service") and not (wishes.leave_service or wishes.unit):
        raise CgroupPermissionError(
            f"systemd has not delegated {unit} to us, and a part of a service is not moved out of "
            "it unasked",
            path=unit,
            errno=errno.EACCES,
            hint="put Delegate=yes into the unit's [Service] section",
        )
    name = scope_name()
    properties: list[tuple[str, tuple[str, object]]] = [
        ("PIDs", ("au", [os.getpid()])),
        ("Description", ("s", _description())),
        ("Delegate", ("b", True)),
        ("MemoryAccounting", ("b", True)),
        # A scope that failed would keep its name until somebody looks after it.
        ("CollectMode", ("s", "inactive-or-failed")),
    ]
    if wishes.slice is not None:
        properties.append(("Slice", ("s", wishes.slice)))
    if wishes.memory_max is not None:
        properties.append(("MemoryMax", ("t", wishes.memory_max + ROOM)))
    from .systemd_manager import connect

    with connect() as manager:
        manager.start(name, properties)
    unit = unit_path(hierarchy.path_among(cgroup_paths()) or "/") or ""
    if unit.rpartition("/")[2] != name:
        raise CgroupError(
            f"systemd made {name}, but not with the memory controller",
            hint="climits doctor tells where that is; --no-systemd does not ask systemd",
        )
    _ours.add(unit)
    if wishes.memory_max is not None:
        directory = Directory(hierarchy.directory_path(unit))
        directory.set_mark(_MIRRORS, b"%d" % wishes.memory_max)
        directory.close()
    return unit


def follow(hierarchy: "Hierarchy", path: str, limit: "int | float", *, only_up: bool) -> None:
    """Have the limit of our scope follow that of the program in it, for which it was made.

    Args:
        hierarchy: the memory controller's.
        path: the program's cgroup, whose limit is about to change or has changed.
        limit: bytes or UNLIMITED.
        only_up: raise it, and do not lower it yet.

    Raises:
        CgroupError: systemd refuses: the new limit would mean nothing.
    """
    unit = unit_path(path)
    if unit is None or not unit.endswith(".scope"):
        return
    directory = Directory(hierarchy.directory_path(unit))
    mark = directory.get_mark(_MIRRORS)
    if mark is None or (before := float(mark)) == limit or (only_up and limit < before):
        directory.close()
        return
    from .systemd_manager import connect

    wished = _INFINITY if limit == UNLIMITED else int(limit) + ROOM
    try:
        with connect() as manager:
            manager.set(unit.rpartition("/")[2], [("MemoryMax", ("t", wished))])
    except CgroupError as e:
        raise CgroupError(
            f"the scope above {path} is limited too, and that cannot be changed: {e}",
            path=path,
            hint="do it as the user whose it is",
        ) from None
    directory.set_mark(_MIRRORS, b"inf" if limit == UNLIMITED else b"%d" % limit)
    directory.close()


def enter_lasting(hierarchy: "Hierarchy") -> str:
    """Have the unit that holds what stays, started where it does not run.

    Returns:
        Its cgroup path.

    Raises:
        CgroupPermissionError, CgroupError: as enter_scope.
    """
    from .systemd_manager import connect

    with connect() as manager:
        try:
            manager.start(
                LASTING_UNIT,
                [
                    ("Description", ("s", "cgroups that climits create made")),
                    # A unit without a process would be removed, with all that is in it.
                    ("ExecStart", ("a(sasb)", [("/bin/sleep", ["sleep", "infinity"], False)])),
                    ("Delegate", ("b", True)),
                    ("MemoryAccounting", ("b", True)),
                    ("CollectMode", ("s", "inactive-or-failed")),
                ],
            )
        except CgroupExistsError:
            pass
        for _ in range(50):  # another climits may have asked for it just now
            if unit := manager.cgroup_of(LASTING_UNIT):
                break
            time.sleep(0.1)
        else:
            raise CgroupError(
                f"systemd does not start {LASTING_UNIT}", hint=f"systemctl status {LASTING_UNIT}"
            )
    directory = Directory(hierarchy.directory_path(unit))
    move_into_leaf(directory)
    directory.close()
    _ours.add(unit)
    return unit


def move_into_leaf(directory: Directory) -> None:
    """Move the processes of a delegated cgroup into a leaf of it, so that it can have children.

    Raises:
        CgroupError: the kernel refused.
    """
    try:
        files.make(f"{directory.path}/{LEAF}")
    except CgroupExistsError:
        pass  # of another climits that was here before
    leaf = directory.child(LEAF)
    for _ in range(9):  # one may start another meanwhile
        pids = [pid for pid in directory.pids() if pid]  # 0: of another pid namespace
        if not pids:
            break
        for pid in pids:
            try:
                leaf.write("cgroup.procs", str(pid))
            except CgroupError as e:
                if e.errno != errno.ESRCH:  # it has ended
                    raise
    leaf.close()


def foreseen_scope() -> str:
    """The cgroup path that the scope of this process is likely to get, to be shown."""
    uid = os.geteuid()
    top = _user_manager(uid) if uid else ""
    name = wishes.slice or ("app.slice" if top else "system.slice")
    stem = name.removesuffix(".slice").split("-")
    above = "".join(f"/{'-'.join(stem[: n + 1])}.slice" for n in range(len(stem)))
    return f"{top}{above}/{scope_name()}"


def _description() -> str:
    text = cut(printable(wishes.description), 120)
    if wishes.memory_max is None:
        return text
    limit, room = format_size(wishes.memory_max), format_size(ROOM)
    return f"{text} (limit {limit}, and {room} for climits itself)"


def scope_name() -> str:
    """The name of the scope of this process."""
    return wishes.unit or f"climits-{escaped(wishes.name or str(os.getpid()))}.scope"


def units_with(hierarchy: "Hierarchy", child: str) -> "list[str]":
    """The cgroup paths of the units that have a child of that name, in all slices."""
    found = []
    slices = [""]
    while slices:
        above = slices.pop()
        directory = hierarchy.directory_path(above or "/")
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue
        for name in names:
            path = f"{above}/{name}"
            if name.endswith(".slice") or name.startswith("user@"):
                slices.append(path)
            elif name.endswith(_UNITS) and os.path.isdir(f"{directory}/{name}/{child}"):
                found.append(path)
    return found


def escaped(name: str) -> str:
    r"""A name as a part of a unit's name: other bytes than its letters are written ``\xNN``.

    Source: systemd.unit(5), string escaping.
    """
    kept = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.-"
    text = "".join(chr(b) if b in kept else f"\\x{b:02x}" for b in os.fsencode(name))
    return text[: _MAX_UNIT - len("climits-.scope")]


def check_unit(name: str) -> str:
    """Accept the name of a scope; ``.scope`` may be left out.

    Raises:
        InvalidValueError: systemd would not take it.
    """
    if not name.endswith(".scope"):
        name += ".scope"
    return _check(name, "unit", ".scope", "a name of letters, digits and :-_. such as web.scope")


def check_slice(name: str) -> str:
    """Accept the name of a slice; ``.slice`` may be left out.

    Raises:
        InvalidValueError: systemd would not take it.
    """
    if not name.endswith(".slice"):
        name += ".slice"
    return _check(name, "slice", ".slice", "a name such as jobs.slice; jobs-a.slice is below it")


def _check(name: str, what: str, suffix: str, hint: str) -> str:
    stem = name.removesuffix(suffix)
    if stem.endswith((*_UNITS, ".slice")):
        raise InvalidValueError(
            f"{what}: {quoted(stem)}: of another kind", value=name, hint=f"it is a {suffix[1:]}"
        )
    if not stem or escaped(stem) != stem or stem.startswith(".") or len(name) > _MAX_UNIT:
        raise InvalidValueError(f"{what}: {quoted(name)}: not a name", value=name, hint=hint)
    return name
