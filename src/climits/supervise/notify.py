"""Tells the service manager how we are: systemd's notification protocol.

A datagram of ``NAME=value`` lines to the socket that the environment names.

Source: sd_notify(3), sd_watchdog_enabled(3), systemd.service(5).
"""

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from socket import socket as Socket

_NAMES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")

#: How long a change of state waits for a busy service manager, seconds.  It must not get lost:
#: a start whose READY=1 never came is failed.
_PATIENCE = 1.0


class Notifier:
    """A service manager's ear.  Where there is none, nothing happens; nothing here ever raises.

    Attributes:
        interval: how often `watchdog` should be called, seconds: half of what the service manager
            waits for; None: never.
    """

    def __init__(self, address: str = "", interval: "float | None" = None) -> None:
        """Open the socket.

        Args:
            address: path of the service manager's socket; ``@`` is the abstract namespace, and
                nothing means that there is none.
            interval: see above.
        """
        self._socket: Socket | None = None
        if address.startswith(("/", "@")):  # the others, such as vsock, are for virtual machines
            import socket

            target = os.fsencode(address)
            try:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            except OSError:
                pass
            self._target = b"\0" + target[1:] if address.startswith("@") else target
        self.interval = interval if self._socket else None

    @classmethod
    def from_environ(cls, environ: "MutableMapping[str, str]") -> "Notifier":
        """The one that the environment names.

        The names are taken out of the environment: the programs that we start must not speak in
        our place.
        """
        address, usec, pid = (environ.pop(name, "") for name in _NAMES)
        interval = None
        if pid in ("", str(os.getpid())) and usec.isascii() and usec.isdigit() and len(usec) < 20:
            interval = int(usec) / 2_000_000 or None
        return cls(address, interval)

    def ready(self) -> None:
        """The start, or a reload, is done."""
        self._send("READY=1", _PATIENCE)

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={usec}", _PATIENCE)

    def stopping(self) -> None:
        """The end begins."""
        self._send("STOPPING=1", _PATIENCE)

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send("STATUS=" + " ".join(text.splitlines()), 0.0)

    def watchdog(self) -> None:
        """We are alive: within each `interval`."""
        self._send("WATCHDOG=1", 0.0)

    def close(self) -> None:
        """Give the descriptor back; what is said afterwards is heard by nobody."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def _send(self, message: str, patience: float) -> None:
        if self._socket is None:
            return
        try:
            self._socket.settimeout(patience)
            # Not connected: a service manager that was started anew has a new socket there.
            self._socket.sendto(message.encode(errors="replace"), self._target)
        except OSError:
            pass  # nobody listens, or is too busy for a line of status
