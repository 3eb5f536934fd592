"""The checks of doctor: each a function of the facts, and of nothing else.

Source: Documentation/admin-guide/kernel-parameters.rst, Documentation/admin-guide/sysctl/vm.rst,
Documentation/accounting/psi.rst.
"""

from ..errors import UnsupportedError
from ..linux.kernel_config import parameter
from ..linux.surroundings import to_be_private, to_be_writable
from ..units import format_size
from .catalog import version_of
from .remedies import CONFIG_OPTIONS, TOLD_OPTIONS, Finding, fine, trouble

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .facts import Facts, UserFacts

#: Controllers beside memory that limits of climits need.
_OTHERS = ("pids", "cpu", "cpuset")
_OFF = ("0", "no", "n", "off", "false", "f")
_ON = ("1", "yes", "y", "on", "true", "t")
#: Parameters that are told, whatever they say, and those that are told when they switch on.
_HARMLESS = ("cgroup_no_v1", "cgroup_enable")
_SWITCHES = ("swapaccount", "systemd.unified_cgroup_hierarchy", "psi")
#: Kinds of namespaces that a container needs, by the name of their setting.
_NAMESPACES = {
    "user": "user", "mnt": "mnt", "pid": "pid", "net": "net", "ipc": "ipc", "uts": "uts",
    "cgroup": "cgroup",
}  # fmt: skip
#: Fewer would not do for a supervisor of a few dozen programs.
_INOTIFY_INSTANCES, _INOTIFY_WATCHES = 64, 1024


def configuration(facts: "Facts") -> list[Finding]:
    """CONFIG_MEMCG and its kin."""
    check = "kernel configuration"
    if facts.config is None:
        return [fine(check, "cannot be read here; what it decides was tried for real")]
    kernel = version_of(facts.release)
    asked = [o for o, last, _ in CONFIG_OPTIONS if last is None or kernel <= version_of(last)]
    missing = [o for o in asked if facts.config.get(o) not in ("y", "m")]
    told = [o for o in TOLD_OPTIONS if o not in facts.config and _could_have(o, kernel)]
    also = f"; not set, and not needed here: {', '.join(told)}" if told else ""
    if not missing:
        have = ", ".join(o.removeprefix("CONFIG_") for o in asked)
        return [fine(check, f"{facts.config_path}: {have}{also}")]
    return [
        trouble(
            f"config-{option.removeprefix('CONFIG_').lower().replace('_', '-')}",
            f"{option} is not set ({facts.config_path})",
        )
        for option in missing
    ]


def _could_have(option: str, kernel: tuple[int, ...]) -> bool:
    """Whether the option exists on that kernel: before, what it guards was always built."""
    first = {"CONFIG_MEMCG_V1": (6, 11), "CONFIG_CPUSETS_V1": (6, 12)}
    return kernel >= first.get(option, (0,))


def boot_parameters(facts: "Facts") -> list[Finding]:
    """What the command line has switched off."""
    line = facts.command_line
    found: list[Finding] = []
    disabled = _listed(line, "cgroup_disable")
    if "memory" in disabled:
        found.append(trouble("boot-memory-disabled", "cgroup_disable=memory"))
    if others := [name for name in disabled if name != "memory"]:
        found.append(trouble("boot-controller-disabled", f"cgroup_disable={','.join(others)}"))
    told = [f"{name}={value}" for name in _HARMLESS for value in parameter(line, name)]
    told += [f"{name}={_last(line, name)}" for name in _SWITCHES if _last(line, name) in _ON]
    if _last(line, "swapaccount") in _OFF:
        if version_of(facts.release) < (6, 1):
            found.append(trouble("boot-swapaccount-off", "swapaccount=0"))
        else:
            told.append("swapaccount=0 (without effect since 6.1)")
    if _last(line, "systemd.unified_cgroup_hierarchy") in _OFF:
        found.append(trouble("boot-unified-off", "systemd.unified_cgroup_hierarchy=0"))
    if _last(line, "psi") in _OFF:
        found.append(trouble("boot-psi-off", "psi=0"))
    for word in _listed(line, "cgroup.memory"):
        if word in ("nokmem", "nosocket"):
            found.append(trouble(f"boot-{word}", f"cgroup.memory={word}"))
    if found:
        return found
    if not line:
        return [fine("boot parameters", "cannot be read here")]
    text = ", ".join(told)
    return [fine("boot parameters", text or "none of them touches cgroups")]


def _listed(line: list[str], name: str) -> list[str]:
    return [word for value in parameter(line, name) for word in value.split(",") if word]


def _last(line: list[str], name: str) -> "str | None":
    values = parameter(line, name)
    return values[-1].lower() if values else None


def filesystems(facts: "Facts") -> list[Finding]:
    """Which hierarchies are mounted, and how."""
    check, layout = "cgroup filesystems", facts.layout
    if not layout.hierarchies:
        return [trouble("not-mounted", "no cgroup or cgroup2 in /proc/self/mountinfo")]
    memory = layout.find("memory")
    where = f"{layout.mode}; memory on {memory.version_name}" if memory else layout.mode
    if memory is not None:
        where += f" at {memory.mount_point}"
        if memory.read_only:
            found = f"{memory.mount_point} is mounted read-only"
            if facts.cgroup_namespace or _is_contained(facts):
                return [trouble("read-only", found, to_be_writable(facts.container))]
            return [trouble("read-only", found, f"mount -o remount,rw {memory.mount_point}")]
    troubles: list[Finding] = []
    if memory is not None and not memory.delegates:
        troubles.append(trouble("memory-on-v1", where))
    if layout.unified is None:
        troubles.append(trouble("no-v2-beside", f"{layout.mode}; no cgroup2 is mounted"))
    return troubles or [fine(check, where)]


def container(facts: "Facts") -> list[Finding]:
    """Whether this is a container, whose view of cgroups is a part of the host's."""
    check = "container"
    kind = f"{facts.container} ({facts.container_mark})" if facts.container else ""
    cut = [h.mount_point for h in facts.layout.hierarchies if h.root != "/"]
    if not kind and not facts.cgroup_namespace:
        part = f"; only a part of the tree is mounted at {', '.join(cut)}" if cut else ""
        return [fine(check, f"no sign of one{part}")]
    kind = kind or "some kind of one"
    if facts.cgroup_namespace:
        return [fine(check, f"{kind}, in a cgroup namespace: limits above its root cannot be seen")]
    memory, held = (
        facts.layout.find("memory"),
        facts.first_process not in (None, "/", "/init.scope"),
    )
    if not held or memory is None or memory.root != "/" or memory.read_only:
        part = f"; only a part of the tree is mounted at {', '.join(cut)}" if cut else ""
        return [fine(check, f"{kind}, in the host's cgroup namespace{part}")]
    found = f"{kind} in {facts.first_process}, with all of the host's tree writable"
    return [
        trouble("container-host-tree", found, f"start it with {to_be_private(facts.container)}")
    ]


def _is_contained(facts: "Facts") -> bool:
    """Whether the first process that we see lives below the root of the tree.

    A machine that was made of a container's image has the marks of one, too.
    """
    return bool(facts.container) and facts.first_process not in (None, "/", "/init.scope")


def memory_controller(facts: "Facts") -> list[Finding]:
    """Whether a hierarchy has it."""
    if not facts.layout.hierarchies:
        return []  # told already
    try:
        hierarchy = facts.layout.holding("memory")
    except UnsupportedError as e:
        return [trouble("memory-missing", str(e), e.hint)]
    return [fine("memory controller", f"on cgroup {hierarchy.version_name}")]


def memory_limit(facts: "Facts") -> list[Finding]:
    """What came of trying."""
    trial = facts.trial
    if trial.error:
        if facts.layout.find("memory") is None:
            return []  # told already
        read_only = _is_read_only(facts)
        if facts.busy_root and not read_only:
            return [trouble("container-root-busy", trial.error)]
        if trial.refused and facts.user is not None and not read_only:
            return [_without_right(facts, facts.user, trial.error)]
        key = "no-right" if trial.refused else "limit-refused"
        return [trouble(key, trial.error, trial.hint)]
    if not trial.counts_oom_kills:
        return [trouble("no-oom-counter", "limited, but OOM kills are not counted")]
    return [fine("memory limit", f"tried in {trial.path}: set, read back, removed")]


def _is_read_only(facts: "Facts") -> bool:
    memory = facts.layout.find("memory")
    return memory is not None and memory.read_only


def _without_right(facts: "Facts", user: "UserFacts", error: str) -> Finding:
    """The very piece that an ordinary user lacks."""
    memory = facts.layout.holding("memory")
    setup = f"as root: climits setup --user {user.name} --apply"
    if user.systemd and memory.delegates:
        unit = f"user@{user.uid}.service"
        if not user.manager:
            return trouble(
                "no-user-manager", f"{unit} does not run",
                "log in by ssh, at a console or with machinectl shell (su and sudo start none), "
                f"or as root: loginctl enable-linger {user.name}",
            )  # fmt: skip
        if not user.bus:
            return trouble(
                "no-user-bus", f"/run/user/{user.uid} has neither bus nor systemd/private"
            )
        if user.delegated is not None and "memory" not in user.delegated:
            have = ", ".join(sorted(user.delegated)) or "nothing"
            return trouble("memory-not-delegated", f"{unit} was given {have}", setup)
        return trouble("no-right", error, facts.trial.hint)
    if not user.owns_home:
        return trouble("no-owned-cgroup", f"{user.home} is not there, or not {user.name}'s", setup)
    return trouble("outside-owned-cgroup", f"{error}; {user.home} is {user.name}'s")


def other_controllers(facts: "Facts") -> list[Finding]:
    """pids, cpu and cpuset."""
    found: list[Finding] = []
    missing = []
    for name in _OTHERS:
        try:
            facts.layout.holding(name)
        except UnsupportedError as e:
            missing.append(name)
            if facts.layout.hierarchies:
                found.append(trouble("controller-missing", str(e), e.hint))
    if not facts.trial.error:
        refused = [n for n in _OTHERS if n not in (*missing, *facts.trial.delegated)]
        if refused:
            whom = f" --user {facts.user.name}" if facts.user else ""
            found.append(
                trouble(
                    "controller-not-delegated", f"not here: {', '.join(refused)}",
                    f"as root: climits setup{whom} --apply, and log in again",
                )
            )  # fmt: skip
    held = {n: facts.layout.find(n) for n in _OTHERS}
    text = ", ".join(f"{n} on {h.version_name}" for n, h in held.items() if h)
    return found or ([fine("other controllers", text)] if text else [])


def swap(facts: "Facts") -> list[Finding]:
    """Whether swap can be limited, where there is any."""
    if facts.trial.error:
        return []
    limited = facts.trial.swap_error is None
    if not facts.swap_total:
        return [fine("swap", f"none; a limit {'works' if limited else 'is not needed'}")]
    size = format_size(facts.swap_total)
    if not limited:
        return [trouble("swap-not-limited", f"{size}; {facts.trial.swap_error}")]
    return [fine("swap", f"{size}, and it can be limited")]


def peak(facts: "Facts") -> list[Finding]:
    """memory.peak, or max_usage_in_bytes."""
    if facts.trial.error:
        return []
    if not facts.trial.peak:
        return [trouble("no-peak", "the kernel does not keep it")]
    return [fine("peak usage", "kept by the kernel")]


def killing(facts: "Facts") -> list[Finding]:
    """cgroup.kill, and what takes its place."""
    if facts.trial.error:
        return []
    if facts.trial.kills_at_once:
        return [fine("killing at once", "cgroup.kill")]
    if facts.trial.freezes:
        return [trouble("no-kill", "no cgroup.kill here")]
    return [trouble("no-freezer", "neither cgroup.kill nor a freezer here")]


def reclaim(facts: "Facts") -> list[Finding]:
    """memory.reclaim, or force_empty."""
    if facts.trial.error:
        return []
    if not facts.trial.reclaims:
        return [trouble("no-reclaim", "no memory.reclaim here")]
    return [fine("reclaim on request", "works")]


def pressure(facts: "Facts") -> list[Finding]:
    """PSI, of the machine and of a cgroup."""
    if _last(facts.command_line, "psi") in _OFF:
        return []  # told already
    if not facts.psi:
        found = "/proc/pressure/memory cannot be read"
        if (facts.config or {}).get("CONFIG_PSI_DEFAULT_DISABLED") == "y":
            found += "; built with CONFIG_PSI_DEFAULT_DISABLED"
        return [trouble("psi-off", found)]
    if facts.trial.error:
        return []
    if not facts.trial.pressure:
        return [trouble("psi-no-cgroup", "no memory.pressure in a cgroup")]
    return [fine("pressure (PSI)", "of the machine and of each cgroup")]


def namespaces(facts: "Facts") -> list[Finding]:
    """Those that containers need, and the settings that switch them off."""
    found: list[Finding] = []
    settings = facts.sysctls
    if missing := [kind for kind in _NAMESPACES if kind not in facts.namespaces]:
        found.append(trouble("no-namespaces", f"not in this kernel: {', '.join(missing)}"))
    none = [k for k in _NAMESPACES if settings.get(f"user.max_{_NAMESPACES[k]}_namespaces") == 0]
    if none:
        names = [f"user.max_{kind}_namespaces" for kind in none]
        remedy = "sysctl -w " + " ".join(f"{name}=10000" for name in names)
        found.append(trouble("namespaces-limited", f"{', '.join(names)} = 0", remedy))
    if settings.get("kernel.unprivileged_userns_clone") == 0:
        found.append(trouble("userns-root-only", "kernel.unprivileged_userns_clone = 0"))
    if settings.get("kernel.apparmor_restrict_unprivileged_userns", 0) > 0:
        name = "kernel.apparmor_restrict_unprivileged_userns"
        found.append(trouble("userns-apparmor", f"{name} = {settings[name]}"))
    return found or [fine("namespaces", "all kinds, and no setting limits who may make them")]


def ordinary_users(facts: "Facts") -> list[Finding]:
    """Rootless use: whether this user was given a cgroup, and ids for containers."""
    check, user = "rootless use", facts.user
    if facts.root or user is None:
        return [fine(check, "not needed as root; run this as a user to see what they can do")]
    setup = f"as root: climits setup --user {user.name} --apply"
    found: list[Finding] = []
    lacking = [path for path in ("/etc/subuid", "/etc/subgid") if path not in user.subordinate]
    if lacking:
        text = f"no range for {user.name} in {' and '.join(lacking)}"
        found.append(trouble("no-subordinate-ids", text, setup))
    if missing := [name for name in ("newuidmap", "newgidmap") if name not in user.helpers]:
        found.append(trouble("no-newuidmap", f"not installed: {' and '.join(missing)}"))
    if found or facts.trial.error:
        return found  # that no cgroup can be made was told already
    return [fine(check, f"works: {facts.trial.path} was made without root")]


def kernel_log(facts: "Facts") -> list[Finding]:
    """/dev/kmsg, where OOM kills are told with names."""
    if facts.kernel_log:
        return [fine("kernel log", "can be read")]
    restricted = facts.sysctls.get("kernel.dmesg_restrict")
    found = "/dev/kmsg cannot be read"
    if facts.user is not None:  # as is meant for ordinary users
        return [
            fine("kernel log", f"{found} by an ordinary user: OOM kills are counted, without names")
        ]
    return [trouble("kernel-log-hidden", f"{found}; kernel.dmesg_restrict = {restricted}")]


def settings(facts: "Facts") -> list[Finding]:
    """Sysctls that change what a limit means."""
    found: list[Finding] = []
    values = facts.sysctls
    if values.get("vm.panic_on_oom") == 2:
        found.append(trouble("panic-on-oom", "vm.panic_on_oom = 2"))
    if values.get("vm.overcommit_memory") == 2:
        found.append(trouble("no-overcommit", "vm.overcommit_memory = 2"))
    instances = values.get("fs.inotify.max_user_instances", _INOTIFY_INSTANCES)
    watches = values.get("fs.inotify.max_user_watches", _INOTIFY_WATCHES)
    if instances < _INOTIFY_INSTANCES or watches < _INOTIFY_WATCHES:
        text = f"fs.inotify.max_user_instances = {instances}, max_user_watches = {watches}"
        found.append(trouble("few-inotify", text))
    told = ("vm.overcommit_memory", "vm.panic_on_oom", "vm.oom_kill_allocating_task")
    text = ", ".join(f"{name} = {values[name]}" for name in told if name in values)
    return found or [fine("kernel settings", text or "cannot be read here")]


def leftovers(facts: "Facts") -> list[Finding]:
    """What dead owners left."""
    if facts.leftovers:
        names = ", ".join(facts.leftovers[:5]) + (", ..." if len(facts.leftovers) > 5 else "")
        return [trouble("leftovers", f"{len(facts.leftovers)}: {names}")]
    return [fine("leftovers", "none")]


#: In the order in which they are told.
CHECKS: "tuple[Callable[[Facts], list[Finding]], ...]" = (
    configuration,
    boot_parameters,
    filesystems,
    container,
    memory_controller,
    memory_limit,
    other_controllers,
    swap,
    peak,
    killing,
    reclaim,
    pressure,
    namespaces,
    ordinary_users,
    kernel_log,
    settings,
    leftovers,
)
