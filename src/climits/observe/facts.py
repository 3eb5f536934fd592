"""What doctor looks at: gathered once, so that each check is a function of it alone."""

import os
import shutil

from ..cgroup import ownership, systemd
from ..cgroup.files import Directory
from ..cgroup.homes import own_homes, owned_home
from ..cgroup.layout import Hierarchy, Layout, current
from ..errors import CgroupError
from ..linux.kernel_config import read_command_line, read_config
from ..linux.mounts import kernel_controllers
from ..linux.proc import cgroup_paths
from ..linux.surroundings import detect
from ..program.identity import user_name
from ..records import Record
from .setup.identities import ranges_of
from .setup.subtree import is_busy
from .trial import Trial, try_limits

#: Kernel settings that decide what a limit means, or whether something can be had.
SYSCTLS = (
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "vm.oom_kill_allocating_task",
    "kernel.dmesg_restrict",
    "kernel.unprivileged_userns_clone",  # Debian's
    "kernel.apparmor_restrict_unprivileged_userns",  # Ubuntu's
    "user.max_user_namespaces",
    "user.max_mnt_namespaces",
    "user.max_pid_namespaces",
    "user.max_net_namespaces",
    "user.max_ipc_namespaces",
    "user.max_uts_namespaces",
    "user.max_cgroup_namespaces",
    "fs.inotify.max_user_instances",
    "fs.inotify.max_user_watches",
)


class UserFacts(Record):
    """What an ordinary user has been given on this host.

    Attributes:
        name, uid: of the user.
        systemd: it manages this host.
        manager: a systemd of the user's own runs.
        bus: a socket through which that can be asked is there.
        delegated: controllers that systemd gave to it; None where that cannot be seen.
        home: the cgroup that climits setup makes for the user.
        owns_home: it is there, and the user's.
        subordinate: of /etc/subuid and /etc/subgid those that have a range for the user.
        helpers: of newuidmap and newgidmap those that are installed.
    """

    name: str
    uid: int
    systemd: bool
    manager: bool
    bus: bool
    delegated: "frozenset[str] | None" = None
    home: str
    owns_home: bool
    subordinate: "tuple[str, ...]"
    helpers: "tuple[str, ...]"


class Facts(Record):
    """A host, as far as limits are concerned.

    Attributes:
        release: of the kernel.
        config: its configuration, or None where it cannot be read.
        config_path: where that stands.
        command_line: the words of the kernel's command line.
        layout: the mounted hierarchies.
        controllers: those the kernel was built with, and whether each is enabled.
        root: we are root.
        swap_total: swap of the machine, bytes.
        psi: the machine as a whole tells its pressure.
        sysctls: settings by name; those that this kernel lacks are left out.
        namespaces: kinds that the kernel has, as in /proc/self/ns.
        cgroup_namespace: we are in one that is not the first.
        container: its kind (docker, podman, kubernetes, ...), or None.
        container_mark: what tells so.
        first_process: cgroup of process 1 where memory is, or None.
        busy_root: processes in the root of the container's cgroups keep it from handing memory on.
        user: what an ordinary user has been given; None for root.
        kernel_log: we may read it.
        leftovers: cgroups whose owner is dead.
        trial: what was tried for real.
    """

    release: str
    config: "dict[str, str] | None" = None
    config_path: "str | None" = None
    command_line: "list[str]"
    layout: Layout
    controllers: "dict[str, bool]"
    root: bool
    swap_total: int
    psi: bool
    sysctls: "dict[str, int]"
    namespaces: "frozenset[str]"
    cgroup_namespace: bool
    container: "str | None" = None
    container_mark: "str | None" = None
    first_process: "str | None" = None
    busy_root: bool = False
    user: "UserFacts | None" = None
    kernel_log: bool
    leftovers: "list[str]"
    trial: Trial


def gather() -> Facts:
    """Look at this host; makes and removes one cgroup."""
    release = os.uname().release
    layout = current()
    config, path = read_config(release)
    around = detect()
    return Facts(
        release=release,
        config=config,
        config_path=path,
        command_line=read_command_line(),
        layout=layout,
        controllers=kernel_controllers(),
        root=os.geteuid() == 0,
        swap_total=_swap_total(),
        psi=_can_read("/proc/pressure/memory"),
        sysctls=read_sysctls(),
        namespaces=_namespaces(),
        cgroup_namespace=around.private,
        container=around.kind,
        container_mark=around.mark,
        first_process=_first_process(layout),
        busy_root=is_busy(layout.find("memory")),
        user=None if os.geteuid() == 0 else _user_facts(),
        kernel_log=_can_read("/dev/kmsg"),
        leftovers=find_leftovers(layout),
        trial=try_limits(layout),
    )


def read_sysctls(root: str = "/proc/sys") -> dict[str, int]:
    """The settings of SYSCTLS, without those that are missing or hidden."""
    found: dict[str, int] = {}
    for name in SYSCTLS:
        try:
            with open(f"{root}/{name.replace('.', '/')}", encoding="ascii") as file:
                found[name] = int(file.read())
        except (OSError, ValueError):
            continue
    return found


def find_leftovers(layout: Layout) -> list[str]:
    """Cgroups of this user that are marked with a dead owner, wherever; may be empty."""
    dead: dict[str, None] = {}
    for parent in own_homes() if layout.hierarchies else ():
        for hierarchy in layout.hierarchies:
            names = _marked_by_the_dead(hierarchy.directory_path(parent))
            dead.update((f"{parent}/{name}", None) for name in names)
    return list(dead)


def _marked_by_the_dead(directory: str) -> list[str]:
    try:
        above = Directory(directory)
        names = above.children()
    except CgroupError:
        return []
    dead = []
    for name in names:
        try:
            if ownership.owner_state(above.child(name).get_mark(ownership.MARK)) == "dead":
                dead.append(name)
        except CgroupError:
            continue  # gone meanwhile
    return dead


def _swap_total() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("SwapTotal:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _can_read(path: str) -> bool:
    # With O_NONBLOCK the kernel log is read or refused, never waited for.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        os.read(fd, 8192)
    except BlockingIOError:
        pass
    except BrokenPipeError:  # messages were overwritten: readable all the same
        pass
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _namespaces() -> frozenset[str]:
    try:
        return frozenset(os.listdir("/proc/self/ns"))
    except OSError:
        return frozenset()


def _first_process(layout: Layout) -> "str | None":
    memory = layout.find("memory")
    try:
        return memory.path_among(cgroup_paths(1)) if memory else None
    except OSError:
        return None


def _user_facts() -> UserFacts:
    uid = os.geteuid()
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    name = user_name(uid)
    memory = current().find("memory")
    delegated = None
    if memory is not None and memory.delegates:
        try:
            directory = Directory(memory.directory_path(systemd.user_manager(uid)))
            delegated = frozenset(directory.controllers())
            directory.close()
        except CgroupError:
            pass
    return UserFacts(
        name=name,
        uid=uid,
        systemd=os.path.isdir("/run/systemd/system"),
        # With a v1 hierarchy for memory, or in a namespace, its cgroup is not to be seen there.
        manager=delegated is not None or os.path.exists(f"/run/user/{uid}/systemd/private"),
        bus=_has_bus(runtime),
        delegated=delegated,
        home=owned_home(uid),
        owns_home=memory is not None and _is_owned(memory, uid),
        subordinate=tuple(
            path for path in ("/etc/subuid", "/etc/subgid") if _has_range(path, name, uid)
        ),
        helpers=tuple(name for name in ("newuidmap", "newgidmap") if shutil.which(name)),
    )


def _has_bus(runtime: str) -> bool:
    """Whether the socket of the user's bus, or the manager's own, is there."""
    address = os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    path = address.removeprefix("unix:path=").partition(",")[0]
    if path != address and os.path.exists(path):
        return True
    return any(os.path.exists(f"{runtime}/{name}") for name in ("bus", "systemd/private"))


def _is_owned(memory: Hierarchy, uid: int) -> bool:
    try:
        return os.stat(memory.directory_path(owned_home(uid))).st_uid == uid
    except (CgroupError, OSError):
        return False


def _has_range(path: str, name: str, uid: int) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return bool(ranges_of(file.read(), name, uid))
    except OSError:
        return False
