"""Where a new cgroup may live, and whose it is.

As root a cgroup is made as /climits/NAME in each hierarchy it needs.  An ordinary user works below
a cgroup that was given to them: /climits, or the one they are in.  Each directory that is made
gets a mark (an extended attribute) with its owner's pid, start time and pid namespace, so that
what a dead owner left can be told from everything else, and nothing else is ever removed.

Cgroups do not survive a boot, so neither do their marks.
"""

import _thread
import atexit
import errno
import os
import time

from ..errors import (
    CgroupError,
    CgroupExistsError,
    CgroupGoneError,
    CgroupPermissionError,
    InvalidValueError,
)
from ..linux.proc import pid_namespace, start_time
from ..units import quoted
from . import files
from .files import Directory
from .layout import KERNEL_PREFIXES, Hierarchy, Layout, current
from .systemd import move_into_leaf, was_given

#: The parent of what climits makes, below each mount point.
HOME = "/climits"

MARK = "user.climits"
#: On a parent: the owner's mark and the name of a cgroup that is about to be made in it.  Whoever
#: is killed between making and marking it leaves this behind.
ANNOUNCED = "user.climits.makes."
KEPT = b"kept"

_MAX_NAME = 255  # bytes, NAME_MAX


# ---- names ---------------------------------------------------------------------------------


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


# ---- marks ---------------------------------------------------------------------------------

_identity: "tuple[int, bytes]" = (0, b"")


def owner_mark() -> bytes:
    """The mark of this process: pid, start time in ticks, pid namespace."""
    global _identity
    pid = os.getpid()
    if _identity[0] != pid:  # first use, or we are a fork
        _identity = pid, b"%d %d %d" % (pid, start_time() or 0, pid_namespace())
    return _identity[1]


def owner_state(mark: "bytes | None") -> str:
    """Read a mark: kept, alive, dead, foreign (of another pid namespace) or none."""
    if mark is None:
        return "none"
    if mark == KEPT:
        return "kept"
    try:
        pid, started, namespace = map(int, mark.split())
    except ValueError:
        return "none"
    if namespace != pid_namespace():
        return "foreign"
    return "alive" if start_time(pid) == started else "dead"


def owner_pid(mark: "bytes | None") -> "int | None":
    """The pid in a mark."""
    first = (mark or b"").split(b" ")[0]
    return int(first) if first.isdigit() else None


# ---- making --------------------------------------------------------------------------------


class Part:
    """One hierarchy's share of a cgroup.

    Attributes:
        hierarchy: which one.
        directory: the open directory.
        made: we made it, and may remove it.
    """

    __slots__ = ("directory", "hierarchy", "made")

    def __init__(self, hierarchy: Hierarchy, directory: Directory, *, made: bool) -> None:
        self.hierarchy, self.directory, self.made = hierarchy, directory, made

    def __str__(self) -> str:
        # memory:/climits/web, to be shown
        path = self.hierarchy.cgroup_path(self.directory.path) or self.directory.path
        return f"{self.hierarchy.label}:{path}"


def make(
    hierarchies: "list[tuple[Hierarchy, tuple[str, ...]]]", parent: str, name: str
) -> list[Part]:
    """Make the cgroup parent/name in each hierarchy, marked as ours.

    Args:
        hierarchies: each with the controllers that are wanted of it.
        parent: such as /climits; made too where it is missing.
        name: one component.

    Raises:
        CgroupExistsError: it is there in one of them; nothing was made then.
        CgroupError: see its text; nothing is left behind.
    """
    parts: list[Part] = []
    mark = owner_mark()
    if not _used_parents:
        atexit.register(_at_exit)
    _used_parents[parent] = None
    try:
        for hierarchy, controllers in hierarchies:
            path = hierarchy.directory_path(f"{parent}/{name}")
            announced = _announce(hierarchy, parent, name) if pid_in(name) != os.getpid() else None
            try:
                _make_below(hierarchy, path, parent)
                try:
                    _prepare_parent(hierarchy, parent, controllers)
                    part = Part(hierarchy, Directory(path), made=True)
                    parts.append(part)
                    part.directory.set_mark(MARK, mark)
                except BaseException:
                    files.remove(path)
                    raise
            finally:
                if announced:
                    announced.remove_mark(_announcement())
                    announced.close()
            if "cpuset" in controllers:
                upper = Directory(os.path.dirname(path))
                hierarchy.cpuset(part.directory).inherit(upper)
                upper.close()
    except BaseException:
        for part in reversed(parts):
            files.remove(part.directory.path)
        release_parents()
        raise
    return parts


def pid_in(name: str) -> "int | None":
    """The maker's pid in a name that was made up (see Spec.made_up_name); None in others."""
    words = name.split("-")
    if len(words) < 3 or not (words[-1].isdigit() and words[-2].isdigit()):
        return None
    return int(words[-2])


def split_announcement(value: bytes) -> tuple[bytes, str]:
    """(mark, name) of an announcement."""
    *mark, name = value.split(b" ", 3)
    return b" ".join(mark), os.fsdecode(name)


def _announcement() -> str:
    return f"{ANNOUNCED}{os.getpid()}.{_thread.get_native_id()}"


def _announce(hierarchy: Hierarchy, parent: str, name: str) -> Directory:
    """Say on the parent what we are about to make in it."""
    path = hierarchy.directory_path(parent or "/")
    if not os.path.isdir(path):
        _make_parents(hierarchy, parent)
    upper = Directory(path)
    upper.set_mark(_announcement(), owner_mark() + b" " + os.fsencode(name))
    return upper


def _make_below(hierarchy: Hierarchy, path: str, parent: str) -> None:
    # Another climits may remove an empty parent between our two steps: then once more.
    for _ in range(9):
        try:
            files.make(path)
            return
        except CgroupGoneError:
            _make_parents(hierarchy, parent)
    files.make(path)


# ---- parents -------------------------------------------------------------------------------

# Parents that this process made, deepest last.  They stay while it lives, since making one costs
# as much as making a cgroup, and are removed, where empty, at its end.
_made_parents: "dict[str, None]" = {}
# Parents that this process used: what of ours is left in them at exit is removed.
_used_parents: "dict[str, None]" = {}
# Parents that have handed down the controllers named, and their inode numbers: another climits may
# have removed the one we prepared and made it anew.
_prepared: "dict[tuple[Hierarchy, str, tuple[str, ...]], int]" = {}
_lock = _thread.allocate_lock()


def _make_parents(hierarchy: Hierarchy, parent: str) -> None:
    path = ""
    for component in parent.split("/")[1:]:
        path += "/" + component
        directory = hierarchy.directory_path(path)
        if not os.path.isdir(directory):
            try:
                files.make(directory)
            except CgroupExistsError:
                continue  # by another climits, meanwhile
            with _lock:
                _made_parents[directory] = None


def release_parents() -> None:
    """Remove the parents that this process made, where nothing lives in them."""
    with _lock:
        for path in reversed(list(_made_parents)):
            try:
                if files.remove(path):
                    del _made_parents[path]
            except CgroupError:
                pass


def _at_exit() -> None:
    # What a Ctrl+C between two steps has left, or a program that never said remove.
    from .leftovers import sweep

    sweep(current(), *_used_parents, own=True)
    release_parents()


def _hand_down(directory: Directory, controllers: list[str]) -> None:
    text = " ".join(f"+{c}" for c in controllers)
    try:
        directory.write("cgroup.subtree_control", text)
    except CgroupError as e:
        if e.errno != errno.EBUSY or not _may_empty(directory):
            raise
        move_into_leaf(directory)
        directory.write("cgroup.subtree_control", text)


def _may_empty(directory: Directory) -> bool:
    """Whether the processes of a cgroup may be moved into a leaf of it.

    Where we are alone in what was delegated to us, or systemd says that all of it was.
    """
    return directory.pids() == [os.getpid()] or was_given(directory.path)


def remove_home_if_empty(layout: Layout, parent: str) -> None:
    """Remove an empty parent that somebody's interrupted start left; only our own one."""
    if parent == HOME:
        for hierarchy in layout.hierarchies:
            try:
                files.remove(hierarchy.directory_path(parent))
            except CgroupError:
                pass


def _prepare_parent(hierarchy: Hierarchy, parent: str, controllers: tuple[str, ...]) -> None:
    """Hand the controllers down from the root to the parent, which has a child and so stays."""
    if not controllers or not (hierarchy.delegates or "cpuset" in controllers):
        return
    inode = os.stat(hierarchy.directory_path(parent or "/")).st_ino
    if _prepared.get((hierarchy, parent, controllers)) == inode:
        return
    path = ""
    upper: Directory | None = None
    for component in parent.split("/"):
        path = f"{path}/{component}" if component else path
        directory = Directory(hierarchy.directory_path(path or "/"))
        if hierarchy.delegates:
            _enable(directory, controllers)
        elif upper is not None:
            hierarchy.cpuset(directory).inherit(upper)
        upper = directory
    _prepared[hierarchy, parent, controllers] = inode


def _enable(directory: Directory, controllers: tuple[str, ...]) -> None:
    enabled = directory.read("cgroup.subtree_control").decode().split()
    missing = [c for c in controllers if c not in enabled]
    if not missing:
        return
    try:
        _hand_down(directory, missing)
    except CgroupError as e:
        wanted, path = " and ".join(missing), directory.path
        if e.errno == errno.EBUSY:
            raise CgroupError(
                f"cannot hand {wanted} down from {path}: processes live in it, and on cgroup v2 a "
                "cgroup has either processes or controllers for its children",
                path=path,
                errno=e.errno,
                hint="choose another parent, or start climits as the only process there (exec); "
                "in a container: climits setup --apply moves them into a cgroup of their own",
            ) from None
        if e.errno in (errno.EACCES, errno.EPERM):
            raise CgroupPermissionError(
                f"{wanted}: not handed down to us from {path}, and that is not ours to change",
                path=path,
                errno=e.errno,
                hint="as root: climits setup --user NAME --apply has systemd hand it to a user",
            ) from None
        if e.errno == errno.ENOENT:
            raise CgroupError(
                f"cannot hand {wanted} down from {path}: the controller is not available in it",
                path=path,
                errno=e.errno,
                hint="as root: climits setup --user NAME --apply has systemd hand it to a user; "
                "elsewhere enable it in cgroup.subtree_control of the cgroups above",
            ) from None
        raise


# ---- removing ------------------------------------------------------------------------------


def remove(part: Part, timeout: float = 10.0, *, kill: bool = False, there: bool = False) -> None:
    """Remove one part and what is below it.

    Args:
        part: which one.
        timeout: seconds to try for.
        kill: end what still runs in it.
        there: it was seen a moment ago: do not look whether it is gone.

    Raises:
        CgroupError: something still lives in it after `timeout` seconds.
    """
    path = part.directory.path
    if not there and part.directory.is_gone():  # removed by somebody, and maybe made anew: not ours
        return
    if files.remove(path):
        return
    deadline = time.monotonic() + timeout
    pause = 0.0001
    while busy := files.remove_below(part.directory):
        if kill and part.directory.is_populated():
            part.hierarchy.freezer(part.directory).kill(timeout)
        if time.monotonic() > deadline:
            raise _still_populated(busy)
        # Processes that were just killed keep it busy until the last of their exit is done.
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


def _still_populated(path: str) -> CgroupError:
    hint = "kill or move them first"
    try:
        if 0 in (Directory(path).pids() or [0]):  # v1 does not list those it has to hide
            hint = "none is listed here: they live in another pid namespace, or cannot end"
    except CgroupError:
        pass
    return CgroupError(
        f"cannot remove the cgroup: {path}: processes live in it",
        path=path,
        errno=errno.EBUSY,
        hint=hint,
    )
