"""Users and groups of a user namespace, written from outside while the child waits.

Only somebody with rights over the outer namespace may map more than one id: we as root, or the
setuid helpers newuidmap and newgidmap for the ids that /etc/subuid and /etc/subgid give a user.

Source: user_namespaces(7), subuid(5), newuidmap(1).
"""

import _thread
import os

from ..errors import LaunchError
from ..launch.namespaces import ask_for_maps
from ..launch.plan import AT_FDCWD, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    #: (first id inside, first id outside, number)
    Range = tuple[int, int, int]

#: Every id is itself.
IDENTITY: "list[Range]" = [(0, 0, 0xFFFF_FFFF)]


class Mapper:
    """Writes the maps of one child: a thread that waits for it to ask.

    Use as a context manager around the launch.

    Attributes:
        error: why the maps could not be written, or None.
    """

    def __init__(self, users: "list[Range]", groups: "list[Range]") -> None:
        self.users, self.groups = users, groups
        self.error: Exception | None = None
        self._pid = bytes(32)  # the child writes into it, and it shares our memory
        self._ready, self._go = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        self._done = _thread.allocate_lock()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Those that the child needs."""
        return self._ready[1], *self._go

    def find_pid(self, plan: Plan) -> None:
        """Let the child say who it is in our pid namespace, while it still sees our /proc."""
        plan.call(
            "readlinkat", AT_FDCWD, b"/proc/self", self._pid, len(self._pid) - 1,
            purpose="read /proc/self",
        )  # fmt: skip

    def ask(self, plan: Plan) -> None:
        """Let the child wait for its maps."""
        ask_for_maps(plan, self._ready[1], self._go)

    def __enter__(self) -> "Mapper":
        self._done.acquire()
        _thread.start_new_thread(self._serve, ())
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._ready[1])  # or the thread would wait for a child that never came so far
        self._done.acquire()
        os.close(self._ready[0])
        os.close(self._go[0])

    def failure(self, error: Exception) -> LaunchError:
        """What to say about the error."""
        if type(error) is LaunchError:
            return error
        ranges = ", ".join(f"{i} to {o} ({n})" for i, o, n in (*self.users, *self.groups))
        number = error.errno if isinstance(error, OSError) else None
        plain = number is not None and not isinstance(error, LaunchError)
        cause = os.strerror(number or 0).lower() if plain else str(error)
        return LaunchError(
            f"cannot map users and groups {ranges}: {cause}",
            hint="an ordinary user needs newuidmap, newgidmap and ids in /etc/subuid, /etc/subgid"
            if os.geteuid() != 0
            else "the ranges may not overlap",
        )

    def _serve(self) -> None:
        try:
            if os.read(self._ready[0], 1):
                pid = int(self._pid.rstrip(b"\0"))
                write_maps(pid, self.users, self.groups)
                os.write(self._go[1], b"1")
        except Exception as e:
            self.error = e
        finally:
            os.close(self._go[1])
            self._done.release()


def write_maps(pid: int, users: "list[Range]", groups: "list[Range]") -> None:
    """Write the maps of a process's user namespace.

    Raises:
        OSError, LaunchError: it is not permitted.
    """
    if os.geteuid() == 0:
        for file, ranges in (("uid_map", users), ("gid_map", groups)):
            fd = os.open(f"/proc/{pid}/{file}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, "".join(f"{i} {o} {n}\n" for i, o, n in ranges).encode())
            finally:
                os.close(fd)
        return
    for helper, ranges in (("newuidmap", users), ("newgidmap", groups)):
        _run_helper([helper, str(pid), *(str(n) for r in ranges for n in r)])


def _run_helper(argv: list[str]) -> None:
    from ..launch.plan import candidates
    from ..launch.spawn import spawn

    plan = Plan(
        [os.fsencode(word) for word in argv], [], candidates(argv[0], os.environ.get("PATH"))
    )
    pid, pidfd = spawn(plan)
    os.close(pidfd)
    _, status = os.waitpid(pid, 0)
    if status:
        raise LaunchError(
            f"{argv[0]} refused the ids: {' '.join(argv[2:])}", hint="see /etc/subuid, /etc/subgid"
        )


def subordinate_ids(uid: int, gid: int) -> "tuple[list[Range], list[Range]] | None":
    """The maps of an ordinary user with subordinate ids: root inside is the user.

    Returns:
        (users, groups), or None where they have none or the helpers are not installed.
    """
    import pwd
    import shutil

    if not (shutil.which("newuidmap") and shutil.which("newgidmap")):
        return None
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    users, groups = _subordinate("/etc/subuid", name, uid), _subordinate("/etc/subgid", name, uid)
    if not users or not groups:
        return None
    return [(0, uid, 1), (1, *users)], [(0, gid, 1), (1, *groups)]


def _subordinate(path: str, name: str, uid: int) -> "tuple[int, int] | None":
    """The first range of a user: (first id, number)."""
    try:
        with open(path, encoding="utf-8") as file:
            rows = [line.strip().split(":") for line in file]
    except OSError:
        return None
    for row in rows:
        if len(row) == 3 and row[0] in (name, str(uid)) and row[1].isdigit() and row[2].isdigit():
            return int(row[1]), int(row[2])
    return None
