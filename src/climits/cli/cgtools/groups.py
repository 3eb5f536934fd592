"""From what a command line names to directories of the cgroup filesystem."""

import os

from ...cgroup import files
from ...cgroup.files import Directory
from ...cgroup.layout import Hierarchy, Layout, current
from ...cgroup.naming import check_component, check_path
from ...errors import CgroupError, CgroupExistsError, CgroupGoneError, UnsupportedError
from ...linux.mounts import kernel_controllers
from .args import Spec

#: Stands for every controller that is mounted.
EVERY = "*"
#: What the files of the v2 hierarchy itself begin with.
CORE = "cgroup"
#: The hierarchy that belongs to systemd alone: most builds of cgroup-tools never list it.
_OPAQUE = "systemd"


def clean(path: str) -> str:
    """The cgroup path that a word means, with a slash in front.

    Raises:
        InvalidValueError: it climbs out.
    """
    return check_path(path, current(), what="cgroup")


def ordered(hierarchy: Hierarchy) -> list[str]:
    """The controllers of a hierarchy in the kernel's order; ``name=NAME`` where it has none.

    Empty for what is not to be listed.
    """
    if not hierarchy.controllers:
        return [f"name={hierarchy.name}"] if hierarchy.name not in (None, _OPAQUE) else []
    known = list(kernel_controllers())
    places = {name: index for index, name in enumerate(known)}
    places["io"] = places.get("blkio", len(known))  # its name on v2
    return sorted(hierarchy.controllers, key=lambda c: (places.get(c, len(known)), c))


def find(controller: str) -> Hierarchy:
    """The hierarchy that has a controller, or the named one.

    Raises:
        UnsupportedError: none has it.
    """
    layout = current()
    if controller.startswith("name="):
        for hierarchy in layout.hierarchies:
            if hierarchy.name is not None and f"name={hierarchy.name}" == controller:
                return hierarchy
        raise UnsupportedError(f"no hierarchy is mounted with {controller}")
    if controller == CORE:
        return unified()
    return layout.holding(controller)


def unified() -> Hierarchy:
    """The v2 hierarchy.

    Raises:
        UnsupportedError: there is none.
    """
    layout = current()
    if layout.unified is None:
        raise UnsupportedError(
            "the v2 hierarchy is not mounted", hint="mount -t cgroup2 cgroup2 DIRECTORY"
        )
    return layout.unified


def every(layout: Layout) -> "dict[Hierarchy, tuple[str, ...]]":
    """What ``*`` stands for: the hierarchies that limit something here, and their controllers."""
    # On a hybrid host the v2 tree beside the others only tracks.
    limiting = {
        h: tuple(ordered(h))
        for h in layout.hierarchies
        if h.controllers and (not h.delegates or layout.mode != "hybrid")
    }
    if not limiting:
        raise UnsupportedError("no controller is mounted")
    return limiting


def hierarchies(spec: Spec) -> "dict[Hierarchy, tuple[str, ...]]":
    """The hierarchies that a ``-g`` names, each once, with the controllers named of it.

    Raises:
        UnsupportedError: a controller is not mounted.
    """
    if not spec.controllers:
        return {unified(): ()}
    found: dict[Hierarchy, tuple[str, ...]] = {}
    for controller in spec.controllers:
        if controller == EVERY:
            for hierarchy, names in every(current()).items():
                found[hierarchy] = tuple(dict.fromkeys((*found.get(hierarchy, ()), *names)))
        else:
            hierarchy = find(controller)
            found[hierarchy] = (*found.get(hierarchy, ()), controller)
    return found


def open_group(hierarchy: Hierarchy, path: str) -> Directory:
    """A cgroup that exists, by its path as it was written."""
    return Directory(hierarchy.directory_path(clean(path)))


def check_controllers(
    directory: Directory, hierarchy: Hierarchy, controllers: tuple[str, ...]
) -> None:
    """Refuse a cgroup that is not under the controllers: on v2 they must be handed down to it.

    Raises:
        CgroupGoneError: one was not.
    """
    if not hierarchy.delegates or not set(controllers) - {CORE}:
        return
    enabled = directory.controllers()
    for controller in controllers:
        if controller != CORE and controller not in enabled:
            raise CgroupGoneError(
                f"{directory.path}: the {controller} controller was not handed down to it",
                path=directory.path,
                hint=f"cgcreate -g {controller}:PATH does that too",
            )


def entries(directory: Directory) -> list[str]:
    """Names of the files of a cgroup, in the kernel's order."""
    with os.scandir(directory.fd) as found:
        return [e.name for e in found if e.is_file(follow_symlinks=False)]


def writable(directory: Directory, name: str) -> bool:
    """Whether the owner of a file may write it."""
    try:
        return bool(os.stat(name, dir_fd=directory.fd).st_mode & 0o200)
    except OSError:
        return False


def walk(directory: Directory, path: str) -> "list[tuple[str, Directory]]":
    """A cgroup and all below it, parents first: (path, directory).

    Args:
        directory: where to start.
        path: of that, without a slash at its end.
    """
    found = [(path, directory)]
    for name in directory.children():
        try:
            child = directory.child(name)
        except CgroupGoneError:
            continue  # removed meanwhile
        found += walk(child, f"{path}/{name}")
        child.rest()
    return found


def make(hierarchy: Hierarchy, path: str, controllers: tuple[str, ...]) -> "list[str]":
    """Make a cgroup and those above it, where they are missing.

    Args:
        hierarchy: where.
        path: such as /a/b.
        controllers: on v2 they are handed down to it.

    Returns:
        The directories that were made, parents first; may be empty.

    Raises:
        CgroupError: the kernel refused; what was made is removed again.
    """
    made: list[str] = []
    here = ""
    try:
        for component in path.strip("/").split("/"):
            if not component:
                continue
            if hierarchy.delegates and controllers:
                hand_down(Directory(hierarchy.directory_path(here or "/")), controllers)
            here += f"/{component}"
            directory = hierarchy.directory_path(here)
            if not os.path.isdir(directory):
                check_component(component, what="cgroup")
                try:
                    files.make(directory)
                except CgroupExistsError:
                    continue  # by somebody else, meanwhile
                made.append(directory)
    except BaseException:
        for directory in reversed(made):
            files.remove(directory)
        raise
    return made


def hand_down(directory: Directory, controllers: tuple[str, ...]) -> None:
    """Let the children of a v2 cgroup have controllers."""
    enabled = directory.read("cgroup.subtree_control").decode().split()
    missing = [c for c in controllers if c not in enabled and c != CORE]
    if not missing:
        return
    try:
        directory.write("cgroup.subtree_control", " ".join(f"+{c}" for c in missing))
    except CgroupError as e:
        if e.hint is None:
            e.hint = "on cgroup v2 a cgroup has either processes or controllers for its children"
        raise
