"""Names and paths of cgroups, as a person gives them."""

import os

from ..errors import InvalidValueError
from ..units import quoted
from .layout import KERNEL_PREFIXES, Hierarchy, Layout

_MAX_NAME = 255  # bytes, NAME_MAX


def check_name(name: str, *, what: str = "name") -> str:
    """Accept a name that a person can use for a cgroup in every command.

    Raises:
        InvalidValueError: see check_component; or it would be read as a process.
    """
    number = name.removeprefix("pid:")
    if number != name or (number.isascii() and number.isdigit()):
        raise InvalidValueError(
            f"{what}: {quoted(name)}: stands for a process", value=name, hint="put a letter first"
        )
    return check_component(name, what=what)


def check_component(name: str, *, what: str = "name") -> str:
    """Accept one path component and nothing else.

    Raises:
        InvalidValueError: empty, a slash, ``..``, control characters, longer than 255 bytes.
    """
    cause = None
    if not name:
        cause = "empty"
    elif "/" in name:
        cause = "a slash may not stand in a name"
    elif name in (".", ".."):
        cause = "not a name"
    elif not name.isprintable():
        cause = "characters that cannot be shown may not stand in a name"
    elif len(os.fsencode(name)) > _MAX_NAME:
        cause = f"longer than {_MAX_NAME} bytes"
    elif name.partition(".")[0] in KERNEL_PREFIXES and "." in name:
        cause = "the kernel's own files have names of that form"
    elif name in ("tasks", "notify_on_release", "release_agent"):
        cause = "the kernel has a file of that name in each cgroup"
    if cause:
        raise InvalidValueError(
            f"{what}: {quoted(name)}: {cause}",
            value=name,
            hint="a plain name; the parent says where it is made",
        )
    return name


def check_path(path: str, layout: Layout, *, what: str) -> str:
    """The cgroup path that a person means: ``/a/b``, ``a/b`` or a directory below a mount point.

    Returns:
        A path that starts with a slash, such as /a/b.

    Raises:
        InvalidValueError: ``..``, control characters, a directory beside the mount points.
    """
    return locate(path, layout, what=what)[1]


def locate(path: str, layout: Layout, *, what: str) -> "tuple[Hierarchy | None, str]":
    """As check_path, and the hierarchy of a directory below a mount point; None for other paths."""
    parts = path.split("/")
    if not path or ".." in parts or not path.isprintable():
        raise InvalidValueError(
            f"{what}: {quoted(path)}: not a cgroup path", value=path, hint="write it like /jobs/web"
        )
    real = os.path.realpath(path)  # /sys/fs/cgroup/cpu may be a link to cpu,cpuacct
    for hierarchy in sorted(layout.hierarchies, key=lambda h: -len(h.mount_point)):
        inside = hierarchy.cgroup_path(real)
        if inside is not None:
            return hierarchy, inside
    if path.startswith("/"):
        _refuse_beside(real, path, layout, what)
    return None, "/" + "/".join(part for part in parts if part not in ("", "."))


def _refuse_beside(real: str, path: str, layout: Layout, what: str) -> None:
    """Refuse /sys/fs/cgroup/web where the hierarchies are mounted one level below."""
    above = {os.path.dirname(h.mount_point) for h in layout.hierarchies} - {"/"}
    if any(f"{real}/".startswith(f"{directory}/") for directory in above):
        raise InvalidValueError(
            f"{what}: {quoted(path)}: a directory in no hierarchy",
            value=path,
            hint="write the cgroup's path, like /jobs/web; climits hierarchies tells the mounts",
        )
