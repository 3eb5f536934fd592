"""Removing a cgroup that somebody else may have filled, and giving one away."""

import errno
import os

from ..errors import CgroupError, CgroupGoneError, InvalidValueError
from .files import Directory
from .freezer import KILL_TIMEOUT
from .group import Cgroup
from .placement import Part

#: Rounds of moving: what forks meanwhile is found in the next.
_ROUNDS = 100

_DELEGATE = "/sys/kernel/cgroup/delegate"  # since 4.15
_DELEGATED_ALWAYS = ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks")


def delete(
    group: Cgroup,
    *,
    recursive: bool = False,
    kill: bool = False,
    move_to: "Cgroup | None" = None,
) -> None:
    """Remove a cgroup from every hierarchy that has it.

    Args:
        group: which one.
        recursive: the cgroups below it too.
        kill: end the processes in it first.
        move_to: move the processes there first.

    Raises:
        CgroupError: it has processes or children, and nothing says what to do with them; or the
            kernel refused.
    """
    if group.path == "/":
        raise InvalidValueError("the root cgroup cannot be removed", value="/")
    below = {part: _below(part.directory) for part in group.parts}
    if not recursive:
        children = sorted({d.path.rpartition("/")[2] for ds in below.values() for d in ds[:-1]})
        if children:
            raise CgroupError(
                f"cannot remove {group.path}: it has children: {_some(children)}",
                path=group.path,
                errno=errno.ENOTEMPTY,
                hint="--recursive removes them too",
            )
    if kill:
        refuse_own(group, "kill")
        kill_all(group)
    elif move_to is not None:
        for part in group.parts:
            _move(part, below[part], move_to)
    else:
        _refuse_populated(group, below)
    group.remove()


def kill_all(group: Cgroup, timeout: float = KILL_TIMEOUT) -> int:
    """SIGKILL every process in it and below, in any hierarchy, and wait until none is left.

    Returns:
        How many were seen and killed.

    Raises:
        CgroupTimeoutError: something is still there after `timeout` seconds.
    """
    # What the v1 freezer holds dies only once it is thawed, which its own part does.
    parts = sorted(group.parts, key=lambda part: "freezer" not in part.hierarchy.controllers)
    return sum(part.hierarchy.freezer(part.directory).kill(timeout) for part in parts)


def pids_below(group: Cgroup) -> set[int]:
    """Processes of a cgroup and of those below it, in any hierarchy; may be empty."""
    found: set[int] = set()
    for part in group.parts:
        for directory in _below(part.directory):
            found |= set(_pids(directory))
    return found


def refuse_own(group: Cgroup, what: str) -> None:
    """Refuse to do to a cgroup what would hit this process, or everything.

    Raises:
        InvalidValueError: it is the root, or we are in it.
    """
    if group.path == "/":
        raise InvalidValueError(
            f"{what} would reach every process of the machine: the cgroup is /",
            hint="name a cgroup of its own",
        )
    if os.getpid() in pids_below(group):
        raise InvalidValueError(
            f"{what} would reach this command too: it runs in {group.path}",
            hint="run it from another cgroup",
        )


def _below(directory: Directory) -> list[Directory]:
    """The directory and all below it, children first."""
    found = []
    for name in directory.children():
        try:
            found += _below(directory.child(name))
        except CgroupGoneError:
            continue
    return [*found, directory]


def _pids(directory: Directory) -> list[int]:
    try:
        return directory.pids()
    except CgroupGoneError:
        return []
    except CgroupError as e:
        if e.errno != errno.EOPNOTSUPP:  # threaded: listed in the cgroup above
            raise
        return []


def _refuse_populated(group: Cgroup, below: "dict[Part, list[Directory]]") -> None:
    pids = sorted({pid for ds in below.values() for d in ds for pid in _pids(d)})
    if pids:
        count = "1 process" if len(pids) == 1 else f"{len(pids)} processes"
        raise CgroupError(
            f"cannot remove {group.path}: {count} in it: {_some([str(pid) for pid in pids])}",
            path=group.path,
            errno=errno.EBUSY,
            hint="--kill ends them, --move-to CGROUP moves them",
        )


def _some(words: list[str]) -> str:
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")


def _move(part: Part, directories: list[Directory], target: Cgroup) -> None:
    there = next((p for p in target.parts if p.hierarchy is part.hierarchy), None)
    for _ in range(_ROUNDS):
        pids = [pid for directory in directories for pid in _pids(directory)]
        if not pids:
            return
        if there is None:
            raise CgroupGoneError(
                f"cannot move processes to {target.path}: {part.hierarchy.label} has no such "
                "cgroup",
                path=target.path,
            )
        for pid in pids:
            try:
                there.directory.write("cgroup.procs", str(pid))
            except CgroupError as e:
                if e.errno != errno.ESRCH:  # it has ended meanwhile
                    raise
    raise CgroupError(
        f"cannot empty {part}: its processes fork faster than they can be moved",
        path=part.directory.path,
        hint="--kill ends them",
    )


def delegate(group: Cgroup, uid: int, gid: int = -1) -> None:
    """Give a cgroup to a user, who may make cgroups in it and move processes between them.

    Its own limits stay with the one who set them, so that they hold.

    Source: Documentation/admin-guide/cgroup-v2.rst (Delegation), /sys/kernel/cgroup/delegate.
    """
    try:
        with open(_DELEGATE, encoding="ascii") as file:
            listed = tuple(file.read().split())
    except OSError:
        listed = ()
    for part in group.parts:
        more = listed if part.hierarchy.delegates else ()
        names = dict.fromkeys((*_DELEGATED_ALWAYS, *more))
        for name in (*names, "."):
            part.directory.hand_over(name, uid, gid)


def let_join(group: Cgroup, uid: int, gid: int = -1) -> None:
    """Allow a user to move their processes into a cgroup, and nothing more."""
    for part in group.parts:
        for name in ("cgroup.procs", "cgroup.threads", "tasks"):
            part.directory.hand_over(name, uid, gid)
