"""The file of a recording: JSON lines, each of them one write(2) with O_APPEND.

Whatever becomes of us, what was written can be read.  See docs/recordings.md for the format.
"""

import _thread
import errno
import fcntl
import os
import stat
import time

from ...errors import ClimitsError, InvalidValueError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FORMAT, SCHEMA = "recording", 1

#: Key in a line: attribute of climits.observe.sampler.Sample.
FIELDS = {
    "c": "current", "p": "peak", "a": "anon", "f": "file", "s": "shmem", "k": "kernel", "w": "swap",
    "m": "max", "h": "high", "x": "swap_max", "l": "limit_hits", "o": "oom_kill",
    "ps": "pressure_some", "pf": "pressure_full", "u": "cpu",
}  # fmt: skip
#: Seconds that a line's time may lie before that of others above it: a reader takes a recording
#: for damaged where time goes back by a second.
_BACK = 0.5
#: Lines that are held back, of a program that cannot be started again and again.
_MOST_HELD = 1000
#: The first bytes of every recording.
BEGINNING = b'{"climits":"recording"'


class File:
    """The file, opened before anything runs.

    An earlier recording stays as it is until `start`: what is written before that is held back.

    Attributes:
        path: where it is.
        began: seconds since the epoch.
        gaps: how often lines were lost: what was written before is then not known to the reader.
    """

    def __init__(self, path: str, header: "dict[str, Any]", warn: "Callable[[str], None]") -> None:
        """Open it and write the first line.

        Args:
            path: where; an earlier recording is replaced at `start`, and nothing else.
            header: what its first line tells besides the format, the version and the time.
            warn: gets one line when it can no longer be written.

        Raises:
            InvalidValueError: something else is there, or the path cannot be written.
        """
        self.path, self._warn = path, warn
        new = not os.path.lexists(path)
        self._fd = _open(path)
        self._size = self.gaps = 0
        self._failed_at: float | None = None
        self._warned = False
        self._lock = _thread.allocate_lock()
        self._latest = 0.0  # time of a line
        self.began = time.time()
        self._t0 = time.monotonic()
        self._first = first = _header(header, self.began)
        self._held: list[str] | None = None
        if os.fstat(self._fd).st_size:
            self._held = [first]
            return
        try:
            _write_all(self._fd, first)
        except OSError as e:
            if new:
                os.unlink(path)
            os.close(self._fd)
            raise _cannot_write(path, e) from None
        self._size = os.fstat(self._fd).st_size

    @property
    def held(self) -> bool:
        """Whether an earlier recording is still there."""
        return self._held is not None

    def start(self) -> None:
        """Something runs: an earlier recording is replaced."""
        with self._lock:
            if self._held is None or self._fd < 0:
                return
            text, self._held = "".join(self._held), None
            try:
                os.ftruncate(self._fd, 0)
            except OSError:
                pass  # nor can it be written then
            self._append(text)

    def now(self) -> float:
        """Seconds since the recording began."""
        return time.monotonic() - self._t0

    def moment(self, clock: float) -> float:
        """The same for a time of the wall clock, seconds since the epoch."""
        return max(self.now() - (time.time() - clock), 0.0)

    def write(self, line: str) -> None:
        """Write one line, if that can be done: the programs are worth more."""
        with self._lock:
            if self._fd < 0:  # a thread that did not end in time
                return
            line = self._in_order(line)
            if self._held is not None:
                if len(self._held) < _MOST_HELD:
                    self._held.append(line)
                return
            if self._failed_at is not None:
                gap = f'{{"t":{self.now():.3f},"e":"gap","since":{self._failed_at:.3f}}}\n'
                if not self._append(gap if self._size else self._first + gap):
                    return
                self._failed_at = None
                self.gaps += 1
            self._append(line)

    def _in_order(self, line: str) -> str:
        """The line, with no time that a reader would take for damage: lines may come late.

        What it begins with is ``{"t":SECONDS``.
        """
        end = line.find(",", 5)
        if end < 0:
            end = line.index("}")
        at = float(line[5:end])
        if at < self._latest - _BACK:
            return f"{line[:5]}{self._latest - _BACK:.3f}{line[end:]}"
        self._latest = max(self._latest, at)
        return line

    def _append(self, line: str) -> bool:
        data = line.encode(errors="backslashreplace")
        error: OSError
        try:
            done = os.write(self._fd, data)
            while done < len(data):  # the disk is full, and says so when it is asked for the rest
                done += os.write(self._fd, data[done:])
            self._size += done
            return True
        except OSError as e:
            error = e
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            pass  # then the line stands there as far as it came, and reading ends with it
        if self._failed_at is None:
            self._failed_at = self.now()
        if not self._warned:
            self._warned = True
            self._warn(
                f"recording: {self.path}: {os.strerror(error.errno or 0).lower()}; "
                "the program goes on, and so does the recording once it can be written"
            )
        return False

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._fd < 0

    def close(self) -> None:
        """Let it go; may be called again."""
        with self._lock:
            if self._fd < 0:
                return
            fd, self._fd = self._fd, -1
            try:
                state = os.fstat(fd)
            finally:
                os.close(fd)
            lost = "it was deleted" if not state.st_nlink else "it was cut off by somebody else"
            if self._held is None and (not state.st_nlink or state.st_size < self._size):
                self._warn(f"recording: {self.path}: {lost} while it was written")


def _open(path: str) -> int:
    if path in ("", "-"):
        raise InvalidValueError(
            f"record: {path or repr(path)}: not the name of a file",
            path=path,
            hint="name a file, such as app.jsonl: a recording cannot go to a pipe or a terminal",
        )
    # Command lines may hold secrets, and what a link points to is not ours to make or to empty.
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as e:
        if e.errno == errno.ELOOP and os.path.islink(path):
            raise _refused(path, "a symbolic link, which is not followed") from None
        raise _cannot_write(path, e) from None
    try:
        _check(path, fd)
    except OSError as e:
        os.close(fd)
        if isinstance(e, ClimitsError):
            raise
        raise _cannot_write(path, e) from None
    except InvalidValueError:
        os.close(fd)
        raise
    return fd


def _check(path: str, fd: int) -> None:
    """Refuse what must not be written over."""
    what = None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        what = "not a plain file"
    elif not _is_free(fd):
        what = "another climits records into it"
    elif os.pread(fd, len(BEGINNING), 0) not in (b"", BEGINNING):
        what = "there is a file that is not a recording"
    if what:
        raise _refused(path, what)


def _refused(path: str, what: str) -> InvalidValueError:
    return InvalidValueError(
        f"record: {path}: {what}", path=path, hint="name a new file, or an earlier recording"
    )


def _is_free(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True


def _cannot_write(path: str, error: OSError) -> InvalidValueError:
    return InvalidValueError(
        f"record: {path}: {os.strerror(error.errno or 0).lower()}",
        path=path,
        errno=error.errno,
        hint="name a file that can be written",
    )


def _write_all(fd: int, line: str) -> None:
    data = line.encode(errors="backslashreplace")
    while data:
        data = data[os.write(fd, data) :]


def _header(fields: "dict[str, Any]", now: float) -> str:
    import json

    from ... import __version__
    from ...cgroup.layout import current

    host = os.uname()
    whole = {
        "climits": FORMAT, "schema": SCHEMA, "version": __version__, "time": round(now, 3),
        **fields, "host": host.nodename, "kernel": host.release, "layout": current().mode,
        "boot": _boot_id(), "keys": FIELDS,
    }  # fmt: skip
    return json.dumps(whole, separators=(",", ":")) + "\n"


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
