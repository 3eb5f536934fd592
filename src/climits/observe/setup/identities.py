# ruff: noqa: D102, ARG004
"""Subordinate user and group ids, which containers of an ordinary user map.

Source: subuid(5), subgid(5), login.defs(5).
"""

import errno
import os
import time

from ...errors import ClimitsError
from ...units import whole_number
from .changes import Change, read_text, write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .changes import Note

#: What login.defs has where it does not say: the first and last id, and how many a user has.
_FIRST, _LAST, _COUNT = 100_000, 600_100_000, 65_536
#: Seconds; the tools of shadow wait as long for each other.
_PATIENCE = 15.0


def ranges_of(text: str, user: str, uid: int) -> "list[tuple[int, int]]":
    """(first, number) of each range that a user has; may be empty."""
    return [(f, n) for owner, f, n in _parse(text) if owner in (user, str(uid)) and n > 0]


def free_range(text: str, definitions: str, taken: "list[int]", kind: str) -> tuple[int, int]:
    """(first, number) of a range that overlaps none.

    Args:
        text: of /etc/subuid or /etc/subgid.
        definitions: of /etc/login.defs.
        taken: ids of real users or groups, which no range may hold.
        kind: UID or GID.

    Raises:
        ClimitsError: all are taken.
    """
    said = {}
    for line in definitions.splitlines():
        words = line.split()
        number = whole_number(words[1]) if len(words) == 2 else None
        if number is not None and words[0].startswith(f"SUB_{kind}_"):
            said[words[0].removeprefix(f"SUB_{kind}_")] = number
    count = said.get("COUNT", _COUNT)
    first, last = said.get("MIN", _FIRST), said.get("MAX", _LAST)
    for start, end in sorted(
        [(f, f + n) for _, f, n in _parse(text)] + [(i, i + 1) for i in taken]
    ):
        if end <= first:
            continue
        if start >= first + count:
            break
        first = end
    if first + count - 1 > last:
        raise ClimitsError(
            f"no {count} subordinate ids are free between {said.get('MIN', _FIRST)} and {last}",
            hint=f"raise SUB_{kind}_MAX in /etc/login.defs",
        )
    return first, count


def _parse(text: str) -> "list[tuple[str, int, int]]":
    found = []
    for row in (line.split(":") for line in text.splitlines()):
        if len(row) != 3:
            continue
        first, count = (whole_number(word.strip()) for word in row[1:])
        if first is not None and count is not None:
            found.append((row[0], first, count))
    return found


class SubordinateIds(Change):
    """A range of ids for one user, in /etc/subuid or /etc/subgid.

    Attributes:
        user, uid: whose.
        path: of the file.
        group: they are of groups.
    """

    kind = "subordinate-ids"

    def __init__(self, user: str, uid: int, path: str, *, group: bool = False) -> None:
        super().__init__(f"{path}:{user}")
        self.user, self.uid, self.path, self.group = user, uid, path, group
        self._line: str | None = None

    @property
    def line(self) -> str:
        """What is to stand in the file."""
        if self._line is None:
            kind = "GID" if self.group else "UID"
            definitions = read_text(f"{os.path.dirname(self.path)}/login.defs") or ""
            first, count = free_range(read_text(self.path) or "", definitions, self._real(), kind)
            self._line = f"{self.user}:{first}:{count}"
        return self._line

    def _real(self) -> "list[int]":
        if self.group:
            import grp

            return [g.gr_gid for g in grp.getgrall()]
        import pwd

        return [p.pw_uid for p in pwd.getpwall()]

    def is_done(self) -> bool:
        return bool(ranges_of(read_text(self.path) or "", self.user, self.uid))

    def note(self) -> "Note":
        return {
            "line": self.line, "path": self.path, "uid": self.uid,
            "made": not os.path.exists(self.path),
        }  # fmt: skip

    def merged(self, note: "Note") -> "Note":
        if self.is_done():
            return note
        self._line = None  # what was free may be taken since
        return {**note, "line": self.line}

    def do(self) -> None:
        with _Lock(self.path):
            text = read_text(self.path) or ""
            if not ranges_of(text, self.user, self.uid):
                self._check_free(text)
                gap = "\n" if text and not text.endswith("\n") else ""
                write_text(self.path, f"{text}{gap}{self.line}\n")

    def _check_free(self, text: str) -> None:
        """Make sure, under the lock, that the noted range is nobody's still.

        Raises:
            ClimitsError: useradd, or somebody else, was faster.
        """
        _, first, count = _parse(self.line)[0]
        ranges = [(f, n) for _, f, n in _parse(text)] + [(i, 1) for i in self._real()]
        if any(f < first + count and first < f + n for f, n in ranges):
            raise ClimitsError(
                f"{self.path}: the ids {first} to {first + count - 1} were taken meanwhile",
                path=self.path,
                hint="run it again: another range is looked for then",
            )

    @staticmethod
    def undo(target: str, note: "Note") -> "str | None":
        path, line = note["path"], note["line"]
        with _Lock(path):
            text = read_text(path) or ""
            lines = text.splitlines(keepends=True)
            rest = [other for other in lines if other.rstrip("\n") != line]
            if len(rest) == len(lines):
                user = line.partition(":")[0]
                if ranges_of(text, user, note["uid"]):
                    return f"{path}: {user}'s line was changed since: left as it is"
                return None
            if not rest and note["made"]:
                os.unlink(path)
            else:
                write_text(path, "".join(rest))
        return None


class _Lock:
    """The lock file that useradd and usermod take, too: it holds the pid of its owner."""

    def __init__(self, path: str) -> None:
        self.path = f"{path}.lock"

    def __enter__(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except OSError as e:
                if e.errno != errno.EEXIST:
                    raise
            else:
                os.write(fd, b"%d\0" % os.getpid())
                os.close(fd)
                return
            if not self._is_held() or time.monotonic() > deadline:
                if self._is_held():
                    raise ClimitsError(
                        f"{self.path}: held by another program", path=self.path,
                        hint="wait for it to end, and run climits setup again",
                    )  # fmt: skip
                try:
                    os.unlink(self.path)  # of one that died
                except FileNotFoundError:
                    pass
            else:
                time.sleep(0.05)

    def _is_held(self) -> bool:
        owner = (read_text(self.path) or "").rstrip("\0\n ")
        return not owner.isdigit() or os.path.exists(f"/proc/{owner}")

    def __exit__(self, *_: object) -> None:
        os.unlink(self.path)
