"""`climits run --explain`: what would be written and called, from the same code that does it."""

import os
import sys

from ..cgroup.files import Directory
from ..cgroup.group import Cgroup
from ..cgroup.placement import Part
from ..launch.plan import Plan
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
    if spec.enforce == "poll":
        limit = format_size(spec.limits.memory.max)
        lines = [f"no cgroup: memory is polled, and beyond {limit} all is killed", "plan"]
        lines += [f"  {line}" for line in describe(spec.plan((), die_with_parent=True))]
        sys.stdout.write("\n".join(lines) + "\n")
        return
    name = spec.name or spec.made_up_name()
    own = f"{spec.foreseen_parent()}/{name}"
    path = spec.root or own
    parts = []
    out = [f"cgroup {path}" + (" (exists, is not removed)" if spec.root else "")]
    for hierarchy, controllers in spec.hierarchies:
        exists = spec.exists_in(hierarchy, controllers)
        if exists:
            Directory(hierarchy.directory_path(path)).close()  # or it cannot be used
        directory = _Planned(hierarchy.directory_path(path if exists else own), hierarchy)
        parts.append(Part(hierarchy, directory, made=not exists))
        use = ", ".join(controllers) or ("its other limits" if exists else "tracking")
        note = ", its own" if spec.root and not exists else ""
        out.append(f"  {directory.path} ({hierarchy.version_name}: {use}{note})")
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
    out += [f"  {line}" for line in describe(_plan(spec, parts))]
    sys.stdout.write("\n".join(out) + "\n")


def _plan(spec: Spec, parts: list[Part]) -> Plan:
    if spec.container is None:
        return spec.plan(parts, die_with_parent=True)
    from ..program.inside import surroundings

    with surroundings(spec) as cage:
        return spec.plan(parts, die_with_parent=True, cage=cage)
