"""lscgroup and lssubsys: list cgroups, and controllers."""

import sys

from ...cgroup.files import Directory
from ...cgroup.layout import Hierarchy, current
from ...errors import CgroupGoneError, ClimitsError
from ...linux.mounts import cgroup_mounts, controller_table
from . import args, groups
from .args import Spec
from .main import complain
from .status import FAILED, MINUS_ONE, GiveUp, tell

_HELP_GROUPS = """\
Usage: lscgroup [-hb] [[-g] CONTROLLERS:PATH] ...
List cgroups, those of all hierarchies if none is named.
  -g CONTROLLERS:PATH    this one and those below it; -g may be left out; :PATH in the
                         v2 hierarchy. Of several controllers the first hierarchy counts
  -b                     accepted: paths always start at the root of the hierarchy
  -h, --help             this text
"""
_HELP_CONTROLLERS = """\
Usage: lssubsys [-him] [-M] [CONTROLLER] ...
   or: lssubsys -a [-im] [-M]
List the controllers of v1 hierarchies, one hierarchy a line.
  -a, --all              those that no v1 hierarchy holds too
  -i, --hierarchies      with the number of the hierarchy
  -m, --mount-points     with the mount point
  -M, --all-mount-points with each mount point
  -h, --help             this text
"""
_LONG = {
    "help": "h", "mount-points": "m", "all-mount-points": "M", "all": "a", "hierarchies": "i",
}  # fmt: skip


def lscgroup(argv: list[str]) -> int:
    """Run the tool; returns its exit status."""
    options, words = args.getopt("lscgroup", "hg:b", {"help": "h", "group": "g:"}, argv)
    texts = []
    for key, value in options:
        if key == "h":
            sys.stdout.write(_HELP_GROUPS)
            return 0
        if key == "g":
            texts.append(value)
    specs = []
    for text in texts + words:
        spec = args.read_spec(text)
        if spec is None:
            cause = f"cgroup controller and path parsing failed ({text})"
            raise GiveUp(MINUS_ONE, f"lscgroup: {cause}")
        specs.append(spec)
    if not specs:
        for hierarchy in _listed():
            _list(hierarchy, "/", "")
        return 0
    status = 0
    for spec in specs:
        try:
            path = groups.clean(spec.path)
            hierarchy = _first(spec)
        except ClimitsError as e:
            named = ",".join(spec.controllers)
            complain(f"lscgroup: cannot find group {named}:{spec.path}: {tell(e)}")
            status = FAILED
            continue
        # A group that is named ends with a slash: scripts know it so.
        _list(hierarchy, path, "/" if path != "/" else "")
    return status


def _listed() -> list[Hierarchy]:
    """Hierarchies with something to list: those with controllers, and named ones."""
    return [h for h in current().hierarchies if groups.ordered(h)]


def _first(spec: Spec) -> Hierarchy:
    """The first mounted hierarchy among those named."""
    named = groups.hierarchies(spec)
    return next(h for h in current().hierarchies if h in named)


def _list(hierarchy: Hierarchy, path: str, end: str) -> None:
    label = ",".join(groups.ordered(hierarchy)) or "unified"
    try:
        directory = Directory(hierarchy.directory_path(path))
    except CgroupGoneError:
        return
    top = path.rstrip("/")
    for found, _ in groups.walk(directory, top):
        line = (found or "/") + (end if found == top else "")
        sys.stdout.write(f"{label}:{line}\n")


# ---- lssubsys ------------------------------------------------------------------------------


class _Row:
    """One hierarchy: its number, its controllers, its mount points."""

    __slots__ = ("names", "number", "points")

    def __init__(self, number: int) -> None:
        self.number = number
        self.names: list[str] = []
        self.points: list[str] = []


def lssubsys(argv: list[str]) -> int:
    """Run the tool; returns its exit status."""
    options, words = args.getopt("lssubsys", "mMhai", _LONG, argv)
    flags = {key for key, _ in options}
    if "h" in flags:
        sys.stdout.write(_HELP_CONTROLLERS)
        return 0
    rows, others = _rows()
    if "a" in flags:
        for name in others:
            sys.stdout.write(f"{name}\n")
    for row in rows:
        if words and "a" not in flags and not set(words) & set(row.names):
            continue
        names = ",".join(row.names)
        if flags & {"m", "M"}:
            for point in row.points if "M" in flags else row.points[:1]:
                sys.stdout.write(f"{names} {point}\n")
        elif "i" in flags:
            sys.stdout.write(f"{names} {row.number}\n")
        else:
            sys.stdout.write(f"{names}\n")
    return 0


def _rows() -> "tuple[list[_Row], list[str]]":
    """(the v1 hierarchies that hold controllers, the other controllers)."""
    mounts = [mount for mount in cgroup_mounts() if mount.fstype == "cgroup"]
    by_number: dict[int, _Row] = {}
    others = []
    for name, number, _, _ in controller_table():
        if number:
            by_number.setdefault(number, _Row(number)).names.append(name)
        else:
            others.append(name)
    for row in by_number.values():
        row.points = [mount.point for mount in mounts if row.names[0] in mount.options]
    unified = current().unified
    known = {*others, *(name for row in by_number.values() for name in row.names)}
    for name in groups.ordered(unified) if unified else ():
        # Kernels since 6.12 leave out what they were built without on v1; io is blkio there.
        if name not in known and (name != "io" or "blkio" not in known):
            others.append(name)
    return list(by_number.values()), others
