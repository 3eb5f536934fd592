"""The control channel: requests and answers as JSON lines over a UNIX socket.

A request is one object with ``command`` and what it needs; the answer is one object with ``ok``
and either ``result`` or ``error`` and ``hint``.  After ``events`` with ``follow`` the server goes
on with one object an event.  Nothing that a client does or leaves undone holds the supervisor up.
"""

import _thread
import errno
import os
import socket
import stat

from ..errors import ClimitsError, InvalidValueError
from ..linux.proc import status
from .loop import READABLE, WRITABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .client import Client
    from .loop import Timer
    from .supervisor import Supervisor

#: The longest request, and what a client may leave unread before it is let go, bytes.
MAX_REQUEST, MAX_UNREAD = 64 << 10, 1 << 20
#: Clients at once, and seconds that one has for its next request.
MAX_CLIENTS, PATIENCE = 64, 30.0
#: Events that are kept for those who ask later.
KEPT_EVENTS = 100


def default_path() -> str:
    """Where the socket is unless somebody says otherwise."""
    if os.geteuid() == 0:
        return "/run/climits/supervise.sock"
    base = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return f"{base}/climits/supervise.sock"


def make_folder(directory: str) -> None:
    """Make a folder for sockets and the like, for our user alone, unless it is there.

    Raises:
        OSError: it cannot be made.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)


class Control:
    """Does what the supervisor's own user and root ask for, and what runs beside it."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self.supervisor = supervisor
        self.clients: set[_Client] = set()
        self.kept: list[dict[str, Any]] = []
        self._listener: socket.socket | None = None
        self._lock = _thread.allocate_lock()
        self._arrived: list[socket.socket] = []
        self._closed = False
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        supervisor.loop.watch(self._bell, self._admit)
        supervisor.listeners.append(self._at_event)

    def listen(self, path: str) -> None:
        """Listen at a path too.

        Raises:
            ClimitsError: another supervisor listens there, or the socket cannot be made.
        """
        self._listener, self._path = _listen(path), path
        self._inode = os.stat(path).st_ino
        self._watch()

    def connect(self) -> "Client":
        """A new client of it, for another thread of this process, which may call this.

        Raises:
            ClimitsError: it has been closed, or no descriptor is left.
        """
        from .client import Client

        with self._lock:
            if self._closed:
                raise ClimitsError("the supervisor has ended")
            try:
                ours, theirs = socket.socketpair()
            except OSError as e:  # no descriptor is left
                raise ClimitsError(
                    f"cannot connect to the supervisor: {os.strerror(e.errno or 0).lower()}",
                    errno=e.errno,
                ) from None
            self._arrived.append(theirs)
            os.eventfd_write(self._bell, 1)
        return Client.over(ours)

    def _admit(self, _events: int) -> None:
        os.eventfd_read(self._bell)
        with self._lock:
            arrived, self._arrived = self._arrived, []
        for connection in arrived:
            connection.setblocking(False)
            self.clients.add(_Client(self, connection))

    def _watch(self) -> None:
        if self._listener:
            self.supervisor.loop.watch(self._listener.fileno(), self._accept)

    def _accept(self, _events: int) -> None:
        assert self._listener
        try:
            connection, _ = self._listener.accept()
        except OSError as e:
            if e.errno in (errno.EMFILE, errno.ENFILE):  # it would be ready again at once
                self.supervisor.loop.forget(self._listener.fileno())
                self.supervisor.loop.after(1.0, self._watch)
            return
        connection.setblocking(False)
        if not _may_steer(connection) or len(self.clients) >= MAX_CLIENTS:
            connection.close()
            return
        self.clients.add(_Client(self, connection))

    def _at_event(self, record: "dict[str, Any]") -> None:
        self.kept = [*self.kept[-KEPT_EVENTS + 1 :], record]
        for client in list(self.clients):
            if client.follows:
                client.send(record)

    def answer(self, client: "_Client", line: bytes) -> None:
        """Do what one request says."""
        import json  # half a MiB, and only for those who are asked

        try:
            try:
                request = json.loads(line)
            except (ValueError, RecursionError):
                request = None
            if not isinstance(request, dict):
                raise InvalidValueError("not a request", hint="send one JSON object a line")
            command = request.get("command")
            handler = _COMMANDS.get(command) if isinstance(command, str) else None
            if handler is None:
                raise InvalidValueError(
                    f"unknown command: {command}", hint=f"one of {', '.join(_COMMANDS)}"
                )
            result = handler(self, client, request)
        except ClimitsError as e:
            client.send({"ok": False, "error": str(e), "hint": e.hint})
        else:
            client.send({"ok": True, "result": result})

    def close(self) -> None:
        """Let everybody go, listen no longer and remove the socket, if it is still ours."""
        with self._lock:
            self._closed = True
        for connection in self._arrived:
            connection.close()
        for client in list(self.clients):
            client.close()
        self.supervisor.listeners.remove(self._at_event)
        self.supervisor.loop.forget(self._bell)
        os.close(self._bell)
        if self._listener is None:
            return
        self.supervisor.loop.forget(self._listener.fileno())
        self._listener.close()
        self._listener = None
        try:
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)
        except FileNotFoundError:
            pass


def _may_steer(connection: socket.socket) -> bool:
    """Whether a client is root's or our own user's, and in no container.

    In one that root has started without a rootfs the socket can be seen, and root is root.

    Source: unix(7), SO_PEERCRED: struct ucred, of the process that connected.
    """
    credentials = memoryview(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    pid, uid, _ = credentials.cast("i")
    if uid not in (0, os.geteuid()):
        return False
    try:
        theirs = os.stat(f"/proc/{pid}/ns/user").st_ino
    except PermissionError:
        # It has more rights than we, as root's has beside a hardened unit.  One in a container with
        # process ids of its own still shows: it has another id there.
        return len(status(pid).get("NSpid", "").split()) == 1
    except OSError:  # gone; or root's, which is hidden from an ordinary user
        return uid != os.geteuid()
    return theirs == os.stat("/proc/self/ns/user").st_ino


class _Client:
    """One connection."""

    def __init__(self, control: Control, connection: socket.socket) -> None:
        self.control, self.connection = control, connection
        self.follows = self._done = False
        self._unread, self._unsent = b"", b""
        self._loop = control.supervisor.loop
        self._loop.watch(connection.fileno(), self._turn)
        self._timer: Timer | None = None
        self._wait()

    def _wait(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None if self.follows else self._loop.after(PATIENCE, self.close)

    def _turn(self, events: int) -> None:
        if events & WRITABLE:
            self._flush()
        if events & ~WRITABLE and self.connection.fileno() >= 0:
            self._read()

    def _read(self) -> None:
        try:
            data = self.connection.recv(MAX_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._finish()
            return
        self._unread += data
        while b"\n" in self._unread:
            line, _, self._unread = self._unread.partition(b"\n")
            if len(self._unsent) > MAX_UNREAD:  # it asks and does not read
                self.close()
                return
            self.control.answer(self, line)
            if self.connection.fileno() < 0:
                return
            self._wait()
        if len(self._unread) > MAX_REQUEST:
            self.send({"ok": False, "error": f"a request of more than {MAX_REQUEST} bytes"})
            self.close()

    def _finish(self) -> None:
        """It says no more: send what it has not yet got, and let it go."""
        self._done = True
        self._flush()

    def send(self, record: "dict[str, Any]") -> None:
        """Send one object, as far as the client takes it."""
        if self.connection.fileno() < 0:
            return
        import json

        self._unsent += json.dumps(record).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self.connection.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        too_slow = self.follows and len(self._unsent) > MAX_UNREAD
        if too_slow or (self._done and not self._unsent):
            self.close()  # it follows and does not read, or has got all
        elif self._unsent:
            wanted = WRITABLE if self._done else READABLE | WRITABLE
            self._loop.watch(self.connection.fileno(), self._turn, wanted)
        else:
            self._loop.watch(self.connection.fileno(), self._turn)

    def close(self) -> None:
        """Let it go; may be called again."""
        if self._timer:
            self._timer.cancel()
        if self.connection.fileno() >= 0:
            self._loop.forget(self.connection.fileno())
            self.connection.close()
            self.control.clients.discard(self)


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if directory := os.path.dirname(path):
            make_folder(directory)
        if os.path.lexists(path):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise OSError(errno.EEXIST, "something else is there")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(1.0)
                try:
                    probe.connect(path)
                except (ConnectionRefusedError, FileNotFoundError):
                    os.unlink(path)  # of a supervisor that was killed
                else:
                    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        mask = os.umask(0o177)  # mode 0600 from the first moment on
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
        listener.listen(MAX_CLIENTS)
    except OSError as e:
        listener.close()
        if e.errno == errno.EADDRINUSE:
            raise ClimitsError(
                f"control socket: {path}: another supervisor listens there",
                path=path,
                hint="stop it with climits ctl shutdown, or choose another with --socket",
            ) from None
        raise ClimitsError(
            f"control socket: {path}: {(e.strerror or str(e)).lower()}",
            path=path,
            hint="choose another with --socket",
        ) from None
    return listener


# ---- the commands --------------------------------------------------------------------------


def _names(control: Control, request: "dict[str, Any]") -> list[str]:
    names = request.get("programs")
    if names is None:
        return list(control.supervisor.programs)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidValueError("programs: not a list of names")
    for name in names:
        control.supervisor.find(name)
    return names


def _status(control: Control, _client: _Client, request: "dict[str, Any]") -> "list[Any]":
    return [control.supervisor.programs[name].facts() for name in _names(control, request)]


def _for_each(method: str) -> "Callable[[Control, _Client, dict[str, Any]], list[str]]":
    def do(control: Control, _client: _Client, request: "dict[str, Any]") -> list[str]:
        names = _names(control, request)
        for name in names:
            getattr(control.supervisor.programs[name], method)()
        return names

    return do


def _stop(control: Control, _client: _Client, request: "dict[str, Any]") -> list[str]:
    names = _names(control, request)
    control.supervisor.stop(names)
    return names


def _set_limit(control: Control, _client: _Client, request: "dict[str, Any]") -> "dict[str, Any]":
    name, memory = request.get("program"), request.get("memory")
    if not isinstance(name, str) or not isinstance(memory, (str, int)):
        raise InvalidValueError("set-limit needs a program and memory")
    limit = control.supervisor.find(name).set_limit(memory)
    return {"program": name, "memory_max": "max" if limit == float("inf") else limit}


def _events(control: Control, client: _Client, request: "dict[str, Any]") -> "list[Any]":
    client.follows = bool(request.get("follow"))
    return control.kept


def _reload(control: Control, _client: _Client, _request: "dict[str, Any]") -> None:
    control.supervisor.reload()


def _shutdown(control: Control, _client: _Client, _request: "dict[str, Any]") -> None:
    control.supervisor.shut_down()


_COMMANDS: "dict[str, Callable[[Control, _Client, dict[str, Any]], Any]]" = {
    "status": _status,
    "start": _for_each("start"),
    "stop": _stop,
    "restart": _for_each("restart"),
    "set-limit": _set_limit,
    "events": _events,
    "reload": _reload,
    "shutdown": _shutdown,
}
