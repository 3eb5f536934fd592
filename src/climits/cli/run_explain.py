"""`climits run --explain`: what would be written and called, from the same code that does it."""

import os
import sys

from ..cgroup.files import Directory
from ..cgroup.group import Cgroup
from ..cgroup.placement import Part
from ..launch.show import describe
from ..program.spec import Spec
from ..units import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cgroup.layout import Hierarchy


class _Planned(Directory):
    """A directory that is not there yet; which files it would have, its mount point's tell."""

    __slots__ = ("_delegates", "_like")

    def __init__(self, path: str, hierarchy: "Hierarchy") -> None:
        self._fd, self._inode, self.path = -1, 0, path
        self._like, self._delegates = hierarchy.mount_point, hierarchy.delegates

    def has(self, name: str) -> bool:
        # The root cgroup lacks most files of v2: look into whatever child there is.
        below = [entry.path for entry in os.scandir(self._like) if entry.is_dir()]
        if any(os.path.exists(f"{entry}/{name}") for entry in (self._like, *below)):
            return True
        # No child has the controller yet: then what kernels have by default.
        example = f"{name.partition('.')[0]}.max"
        return self._delegates and not any(os.path.exists(f"{b}/{example}") for b in below)


def explain(spec: Spec) -> None:
    """Print the cgroup, the limits in the order they are written, and the plan."""
    name = spec.name or spec.made_up_name()
    path = spec.root or f"{spec.parent}/{name}"
    parts = []
    out = [f"cgroup {path}" + (" (exists, is not removed)" if spec.root else "")]
    for hierarchy, controllers in spec.hierarchies:
        if spec.root and controllers:
            Directory(hierarchy.directory_path(path)).close()  # or it cannot be used
        directory = _Planned(hierarchy.directory_path(path), hierarchy)
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
