"""The file systems of a container, as steps of a plan.

With a rootfs: it becomes the root, with a /proc, /dev and /sys of its own.  Without: the host's
tree with a /proc of its own.  In both what steers the kernel (/proc/sys, /sys, every cgroup file
system) cannot be written, so that a program cannot raise its own limit or leave its cgroup.

Source: the OCI runtime specification, config-linux.md (default file systems and devices) and the
masked and read-only paths of its examples.
"""

import os

from ..errors import InvalidValueError
from ..launch import mounts
from ..launch.mounts import Tree
from ..launch.plan import ANY_RESULT, AT_FDCWD, Plan
from ..linux.mounts import kernel_mounts
from .container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..cgroup.layout import Layout
    from ..launch.mounts import Opened
    from ..linux.mounts import Mount

# Hidden: they tell of the host, or let a program reach its memory.
MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/kmsg",
    "/proc/kpagecount", "/proc/kpageflags", "/proc/latency_stats", "/proc/sched_debug",
    "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
)  # fmt: skip
# To be read only: they steer the kernel.
READ_ONLY = (
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/proc/dynamic_debug",
)  # fmt: skip

_DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
_LINKS = (
    ("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"), ("pts/ptmx", "ptmx"),
)  # fmt: skip
_PLAIN = ("nosuid", "nodev", "noexec")
_PLAIN_READ_ONLY = (*_PLAIN, "ro")


def build(plan: Plan, container: Container, layout: "Layout") -> None:
    """Add the steps, from private mounts to the final root."""
    mounts.private(plan)
    if container.rootfs is None:
        _host_tree(plan, container)
    else:
        _own_tree(plan, container, layout)


# ---- the host's tree -----------------------------------------------------------------------


def _host_tree(plan: Plan, container: Container) -> None:
    tree = Tree(plan, AT_FDCWD, strict=False)
    if "pid" in container.new:
        _mount(tree, "proc", "/proc", _PLAIN)
    _protect(tree, container, [p for p in MASKED if p.startswith("/proc")])
    tree.restrict("/sys", ("ro",))
    for mount in kernel_mounts():
        if not mount.point.startswith(("/sys/", "/proc/")) and mount.point not in ("/sys", "/proc"):
            _take_power(tree, mount, mount.point)
    _extras(tree, container)
    if container.read_only:
        tree.restrict("/", ("ro",))
    # The directory we are in may lie in what has just been covered.
    here = os.getcwd()
    plan.call("chdir", b"/", purpose="change to /")
    plan.call("chdir", os.fsencode(here), purpose=f"change to {here}", expect=ANY_RESULT)


def _mount(
    tree: Tree,
    fstype: str,
    path: str,
    flags: "Iterable[str]" = (),
    options: str = "",
    *,
    purpose: str = "",
    keep: bool = False,
) -> "Opened":
    """Mount a new file system in a place."""
    purpose = purpose or f"mount {fstype} on {path}"
    mount = mounts.new(tree.plan, fstype, flags, options, purpose=purpose)
    return tree.attach(mount, path, purpose=purpose, keep=keep)


def _show(
    tree: Tree,
    source: str,
    path: str,
    flags: "Iterable[str]" = (),
    *,
    recursive: bool = True,
    keep: bool = False,
) -> None:
    """Show a file or directory of the host in a place, with flags for all below it too."""
    purpose = f"bind {source} to {path}"
    mount = mounts.copy(tree.plan, source, recursive=recursive, purpose=purpose)
    if flags:
        mounts.restrict(tree.plan, mount, flags, purpose=purpose)
    tree.attach(mount, path, purpose=purpose, keep=keep)


def _hide(tree: Tree, path: str) -> None:
    """Cover a directory with an empty one."""
    _mount(tree, "tmpfs", path, _PLAIN_READ_ONLY, "size=0", purpose=f"hide {path}")


def _take_power(tree: Tree, mount: "Mount", path: str) -> None:
    """Make a mount by which the kernel is steered read-only; others' processes are hidden."""
    if mount.fstype == "proc":
        _hide(tree, path)
    else:
        tree.restrict(path, ("ro",))


# ---- a tree of its own ---------------------------------------------------------------------


def _own_tree(plan: Plan, container: Container, layout: "Layout") -> None:
    root = container.rootfs
    assert root is not None
    check_root(root)
    if container.overlay_dir:  # what an earlier run has written there is part of the root
        check_root(f"{container.overlay_dir}/upper")
    top = _overlay(plan, root, container.overlay_dir) if container.overlay else _plain(plan, root)
    plan.call("fchdir", top, purpose=f"change to {root}")
    tree = Tree(plan, top)
    for name in ("proc", "sys", "dev"):
        tree.make_directory(f"/{name}")
    if "pid" in container.new:
        _mount(tree, "proc", "/proc", _PLAIN, keep=True)
    else:
        _show(tree, "/proc", "/proc", keep=True)
    _sys(tree, container, layout)
    _dev(tree, container)
    _protect(tree, container, MASKED)
    _extras(tree, container)
    if container.read_only:
        mounts.restrict(plan, top, ("ro",), below=False, purpose="make the root read-only")
    mounts.pivot_here(plan)


def _plain(plan: Plan, root: str) -> "Opened":
    """The root as a mount of its own, in its own place."""
    mount = mounts.copy(plan, root)
    mounts.restrict(plan, mount, ("nodev",))  # what devices there are, /dev says
    return Tree(plan, AT_FDCWD, strict=False).attach(mount, root, keep=True)


def check_root(root: str) -> None:
    """Refuse a root whose own links would lead the mounts elsewhere."""
    if root == "/":
        raise InvalidValueError(
            "rootfs: /: it is the host's own", value=root, hint="leave rootfs out"
        )
    for name in ("proc", "sys", "dev"):
        if os.path.islink(f"{root}/{name}"):
            raise InvalidValueError(
                f"rootfs: {root}/{name}: a link, where a directory must be",
                value=root,
                hint="remove it",
            )


def _overlay(plan: Plan, root: str, directory: "str | None") -> "Opened":
    """A writable layer over the root, in the root's place.

    What it is made of is shown in a tmpfs, under names that need no quoting.
    """
    host = Tree(plan, AT_FDCWD, strict=False)
    lower = mounts.copy(plan, root, recursive=False)
    layer = mounts.copy(plan, directory, recursive=False) if directory else None
    scratch = _mount(host, "tmpfs", root, ("nosuid", "nodev"), "mode=755", keep=True)
    tree = Tree(plan, scratch)
    for name in ("lower", "layer", "merged"):
        tree.make_directory(f"/{name}")
    tree.attach(lower, "/lower")
    if layer:
        tree.attach(layer, "/layer")
    for name in ("upper", "work"):
        tree.make_directory(f"/layer/{name}")
    plan.call("fchdir", scratch, purpose=f"change to {root}")
    options = "lowerdir=lower,upperdir=layer/upper,workdir=layer/work"
    if os.geteuid() != 0:
        options += ",userxattr"  # trusted attributes are the host's root's
    mounts.overlay(plan, "merged", options)
    return tree.find("/merged", "mount the overlay")


def _sys(tree: Tree, container: Container, layout: "Layout") -> None:
    if "net" in container.new:  # a sysfs shows one network namespace, and wants to own it
        _mount(tree, "sysfs", "/sys", _PLAIN_READ_ONLY, keep=True)
        if "cgroup" in container.new:
            _cgroups(tree, layout)
    else:
        _show(tree, "/sys", "/sys", ("ro",), keep=True)


def _cgroups(tree: Tree, layout: "Layout") -> None:
    """Its own view of the cgroups, which begins at its own."""
    point = "/sys/fs/cgroup"
    if layout.mode == "unified":
        _mount(tree, "cgroup2", point, _PLAIN_READ_ONLY)
        return
    top = _mount(tree, "tmpfs", point, _PLAIN, "mode=755,size=64k", keep=True)
    for hierarchy in layout.hierarchies:
        place = f"{point}/{hierarchy.label.removeprefix('name=')}"
        tree.make_directory(place)
        fstype, options = hierarchy.mount_words
        _mount(tree, fstype, place, _PLAIN_READ_ONLY, options or "")
    mounts.restrict(tree.plan, top, ("ro",), below=False, purpose=f"make {point} read-only")


def _dev(tree: Tree, container: Container) -> None:
    _mount(tree, "tmpfs", "/dev", ("nosuid",), "mode=755,size=1m", keep=True)
    given = [name for _, name in _LINKS]
    names = [*_DEVICES, *(path.removeprefix("/dev/") for path in container.devices)]
    for name in names:
        if os.path.exists(f"/dev/{name}") and name not in given:
            tree.make_file(f"/dev/{name}")
            _show(tree, f"/dev/{name}", f"/dev/{name}", recursive=False)
    for text, name in _LINKS:
        tree.make_link(text, f"/dev/{name}")
    for name in ("pts", "shm", "mqueue"):
        tree.make_directory(f"/dev/{name}")
    options = "newinstance,ptmxmode=0666,mode=0620"
    _mount(tree, "devpts", "/dev/pts", ("nosuid", "noexec"), options)
    _mount(tree, "tmpfs", "/dev/shm", _PLAIN, "mode=1777")
    if "ipc" in container.new:
        _mount(tree, "mqueue", "/dev/mqueue", _PLAIN)


# ---- both ----------------------------------------------------------------------------------


def _protect(tree: Tree, container: Container, masked: "Iterable[str]") -> None:
    """Hide and protect paths: those that this kernel has, and those that the root has."""
    for path in dict.fromkeys((*masked, *container.masked)):
        there = _seen_at(container, path)
        if os.path.isdir(there):
            _hide(tree, path)
        elif os.path.exists(there):
            mount = mounts.copy(tree.plan, "/dev/null", recursive=False, purpose=f"hide {path}")
            tree.attach(mount, path, purpose=f"hide {path}")
    for path in dict.fromkeys((*READ_ONLY, *container.protected)):
        if os.path.exists(_seen_at(container, path)):
            tree.protect(path)


def _seen_at(container: Container, path: str) -> str:
    """Where we can see now what will be at a path inside."""
    if container.rootfs is None or path.split("/")[1] in ("proc", "sys"):
        return path  # the same as on the host
    _refuse_links(container.rootfs, path)
    return container.rootfs + path


def _refuse_links(root: str, target: str) -> None:
    """Refuse a path inside that leads through a link: outside of the root, perhaps."""
    path = root
    for part in target.split("/")[1:]:
        path += "/" + part
        if os.path.islink(path):
            raise InvalidValueError(
                f"{target}: {path} is a link, which would lead out of the rootfs", value=target
            )


def _extras(tree: Tree, container: Container) -> None:
    """Binds and tmpfs of the caller's."""
    for place in container.tmpfs:
        _make_place(tree, container, place.target, directory=True)
        options = f"mode={place.mode:o}" + (f",size={place.size}" if place.size is not None else "")
        flags = {"nosuid", "nodev", *(place.flags & {"noexec", "ro"})}
        _mount(tree, "tmpfs", place.target, flags, options)
    powers = kernel_mounts() if any(bind.recursive for bind in container.binds) else []
    for bind in container.binds:
        _make_place(tree, container, bind.target, directory=os.path.isdir(bind.source))
        source = bind.source.rstrip("/")
        below = [m for m in powers if f"{m.point}/".startswith(f"{source}/")]
        if bind.read_only or not bind.recursive:
            below = []
        flags = {*bind.flags, *(("ro",) if bind.read_only else ())}
        _show(tree, bind.source, bind.target, flags, recursive=bind.recursive, keep=bool(below))
        for mount in below:
            _take_power(tree, mount, bind.target + mount.point[len(source) :])


def _make_place(tree: Tree, container: Container, target: str, *, directory: bool) -> None:
    """Make the place for a mount, where the root has none; never through a link out of it."""
    root = container.rootfs
    own_dev = root is not None and target.startswith("/dev/")  # what the root has is covered
    if root is not None and not own_dev:
        _refuse_links(root, target)
        if container.overlay_dir:
            _refuse_links(f"{container.overlay_dir}/upper", target)
    if os.path.exists((root or "") + target) and not own_dev:
        return
    if root is None:
        raise InvalidValueError(
            f"{target}: no such file or directory", value=target, hint="make it first"
        )
    if directory:
        tree.make_directory(target)
    else:
        tree.make_file(target)
