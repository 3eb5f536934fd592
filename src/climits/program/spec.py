"""What to run, where and under which limits: read and checked, with nothing done yet."""

import os

from ..cgroup.group import hierarchies_for
from ..cgroup.homes import default_parent, foreseen_parent
from ..cgroup.layout import current
from ..cgroup.limits import make_limits
from ..cgroup.naming import check_name, check_path, locate
from ..errors import CgroupGoneError, InvalidValueError
from ..launch.plan import NamedFd, Plan, candidates
from ..units import shown
from .identity import identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypedDict

    from ..cgroup.layout import Hierarchy
    from ..cgroup.placement import Part
    from .container import Container
    from .inside import Surroundings
    from .joining import Joining

    Size = str | int | float
    StrPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

    class Options(TypedDict, total=False):
        """Keyword arguments of run and Process.

        Limits: memory, swap, high, low, min (sizes: bytes, or text such as "60M", "50%", "max"),
        swappiness, on_oom ("kill", "kill-group" or "pause"), pids, cpus, cpuset.

        Place: name, parent (where the cgroup is made), root (an existing cgroup to use instead),
        keep (leave the cgroup).

        As in subprocess: stdin, stdout, stderr, text, encoding, errors, env, cwd, user, group,
        extra_groups, start_new_session, process_group, pass_fds, close_fds.

        Besides: nice, oom_score_adj, container (a climits.Container, for namespaces around it),
        enforce ("kernel", or "poll" where no cgroup can be had: see climits.program.polling).
        """

        memory: Size | None
        swap: Size | None
        high: Size | None
        low: Size | None
        min: Size | None
        swappiness: int | None
        on_oom: str
        pids: int | None
        cpus: float | None
        cpuset: str | None
        name: str | None
        parent: str | None
        root: str | None
        keep: bool
        stdin: Any
        stdout: Any
        stderr: Any
        text: bool | None
        encoding: str | None
        errors: str | None
        env: Mapping[str, str] | None
        cwd: StrPath | None
        user: str | int | None
        group: str | int | None
        extra_groups: Sequence[str | int] | None
        nice: int | None
        oom_score_adj: int | None
        start_new_session: bool
        process_group: int | None
        pass_fds: Sequence[int]
        close_fds: bool
        container: Container | Joining | None
        enforce: str


#: Stalled 200 ms of 2 s: systemd's default, and what software that knows the protocol expects.
_PRESSURE_TRIGGER = b"some 200000 2000000\0"

_names_made = 0


class Spec:
    """The options of one program, read.

    Attributes:
        args: list[str], the program and its arguments.
        limits: cgroup.limits.Limits.
        hierarchies: those its cgroup spans, each with the controllers wanted of it.
        name: of the cgroup; made up where none was given.
        root: path of an existing cgroup to use, or None.
        keep: leave the cgroup.
        on_oom: kill, kill-group or pause.
        open_files: (soft, hard) RLIMIT_NOFILE of the program; None: as ours.
        tells_pressure: the program is told where it can watch its own memory pressure.
        names_victims: the kernel log is read for whom the OOM killer took, which may take 0.1 s;
            else that is left to ending.name_victims.
        dies_with_thread: it is killed when the launching thread ends, whichever that is.
        container: the namespaces around it, or None.
        joins: they are those of a container that runs.
        enforce: who keeps the limit: kernel or poll.
    """

    open_files: "tuple[int, int] | None" = None
    tells_pressure = False
    dies_with_thread = False
    names_victims = True

    def __init__(
        self,
        args: "Sequence[StrPath] | StrPath",
        *,
        memory: "Size | None" = None,
        swap: "Size | None" = None,
        high: "Size | None" = None,
        low: "Size | None" = None,
        min: "Size | None" = None,
        swappiness: "int | None" = None,
        on_oom: str = "kill",
        pids: "int | None" = None,
        cpus: "float | None" = None,
        cpuset: "str | None" = None,
        name: "str | None" = None,
        parent: "str | None" = None,
        root: "str | None" = None,
        keep: bool = False,
        stdin: "Any" = None,
        stdout: "Any" = None,
        stderr: "Any" = None,
        text: "bool | None" = None,
        encoding: "str | None" = None,
        errors: "str | None" = None,
        env: "Mapping[str, str] | None" = None,
        cwd: "StrPath | None" = None,
        user: "str | int | None" = None,
        group: "str | int | None" = None,
        extra_groups: "Sequence[str | int] | None" = None,
        nice: "int | None" = None,
        oom_score_adj: "int | None" = None,
        start_new_session: bool = False,
        process_group: "int | None" = None,
        pass_fds: "Sequence[int]" = (),
        close_fds: bool = True,
        container: "Container | Joining | None" = None,
        enforce: str = "kernel",
    ) -> None:
        self.args = _read_args(args)
        self.enforce = enforce
        if enforce == "kernel":
            layout, root_in = current(), None
            if root is not None:
                if parent is not None or name is not None:
                    raise InvalidValueError(
                        "root names a cgroup that exists: name and parent do not go with it",
                        hint="leave them out",
                    )
                root_in, root = locate(_path_of(root), layout, what="root")
            self.limits = make_limits(
                memory=memory, swap=swap, high=high, low=low, min=min, swappiness=swappiness,
                on_oom=on_oom, pids=pids, cpus=cpus, cpuset=cpuset, parent=parent,
            )  # fmt: skip
            self.on_oom, self.root, self._root_in, self.keep = on_oom, root, root_in, keep
            self.name = check_name(name) if name is not None else None
            self.hierarchies = hierarchies_for(layout, self.limits.controllers())
            if root_in is not None and root_in not in dict(self.hierarchies):
                self.hierarchies = [*self.hierarchies, (root_in, ())]
            self._parent = None if parent is None else check_path(parent, layout, what="parent")
        else:
            from .polling.wish import take

            take(
                self, memory, on_oom, swap=swap, high=high, low=low, min=min, swappiness=swappiness,
                pids=pids, cpus=cpus, cpuset=cpuset, name=name, parent=parent, root=root,
                keep=keep or None, container=container,
            )  # fmt: skip
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.text, self.encoding, self.errors = text, encoding, errors
        self.env = env
        self.cwd = None if cwd is None else os.fsdecode(cwd)
        _check_surroundings(env or {}, self.cwd or "")
        self.uid, self.gid, self.groups = identity(
            user, group, extra_groups, getattr(container, "rootfs", None)
        )
        self.nice, self.oom_score_adj = nice, oom_score_adj
        _check_range(nice, -20, 19, "nice")
        _check_range(oom_score_adj, -1000, 1000, "oom_score_adj")
        self.start_new_session, self.process_group = start_new_session, process_group
        self.pass_fds, self.close_fds = tuple(pass_fds), close_fds
        self.container = container
        self.joins = container is not None and container.runs
        if container is not None:
            container.check()

    @property
    def parent(self) -> str:
        """The cgroup that its own is made in; systemd is asked for one when it is first needed."""
        if self._parent is None:
            self._parent = default_parent([h for h, _ in self.hierarchies])
        return self._parent.rstrip("/")

    def foreseen_parent(self) -> str:
        """What `parent` will be, with nothing done yet."""
        if self._parent is None:
            return foreseen_parent([h for h, _ in self.hierarchies])
        return self.parent

    def exists_in(self, hierarchy: "Hierarchy", controllers: tuple[str, ...]) -> bool:
        """Whether `root` is its cgroup in a hierarchy, and not one that is made for it.

        A directory below a mount point is that of its hierarchy alone; a path is that of all that
        hold a limit.  The part for tracking is ours alone, so that only ours is killed.
        """
        if self.root is None:
            return False
        if self._root_in is not None:
            return hierarchy is self._root_in
        return bool(controllers) or self.joins

    @property
    def has_text(self) -> bool:
        """Whether the pipes carry text."""
        return bool(self.text or self.encoding or self.errors)

    def made_up_name(self) -> str:
        """A name that tells what runs and whose it is: ``stress-4927-1``."""
        base = self.args[0].rpartition("/")[2][:32]
        if not (base.isascii() and base.isalnum()):
            base = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in base)
        global _names_made
        _names_made += 1  # two threads that get the same number: the second takes the next
        return f"{base.lstrip('.') or 'run'}-{os.getpid()}-{_names_made}"

    def plan(
        self,
        parts: "Sequence[Part]",
        stdio: "tuple[int | None, int | None, int | None]" = (None, None, None),
        *,
        die_with_parent: bool,
        sigmask: int = -1,
        cage: "Surroundings | None" = None,
    ) -> Plan:
        """The child's life until exec.

        Args:
            parts: of the cgroup to be born in.
            stdio: descriptors for its 0, 1 and 2; None leaves one as it is.
            die_with_parent: SIGKILL when the launching thread ends.
            sigmask: the program's, bit N-1 for signal N; -1: the caller's.
            cage: of its container, where it has one.
        """
        if self.env is None:
            envp = _environment()
            # Looked up in Python code, key and value encoded: only where it is needed.
            search = None if "/" in self.args[0] else os.environ.get("PATH")
        else:
            envp = [os.fsencode(k) + b"=" + os.fsencode(v) for k, v in self.env.items()]
            search = self.env.get("PATH")
        if self.tells_pressure:
            envp = [e for e in envp if not e.startswith(b"MEMORY_PRESSURE_W")]
            # In a container the path means nothing: its view of the cgroups is another.
            envp += pressure_protocol(() if cage else parts)
        argv = [os.fsencode(arg) for arg in self.args]
        plan = Plan(argv, envp, candidates(self.args[0], search))
        plan.sigmask = sigmask
        for part in parts:
            fd = NamedFd(part.directory.fd, part)
            if part.hierarchy.born_inside:
                plan.cgroup = fd
            else:
                plan.join_cgroup(fd, part.hierarchy.join_file)
        if self.start_new_session:
            plan.call("setsid", purpose="start a session")
        if self.process_group is not None:
            plan.call("setpgid", 0, self.process_group, purpose="join the process group")
        if stdio != (None, None, None):
            plan.stdio(*stdio)
        if self.close_fds:
            plan.close_others(self.pass_fds, cage.descriptors if cage else ())
        else:
            plan.inherit(self.pass_fds)
        if self.open_files is not None:
            plan.limit_files(*self.open_files)
        if self.nice is not None:
            plan.nice(self.nice)
        if self.oom_score_adj is not None:
            plan.oom_score_adj(self.oom_score_adj)
        if cage:
            cage.enter(plan)
        if self.uid is not None or self.gid is not None or self.groups is not None:
            plan.become(self.uid, self.gid, self.groups)
        if die_with_parent:  # after become, which clears it
            # From a pid namespace of its own it cannot see us: we are 0 there.
            plan.die_with_parent(0 if cage and cage.hides_parent else os.getpid())
        if self.cwd is not None:
            plan.chdir(self.cwd)
        if cage:
            cage.give_up(plan)
        return plan


def _read_args(args: "Sequence[StrPath] | StrPath") -> list[str]:
    if not isinstance(args, (list, tuple)):
        args = [args] if isinstance(args, (str, bytes, os.PathLike)) else list(args)
    words = [os.fsdecode(arg) for arg in args]
    if not words or not words[0]:
        raise InvalidValueError("no command was given", hint="name the program to run")
    if "\0" in "".join(words):
        raise InvalidValueError("a NUL byte may not stand in a command or its arguments")
    return words


def _check_surroundings(env: "Mapping[str, str]", cwd: str) -> None:
    for key, value in env.items():
        if not key or "=" in key or "\0" in key + value:
            raise InvalidValueError(
                f"env: {key!r}: no equal sign may stand in a name, and no NUL in a value",
                value=key,
            )
    if "\0" in cwd:
        raise InvalidValueError(
            f"chdir: {shown(cwd)}: a NUL byte may not stand in a directory", value=cwd
        )


def _path_of(root: str) -> str:
    """The path of a cgroup that climits create made, given by its name; others as they are."""
    if "/" in root:
        return root
    from ..cgroup.find import find_cgroup

    try:
        return find_cgroup(root).path
    except (CgroupGoneError, InvalidValueError):
        return root


def _environment() -> list[bytes]:
    # What lies below os.environ, where it can be had: through its public face, whose every item is
    # looked up and decoded, this takes 40 us, a tenth of a launch.
    data: dict[bytes, bytes] = getattr(os.environ, "_data", None) or dict(os.environb)
    return list(map(b"=".join, data.items()))


def pressure_protocol(parts: "Sequence[Part]") -> list[bytes]:
    """The variables by which a program learns how to watch the pressure on its own memory.

    Source: systemd's MEMORY_PRESSURE.md: a file to open and poll, and what to write into it first,
    in base64; /dev/null where there is nothing to watch.
    """
    import binascii

    for part in parts:
        if part.hierarchy.born_inside and part.directory.has("memory.pressure"):
            trigger = binascii.b2a_base64(_PRESSURE_TRIGGER, newline=False)
            path = os.fsencode(f"{part.directory.path}/memory.pressure")
            return [b"MEMORY_PRESSURE_WATCH=" + path, b"MEMORY_PRESSURE_WRITE=" + trigger]
    return [b"MEMORY_PRESSURE_WATCH=/dev/null"]


def _check_range(value: "int | None", low: int, high: int, what: str) -> None:
    if value is not None and not low <= value <= high:
        raise InvalidValueError(f"{what}: {value}: must be {low} to {high}", value=value)
