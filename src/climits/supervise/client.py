"""The other end of the control channel, for Python programs and for ``climits ctl``."""

import json
import socket

from ..errors import ClimitsError
from ..units import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: Seconds to wait for an answer: stopping a program may take a while, but is not waited for.
_TIMEOUT = 30.0
#: An answer at most, bytes: the status of some thirty thousand programs.
_LONGEST = 8 << 20


def _closed() -> ClimitsError:
    return ClimitsError(
        "the supervisor has closed the connection",
        hint="it hears its own user and root alone, and nobody in a container",
    )


class Client:
    """Steers a running supervisor.

    >>> with Client() as supervisor:  # doctest: +SKIP
    ...     supervisor.set_limit("web", "90M")
    """

    def __init__(self, path: "str | None" = None) -> None:
        """Connect.

        Args:
            path: of the socket; the default one is that of a supervisor of this user.

        Raises:
            ClimitsError: no supervisor listens there.
        """
        if path is None:
            from .control import default_path

            path = default_path()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_TIMEOUT)
        try:
            self._socket.connect(path)
        except OSError as e:
            self._socket.close()
            raise ClimitsError(
                f"no supervisor answers: {path}: {(e.strerror or str(e)).lower()}",
                path=path,
                errno=e.errno,
                hint="start one with climits supervise -c FILE, or name its socket",
            ) from None
        self._file = self._socket.makefile("rb")

    @classmethod
    def over(cls, connection: socket.socket) -> "Client":
        """A client over a connection that exists; it is closed with the client."""
        self = cls.__new__(cls)
        self._socket = connection
        self._socket.settimeout(_TIMEOUT)
        self._file = connection.makefile("rb")
        return self

    def request(self, command: str, **fields: "Any") -> "Any":
        """Send one request and return its result.

        Raises:
            ClimitsError: the supervisor refused, or went away.
        """
        request = {"command": command, **{k: v for k, v in fields.items() if v is not None}}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            while True:
                answer = self._next()
                if "ok" in answer:  # else an event, for one who follows
                    break
        except (BrokenPipeError, ConnectionResetError):
            raise _closed() from None
        except OSError as e:
            raise ClimitsError(f"the supervisor does not answer: {e}", errno=e.errno) from None
        if not answer["ok"]:
            said = answer.get("error") or "the supervisor refuses, and does not say why"
            raise ClimitsError(str(said), hint=answer.get("hint"))
        return answer.get("result")

    def _next(self) -> "dict[str, Any]":
        line = self._file.readline(_LONGEST)
        if not line:
            raise _closed()
        try:
            answer: Any = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ClimitsError(f"this is not a supervisor's answer: {shown(line[:80])}")
        return answer

    def status(self, *programs: str) -> "list[dict[str, Any]]":
        """Facts of the programs named, or of all."""
        result: list[dict[str, Any]] = self.request("status", programs=list(programs) or None)
        return result

    def start(self, *programs: str) -> None:
        """Start those that do not run."""
        self.request("start", programs=list(programs) or None)

    def stop(self, *programs: str) -> None:
        """Ask them to end, and do not wait for it."""
        self.request("stop", programs=list(programs) or None)

    def restart(self, *programs: str) -> None:
        """End them and start them again, and do not wait for it."""
        self.request("restart", programs=list(programs) or None)

    def set_limit(self, program: str, memory: "str | int") -> "dict[str, Any]":
        """Change a memory limit, for this run and those to come."""
        result: dict[str, Any] = self.request("set-limit", program=program, memory=memory)
        return result

    def events(self, *, follow: bool = False) -> "Iterator[dict[str, Any]]":
        """The last events; with `follow` those to come too, until the supervisor ends."""
        yield from self.request("events", follow=follow)
        if follow:
            self._socket.settimeout(None)
            while True:
                try:
                    yield self._next()
                except ClimitsError:
                    return  # it has ended, maybe in the middle of a line

    def reload(self) -> None:
        """Read the configuration again; what did not change keeps running."""
        self.request("reload")

    def shut_down(self) -> None:
        """Stop every program and end."""
        self.request("shutdown")

    def close(self) -> None:
        """Disconnect."""
        self._file.close()
        self._socket.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
