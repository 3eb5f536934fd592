"""A program in namespaces of its own: what a person may wish for, checked.

The steps that make it come from rootfs.py and launch/namespaces.py; the program is launched and
judged as every other.
"""

import os

from ..errors import InvalidValueError, UnsupportedError
from ..launch import capabilities
from ..launch.namespaces import NAMESPACES
from ..units import parse_size, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from .idmaps import Range

    StrPath = str | os.PathLike[str]

#: What is kept where nothing else is said.  All of them reach only what belongs to the container's
#: own user namespace; of SYS_ADMIN that is the host name, since the mounts belong to the outer one.
DEFAULT_CAPABILITIES = frozenset((
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
    "SETPCAP", "SETUID", "SYS_ADMIN", "SYS_CHROOT",
))  # fmt: skip
#: Namespaces that can be shared with the host; the mount namespace never is.
SHAREABLE = ("cgroup", "ipc", "net", "pid", "user", "uts")
_SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "busybox")
#: In /dev: what is there cannot be shown at its own place.
_OWN_IN_DEV = ("fd", "mqueue", "pts", "shm")
_MAX_HOST_NAME = 64  # bytes, __NEW_UTS_LEN


class Bind:
    """A file or directory of the host that is shown inside.

    Attributes:
        source: absolute path on the host.
        target: absolute path inside.
        read_only: it cannot be written.
        recursive: what is mounted below the source is shown too.
        flags: further ones: nosuid, nodev, noexec.
    """

    __slots__ = ("flags", "read_only", "recursive", "source", "target")

    def __init__(
        self,
        source: str,
        target: str,
        read_only: bool,
        *,
        recursive: bool = True,
        flags: "Iterable[str]" = (),
    ) -> None:
        self.source, self.target = _source(source, source), _target(target, "bind", target)
        self.read_only, self.recursive, self.flags = read_only, recursive, frozenset(flags)


class Tmpfs:
    """An empty place in memory, charged to the limit.

    Attributes:
        target: absolute path inside.
        size: at most, bytes, or None.
        mode: permissions of its top.
        flags: further ones than nosuid and nodev: noexec, ro.
    """

    __slots__ = ("flags", "mode", "size", "target")

    def __init__(
        self,
        target: str,
        size: "int | None" = None,
        *,
        mode: int = 0o1777,
        flags: "Iterable[str]" = (),
    ) -> None:
        self.target = _target(target, "tmpfs", target)
        self.size, self.mode, self.flags = size, mode, frozenset(flags)


class Container:
    """What is around a program.

    Attributes:
        rootfs: absolute path of the directory that is its root, or None: the host's tree.
        overlay: writes go to a tmpfs, or to `overlay_dir`, and never to `rootfs`.
        binds: list[Bind].
        tmpfs: list[Tmpfs].
        read_only: the root cannot be written.
        hostname: or None: the host's.
        new: names of the namespaces it gets, as in /proc/PID/ns.
        init: run the program under a process 1 that reaps orphans.
        capabilities: names of those it keeps.
        ambient: those among them that a program of another user than root has too.
        no_new_privs: setuid files give nothing.
        seccomp: default, none, the path of a profile, or what is in one.
        devices: paths of further device files.
        masked, protected: paths inside that are hidden, or read only, besides climits' own lists.
        uid_map, gid_map: list of (first id inside, first id outside, number), or None: see
            climits.program.idmaps.
        rlimits: {number of the resource: (soft, hard)}.
    """

    __slots__ = (
        "ambient", "binds", "capabilities", "devices", "gid_map", "hostname", "init", "masked",
        "new", "no_new_privs", "overlay", "overlay_dir", "protected", "read_only", "rlimits",
        "rootfs", "seccomp", "takes_terminal", "tmpfs", "uid_map",
    )  # fmt: skip

    #: It is made for the program; see Joining for the other kind.
    runs = False

    def __init__(
        self,
        *,
        rootfs: "StrPath | None" = None,
        overlay: bool = False,
        overlay_dir: "StrPath | None" = None,
        binds: "Iterable[str | Bind]" = (),
        tmpfs: "Iterable[str | Tmpfs]" = (),
        read_only: bool = False,
        hostname: "str | None" = None,
        network: str = "none",
        share: "Iterable[str]" = (),
        init: "bool | None" = None,
        cap_add: "Iterable[str]" = (),
        cap_drop: "Iterable[str]" = (),
        no_new_privs: bool = True,
        seccomp: "str | dict[str, Any]" = "default",
        devices: "Iterable[str]" = (),
        ambient: "Iterable[str]" = (),
        masked: "Iterable[str]" = (),
        protected: "Iterable[str]" = (),
        uid_map: "Iterable[Range] | None" = None,
        gid_map: "Iterable[Range] | None" = None,
        rlimits: "Mapping[int, tuple[int, int]] | None" = None,
    ) -> None:
        """Say what is wished for; every argument may be left out.

        Args:
            rootfs: a directory with a system in it.
            overlay, overlay_dir: see the attributes; they need a rootfs.
            binds: texts such as /srv/data:/data or /srv/data:/data:ro, or Bind.
            tmpfs: texts such as /scratch or /scratch:20M, or Tmpfs; charged to the limit.
            read_only, hostname, no_new_privs, seccomp, devices: see the attributes.
            network: none (a loopback device and nothing else) or host.
            share: namespaces to share with the host: cgroup, ipc, net, pid, user, uts.
            init: None: unless the program is a shell.
            cap_add, cap_drop: capabilities by name, or ALL; from the default list.
            ambient, masked, protected, uid_map, gid_map, rlimits: see the attributes.

        Raises:
            InvalidValueError: see the text.
        """
        self.rootfs = None if rootfs is None else _directory(os.fsdecode(rootfs), "rootfs")
        self.overlay = overlay or overlay_dir is not None
        self.overlay_dir = (
            None if overlay_dir is None else _directory(os.fsdecode(overlay_dir), "overlay-dir")
        )
        if self.overlay and self.rootfs is None:
            raise InvalidValueError("an overlay needs a rootfs", hint="give --rootfs DIR too")
        self.binds = [bind if isinstance(bind, Bind) else _bind(bind) for bind in binds]
        self.tmpfs = [place if isinstance(place, Tmpfs) else _tmpfs(place) for place in tmpfs]
        self.read_only = read_only
        self.hostname = _host_name(hostname)
        self.new = _namespaces(network, list(share))
        if self.hostname is not None and "uts" not in self.new:
            raise InvalidValueError(
                "a host name of its own needs a uts namespace of its own", hint="do not share uts"
            )
        self.init = init
        self.capabilities = _capabilities(cap_add, cap_drop, self.new)
        self.no_new_privs, self.seccomp = no_new_privs, seccomp
        self.devices = [_device(path) for path in devices]
        self.takes_terminal = False
        self.ambient = capabilities.parse(ambient) & self.capabilities
        self.masked = [_target(path, "masked", path) for path in masked]
        self.protected = [_target(path, "protected", path) for path in protected]
        self.uid_map, self.gid_map = _maps(uid_map, gid_map, self.new)
        self.rlimits = dict(rlimits or {})

    def wants_init(self, command: "Sequence[str]") -> bool:
        """Whether the program runs under a process 1 of ours."""
        if "pid" not in self.new:
            return False
        if self.init is not None:
            return self.init
        return not self.is_shell(command)

    @staticmethod
    def is_shell(command: "Sequence[str]") -> bool:
        """Whether a command is a shell, which reaps orphans itself."""
        return command[0].rpartition("/")[2] in _SHELLS

    def check(self) -> None:
        """Look at what the kernel allows before anything is made.

        Raises:
            UnsupportedError: a namespace that this kernel has not, or has switched off; the hint
                names the sysctl.
        """
        for name in self.new:
            if not os.path.exists(f"/proc/self/ns/{name}"):
                raise UnsupportedError(
                    f"this kernel has no {name} namespaces",
                    hint=f"share {name} with the host, or use a kernel that has them",
                )
        for name in self.new:
            file = f"/proc/sys/user/max_{name}_namespaces"
            if _read(file) == "0":
                raise UnsupportedError(
                    f"{name} namespaces are switched off: {file[10:].replace('/', '.')} is 0",
                    hint=f"sysctl -w user.max_{name}_namespaces=10000, or share {name}",
                )
        if os.geteuid() == 0:
            return
        if "user" not in self.new:
            raise UnsupportedError(
                "an ordinary user needs a user namespace for the others",
                hint="do not share user, or run as root",
            )
        for file, off in (
            ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
            ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
        ):
            if _read(file) == off:
                raise UnsupportedError(
                    f"user namespaces are switched off for ordinary users: "
                    f"{file[10:].replace('/', '.')} is {off}",
                    hint=f"sysctl -w {file[10:].replace('/', '.')}={1 - int(off)}, or run as root",
                )


def _read(path: str) -> "str | None":
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def _directory(path: str, what: str) -> str:
    if not os.path.isdir(path):
        cause = "not a directory" if os.path.exists(path) else "no such directory"
        raise InvalidValueError(
            f"{what}: {shown(path)}: {cause}", value=path, hint="name a directory that exists"
        )
    return os.path.realpath(path)


def _target(path: str, what: str, text: str) -> str:
    if not path.startswith("/") or ".." in path.split("/") or not path.strip("/") or "\0" in path:
        raise InvalidValueError(
            f"{what}: {shown(text)}: {shown(path) or 'nothing'} is not a place inside",
            value=text,
            hint="write an absolute path without ..",
        )
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def _bind(text: str) -> Bind:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not rest or mode not in ("", "ro", "rw"):
        raise InvalidValueError(
            f"bind: {shown(text)}: not SOURCE:TARGET",
            value=text,
            hint="write /srv/data:/data or ...:ro",
        )
    _target(target, "bind", text)
    return Bind(_source(source, text), target, mode == "ro")


def _source(path: str, text: str) -> str:
    if not os.path.exists(path):
        raise InvalidValueError(
            f"bind: {shown(path)}: no such file or directory", value=text, hint="make it first"
        )
    return os.path.realpath(path)


def _tmpfs(text: str) -> Tmpfs:
    target, colon, size = text.partition(":")
    _target(target, "tmpfs", text)
    number = parse_size(size, what="tmpfs") if colon else None
    return Tmpfs(target, None if number is None else int(number))


def _maps(
    users: "Iterable[Range] | None", groups: "Iterable[Range] | None", new: frozenset[str]
) -> "tuple[list[Range] | None, list[Range] | None]":
    """The id maps that were asked for: both or none, and root must be somebody."""
    if users is None and groups is None:
        return None, None
    found = []
    for name, ranges in (("uid_map", users), ("gid_map", groups)):
        rows = list(ranges or ())
        if not any(first == 0 and number > 0 for first, _, number in rows):
            raise InvalidValueError(f"{name}: 0 is not mapped", hint="the container needs a root")
        if any(not 0 <= n < 2**32 or i + n > 2**32 or o + n > 2**32 for i, o, n in rows):
            raise InvalidValueError(f"{name}: an id beyond 4294967294", hint="ids have 32 bits")
        found.append(rows)
    if "user" not in new:
        raise InvalidValueError(
            "id maps need a user namespace of its own", hint="do not share user"
        )
    return found[0], found[1]


def _device(path: str) -> str:
    import stat

    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # the latter: a NUL
        mode = 0
    if not path.startswith("/dev/") or not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)):
        raise InvalidValueError(
            f"device: {shown(path)}: no such device", value=path, hint="name one such as /dev/fuse"
        )
    target = _target(path, "device", path)
    if target.split("/")[2] in _OWN_IN_DEV:
        raise InvalidValueError(
            f"device: {path}: the container has a {target[: target.index('/', 5)]} of its own",
            value=path,
            hint=f"show it elsewhere: --bind {path}:/dev/NAME",
        )
    return target


def _host_name(name: "str | None") -> "str | None":
    if name is not None and (
        not name or len(os.fsencode(name)) > _MAX_HOST_NAME or not name.isprintable()
    ):
        raise InvalidValueError(
            f"hostname: {name!r}: not a host name", value=name, hint="64 bytes at most"
        )
    return name


def _capabilities(
    add: "Iterable[str]", drop: "Iterable[str]", new: frozenset[str]
) -> frozenset[str]:
    added, default = capabilities.parse(add), DEFAULT_CAPABILITIES - capabilities.parse(drop)
    if "user" not in new:  # there it would reach more than the host name
        if "SYS_ADMIN" in added:
            raise InvalidValueError(
                "cap-add: SYS_ADMIN reaches the host's mounts without a user namespace of its own",
                value="SYS_ADMIN",
                hint="do not share user, or name the capabilities that it needs",
            )
        default -= {"SYS_ADMIN"}
    return default | added


def _namespaces(network: str, share: list[str]) -> frozenset[str]:
    if network not in ("none", "host"):
        raise InvalidValueError(
            f"network: {shown(network)}: unknown", value=network, hint="write none or host"
        )
    for name in share:
        if name not in SHAREABLE:
            raise InvalidValueError(
                f"share: {shown(name)}: unknown", value=name, hint=f"any of {', '.join(SHAREABLE)}"
            )
    shared = {*share, "net"} if network == "host" else set(share)
    return frozenset(NAMESPACES) - shared
