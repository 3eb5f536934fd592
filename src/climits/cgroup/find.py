"""The cgroup that a person means: by name, by path, or by a process that lives in it."""

from ..errors import CgroupGoneError, InvalidValueError
from ..linux.proc import cgroup_paths
from ..units import quoted
from .files import Directory
from .group import Cgroup
from .homes import homes
from .layout import Layout, current
from .naming import check_name, locate
from .placement import Part

#: Digits of the longest number that is looked up as a pid; the kernel's largest has seven.
_MAX_DIGITS = 18


def find_cgroup(word: str) -> Cgroup:
    """The cgroup that a word names.

    Args:
        word: the name of a cgroup that climits made (web), a cgroup path (/jobs/web), a process in
            it (pid:1234, or 1234), or a directory below a mount point, which means the cgroup of
            that hierarchy alone.

    Raises:
        InvalidValueError: the word means nothing.
        CgroupGoneError: there is no such cgroup or process.
    """
    if is_process(word):
        return cgroup_of(int(word.removeprefix("pid:")))
    if word.startswith("pid:"):
        raise InvalidValueError(
            f"not a process: {quoted(word)}", value=word, hint="write it like pid:1234"
        )
    if "/" in (word := word.rstrip("/") or word[:1]):
        hierarchy, path = locate(word, current(), what="cgroup")
        if hierarchy is None:
            return Cgroup.open(path)
        directory = Directory(hierarchy.directory_path(path))
        return Cgroup(path, [Part(hierarchy, directory, made=False)])
    check_name(word)
    places = homes()
    for home in places:
        try:
            return Cgroup.open(f"{home}/{word}")
        except CgroupGoneError:
            continue
    raise CgroupGoneError(
        f"no such cgroup: {places[0]}/{word}",
        hint="a cgroup that climits did not make is given by its path, which starts with /",
    )


def is_process(word: str) -> bool:
    """Whether a word names a process: pid:1234, or 1234."""
    pid = word.removeprefix("pid:")
    return pid.isascii() and pid.isdigit() and len(pid) <= _MAX_DIGITS


def cgroup_of(pid: int, layout: "Layout | None" = None) -> Cgroup:
    """The cgroup that a process is in, which may be another one in each hierarchy.

    Its path is the memory controller's; its parts are the process's own in every hierarchy.

    Raises:
        CgroupGoneError: no such process.
        CgroupError: it is in a cgroup that cannot be seen from here.
    """
    layout = layout or current()
    try:
        paths = cgroup_paths(pid)
    except OSError:
        raise CgroupGoneError(
            f"no such process: {pid}", hint="a cgroup of that name is written /climits/NAME"
        ) from None
    path = paths.get("memory", paths.get("", "/"))
    parts, same = [], []
    for hierarchy in layout.hierarchies:
        if (own := hierarchy.path_among(paths)) is not None:
            part = Part(hierarchy, Directory(hierarchy.directory_of(own)), made=False)
            parts.append(part)
            if own == path:
                same.append(part)
    # Elsewhere it may be in the root: what is killed or frozen must be the cgroup that was meant.
    if same and ".." in path.split("/"):  # as it is seen from here
        path = same[0].hierarchy.cgroup_path(same[0].directory.path) or path
    same.sort(key=lambda p: (not p.hierarchy.born_inside, "freezer" not in p.hierarchy.controllers))
    return Cgroup(path, parts, same[0] if same else None)
