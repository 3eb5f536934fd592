"""Mounting v1 hierarchies, for the mount section of cgconfig.conf.

Source: mount(2), Documentation/admin-guide/cgroup-v1/cgroups.rst (2.1).
"""

import errno
import os
from pathlib import Path

from ...linux.mounting import FLAGS, mount
from ...linux.mounts import cgroup_mounts
from .status import MOUNT_FAILED, GiveUp


def mount_all(mounts: "list[tuple[str, str]]") -> None:
    """Mount hierarchies; those of one directory are one.  What is there already stays.

    Args:
        mounts: (controller, directory); the controller may have options: ``cpu,nodev``.

    Raises:
        GiveUp: the kernel refused, or something else is mounted there.
    """
    by_point: dict[str, list[str]] = {}
    for controllers, point in mounts:
        by_point.setdefault(os.path.normpath(point), []).extend(controllers.split(","))
    for point, words in by_point.items():
        names = list(dict.fromkeys(w for w in words if w and w not in FLAGS))
        flags = 0
        for word in words:
            flags |= FLAGS.get(word, 0)
        _mount(point, names, flags)


def _mount(point: str, names: list[str], flags: int) -> None:
    there = [m for m in cgroup_mounts() if m.point == point]
    if there:
        if there[-1].fstype == "cgroup" and set(names) <= there[-1].options:
            return
        raise GiveUp(
            MOUNT_FAILED,
            f"{point}: another hierarchy is mounted there; hint: choose another directory",
        )
    try:
        Path(point).mkdir(parents=True, exist_ok=True)
        options = list(names)
        if all(name.startswith("name=") for name in names):
            options.insert(0, "none")
        mount("cgroup", point, ",".join(options), flags=flags)
    except OSError as e:
        hint = ""
        if e.errno == errno.EBUSY:
            hint = "; hint: a controller can be in one hierarchy only: see lssubsys -am"
        cause = (e.strerror or str(e)).lower()
        raise GiveUp(
            MOUNT_FAILED, f"cannot mount {','.join(names)} on {point}: {cause}{hint}"
        ) from None
