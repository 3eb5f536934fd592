"""The `linux` section of an OCI bundle's config.json: namespaces, ids, limits, devices."""

import os
import stat

from .bundle_json import Section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .idmaps import Range

_NAMES = {
    "cgroup": "cgroup", "ipc": "ipc", "mount": "mnt", "network": "net", "pid": "pid",
    "user": "user", "uts": "uts",
}  # fmt: skip
#: What a container has in /dev anyway: (type, major, minor), None for any.
_GIVEN_DEVICES = (
    ("c", 1, 3), ("c", 1, 5), ("c", 1, 7), ("c", 1, 8), ("c", 1, 9), ("c", 5, 0), ("c", 5, 2),
    ("c", 136, None),
)  # fmt: skip
_PERIOD = 100_000  # microseconds, the kernel's default
_REASONS = {
    "intelRdt": "not set",
    "memoryPolicy": "not set",
    "mountLabel": "SELinux is not set up",
    "netDevices": "no device is moved",
    "personality": "not set",
    "rootfsPropagation": "mounts are private",
    "sysctl": "not set",
    "timeOffsets": "there is no time namespace",
}
_RESOURCES = {
    "blockIO": "not limited",
    "hugepageLimits": "not limited",
    "network": "not set",
    "rdma": "not limited",
    "unified": "not written",
}
_MEMORY = {"kernel": "no limit of its own", "kernelTCP": "no limit of its own"}
_CPU = {
    "burst": "not set",
    "idle": "not set",
    "mems": "not set",
    "realtimePeriod": "not set",
    "realtimeRuntime": "not set",
    "shares": "no weights",
}


class Linux:
    """What the section says.

    Attributes:
        new: names of the namespaces, as in /proc/PID/ns, that are to be made.
        options: keyword arguments of Process.
        wishes: keyword arguments of Container.
    """

    def __init__(self) -> None:
        self.new: set[str] = set()
        self.options: dict[str, Any] = {}
        self.wishes: dict[str, Any] = {}


def read_linux(section: Section, *, shows_cgroups: bool) -> Linux:
    """Read the section.

    Args:
        section: that of the file.
        shows_cgroups: a cgroup file system is to be mounted.
    """
    linux = Linux()
    linux.new = _namespaces(section)
    if shows_cgroups:
        linux.new.add("cgroup")  # or the mount would show those of others too
    _id_maps(section, linux)
    _devices(section, linux)
    linux.wishes["masked"] = _paths(section, "maskedPaths")
    linux.wishes["protected"] = _paths(section, "readonlyPaths")
    linux.wishes["seccomp"] = section.table("seccomp") or "none"
    _cgroup(section, linux)
    resources = section.section("resources")
    _memory(resources.section("memory"), linux.options)
    _cpu(resources.section("cpu"), linux.options)
    pids = resources.section("pids")
    if (most := pids.number("limit")) is not None and most > 0:
        linux.options["pids"] = most
    pids.close()
    _device_rules(resources, linux)
    resources.close(_RESOURCES)
    if (propagation := section.text("rootfsPropagation")) not in (None, "private", "rprivate"):
        section.leave("rootfsPropagation", f"{propagation}: mounts are private")
    section.close(_REASONS)
    return linux


# ---- namespaces and ids --------------------------------------------------------------------


def _namespaces(section: Section) -> set[str]:
    """Those to be made; what is not listed is the host's."""
    new = set()
    for item in section.sections("namespaces"):
        kind, path = item.text("type") or "missing", item.text("path")
        item.close()
        name = _NAMES.get(kind)
        if name is None:
            item.leave("type", f"{kind}: no such namespace here")
        elif path is None:
            new.add(name)
        elif not _is_ours(path, name):
            item.leave("path", f"{path}: only a namespace of climits itself can be shared")
            new.add(name)
    if "mnt" not in new:
        section.leave("namespaces", "no mount namespace: one is always made")
        new.add("mnt")
    return new


def _is_ours(path: str, name: str) -> bool:
    try:
        return os.path.samefile(path, f"/proc/self/ns/{name}")
    except OSError:
        return False


def _id_maps(section: Section, linux: Linux) -> None:
    maps = {}
    for key, name in (("uidMappings", "uid_map"), ("gidMappings", "gid_map")):
        maps[name] = [_range(item) for item in section.sections(key)]
        if maps[name] and "user" not in linux.new:
            section.leave(key, "there is no user namespace in linux.namespaces")
        elif not maps[name] and "user" in linux.new:
            section.leave(key, "missing: ids are mapped as climits does it")
    if all(maps.values()) and "user" in linux.new:
        linux.wishes |= maps


def _range(item: Section) -> "Range":
    found = item.number("containerID") or 0, item.number("hostID") or 0, item.number("size") or 0
    item.close()
    if not all(0 <= n < 2**32 for n in found) or not found[2]:
        raise item.file.error(f"{item.where}: not a range of ids")
    return found


# ---- paths and devices ---------------------------------------------------------------------


def _paths(section: Section, key: str) -> list[str]:
    paths = section.texts(key)
    for index, path in enumerate(paths):
        if not path.startswith("/") or ".." in path.split("/") or not path.strip("/"):
            raise section.file.error(f"linux.{key}[{index}]: {path}: not an absolute path")
    return paths


def _devices(section: Section, linux: Linux) -> None:
    devices = []
    for item in section.sections("devices"):
        path, kind = item.text("path") or "", item.text("type") or ""
        wanted = "c" if kind == "u" else kind, item.number("major"), item.number("minor")
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            found = None
        if found is None or not path.startswith("/dev/") or _kind(found) != wanted:
            item.leave("", f"{path}: not a device that the host has there")
            continue
        for key, actual in (
            ("fileMode", stat.S_IMODE(found.st_mode)),
            ("uid", found.st_uid),
            ("gid", found.st_gid),
        ):
            if (number := item.number(key)) is not None and number & 0o7777 != actual:
                item.leave(key, f"{number}: it is the host's own, with {actual}")
        item.close()
        if wanted not in _GIVEN_DEVICES:
            devices.append(path)
    linux.wishes["devices"] = devices


def _kind(found: os.stat_result) -> "tuple[str, int, int]":
    letter = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(found.st_mode), "")
    return letter, os.major(found.st_rdev), os.minor(found.st_rdev)


def _device_rules(resources: Section, linux: Linux) -> None:
    """Rules of access: nothing but what is in /dev can be reached anyway."""
    there = [*_GIVEN_DEVICES, *(_kind(os.stat(path)) for path in linux.wishes["devices"])]
    for item in resources.sections("devices"):
        allow, access, kind = item.flag("allow"), item.text("access"), item.text("type") or "a"
        major, minor = _number(item, "major"), _number(item, "minor")
        item.close()
        given = (kind, major, minor) in there or (kind, major, None) in there
        if given and not allow:
            item.leave("", "what is in /dev can be used")
        elif allow and not given and access != "m":  # nothing can be made without CAP_MKNOD
            item.leave("", "only what is in /dev can be used")


def _number(item: Section, key: str) -> "int | None":
    number = item.number(key)
    return None if number == -1 else number


# ---- the cgroup ----------------------------------------------------------------------------


def _cgroup(section: Section, linux: Linux) -> None:
    path = section.text("cgroupsPath")
    if path is None:
        return
    parent, slash, name = path.rstrip("/").rpartition("/")
    if ":" in path or ".." in path.split("/") or not name or (parent and path[0] != "/"):
        section.leave("cgroupsPath", f"{path}: neither a name nor an absolute path")
        return
    if slash:
        linux.options["parent"] = parent or "/"
    linux.options["name"] = name


def _memory(memory: Section, options: "dict[str, Any]") -> None:
    limit, swap = _size(memory, "limit"), _size(memory, "swap")
    reservation = _size(memory, "reservation")
    if limit is not None:
        options["memory"] = limit
        options["swap"] = "max"  # as the specification has it: what is not said is not limited
    if swap is not None and swap != "max":  # of memory and swap together
        if not isinstance(limit, int) or not isinstance(swap, int) or swap < limit:
            raise memory.file.error(
                f"{memory.where}.swap: less than limit", "it is of memory and swap together"
            )
        options["swap"] = swap - limit
    if isinstance(reservation, int):
        options["low"] = reservation
    if (swappiness := memory.number("swappiness")) is not None:
        if not 0 <= swappiness <= 200:
            raise memory.file.error(f"{memory.where}.swappiness: {swappiness}: must be 0 to 200")
        options["swappiness"] = swappiness
    if memory.flag("disableOOMKiller"):
        options["on_oom"] = "pause"
    if memory.flag("useHierarchy") is False:
        memory.leave("useHierarchy", "what is below counts")
    memory.flag("checkBeforeUpdate")  # about limits that are changed later
    for key in _MEMORY:
        if (size := memory.number(key)) is not None and size != -1:
            memory.leave(key, _MEMORY[key])
    memory.close()


def _size(memory: Section, key: str) -> "int | str | None":
    size = memory.number(key)
    if size is not None and (size < -1 or size >= 2**63):
        raise memory.file.error(f"{memory.where}.{key}: {size}: not a size")
    return "max" if size == -1 else size or None  # 0 is "not set", as runc has it


def _cpu(cpu: Section, options: "dict[str, Any]") -> None:
    quota, period = cpu.number("quota"), cpu.number("period") or _PERIOD
    if quota is not None and quota > 0:
        if not 1000 <= period <= 1_000_000:
            raise cpu.file.error(f"{cpu.where}.period: {period}: must be 1000 to 1000000")
        options["cpus"] = quota / period
    if (cpus := cpu.text("cpus")) is not None:
        options["cpuset"] = cpus
    for key in ("shares", "burst", "idle", "realtimePeriod", "realtimeRuntime"):
        if (value := cpu.number(key)) and not (key == "shares" and value == 1024):
            cpu.leave(key, _CPU[key])
    cpu.close(_CPU)
