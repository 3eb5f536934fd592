"""Log files of supervised programs: written through us, and rotated by size.

A log must never stop the loop: what cannot be written is dropped and counted, and `error` says why.

Source: open(2), rename(2), pipe(7).
"""

import os
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .config import LogConfig

#: The least time between two attempts at a file that cannot be written, and between two looks at
#: whether it is still where it was, seconds.
_INTERVAL = 1.0

#: The longest line that is kept whole when it crosses the end of a file, bytes.
_LONGEST_LINE = 65536

_CHUNK = 65536  # what a pipe holds

# A device or pipe in the place of the file must not block us, nor become our terminal.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class LogFile:
    """A file that becomes FILE.1 when it is full, FILE.1 becomes FILE.2, and so on.

    It is opened at the first write, and opened anew when somebody moved it away.  A file holds
    at most `max_size` bytes and the rest of the line that crosses its end, so that no line of up to
    64 KiB is split.  What is no regular file (/dev/null, a FIFO) is never rotated.

    Attributes:
        config: path, max_size, keep.
        dropped: bytes that could not be written, in all.
        error: why the last attempt failed; None when it did not.
    """

    def __init__(self, config: "LogConfig", clock: "Callable[[], float]" = time.monotonic) -> None:
        """Nothing is opened yet.

        Args:
            config: path, max_size, keep.
            clock: seconds; one that never jumps.
        """
        self.config = config
        self.dropped = 0
        self.error: str | None = None
        self._clock = clock
        self._fd = -1
        self._next_look = clock()  # when to try again, or to look whether the file is still there
        self._size: int | float = 0
        self._column = 0  # bytes since the last line end

    def write(self, data: "bytes | memoryview") -> None:
        """Append.

        Never raises for the disk's sake; after a failure it tries again once a second.
        """
        left = data = bytes(data)
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + _INTERVAL
            if self._fd >= 0 and not self._is_in_place():
                self._close_file()
                self._column = 0
            if self.error is not None and self._column:
                left = b"\n" + data  # the line that was cut off stays apart from the next
        elif self.error is not None:
            self.dropped += len(data)
            return
        try:
            while left:
                if self._fd < 0:
                    self._open()
                left = self._write_some(left)
        except OSError as e:
            self.error = f"{self.config.path}: {os.strerror(e.errno or 0).lower()}"
            self.dropped += min(len(left), len(data))  # without the line end that we put before it
            self._next_look = now + _INTERVAL
        else:
            self.error = None

    def close(self) -> None:
        """Give the descriptor back; a later write opens the file again."""
        self._close_file()

    def _close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        self._fd = os.open(self.config.path, _FLAGS, 0o640)
        found = os.fstat(self._fd)
        self._size = found.st_size if stat.S_ISREG(found.st_mode) else float("-inf")

    def _is_in_place(self) -> bool:
        """Whether the path still leads to the file that is open; learns its size, too."""
        try:
            there, ours = os.stat(self.config.path), os.fstat(self._fd)
        except OSError:
            return False
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            return False
        if stat.S_ISREG(ours.st_mode):  # others may have written, or emptied it
            self._size = ours.st_size
        return True

    def _write_some(self, data: bytes) -> bytes:
        """Write up to a good place for rotation, or rotate; returns what is left to be written."""
        room = self.config.max_size - self._size
        if len(data) > room:
            end = self._place_to_rotate(data, max(int(room), 0))
            if not end:
                self._rotate()
                return data
        else:
            end = len(data)
        written = os.write(self._fd, data[:end] if end < len(data) else data)
        self._size += written
        line_end = data.rfind(b"\n", 0, written) + 1
        self._column = written - line_end if line_end else self._column + written
        return data[written:]

    def _place_to_rotate(self, data: bytes, room: int) -> int:
        """How much of the data still belongs into this file, which has no room for all of it.

        Returns:
            Bytes; 0: none, rotate now.
        """
        end = data.rfind(b"\n", 0, room) + 1
        if end:
            return end
        longest = min(_LONGEST_LINE, self.config.max_size)
        if self._column:  # the file ends within a line: it may go over the limit by the rest of it
            rest = data.find(b"\n") + 1 or len(data)
            return rest if self._column + rest <= longest else room
        # At a line start the next file takes the line whole; no file takes more than fits.
        return 0 if self._size > 0 else room

    def _rotate(self) -> None:
        """Move the files on by one, and open a new one.

        Raises:
            OSError: the file could not be moved: it stays as it is, and takes no more.
        """
        path, keep = self.config.path, self.config.keep
        if self._is_in_place():
            for number in range(keep - 1, 0, -1):
                try:
                    os.rename(f"{path}.{number}", f"{path}.{number + 1}")
                except FileNotFoundError:
                    pass
            if keep:
                os.rename(path, f"{path}.1")
            else:
                os.unlink(path)
        self._close_file()
        self._open()


class LogPipe:
    """A pipe whose one end is a program's output, and whose other end feeds a log file.

    Attributes:
        child_fd: for the program's 1 or 2; -1 once closed.
    """

    def __init__(self, log: LogFile) -> None:
        """Make the pipe; neither end is inherited by accident.

        Raises:
            OSError: no descriptor is left.
        """
        self._log = log
        self._fd, self.child_fd = os.pipe()
        os.set_blocking(self._fd, False)

    def fileno(self) -> int:
        """The end to read from; -1 once closed."""
        return self._fd

    def turn(self) -> bool:
        """Move up to 64 KiB into the log.

        Returns:
            False at the end: all who could write have closed their end.
        """
        return self._move() is not False

    def _move(self) -> "bool | None":
        """As turn, but None when the pipe is empty."""
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return None
        if data:
            self._log.write(data)
        return bool(data)

    def close_child(self) -> None:
        """Give back the program's end, once the program has it."""
        if self.child_fd >= 0:
            os.close(self.child_fd)
            self.child_fd = -1

    def close(self) -> None:
        """Take what is still in the pipe, and give back both ends; may be called again."""
        self.close_child()
        if self._fd < 0:
            return
        for _ in range(16):  # 1 MiB at most: somebody may write for ever
            if not self._move():
                break
        os.close(self._fd)
        self._fd = -1
