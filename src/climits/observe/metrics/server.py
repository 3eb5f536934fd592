"""Serves metrics over HTTP."""

import errno
import gzip
import signal
import socket
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler

from ... import __version__
from ...errors import ClimitsError
from ..hosts import Hosts
from .text import choose_format, write
from .timed import TimedSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from prometheus_client import Metric

#: Connections at once; more are closed.  Seconds to send the whole request, or to take the answer.
_MOST, _PATIENCE = 16, 10.0
_PACKET = 1400  # bytes; less is not packed

_INDEX = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>climits metrics</title>
<style>:root {{ color-scheme: light dark }} body {{ font: 1rem/1.5 system-ui, sans-serif;
max-width: 40rem; margin: 2rem auto; padding: 0 1rem }}</style></head>
<body>
<h1>climits {version}</h1>
<p>Memory, CPU time and pressure of {what}, for Prometheus.</p>
<ul>
<li><a href="/metrics">/metrics</a>: what Prometheus scrapes</li>
<li><a href="/-/healthy">/-/healthy</a>: answers 200 while this runs</li>
</ul>
</body>
</html>
"""


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: "_Server"
    timeout = _PATIENCE

    def version_string(self) -> str:
        """What the header Server says."""
        return f"climits/{__version__}"

    def do_GET(self) -> None:
        """Answer with a page."""
        self.connection.settimeout(_PATIENCE)  # of which reading has left something or other
        if not self._is_for_us():
            text = b"climits: the Host header names another host\n"
            self._send(421, "text/plain; charset=utf-8", text)
            return
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._metrics()
        elif path == "/":
            page = _INDEX.format(version=__version__, what=self.server.what)
            self._send(200, "text/html; charset=utf-8", page.encode())
        elif path == "/-/healthy":
            self._send(200, "text/plain; charset=utf-8", b"climits is healthy\n")
        else:
            self._send(404, "text/plain; charset=utf-8", b"not here: see /metrics\n")

    do_HEAD = do_GET

    def _is_for_us(self) -> bool:
        """Whether no page of somebody else, in a browser of this machine, may be asking.

        Those who reach another address than the loopback one can ask without a browser, and
        Prometheus may know this machine by a name that we do not.
        """
        given, hosts = self.headers.get_all("Host", []), self.server.hosts
        # A browser always sends one; what checks whether a port answers often does not.
        return not (hosts.local and given) or (len(given) == 1 and hosts.has(given[0]))

    def _metrics(self) -> None:
        try:
            content_type = choose_format(self.headers.get("Accept"))
            content = write(self.server.collect(), content_type)
        except (ClimitsError, OSError) as e:
            self._send(500, "text/plain; charset=utf-8", f"climits: {e}\n".encode(errors="replace"))
            return
        self._send(200, content_type, content)

    def _send(self, status: int, content_type: str, content: bytes) -> None:
        accepted = self.headers.get("Accept-Encoding", "").replace(" ", "").split(",")
        self.send_response(status)
        # To this machine itself, packing costs more than it saves.
        if (
            "gzip" in accepted
            and len(content) > _PACKET
            and not _is_here(str(self.client_address[0]))
        ):
            content = gzip.compress(content, 1)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _is_here(host: str) -> bool:
    """Whether a client is on this machine."""
    return host.removeprefix("::ffff:").startswith("127.") or host == "::1"


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread for each connection, of which there is a bounded number.

    Attributes:
        collect: gives the metrics.
        hosts: what the server goes by.
        what: whose they are, for the index page.
    """

    daemon_threads = True

    def __init__(
        self,
        listener: socket.socket,
        collect: "Callable[[], Iterable[Metric]]",
        hosts: Hosts,
        what: str,
    ) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.collect, self.hosts, self.what = listener, collect, hosts, what
        self._room = threading.BoundedSemaphore(_MOST)

    def verify_request(self, _request: object, _client_address: object) -> bool:
        """Whether there is room for one more."""
        return self._room.acquire(blocking=False)

    def get_request(self) -> "tuple[socket.socket, Any]":
        """Take a connection."""
        try:
            accepted, address = super().get_request()
        except OSError as e:
            if e.errno in (errno.EMFILE, errno.ENFILE):
                time.sleep(0.1)  # it would be ready again at once
            raise
        kind = accepted.family, accepted.type, accepted.proto
        connection = TimedSocket(*kind, fileno=accepted.detach())
        connection.deadline = time.monotonic() + _PATIENCE
        return connection, address

    def process_request(self, request: "Any", client_address: "Any") -> None:
        """Start its thread."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no more threads
            self._room.release()
            raise

    def process_request_thread(self, request: "Any", client_address: "Any") -> None:
        """Answer it in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, _request: object, _client_address: object) -> None:
        """A client went away in the midst of it: nobody to tell."""


class Server:
    """A thread that listens, until it is closed."""

    def __init__(
        self,
        listener: socket.socket,
        collect: "Callable[[], Iterable[Metric]]",
        *,
        host: str,
        what: str,
    ) -> None:
        """Start it.

        Args:
            listener: a socket that listens; closed in the end.
            collect: gives the metrics; called from many threads.
            host: where a person told it to listen, a name or an address.
            what: whose they are, for people.
        """
        hosts = Hosts(host, listener.getsockname()[0])
        self._server = _Server(listener, collect, hosts, what)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="climits-metrics", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        # Signals are for the main thread; the threads of the connections inherit this.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        # serve_forever would wake up twice a second to see whether it should end.
        while not self._closing:
            self._server.handle_request()

    def close(self) -> None:
        """Listen no longer; those who wait for an answer are let go."""
        self._closing = True
        try:
            self._server.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        except OSError:
            pass
        self._thread.join()
        self._server.server_close()
