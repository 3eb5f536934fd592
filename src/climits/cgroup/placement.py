"""Making and removing cgroups, with the parents that they need.

As root a cgroup is made as /climits/NAME in each hierarchy it needs.  An ordinary user works below
a cgroup that was given to them: /climits, or the one they are in (homes.py).
"""

import _thread
import atexit
import errno
import os
import time

from ..errors import CgroupError, CgroupExistsError, CgroupGoneError, CgroupPermissionError
from . import files
from .files import Directory
from .layout import Hierarchy, Layout, current
from .ownership import MARK, announcement, owner_mark, pid_in
from .systemd import move_into_leaf, was_given

#: The parent of what climits makes, below each mount point.
HOME = "/climits"


# ---- making --------------------------------------------------------------------------------


class Part:
    """One hierarchy's share of a cgroup.

    Attributes:
        hierarchy: which one.
        directory: the open directory.
        made: we made it, and may remove it.
    """

    __slots__ = ("directory", "hierarchy", "made")

    def __init__(self, hierarchy: Hierarchy, directory: Directory, *, made: bool) -> None:
        self.hierarchy, self.directory, self.made = hierarchy, directory, made

    def __str__(self) -> str:
        # memory:/climits/web, to be shown
        path = self.hierarchy.cgroup_path(self.directory.path) or self.directory.path
        return f"{self.hierarchy.label}:{path}"


def make(
    hierarchies: "list[tuple[Hierarchy, tuple[str, ...]]]", parent: str, name: str
) -> list[Part]:
    """Make the cgroup parent/name in each hierarchy, marked as ours.

    Args:
        hierarchies: each with the controllers that are wanted of it.
        parent: such as /climits; made too where it is missing.
        name: one component.

    Raises:
        CgroupExistsError: it is there in one of them; nothing was made then.
        CgroupError: see its text; nothing is left behind.
    """
    parts: list[Part] = []
    mark = owner_mark()
    if not _used_parents:
        atexit.register(_at_exit)
    _used_parents[parent] = None
    try:
        for hierarchy, controllers in hierarchies:
            path = hierarchy.directory_path(f"{parent}/{name}")
            announced = _announce(hierarchy, parent, name) if pid_in(name) != os.getpid() else None
            try:
                _make_below(hierarchy, path, parent)
                try:
                    _prepare_parent(hierarchy, parent, controllers)
                    part = Part(hierarchy, Directory(path), made=True)
                    parts.append(part)
                    part.directory.set_mark(MARK, mark)
                except BaseException:
                    files.remove(path)
                    raise
            finally:
                if announced:
                    announced.remove_mark(announcement())
                    announced.close()
            if "cpuset" in controllers:
                upper = Directory(os.path.dirname(path))
                hierarchy.cpuset(part.directory).inherit(upper)
                upper.close()
    except BaseException:
        for part in reversed(parts):
            files.remove(part.directory.path)
        release_parents()
        raise
    return parts


def _announce(hierarchy: Hierarchy, parent: str, name: str) -> Directory:
    """Say on the parent what we are about to make in it."""
    path = hierarchy.directory_path(parent or "/")
    if not os.path.isdir(path):
        _make_parents(hierarchy, parent)
    upper = Directory(path)
    upper.set_mark(announcement(), owner_mark() + b" " + os.fsencode(name))
    return upper


def _make_below(hierarchy: Hierarchy, path: str, parent: str) -> None:
    # Another climits may remove an empty parent between our two steps: then once more.
    for _ in range(9):
        try:
            files.make(path)
            return
        except CgroupGoneError:
            _make_parents(hierarchy, parent)
    files.make(path)


# ---- parents -------------------------------------------------------------------------------

# Parents that this process made, deepest last.  They stay while it lives, since making one costs
# as much as making a cgroup, and are removed, where empty, at its end.
_made_parents: "dict[str, None]" = {}
# Parents that this process used: what of ours is left in them at exit is removed.
_used_parents: "dict[str, None]" = {}
# Parents that have handed down the controllers named, and their inode numbers: another climits may
# have removed the one we prepared and made it anew.
_prepared: "dict[tuple[Hierarchy, str, tuple[str, ...]], int]" = {}
_lock = _thread.allocate_lock()


def _make_parents(hierarchy: Hierarchy, parent: str) -> None:
    path = ""
    for component in parent.split("/")[1:]:
        path += "/" + component
        directory = hierarchy.directory_path(path)
        if not os.path.isdir(directory):
            try:
                files.make(directory)
            except CgroupExistsError:
                continue  # by another climits, meanwhile
            with _lock:
                _made_parents[directory] = None


def release_parents() -> None:
    """Remove the parents that this process made, where nothing lives in them."""
    with _lock:
        for path in reversed(list(_made_parents)):
            try:
                if files.remove(path):
                    del _made_parents[path]
            except CgroupError:
                pass


def _at_exit() -> None:
    # What a Ctrl+C between two steps has left, or a program that never said remove.
    from .leftovers import sweep

    sweep(current(), *_used_parents, own=True)
    release_parents()


def _hand_down(directory: Directory, controllers: list[str]) -> None:
    text = " ".join(f"+{c}" for c in controllers)
    try:
        directory.write("cgroup.subtree_control", text)
    except CgroupError as e:
        if e.errno != errno.EBUSY or not _may_empty(directory):
            raise
        move_into_leaf(directory)
        directory.write("cgroup.subtree_control", text)


def _may_empty(directory: Directory) -> bool:
    """Whether the processes of a cgroup may be moved into a leaf of it.

    Where we are alone in what was delegated to us, or systemd says that all of it was.
    """
    return directory.pids() == [os.getpid()] or was_given(directory.path)


def remove_home_if_empty(layout: Layout, parent: str) -> None:
    """Remove an empty parent that somebody's interrupted start left; only our own one."""
    if parent == HOME:
        for hierarchy in layout.hierarchies:
            try:
                files.remove(hierarchy.directory_path(parent))
            except CgroupError:
                pass


def _prepare_parent(hierarchy: Hierarchy, parent: str, controllers: tuple[str, ...]) -> None:
    """Hand the controllers down from the root to the parent, which has a child and so stays."""
    if not controllers or not (hierarchy.delegates or "cpuset" in controllers):
        return
    inode = os.stat(hierarchy.directory_path(parent or "/")).st_ino
    if _prepared.get((hierarchy, parent, controllers)) == inode:
        return
    path = ""
    upper: Directory | None = None
    for component in parent.split("/"):
        path = f"{path}/{component}" if component else path
        directory = Directory(hierarchy.directory_path(path or "/"))
        if hierarchy.delegates:
            _enable(directory, controllers)
        elif upper is not None:
            hierarchy.cpuset(directory).inherit(upper)
        upper = directory
    _prepared[hierarchy, parent, controllers] = inode


def _enable(directory: Directory, controllers: tuple[str, ...]) -> None:
    enabled = directory.read("cgroup.subtree_control").decode().split()
    missing = [c for c in controllers if c not in enabled]
    if not missing:
        return
    try:
        _hand_down(directory, missing)
    except CgroupError as e:
        wanted, path = " and ".join(missing), directory.path
        if e.errno == errno.EBUSY:
            raise CgroupError(
                f"cannot hand {wanted} down from {path}: processes live in it, and on cgroup v2 a "
                "cgroup has either processes or controllers for its children",
                path=path,
                errno=e.errno,
                hint="choose another parent, or start climits as the only process there (exec); "
                "in a container: climits setup --apply moves them into a cgroup of their own",
            ) from None
        if e.errno in (errno.EACCES, errno.EPERM):
            raise CgroupPermissionError(
                f"{wanted}: not handed down to us from {path}, and that is not ours to change",
                path=path,
                errno=e.errno,
                hint="as root: climits setup --user NAME --apply has systemd hand it to a user",
            ) from None
        if e.errno == errno.ENOENT:
            raise CgroupError(
                f"cannot hand {wanted} down from {path}: the controller is not available in it",
                path=path,
                errno=e.errno,
                hint="as root: climits setup --user NAME --apply has systemd hand it to a user; "
                "elsewhere enable it in cgroup.subtree_control of the cgroups above",
            ) from None
        raise


# ---- removing ------------------------------------------------------------------------------


def remove(part: Part, timeout: float = 10.0, *, kill: bool = False, there: bool = False) -> None:
    """Remove one part and what is below it.

    Args:
        part: which one.
        timeout: seconds to try for.
        kill: end what still runs in it.
        there: it was seen a moment ago: do not look whether it is gone.

    Raises:
        CgroupError: something still lives in it after `timeout` seconds.
    """
    path = part.directory.path
    if not there and part.directory.is_gone():  # removed by somebody, and maybe made anew: not ours
        return
    if files.remove(path):
        return
    deadline = time.monotonic() + timeout
    pause = 0.0001
    while busy := files.remove_below(part.directory):
        if kill and part.directory.is_populated():
            part.hierarchy.freezer(part.directory).kill(timeout)
        if time.monotonic() > deadline:
            raise _still_populated(busy)
        # Processes that were just killed keep it busy until the last of their exit is done.
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


def _still_populated(path: str) -> CgroupError:
    hint = "kill or move them first"
    try:
        if 0 in (Directory(path).pids() or [0]):  # v1 does not list those it has to hide
            hint = "none is listed here: they live in another pid namespace, or cannot end"
    except CgroupError:
        pass
    return CgroupError(
        f"cannot remove the cgroup: {path}: processes live in it",
        path=path,
        errno=errno.EBUSY,
        hint=hint,
    )
