"""The least of D-Bus: call a method, wait for a signal, over the UNIX socket of a bus.

A library for all of D-Bus is loaded in twice the time that systemd needs to make a scope; a start
of climits needs two messages.  The tests hold what is written here against such a library.

Source: D-Bus Specification 0.43; systemd.io/PORTABILITY_AND_STABILITY for what is called by it.
"""

import _socket  # `socket` wraps it in enums and selectors, at 6 ms
import os
import time
from struct import error as StructError
from struct import pack, unpack_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CALL, _RETURN, _ERROR, _SIGNAL = 1, 2, 3, 4
#: Fields of a header: number and type.
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = (
    (1, "o"), (2, "s"), (3, "s"), (4, "s"), (5, "u"), (6, "s"), (8, "g"),
)  # fmt: skip
_BUS = "org.freedesktop.DBus"
#: Bytes; the specification's.
_LONGEST = 128 << 20
#: Type: format of struct, size and alignment.
_FIXED = {
    "y": ("B", 1), "b": ("I", 4), "n": ("h", 2), "q": ("H", 2), "i": ("i", 4), "u": ("I", 4),
    "x": ("q", 8), "t": ("Q", 8), "d": ("d", 8),
}  # fmt: skip
_ALIGNMENT = {"s": 4, "o": 4, "a": 4, "(": 8, "{": 8, **{t: f[1] for t, f in _FIXED.items()}}


class DBusError(Exception):
    """The other side answered with an error.

    Attributes:
        name: such as org.freedesktop.DBus.Error.AccessDenied.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text or name)
        self.name = name


class Message:
    """What came in.

    Attributes:
        kind: 2 an answer, 3 an error, 4 a signal.
        fields: by number, as in the specification.
        body: the arguments.
    """

    __slots__ = ("body", "fields", "kind")

    def __init__(self, kind: int, fields: "dict[int, Any]", body: "list[Any]") -> None:
        self.kind, self.fields, self.body = kind, fields, body


class Bus:
    """A connection to a bus, as this user."""

    def __init__(self, address: "str | bytes", timeout: float) -> None:
        """Connect.

        Args:
            address: path of the socket; bytes that start with NUL: an abstract one.
            timeout: seconds for all that is done with the connection.

        Raises:
            OSError: nobody listens, or not to us; TimeoutError.
        """
        self._deadline = time.monotonic() + timeout
        self._serial = 0
        self._got = b""
        self._signals: list[Message] = []
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            self._allow()
            self._socket.connect(address)
            uid = str(os.geteuid()).encode().hex().encode()
            # All at once: each answer that is waited for costs a change of processes.
            hello = self._message(_BUS, "/org/freedesktop/DBus", _BUS, "Hello", "", ())
            self._socket.sendall(b"\0AUTH EXTERNAL " + uid + b"\r\nBEGIN\r\n" + hello)
            while b"\r\n" not in self._got:
                self._receive()
            line, _, self._got = self._got.partition(b"\r\n")
            if not line.startswith(b"OK "):
                raise PermissionError(1, "the bus does not know us")
            self._answer(self._serial)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def call(
        self,
        to: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *values: "Any",
    ) -> "list[Any]":
        """Call a method and wait for its answer.

        Args:
            to: name of the service.
            path, interface, member: of the method.
            signature: the types of the arguments.
            values: the arguments: list for an array, tuple for a structure, (signature, value) for
                a variant.

        Returns:
            What it returns.

        Raises:
            DBusError: it answered with an error.
            OSError: the connection broke; TimeoutError.
        """
        self._send(self._message(to, path, interface, member, signature, values))
        return self._answer(self._serial).body

    def listen(self, rule: str) -> None:
        """Have signals sent to us; rule as in the specification's match rules."""
        self.call(_BUS, "/org/freedesktop/DBus", _BUS, "AddMatch", "s", rule)

    def signal(self, member: str) -> "list[Any]":
        """The arguments of the next signal of that name; those of others are dropped."""
        while True:
            message = self._signals.pop(0) if self._signals else self._next()
            if message.kind == _SIGNAL and message.fields.get(_MEMBER[0]) == member:
                return message.body

    # -- messages ----------------------------------------------------------------------------

    def _message(
        self, to: str, path: str, interface: str, member: str, signature: str, values: "Any"
    ) -> bytes:
        self._serial += 1
        body = marshal(signature, values)
        fields = [
            (number, (kind, value))
            for (number, kind), value in (
                (_PATH, path), (_INTERFACE, interface), (_MEMBER, member), (_DESTINATION, to),
                (_SIGNATURE, signature),
            )
            if value
        ]  # fmt: skip
        fixed = pack("<cBBBII", b"l", _CALL, 0, 1, len(body), self._serial)
        head = marshal("a(yv)", (fields,), start=fixed)
        return head + b"\0" * (-len(head) % 8) + body

    def _send(self, data: bytes) -> None:
        self._allow()
        self._socket.sendall(data)

    def _answer(self, serial: int) -> Message:
        while True:
            message = self._next()
            if message.kind == _SIGNAL:
                self._signals.append(message)
            elif message.fields.get(_REPLY_SERIAL[0]) == serial:
                break
        if message.kind == _ERROR:
            text = message.body[0] if message.body and isinstance(message.body[0], str) else ""
            raise DBusError(message.fields.get(_ERROR_NAME[0], ""), text)
        return message

    def _next(self) -> Message:
        while True:
            while len(self._got) < 16:
                self._receive()
            try:
                data, order, start, known = self._take()
                body, _ = _read(data[start:], 0, known.get(_SIGNATURE[0], ""), order)
            except (StructError, IndexError, KeyError, TypeError, ValueError, RecursionError):
                raise ConnectionError(71, "what came in is not D-Bus") from None
            if data[1] in (_RETURN, _ERROR, _SIGNAL):  # whoever calls us gets no answer
                return Message(data[1], known, body)

    def _take(self) -> "tuple[bytes, str, int, dict[int, Any]]":
        """The next message: (its bytes, its byte order, where its body starts, its fields)."""
        order = {b"l": "<", b"B": ">"}[self._got[:1]]
        length, _, fields = unpack_from(f"{order}III", self._got, 4)
        start = 16 + fields + -fields % 8
        if length + start > _LONGEST:
            raise ValueError
        while len(self._got) < start + length:
            self._receive()
        data, self._got = self._got[: start + length], self._got[start + length :]
        (found,), _ = _read(data, 12, "a(yv)", order)
        return data, order, start, dict(found)

    def _receive(self) -> None:
        self._allow()
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError(104, "the other side hung up")
        self._got += data

    def _allow(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(110, "no answer in time")
        self._socket.settimeout(left)


def address_path(address: str) -> "str | bytes | None":
    """The socket of a bus address such as ``unix:path=/run/user/1000/bus``; None if it has none."""
    for one in address.split(";"):
        transport, _, rest = one.partition(":")
        keys = dict(pair.split("=", 1) for pair in rest.split(",") if "=" in pair)
        if transport == "unix" and "path" in keys:
            return _unescape(keys["path"]).decode(errors="surrogateescape")
        if transport == "unix" and "abstract" in keys:
            return b"\0" + _unescape(keys["abstract"])
    return None


def _unescape(text: str) -> bytes:
    first, *rest = os.fsencode(text).split(b"%")
    try:
        return first + b"".join(bytes([int(part[:2], 16)]) + part[2:] for part in rest)
    except ValueError:
        return os.fsencode(text)


# ---- types <-> bytes -----------------------------------------------------------------------


def marshal(signature: str, values: "Any", start: bytes = b"") -> bytes:
    """Values as bytes, little-endian, behind `start`, from which alignment is counted."""
    out = bytearray(start)
    at = 0
    for value in values:
        end = _end(signature, at)
        _write(out, signature[at:end], value)
        at = end
    return bytes(out)


def _end(signature: str, at: int) -> int:
    """Where the complete type that begins at `at` ends."""
    while signature[at] == "a":
        at += 1
    if signature[at] not in "({":
        return at + 1
    depth = 0
    while True:
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(signature[at], 0)
        at += 1
        if not depth:
            return at


def _write(out: bytearray, kind: str, value: "Any") -> None:
    out += b"\0" * (-len(out) % _ALIGNMENT.get(kind[0], 1))
    if kind in _FIXED:
        out += pack(f"<{_FIXED[kind][0]}", value)
    elif kind in "so":
        data = os.fsencode(value)
        out += pack("<I", len(data)) + data + b"\0"
    elif kind == "g":
        out += bytes([len(value)]) + value.encode() + b"\0"
    elif kind == "v":
        _write(out, "g", value[0])
        _write(out, value[0], value[1])
    elif kind[0] == "a":
        at = len(out)
        out += b"\0\0\0\0"
        out += b"\0" * (-len(out) % _ALIGNMENT.get(kind[1], 1))
        first = len(out)
        for item in value:
            _write(out, kind[1:], item)
        out[at : at + 4] = pack("<I", len(out) - first)
    else:  # a structure, or a pair in a dictionary
        inner = kind[1:-1]
        at = 0
        for item in value:
            end = _end(inner, at)
            _write(out, inner[at:end], item)
            at = end


def _read(data: bytes, at: int, signature: str, order: str) -> "tuple[list[Any], int]":
    """(values, where they end)."""
    values = []
    where = 0
    while where < len(signature):
        end = _end(signature, where)
        value, at = _read_one(data, at, signature[where:end], order)
        values.append(value)
        where = end
    return values, at


def _read_one(data: bytes, at: int, kind: str, order: str) -> "tuple[Any, int]":
    at += -at % _ALIGNMENT.get(kind[0], 1)
    if kind in _FIXED:
        form, size = _FIXED[kind]
        return unpack_from(order + form, data, at)[0], at + size
    if kind in "sog":
        size = data[at] if kind == "g" else unpack_from(f"{order}I", data, at)[0]
        at += 1 if kind == "g" else 4
        return os.fsdecode(data[at : at + size]), at + size + 1
    if kind == "v":
        inner, at = _read_one(data, at, "g", order)
        return _read_one(data, at, inner, order)
    if kind[0] == "a":
        size = unpack_from(f"{order}I", data, at)[0]
        at += 4
        at += -at % _ALIGNMENT.get(kind[1], 1)
        end = at + size
        items = []
        while at < end:
            item, next_at = _read_one(data, at, kind[1:], order)
            if next_at == at:
                raise ValueError  # an empty structure: there is no end of them
            items.append(item)
            at = next_at
        return items, at
    values, at = _read(data, at, kind[1:-1], order)
    return tuple(values), at
