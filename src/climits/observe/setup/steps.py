"""What there is to do on a host, in order: each step with its reason, its commands and changes."""

import os
import shlex
import shutil
import sys

from ...cgroup.files import Directory
from ...errors import CgroupError
from ...linux.surroundings import to_be_writable
from ...records import Record
from .changes import Change, DropIn, Sysctl, WrittenFile, read_text
from .identities import SubordinateIds
from .login import open_to_others, unit_word
from .subtree import CONTROLLERS, LEAF, SESSION, Leaf, OwnedSubtree, is_busy, spanned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .host import Host, User

#: The step that can be asked for alone.
SUBTREE = "subtree"

DONE, NEEDED, BY_HAND = "done", "needed", "by hand"

#: A file of this package.
_PACKAGE = os.path.abspath(__file__)
#: Settings that may keep ordinary users from making containers: (name, what it has to be).
_SETTINGS = (
    ("kernel.unprivileged_userns_clone", 1),
    ("kernel.apparmor_restrict_unprivileged_userns", 0),
)
#: And one that may be too low; the value is set where it is 0.
_USERNS, _ENOUGH = "user.max_user_namespaces", 10_000
#: Where units and their drop-ins are looked for, the last wins.
#: Source: systemd.unit(5)
_UNIT_PLACES = ("/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/system")


class Step(Record):
    """One thing to do.

    Attributes:
        title: what, in a few words.
        why: what it is good for.
        commands: what does it by hand, line by line.
        changes: what does it here; empty for what is left to a person.
        state: done, needed, or by hand.
        remark: what else to know of it, or None.
    """

    title: str
    why: str
    commands: "tuple[str, ...]"
    changes: "tuple[Change, ...]" = ()
    state: str
    remark: "str | None" = None


def owned_subtree(host: "Host", user: "User") -> list[Step]:
    """The step alone that gives a user a cgroup; none where their user manager makes them.

    At a login it is taken again, and what an administrator has changed since is not put back.
    """
    memory = host.layout.find("memory")
    if host.systemd and memory is not None and memory.delegates:
        return []
    found = _subtree(host, user)
    return [step for step in found if any(isinstance(c, OwnedSubtree) for c in step.changes)]


def steps(host: "Host") -> list[Step]:
    """All steps for a host, those that are done included."""
    memory = host.layout.find("memory")
    found: list[Step] = []
    if memory is not None and memory.read_only:
        return [_writable(host, memory.mount_point)]
    if host.surroundings.private and memory is not None and memory.delegates:
        found += _leaf(host)
    if host.systemd and memory is not None and memory.delegates:
        found.append(_delegation(host))
    elif host.user is not None:
        found += _subtree(host, host.user)
    if host.swap_counted is False:
        found.append(_swap())
    if host.user is not None:
        found += _identities(host, host.user)
    return [*found, *_sysctls(host)]


def _step(
    title: str, why: str, commands: "list[str]", *changes: Change, remark: "str | None" = None
) -> Step:
    state = DONE if all(change.is_done() for change in changes) else NEEDED
    return Step(
        title=title, why=why, commands=tuple(commands), changes=changes, state=state, remark=remark
    )


# ---- systemd -------------------------------------------------------------------------------


def _delegation(host: "Host") -> Step:
    user = host.user
    unit = f"user@{user.uid}.service" if user else "user@.service"
    path = f"{host.etc}/systemd/system/{unit}.d/climits.conf"
    text = f"[Service]\nDelegate={' '.join(CONTROLLERS)}\n"
    whose = f"{user.name}'s user manager" if user else "every user manager"
    users = _managed(host)
    step = _step(
        f"delegate {', '.join(CONTROLLERS[:-1])} and {CONTROLLERS[-1]} to {whose}",
        "systemd gives ordinary users cpu, memory and pids at most; --cpuset and the limits of io "
        "need the others",
        [
            f"mkdir -p {os.path.dirname(path)}",
            f"printf '{text}' >{path}".replace("\n", "\\n"),
            "systemctl daemon-reload",
            *(f"systemctl --user -M {uid}@ daemon-reexec" for uid in users),
        ],
        DropIn(path, text, tuple(users)),
        remark="a user manager that runs is executed anew, and what it starts from then on has "
        "them; logging in again does as well",
    )
    if step.state == NEEDED and not os.path.exists(path) and _is_delegated(host):
        # Another file says so already.
        return Step(title=step.title, why=step.why, commands=(), state=DONE)
    return step


def _managed(host: "Host") -> list[int]:
    """Whose user managers run: of the user, or of all."""
    if host.user is not None:
        return [host.user.uid] if os.path.exists(f"/run/user/{host.user.uid}/systemd") else []
    try:
        names = [name for name in os.listdir("/run/user") if name.isdigit() and name != "0"]
    except OSError:
        return []
    return sorted(int(n) for n in names if os.path.exists(f"/run/user/{n}/systemd"))


def _is_delegated(host: "Host") -> bool:
    units = ["user@.service"] + ([f"user@{host.user.uid}.service"] if host.user else [])
    texts = []
    for place in (*_UNIT_PLACES, f"{host.etc}/systemd/system"):
        for unit in units:
            texts.append(read_text(f"{place}/{unit}") or "")
            try:
                names = sorted(os.listdir(f"{place}/{unit}.d"))
            except OSError:
                continue
            texts += [read_text(f"{place}/{unit}.d/{n}") or "" for n in names if n[-5:] == ".conf"]
    return delegated_by("\n".join(texts)) >= set(CONTROLLERS)


def delegated_by(text: str) -> set[str]:
    """The controllers that the Delegate= lines of a unit and its drop-ins give away.

    Source: systemd.resource-control(5): lists add up, a truth value takes their place.
    """
    found: set[str] = set()
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name.strip() != "Delegate":
            continue
        value = value.strip()
        if value.lower() in ("yes", "true", "on", "1", "y", "t"):
            found = set(CONTROLLERS)
        elif value.lower() in ("", "no", "false", "off", "0", "n", "f"):
            found = set()
        else:
            found |= set(value.split())
    return found


# ---- without a user manager ----------------------------------------------------------------


def _subtree(host: "Host", user: "User") -> "Iterator[Step]":
    change = OwnedSubtree(host.layout, user.home, user.uid, user.gid)
    commands = _by_hand(host, user)
    leaves = [h for h in spanned(host.layout) if h.delegates]
    if not commands:
        return
    if host.systemd:
        # First: with its reload systemd removes empty v1 cgroups that it does not know.
        yield _at_login(host, user)
    if leaves:
        session = leaves[0].directory_path(f"{user.home}/{SESSION}")
        # Not su: pam_systemd would move it into a session of its own.
        become = f"setpriv --reuid={user.name} --regid={user.gid} --init-groups --reset-env sh"
        remark = (
            "on cgroup v2 a process can start others only where it is itself, so the user's shell "
            f"has to be started there, by root: sh -c 'echo $$ >{session}/cgroup.procs && "
            f"exec {become}'"
        )
    else:
        remark = "it works in every shell of the user's, at once"
    yield _step(
        f"give {user.name} the cgroup {user.home}",
        "no user manager makes cgroups with controllers here; in this one climits can",
        commands,
        change,
        remark=remark,
    )
    if not host.systemd:
        yield Step(
            title=f"make {user.home} at every boot",
            why="cgroups do not outlive a boot",
            commands=(f"climits setup --user {user.name} --apply",),
            state=BY_HAND,
            remark="put this line into what is run at boot, such as /etc/rc.local",
        )


def _at_login(host: "Host", user: "User") -> Step:
    title = f"make {user.home} when {user.name} logs in first after a boot"
    why = "cgroups do not outlive a boot"
    for what in (sys.executable, os.path.dirname(_PACKAGE)):
        if fault := open_to_others(what):
            return Step(
                title=title, why=why, commands=(), state=BY_HAND,
                remark=f"not done: root would execute {what} at each login, and others than root "
                f"may write or replace {fault}; install climits where only root writes, such as "
                "from its package, and run this again",
            )  # fmt: skip
    # tmpfiles.d would not do: it refuses root's files in a directory of the user's.
    path = f"{host.etc}/systemd/system/user@{user.uid}.service.d/climits.conf"
    # -I: HOME is the user's there, and Python would take modules from below it.
    line = (
        f"ExecStartPre=-+{unit_word(sys.executable)} -I -m climits setup --user {user.uid} "
        f"--only {SUBTREE} --apply --quiet"
    )
    return _step(
        title,
        why,
        [
            f"mkdir -p {os.path.dirname(path)}",
            f"printf '%s\\n' '[Service]' {shlex.quote(line)} >{path}",
            "systemctl daemon-reload",
        ],
        DropIn(path, f"[Service]\n{line}\n", ()),
    )


def _by_hand(host: "Host", user: "User") -> list[str]:
    """What makes the subtree, in a shell."""
    shell: list[str] = []
    plain: list[str] = []
    above = os.path.dirname(user.home)
    for hierarchy in spanned(host.layout):
        top, home = hierarchy.directory_path(above), hierarchy.directory_path(user.home)
        if hierarchy.delegates:
            names = ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control")
            session = f"{home}/{SESSION}"
            shell.append(f"mkdir -p {session}")
            given = " ".join(f"+{name}" for name in CONTROLLERS if name in hierarchy.controllers)
            for path in (hierarchy.mount_point, top, home) if given else ():
                shell.append(f"echo {given} >{path}/cgroup.subtree_control")
            owned = [home, *(f"{home}/{name}" for name in names)]
            owned += [session, f"{session}/cgroup.procs"]
            shell.append(f"chown {user.name}: {' '.join(owned)}")
        else:
            plain.append(hierarchy.mount_point)
        if not hierarchy.delegates and "cpuset" in hierarchy.controllers:
            shell.append(f"mkdir -p {home}")
            for name, value in _cpuset(hierarchy.mount_point):
                shell += [f"echo {value} >{path}/{name}" for path in (top, home)]
    if plain:
        shell += [
            f"for m in {' '.join(plain)}; do",
            f"  d=$m{user.home}; mkdir -p $d; chown {user.name}: $d $d/cgroup.procs $d/tasks",
            "done",
        ]
    return shell


def _cpuset(point: str) -> "Iterator[tuple[str, str]]":
    for name in ("cpuset.cpus", "cpuset.mems"):
        try:
            directory = Directory(point)
            yield name, directory.read(name).decode().strip()
            directory.close()
        except CgroupError:
            continue


def _swap() -> Step:
    return Step(
        title="let the kernel count swap",
        why="without it a program may use swap beyond its limit of memory",
        commands=(
            "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&swapaccount=1 /' /etc/default/grub",
            "update-grub",
            "reboot",
        ),
        state=BY_HAND,
        remark="boot loaders differ, so this is left to you",
    )


# ---- containers ----------------------------------------------------------------------------


def _leaf(host: "Host") -> "Iterator[Step]":
    hierarchy = host.layout.holding("memory")
    change = Leaf(hierarchy)
    if not is_busy(hierarchy) and not os.path.isdir(f"{hierarchy.mount_point}/{LEAF}"):
        return
    point = hierarchy.mount_point
    given = " ".join(f"+{name}" for name in CONTROLLERS if name in hierarchy.controllers)
    yield _step(
        f"move the processes of this container's root cgroup into {point}/{LEAF}",
        "on cgroup v2 a cgroup has either processes or controllers for those below it",
        [
            f"mkdir -p {point}/{LEAF}",
            f"for p in $(cat {point}/cgroup.procs); do echo $p >{point}/{LEAF}/cgroup.procs; done",
            f"echo {given} >{point}/cgroup.subtree_control",
        ],
        change,
        remark="it lasts as long as the container: do it at its start",
    )


def _writable(host: "Host", point: str) -> Step:
    why = "cgroups can be looked at but not made: it is mounted read-only"
    if host.surroundings.kind or host.surroundings.private:
        return Step(
            title=f"start this container with a writable {point}", why=why, commands=(),
            state=BY_HAND, remark=to_be_writable(host.surroundings.kind),
        )  # fmt: skip
    return Step(
        title=f"make {point} writable", why=why, commands=(f"mount -o remount,rw {point}",),
        state=BY_HAND,
    )  # fmt: skip


# ---- containers of ordinary users ----------------------------------------------------------


def _identities(host: "Host", user: "User") -> "Iterator[Step]":
    changes = [
        SubordinateIds(user.name, user.uid, f"{host.etc}/subuid"),
        SubordinateIds(user.name, user.uid, f"{host.etc}/subgid", group=True),
    ]
    lines = [f"echo {c.line} >>{c.path}" for c in changes if not c.is_done()]
    yield _step(
        f"give {user.name} a range of subordinate user and group ids",
        "the users and groups inside the containers of an ordinary user are mapped to them",
        lines,
        *changes,
    )
    if not shutil.which("newuidmap"):
        yield Step(
            title="install newuidmap and newgidmap",
            why="only they may map the subordinate ids for an ordinary user",
            commands=("apt-get install uidmap",),
            state=BY_HAND,
            remark="elsewhere the package is called shadow or shadow-uidmap",
        )


def _sysctls(host: "Host") -> "Iterator[Step]":
    wanted: dict[str, int] = {}
    for name, value in _SETTINGS:
        now = _setting(host, name)
        if now is not None and (now != value or _is_written(host, name)):
            wanted[name] = value
    if _setting(host, _USERNS) == 0 or _is_written(host, _USERNS):
        wanted[_USERNS] = _ENOUGH
    if not wanted:
        return
    path = f"{host.etc}/sysctl.d/90-climits.conf"
    text = "".join(f"{name} = {value}\n" for name, value in wanted.items())
    yield _step(
        "let ordinary users make containers",
        "these settings keep them from making user namespaces",
        [
            *(f"sysctl -w {name}={value}" for name, value in wanted.items()),
            *(f"echo '{name} = {value}' >>{path}" for name, value in wanted.items()),
        ],
        *(Sysctl(name, value, host.sysctls) for name, value in wanted.items()),
        WrittenFile(path, text),
    )


def _is_written(host: "Host", name: str) -> bool:
    return f"{name} = " in (read_text(f"{host.etc}/sysctl.d/90-climits.conf") or "")


def _setting(host: "Host", name: str) -> "int | None":
    text = read_text(f"{host.sysctls}/{name.replace('.', '/')}")
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
