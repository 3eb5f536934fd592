"""Where a server listens: ``127.0.0.1:9464``, ``localhost:9464``, ``[::1]:9464``."""

from ..errors import ClimitsError, InvalidValueError
from ..units import quoted, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

_HINT = "write HOST:PORT, such as 127.0.0.1:{port}, or 0.0.0.0:{port} for every interface"


def parse_address(text: str, *, what: str, port: int) -> tuple[str, int]:
    """Read an address.

    Args:
        text: a name or number of a host, an IPv6 one in brackets, a colon and a port.
        what: how to call it in an error, such as ``--listen``.
        port: the usual one, for the hint.

    Returns:
        The host without brackets, and the port; 0 is any that is free.

    Raises:
        InvalidValueError: it is none.
    """
    host, colon, number = text.rpartition(":")
    in_brackets = host.startswith("[") and host.endswith("]")
    cause = None
    if "/" in text or not text.isprintable() or " " in text:
        cause = "not an address"
    elif not colon:
        cause = "no port" if not text.isdigit() else "no host"
    elif ":" in host and not in_brackets:
        cause = "an IPv6 address stands in brackets"
    elif not host.strip("[]"):
        cause = "no host"
    elif not (number.isascii() and number.isdigit()):
        cause = "no port" if not number else "the port is not a number"
    elif len(number) > 5 or int(number) > 65535:
        cause = "there are ports up to 65535 only"
    if cause:
        name = shown(text) if text else quoted(text)
        hint = _HINT.format(port=port)
        if "brackets" in cause:
            hint = f"write it like [::1]:{port}"
        raise InvalidValueError(f"{what}: {name}: {cause}", value=text, hint=hint)
    return (host[1:-1] if in_brackets else host), int(number)


def listen(host: str, port: int, *, what: str) -> "socket.socket":
    """A socket that listens there.

    Args:
        host, port: as parse_address gives them.
        what: how to call it in an error, such as ``--listen``.

    Raises:
        ClimitsError: the port is in use, the host is not ours or not known.
    """
    import errno
    import os
    import socket

    address = _written(host, port)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        cause = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise ClimitsError(
            f"{what}: {address}: {cause.lower()}",
            value=address,
            hint="write the number of the host, such as 127.0.0.1",
        ) from None
    family, kind, protocol, _, where = found[0]
    try:
        listener = socket.socket(family, kind, protocol)
        try:
            # Else nobody could listen there for a minute after a connection was closed.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen(128)
        except OSError:
            listener.close()
            raise
    except OSError as e:
        number = e.errno or 0
        hints = {
            errno.EADDRINUSE: "choose another port, or 0 for any that is free",
            errno.EADDRNOTAVAIL: "no interface of this machine has it: 127.0.0.1 is always there",
            errno.EACCES: "ports below 1024 are root's: choose a higher one",
        }
        raise ClimitsError(
            f"{what}: cannot listen at {address}: {os.strerror(number).lower()}",
            value=address,
            errno=number,
            hint=hints.get(number, "choose another address"),
        ) from None
    return listener


def address_of(listener: "socket.socket") -> str:
    """Where it listens, as it stands in a URL: with the port that it was given for 0."""
    host, port = listener.getsockname()[:2]
    return _written(host, port)


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
