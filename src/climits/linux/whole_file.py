"""Puts a file in place all at once, for whoever reads it and whatever lies in the way."""

import os

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_whole(
    path: str, data: bytes, mode: "int | None" = None, owner: "tuple[int, int] | None" = None
) -> None:
    """Write a new file beside it, and rename that: what was there stays until all is written.

    Args:
        path: of the file; what is there is replaced, a symbolic link too.
        data: all of it.
        mode: its permissions, whatever the umask; None is 0666 less the umask.
        owner: (uid, gid) that it is to have; None: whoever writes it.

    Raises:
        OSError: it cannot be written; nothing is left behind, and what was there stays.
    """
    directory, name = os.path.split(path)
    # Hidden, and not with the end of its name: some read each file of a directory by that.
    new = os.path.join(directory, f".{name[:50]}.{os.getpid()}.new")
    fd = _create(new, 0o666 if mode is None else 0o600)
    try:
        with open(fd, "wb") as file:
            if owner is not None:
                os.fchown(fd, *owner)
            if mode is not None:
                os.fchmod(fd, mode)
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.rename(new, path)
    except BaseException:
        os.unlink(new)
        raise


def _create(path: str, mode: int) -> int:
    try:
        return os.open(path, _FLAGS, mode)
    except FileExistsError:
        # Of a climits of this pid that was killed, or somebody's link: never written through.
        os.unlink(path)
        return os.open(path, _FLAGS, mode)
