"""An OCI bundle: what its config.json says, as options of a program and its container.

What climits cannot do is collected and refused together: a program that believes to be confined by
what was silently ignored would be worse off than one that does not start.

Source: the OCI runtime specification: config.md, config-linux.md, bundle.md.
"""

import os

from ..errors import InvalidValueError, UnsupportedError
from ..launch import capabilities
from .bundle_json import File, Section
from .bundle_linux import Linux, read_linux
from .bundle_mounts import read_mounts, shows_cgroups
from .container import SHAREABLE, Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROCESS = {
    "apparmorProfile": "AppArmor is not set up",
    "commandLine": "only Windows has it",
    "execCPUAffinity": "not set",
    "ioPriority": "not set",
    "scheduler": "not set",
    "selinuxLabel": "SELinux is not set up",
}
_TOP = {
    "domainname": "not set",
    "solaris": "another system",
    "vm": "another system",
    "windows": "another system",
    "zos": "another system",
}
_HOOKS = (
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
)  # fmt: skip
#: Of the mounts, and of the devices: no cgroup of ours keeps it from those.
_TOO_MUCH = frozenset(("MKNOD", "SYS_ADMIN"))
_CAPABILITY_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def read_bundle(
    directory: "str | os.PathLike[str]", ignore_unsupported: bool = False
) -> "tuple[list[str], dict[str, Any], list[str]]":
    """Read what a bundle wants to be run.

    Args:
        directory: with a config.json in it.
        ignore_unsupported: leave out what climits cannot do.

    Returns:
        (command, options, left out): keyword arguments of Process, with `container` and the whole
        environment as `env`; and one text for each thing that is left out, such as
        ``linux.sysctl: not set``, may be empty.

    Raises:
        InvalidValueError: config.json is missing or wrong; the text says where.
        UnsupportedError: it asks for what climits cannot do, all of it named in the text.
    """
    file = File(directory)
    top = Section(file, file.content, "")
    _check_version(top)
    mounts = top.sections("mounts")
    linux = read_linux(top.section("linux"), shows_cgroups=any(map(shows_cgroups, mounts)))
    wishes: dict[str, Any] = dict(linux.wishes)
    binds, tmpfs = read_mounts(mounts, linux.new, file.directory)
    process = top.section("process")
    command = process.texts("args")
    if not command or not command[0]:
        raise file.error("process.args: missing", "name the program and its arguments")
    options = {**linux.options, **_process(process, wishes, linux)}
    wishes |= {
        "rootfs": _root(top.section("root"), wishes),
        "hostname": _host_name(top, linux),
        "binds": binds,
        "tmpfs": tmpfs,
        "share": [name for name in SHAREABLE if name not in linux.new],
        "init": False,  # the program itself is process 1
    }
    hooks = top.section("hooks")
    hooks.close(dict.fromkeys(_HOOKS, "hooks are not run"))
    top.table("annotations")  # for other programs
    top.close(_TOP)
    if file.left_out and not ignore_unsupported:
        count = len(file.left_out)
        raise UnsupportedError(
            f"bundle: {file.path}: {count} thing{'s' if count > 1 else ''} that climits cannot do: "
            + "; ".join(file.left_out),
            path=file.path,
            value=file.left_out,
            hint="--ignore-unsupported runs it without",
        )
    try:
        options["container"] = Container(**wishes)
    except InvalidValueError as e:
        raise file.wrap(e) from None
    return command, options, file.left_out


def _check_version(top: Section) -> None:
    version = top.text("ociVersion")
    if version is None:
        raise top.file.error("ociVersion: missing", "is this the config.json of an OCI bundle?")
    if version.partition(".")[0] != "1":
        raise top.file.error(f"ociVersion: {version}: unknown", "climits reads version 1")


def _root(root: Section, wishes: "dict[str, Any]") -> str:
    path = root.text("path")
    if path is None:
        raise root.file.error("root.path: missing", "name the directory of the root file system")
    path = os.path.join(root.file.directory, path)
    if not os.path.isdir(path):
        raise root.file.error(f"root.path: {path}: no such directory")
    wishes["read_only"] = bool(root.flag("readonly"))
    root.close()
    return path


def _host_name(top: Section, linux: Linux) -> "str | None":
    name = top.text("hostname")
    if name is not None and "uts" not in linux.new:
        top.leave("hostname", "there is no uts namespace in linux.namespaces")
        return None
    return name


# ---- process -------------------------------------------------------------------------------


def _process(process: Section, wishes: "dict[str, Any]", linux: Linux) -> "dict[str, Any]":
    cwd = process.text("cwd") or "/"
    if not cwd.startswith("/"):
        raise process.file.error(f"process.cwd: {cwd}: not absolute")
    options: dict[str, Any] = {"cwd": cwd, "env": _environment(process)}
    uid = _user(process.section("user"), options)
    wishes["no_new_privs"] = bool(process.flag("noNewPrivileges"))
    wishes |= _capabilities(process.section("capabilities"), linux, uid, wishes["no_new_privs"])
    wishes["rlimits"] = _rlimits(process)
    if (score := process.number("oomScoreAdj")) is not None:
        if not -1000 <= score <= 1000:
            raise process.file.error(f"process.oomScoreAdj: {score}: must be -1000 to 1000")
        options["oom_score_adj"] = score
    process.flag("terminal")  # it has that of climits, if that has one
    process.table("consoleSize")
    process.close(_PROCESS)
    return options


def _environment(process: Section) -> dict[str, str]:
    environment = {}
    for index, pair in enumerate(process.texts("env")):
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise process.file.error(f"process.env[{index}]: {pair}: not of the form NAME=VALUE")
        environment[name] = value
    return environment


def _user(user: Section, options: "dict[str, Any]") -> int:
    uid, gid = user.number("uid") or 0, user.number("gid") or 0
    groups = user.numbers("additionalGids")
    for key, number in (("uid", uid), ("gid", gid), *(("additionalGids", n) for n in groups)):
        if not 0 <= number < 2**32 - 1:
            raise user.file.error(f"process.user.{key}: {number}: not an id")
    # An ordinary user is root in its container anyway, and may not set groups.
    if os.geteuid() == 0 or uid or gid or groups:
        options |= {"user": uid, "group": gid, "extra_groups": groups}
    user.close({"umask": "not set", "username": "only Windows has it"})
    return uid


def _capabilities(section: Section, linux: Linux, uid: int, no_new_privs: bool) -> "dict[str, Any]":
    sets = {name: _known(section, name, section.texts(name)) for name in _CAPABILITY_SETS}
    section.close()
    kept = sets["bounding"]
    # What root has after an exec are those of the bounding set; no_new_privs forbids to gain any.
    if uid == 0 and no_new_privs:
        kept &= sets["permitted"]
    for name in sorted(kept & _TOO_MUCH) if "user" not in linux.new else ():
        kept.discard(name)
        section.leave("bounding", f"CAP_{name} reaches the host without a user namespace")
    return {"cap_drop": ["ALL"], "cap_add": sorted(kept), "ambient": sorted(sets["ambient"] & kept)}


def _known(section: Section, key: str, names: list[str]) -> set[str]:
    found = set()
    for index, name in enumerate(names):
        short = name.removeprefix("CAP_")
        if short in capabilities.NAMES and short != name:
            found.add(short)
        else:
            section.leave(f"{key}[{index}]", f"{name}: no such capability")
    return found


def _rlimits(process: Section) -> dict[int, tuple[int, int]]:
    import resource

    found = {}
    for item in process.sections("rlimits"):
        name, soft, hard = item.text("type") or "", item.number("soft"), item.number("hard")
        item.close()
        number = getattr(resource, name, None) if name.startswith("RLIMIT_") else None
        if number is None:
            item.leave("type", f"{name or 'missing'}: no such limit")
            continue
        if soft is None or hard is None or not 0 <= soft <= hard < 2**64:
            raise process.file.error(f"{item.where}: not a soft and a hard limit")
        found[number] = soft, hard
    return found
