"""Cgroups by what people call them: a container's short id, a name, a unit, a pod."""

import os

from ..cgroup import ownership
from ..cgroup.files import Directory, walk_paths
from ..cgroup.find import find_cgroup, is_process
from ..cgroup.layout import Layout
from ..errors import CgroupError, CgroupGoneError, InvalidValueError
from ..linux import proc
from ..units import quoted
from .discover import Owner, owner_of, unescape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: Of a pod's uid at least so much must be given: a short word may be the start of many things.
_LEAST_OF_POD = 6
#: So many are named in an error.
_NAMED = 4


class Found:
    """One container, pod, unit or job, and its cgroups.

    Attributes:
        owner: of the outermost of them.
        paths: list[str], the outermost first; a monitor's behind the container's own.
    """

    def __init__(self, paths: list[str]) -> None:
        self.paths = sorted(paths, key=lambda path: (_is_monitor(path), path.count("/"), path))
        self.owner = owner_of(self.paths[0])


def all_cgroups(layout: Layout, closed: "set[str] | None" = None) -> dict[str, list[str]]:
    """Every cgroup of the machine: its directories, one a hierarchy that has it, by its path.

    Args:
        layout: the hierarchies.
        closed: gets the paths of those that may not be looked into.
    """
    found: dict[str, list[str]] = {}
    for hierarchy in layout.hierarchies:
        for directory, _, error in walk_paths(hierarchy.mount_point):
            path = hierarchy.cgroup_path(directory) or "/"
            found.setdefault(path, []).append(directory)
            if error is not None and closed is not None:
                closed.add(path)
    return found


def find_all(word: str, paths: "Iterable[str]") -> list[Found]:
    """Whatever of the cgroups a word may mean; an exact name beats the beginning of an id.

    Args:
        word: the beginning of a container's or pod's id, or the name of a container or unit.
        paths: where to look.

    Returns:
        May be empty; more than one where the word is ambiguous.
    """
    exact: dict[str, list[str]] = {}
    begun: dict[str, list[str]] = {}
    for path in paths:
        owner = owner_of(path)
        if key := _is_called(word, path, owner):
            exact.setdefault(key, []).append(path)
        elif owner.id is not None and owner.id.startswith(word):
            begun.setdefault(owner.id, []).append(path)
        elif _is_in_pod(word, owner):
            begun.setdefault(owner.pod or "", []).append(path)
    # As systemctl has it, a unit without a suffix is a service; its socket has the same name.
    service = [key for key in exact if key.endswith(f"/{word}.service")]
    if len(service) == 1:
        exact = {service[0]: exact[service[0]]}
    return [Found(each) for _, each in sorted((exact or begun).items())]


def find_one(word: str, paths: "Iterable[str]") -> Found:
    """The one container, pod or unit that a word means.

    Raises:
        InvalidValueError: there are several; the text lists them.
        CgroupGoneError: there is none.
    """
    found = find_all(word, paths)
    if len(found) > 1:
        raise ambiguous(word, found)
    if not found:
        raise CgroupGoneError(
            f"no cgroup, container, unit or process is called {quoted(word)}",
            hint="climits stats --all lists all cgroups; one can be given by its path too",
        )
    return found[0]


def paths_of(words: "Iterable[str]", layout: Layout) -> list[str]:
    """The cgroups that a person's words mean, each once, in their order.

    Args:
        words: names of cgroups, containers, pods, units and programs, pids, or paths.
        layout: the hierarchies.

    Raises:
        InvalidValueError: an empty word, or one that means several things.
        CgroupGoneError: there is no such thing.
    """
    known: dict[str, list[str]] = {}
    found: dict[str, None] = {}
    for word in words:
        if not word:
            raise InvalidValueError("no cgroup is named so: ''", hint="climits stats lists them")
        if "/" in word or word.startswith("pid:") or (is_process(word) and _runs(int(word))):
            path = _path(word)
        else:
            try:
                path = _path(word)
            except (CgroupGoneError, InvalidValueError):
                known = known or all_cgroups(layout)
                path = f"/{word}" if f"/{word}" in known else find_one(word, known).paths[0]
        found[path] = None
    return list(found)


def _path(word: str) -> str:
    group = find_cgroup(word)
    group.close()
    return group.path


def _runs(pid: int) -> bool:
    return proc.start_time(pid) is not None


def ambiguous(word: str, found: list[Found]) -> InvalidValueError:
    """The error for a word that means several things: it lists them."""
    names = [f"{each.owner.runtime or 'cgroup'} {_told(each)}" for each in found[:_NAMED]]
    if len(found) > _NAMED:
        names.append(f"and {len(found) - _NAMED} more")
    return InvalidValueError(
        f"{quoted(word)} matches {len(found)}: {', '.join(names)}",
        value=word,
        hint="write more of the id, or the path of the cgroup: climits find tells it",
    )


def owner_at(path: str, directories: "Iterable[str]") -> Owner:
    """As owner_of; where the path tells nothing, climits' own cgroups are known by their mark."""
    owner = owner_of(path)
    if owner.runtime:
        return owner
    for name in directories:
        try:
            directory = Directory(name)
        except CgroupError:
            continue
        if directory.get_mark(ownership.MARK) is not None:
            return Owner(runtime="climits", name=owner.name)
    return owner


def _is_called(word: str, path: str, owner: Owner) -> str:
    """What tells this one from others of the same name; empty where it is not called so."""
    if word in (owner.id, owner.container, owner.pod):
        return f"{owner.runtime} {word}"
    last = os.path.basename(path)
    for unit in (owner.unit, last if last.endswith(".slice") else None):
        if unit is None or (owner.id is not None and unit is owner.unit):
            continue
        if word in (unit, unescape(unit), unescape(unit).rpartition(".")[0]):
            # Users' managers have units of the same name.
            return path.partition(f"/{unit}")[0] + f"/{unit}"
    return f"{owner.runtime} {path}" if owner.runtime and word == owner.name else ""


def _is_in_pod(word: str, owner: Owner) -> bool:
    if owner.pod is None or len(word) < _LEAST_OF_POD:
        return False
    return owner.pod.startswith(word.replace("_", "-"))


def _is_monitor(path: str) -> bool:
    return owner_of(path).name.endswith(" (monitor)")


def _told(found: Found) -> str:
    """Enough of a name to tell it from others."""
    owner = found.owner
    if owner.id is not None:
        return owner.id[:20]
    return owner.unit or owner.pod or found.paths[0]
