"""What runs in a worker: read a task, call the function, write what it returned.

A worker is a fresh interpreter that runs this file by its path, so that it imports nothing of
climits and only what it needs: it has to be there a few milliseconds after the one that it
replaces has died.

Messages come in through a SOCK_SEQPACKET socket, a task in each, and go out through a stream.
What is long lies in memory that both sides share; see Arena.
"""

import _pickle
import _socket
import os
import sys
from struct import Struct
from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Of a task: its number, length of what follows, how much of that is a function by its name (0: it
#: stands among the arguments), flags.
TASK = Struct("<QIHB")
#: Of a result: number of the task, length of what follows, status, flags, peak, seconds.
RESULT = Struct("<QIBBqd")
#: Statuses of a result.
VALUE, ERROR, READY, START_FAILED = range(4)
#: Flags: what follows are the sizes of parts that lie in the arena; call for each of many items;
#: of the first message, whose number is 0: writing to the peak's descriptor starts it anew; of a
#: result: a process that the task had started was OOM-killed.
IN_ARENA, EACH, RESETS, OOM = 1, 2, 4, 8
#: Bytes up to which a message carries its contents itself.
INLINE = 32 << 10
#: A message that was read, at most.
MESSAGE = 64 << 10
_SIZES = Struct("<Q")
#: Bytes that an arena keeps; what was longer is given back at once.
_KEPT = 4 << 20
_FREE, _FULL = b"\0", b"\1"
#: The first byte tells whether it holds something unread; parts start where they are aligned.
_START = 64


class Arena:
    """Memory that both sides share, for one message at a time in one direction.

    The writer's pages: who fills one pays for it.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map: Any = None
        self._size = 0

    def _mapped(self, size: int) -> "Any":
        if self._size < size:
            import mmap

            self._map = mmap.mmap(self.fd, size)
            self._size = size
        return self._map

    def write(self, packed: "Packed") -> "bytes | None":
        """Put a pickle there.

        Returns:
            What tells the reader the sizes of the stream and of each buffer; None while the last
            one is still unread.
        """
        if os.fstat(self.fd).st_size and os.pread(self.fd, 1, 0) == _FULL:
            return None
        end = _START + packed.size
        if os.fstat(self.fd).st_size < end:
            os.ftruncate(self.fd, -(-end // _KEPT) * _KEPT if end < _KEPT else end)
        view = memoryview(self._mapped(end))
        at = _START
        parts: list[Any] = [*packed.parts, *packed.buffers]
        for part in parts:
            view[at : at + len(part)] = part
            at += len(part)
        view[0:1] = _FULL
        lengths = [len(buffer) for buffer in packed.buffers]
        return b"".join(map(_SIZES.pack, (packed.size - sum(lengths), *lengths)))

    def read(self, sizes: bytes) -> "Any":
        """Unpickle what is there, and let the next one be written."""
        lengths = [n for (n,) in _SIZES.iter_unpack(sizes)]
        end = _START + sum(lengths)
        try:
            view = memoryview(self._mapped(end))
            at, buffers = _START + lengths[0], []
            for length in lengths[1:]:
                buffers.append(bytearray(view[at : at + length]))  # theirs to change
                at += length
            return _pickle.loads(view[_START : _START + lengths[0]], buffers=buffers)
        finally:
            if end > _KEPT:
                self._map, self._size = None, 0
                os.ftruncate(self.fd, _KEPT)
            self.free()

    def free(self) -> None:
        """Let the next one be written: the last thing that a reader does with what it has read."""
        os.pwrite(self.fd, _FREE, 0)


class Packed:
    """A pickle: its stream, in parts, and the buffers beside it (protocol 5).

    Attributes:
        parts, buffers: bytes, and memoryviews of what is sent as it lies.
        size: of all together, bytes.
    """

    __slots__ = ("buffers", "parts", "size")

    def __init__(
        self,
        value: "Any",
        pickler: "Callable[..., Any] | None" = None,
        *,
        beside: bool = True,
        long: bool = False,
    ) -> None:
        """Pickle.

        Args:
            value: what.
            pickler: by which class; None: by pickle's own.
            beside: buffers may lie beside the stream.
            long: there are long bytes in it.  They become parts as they are, and so are copied
                once, to where the reader finds them; else that costs more than it saves.
        """
        self.parts: list[bytes] = []
        self.buffers: list[memoryview] = []
        self.size = 0
        keep = self._keep if beside else None
        if pickler is None and not long:
            self.write(_pickle.dumps(value, 5, buffer_callback=keep))
        else:
            (pickler or _pickle.Pickler)(self, 5, buffer_callback=keep).dump(value)

    def write(self, data: "Any") -> None:
        """Take what the pickler writes."""
        if type(data) is not bytes:
            data = bytes(data)  # a bytearray may change
        self.parts.append(data)
        self.size += len(data)

    def _keep(self, buffer: "Any") -> None:
        self.buffers.append(buffer.raw())
        self.size += self.buffers[-1].nbytes

    def load(self) -> "Any":
        """What was pickled, again."""
        return _pickle.loads(b"".join(self.parts), buffers=self.buffers)


class _Main:
    """The parent's main module, imported when a function or class of it is first asked for.

    Most tasks come from elsewhere, and a main module may be slow to import.
    """

    def __init__(self, facts: "dict[str, Any]") -> None:
        self.facts = facts

    def __call__(self, name: str) -> "Any":
        facts, self.facts = self.facts, {}
        if facts:
            from multiprocessing import process, spawn

            this: Any = process.current_process()
            this._inheriting = True  # a pool that is made in there is an error
            try:
                spawn.prepare(facts)
            finally:
                del this._inheriting
            module = sys.modules["__main__"]
            if name in vars(module):
                return getattr(module, name)
        raise AttributeError(f"module '__main__' has no attribute {name!r}")


class Worker:
    """The loop."""

    def __init__(self, tasks: int, results: int, arenas: "tuple[int, int]") -> None:
        self._tasks, self._results = tasks, results
        self._in, self._out = Arena(arenas[0]), Arena(arenas[1])
        self._peak = self._kills = -1
        self._resets = False
        self._killed = 0
        self._pid = os.getpid()
        self._named, self._function = b"", None

    def run(self) -> None:
        """Prepare, tell that we are ready, and work until the parent has no more."""
        if not self._prepare():
            return
        while True:
            try:
                message = os.read(self._tasks, MESSAGE)
            except KeyboardInterrupt:  # a Ctrl+C at the terminal; the parent gets it too
                continue
            if not message:
                return
            number, _, named, flags = TASK.unpack_from(message)
            at = TASK.size + named
            self._do(number, flags, message[TASK.size : at], message[at:])

    def _do(self, number: int, flags: int, named: bytes, data: bytes) -> None:
        self._measure(reset=True)
        began = perf_counter()
        try:
            load = self._in.read if flags & IN_ARENA else _pickle.loads
            if named:
                function = self._find(named)
                args, kwargs = load(data)
            else:
                function, args, kwargs = load(data)
            data = b""
            value = list(map(function, *args)) if flags & EACH else function(*args, **kwargs)
            status = VALUE
        except BaseException as e:
            value, status = e, ERROR
        if os.getpid() != self._pid:
            os._exit(0 if status == VALUE else 1)  # a fork that came back: the task is not its own
        seconds = perf_counter() - began
        function = args = kwargs = None  # the peak of the next one is its own
        self._answer(number, status, value, seconds)

    def _find(self, named: bytes) -> "Any":
        """The function of this name, which most often is that of the task before."""
        if named != self._named:
            self._function, self._named = _pickle.loads(named), named
        return self._function

    def _measure(self, *, reset: bool = False) -> int:
        """The peak since the last reset, bytes; -1 where it cannot be told."""
        try:
            if not reset:
                return int(os.pread(self._peak, 32, 0)) if self._peak >= 0 else -1
            if self._resets:
                os.pwrite(self._peak, b"0", 0)
        except OSError:  # our cgroup was removed from outside
            self._peak, self._resets = -1, False
        return -1

    def _saw_kill(self) -> bool:
        """Whether a process in our cgroup was OOM-killed since this was last asked."""
        before = self._killed
        try:
            text = os.pread(self._kills, 4096, 0)
        except OSError:
            return False
        at = text.find(b"\noom_kill ")
        if at >= 0:
            self._killed = int(text[at + 10 :].split(None, 1)[0])
        return self._killed > before

    def _answer(self, number: int, status: int, value: "Any", seconds: float) -> None:
        peak = self._measure()
        flags = OOM if self._saw_kill() else 0
        try:
            packed = pack_any(value) if status in (VALUE, READY) else pack_error(value)
        except BaseException as e:
            status, packed = ERROR, pack_error(e)
        value, data = None, None
        if packed.buffers or packed.size > INLINE:
            data = self._out.write(packed)
            flags |= 0 if data is None else IN_ARENA
        if data is None:
            if packed.buffers:  # the parent is slow to read the last: all of it goes in the stream
                packed = Packed(packed.load(), beside=False)
            data = b"".join(packed.parts)
        head = RESULT.pack(number, len(data), status, flags, peak, seconds)
        _write_all(self._results, head + data)

    # -- the start ---------------------------------------------------------------------------

    def _prepare(self) -> bool:
        """Take over what the parent says of itself; call the initializer."""
        link = _socket.socket(fileno=os.dup(self._tasks))
        data, about, *_ = link.recvmsg(MESSAGE, 64)
        link.close()
        if not data:
            return False
        flags, data = TASK.unpack_from(data)[3], data[TASK.size :]
        for _, _, fds in about:
            kills, *peak = memoryview(fds).cast("i")
            self._kills, self._peak = kills, peak[0] if peak else -1
        try:
            self._resets = bool(flags & RESETS)
            facts = self._in.read(data) if flags & IN_ARENA else _pickle.loads(data)
            sys.path[:] = facts["path"]
            sys.argv[:] = facts["argv"]
            main = type(sys)("__main__")
            main.__getattr__ = _Main(facts["main"])  # type: ignore[method-assign]
            sys.modules["__main__"] = main
            if facts["start"]:
                initializer, args = _pickle.loads(facts["start"])
                initializer(*args)
        except BaseException as e:
            self._answer(0, START_FAILED, e, 0.0)
            return False
        self._answer(0, READY, None, 0.0)
        return True


def pack_error(error: BaseException) -> Packed:
    """Pickle an error with its traceback as text: a traceback itself cannot leave the process."""
    import traceback

    text = "".join(traceback.format_exception(error)).rstrip()
    error.__traceback__ = error.__cause__ = error.__context__ = None
    try:
        packed = pack_any((error, text))
        packed.load()  # many errors can be pickled and no more
    except BaseException as e:
        kind = type(error)
        stand_in = RuntimeError(
            f"{kind.__module__}.{kind.__qualname__}: {error} (the error itself cannot be sent: {e})"
        )
        packed = Packed((stand_in, text))
    return packed


def is_long(value: "Any") -> bool:
    """Whether it is bytes or text that would not fit into a message."""
    return type(value) in (bytes, bytearray, str) and len(value) > INLINE


def pack_any(value: "Any") -> Packed:
    """As Packed, by cloudpickle where pickle cannot and it is there."""
    try:
        return Packed(value, long=is_long(value))
    except Exception:
        try:
            from cloudpickle import Pickler
        except ImportError:
            Pickler = None
        if Pickler is None:
            raise
        return Packed(value, Pickler)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except KeyboardInterrupt:
            continue


if __name__ == "__main__":
    Worker(int(sys.argv[1]), int(sys.argv[2]), (int(sys.argv[3]), int(sys.argv[4]))).run()
