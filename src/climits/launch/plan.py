"""A child's life until exec, as data: a list of raw system calls.

A plan can be printed (``climits run --explain``) and tested with no privileges.  `spawn` runs it.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Arg = int | bytes | tuple[int] | None

# Source: include/uapi/linux/{prctl,fcntl,resource}.h
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
LAST_FD = 0xFFFF_FFFF
PRIO_PROCESS = 0
RLIMIT_NOFILE = 7
F_DUPFD_CLOEXEC = 1030
F_SETFD = 2
AT_FDCWD = -100
#: As `expect`: a failure of the step does not matter.
ANY_RESULT = -1
TIOCSPGRP = 0x5410
SIGKILL = 9


class NamedFd(int):
    """A descriptor that says what it is when it is printed."""

    of: object

    def __new__(cls, fd: int, of: object) -> "NamedFd":
        """Name a descriptor after what str(of) says; -1 for one that does not exist yet."""
        self = super().__new__(cls, fd)
        self.of = of
        return self

    def __repr__(self) -> str:
        return f"<{self.of}>"


class Step:
    """One system call.

    Attributes:
        call: its name.
        args: int, bytes (a pointer to them), None (NULL), or (k,): the result of step k.
        purpose: what it is for, as it stands in ``cannot start ./app: PURPOSE: No such file``.
        expect: the only result that is not a failure; None: every result from 0 on.
    """

    __slots__ = ("args", "call", "expect", "purpose")

    def __init__(
        self, call: str, args: "tuple[Arg, ...]", purpose: str, expect: "int | None"
    ) -> None:
        self.call, self.args, self.purpose, self.expect = call, args, purpose, expect


class Plan:
    """The steps of a child and the program it becomes.

    Attributes:
        calls: list of (name, args, expect, purpose), in order, as `_spawn` takes them.
        paths: files to try to execute, in order, as execvp would.
        argv, envp: of the program.
        clone_flags: namespaces and the like.
        cgroup: descriptor of the v2 cgroup to be born in, or None.
        cgroup_purpose: what that cgroup is called.
        sigmask: the program's signal mask, bit N-1 for signal N; -1: the caller's.
        root: the directory that is the program's root, as seen from here; "" is ours.
        command: what to call the program; where process 1 starts it, that is not argv[0].
    """

    def __init__(
        self, argv: "Sequence[bytes]", envp: "Sequence[bytes]", paths: "Sequence[bytes]"
    ) -> None:
        self.calls: list[tuple[str, tuple[Arg, ...], int | None, str]] = []
        self.argv, self.envp, self.paths = tuple(argv), tuple(envp), tuple(paths)
        self.clone_flags = 0
        self.cgroup: NamedFd | None = None
        self.sigmask = -1
        self.root = ""
        self.command = os.fsdecode(argv[0]) if argv else ""

    def call(
        self, call: str, *args: "Arg", purpose: str = "", expect: "int | None" = None
    ) -> tuple[int]:
        """Add a step; what is returned stands for its result in later steps."""
        self.calls.append((call, args, expect, purpose or call))
        return (len(self.calls) - 1,)

    def open_and_write(self, directory: int, file: str, text: str, purpose: str) -> None:
        """Add the three steps of a write into a file of the kernel."""
        fd = self.call(
            "openat", directory, os.fsencode(file), os.O_WRONLY | os.O_CLOEXEC, purpose=purpose
        )
        data = text.encode()
        self.call("write", fd, data, len(data), purpose=purpose)
        self.call("close", fd, purpose=purpose)

    # -- the fragments -----------------------------------------------------------------------

    def join_cgroup(self, directory: NamedFd, file: str) -> None:
        """Move into a cgroup: "0" is the writer itself."""
        self.open_and_write(directory, file, "0", "join the cgroup")

    def stdio(self, stdin: "int | None", stdout: "int | None", stderr: "int | None") -> None:
        """Make descriptors the child's 0, 1 and 2; None leaves one as it is."""
        wanted = {n: fd for n, fd in enumerate((stdin, stdout, stderr)) if fd is not None}
        sources: dict[int, Arg] = {}
        for target, fd in wanted.items():
            # One that lies among the targets would be overwritten before its turn.
            low = fd <= 2 and fd != target
            sources[target] = self.call("fcntl", fd, F_DUPFD_CLOEXEC, 3) if low else fd
        for target, source in sources.items():
            if source == target:
                self.call("fcntl", target, F_SETFD, 0, purpose="set up standard input and output")
            else:
                self.call("dup3", source, target, 0, purpose="set up standard input and output")

    def close_others(self, keep: "Sequence[int]", until_exec: "Sequence[int]" = ()) -> None:
        """Close every descriptor above 2 but those in `keep`, and some that exec closes."""
        if not keep and not until_exec:
            self.call("close_range", 3, LAST_FD, 0, purpose="close descriptors")
            return
        first = 3
        for fd in (*sorted({fd for fd in (*keep, *until_exec) if fd > 2}), LAST_FD + 1):
            if fd > first:
                self.call("close_range", first, fd - 1, 0, purpose="close descriptors")
            first = fd + 1
        self.inherit(keep)

    def inherit(self, fds: "Sequence[int]") -> None:
        """Let the program have these descriptors."""
        for fd in fds:
            self.call("fcntl", fd, F_SETFD, 0, purpose=f"pass descriptor {fd} on")

    def limit_files(self, soft: int, hard: int) -> None:
        """Set RLIMIT_NOFILE: descriptors at most."""
        self.limit(RLIMIT_NOFILE, soft, hard, "limit open files")

    def limit(self, resource: int, soft: int, hard: int, purpose: str = "set limits") -> None:
        """Set one of setrlimit's limits."""
        pair = soft.to_bytes(8, sys.byteorder) + hard.to_bytes(8, sys.byteorder)
        self.call("prlimit64", 0, resource, pair, None, purpose=purpose)

    def nice(self, value: int) -> None:
        """Set the scheduling priority, -20 to 19."""
        self.call("setpriority", PRIO_PROCESS, 0, value, purpose=f"set nice {value}")

    def oom_score_adj(self, value: int) -> None:
        """Set how readily the OOM killer takes it, -1000 to 1000."""
        # In a vfork child this is the child's own, although it shares the parent's memory.
        self.open_and_write(
            AT_FDCWD, "/proc/self/oom_score_adj", str(value), f"set oom-score-adj {value}"
        )

    def become(self, uid: "int | None", gid: "int | None", groups: "Sequence[int] | None") -> None:
        """Change user and groups, for good."""
        if groups is not None:
            packed = b"".join(g.to_bytes(4, sys.byteorder) for g in groups)
            self.call("setgroups", len(groups), packed, purpose="set the supplementary groups")
        if gid is not None:
            self.call("setresgid", gid, gid, gid, purpose=f"become group {gid}")
        if uid is not None:
            self.call("setresuid", uid, uid, uid, purpose=f"become user {uid}")

    def die_with_parent(self, parent: int) -> None:
        """SIGKILL when the launching thread ends, even if it ended before this step."""
        purpose = "die with climits"
        self.call("prctl", PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0, purpose=purpose)
        self.call("getppid", purpose=purpose, expect=parent)

    def hide_memory(self) -> None:
        """Let nobody look into the child before the exec: it shares our memory.

        The parent puts its own state back; see _spawn.c.
        """
        self.call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0, purpose="hide the memory")

    def show_memory(self) -> None:
        """Undo what a change of user did, for those who must write into its files in /proc."""
        self.call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0, purpose="show the memory")

    def take_terminal(self, pid: int) -> None:
        """Lead a process group of its own, and have standard input's terminal serve that one.

        Args:
            pid: its own process id, as it sees it itself.
        """
        purpose = "take the terminal"
        self.call("setpgid", 0, 0, purpose=purpose)
        # Every signal is blocked here, SIGTTOU too: the terminal lets those have their way.
        self.call("ioctl", 0, TIOCSPGRP, pid.to_bytes(4, sys.byteorder), purpose=purpose)

    def chdir(self, directory: str) -> None:
        """Change the working directory."""
        path = os.fsencode(directory)
        if b"\0" in path:  # the kernel would read up to it
            raise ValueError("embedded null byte in a directory")
        self.call("chdir", path, purpose=f"change to {directory}")

    def end(self) -> None:
        """End here and well: the steps were the purpose, and there is no program."""
        self.call("exit_group", 0)

    # -- reading it ---------------------------------------------------------------------------

    @property
    def steps(self) -> list[Step]:
        """The calls, in order, for those who print or explain them."""
        return [Step(call, args, why, expect) for call, args, expect, why in self.calls]


def candidates(command: str, search: "str | None") -> list[bytes]:
    """The files that a command name may mean, in the order execvp tries them.

    Args:
        command: with a slash it is a path; without, it is searched for.
        search: PATH of the program's environment; None means the system's default.
    """
    if "/" in command:
        return [os.fsencode(command)]
    directories = dict.fromkeys((os.defpath if search is None else search).split(":"))
    return [os.fsencode(os.path.join(d or ".", command)) for d in directories]
