"""Every trouble that doctor knows: what it costs, and the remedy.  docs/reference/doctor.md is made
of this table."""

from ..cgroup.files import PERMISSION_HINT
from ..linux.surroundings import to_be_private, to_be_writable
from ..records import Record

OK, DEGRADED, CANNOT = "ok", "degraded", "cannot"

_BOOT = (
    "on the kernel's command line (GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub), and "
    "boot again"
)


class Trouble(Record):
    """One thing that may be amiss.

    Attributes:
        key: names it in the JSON and in the documentation.
        check: the check that finds it.
        state: degraded, or cannot where memory cannot be limited.
        cost: what does not work because of it.
        remedy: what to do.
    """

    key: str
    check: str
    state: str
    cost: str
    remedy: str


def _table(*rows: "tuple[str, str, str, str, str]") -> "dict[str, Trouble]":
    return {
        key: Trouble(key=key, check=check, state=state, cost=cost, remedy=remedy)
        for key, check, state, cost, remedy in rows
    }


#: (option, last kernel that has it or None, what is lost without it)
CONFIG_OPTIONS: "tuple[tuple[str, str | None, str], ...]" = (
    ("CONFIG_CGROUPS", None, "there are no cgroups at all"),
    ("CONFIG_MEMCG", None, "memory cannot be limited"),
    ("CONFIG_MEMCG_SWAP", "6.0", "swap cannot be limited or counted"),
    ("CONFIG_MEMCG_KMEM", "6.10", "kernel memory is not limited or counted"),
    ("CONFIG_PSI", None, "memory pressure (PSI) is not told"),
    ("CONFIG_CGROUP_PIDS", None, "--pids does not work"),
    ("CONFIG_CFS_BANDWIDTH", None, "--cpus does not work"),
    ("CONFIG_CPUSETS", None, "--cpuset does not work"),
    ("CONFIG_USER_NS", None, "containers and ordinary users have no user namespaces"),
)
#: Without these memory cannot be limited.
VITAL_OPTIONS = ("CONFIG_CGROUPS", "CONFIG_MEMCG")
#: Told, but nothing is lost for good: without them a controller lives on cgroup v2 only, or there
#: is nothing to count.
TOLD_OPTIONS = ("CONFIG_SWAP", "CONFIG_MEMCG_V1", "CONFIG_CPUSETS_V1")

# fmt: off
TROUBLES = _table(
    *(
        (
            f"config-{option.removeprefix('CONFIG_').lower().replace('_', '-')}",
            "kernel configuration",
            CANNOT if option in VITAL_OPTIONS else DEGRADED,
            cost,
            f"use a kernel that was built with {option}=y",
        )
        for option, _, cost in CONFIG_OPTIONS
    ),
    ("boot-memory-disabled", "boot parameters", CANNOT,
     "memory cannot be limited: the controller was switched off at boot",
     f"remove cgroup_disable=memory {_BOOT}"),
    ("boot-controller-disabled", "boot parameters", DEGRADED,
     "limits and counters of those controllers cannot be had",
     f"remove them from cgroup_disable= {_BOOT}"),
    ("boot-swapaccount-off", "boot parameters", DEGRADED,
     "swap cannot be limited: a program may swap without end",
     f"replace swapaccount=0 by swapaccount=1 {_BOOT}"),
    ("boot-unified-off", "boot parameters", DEGRADED,
     "systemd keeps the controllers on cgroup v1, which lacks memory.high, memory.min and more",
     f"remove systemd.unified_cgroup_hierarchy=0 {_BOOT}"),
    ("boot-psi-off", "boot parameters", DEGRADED,
     "memory pressure (PSI) is not told",
     f"replace psi=0 by psi=1 {_BOOT}"),
    ("boot-nokmem", "boot parameters", DEGRADED,
     "kernel memory is not counted towards the limits",
     f"remove cgroup.memory=nokmem {_BOOT}"),
    ("boot-nosocket", "boot parameters", DEGRADED,
     "socket buffers are not counted towards the limits",
     f"remove cgroup.memory=nosocket {_BOOT}"),
    ("not-mounted", "cgroup filesystems", CANNOT,
     "memory cannot be limited: no cgroup filesystem is mounted",
     "as root: climits setup --mount v2"),
    ("read-only", "cgroup filesystems", CANNOT,
     "cgroups can be looked at but not made",
     f"in a container: {to_be_writable(None)}; elsewhere "
     "mount -o remount,rw /sys/fs/cgroup"),
    ("memory-on-v1", "cgroup filesystems", DEGRADED,
     "memory.high, memory.min and memory.oom.group, which are cgroup v2's, cannot be had",
     f"with systemd, put systemd.unified_cgroup_hierarchy=1 {_BOOT}; without, put "
     "cgroup_no_v1=all there, and mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
    ("no-v2-beside", "cgroup filesystems", DEGRADED,
     "cgroup.kill, cgroup.freeze and memory pressure (PSI) of a program cannot be had, and it is "
     "moved into its cgroup in place of being born there",
     "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified"),
    ("memory-missing", "memory controller", CANNOT,
     "memory cannot be limited: no mounted hierarchy has the controller",
     "mkdir -p /sys/fs/cgroup/memory && "
     "mount -t cgroup -o memory memory /sys/fs/cgroup/memory; or put cgroup_no_v1=memory "
     f"{_BOOT}, and it is on cgroup v2"),
    ("no-right", "memory limit", CANNOT,
     "memory cannot be limited: this user may not make cgroups",
     PERMISSION_HINT),
    ("no-user-manager", "memory limit", CANNOT,
     "memory cannot be limited: systemd makes cgroups for a user through the manager of that user, "
     "and none runs",
     "log in by ssh, at a console or with machinectl shell (su and sudo start none), or as root: "
     "loginctl enable-linger NAME"),
    ("no-user-bus", "memory limit", CANNOT,
     "memory cannot be limited: the user's systemd cannot be asked for a cgroup",
     "as root: apt-get install dbus-user-session; then log in again"),
    ("memory-not-delegated", "memory limit", CANNOT,
     "memory cannot be limited: systemd did not give the memory controller to this user",
     "as root: climits setup --user NAME --apply"),
    ("no-owned-cgroup", "memory limit", CANNOT,
     "memory cannot be limited: no cgroup was given to this user",
     "as root: climits setup --user NAME --apply"),
    ("outside-owned-cgroup", "memory limit", CANNOT,
     "memory cannot be limited: the cgroup of this user is there, but this shell was started "
     "outside of it, and on cgroup v2 a process can start others only where it is itself",
     "start the shell by the command that climits setup --user NAME prints, as root"),
    ("container-root-busy", "memory limit", CANNOT,
     "memory cannot be limited: processes live in the root of this container's cgroups, and on "
     "cgroup v2 a cgroup has either processes or controllers for those below it",
     "as root in the container: climits setup --apply moves them into a cgroup of their own"),
    ("container-host-tree", "container", DEGRADED,
     "what climits starts here is outside of the limits that the container itself has",
     f"start it with {to_be_private(None)}"),
    ("limit-refused", "memory limit", CANNOT,
     "memory cannot be limited: a cgroup with a limit could not be made",
     "see what was found; climits run --explain --memory 60M -- true shows each step"),
    ("no-oom-counter", "memory limit", DEGRADED,
     "an OOM kill cannot be told from any other SIGKILL",
     "use a kernel from 4.13 on"),
    ("controller-missing", "other controllers", DEGRADED,
     "the limits of these controllers (--pids, --cpus, --cpuset) cannot be had",
     "mount the controller: mkdir -p /sys/fs/cgroup/NAME && "
     "mount -t cgroup -o NAME NAME /sys/fs/cgroup/NAME; or use a kernel that has it"),
    ("controller-not-delegated", "other controllers", DEGRADED,
     "the limits of these controllers cannot be had by this user",
     "as root: climits setup --user NAME --apply, and log in again"),
    ("swap-not-limited", "swap", DEGRADED,
     "a program can use swap beyond its limit of memory",
     f"put swapaccount=1 {_BOOT}; or swapoff -a"),
    ("no-peak", "peak usage", DEGRADED,
     "the highest usage of a program is not told",
     "use a kernel from 5.19 on"),
    ("no-kill", "killing at once", DEGRADED,
     "a program that forks without end is frozen first and killed process by process",
     "use a kernel from 5.14 on, with cgroup v2 mounted (beside v1 will do)"),
    ("no-freezer", "killing at once", DEGRADED,
     "a program cannot be stopped as a whole, and one that forks without end may outrun its end",
     "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified, or the freezer controller of v1"),
    ("no-reclaim", "reclaim on request", DEGRADED,
     "climits reclaim and the alarm action reclaim do not work, and lowering a limit does not make "
     "room first",
     "use a kernel from 5.19 on"),
    ("psi-off", "pressure (PSI)", DEGRADED,
     "the time that programs lose to a shortage of memory is not told, nor watched for",
     f"put psi=1 {_BOOT}"),
    ("psi-no-cgroup", "pressure (PSI)", DEGRADED,
     "pressure is told for the whole machine only, not for a program",
     "mount cgroup v2 (beside v1 will do): mkdir -p /sys/fs/cgroup/unified && "
     "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified"),
    ("no-namespaces", "namespaces", DEGRADED,
     "containers that need these kinds of namespaces cannot be made",
     "use a kernel that was built with them (CONFIG_NAMESPACES, CONFIG_USER_NS, CONFIG_PID_NS, "
     "CONFIG_NET_NS)"),
    ("namespaces-limited", "namespaces", DEGRADED,
     "containers that need these kinds of namespaces cannot be made",
     "sysctl -w user.max_KIND_namespaces=10000; of user namespaces, climits setup --apply"),
    ("userns-root-only", "namespaces", DEGRADED,
     "only root can make user namespaces: no containers for ordinary users",
     "as root: climits setup --apply, which sets kernel.unprivileged_userns_clone=1"),
    ("userns-apparmor", "namespaces", DEGRADED,
     "programs without an AppArmor profile that allows it have no rights in their user namespaces: "
     "no containers for ordinary users",
     "as root: climits setup --apply, which sets kernel.apparmor_restrict_unprivileged_userns=0; "
     "or a profile that allows userns"),
    ("no-subordinate-ids", "rootless use", DEGRADED,
     "containers of this user have one user and one group inside",
     "as root: climits setup --user NAME --apply"),
    ("no-newuidmap", "rootless use", DEGRADED,
     "containers of this user have one user and one group inside",
     "as root: apt-get install uidmap"),
    ("kernel-log-hidden", "kernel log", DEGRADED,
     "OOM kills are counted, but which processes were killed is not told",
     "run as root, or sysctl -w kernel.dmesg_restrict=0"),
    ("panic-on-oom", "kernel settings", DEGRADED,
     "the whole machine panics when one program runs into its limit",
     "sysctl -w vm.panic_on_oom=0"),
    ("no-overcommit", "kernel settings", DEGRADED,
     "the kernel refuses memory that the machine might not have, so a program may fail to allocate "
     "long before it reaches its limit",
     "sysctl -w vm.overcommit_memory=0"),
    ("few-inotify", "kernel settings", DEGRADED,
     "few cgroups can be watched at once: each watch and each supervisor takes some of them",
     "sysctl -w fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=65536"),
    ("leftovers", "leftovers", DEGRADED,
     "cgroups of owners that died hold memory, and may hold running programs",
     "climits doctor --fix, or climits gc"),
)
# fmt: on


class Finding(Record):
    """What one check found.

    Attributes:
        check: its name.
        state: ok, degraded or cannot.
        key: of the trouble; None where all is well.
        found: what is there.
        cost: what does not work because of it.
        remedy: what to do.
    """

    check: str
    state: str
    key: "str | None" = None
    found: str
    cost: "str | None" = None
    remedy: "str | None" = None


def fine(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check=check, state=OK, found=found)


def trouble(key: str, found: str, remedy: "str | None" = None) -> Finding:
    """Something is amiss; `remedy` is one that fits better than the table's."""
    known = TROUBLES[key]
    return Finding(
        check=known.check,
        state=known.state,
        key=key,
        found=found,
        cost=known.cost,
        remedy=remedy or known.remedy,
    )
