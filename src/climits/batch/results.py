"""The file of results: a line of JSON for each job that has ended, there as soon as it ended.

A line is written by a single write in append mode, so that kill -9 loses none that was begun; a
torn last line, as a full disk leaves it, hurts neither those before nor those after it.
"""

import fcntl
import json
import os
from collections import Counter

from ..errors import ClimitsError, InvalidValueError
from .output import is_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY


class Results:
    """Where results go.

    Attributes:
        path: of the file; ``-``: standard output.
        succeeded: how often a job of each fingerprint had succeeded before; empty without resume.
        torn: lines that were no result, and were passed over.
    """

    def __init__(self, path: str, *, resume: bool = False) -> None:
        """Open it.  What an earlier batch has left there is kept as PATH.old, but for resume.

        Raises:
            InvalidValueError: it cannot be written, is no file of results, or is in use.
        """
        self.path = path
        self.succeeded: Counter[str] = Counter()
        self.torn = 0
        self._rest = b""
        if path == "-":
            if resume:
                raise InvalidValueError(
                    "resume needs a file of results", hint="give --results FILE instead of -"
                )
            self._fd = os.dup(1)
            return
        try:
            self._open(resume)
        except OSError as e:
            raise InvalidValueError(
                f"results: {path}: {os.strerror(e.errno or 0).lower()}",
                path=path,
                hint="name another file with --results FILE",
            ) from None

    def _open(self, resume: bool) -> None:
        self._fd = os.open(self.path, _FLAGS, 0o666)
        try:
            if not is_regular(self._fd):
                return
            self._lock()
            size = os.fstat(self._fd).st_size
            if resume:
                self._read(size)
            elif size:
                # Renamed and not emptied: a --resume that was forgotten loses nothing.
                os.rename(self.path, self.path + ".old")
                os.close(self._fd)
                self._fd = os.open(self.path, _FLAGS | os.O_EXCL, 0o666)
                self._lock()
        except BaseException:
            os.close(self._fd)
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidValueError(
                f"results: {self.path}: another batch is writing there",
                path=self.path,
                hint="wait for it, or name another file with --results FILE",
            ) from None

    def _read(self, size: int) -> None:
        lines = b"\n"
        with open(os.dup(self._fd), "rb") as file:
            file.seek(0)
            for lines in file:
                self._take(lines)
        if size and self.torn and not self.succeeded and self._nothing_found:
            raise InvalidValueError(
                f"results: {self.path}: not a file of results",
                path=self.path,
                hint="name another file with --results FILE",
            )
        if not lines.endswith(b"\n"):
            self._rest = b"\n"  # the next line begins on a line of its own

    _nothing_found = True

    def _take(self, line: bytes) -> None:
        try:
            told = json.loads(line)
            fingerprint = told["fingerprint"]
        except (ValueError, TypeError, KeyError, RecursionError):
            self.torn += 1
            return
        self._nothing_found = False
        if told.get("ok") is True and isinstance(fingerprint, str):
            self.succeeded[fingerprint] += 1

    def append(self, told: "dict[str, Any]") -> None:
        """Write a line; what could not be written is tried again with the next.

        Raises:
            ClimitsError: the disk is full, most likely.
        """
        self._rest += json.dumps(told, ensure_ascii=True).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Write what is left.

        Raises:
            ClimitsError: it cannot be written.
        """
        try:
            while self._rest:
                self._rest = self._rest[os.write(self._fd, self._rest) :]
        except OSError as e:
            raise ClimitsError(
                f"cannot write the results: {self.path}: {os.strerror(e.errno or 0).lower()}",
                path=self.path,
                errno=e.errno,
            ) from None

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)
