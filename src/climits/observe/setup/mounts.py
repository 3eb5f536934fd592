# ruff: noqa: D102
"""Cgroup filesystems where no init system mounts them: small machines, rescue shells."""

import errno
import os
from pathlib import Path

from ...errors import ClimitsError, InvalidValueError, UnsupportedError
from ...linux.mounting import mount, unmount
from ...linux.mounts import all_mounts, cgroup_mounts, controller_table
from ...units import quoted
from .changes import Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...linux.mounts import Mount
    from .changes import Note

#: Where everybody looks for them.
PLACE = "/sys/fs/cgroup"
_KINDS = ("v2", "hybrid", "v1")
#: What init systems mount cgroup v2 with; kernels before 5.9 do not know the second.
#: Source: Documentation/admin-guide/cgroup-v2.rst (Mounting)
_V2_OPTIONS = ("nsdelegate,memory_recursiveprot", "nsdelegate", "")
_USAGE = "write --mount v2, --mount hybrid, --mount v1, or --mount v1:memory,pids"


class Mounted(Change):
    """One mounted file system.

    Attributes:
        target: where.
        fstype: cgroup2, cgroup, or the tmpfs that holds the directories of v1.
        options: for the kernel; the first that it takes.
    """

    kind = "mount"
    lasts = False

    def __init__(self, target: str, fstype: str, *options: str) -> None:
        super().__init__(target)
        self.fstype, self.options = fstype, options or ("",)

    def __str__(self) -> str:
        options = f" -o {self.options[0]}" if self.options[0] else ""
        return f"mount -t {self.fstype}{options} {self.fstype} {self.target}"

    def is_done(self) -> bool:
        return any(m.point == self.target and m.fstype == self.fstype for m in all_mounts())

    def note(self) -> "Note":
        return {"made": not os.path.isdir(self.target), "fstype": self.fstype}

    def do(self) -> None:
        try:
            Path(self.target).mkdir(exist_ok=True)
            for options in self.options:
                try:
                    mount(self.fstype, self.target, options)
                    return
                except OSError as e:
                    if e.errno != errno.EINVAL or options == self.options[-1]:
                        raise
        except OSError as e:
            cause = os.strerror(e.errno or 0).lower()
            raise ClimitsError(f"{self}: {cause}", errno=e.errno, hint=_hint(e)) from None

    @staticmethod
    def undo(target: str, note: "Note") -> "str | None":
        if not any(m.point == target and m.fstype == note["fstype"] for m in all_mounts()):
            return None
        try:
            unmount(target)
        except OSError as e:
            if e.errno == errno.EBUSY:
                return f"{target} is in use: left mounted"
            raise
        if note["made"]:
            Path(target).rmdir()
        return None


def _hint(e: OSError) -> "str | None":
    return {
        errno.EPERM: "in a container mounting is forbidden: see climits doctor",
        errno.EBUSY: "the controller is in use on cgroup v2, or mounted together with another",
        errno.EINVAL: "this kernel does not have the controller on cgroup v1",
        errno.ENODEV: "this kernel was built without cgroups",
    }.get(e.errno or 0)


def parse(text: str) -> "tuple[str, tuple[str, ...]]":
    """(v2, hybrid or v1; the v1 controllers that were named, none for all of them).

    Raises:
        InvalidValueError: it is something else.
    """
    kind, colon, names = text.partition(":")
    controllers = tuple(dict.fromkeys(names.split(","))) if colon else ()
    if kind not in _KINDS or (kind == "v2" and colon) or "" in controllers:
        raise InvalidValueError(f"mount: {quoted(text)}: not a layout", value=text, hint=_USAGE)
    return kind, controllers


def missing(
    text: str, mounts: "Iterable[Mount] | None" = None, table: "str | None" = None
) -> list[Change]:
    """What has to be mounted for a layout, in order; empty where all is there.

    Args:
        text: v2, hybrid, v1 or v1:CONTROLLER,...; hybrid takes controllers as well.
        mounts: those of cgroup filesystems; None reads them.
        table: of /proc/cgroups; None reads it.

    Raises:
        InvalidValueError: no layout, or no controller of this kernel's.
        UnsupportedError: what is mounted stands in the way.
    """
    kind, names = parse(text)
    there = list(cgroup_mounts() if mounts is None else mounts)
    unified = [m for m in there if m.fstype == "cgroup2"]
    held = {option for m in there if m.fstype == "cgroup" for option in m.options}
    if kind == "v2":
        if unified:
            return []
        if there:
            raise _in_the_way("cgroup v1 is mounted", "--mount hybrid puts cgroup v2 beside it")
        return [Mounted(PLACE, "cgroup2", *_V2_OPTIONS)]
    if any(m.point == PLACE for m in unified):
        raise _in_the_way(f"cgroup v2 is mounted on {PLACE}", f"umount {PLACE} first")
    known = [name for name, _, _, enabled in controller_table(table) if enabled]
    if unknown := [name for name in names if name not in known]:
        raise InvalidValueError(
            f"mount: {quoted(unknown[0])}: not a controller that this kernel has on cgroup v1",
            value=text,
            hint=f"it has {', '.join(known) or 'none'}",
        )
    wanted = [name for name in names or known if name not in held]
    found: list[Change] = []
    if not any(m.point.startswith(f"{PLACE}/") for m in there):
        found.append(Mounted(PLACE, "tmpfs", "mode=755"))
    found += [Mounted(f"{PLACE}/{name}", "cgroup", name) for name in wanted]
    if kind == "hybrid" and not unified:
        found.append(Mounted(f"{PLACE}/unified", "cgroup2", *_V2_OPTIONS))
    # A tmpfs alone would be of no use.
    return found if any(change.target != PLACE for change in found) else []


def of_layout(text: str, made: "dict[str, str]") -> set[str]:
    """Where what setup mounted belongs to a layout.

    The tmpfs below the hierarchies of v1 does if no other of them is left on it.

    Args:
        text: as for missing().
        made: what setup mounted: where, and what kind of file system.

    Raises:
        InvalidValueError: no layout.
    """
    kind, names = parse(text)
    if kind == "v2":
        return {path for path, fstype in made.items() if (path, fstype) == (PLACE, "cgroup2")}
    found = {
        path for path, fstype in made.items()
        if fstype == "cgroup" and (not names or os.path.basename(path) in names)
    }  # fmt: skip
    if kind == "hybrid":
        found |= {path for path, fstype in made.items() if fstype == "cgroup2" and path != PLACE}
    holder = {path for path, fstype in made.items() if fstype == "tmpfs"}
    return found if made.keys() - found - holder else found | holder


def _in_the_way(what: str, hint: str) -> UnsupportedError:
    return UnsupportedError(f"nothing was mounted: {what}", hint=hint)
