"""`climits run --explain`: what would be written and called, from the same code that does it."""

import os
import sys

from ..cgroup.files import Directory
from ..cgroup.group import Cgroup
from ..cgroup.placement import Part
from ..launch.show import describe
from ..program.spec import Spec
from ..units import format_size


class _Planned(Directory):
    """A directory that is not there yet; which files it would have, its mount point's tell."""

    __slots__ = ("_like",)

    def __init__(self, path: str, like: str) -> None:
        self._fd, self._inode, self.path, self._like = -1, 0, path, like

    def has(self, name: str) -> bool:
        # The root cgroup lacks most files of v2: look into whatever child there is.
        for entry in (self._like, *(e.path for e in os.scandir(self._like) if e.is_dir())):
            if os.path.exists(f"{entry}/{name}"):
                return True
        return False


def explain(spec: Spec) -> None:
    """Print the cgroup, the limits in the order they are written, and the plan."""
    name = spec.name or spec.made_up_name()
    path = spec.root or f"{spec.parent}/{name}"
    parts = []
    out = [f"cgroup {path}" + (" (exists, is not removed)" if spec.root else "")]
    for hierarchy, controllers in spec.hierarchies:
        if spec.root and controllers:
            Directory(hierarchy.directory_path(path)).close()  # or it cannot be used
        directory = _Planned(hierarchy.directory_path(path), hierarchy.mount_point)
        parts.append(Part(hierarchy, directory, made=not spec.root))
        use = ", ".join(controllers) or "tracking"
        out.append(f"  {directory.path} ({hierarchy.version_name}: {use})")
    group = Cgroup(path, parts)
    memory = group.memory
    out.append("limits")
    now = memory.UNTOUCHED
    written = [
        (f"{memory.directory.path}/{file}", text, size)
        for file, text, size in memory.writes(spec.limits.memory, now)
    ]
    written += [(f"{p.directory.path}/{f}", text, None) for p, f, text in group.writes(spec.limits)]
    for file, text, size in written:
        note = f"  ({format_size(size)})" if size is not None and size > 1023 else ""
        out.append(f"  {file} = {text}{note}")
    if not written:
        out.append("  none")
    out.append("plan")
    plan = spec.plan(parts, die_with_parent=True)
    out += [f"  {line}" for line in describe(plan)]
    sys.stdout.write("\n".join(out) + "\n")
