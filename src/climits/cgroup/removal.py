"""Removing a cgroup that somebody else may have filled, and giving one away."""

import errno
import os
import stat

from ..errors import CgroupError, CgroupGoneError, InvalidValueError
from ..linux.proc import cgroup_paths
from .freezer import listed_pids
from .group import Cgroup
from .layout import Hierarchy
from .moving import Move, counterparts
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
    if move_to is not None:
        _refuse_inside(group, move_to)
    if not recursive:
        children = sorted({name for part in group.parts for name in part.directory.children()})
        if children:
            raise CgroupError(
                f"cannot remove {group.path}: it has children: {_some(children)}",
                path=group.path,
                errno=errno.ENOTEMPTY,
                hint="--recursive removes them too",
            )
    if kill:
        group.kill()
    elif move_to is not None:
        _move_out(group, move_to)
    else:
        _refuse_populated(group)
    group.remove()


def pids_below(group: Cgroup, parts: "list[Part] | None" = None) -> set[int]:
    """Processes of a cgroup and of those below it; may be empty.

    Those of a pid namespace that we cannot see into are left out.

    Args:
        group: which one.
        parts: those of its parts to look into; None: all.
    """
    return set(_where(group.parts if parts is None else parts)) - {0}


def has_hidden(group: Cgroup) -> bool:
    """Whether processes live in it, or below it, that have no pid in our pid namespace."""
    return 0 in _where(group.parts)


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
    # The paths tell what the lists do not: a threaded cgroup's name no process.
    if os.getpid() in pids_below(group) or any(_we_are_in(part) for part in group.parts):
        raise InvalidValueError(
            f"{what} would reach this command too: it runs in {group.path}",
            hint="run it from another cgroup",
        )


def _we_are_in(part: Part) -> bool:
    path = part.hierarchy.path_among(cgroup_paths())
    try:
        own = part.hierarchy.directory_of(path or "/")
    except CgroupError:
        return False  # it is not below what we see, nor then below the part
    return f"{own}/".startswith(f"{part.directory.path}/")


def _where(parts: list[Part]) -> dict[int, list[Part]]:
    """The parts that each process is in, or is below of; 0 stands for those without a pid here."""
    found: dict[int, list[Part]] = {}
    for part in parts:
        try:
            pids = {pid for directory in part.directory.walk() for pid in listed_pids(directory)}
        except CgroupGoneError:
            continue
        for pid in sorted(pids):
            found.setdefault(pid, []).append(part)
    return found


def _refuse_populated(group: Cgroup) -> None:
    pids = sorted(_where(group.parts))
    if pids:
        there, hint = _counted(pids), "--kill ends them, --move-to CGROUP moves them"
    elif any(part.directory.is_populated() for part in group.parts):
        there = "threads of processes that are in a cgroup above"
        hint = "climits classify CGROUP TID --thread moves one"
    else:
        return
    raise CgroupError(
        f"cannot remove {group.path}: {there} in it"
        + (f": {_some([str(pid) for pid in pids])}" if pids and 0 not in pids else ""),
        path=group.path,
        errno=errno.EBUSY,
        hint=hint if 0 not in pids else "--kill ends them",
    )


def _counted(pids: list[int]) -> str:
    if 0 in pids:
        return "processes of another pid namespace"
    return "1 process" if len(pids) == 1 else f"{len(pids)} processes"


def _some(words: list[str]) -> str:
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")


def _refuse_inside(group: Cgroup, target: Cgroup) -> None:
    leaving = {part.hierarchy: f"{part.directory.path}/" for part in group.parts}
    for part in target.parts:
        if f"{part.directory.path}/".startswith(leaving.get(part.hierarchy, "\0")):
            what = "itself" if target.path == group.path else f"{target.path}, which is below it"
            raise InvalidValueError(
                f"cannot move the processes of {group.path} to {what}: it is to be removed",
                value=target.path,
                hint="choose a cgroup outside",
            )


def _move_out(group: Cgroup, target: Cgroup) -> None:
    """Move every process of a cgroup and of those below it, or none."""
    move = Move()
    try:
        for _ in range(_ROUNDS):
            where = _where(group.parts)
            if not where:
                return
            if 0 in where:
                raise CgroupError(
                    f"cannot move the processes of {group.path}: some are of another pid namespace",
                    path=group.path,
                    hint="move them from the pid namespace that they are in; --kill ends them",
                )
            there = counterparts(list({p: None for ps in where.values() for p in ps}), target)
            for pid, parts in where.items():
                try:
                    move.move(pid, [there[part.hierarchy] for part in parts])
                except CgroupError as e:
                    if e.errno != errno.ESRCH:  # it has ended meanwhile
                        raise
        raise CgroupError(
            f"cannot empty {group.path}: its processes fork faster than they can be moved",
            path=group.path,
            hint="--kill ends them",
        )
    except BaseException:
        move.undo()
        raise


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
            _hand_over(part, name, uid, gid)


def let_join(group: Cgroup, uid: int, gid: int = -1) -> None:
    """Allow a user to move their processes into a cgroup, and nothing more.

    On v2 that works for processes that are below a cgroup of which `may_join_below` is true.
    """
    for part in group.parts:
        for name in ("cgroup.procs", "cgroup.threads", "tasks"):
            _hand_over(part, name, uid, gid)


def may_join_below(hierarchy: Hierarchy, path: str, uid: int, gid: int = -1) -> bool:
    """Whether the kernel will let a user move processes from one cgroup below a path to another.

    On v2 it asks for the right to write cgroup.procs of the closest cgroup that both are below.

    Args:
        hierarchy: of the two.
        path: of a cgroup above them, which may not exist yet; those above it count too.
        uid, gid: user and group; -1 for the one that is not asked for.

    Source: Documentation/admin-guide/cgroup-v2.rst (Delegation Containment).
    """
    if not hierarchy.delegates or uid == 0:
        return True
    while True:
        try:
            facts = os.stat(f"{hierarchy.directory_path(path or '/')}/cgroup.procs")
        except OSError:
            pass  # it is about to be made, and not theirs
        else:
            user = uid == -1 or (facts.st_uid == uid and facts.st_mode & stat.S_IWUSR)
            group = gid == -1 or (facts.st_gid == gid and facts.st_mode & stat.S_IWGRP)
            if user and group:
                return True
        if not path.strip("/"):
            return False
        path = path.rpartition("/")[0]


def _hand_over(part: Part, name: str, uid: int, gid: int) -> None:
    part.directory.hand_over(name, uid, gid)
    if gid != -1:
        part.directory.let_group_write(name)
