"""The steps that put a program into its container, in the order that the kernel wants.

As root the mounts, the process ids and the network belong to the host's user namespace and only the
host name to the container's own: so its root can change that, and mount, unmount or configure
nothing.  An ordinary user needs a user namespace first, for the right to make the others; a second
one inside it takes that right away again.

Source: user_namespaces(7), which namespace's capabilities count for what.
"""

import os
import sys

from ..cgroup.layout import current
from ..errors import LaunchError
from ..launch import capabilities
from ..launch import namespaces as ns
from ..launch.failures import explain
from ..launch.mounts import read_only_copy
from ..launch.plan import Plan
from ..launch.seccomp import filter_calls
from .container import Container
from .idmaps import IDENTITY, Mapper, subordinate_ids
from .rootfs import build
from .seccomp_filter import filter_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cgroup.layout import Layout
    from .joining import Joining
    from .process import Process
    from .spec import Spec

#: Process 1, a static program that is built beside the C extension.
INIT = os.path.join(os.path.dirname(os.path.dirname(__file__)), "launch", "climits-init")

#: Made by their own step: each must be owned by, or begin at, what was made before it.
_LATER = frozenset(("cgroup", "user", "uts"))


class Cage:
    """One container that is about to be made: what must be open while its program starts.

    Use as a context manager around the launch.

    Attributes:
        hides_parent: climits cannot be seen from inside.
        descriptors: those that must stay open until the exec.
        status_fd: where process 1 writes how the program ended; -1 without one of ours.
    """

    def __init__(self, container: Container, layout: "Layout", command: list[str]) -> None:
        self.container, self.layout = container, layout
        self.hides_parent = "pid" in container.new
        self._init = container.wants_init(command)
        self._filter = filter_for(container.seccomp, container.capabilities, init=self._init)
        self.mapper = _mapper_for(container)
        self.status_fd = -1
        self._command: Plan
        self._held: list[int] = []
        if self._init:
            program = os.open(INIT, os.O_RDONLY | os.O_CLOEXEC)
            self.status_fd, report = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(report, False)  # process 1 must never wait for us
            self._held = [program, report]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Those that must stay open until the exec."""
        return (*self._held, *(self.mapper.descriptors if self.mapper else ()))

    def __enter__(self) -> "Cage":
        if self.mapper:
            self.mapper.__enter__()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self.mapper:
            self.mapper.__exit__(kind, error, trace)
        for fd in self._held:
            os.close(fd)
        if kind is not None and self.status_fd >= 0:
            os.close(self.status_fd)
        if self.mapper and self.mapper.error and isinstance(error, LaunchError):
            raise self.mapper.failure(self.mapper.error) from None

    def wait_for_start(self, pidfd: int) -> None:
        """Wait until the command runs under process 1.

        Raises:
            LaunchError: it could not be executed; process 1 is gone then.
        """
        if not self._init:
            return
        os.close(self._held.pop())  # our copy of the writing end: or we would wait for ever
        # Nothing at all: it was killed on the way, by the OOM killer perhaps; its end tells.
        number = int.from_bytes(os.read(self.status_fd, 4), sys.byteorder)
        if number == 0:
            return
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
        error = OSError(number, os.strerror(number))
        error.step = len(self._command.calls)  # type: ignore[attr-defined]
        raise explain(self._command, error)

    def enter(self, plan: Plan) -> None:
        """Add the steps up to a finished root, in the order that the kernel wants."""
        container, mapper, privileged = self.container, self.mapper, os.geteuid() == 0
        new = container.new
        plan.root = container.rootfs or ""
        plan.clone_flags |= ns.flags_of(new - _LATER)
        for number, (soft, hard) in container.rlimits.items():  # while we may raise them
            plan.limit(number, soft, hard)
        if mapper:
            mapper.find_pid(plan)
        if not privileged:
            plan.clone_flags |= ns.flags_of(("user",))
            if mapper:
                mapper.ask(plan)
                _be_somebody(plan, container)
            else:
                ns.map_own_id(plan, os.geteuid(), os.getegid(), 0, 0)
        if "cgroup" in new:
            ns.unshare(plan, "cgroup")
        if "net" in new:
            ns.raise_loopback(plan)
        if self._init:
            read_only_copy(plan, INIT, self._held[0])
        if container.takes_terminal and self.hides_parent and not self._init:
            plan.take_terminal(1)
        build(plan, container, self.layout)
        if privileged and mapper:
            ns.unshare(plan, "user")
            mapper.ask(plan)
            _be_somebody(plan, container)
        elif not privileged:
            ns.unshare(plan, "user")
            if mapper:
                mapper.ask(plan)
            else:
                ns.map_own_id(plan, 0, 0, 0, 0)
        if "uts" in new:
            ns.unshare(plan, "uts")
            if container.hostname is not None:
                ns.host_name(plan, container.hostname)
        plan.hide_memory()
        capabilities.outlive_user(plan)

    def give_up(self, plan: Plan) -> None:
        """Add the last steps: what the program can no longer do; and process 1 before it."""
        kept = self.container.capabilities
        if self._init:
            program, report = self._held
            self._command = Plan(plan.argv, (), plan.paths)
            self._command.root = plan.root
            plan.inherit([report])
            plan.argv = (b"climits-init", str(report).encode(), *plan.argv)
            plan.paths = (b"/proc/self/fd/%d" % program,)
        if self._filter and not self.container.no_new_privs:
            filter_calls(plan, self._filter)  # while there is the capability for it
        capabilities.keep_only(plan, kept, self.container.ambient & kept)
        if self.container.no_new_privs:
            capabilities.no_new_privileges(plan)
            if self._filter:
                filter_calls(plan, self._filter)


def surroundings(spec: "Spec") -> "Surroundings":
    """What a program is put into, to be used as a context manager around its launch."""
    container = spec.container
    assert container is not None
    if isinstance(container, Container):
        return Cage(container, current(), spec.args)
    return container


def spawn_inside(process: "Process", sigmask: int) -> None:
    """Start a program in its container, or in one that runs.

    Raises:
        LaunchError: a step failed, or process 1 could not execute it.
    """
    with surroundings(process.spec) as cage:
        process.spawn(sigmask, cage)
        cage.wait_for_start(process.pidfd)
    process.status_fd = cage.status_fd


def _be_somebody(plan: Plan, container: Container) -> None:
    """Become the root of id maps in which we ourselves may not occur."""
    if container.uid_map is not None:
        plan.become(0, 0, [])
        if os.geteuid() != 0:
            plan.show_memory()  # to us, who are to map ids once more; nothing runs inside yet


def _mapper_for(container: Container) -> "Mapper | None":
    """Who writes the id maps from outside, where that is needed."""
    if "user" not in container.new:
        return None
    if container.uid_map is not None and container.gid_map is not None:
        own = [(0, os.geteuid(), 1)], [(0, os.getegid(), 1)]
        if os.geteuid() != 0 and (container.uid_map, container.gid_map) == own:
            return None  # that needs no right
        return Mapper(container.uid_map, container.gid_map)
    if os.geteuid() == 0:
        return Mapper(IDENTITY, IDENTITY)
    ids = subordinate_ids(os.geteuid(), os.getegid())
    return Mapper(*ids) if ids else None


if TYPE_CHECKING:
    #: What a program is put into: a container that is made for it, or one that runs.
    Surroundings = Cage | Joining
