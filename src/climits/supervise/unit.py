"""A systemd unit that supervises the programs of a configuration, and lets them do no more.

What the unit takes away follows from the configuration: who its programs run as, where they write,
whether they run in containers.  Each line says why it is there.

Source: systemd.exec(5), systemd.service(5), systemd.resource-control(5), systemd-analyze(1).
"""

import os

from ..program.container import DEFAULT_CAPABILITIES
from ..records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .config import Config, ProgramConfig

#: The first line of a unit that is ours to change and to remove.
MARK = "# Made by climits service install, and made anew by it: changes belong into a drop-in."

#: The first systemd that starts a delegated service in a leaf of its own.
_HAS_SUBGROUPS = 254
#: Seconds of TimeoutStopSec beside what the programs themselves may take.
_TO_STOP = 15
#: What climits itself needs to make a container, beside what the program in it keeps.
_FOR_CONTAINERS = frozenset((
    "DAC_READ_SEARCH", "MKNOD", "NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE", "SYS_RESOURCE",
))  # fmt: skip
_HOMES, _TEMPORARY, _LOGS = ("/home", "/root", "/run/user"), ("/tmp", "/var/tmp"), "/var/log"


class Place(Record):
    """What a unit needs to know besides the configuration.

    Attributes:
        name: of the service, without .service.
        climits: the words that start climits.
        libraries: directories that climits itself is read from.
        user: for a user's own manager.
        systemd: its version, such as 252; None: not known, and so an old one.
        writable: directories that the programs write into, as a person named them.
        legacy: hierarchies of cgroup v1 are mounted.
    """

    name: str
    climits: "Sequence[str]"
    libraries: "Sequence[str]" = ()
    user: bool = False
    systemd: "int | None" = None
    writable: "Sequence[str]" = ()
    legacy: bool = False


def unit_text(config: "Config", place: Place) -> str:
    """The whole unit.

    Args:
        config: the configuration, checked.
        place: for whom.

    Returns:
        Text that ends with a newline.
    """
    needs = _Needs(config, place)
    body = [_start(config, place), _life(config)]
    if place.user:
        body += [_rules(needs)]
    else:
        body += [_folders(needs), _rules(needs), _rights(needs), _view(needs)]
    after = "" if place.user else "After=network.target\n"
    target = "default" if place.user else "multi-user"
    return (
        f"{MARK}\n\n[Unit]\nDescription=Programs under memory limits: {place.name}\n"
        f"{after}\n"
        f"[Service]\n{''.join(body)}\n[Install]\nWantedBy={target}.target\n"
    )


def control_path(place: Place) -> str:
    """Where its supervisor listens, as a unit writes it: %t is /run, or the user's own."""
    return f"%t/climits-{place.name}/control"


class _Needs:
    """What the programs of a configuration need.

    Attributes:
        containers: the programs that run in one.
        roots: those that run as root in none.
        others: whether there are programs of another user.
        writable: directories that are written into.
        logs: those below /var/log that systemd is to make, relative to it.
        paths: everything that must be seen.
        user, legacy: see Place.
        all: every program.
    """

    def __init__(self, config: "Config", place: Place) -> None:
        self.user, self.legacy, self.all = place.user, place.legacy, config.programs
        self.containers = [p for p in self.all if "container" in p.options]
        self.roots = [p for p in self.all if p not in self.containers and _is_root(p)]
        self.others = any("user" in p.options or "group" in p.options for p in self.all)
        logs = {os.path.dirname(path) for p in self.all for path in _log_paths(p)}
        logs.discard("/dev")  # a device, which needs no right to make files
        # One that is somebody else's would be given to root, with all that is in it.
        made = {path for path in logs if path.startswith(f"{_LOGS}/") and _is_roots(path)}
        self.logs = sorted(path[len(_LOGS) + 1 :] for path in made)
        own = {path for p in self.all for path in _written_by(p)}
        self.writable = sorted((logs - made | own | set(place.writable)) - {"/"})
        seen = {*place.climits, *place.libraries, config.path, *logs, *self.writable}
        seen |= {word for p in self.all for word in _read_by(p)}
        self.paths = sorted(path for path in seen if path.startswith("/"))

    def below(self, places: "Iterable[str]") -> "str | None":
        """The first path that lies in one of some places."""
        inside = (p for p in self.paths if any(f"{p}/".startswith(f"{t}/") for t in places))
        return next(inside, None)

    def capabilities(self) -> "dict[str, str]":
        """{capability: what it is for}, in words for a comment."""
        found = dict.fromkeys(("SYSLOG",), "read from the kernel's log whom the OOM killer took")
        if self.others:
            # CHOWN: memory.pressure of its own cgroup is handed over to each program.
            rights = ("SETUID", "SETGID", "KILL", "CHOWN")
            found |= dict.fromkeys(rights, "start and end programs of other users")
        if any(p.options.get("nice", 0) < 0 for p in self.all):
            found["SYS_NICE"] = "nice below 0"
        if any(p.options.get("oom_score_adj", 0) < 0 for p in self.all):
            found["SYS_RESOURCE"] = "oom_score_adj below 0"
        if hidden := next((path for path in self.paths if _is_hidden(path)), None):
            found["DAC_READ_SEARCH"] = f"get at {hidden}"
        if foreign := next((path for path in self.writable if not _is_roots(path)), None):
            found["DAC_OVERRIDE"] = f"write into {foreign}"
        if self.legacy:  # not even their owner may write into the tops: mode 0555
            found["DAC_OVERRIDE"] = "make cgroups in hierarchies of v1 that systemd does not use"
        if self.roots:
            usual = sorted(DEFAULT_CAPABILITIES - {"SYS_ADMIN"})
            found |= dict.fromkeys(usual, f"what root usually may, for {_names(self.roots)}")
        if self.containers:
            from ..launch.capabilities import parse

            added = {
                name for p in self.containers for name in p.options["container"].get("cap_add", ())
            }
            wanted = sorted(DEFAULT_CAPABILITIES | _FOR_CONTAINERS | parse(added))
            found |= dict.fromkeys(wanted, f"the containers of {_names(self.containers)}")
        return found


# ---- the parts of the unit -----------------------------------------------------------------


def _start(config: "Config", place: Place) -> str:
    socket = control_path(place)
    words = [*place.climits, "supervise", "-c", config.path]
    command = " ".join(_word(word).replace("$", "$$") for word in words) + f' --socket "{socket}"'
    subgroup = ""
    if (place.systemd or 0) >= _HAS_SUBGROUPS:
        subgroup = "DelegateSubgroup=supervisor\n"
    return (
        "# climits tells when it is ready, how it is, and that its loop still turns.\n"
        f"Type=notify\nNotifyAccess=main\nWatchdogSec=30\nExecStart={command}\n"
        "# Reads the configuration again: what did not change keeps running.\n"
        "ExecReload=/bin/kill -HUP $MAINPID\n"
        "# For the control socket.\n"
        f"RuntimeDirectory=climits-{place.name}\nRuntimeDirectoryMode=0700\n\n"
        "# climits makes cgroups of its own below that of the unit. For that /sys/fs/cgroup must\n"
        "# be writable: ProtectControlGroups= would make it read-only.\n"
        f"Delegate=yes\n{subgroup}"
        "# The programs count too; each has its own limit (pids).\n"
        "TasksMax=infinity\n"
        "# An OOM kill of a program is climits' business, and no reason to stop the unit.\n"
        "OOMPolicy=continue\n"
    )


def _life(config: "Config") -> str:
    return (
        "# SIGTERM goes to climits alone, which stops the programs in order.\n"
        "KillMode=mixed\n"
        "# The stop_timeout of those that wait for each other, and some more.\n"
        f"TimeoutStopSec={_time_to_stop(config.programs)}\n"
        "Restart=on-failure\nRestartSec=1\n\n"
    )


def _time_to_stop(programs: "Sequence[ProgramConfig]") -> int:
    """Seconds that the longest chain of dependent programs may take, and some more."""
    chains: dict[str, float] = {}
    for program in programs:  # each behind those that it depends on
        below = max((chains.get(name, 0.0) for name in program.depends_on), default=0.0)
        chains[program.name] = below + program.policy.stop_timeout
    return int(max(chains.values(), default=0.0)) + _TO_STOP


def _folders(needs: _Needs) -> str:
    lines = ["# All is read-only but these: the history, logs, and where programs work.\n"]
    lines += ["ProtectSystem=strict\nStateDirectory=climits\nStateDirectoryMode=0700\n"]
    lines += [f"LogsDirectory={_word(path)}\n" for path in needs.logs]
    lines += [f"ReadWritePaths={_word('-' + path)}\n" for path in needs.writable]
    home, temporary = needs.below(_HOMES), needs.below(_TEMPORARY)
    if home:
        lines.append(f"# Not hidden: {_plain(home)}\nProtectHome=read-only\n")
    else:
        lines.append("ProtectHome=yes\n")
    if temporary:
        lines.append(f"# No /tmp of their own (PrivateTmp=): {_plain(temporary)}\n")
        lines.append("ReadWritePaths=/tmp /var/tmp\n")
    else:
        lines.append("PrivateTmp=yes\n")
    return "".join(lines) + "\n"


def _rules(needs: _Needs) -> str:
    """What any program may be forbidden, with no right to do so."""
    if needs.containers and needs.user:
        return (
            f"# {_names(needs.containers)}: a container of an ordinary user needs newuidmap,\n"
            "# which is setuid, and what filters system calls forbids that: nothing is filtered.\n"
        )
    privileges = "NoNewPrivileges=yes\n"
    if any(not p.options["container"].get("no_new_privs", True) for p in needs.containers):
        privileges = "# no_new_privs = false: NoNewPrivileges= would be in its way.\n"
    return privileges + (
        "# NETLINK: how the C library asks which addresses this host has.\n"
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n"
        "SystemCallArchitectures=native\n"
        "SystemCallErrorNumber=EPERM\n"
        + _containers_or_not(needs)
        + "LockPersonality=yes\nRestrictRealtime=yes\n\n"
    )


def _containers_or_not(needs: _Needs) -> str:
    if needs.containers:
        return (
            f"# Containers ({_names(needs.containers)}) need namespaces, mounts and a host name;\n"
            "# so there is no RestrictNamespaces=, RestrictSUIDSGID= or ProtectHostname=.\n"
            "SystemCallFilter=@system-service @mount sethostname setdomainname\n"
        )
    return (
        "SystemCallFilter=@system-service\n"
        "# systemd then forbids clone3 too: climits moves each program into its cgroup instead of\n"
        "# having it born there, which takes some milliseconds.\n"
        "RestrictNamespaces=yes\nRestrictSUIDSGID=yes\n"
    )


def _rights(needs: _Needs) -> str:
    reasons: dict[str, list[str]] = {}
    for name, reason in needs.capabilities().items():
        reasons.setdefault(reason, []).append(f"CAP_{name}")
    lines = []
    for reason, names in reasons.items():
        lines += [f"# To {reason}:\n" if reason[0].islower() else f"# {reason}:\n"]
        lines += [f"CapabilityBoundingSet={' '.join(names)}\n"]
    return "".join(lines) + "\n"


def _view(needs: _Needs) -> str:
    """What of the machine itself is out of reach."""
    devices = [path for p in needs.containers for path in p.options["container"].get("devices", ())]
    allowed = "".join(f"DeviceAllow={_word(path)} rw\n" for path in devices)
    host = "" if needs.containers else "ProtectHostname=yes\n"
    return (
        "# Of the devices those that hold nothing, such as /dev/null; and the kernel's log.\n"
        f"DevicePolicy=closed\nDeviceAllow=/dev/kmsg r\n{allowed}"
        "ProtectKernelTunables=yes\nProtectKernelModules=yes\nProtectClock=yes\n" + host
    )


# ---- what a program needs ------------------------------------------------------------------


def _is_root(program: "ProgramConfig") -> bool:
    return str(program.options.get("user", "root")) in ("root", "0")


def _log_paths(program: "ProgramConfig") -> "list[str]":
    streams = (program.stdout, program.stderr)
    return [stream.path for stream in streams if stream is not None and not isinstance(stream, str)]


def _written_by(program: "ProgramConfig") -> "list[str]":
    """Directories and files of the host that a program writes into, as its table tells."""
    container = program.options.get("container", {})
    found = [container[key] for key in ("overlay_dir",) if key in container]
    if "rootfs" in container:
        if not (container.get("overlay") or container.get("read_only") or found):
            found.append(container["rootfs"])
    elif "cwd" in program.options:
        found.append(program.options["cwd"])
    for bind in container.get("binds", ()):
        source, _, rest = bind.partition(":")
        if not rest.endswith(":ro"):
            found.append(source)
    return found


def _read_by(program: "ProgramConfig") -> "list[str]":
    """Paths of the host that a program is read from, as far as its table tells."""
    container = program.options.get("container", {})
    found = [bind.partition(":")[0] for bind in container.get("binds", ())]
    if "rootfs" in container:
        return [*found, container["rootfs"]]
    return [*found, *program.command, *([cwd] if (cwd := program.options.get("cwd")) else [])]


def _is_roots(path: str) -> bool:
    """Root owns it, or it does not exist."""
    try:
        return os.stat(path).st_uid == 0
    except OSError:
        return True


def _is_hidden(path: str) -> bool:
    """Root comes there only by a right to disregard permissions."""
    parts = path.split("/")
    for number in range(2, len(parts) + 1):
        try:
            found = os.stat("/".join(parts[:number]))
        except OSError:
            return False
        wanted = 0o004 if number == len(parts) else 0o001  # to read it, to pass through it
        if found.st_uid != 0 and not found.st_mode & wanted:
            return True
    return False


# ---- writing -------------------------------------------------------------------------------


def _names(programs: "Sequence[ProgramConfig]") -> str:
    names = [_plain(p.name) for p in programs[:3]]
    return ", ".join(names) + (f" and {more} more" if (more := len(programs) - 3) > 0 else "")


def _plain(text: str) -> str:
    """As part of a comment: on one line."""
    return "".join(c if c.isprintable() and c != "\\" else "?" for c in text)


def _word(text: str) -> str:
    r"""One word of a setting: quoted where it must be, with % standing for itself.

    Source: systemd.syntax(7), systemd.service(5).
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    escaped = escaped.replace("\n", "\\n").replace("\t", "\\t")
    if all(c.isalnum() or c in "/-_.:=+,@" for c in text):
        return text
    return f'"{escaped}"'
