"""Users and groups of a user namespace, written from outside while the child waits.

Only somebody with rights over the outer namespace may map more than one id: we as root, or the
setuid helpers newuidmap and newgidmap for the ids that /etc/subuid and /etc/subgid give a user.
For a namespace inside such a one it is a process that has joined the outer one first.

Source: user_namespaces(7), subuid(5), newuidmap(1).
"""

import _thread
import os

from ..errors import LaunchError
from ..launch.joining import join_user_namespace
from ..launch.namespaces import ask_for_maps
from ..launch.plan import AT_FDCWD, Plan, candidates
from ..launch.spawn import spawn
from ..units import whole_number
from .identity import user_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    #: (first id inside, first id outside, number)
    Range = tuple[int, int, int]

#: Every id is itself.
IDENTITY: "list[Range]" = [(0, 0, 0xFFFF_FFFF)]

_HINT = "an ordinary user needs newuidmap, newgidmap, and the ids in /etc/subuid and /etc/subgid"


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
        """Let the child wait for its maps.

        The second time it is for a user namespace inside the first, with the same ids.
        """
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
        users, groups = (
            ", ".join(f"{i} to {o} ({n})" for i, o, n in ranges)
            for ranges in (self.users, self.groups)
        )
        number = error.errno if isinstance(error, OSError) else None
        hint = "the ranges may not overlap" if os.geteuid() == 0 else _HINT
        cause = str(error)
        if isinstance(error, LaunchError):
            hint = error.hint or hint
        elif number:
            cause = os.strerror(number).lower()
        return LaunchError(f"cannot map users {users} and groups {groups}: {cause}", hint=hint)

    def _serve(self) -> None:
        outer = -1
        try:
            if os.read(self._ready[0], 1):
                pid = int(self._pid.rstrip(b"\0"))
                write_maps(pid, self.users, self.groups)
                if os.geteuid() != 0:  # else there is but one
                    # While the child is still in it, and nothing hides that.
                    outer = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
                os.write(self._go[1], b"1")
            if outer >= 0 and os.read(self._ready[0], 1):
                _write_inner_maps(outer, pid, self.users, self.groups)
                os.write(self._go[1], b"1")
        except Exception as e:
            self.error = e
        finally:
            os.close(self._go[1])
            if outer >= 0:
                os.close(outer)
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
                os.write(fd, _map_text(ranges).encode())
            finally:
                os.close(fd)
        return
    for helper, ranges in (("newuidmap", users), ("newgidmap", groups)):
        argv = [os.fsencode(word) for word in (helper, str(pid), *_map_text(ranges).split())]
        plan = Plan(argv, [], candidates(helper, os.environ.get("PATH")))
        if _run(plan):
            raise LaunchError(f"{helper} refused", hint=_HINT)


def _write_inner_maps(outer: int, pid: int, users: "list[Range]", groups: "list[Range]") -> None:
    """Write the maps of a process whose user namespace lies in another: each id is itself.

    Only a process of the outer one may, and we cannot join it: we have threads.
    """
    plan = Plan((b"climits",), (), ())
    join_user_namespace(plan, outer)
    for file, ranges in (("uid_map", users), ("gid_map", groups)):
        text = _map_text([(first, first, number) for first, _, number in ranges])
        plan.open_and_write(AT_FDCWD, f"/proc/{pid}/{file}", text, f"write {file}")
    plan.end()
    _run(plan)


def _run(plan: Plan) -> int:
    """The status, as waitpid gives it, of a short program."""
    pid, pidfd = spawn(plan)
    os.close(pidfd)
    return os.waitpid(pid, 0)[1]


def _map_text(ranges: "list[Range]") -> str:
    return "".join(f"{inside} {outside} {number}\n" for inside, outside, number in ranges)


def subordinate_ids(uid: int, gid: int) -> "tuple[list[Range], list[Range]] | None":
    """The maps of an ordinary user with subordinate ids: root inside is the user.

    Returns:
        (users, groups), or None where they have none or the helpers are not installed.
    """
    if not (_is_installed("newuidmap") and _is_installed("newgidmap")):
        return None
    name = user_name(uid)
    users = _subordinate("/etc/subuid", name, uid, uid)
    groups = _subordinate("/etc/subgid", name, uid, gid)
    return (users, groups) if len(users) > 1 and len(groups) > 1 else None


def _is_installed(name: str) -> bool:
    return any(os.access(path, os.X_OK) for path in candidates(name, os.environ.get("PATH")))


def _subordinate(path: str, name: str, uid: int, root: int) -> "list[Range]":
    """The map for all ranges of a user in a file, one behind the other after root."""
    ranges, first = [(0, root, 1)], 1
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.strip().split(":") for line in file]
    except OSError:
        return ranges
    for row in rows:
        if len(row) != 3 or row[0] not in (name, str(uid)):
            continue
        start, count = whole_number(row[1]), whole_number(row[2])
        if start is not None and count is not None:
            ranges.append((first, start, count))
            first += count
    return ranges
