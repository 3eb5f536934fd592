"""A scope of our own, where systemd has delegated nothing to us.

systemd is asked, once, for a transient scope with ``Delegate=yes`` and moves this process into it;
programs live in leaves below.  An ordinary user's is asked of the user's own manager.

Source: org.freedesktop.systemd1(5).
"""

import errno
import os
import time

from ..errors import CgroupError, CgroupExistsError, CgroupPermissionError
from ..linux.proc import cgroup_paths
from ..units import UNLIMITED, cut, format_size, printable
from .files import Directory
from .systemd import move_into_leaf, ours, unit_path, user_manager, wishes
from .systemd_manager import connect
from .unit_names import escaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .layout import Hierarchy

#: The unit whose cgroup holds what stays without a process of ours (climits create).
LASTING_UNIT = "climits.service"
#: Bytes that the limit of a scope leaves to climits itself, beside its program's.
ROOM = 16 << 20
#: On a scope: the limit of its program, bytes, which its MemoryMax follows.
_MIRRORS = "user.climits.mirrors"
_INFINITY = 2**64 - 1


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
    with connect() as manager:
        manager.start(name, properties)
    unit = unit_path(hierarchy.path_among(cgroup_paths()) or "/") or ""
    if unit.rpartition("/")[2] != name:
        raise CgroupError(
            f"systemd made {name}, but not with the memory controller",
            hint="climits doctor tells where that is; --no-systemd does not ask systemd",
        )
    ours.add(unit)
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
    ours.add(unit)
    return unit


def foreseen_scope() -> str:
    """The cgroup path that the scope of this process is likely to get, to be shown."""
    uid = os.geteuid()
    top = user_manager(uid) if uid else ""
    name = wishes.slice or ("app.slice" if top else "system.slice")
    stem = name.removesuffix(".slice").split("-")
    above = "".join(f"/{'-'.join(stem[: n + 1])}.slice" for n in range(len(stem)))
    return f"{top}{above}/{scope_name()}"


def scope_name() -> str:
    """The name of the scope of this process."""
    return wishes.unit or f"climits-{escaped(wishes.name or str(os.getpid()))}.scope"


def _description() -> str:
    text = cut(printable(wishes.description), 120)
    if wishes.memory_max is None:
        return text
    limit, room = format_size(wishes.memory_max), format_size(ROOM)
    return f"{text} (limit {limit}, and {room} for climits itself)"
