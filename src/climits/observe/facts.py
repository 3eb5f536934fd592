"""What doctor looks at: gathered once, so that each check is a function of it alone."""

import os

from ..cgroup import placement
from ..cgroup.files import Directory
from ..cgroup.layout import Layout, current
from ..errors import CgroupError
from ..linux.kernel_config import read_command_line, read_config
from ..linux.mounts import kernel_controllers
from ..records import Record
from .trial import Trial, try_limits

#: Of the first cgroup namespace.  Source: include/linux/proc_ns.h (PROC_CGROUP_INIT_INO)
_FIRST_CGROUP_NAMESPACE = 0xEFFFFFFB

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
        container: a mark that makers of containers leave, or None.
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
    kernel_log: bool
    leftovers: "list[str]"
    trial: Trial


def gather() -> Facts:
    """Look at this host; makes and removes one cgroup."""
    release = os.uname().release
    layout = current()
    config, path = read_config(release)
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
        cgroup_namespace=_in_cgroup_namespace(),
        container=_container(),
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
    """Cgroups below /climits that are marked with a dead owner; may be empty."""
    dead: dict[str, None] = {}
    for hierarchy in layout.hierarchies:
        try:
            above = Directory(hierarchy.directory_path(placement.HOME))
            names = above.children()
        except CgroupError:
            continue
        for name in names:
            try:
                state = placement.owner_state(above.child(name).get_mark(placement.MARK))
            except CgroupError:
                continue  # gone meanwhile
            if state == "dead":
                dead[f"{placement.HOME}/{name}"] = None
        above.close()
    return list(dead)


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


def _in_cgroup_namespace() -> bool:
    try:
        return os.stat("/proc/self/ns/cgroup").st_ino != _FIRST_CGROUP_NAMESPACE
    except OSError:
        return False


def _container() -> "str | None":
    """What the makers of containers leave in them: a kind, or the path of a file."""
    try:
        with open("/run/host/container-manager", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        pass
    for path in ("/run/.containerenv", "/.dockerenv"):
        if os.path.exists(path):
            return path
    return os.environ.get("container")  # noqa: SIM112 - systemd's name for it
