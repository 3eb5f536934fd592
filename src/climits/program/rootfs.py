"""The file systems of a container, as steps of a plan.

With a rootfs: it becomes the root, with a /proc, /dev and /sys of its own.  Without: the host's
tree with a /proc of its own.  In both what steers the kernel (/proc/sys, /sys, every cgroup file
system) cannot be written, so that a program cannot raise its own limit or leave its cgroup.

Source: the OCI runtime specification, config-linux.md (default file systems and devices) and the
masked and read-only paths of its examples.
"""

import os

from ..errors import InvalidValueError
from ..launch import namespaces as ns
from ..launch.plan import Plan
from ..linux.mounts import kernel_mounts
from .container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..cgroup.layout import Layout
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
_PLAIN = ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC


def build(plan: Plan, container: Container, layout: "Layout") -> None:
    """Add the steps, from private mounts to the final root."""
    ns.private_mounts(plan)
    if container.rootfs is None:
        _host_tree(plan, container)
    else:
        _own_tree(plan, container, layout)


# ---- the host's tree -----------------------------------------------------------------------


def _host_tree(plan: Plan, container: Container) -> None:
    if "pid" in container.new:
        ns.mount(plan, "proc", "/proc", "proc", _PLAIN)
    _protect(plan, container, "", [p for p in MASKED if p.startswith("/proc")])
    ns.make_read_only(plan, "/sys")
    for mount in kernel_mounts():
        if not mount.point.startswith(("/sys/", "/proc/")) and mount.point not in ("/sys", "/proc"):
            _take_power(plan, mount, mount.point)
    _extras(plan, container, "")
    if container.read_only:
        ns.make_read_only(plan, "/")
    # The directory we are in may lie in what has just been covered.
    here = os.getcwd()
    plan.call("chdir", b"/", purpose="change to /")
    plan.call("chdir", os.fsencode(here), purpose=f"change to {here}", expect=ns.ANY_RESULT)


def _take_power(plan: Plan, mount: "Mount", target: str) -> None:
    """Make a mount by which the kernel is steered read-only; others' processes are hidden."""
    if mount.fstype == "proc":
        flags = _PLAIN | ns.MS_RDONLY
        ns.mount(plan, "tmpfs", target, "tmpfs", flags, "size=0", purpose=f"hide {target}")
    else:
        ns.make_read_only(plan, target)


# ---- a tree of its own ---------------------------------------------------------------------


def _own_tree(plan: Plan, container: Container, layout: "Layout") -> None:
    root = container.rootfs
    assert root is not None
    check_root(root)
    if container.overlay_dir:  # what an earlier run has written there is part of the root
        check_root(f"{container.overlay_dir}/upper")
    if container.overlay:
        _overlay(plan, root, container.overlay_dir)
    else:
        ns.bind(plan, root, root)
        plan.call("chdir", os.fsencode(root), purpose=f"change to {root}")
        ns.restrict(plan, ".", ("nodev",))  # what devices there are, /dev says
    for name in ("proc", "sys", "dev"):
        ns.make_directory(plan, name)
    if "pid" in container.new:
        ns.mount(plan, "proc", "proc", "proc", _PLAIN)
    else:
        ns.bind(plan, "/proc", "proc")
    _sys(plan, container, layout)
    _dev(plan, container)
    _protect(plan, container, ".", MASKED)
    _extras(plan, container, ".")
    if container.read_only:
        ns.restrict(plan, ".", ("ro",), below=False)
    ns.pivot_here(plan)


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


def _overlay(plan: Plan, root: str, directory: "str | None") -> None:
    """Lay a writable layer over the root and change to what is seen then."""
    # The root is the lower layer by its being the current directory: its path is covered below.
    plan.call("chdir", os.fsencode(root), purpose=f"change to {root}")
    if directory is None:
        ns.mount(plan, "tmpfs", root, "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, "mode=755")
        directory, merged = root, f"{root}/merged"
        ns.make_directory(plan, merged)
    else:
        merged = root
    for name in ("upper", "work"):
        ns.make_directory(plan, f"{directory}/{name}")
    options = f"lowerdir=.,upperdir={directory}/upper,workdir={directory}/work"
    if os.geteuid() != 0:
        options += ",userxattr"  # trusted attributes are the host's root's
    ns.mount(plan, "overlay", merged, "overlay", ns.MS_NODEV, options)
    plan.call("chdir", os.fsencode(merged), purpose=f"change to {merged}")


def _sys(plan: Plan, container: Container, layout: "Layout") -> None:
    if "net" in container.new:  # a sysfs shows one network namespace, and wants to own it
        ns.mount(plan, "sysfs", "sys", "sysfs", _PLAIN | ns.MS_RDONLY)
        _cgroups(plan, container, layout)
    else:
        ns.bind(plan, "/sys", "sys")
        ns.make_read_only(plan, "sys")


def _cgroups(plan: Plan, container: Container, layout: "Layout") -> None:
    """Its own view of the cgroups, which begins at its own."""
    if "cgroup" not in container.new:
        return
    if layout.mode == "unified":
        ns.mount(plan, "cgroup2", "sys/fs/cgroup", "cgroup2", _PLAIN | ns.MS_RDONLY)
        return
    ns.mount(plan, "tmpfs", "sys/fs/cgroup", "tmpfs", _PLAIN, "mode=755,size=64k")
    for hierarchy in layout.hierarchies:
        target = f"sys/fs/cgroup/{hierarchy.label.removeprefix('name=')}"
        ns.make_directory(plan, target)
        fstype, options = hierarchy.mount_words
        ns.mount(plan, fstype, target, fstype, _PLAIN | ns.MS_RDONLY, options)
    flags = ns.MS_REMOUNT | ns.MS_RDONLY | _PLAIN
    ns.mount(plan, None, "sys/fs/cgroup", None, flags, purpose="make sys/fs/cgroup read-only")


def _dev(plan: Plan, container: Container) -> None:
    ns.mount(plan, "tmpfs", "dev", "tmpfs", ns.MS_NOSUID, "mode=755,size=1m")
    names = [*_DEVICES, *(path.removeprefix("/dev/") for path in container.devices)]
    for name in names:
        if os.path.exists(f"/dev/{name}"):
            for parent in _parents(name):
                ns.make_directory(plan, f"dev/{parent}")
            ns.make_file(plan, f"dev/{name}")
            ns.bind(plan, f"/dev/{name}", f"dev/{name}", recursive=False)
    for text, name in _LINKS:
        ns.make_link(plan, text, f"dev/{name}")
    for name in ("pts", "shm", "mqueue"):
        ns.make_directory(plan, f"dev/{name}")
    flags = ns.MS_NOSUID | ns.MS_NOEXEC
    ns.mount(plan, "devpts", "dev/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=0620")
    ns.mount(plan, "tmpfs", "dev/shm", "tmpfs", _PLAIN, "mode=1777")
    if "ipc" in container.new:
        ns.mount(plan, "mqueue", "dev/mqueue", "mqueue", _PLAIN)


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


# ---- both ----------------------------------------------------------------------------------


def _protect(plan: Plan, container: Container, base: str, masked: "Iterable[str]") -> None:
    """Hide and protect paths: those that this kernel has, and those that the root has."""
    for path in dict.fromkeys((*masked, *container.masked)):
        there = _seen_at(container, path)
        if os.path.isdir(there):
            ns.mount(plan, "tmpfs", base + path, "tmpfs", _PLAIN | ns.MS_RDONLY, "size=0",
                     purpose=f"hide {path}")  # fmt: skip
        elif os.path.exists(there):
            ns.mount(plan, "/dev/null", base + path, None, ns.MS_BIND, purpose=f"hide {path}")
    for path in dict.fromkeys((*READ_ONLY, *container.protected)):
        if os.path.exists(_seen_at(container, path)):
            ns.bind(plan, base + path, base + path)
            ns.make_read_only(plan, base + path)


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


def _extras(plan: Plan, container: Container, base: str) -> None:
    """Binds and tmpfs of the caller's."""
    for place in container.tmpfs:
        target = place.target
        _make_place(plan, container, base, target, directory=True)
        flags = ns.MS_NOSUID | ns.MS_NODEV
        flags |= ns.MS_NOEXEC if "noexec" in place.flags else 0
        flags |= ns.MS_RDONLY if "ro" in place.flags else 0
        options = f"mode={place.mode:o}" + (f",size={place.size}" if place.size is not None else "")
        ns.mount(plan, "tmpfs", base + target, "tmpfs", flags, options)
    mounts = kernel_mounts() if any(bind.recursive for bind in container.binds) else []
    for bind in container.binds:
        _make_place(plan, container, base, bind.target, directory=os.path.isdir(bind.source))
        ns.bind(plan, bind.source, base + bind.target, recursive=bind.recursive)
        if bind.flags:
            ns.restrict(plan, base + bind.target, bind.flags)
        if bind.read_only:
            ns.make_read_only(plan, base + bind.target)
        elif bind.recursive:
            source = bind.source.rstrip("/")
            for mount in mounts:
                if f"{mount.point}/".startswith(source + "/"):
                    _take_power(plan, mount, base + bind.target + mount.point[len(source) :])


def _make_place(
    plan: Plan, container: Container, base: str, target: str, *, directory: bool
) -> None:
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
    for parent in _parents(target[1:]):
        ns.make_directory(plan, f"{base}/{parent}")
    if directory:
        ns.make_directory(plan, base + target)
    else:
        ns.make_file(plan, base + target)
