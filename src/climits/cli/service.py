"""`climits service`: a systemd unit for `climits supervise`."""

import os
import sys
import time
from pathlib import Path

from ..cgroup.layout import current
from ..cgroup.systemd import running
from ..errors import ClimitsError, InvalidValueError
from ..linux.proc import start_time
from ..linux.whole_file import write_whole
from ..program.identity import user_name
from ..supervise.unit import MARK, Place, control_path, unit_text
from ..units import printable, quoted
from .options import LIFE, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    ("--config", "FILE", "text", LIFE, "supervise the programs of this file (-c FILE)"),
    ("--user", None, "switch", LIFE, "a service of your own, with no right of root's"),
    ("--enable", None, "switch", LIFE, "start it with the machine; with --user when you log in"),
    ("--now", None, "switch", LIFE, "start it now, or anew where it runs with another unit"),
    ("--write", "DIR", "list", LIFE, "programs write into this one too; may be repeated"),
    ("--print", None, "switch", TELLING, "print the unit, and do nothing"),
)
ANYWHERE = True
USAGE = """climits service install NAME -c FILE [OPTIONS]
       climits service uninstall NAME [--user]"""
EPILOG = """\
Writes NAME.service, which runs climits supervise -c FILE and takes every right
away that the programs of FILE do not need; each line of it says why. After a
change of who they run as, where they write, or of their containers, install it
again. All else that changes in FILE takes systemctl reload NAME.

All is read-only to the programs but their directories (cwd), their logs, what
--write names, and a /tmp of their own.

examples:
  climits service install web -c /etc/climits/web.toml --enable --now
  climits service install web -c web.toml --print
  climits service install jobs -c jobs.toml --user --now
  climits service uninstall web
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]

_HINT = "see climits service --help"
_MAX_NAME = 200  # bytes; with what is put around it 255 at most
_ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.-")
#: Where systemd finds units besides, before and behind the directory that we write into.
#: Source: systemd.unit(5), unit file load path.
_ELSEWHERE = (
    "/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd", "/lib/systemd",
)  # fmt: skip


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Install or uninstall."""
    if words[:1] not in (["install"], ["uninstall"]):
        word = f": {printable(words[0])}" if words else ""
        raise InvalidValueError(f"service can install and uninstall{word}", hint=_HINT)
    if len(words) != 2:
        raise InvalidValueError(f"{words[0]} takes one name of a service", hint=_HINT)
    name, user = _check_name(words[1]), bool(values.get("user"))
    if words[0] == "install":
        return _install(name, user, values)
    if given := [flag for flag in values if flag != "user"]:
        raise InvalidValueError(f"--{given[0]} does not go with uninstall", hint=_HINT)
    return _uninstall(name, user)


def _check_name(given: str) -> str:
    name = given.removesuffix(".service")
    cause = None
    if not name or set(name) - _ALPHABET or not name[0].isalnum():
        cause = "not a name of a service"
    elif len(name) > _MAX_NAME:
        cause = f"longer than {_MAX_NAME} bytes"
    elif name == "climits":
        cause = "climits uses climits.service for the cgroups that climits create makes"
    if cause:
        raise InvalidValueError(
            f"name: {quoted(given)}: {cause}",
            value=given,
            hint="letters, digits and :-_. such as web",
        )
    return name


# ---- install -------------------------------------------------------------------------------


def _install(name: str, user: bool, values: "dict[str, Any]") -> int:
    from ..supervise.config import ConfigError, load

    if "config" not in values:
        raise InvalidValueError("no configuration was given", hint="name the file with -c FILE")
    if user and values.get("write"):
        raise InvalidValueError(
            "--write does not go with --user", hint="leave it out: nothing is read-only there"
        )
    try:
        config = load(os.path.abspath(values["config"]))
    except ConfigError as e:
        for problem in e.problems:
            sys.stderr.write(f"climits: {problem}\n")
        return 125
    for program in config.programs if user else ():
        if given := [key for key in ("user", "group") if key in program.options]:
            raise InvalidValueError(
                f"{program.name}: {given[0]}: a service of your own starts programs as you alone",
                value=program.options[given[0]],
                hint=f"leave {given[0]} out, or install it as root without --user",
            )
    place = Place(
        name=name,
        climits=_climits(),
        libraries=[os.path.dirname(os.path.dirname(__file__)), sys.prefix, sys.base_prefix],
        user=user,
        systemd=_version() if running() else None,
        writable=[_directory(path) for path in values.get("write", ())],
        legacy=current().mode != "unified",
    )
    text = unit_text(config, place)
    if values.get("print"):
        sys.stdout.write(text)
        return 0
    path = _ready(name, user)
    changed = _write(path, text)
    unit = f"{name}.service"
    stale = _is_stale(user, unit, path, changed)
    # Always: the last time it may have failed after the file was written.
    _must(user, "daemon-reload")
    sys.stdout.write(f"{path}: {'written' if changed else 'as it was'}\n")
    if values.get("enable"):
        _must(user, "-q", "enable", unit)
    if values.get("now"):
        _must(user, "restart" if changed or stale else "start", unit)
    _tell(place, stale and not values.get("now"), values)
    return 0


def _is_stale(user: bool, unit: str, path: str, changed: bool) -> bool:
    """Whether it runs with another unit than the file; to be asked before systemd reads that."""
    words = _answer(user, "show", "-p", "MainPID,NeedDaemonReload", unit).split()
    pid = next((int(word[8:]) for word in words if word.startswith("MainPID=")), 0)
    ticks = start_time(pid) if pid else None
    if ticks is None:
        return False
    if changed or "NeedDaemonReload=yes" in words:
        return True
    # systemd has read it, but perhaps after the start. Not systemd's own stamps: those that it
    # prints exactly stand still while the machine sleeps.
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age < os.stat(path).st_mtime


def _tell(place: Place, stale: bool, values: "dict[str, Any]") -> None:
    """What to do next."""
    systemctl = "systemctl --user" if place.user else "systemctl"
    if stale:
        sys.stdout.write(
            f"it runs with the unit before this one: {systemctl} restart {place.name}\n"
        )
    elif not values.get("now"):
        sys.stdout.write(f"start it: {systemctl} start {place.name}\n")
    base = _runtime_directory() if place.user else "/run"
    socket = control_path(place).replace("%t", base)
    sys.stdout.write(f"steer it: climits ctl --socket {socket} status\n")
    me = user_name(os.geteuid())
    if place.user and not os.path.exists(f"/var/lib/systemd/linger/{me}"):
        sys.stdout.write(f"it ends when you log out: loginctl enable-linger {me} changes that\n")


def _runtime_directory() -> str:
    """Where our user manager is; after su the environment tells somebody else's."""
    return f"/run/user/{os.geteuid()}"


def _climits() -> list[str]:
    """The words that start the climits that runs now."""
    script = os.path.abspath(sys.argv[0])
    if os.path.basename(script) == "climits" and os.access(script, os.X_OK):
        return [script]
    return [sys.executable, "-m", "climits"]


def _directory(path: str) -> str:
    if not os.path.isdir(path):
        raise InvalidValueError(
            f"write: {quoted(path)}: no such directory", value=path, hint="make it first"
        )
    return os.path.abspath(path)


def _write(path: str, text: str) -> bool:
    """Whether it changed what was there; never does a reader see half of it."""
    old = _read(path)
    if old == text:
        return False
    if old is not None:
        _check_ours(path, old)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode(errors="surrogateescape"), 0o644)
    except OSError as e:
        raise _cannot("write", path, e) from None
    return True


# ---- uninstall -----------------------------------------------------------------------------


def _uninstall(name: str, user: bool) -> int:
    path, unit = _ready(name, user), f"{name}.service"
    text = _read(path)
    if text is None:
        raise InvalidValueError(
            f"{path}: no such service", value=name, hint="systemctl cat tells where a unit is"
        )
    _check_ours(path, text)
    _must(user, "-q", "disable", "--now", unit)
    try:
        os.unlink(path)
    except OSError as e:
        raise _cannot("remove", path, e) from None
    _must(user, "daemon-reload")
    if _systemctl(user, "is-failed", "-q", unit) == 0:  # or it would still be listed
        _must(user, "reset-failed", unit)
    sys.stdout.write(f"{path}: removed\n")
    return 0


# ---- both ----------------------------------------------------------------------------------


def _ready(name: str, user: bool) -> str:
    """The unit's path, where a unit can be installed here.

    Raises:
        ClimitsError: no systemd, no right, or a unit of that name elsewhere.
    """
    kind = "user" if user else "system"
    if not running():
        raise ClimitsError(
            f"cannot install {name}.service: this host does not run systemd",
            hint="--print shows the unit; without systemd run climits supervise -c FILE",
        )
    if not user and os.geteuid() != 0:
        raise ClimitsError(
            f"cannot install {name}.service: services of the host are root's",
            hint="run it as root, or with --user for a service of your own",
        )
    home = "/etc/systemd/system"
    if user:
        base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        home = f"{base}/systemd/user"
        _check_own(name, base)
        if not os.path.exists(f"{_runtime_directory()}/systemd/private"):
            me = user_name(os.geteuid())
            raise ClimitsError(
                f"cannot install {name}.service: the systemd user manager of {me} does not run",
                hint=f"log in anew, or as root: loginctl enable-linger {me}",
            )
    for other in (f"{place}/{kind}/{name}.service" for place in _ELSEWHERE):
        if os.path.exists(other) and os.path.dirname(other) != home:
            raise InvalidValueError(
                f"name: {quoted(name)}: there is a service of that name: {other}",
                value=name,
                hint="choose another name",
            )
    return f"{home}/{name}.service"


def _check_own(name: str, base: str) -> None:
    """Refuse what is somebody else's, as under sudo -E: they could lead us anywhere.

    Raises:
        ClimitsError: one of the directories is not of who runs this.
    """
    uid, places = os.geteuid(), [base, f"{base}/systemd", f"{base}/systemd/user"]
    above = os.path.abspath(base)
    while not os.path.lexists(above):  # it would be made there
        above = os.path.dirname(above)
    for place in filter(os.path.lexists, [above, *places]):
        owner = os.lstat(place).st_uid  # of a link too, which leads where its owner wants
        if owner != uid and (owner or place in places):  # root's may well be above a home
            me, other = user_name(uid), user_name(owner)
            raise ClimitsError(
                f"cannot install {name}.service for {me}: {place} belongs to {other}",
                path=place,
                hint=f"run it as {other}" if owner else f"make it yours: chown {me} {place}",
            )


def _read(path: str) -> "str | None":
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as e:
        raise _cannot("read", path, e) from None


def _check_ours(path: str, text: str) -> None:
    if not text.startswith(f"{MARK}\n"):
        raise InvalidValueError(
            f"{path} is there already, and climits did not write it",
            value=path,
            hint="choose another name, or remove it first",
        )


def _cannot(do: str, path: str, error: OSError) -> ClimitsError:
    cause = (error.strerror or str(error)).lower()
    return ClimitsError(
        f"cannot {do} {path}: {cause}", path=path, errno=error.errno, hint="see climits doctor"
    )


def _must(user: bool, *words: str) -> None:
    """Run systemctl, which says itself what is wrong."""
    status = _systemctl(user, *words)
    if status:
        kind = "systemctl --user" if user else "systemctl"
        raise ClimitsError(
            f"{kind} {' '.join(words)}: exit status {status}",
            hint="journalctl -xe tells more" if not user else "journalctl --user -xe tells more",
        )


def _systemctl(user: bool, *words: str, stdout: int = 2) -> int:
    """Run it: its exit status.

    Raises:
        LaunchError: there is none.
    """
    from ..launch.plan import Plan, candidates
    from ..launch.spawn import spawn

    argv = ["systemctl", *(["--user"] if user else []), *words]
    variables = dict(os.environb)
    if user:
        variables[b"XDG_RUNTIME_DIR"] = os.fsencode(_runtime_directory())
    environ = [k + b"=" + v for k, v in variables.items()]
    plan = Plan(
        [os.fsencode(word) for word in argv],
        environ,
        candidates("systemctl", os.environ.get("PATH")),
    )
    plan.stdio(None, stdout, None)
    _, pidfd = spawn(plan)
    try:
        done = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    finally:
        os.close(pidfd)
    assert done is not None  # it was waited for
    return done.si_status


def _answer(user: bool, *words: str) -> str:
    """What systemctl prints; less than a pipe holds."""
    reading, writing = os.pipe()
    try:
        _systemctl(user, *words, stdout=writing)
        os.close(writing)
        writing = -1
        return os.read(reading, 4096).decode(errors="replace")
    finally:
        for fd in (reading, writing):
            if fd >= 0:
                os.close(fd)


def _version() -> "int | None":
    """systemd's: of ``systemd 252 (252.39-1)`` 252."""
    text = _answer(False, "--version").split()
    return int(text[1]) if len(text) > 1 and text[1].isdigit() else None
