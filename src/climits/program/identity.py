"""Users and groups by name, of the host or of a container's root; and their names."""

import os
import stat

from ..errors import InvalidValueError
from ..units import shown, whole_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: The kernel takes 2**32 - 1 for no change, and of what is beyond it the lower half: for root.
#: Source: setresuid(2), include/linux/types.h (uid_t)
_LAST_ID = 2**32 - 2


def identity(
    user: "str | int | None",
    group: "str | int | None",
    extra: "Sequence[str | int] | None",
    root: "str | None" = None,
) -> "tuple[int | None, int | None, list[int] | None]":
    """(uid, gid, supplementary groups) to become; None leaves one as it is.

    Args:
        user, group, extra: names or numbers.
        root: the directory whose etc/passwd and etc/group count; None: the host's users.

    Raises:
        InvalidValueError: no such user or group.
    """
    if user is None and group is None and extra is None:
        return None, None, None
    uid = gid = None
    groups: list[int] | None = None
    if user is not None:
        found = _user(user, root)
        if found:
            uid, gid, groups = found
        elif not _is_number(user):
            raise InvalidValueError(
                f"user: {user}: no such user", value=user, hint="write a user name or a number"
            )
        elif group is None:
            raise InvalidValueError(
                f"user: {user}: no such user, so its group is not known",
                value=user,
                hint="give a group too",
            )
        else:
            uid, groups = int(user), []
    if group is not None:
        gid = _gid(group, root)
        if groups is None:
            groups = []
    if extra is not None:
        groups = [_gid(g, root) for g in extra]
    for number in (uid, gid, *(groups or ())):
        if number is not None and not 0 <= number <= _LAST_ID:
            raise InvalidValueError(
                f"user or group {shown(number)}: no such id",
                value=number,
                hint=f"there are ids from 0 to {_LAST_ID}",
            )
    if os.geteuid() != 0 and uid in (None, os.geteuid()) and gid in (None, os.getegid()):
        groups = None  # becoming who we are needs no right, setgroups would
    return uid, gid, groups


def user_name(uid: int) -> str:
    """The name of a user of the host; the number where it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """The name of a group of the host; the number where it has none."""
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _user(user: "str | int", root: "str | None") -> "tuple[int, int, list[int]] | None":
    """(uid, gid, groups) of a user that is known."""
    if root is not None:
        key, place = (str(int(user)), 2) if _is_number(user) else (str(user), 0)
        for row in _rows(f"{root}/etc/passwd"):
            if len(row) <= 3 or row[place] != key:
                continue
            uid, gid = whole_number(row[2]), whole_number(row[3])
            if uid is not None and gid is not None:
                groups = (r for r in _rows(f"{root}/etc/group") if len(r) > 3)
                more = (whole_number(r[2]) for r in groups if row[0] in r[3].split(","))
                return uid, gid, [gid, *(number for number in more if number is not None)]
        return None
    import pwd

    try:
        entry = pwd.getpwuid(int(user)) if _is_number(user) else pwd.getpwnam(str(user))
    except (KeyError, ValueError):  # ValueError: a NUL in the name
        return None
    return entry.pw_uid, entry.pw_gid, os.getgrouplist(entry.pw_name, entry.pw_gid)


def _gid(group: "str | int", root: "str | None") -> int:
    if _is_number(group):
        return int(group)
    if root is not None:
        for row in _rows(f"{root}/etc/group"):
            gid = whole_number(row[2]) if len(row) > 2 and row[0] == group else None
            if gid is not None:
                return gid
    else:
        import grp

        try:
            return grp.getgrnam(str(group)).gr_gid
        except (KeyError, ValueError):
            pass
    raise InvalidValueError(
        f"group: {group}: no such group", value=group, hint="write a group name or a number"
    )


def _rows(path: str) -> list[list[str]]:
    """The rows of a file that a stranger may have made: read with care, and no more than 1 MiB."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return []
        text = os.read(fd, 1 << 20).decode("utf-8", "surrogateescape")
    except OSError:
        return []
    finally:
        os.close(fd)
    return [line.split(":") for line in text.split("\n")]


def _is_number(text: "str | int") -> bool:
    return isinstance(text, int) or whole_number(text) is not None
