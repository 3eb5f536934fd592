"""Owners and modes of a cgroup's files."""

import os

from ...cgroup.files import Directory
from ...cgroup.layout import Hierarchy
from ...errors import CgroupPermissionError
from . import groups

#: "Leave it as it is", for ids and modes.
KEEP = -1


class Permissions:
    """Who may do what with a cgroup; -1 leaves things as they are.

    Attributes:
        task_uid, task_gid, task_mode: of the file by which processes are moved in.
        admin_uid, admin_gid: of the directory and the other files.
        dir_mode, file_mode: of the directory, and of the files.
    """

    __slots__ = (
        "admin_gid", "admin_uid", "dir_mode", "file_mode", "task_gid", "task_mode", "task_uid",
    )  # fmt: skip

    def __init__(self) -> None:
        self.task_uid = self.task_gid = self.admin_uid = self.admin_gid = KEEP
        self.task_mode = self.dir_mode = self.file_mode = KEEP

    def apply(self, hierarchy: Hierarchy, directory: Directory) -> None:
        """Give the files of one cgroup these owners and modes."""
        # The file by which threads are moved in on v1 has an owner and a mode of its own.
        names = [name for name in groups.entries(directory) if name != "tasks"]
        if (self.admin_uid, self.admin_gid) != (KEEP, KEEP):
            for name in (".", *names):
                directory.hand_over(name, self.admin_uid, self.admin_gid)
        if self.file_mode != KEEP:
            for name in names:
                _chmod(directory, name, self.file_mode)
        if self.dir_mode != KEEP:
            _chmod(directory, ".", self.dir_mode)
        joining = hierarchy.join_file
        if (self.task_uid, self.task_gid) != (KEEP, KEEP):
            directory.hand_over(joining, self.task_uid, self.task_gid)
        if self.task_mode != KEEP:
            _chmod(directory, joining, self.task_mode)


def _chmod(directory: Directory, name: str, mode: int) -> None:
    """Set a mode, in which nobody can do more than the owner can: most files are read only."""
    path = f"{directory.path}/{name}"
    try:
        owner = os.stat(name, dir_fd=directory.fd).st_mode >> 6 & 0o7
        os.chmod(name, mode & (owner << 6 | owner << 3 | owner), dir_fd=directory.fd)
    except OSError as e:
        raise CgroupPermissionError(
            f"cannot change the mode: {path}: {(e.strerror or str(e)).lower()}",
            path=path,
            value=mode,
            errno=e.errno,
        ) from None
