"""Entering a container that runs: the same namespaces, cgroup and rights as its process 1."""

import os

from ..cgroup.find import find_cgroup
from ..cgroup.removal import pids_below
from ..errors import InvalidValueError, LaunchError
from ..launch import capabilities
from ..launch.joining import different, join, outer_user_namespace
from ..launch.namespaces import flags_of
from ..launch.plan import Plan
from ..launch.seccomp import filter_calls
from ..linux import proc
from .seccomp_filter import filter_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cgroup.group import Cgroup


class Joining:
    """What stands in the place of a Container for a program that joins one.

    Attributes:
        pid: of its process 1, as seen from here.
        path: of its cgroup.
        hides_parent, descriptors, status_fd: see Cage.
    """

    status_fd = -1
    runs = True

    def __init__(self, name: str) -> None:
        """Find it.

        Args:
            name: what find_cgroup reads.

        Raises:
            CgroupGoneError: no such cgroup.
            InvalidValueError: nothing in it lives in namespaces of its own.
        """
        group = find_cgroup(name)
        self.path, self.pid = group.path, first_process(group)
        group.close()
        self.names = different(self.pid)
        self.hides_parent = "pid" in self.names
        self._facts = proc.status(self.pid)
        self._kept = capabilities.in_mask(int(self._facts.get("CapBnd", "0"), 16))
        self._filter = self._same_filter()
        ours = (os.geteuid(), os.getegid())
        self._is_other = "user" in self.names and root_of(self.pid) != ours
        self.pidfd = os.pidfd_open(self.pid)
        self._own_pids = -1
        self._left = False

    def _same_filter(self) -> "bytes | None":
        """The default filter, where process 1 has one: its own cannot be read back.

        Or a program inside could have the one that enters make the calls that it may not.
        """
        if self._facts.get("Seccomp") != "2" or proc.status(os.getpid()).get("Seccomp") == "2":
            return None  # none, or what it has may be inherited from around us, as ours is
        return filter_for("default", self._kept, init=False)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Those that must stay open until the exec."""
        return (self.pidfd,)

    def check(self) -> None:
        """Nothing is left to look at."""

    def __enter__(self) -> "Joining":
        from ..linux.syscalls import setns

        try:
            if os.geteuid() != 0 and (outer := outer_user_namespace(self.pid)) is not None:
                setns(outer, flags_of(("user",)))  # the rights over the others are there
                os.close(outer)
                self._left = True
            if self.hides_parent:  # counts for children only, so it is done by their parent
                self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
                setns(self.pidfd, flags_of(("pid",)))
        except OSError as e:
            raise LaunchError(
                f"cannot enter {self.path}: {os.strerror(e.errno or 0).lower()}",
                path=self.path,
                errno=e.errno,
                hint="it must be yours, or be root",
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        from ..linux.syscalls import setns

        if self._own_pids >= 0:
            if not self._left:  # the right to go back is in the namespace that we have left
                setns(self._own_pids, flags_of(("pid",)))
            os.close(self._own_pids)
        os.close(self.pidfd)

    def wait_for_start(self, pidfd: int) -> None:
        """There is no process 1 of ours to wait for."""

    def enter(self, plan: Plan) -> None:
        """Add the steps."""
        plan.root = f"/proc/{self.pid}/root"
        plan.hide_memory()  # from the container's root, before we are where it can see us
        join(plan, self.pidfd, self.names)
        if "mnt" in self.names:
            plan.call("chdir", b"/", purpose="change to /")
        capabilities.outlive_user(plan)
        if self._is_other:  # we would be nobody there, with what belongs to us outside
            plan.become(0, 0, [])

    def give_up(self, plan: Plan) -> None:
        """Add the last steps: no more rights than its process 1 has."""
        if self._facts.get("NoNewPrivs") == "1":
            capabilities.no_new_privileges(plan)
        if self._filter:  # without the former it needs a capability that is about to go
            filter_calls(plan, self._filter)
        capabilities.keep_only(plan, self._kept)


def root_of(pid: int) -> "tuple[int | None, int | None]":
    """User and group, as seen from here, that are root in a process's user namespace."""
    found: list[int | None] = []
    for file in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{file}", encoding="ascii") as rows:
            ranges = [tuple(map(int, row.split())) for row in rows]
        found.append(next((outside for inside, outside, _ in ranges if inside == 0), None))
    return found[0], found[1]


def first_process(group: "Cgroup") -> int:
    """The process 1 of a container, or another that lives in namespaces of its own.

    Raises:
        InvalidValueError: there is none.
    """
    found = None
    for pid in sorted(pids_below(group)):
        try:
            names = different(pid)
            if "mnt" not in names or not {"pid", "user"} & set(names):
                continue  # threads of the kernel have a mount namespace of their own, too
            if proc.status(pid).get("NSpid", "").split()[-1:] == ["1"]:
                return pid
        except OSError:
            continue  # it has ended, or is not ours to look at
        found = found or pid
    if found is None:
        raise InvalidValueError(
            f"not a container that runs: {group.path}",
            value=group.path,
            hint="climits ps lists them; climits exec joins a cgroup alone",
        )
    return found
