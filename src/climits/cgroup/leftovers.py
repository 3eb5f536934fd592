"""Cgroups whose owner died: find them, end what runs in them, remove them."""

import errno
import os
import time

from ..errors import CgroupError, CgroupExistsError, CgroupGoneError, InvalidValueError
from ..linux.proc import start_time
from . import ownership
from .files import Directory
from .group import Cgroup
from .layout import Hierarchy, Layout
from .placement import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: A cgroup that is younger and has no mark yet may be one that is being made, seconds.
_START_TAKES = 2.0


class Leftover:
    """What was found of one dead owner.

    Attributes:
        path: of the cgroup, such as /climits/web-4927-1.
        killed: processes that were killed in it.
        error: why it could not be removed, or None.
    """

    __slots__ = ("error", "killed", "path")

    def __init__(self, path: str, killed: int, error: "str | None") -> None:
        self.path, self.killed, self.error = path, killed, error


def sweep(
    layout: Layout,
    *parents: str,
    most: "int | None" = None,
    timeout: float = 30.0,
    own: bool = False,
) -> list[Leftover]:
    """Remove what dead owners left below some cgroups.

    The memory hierarchy tells, where a cgroup's part is the first that is made and the last that is
    removed; and the tracking ones, for runs with ``--root``.  Never raises for what cannot be
    removed; that is told in the result.

    Args:
        layout: of this host.
        parents: cgroup paths; only their direct children are looked at.
        most: look at so many children of each at most; None: all.
        timeout: seconds to spend at most on ending processes, in all.
        own: what this process made counts as left by a dead owner, too: it is about to exit.

    Returns:
        May be empty.
    """
    deadline = time.monotonic() + timeout
    dead: dict[str, None] = {}
    for parent in parents:
        for hierarchy in dict.fromkeys((layout.find("memory"), *layout.trackers())):
            if hierarchy is not None:
                names = _dead_below(hierarchy.directory_path(parent), most, own)
                dead.update((f"{parent}/{name}", None) for name in names)
    found = (_remove(path, layout.hierarchies, deadline, own) for path in dead)
    return [left for left in found if left]


def _dead_below(directory: str, most: "int | None", own: bool) -> list[str]:
    if not os.path.isdir(directory):
        return []
    try:
        above = Directory(directory)
        names = above.children()[:most]
    except CgroupError:
        return []
    dead = _announced_by_the_dead(above)
    for name in names:
        try:
            if _is_dead(above.child(name), name, own):
                dead.append(name)
        except CgroupError:
            continue  # gone meanwhile
    return dead


def _announced_by_the_dead(above: Directory) -> list[str]:
    """What was made, but not yet marked, when its maker was killed."""
    dead = []
    for key, value in above.marks(ownership.ANNOUNCED).items():
        mark, name = ownership.split_announcement(value)
        # Whoever owns the cgroup can write there what they like.
        is_name = "/" not in name and name not in ("", ".", "..")
        if is_name and ownership.owner_state(mark) == "dead":
            try:
                child = above.child(name)
                used = child.get_mark(ownership.MARK) or child.pids() or child.children()
                if not used:
                    child.set_mark(ownership.MARK, mark)  # as its maker would have done
                    dead.append(name)
            except CgroupError:
                pass  # it had not come to that
            above.remove_mark(key)
    return dead


def make_way(path: str, hierarchies: "list[tuple[Hierarchy, tuple[str, ...]]]") -> None:
    """Remove a cgroup of the name that a new one is to have, if it is a leftover.

    Raises:
        CgroupExistsError: it is in use; the text says by whom.
    """
    parts = _parts(path, [hierarchy for hierarchy, _ in hierarchies])
    for part in parts:
        state = ownership.owner_state(part.directory.get_mark(ownership.MARK))
        if state != "dead" and not (state == "none" and _is_abandoned(part.directory, path)):
            raise _in_use(path, part)
    if parts:
        group = Cgroup(path, parts)
        group.kill()
        group.remove()


def _is_abandoned(directory: Directory, path: str) -> bool:
    """Left between making and marking it: unused, and older than any start takes.

    Only what can be told to be ours: a person makes empty cgroups too, and sets limits on them.
    """
    age = time.time() - os.fstat(directory.fd).st_ctime
    if age <= _START_TAKES or directory.pids() or directory.children():
        return False
    name = path.rpartition("/")[2]
    if (pid := ownership.pid_in(name)) is not None:
        return pid == os.getpid() or start_time(pid) is None
    above = Directory(os.path.dirname(directory.path))
    announced = map(ownership.split_announcement, above.marks(ownership.ANNOUNCED).values())
    dead = any(n == name and ownership.owner_state(mark) == "dead" for mark, n in announced)
    above.close()
    return dead


def _in_use(path: str, part: Part) -> CgroupExistsError:
    mark = part.directory.get_mark(ownership.MARK)
    who = ""
    if mark is None and time.time() - os.fstat(part.directory.fd).st_ctime < _START_TAKES:
        who = "by climits, which is just starting there"
    if (pid := ownership.owner_pid(mark)) is not None:
        who = f"by climits, pid {pid}"
    if who:
        return CgroupExistsError(
            f"the cgroup is in use {who}: {path}",
            path=path,
            errno=errno.EEXIST,
            hint=f"choose another name, or use it as it is: --root {path} (root= in Python)",
        )
    return CgroupExistsError(
        f"the cgroup exists already: {path}",
        path=path,
        errno=errno.EEXIST,
        hint=f"climits set {path} changes it, climits run --root {path} uses it as it is",
    )


def _parts(path: str, hierarchies: "Iterable[Hierarchy]") -> list[Part]:
    """What of a cgroup is there."""
    parts = []
    for hierarchy in hierarchies:
        try:
            directory = Directory(hierarchy.directory_path(path))
        except CgroupError:
            continue
        parts.append(Part(hierarchy, directory, made=True))
    return parts


def _is_dead(directory: Directory, name: str, own: bool) -> bool:
    mark = directory.get_mark(ownership.MARK)
    if own and mark == ownership.owner_mark():
        return True
    state = ownership.owner_state(mark)
    if state != "none":
        return state == "dead"
    # Killed between making it and marking it: then the name tells, and nothing can have been put
    # into it yet.
    pid = ownership.pid_in(name)
    if pid is None:
        return False
    gone = start_time(pid) is None or (own and pid == os.getpid())
    return gone and not directory.pids() and not directory.children()


def _remove(
    path: str, hierarchies: "Iterable[Hierarchy]", deadline: float, own: bool
) -> "Leftover | None":
    # Of the same name in another hierarchy, what somebody else made or is making is not ours.
    parts = [part for part in _parts(path, hierarchies) if _is_dead(part.directory, path, own)]
    if not parts:
        return None
    killed = 0
    try:
        group = Cgroup(path, parts)
        killed = group.kill(max(deadline - time.monotonic(), 0.1))
        group.remove(max(deadline - time.monotonic(), 0.1))
    except CgroupGoneError:
        pass
    except (CgroupError, InvalidValueError) as e:  # the latter: we are in it ourselves
        return Leftover(path, killed, str(e))
    return Leftover(path, killed, None)
