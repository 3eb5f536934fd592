"""The `mounts` of an OCI bundle's config.json."""

import os
import stat

from ..errors import InvalidValueError
from ..units import parse_size
from .bundle_json import Section
from .container import Bind, Tmpfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What climits mounts anyway: {place: types}.
_MADE = {
    "/proc": ("proc",),
    "/dev": ("tmpfs",),
    "/dev/pts": ("devpts",),
    "/dev/mqueue": ("mqueue",),
    "/sys": ("sysfs", "bind"),
    "/sys/fs/cgroup": ("cgroup", "cgroup2"),
}
_READ_ONLY = ("/sys", "/sys/fs/cgroup")
# Options that the mounts have anyway, or that change nothing that a program could rely on.
_PLAIN = (
    "defaults", "rw", "suid", "dev", "exec", "async", "noatime", "relatime", "strictatime",
    "nodiratime", "norelatime", "nostrictatime", "private", "rprivate", "bind", "rbind",
)  # fmt: skip
_FLAGS = ("nosuid", "nodev", "noexec")


def shows_cgroups(item: Section) -> bool:
    """Whether it is a cgroup file system; the item can still be read."""
    return item.peek("type") in ("cgroup", "cgroup2")


def read_mounts(
    sections: "list[Section]", new: set[str], folder: str
) -> "tuple[list[Bind], list[Tmpfs]]":
    """Read the list.

    Args:
        sections: its items.
        new: names of the namespaces that are made.
        folder: that relative sources start from.
    """
    binds: list[Bind] = []
    tmpfs: list[Tmpfs] = []
    for item in sections:
        target = item.text("destination")
        if target is None or not target.startswith("/"):
            raise item.file.error(f"{item.where}.destination: {target or 'missing'}: not absolute")
        target = os.path.normpath("/" + target.lstrip("/"))
        options = item.texts("options")
        kind, source = item.text("type") or "", item.text("source")
        if {"bind", "rbind"} & set(options):
            kind = "bind"
        item.close({"uidMappings": "no ids are mapped", "gidMappings": "no ids are mapped"})
        if kind in _MADE.get(target, ()):
            if target == "/dev/mqueue" and "ipc" not in new:
                item.leave("", "there is no ipc namespace in linux.namespaces")
            _made(item, target, options, kind, source)
        elif kind == "tmpfs":
            if place := _tmpfs(item, target, options):
                if any((target + "/").startswith(bind.target + "/") for bind in binds):
                    item.leave("", f"a tmpfs on or below the bind mount {target}")
                else:
                    tmpfs.append(place)
        elif kind == "bind":
            if bind := _bind(item, target, options, os.path.join(folder, source or "")):
                binds.append(bind)
        else:
            item.leave("", f"type {kind or 'none'} on {target}: not mounted")
    return binds, tmpfs


def _made(item: Section, target: str, options: list[str], kind: str, source: "str | None") -> None:
    """One that is made anyway: only what it would be without is named."""
    if kind == "bind" and source != target:
        item.leave("source", f"{source} on {target}: climits has its own there")
    if target in _READ_ONLY and "ro" not in options:
        item.leave("options", f"{target} cannot be written")
    for option in options:
        name = option.partition("=")[0]
        if name in (*_PLAIN, *_FLAGS, "newinstance", "mode", "ptmxmode", "gid", "size"):
            continue
        if not (option == "ro" and target in _READ_ONLY):
            item.leave("options", f"{option} on {target}: climits has its own there")


def _tmpfs(item: Section, target: str, options: list[str]) -> "Tmpfs | None":
    given: dict[str, Any] = {"flags": [name for name in ("ro", "noexec") if name in options]}
    for option in options:
        name, _, value = option.partition("=")
        if name == "size":
            try:
                given["size"] = int(parse_size(value.upper(), what=f"{item.where}.options: size"))
            except (InvalidValueError, OverflowError):  # "max" is no number
                item.leave("options", f"{option}: not a size in bytes")
        elif name == "mode":
            if not value or set(value) - set("01234567") or len(value) > 5:
                raise item.file.error(f"{item.where}.options: {option}: not a mode")
            given["mode"] = int(value, 8)
        elif name not in (*_PLAIN, *_FLAGS, "ro", "tmpcopyup"):
            item.leave("options", f"{option}: not set")
        elif name == "tmpcopyup":
            item.leave("options", f"{option}: it is empty")
    try:
        return Tmpfs(target, **given)
    except InvalidValueError as e:
        item.leave("destination", e.text)
        return None


def _bind(item: Section, target: str, options: list[str], source: str) -> "Bind | None":
    for option in options:
        if option not in (*_PLAIN, *_FLAGS, "ro", "rro"):
            item.leave("options", f"{option}: not set")
    try:
        mode = os.stat(source).st_mode
    except OSError as e:
        cause = os.strerror(e.errno or 0).lower()
        raise item.file.error(f"{item.where}.source: {source}: {cause}") from None
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        item.leave("", f"{source} is a device, to be named in linux.devices")
        return None
    try:
        return Bind(
            source,
            target,
            bool({"ro", "rro"} & set(options)),
            recursive="rbind" in options,
            # What devices can be used, /dev says.
            flags=["nodev", *(name for name in _FLAGS if name in options)],
        )
    except InvalidValueError as e:
        item.leave("destination", e.text)
        return None
