"""Standard input, output and error as pipes: what capture_output, input and communicate need."""

import fcntl
import io
import os
import select
import time

from ..errors import InvalidValueError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .process import Process
    from .spec import Spec

# The values of subprocess' constants of these names.
PIPE, STDOUT, DEVNULL = -1, -2, -3

_CHUNK = 65536


class Pipes:
    """The ends of a program's pipes.

    Attributes:
        child: descriptors for its 0, 1 and 2; None leaves one as it is.
        stdin, stdout, stderr: our ends as files, or None.
    """

    def __init__(self, spec: "Spec") -> None:
        self._text = spec.has_text
        self._encoding, self._errors = spec.encoding, spec.errors
        self._to_close: list[int] = []
        self.stdin: Any = None
        self.stdout: Any = None
        self.stderr: Any = None
        if spec.stdout == STDOUT:
            raise InvalidValueError("STDOUT can only be used for stderr")
        try:
            fd_in, self.stdin = self._end(spec.stdin, ours_writes=True)
            fd_out, self.stdout = self._end(spec.stdout, ours_writes=False)
            if spec.stderr == STDOUT:
                fd_err: int | None = 1 if fd_out is None else fd_out
            else:
                fd_err, self.stderr = self._end(spec.stderr, ours_writes=False)
        except BaseException:
            self.close()
            raise
        self.child = (fd_in, fd_out, fd_err)

    def _end(self, wish: "Any", *, ours_writes: bool) -> "tuple[int | None, Any]":
        if wish is None:
            return None, None
        if wish == DEVNULL:
            fd = os.open(os.devnull, os.O_RDWR)
            self._to_close.append(fd)
            return fd, None
        if wish != PIPE:
            return (wish if isinstance(wish, int) else wish.fileno()), None
        read, write = os.pipe()
        ours, theirs = (write, read) if ours_writes else (read, write)
        self._to_close.append(theirs)
        file: Any = open(ours, "wb" if ours_writes else "rb", -1)
        if self._text:
            file = io.TextIOWrapper(
                file, encoding=self._encoding, errors=self._errors, write_through=ours_writes
            )
        return theirs, file

    def close_child_ends(self) -> None:
        """Give back the descriptors that only the program needs."""
        while self._to_close:
            os.close(self._to_close.pop())

    def close(self) -> None:
        """Give back everything."""
        self.close_child_ends()
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                try:
                    file.close()
                except BrokenPipeError:
                    pass  # unread input of a program that ended


class Pump:
    """Feeds a program's input and collects its output, whenever poll says so.

    Attributes:
        fds: what to poll for: {descriptor: events}; empty when all is done.
    """

    def __init__(self, pipes: Pipes, data: "str | bytes | None") -> None:
        self._pipes = pipes
        self._data = memoryview(self._encoded(data))
        self._output: dict[int, bytearray] = {}
        self.fds: dict[int, int] = {}
        for file in (pipes.stdout, pipes.stderr):
            if file is not None and not file.closed:
                self._output[file.fileno()] = bytearray()
                self._add(file.fileno(), select.POLLIN)
        self._stdin = -1
        if pipes.stdin is not None and not pipes.stdin.closed:
            pipes.stdin.flush()
            self._stdin = pipes.stdin.fileno()
            if self._data:
                self._add(self._stdin, select.POLLOUT)
            else:
                pipes.stdin.close()

    def _encoded(self, data: "str | bytes | None") -> bytes:
        if isinstance(data, str):
            stdin = self._pipes.stdin
            return data.encode(stdin.encoding, stdin.errors)
        return data or b""

    def _add(self, fd: int, events: int) -> None:
        # Not blocking: after the end the pipe is drained of what is there, and no more.
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
        self.fds[fd] = events

    def turn(self, fd: int) -> None:
        """Move what can be moved through one descriptor."""
        if fd == self._stdin:
            try:
                self._data = self._data[os.write(fd, self._data[:_CHUNK]) :]
            except BlockingIOError:
                return
            except BrokenPipeError:  # the program does not want the rest
                self._data = memoryview(b"")
            if not self._data:
                del self.fds[fd]
                try:
                    self._pipes.stdin.close()
                except BrokenPipeError:
                    pass
            return
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        if chunk:
            self._output[fd] += chunk
        else:
            del self.fds[fd]

    def _drain(self) -> None:
        for fd in [fd for fd in self.fds if fd in self._output]:
            size = -1
            while fd in self.fds and len(self._output[fd]) != size:
                size = len(self._output[fd])
                self.turn(fd)

    def finish(self) -> "tuple[Any, Any]":
        """After the end: what came out of (stdout, stderr), bytes or text; None for no pipe."""
        self._drain()
        out = self._collected(self._pipes.stdout), self._collected(self._pipes.stderr)
        self._pipes.close()
        return out

    def _collected(self, file: "Any") -> "Any":
        if file is None or file.closed:
            return None
        data = bytes(self._output[file.fileno()])
        if not isinstance(file, io.TextIOWrapper):
            return data
        return (
            data.decode(file.encoding, file.errors or "strict")
            .replace("\r\n", "\n")
            .replace("\r", "\n")
        )


def communicate(
    process: "Process", data: "str | bytes | None", timeout: "float | None"
) -> "tuple[Any, Any]":
    """What Process.communicate does; see there."""
    if process.pipes is None:
        process.wait(timeout)
        return None, None
    if process.pump is None:
        process.pump = Pump(process.pipes, data)
    deadline = None if timeout is None else time.monotonic() + timeout
    while process.returncode is None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            from .checks import TimeoutExpired

            raise TimeoutExpired(process.args, timeout or 0.0)
        process.turn(left, process.pump)
    return process.pump.finish()
