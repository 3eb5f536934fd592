# ruff: noqa: D102
"""Changes of a host that can be taken back: each knows whether it is done, how to do it, and from
what it noted before, how to undo it."""

import os
from pathlib import Path

from ...errors import ClimitsError
from ...launch.plan import Plan, candidates
from ...launch.spawn import spawn
from ...linux.whole_file import write_whole
from ...units import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Note = dict[str, Any]


class Change:
    """One reversible change.

    Attributes:
        target: what is changed; with the kind it names the change in the journal.
        lasts: it survives a boot, so its note has to.
    """

    kind = ""
    lasts = True

    def __init__(self, target: str) -> None:
        self.target = target

    def is_done(self) -> bool:
        """Whether all is already as this change would make it."""
        raise NotImplementedError

    def note(self) -> "Note":
        """What undo will need to know: plain data, taken before anything is changed."""
        return {}

    def merged(self, note: "Note") -> "Note":
        """The note of an earlier time, which knows how all was at first, brought up to date."""
        return note

    def do(self) -> None:
        """Make it so; what is half done is finished.

        Raises:
            OSError, ClimitsError: it could not be.
        """
        raise NotImplementedError

    @staticmethod
    def undo(target: str, note: "Note") -> "str | None":
        """Take it back.

        Returns:
            Why something was left as it is, or None.

        Raises:
            OSError, ClimitsError: it could not be taken back.
        """
        raise NotImplementedError


class WrittenFile(Change):
    """A file of ours in a place that others read, such as a drop-in."""

    kind = "file"

    def __init__(self, path: str, text: str) -> None:
        super().__init__(path)
        self.text = text

    def is_done(self) -> bool:
        return read_text(self.target) == self.text

    def note(self) -> "Note":
        made, directory = [], os.path.dirname(self.target)
        while not os.path.isdir(directory):
            made.append(directory)
            directory = os.path.dirname(directory)
        return {"before": read_text(self.target), "text": self.text, "directories": made}

    def merged(self, note: "Note") -> "Note":
        return {**note, "text": self.text}

    def do(self) -> None:
        Path(self.target).parent.mkdir(parents=True, exist_ok=True)
        write_text(self.target, self.text)

    @staticmethod
    def undo(target: str, note: "Note") -> "str | None":
        now, before = read_text(target), note["before"]
        if now not in (note["text"], before):
            if now is not None:
                return f"{target} was changed since: left as it is"
        elif now != before:
            if before is None:
                os.unlink(target)
            else:
                write_text(target, before)
        for directory in note["directories"]:
            try:
                Path(directory).rmdir()
            except OSError:
                break  # something of somebody else's is in it, or it is gone
        return None


class Sysctl(Change):
    """A setting of the running kernel."""

    kind = "sysctl"

    def __init__(self, name: str, value: int, root: str = "/proc/sys") -> None:
        super().__init__(f"{root}/{name.replace('.', '/')}")
        self.value = value

    def is_done(self) -> bool:
        return (read_text(self.target) or "").strip() == str(self.value)

    def note(self) -> "Note":
        return {"before": (read_text(self.target) or "").strip(), "value": str(self.value)}

    def merged(self, note: "Note") -> "Note":
        return {**note, "value": str(self.value)}

    def do(self) -> None:
        _write_setting(self.target, str(self.value))

    @staticmethod
    def undo(target: str, note: "Note") -> "str | None":
        now = (read_text(target) or "").strip()
        if now == note["before"]:
            return None
        if now != note["value"]:
            return f"{target} was changed since: left at {now}"
        _write_setting(target, note["before"])
        return None


class DropIn(WrittenFile):
    """A file that systemd reads; it is told of it, and running user managers look anew."""

    kind = "drop-in"

    def __init__(self, path: str, text: str, users: "tuple[int, ...]") -> None:
        super().__init__(path, text)
        self.users = users

    def note(self) -> "Note":
        return {**super().note(), "users": list(self.users)}

    def merged(self, note: "Note") -> "Note":
        return {**super().merged(note), "users": sorted({*note["users"], *self.users})}

    def do(self) -> None:
        super().do()
        _tell_systemd(self.users)

    @staticmethod
    def undo(target: str, note: "Note") -> "str | None":
        left = WrittenFile.undo(target, note)
        _tell_systemd(note["users"])
        return left


def _tell_systemd(users: "Iterable[int]") -> None:
    """Have a changed drop-in seen.

    Measured with systemd 252: after a daemon-reload the cgroup of a running user manager has new
    controllers at once, but the scopes that it makes have them only after it was executed anew.
    Its sessions and programs go on meanwhile.
    """
    run(["systemctl", "daemon-reload"])
    for uid in users:
        runtime = f"/run/user/{uid}"
        if os.path.exists(f"{runtime}/systemd/private"):
            run(["systemctl", "--user", "daemon-reexec"], uid=uid, XDG_RUNTIME_DIR=runtime)


def run(words: "list[str]", uid: "int | None" = None, **environment: str) -> None:
    """Run a short command to its end, its output kept for the error.

    Args:
        words: the command.
        uid: as this user, in the group that XDG_RUNTIME_DIR has: a manager may outlive the line of
            its user in passwd.
        environment: what it has besides PATH and LANG.

    Raises:
        OSError: there is no such XDG_RUNTIME_DIR (any more).
        LaunchError: it could not be started.
        ClimitsError: it failed; the text has the last line it wrote.
    """
    search = os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    variables = {"PATH": search, "LANG": "C.UTF-8", **environment}
    argv = [os.fsencode(word) for word in words]
    envp = [os.fsencode(f"{name}={value}") for name, value in variables.items()]
    plan = Plan(argv, envp, candidates(words[0], search))
    if uid is not None:
        gid = os.stat(environment["XDG_RUNTIME_DIR"]).st_gid
        plan.become(uid, gid, [gid])
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    read, write = os.pipe2(os.O_CLOEXEC)
    with open(read, encoding="utf-8", errors="replace") as file:
        try:
            plan.stdio(null, write, write)
            pid, pidfd = spawn(plan)
            os.close(pidfd)
        finally:
            os.close(write)
            os.close(null)
        output = file.read()
    if status := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        last = (output.strip().splitlines() or [f"exit status {status}"])[-1]
        raise ClimitsError(f"{' '.join(words)}: {last}")


def read_text(path: str) -> "str | None":
    """What a file holds; None where there is none.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_text(path: str, text: str) -> None:
    """Put a file in place at once; owner and rights of one that is there stay.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    data = text.encode(errors="surrogateescape")
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        write_whole(path, data, 0o644)
    else:
        write_whole(path, data, facts.st_mode & 0o7777, (facts.st_uid, facts.st_gid))


def _write_setting(path: str, value: str) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(value)
    except OSError as e:
        cause = os.strerror(e.errno or 0).lower()
        raise ClimitsError(f"cannot set {path} to {quoted(value)}: {cause}") from None
