"""The only code that opens cgroup files.

A cgroup is held by a descriptor of its directory: a cgroup of the same name that is made later is
never mistaken for it.  Each error names the file, the value and what to do.
"""

import errno
import os
import stat

from ..errors import CgroupError, CgroupExistsError, CgroupGoneError, CgroupPermissionError
from ..launch._spawn import Keeper
from ..linux.xattrs import getxattr, listxattr, removexattr, setxattr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_CAUSES = {
    errno.EBUSY: "the kernel says it is in use",
    errno.EINVAL: "the kernel refuses the value",
    errno.ENOSPC: "no room (a cpuset without cpus or mems, or too many cgroups)",
    errno.EROFS: "the cgroup filesystem is mounted read-only",
    errno.EOPNOTSUPP: "the cgroup is of a type that cannot do this",
    errno.ERANGE: "out of range",
    errno.EAGAIN: "a limit on the number of cgroups or processes was reached",
}
#: For those who cannot make any.
PERMISSION_HINT = (
    "three ways out: an administrator runs climits setup --user NAME --apply; "
    "run it as root, or in a cgroup that was delegated to you "
    "(systemd-run --user --scope -p Delegate=yes COMMAND); "
    "or climits run --enforce poll, which needs no right but is not enforced by the kernel"
)
_NOT_OURS = (
    "run as root, or in a cgroup that was delegated to you; "
    "an administrator gives you one with climits setup --user NAME --apply"
)
_HINTS = {
    errno.EACCES: _NOT_OURS,
    errno.EPERM: _NOT_OURS,
    errno.EROFS: "in a container, run it with a writable /sys/fs/cgroup; "
    "elsewhere: mount -o remount,rw the filesystem; "
    "or climits run --enforce poll, which is not enforced by the kernel",
}


def refusal(action: str, path: str, error: OSError, value: object = None) -> CgroupError:
    """The exception for an OSError, with the path, the value and a hint on it."""
    number = error.errno or 0
    cause = _CAUSES.get(number) or os.strerror(number).lower()
    cls: type[CgroupError] = CgroupError
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        cls = CgroupPermissionError
    elif number == errno.EEXIST:
        cls = CgroupExistsError
    elif number == errno.ENODEV:
        cls, cause = CgroupGoneError, "the cgroup was removed"
    return cls(
        f"{action}: {path}: {cause}", path=path, value=value, errno=number, hint=_HINTS.get(number)
    )


class Directory:
    """One cgroup in one hierarchy: an open directory.

    Attributes:
        path: where it was when it was opened.
    """

    __slots__ = ("_fd", "_held", "_inode", "_keeper", "path")

    def __init__(self, path: str) -> None:
        """Open a directory that exists.

        Raises:
            CgroupGoneError: there is none.
            CgroupPermissionError: no right to look into it.
        """
        self._fd = -1
        self._inode = 0  # only while it rests
        self._keeper: Keeper | None = None
        self._held: dict[str, Keeper] | None = None
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError as e:
            raise CgroupGoneError(f"no such cgroup: {path}", path=path, errno=e.errno) from None
        except OSError as e:
            raise refusal("cannot open the cgroup", path, e) from None
        self._keeper = Keeper(self._fd)

    @property
    def fd(self) -> int:
        """Its descriptor; -1 once closed.

        Raises:
            CgroupGoneError: it rested, and was removed meanwhile.
        """
        if self._inode:
            again = Directory(self.path)
            if os.fstat(again._fd).st_ino != self._inode:  # one that was made under its name
                raise CgroupGoneError(f"the cgroup was removed: {self.path}", path=self.path)
            self._keeper, self._fd, self._inode = again._keeper, again._fd, 0
        return self._fd

    def rest(self) -> None:
        """Give the descriptor back until the directory is used again.

        For those who hold thousands: what is then opened is the same cgroup, or an error.
        """
        if self._fd >= 0:
            self._inode = os.fstat(self._fd).st_ino
            self._fd, self._keeper, self._held = -1, None, None

    def close(self) -> None:
        """Give the descriptors back; may be called again."""
        self._fd, self._inode, self._keeper, self._held = -1, 0, None, None

    def read(self, name: str) -> bytes:
        """The whole content of a file.

        Raises:
            CgroupGoneError: the cgroup was removed.
            CgroupError: there is no such file, or it cannot be read.
        """
        try:
            fd = os.open(name, os.O_RDONLY, dir_fd=self.fd)
            try:
                data = os.read(fd, 8192)
                # Files of up to a page come whole; longer ones (a long cgroup.procs) in parts.
                while len(data) >= 4000 and (more := os.read(fd, 65536)):
                    data += more
                return data
            finally:
                os.close(fd)
        except OSError as e:
            raise self._error("cannot read", name, e) from None

    def read_optional(self, name: str) -> "bytes | None":
        """As read, but None for a file that this kernel does not have or has switched off."""
        try:
            return self.read(name)
        except CgroupGoneError:
            raise
        except CgroupError as e:
            if e.errno in (errno.ENOENT, errno.EOPNOTSUPP):
                return None
            raise

    def read_many(self, names: tuple[str, ...]) -> "list[bytes | None]":
        """Several short files at once, at the least cost; None for those that cannot be read.

        Raises:
            CgroupGoneError: the cgroup was removed.
        """
        out: list[bytes | None] = []
        directory, held = self.fd, self._held or {}
        for name in names:
            try:
                file = held.pop(name, None) or Keeper(os.open(name, os.O_RDONLY, dir_fd=directory))
                out.append(os.read(file.fd, 8192))
            except OSError:
                out.append(None)
        if None in out and self.is_gone():
            raise CgroupGoneError(f"the cgroup was removed: {self.path}", path=self.path)
        return out

    def hold(self, names: tuple[str, ...]) -> None:
        """Open files now, while there is time, that the next read_many of their names will read.

        It reads what they hold then, and closes them; `rest` and `close` do so too.  What cannot be
        opened is left to read_many.
        """
        directory = self.fd
        held = self._held = self._held or {}
        for name in names:
            try:
                held[name] = Keeper(os.open(name, os.O_RDONLY, dir_fd=directory))
            except OSError:
                pass

    def read_int(self, name: str) -> int:
        """A file that holds one number."""
        return int(self.read(name))

    def write(self, name: str, value: str, *, read_back: bool = False) -> bytes:
        """Write a value in one call, as the kernel wants it.

        Returns:
            With `read_back` what the file holds then, else nothing.

        Raises:
            CgroupGoneError: the cgroup was removed.
            CgroupPermissionError: no right to write.
            CgroupError: any other refusal; `errno` says which.
        """
        try:
            fd = os.open(name, os.O_RDWR if read_back else os.O_WRONLY, dir_fd=self.fd)
            try:
                os.write(fd, value.encode())
                return os.pread(fd, 4096, 0) if read_back else b""
            finally:
                os.close(fd)
        except OSError as e:
            raise self._error(f"cannot write {value}", name, e, value) from None

    def open_file(self, name: str, flags: int = os.O_RDONLY) -> int:
        """A descriptor of a file, for those who keep it."""
        try:
            return os.open(name, flags, dir_fd=self.fd)
        except OSError as e:
            raise self._error("cannot open", name, e) from None

    def hand_over(self, name: str, uid: int, gid: int = -1) -> None:
        """Make a user and group the owners of a file, where there is one; ``.`` is the directory.

        -1 leaves the one that is.
        """
        try:
            os.chown(name, uid, gid, dir_fd=self.fd)
        except OSError as e:
            if e.errno != errno.ENOENT:
                raise self._error("cannot hand over", name, e) from None

    def let_group_write(self, name: str) -> None:
        """Let the group of a file write it too, where there is one; ``.`` is the directory."""
        try:
            mode = os.stat(name, dir_fd=self.fd).st_mode
            os.chmod(name, stat.S_IMODE(mode) | stat.S_IWGRP, dir_fd=self.fd)
        except OSError as e:
            if e.errno != errno.ENOENT:
                raise self._error("cannot hand over", name, e) from None

    def has(self, name: str) -> bool:
        """Whether there is a file or child of that name."""
        try:
            os.stat(name, dir_fd=self.fd)
        except OSError:
            return False
        return True

    def is_gone(self) -> bool:
        """Whether the cgroup was removed; one that was made anew under its name is another.

        One that was given back counts as removed: nothing can be said of it.
        """
        if self._fd < 0 and not self._inode:
            return True
        try:
            there = os.stat(self.path)
        except OSError:
            return True
        return there.st_ino != (self._inode or os.fstat(self._fd).st_ino)

    def pids(self) -> list[int]:
        """Process ids in this cgroup, its children left out; may be empty."""
        return [int(pid) for pid in self.read("cgroup.procs").split()]

    def controllers(self) -> list[str]:
        """The controllers that it may hand down to its children; of v1 none, which has no list."""
        return (self.read_optional("cgroup.controllers") or b"").decode().split()

    def children(self) -> list[str]:
        """Names of the child cgroups; may be empty."""
        try:
            with os.scandir(self.fd) as entries:
                return [e.name for e in entries if e.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        except OSError as e:
            raise refusal("cannot list the cgroup", self.path, e) from None

    def walk(self) -> "Iterator[Directory]":
        """This cgroup and all below it, parents first; those removed meanwhile are left out.

        Each is open until the next is asked for: there may be more than a process may hold open,
        and more levels than Python's stack has.

        Raises:
            CgroupError: one of them cannot be opened or listed.
        """
        yield self
        todo = [f"{self.path}/{name}" for name in self.children()]
        while todo:
            try:
                directory = Directory(todo.pop())
            except CgroupGoneError:
                continue
            try:
                yield directory
                todo += [f"{directory.path}/{name}" for name in directory.children()]
            finally:
                directory.close()

    def files(self) -> list[str]:
        """Names of the files that can be read by somebody; may be empty."""
        try:
            with os.scandir(self.fd) as entries:
                return [
                    e.name for e in entries
                    if e.is_file(follow_symlinks=False) and e.stat().st_mode & 0o444
                ]  # fmt: skip
        except FileNotFoundError:
            return []
        except OSError as e:
            raise refusal("cannot list the cgroup", self.path, e) from None

    def is_leaf(self) -> bool:
        """Whether no cgroup is below it, as its link count tells without a look into it.

        A link for itself and for its name, and one for each directory in it.

        Source: fs/kernfs/inode.c (kernfs_refresh_inode).
        """
        return os.fstat(self.fd).st_nlink == 2

    def child(self, name: str) -> "Directory":
        """Open a child."""
        return Directory(f"{self.path}/{name}")

    def is_populated(self) -> bool:
        """Whether processes live in this cgroup or in one below it."""
        events = self.read_optional("cgroup.events")
        if events is not None:
            return pick(events, b"populated ") == 1
        for directory in self.walk():
            try:
                if directory.pids():
                    return True
            except CgroupGoneError:
                if directory is self:
                    raise
        return False

    def get_mark(self, name: str) -> "bytes | None":
        """An extended attribute; None when it is not set or cannot be."""
        try:
            return getxattr(self.fd, name)
        except OSError:
            return None

    def set_mark(self, name: str, value: bytes) -> bool:
        """Set an extended attribute; whether the kernel took it."""
        try:
            setxattr(self.fd, name, value)
        except OSError:
            return False
        return True

    def marks(self, prefix: str) -> dict[str, bytes]:
        """The extended attributes whose names begin so; may be empty."""
        try:
            names = [name for name in listxattr(self.fd) if name.startswith(prefix)]
            return {name: getxattr(self.fd, name) for name in names}
        except OSError:
            return {}

    def remove_mark(self, name: str) -> None:
        """Remove an extended attribute, where there is one."""
        try:
            removexattr(self.fd, name)
        except OSError:
            pass

    def _error(self, action: str, name: str, e: OSError, value: object = None) -> CgroupError:
        if isinstance(e, CgroupGoneError):  # found out when it was opened again
            return e
        path = f"{self.path}/{name}"
        if self._fd < 0 and not self._inode:
            return CgroupGoneError(
                f"{action}: {path}: given back already", path=path, errno=e.errno
            )
        if e.errno == errno.ENOENT and self.is_gone():
            return CgroupGoneError(
                f"{action}: {path}: the cgroup was removed", path=path, errno=e.errno
            )
        return refusal(action, path, e, value)


def walk_paths(path: str) -> "Iterator[tuple[str, int, CgroupError | None]]":
    """A cgroup's directory and all below it, parents first, with nothing kept open.

    A leaf, as its link count tells (see Directory.is_leaf), is not listed: a thousand of them
    cost a stat each.  Those removed meanwhile are left out.

    Yields:
        (path, inode number or 0, why it cannot be looked into or None).
    """
    todo = [path]
    while todo:
        path = todo.pop()
        inode, error = 0, None
        try:
            facts = os.stat(path)
            inode = facts.st_ino
            if facts.st_nlink != 2:
                with os.scandir(path) as entries:
                    todo += [e.path for e in entries if e.is_dir(follow_symlinks=False)]
        except OSError as e:
            if e.errno in (errno.ENOENT, errno.ENODEV):
                continue
            error = refusal("cannot look into the cgroup", path, e)
        yield path, inode, error


def make(path: str) -> None:
    """Make one cgroup; its parent must exist.

    Raises:
        CgroupExistsError, CgroupGoneError (no parent), CgroupPermissionError, CgroupError.
    """
    try:
        os.mkdir(path)
    except FileNotFoundError as e:
        raise CgroupGoneError(
            f"cannot make the cgroup: {path}: no parent", path=path, errno=e.errno
        ) from None
    except OSError as e:
        raise refusal("cannot make the cgroup", path, e) from None


def remove(path: str) -> bool:
    """Remove one cgroup that has neither processes nor children.

    Returns:
        False when the kernel still holds it (EBUSY, ENOTEMPTY): try again.  One that is gone
        already counts as removed.

    Raises:
        CgroupError: any other refusal.
    """
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError as e:
        if e.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise refusal("cannot remove the cgroup", path, e) from None
    return True


def remove_below(directory: Directory) -> "str | None":
    """Remove what is empty of a cgroup and of those below it; the path of one that is not."""
    busy = None
    try:
        paths = [each.path for each in directory.walk()]
    except CgroupGoneError:
        return None
    for path in reversed(paths):
        if not remove(path) and busy is None:
            busy = path
    return busy


def pick(data: bytes, key: bytes) -> "int | None":
    """One value of memory.stat, cpu.stat and the like, whose lines are ``key value``.

    Without parsing the rest: 0.5 us instead of 10.

    Args:
        data: what the file holds.
        key: the key and the space behind it.
    """
    _, found, rest = (b"\n" + data).partition(b"\n" + key)
    return int(rest.partition(b"\n")[0]) if found else None


def stat_fields(data: bytes) -> dict[str, int]:
    """All of memory.stat: the kernel's own names and figures, in bytes or counts."""
    words = data.split()
    return {name.decode(): int(value) for name, value in zip(words[::2], words[1::2], strict=False)}
