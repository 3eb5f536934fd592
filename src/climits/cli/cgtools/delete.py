"""cgdelete: remove cgroups."""

import errno
import os
import sys
import time

from ...cgroup import files
from ...cgroup.files import Directory
from ...cgroup.layout import Hierarchy
from ...errors import CgroupError, CgroupGoneError, ClimitsError, InvalidValueError
from . import args, groups
from .args import Spec
from .main import complain
from .status import NO_GROUP, REFUSED, USAGE, GiveUp, status_of, tell

_HELP = """\
Usage: cgdelete [-hbr] [[-g] CONTROLLERS:PATH] ...
Remove cgroups from every hierarchy named. The processes in one go to the cgroup
above it.
  -g CONTROLLERS:PATH    what to remove; -g may be left out
  -r, --recursive        the cgroups below it too
  -b                     accepted: paths always start at the root of the hierarchy
  -h, --help             this text
"""
_LONG = {"recursive": "r", "help": "h", "group": "g:"}

#: How long to wait for processes that were killed a moment ago, seconds.
_PATIENCE = 10.0


def cgdelete(argv: list[str]) -> int:
    """Run the tool; returns its exit status."""
    if not argv:
        raise args.usage_error("cgdelete", help_flag="--help")
    options, words = args.getopt("cgdelete", "rhg:b", _LONG, argv, "--help")
    recursive = False
    texts: list[str] = []
    for key, value in options:
        if key == "h":
            sys.stdout.write(_HELP)
            return 0
        if key == "r":
            recursive = True
        elif key == "g":
            texts.append(value)
    status = 0
    for spec in _specs(texts + words):
        for error in _delete(spec, recursive):
            complain(f"cgdelete: cannot remove group '{spec.path}': {tell(error)}")
            # A group that is not there is told as the kernel tells it.
            status = REFUSED if status_of(error) == NO_GROUP else status_of(error)
    return status


def _specs(texts: list[str]) -> list[Spec]:
    specs = []
    for text in texts:
        spec = args.read_spec(text)
        if spec is None:
            raise GiveUp(USAGE, f"cgdelete: error parsing cgroup '{text}'")
        specs.append(spec)
    return specs


def _delete(spec: Spec, recursive: bool) -> list[ClimitsError]:
    """Remove a group from all hierarchies named; returns what went wrong in which."""
    wrong: list[ClimitsError] = []
    try:
        path = groups.clean(spec.path)
        if path == "/":
            raise InvalidValueError("the root cgroup cannot be removed", value="/")
        hierarchies = groups.hierarchies(spec)
    except ClimitsError as e:
        return [e]
    for hierarchy in hierarchies:
        try:
            remove(hierarchy, path, recursive)
        except ClimitsError as e:
            wrong.append(e)
    return wrong


def remove(hierarchy: Hierarchy, path: str, recursive: bool) -> None:
    """Remove one cgroup from one hierarchy; its processes go to the one above it.

    Raises:
        CgroupGoneError: there is none.
        CgroupError: it has children and they are not to be removed, or processes cannot be moved.
    """
    directory = Directory(hierarchy.directory_path(path))
    above = Directory(hierarchy.directory_path(os.path.dirname(path)))
    children = directory.children()
    if children and not recursive:
        # Seen before anything is moved: one that stays keeps its processes.
        raise CgroupError(
            f"{directory.path}: device or resource busy: it has children",
            path=directory.path,
            errno=errno.EBUSY,
            hint="cgdelete -r removes them too",
        )
    for _, child in reversed(groups.walk(directory, path)):
        _remove_one(child, above)


def _remove_one(directory: Directory, above: Directory) -> None:
    deadline = time.monotonic() + _PATIENCE
    pause = 0.0001
    while not files.remove(directory.path):
        _move(directory, above)
        if files.remove(directory.path):
            return
        if time.monotonic() > deadline:
            raise CgroupError(
                f"{directory.path}: device or resource busy after {_PATIENCE:g}s",
                path=directory.path,
                errno=errno.EBUSY,
                hint="a process in it cannot end or be moved",
            )
        # What was just killed keeps it busy until the last of its exit is done.
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


def _move(directory: Directory, above: Directory) -> None:
    try:
        pids = directory.pids()
    except CgroupGoneError:
        return
    except CgroupError as e:
        if e.errno == errno.EOPNOTSUPP:  # threaded: its processes are listed above it
            return
        raise
    for pid in pids:
        try:
            above.write("cgroup.procs", str(pid))
        except CgroupError as e:
            if e.errno == errno.ESRCH:  # it has ended meanwhile
                continue
            if e.errno == errno.EBUSY:
                e.hint = (
                    "on cgroup v2 a cgroup that hands controllers down holds no processes itself: "
                    "move them with cgclassify first, or remove the cgroups above with -r"
                )
            raise
