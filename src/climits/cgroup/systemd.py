"""systemd: whether it runs here, which unit we are in, and whether that was delegated to us.

On a host that systemd manages the tree is its own, but for what it delegates.  Where this process
is in no delegated unit, it asks for a scope (scopes.py).

Source: systemd's Control Group Interfaces and CGROUP_DELEGATION.
"""

import errno
import os

from ..errors import CgroupError, CgroupExistsError
from ..linux.proc import cgroup_paths
from ..linux.xattrs import getxattr
from . import files
from .files import Directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .layout import Hierarchy

#: The leaf of a delegated unit into which this process steps: what has children with controllers
#: may have no processes of its own on cgroup v2.
LEAF = "climits-self"
#: The ends of the names of units that have a cgroup, but for slices.
UNITS = (".scope", ".service", ".socket", ".mount", ".swap")

#: Where systemd's own hierarchy is mounted on v1 and hybrid hosts.
_SYSTEMDS = ("unified", "systemd")
#: Paths of the units that are ours.
ours: set[str] = set()


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


_booted: "bool | None" = None  # once looked up: it cannot begin to while we run


def running() -> bool:
    """Whether systemd manages this host, and is to be asked.

    Source: sd_booted(3).
    """
    global _booted
    if _booted is None:
        _booted = os.path.isdir("/run/systemd/system")
    return wishes.use and _booted


# ---- where we are --------------------------------------------------------------------------


def unit_path(path: str) -> "str | None":
    """The part of a cgroup path that is the unit's: /a.slice/b.scope of /a.slice/b.scope/leaf."""
    found = ""
    for component in path.split("/")[1:]:
        found += "/" + component
        # user@1000.service has units of its own below it.
        if component.endswith(UNITS) and not component.startswith("user@"):
            return found
    return None


def is_delegated(hierarchy: "Hierarchy", unit: str) -> bool:
    """Whether systemd has given the tree below a unit away.

    Source: ``user.delegate`` (systemd 251) and, for root, ``trusted.delegate``: CGROUP_DELEGATION.
    """
    # Where memory is on v1 the mark is in the hierarchy in which systemd itself keeps its units.
    path = hierarchy.directory_path(unit)
    own = (path, *(f"/sys/fs/cgroup/{name}{unit}" for name in _SYSTEMDS))
    if any(map(_has_mark, own)):
        return True
    uid, name = os.geteuid(), unit.rpartition("/")[2]
    if name.startswith("session-"):
        return False  # a login
    if uid and not unit.startswith(user_manager(uid)):
        return True  # the system's manager gives to a user only what it delegates
    from .systemd_manager import connect

    # Before systemd 251 only root with all of its capabilities may read the mark.
    with connect() as manager:
        return manager.delegates(name)


def user_manager(uid: int) -> str:
    """The cgroup path of the manager of a user's own units."""
    return f"/user.slice/user-{uid}.slice/user@{uid}.service"


def was_given(directory: str) -> bool:
    """Whether a directory is that of a unit which systemd gave away, to us or somebody."""
    return _has_mark(directory) or any(directory.endswith(unit) for unit in ours)


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
    if (wishes.unit or wishes.slice) and not ours:
        return None
    path = hierarchy.path_among(cgroup_paths())
    unit = unit_path(path) if path and ".." not in path.split("/") else None
    try:
        # One that is another user's, whose program we are, is not for us: root's neither.
        if unit is None or os.stat(hierarchy.directory_path(unit)).st_uid != os.geteuid():
            return None
    except OSError:
        return None
    if unit in ours or is_ours_alone(hierarchy, unit) or is_delegated(hierarchy, unit):
        ours.add(unit)
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
    kept = user_manager(uid) + "/"
    if uid and running() and hierarchy.delegates and path.startswith(kept):
        own = hierarchy.path_among(cgroup_paths()) or "/"
        if not own.startswith(kept):
            from .scopes import enter_scope  # costs what only systemd's hosts need

            enter_scope(hierarchy)


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
            elif name.endswith(UNITS) and os.path.isdir(f"{directory}/{name}/{child}"):
                found.append(path)
    return found


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
