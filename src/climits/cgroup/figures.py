"""What a sample of a cgroup reads in each hierarchy, and how the bytes become figures.

A table of figures is ``name: (files, function)``: the function gets the content of the files, of
which the first must be there and the others may be None.  The versions' own tables stand beside
the rest of what is known of their files: Memory.figures, Cpu.figures.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .files import Directory
    from .layout import Hierarchy

    Figure = tuple[tuple[str, ...], Callable[..., Any]]


def figures_of(hierarchy: "Hierarchy", directory: "Directory") -> "dict[str, Figure]":
    """The figures that a hierarchy may have of a cgroup.

    Whether it has them, the files tell: not every kernel, and not every cgroup, has all of them.
    """
    out: dict[str, Figure] = {}
    if "memory" in hierarchy.controllers:
        out.update(hierarchy.memory(directory).figures())
    if "cpuacct" in hierarchy.controllers or hierarchy.born_inside:
        out.update(hierarchy.cpu(directory).figures())
    if "pids" in hierarchy.controllers:
        out["pids"] = ("pids.current",), int
    if hierarchy.born_inside:
        out["pressure_some"] = ("memory.pressure",), pressure_some
        out["pressure_full"] = ("memory.pressure",), pressure_full
    return out


def pressure_some(data: bytes) -> float:
    """Seconds in which at least one task waited for memory, from memory.pressure.

    Source: Documentation/accounting/psi.rst: two lines, each ends with ``total=MICROSECONDS``.
    """
    return int(data[data.index(b"total=") + 6 : data.index(b"\n")]) / 1e6


def pressure_full(data: bytes) -> float:
    """Seconds in which all tasks waited for memory at once, from memory.pressure."""
    return int(data[data.rindex(b"total=") + 6 :]) / 1e6
