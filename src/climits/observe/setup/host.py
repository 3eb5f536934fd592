"""What setup looks at: this host, and the user for whom it is prepared."""

import os
import pwd

from ...cgroup import systemd
from ...cgroup.homes import owned_home
from ...cgroup.layout import Layout, current
from ...errors import InvalidValueError
from ...linux.kernel_config import read_command_line, read_config
from ...linux.proc import kernel_version
from ...linux.surroundings import Surroundings, detect
from ...records import Record
from ...units import quoted


class User(Record):
    """For whom a host is prepared.

    Attributes:
        name, uid, gid: as in passwd.
        home: the cgroup that is theirs where no user manager makes them any.
    """

    name: str
    uid: int
    gid: int
    home: str


class Host(Record):
    """Where the steps are taken.

    Attributes:
        user: for whom, or None for all.
        layout: the mounted hierarchies.
        systemd: it manages this host.
        surroundings: the container around us, if it is one.
        release: of the kernel.
        swap_counted: the kernel limits swap; None where that cannot be told.
        sysctls: directory of the settings.
        etc: directory of the configuration.
    """

    user: "User | None" = None
    layout: Layout
    systemd: bool
    surroundings: Surroundings
    release: str
    swap_counted: "bool | None" = None
    sysctls: str = "/proc/sys"
    etc: str = "/etc"


def this_host(user: "str | None" = None) -> Host:
    """The facts of this host.

    Raises:
        InvalidValueError: there is no such user, or it is root.
    """
    layout = current()
    return Host(
        user=None if user is None else find_user(user),
        layout=layout,
        systemd=systemd.running(),
        surroundings=detect(),
        release=os.uname().release,
        swap_counted=_counts_swap(layout),
    )


def find_user(text: str) -> User:
    """A user by name or number.

    Raises:
        InvalidValueError: there is no such user, or it is root.
    """
    try:
        number = int(text) if text.isascii() and text.isdigit() else None
        entry = pwd.getpwnam(text) if number is None else pwd.getpwuid(number)
    except (KeyError, OverflowError, ValueError):
        raise InvalidValueError(
            f"user: {quoted(text)}: no such user", value=text, hint="getent passwd lists them"
        ) from None
    if entry.pw_uid == 0:
        raise InvalidValueError(
            f"user: {quoted(text)}: root may make cgroups anywhere",
            value=text,
            hint="name an ordinary user",
        )
    return User(
        name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid, home=owned_home(entry.pw_uid)
    )


def _counts_swap(layout: Layout) -> "bool | None":
    """Whether swap can be limited; asked of the boot parameters, with nothing made.

    Source: mm/memcontrol.c (swapaccount=); since 6.1 it is always so.
    """
    if kernel_version() >= (6, 1):
        return True
    memory = layout.find("memory")
    if memory is None:
        return None
    if not memory.delegates:
        return os.path.exists(f"{memory.mount_point}/memory.memsw.limit_in_bytes")
    said = [word.partition("=")[2] for word in read_command_line() if word.startswith("swapacc")]
    if said:
        return said[-1] not in ("0", "n", "no", "off")
    config, _ = read_config(os.uname().release)
    if config is None:
        return None
    # From 5.8 to 6.0 there is no such option any more, and it is on.
    return kernel_version() >= (5, 8) or config.get("CONFIG_MEMCG_SWAP_ENABLED") == "y"
