"""What jobs write: kept in files without a name while they run, shown whole when they end.

Gigabytes of it fill no memory, since they are copied in pieces, and leave no file behind, whatever
ends us.
"""

import errno
import os
import stat
import tempfile
from collections import deque

from ..supervise.loop import WRITABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..supervise.loop import Loop

#: Into a file at once, bytes: between two pieces other descriptors get their turn.
_CHUNK = 1 << 20
#: Into what may have no room: so much a pipe takes without a wait once it is writable (pipe(7)).
_PIECE = 4096


def spool_directory() -> str:
    """Where output is kept until it is shown: on a disk, since what lies in a tmpfs is memory."""
    if not os.environ.get("TMPDIR") and os.access("/var/tmp", os.W_OK | os.X_OK):
        return "/var/tmp"
    return tempfile.gettempdir()


def open_spool(directory: str) -> int:
    """A new file without a name; appends.

    Raises:
        OSError: it cannot be made there.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(directory, flags | os.O_TMPFILE, 0o600)
    except OSError as e:
        # Not every file system has them (overlayfs before 6.1, NFS).
        if e.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    fd, path = tempfile.mkstemp(prefix="climits-", dir=directory)
    os.unlink(path)
    return fd


class Output:
    """What one job writes.

    Attributes:
        out, err: descriptors of files for its standard output and error.
        shows_out, shows_err: that is shown when the job has ended.
    """

    __slots__ = ("err", "out", "shows_err", "shows_out")

    def __init__(self, out: int, err: int, *, shows_out: bool, shows_err: bool) -> None:
        self.out, self.err, self.shows_out, self.shows_err = out, err, shows_out, shows_err

    def written(self) -> int:
        """Bytes so far."""
        return sum(os.fstat(fd).st_size for fd in {self.out, self.err})

    def parts(self) -> "list[tuple[int, bool]]":
        """(descriptor, whether it is standard error) of what there is to show."""
        found = [(self.out, False)] * self.shows_out
        if self.err != self.out:
            found += [(self.err, True)] * self.shows_err
        return [(fd, is_err) for fd, is_err in found if os.fstat(fd).st_size]

    def close(self) -> None:
        """Give the descriptors back, and with them what is kept."""
        for fd in {self.out, self.err} - {-1}:
            os.close(fd)
        self.out = self.err = -1


class Showing:
    """Shows outputs one after the other, without waiting for whoever reads them.

    Attributes:
        waiting: outputs that are not shown yet.
    """

    def __init__(
        self,
        loop: "Loop",
        targets: tuple[int, int],
        *,
        keep_order: bool,
        most: "int | float",
        on_begin: "Callable[[], None]",
        on_broken: "Callable[[OSError], None]",
    ) -> None:
        """Nothing is shown yet.

        Args:
            loop: calls us when there is room.
            targets: descriptors for standard output and error.
            keep_order: by the index of the job, not by when it ended.
            most: bytes of each stream that are shown.
            on_begin: called before anything of an output is shown.
            on_broken: called when nobody reads any more; the rest is dropped.
        """
        self._loop, self._targets, self._most = loop, targets, most
        self._keep_order, self._on_begin, self._on_broken = keep_order, on_begin, on_broken
        self._pipes = {fd for fd in targets if stat.S_ISFIFO(os.fstat(fd).st_mode)}
        self._terminals = {fd for fd in targets if os.isatty(fd)}
        self._held: dict[int, tuple[Output | None, Callable[[], None]]] = {}
        self._next = 0
        self._queue: deque[tuple[Output | None, Callable[[], None]]] = deque()
        self._parts: list[tuple[int, bool]] = []
        self._now: tuple[Output | None, Callable[[], None]] | None = None
        self._offset = 0
        self._broken = False
        self._ends_line = True

    @property
    def waiting(self) -> int:
        """How many hold descriptors."""
        return len(self._held) + len(self._queue) + (self._now is not None)

    def show(self, index: int, output: "Output | None", shown: "Callable[[], None]") -> None:
        """Show what a job wrote.

        Args:
            index: of the job; each index comes once.
            output: closed when it was shown; None: it wrote nothing.
            shown: called then.
        """
        if output is not None and not output.parts():
            output.close()
            output = None
        if not self._keep_order:
            self._queue.append((output, shown))
        else:
            self._held[index] = output, shown
            while self._next in self._held:
                self._queue.append(self._held.pop(self._next))
                self._next += 1
        if self._now is None:
            self._go_on()

    def flush_held(self) -> None:
        """Show what is held back for the sake of order: those before it will not come."""
        for index in sorted(self._held):
            self._queue.append(self._held.pop(index))
        if self._now is None:
            self._go_on()

    def _go_on(self) -> None:
        """Begin with the next; those that have nothing to show are passed on at once."""
        self._now = None
        while self._queue:
            output, shown = self._now = self._queue.popleft()
            if output is not None and not self._broken:
                self._parts, self._offset = output.parts(), 0
                self._on_begin()
                self._step()
                return
            self._end_of_one(output, shown)

    def _end_of_one(self, output: "Output | None", shown: "Callable[[], None]") -> None:
        if output is not None:
            output.close()
        self._now = None
        shown()

    def _step(self) -> None:
        """Have the next piece written when there is room for it."""
        while True:
            if not self._parts:
                assert self._now is not None
                self._end_of_one(*self._now)
                self._go_on()
                return
            target = self._targets[self._parts[0][1]]
            try:
                self._loop.watch(target, self._at_room, WRITABLE)
                return
            except PermissionError:
                # A file or a device that always has room.  Between two pieces others have a turn.
                if self._write(target, _CHUNK):
                    self._loop.after(0, self._step)
                    return
            except OSError as e:
                self._give_up(e)

    def _at_room(self, _events: int) -> None:
        target = self._targets[self._parts[0][1]]
        if self._write(target, _CHUNK if target in self._pipes else _PIECE):
            return
        self._loop.forget(target)
        self._step()

    def _write(self, target: int, most: int) -> bool:
        """Write one piece of the first part; whether there is more of it."""
        fd, _ = self._parts[0]
        try:
            left = int(min(most, self._most - self._offset))
            if target in self._pipes:
                # Moves pages instead of copying them, and never waits for room.
                flags = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MORE
                written = os.splice(fd, target, left, self._offset, None, flags) if left else 0
            else:
                data = os.pread(fd, left, self._offset)
                written = os.write(target, data) if data else 0
                self._ends_line = data[:written].endswith(b"\n") if data else self._ends_line
            if written:
                self._offset += written
                return True
            if target in self._terminals and not self._ends_line:
                os.write(target, b"\n")  # what comes next begins on a line of its own
        except BlockingIOError:
            return True  # somebody made it non-blocking, and another took the room
        except OSError as e:
            self._give_up(e)
            return False
        self._parts.pop(0)
        self._offset = 0
        return False

    def _give_up(self, error: OSError) -> None:
        self._parts.clear()
        if not self._broken:
            self._broken = True
            self._on_broken(error)

    def close(self) -> None:
        """Drop what was not shown."""
        rest = [*self._held.values(), *self._queue, *([self._now] if self._now else [])]
        for output, _ in rest:
            if output is not None:
                output.close()
        self._held.clear()
        self._queue.clear()
        self._now = None


def is_regular(fd: int) -> bool:
    """Whether a descriptor is of a file, and not of a terminal, pipe or device."""
    return stat.S_ISREG(os.fstat(fd).st_mode)
