"""Cgroups whose owner died: find them, end what runs in them, remove them."""

import os
import time

from ..errors import CgroupError, CgroupGoneError
from . import placement
from .files import Directory
from .group import Cgroup
from .layout import Layout
from .placement import Part


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
    parent: str = placement.HOME,
    *,
    most: "int | None" = None,
    timeout: float = 30.0,
) -> list[Leftover]:
    """Remove what dead owners left below a parent.

    Never raises for what cannot be removed; that is told in the result.

    Args:
        layout: of this host.
        parent: a cgroup path; only its direct children are looked at.
        most: look at so many children at most; None: all.
        timeout: seconds to spend at most on ending processes.

    Returns:
        May be empty.
    """
    deadline = time.monotonic() + timeout
    dead: dict[str, list[Part]] = {}
    for hierarchy in layout.hierarchies:
        try:
            above = Directory(hierarchy.directory_path(parent))
            names = above.children()
        except CgroupError:
            continue
        for name in names[:most]:
            try:
                directory = above.child(name)
                if _is_dead(directory, name):
                    part = Part(hierarchy, directory, made=True)
                    dead.setdefault(f"{parent}/{name}", []).append(part)
            except CgroupError:
                continue
    return [_remove(path, parts, deadline) for path, parts in dead.items()]


def _is_dead(directory: Directory, name: str) -> bool:
    state = placement.owner_state(directory.get_mark(placement.MARK))
    if state != "none":
        return state == "dead"
    # Killed between making it and marking it: then the name tells (see Spec.made_up_name), and
    # nothing can have been put into it yet.
    words = name.split("-")
    if len(words) < 3 or not (words[-1].isdigit() and words[-2].isdigit()):
        return False
    gone = not os.path.exists(f"/proc/{words[-2]}")
    return gone and not directory.pids() and not directory.children()


def _remove(path: str, parts: list[Part], deadline: float) -> Leftover:
    group = Cgroup(path, parts)
    killed = 0
    try:
        # A part that was not marked as dead may be somebody else's by now: only our parts.
        killed = group.kill(max(deadline - time.monotonic(), 0.1))
        group.remove(max(deadline - time.monotonic(), 0.1))
    except CgroupGoneError:
        pass
    except CgroupError as e:
        return Leftover(path, killed, str(e))
    return Leftover(path, killed, None)
