"""The HTTP server of the status page: uvicorn, made to hold nothing up and to sleep when idle."""

import asyncio
import threading

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from .app import make_app
from .feed import Feed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from ...supervise.client import Client
    from .guard import Guard

#: Connections at once.  Those above it are cut at once: descriptors are the supervisor's too.
MOST_CONNECTIONS = 64
#: Seconds to send the first request in, and to read some of what was sent; then it is cut.
ASKED_IN, READ_IN = 10.0, 30.0
#: The longest head of a request, bytes.
MOST_HEAD = 16 << 10
#: Seconds for viewers to be told of the end.
_PARTING = 0.5


class _Connection(H11Protocol):  # type: ignore[misc]
    """One connection, which holds nothing up and does not stay for nothing."""

    _timer: "asyncio.TimerHandle | None" = None

    def connection_made(self, transport: "Any") -> None:
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._cut_after(ASKED_IN)

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:  # the head of a request has come
            self._cut_after(None)

    def on_response_complete(self) -> None:
        self._cut_after(ASKED_IN)  # unless the next request has come already
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._cut_after(READ_IN)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cut_after(None)

    def connection_lost(self, exc: "Exception | None") -> None:
        self._cut_after(None)
        super().connection_lost(exc)

    def _cut_after(self, seconds: "float | None") -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self.transport.abort) if seconds else None


class PageServer(Server):  # type: ignore[misc]
    """Uvicorn without its ten wake-ups a second."""

    def __init__(
        self, connect: "Callable[[], Client]", guard: "Guard", listener: "socket.socket"
    ) -> None:
        super().__init__(Config(
            lambda *_: None, http=_Connection, ws="none", lifespan="off", loop="asyncio",
            log_config=None, log_level="error", access_log=False,
            proxy_headers=False, server_header=False, date_header=False,
            h11_max_incomplete_event_size=MOST_HEAD,
            timeout_graceful_shutdown=1,
        ))  # fmt: skip
        self._connect, self._guard, self._listener = connect, guard, listener
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False

    def run_all(self) -> None:
        """Serve until `stop` is called."""
        asyncio.run(self._serve_all())

    async def _serve_all(self) -> None:
        self._over = asyncio.Event()
        with self._lock:
            self._loop = asyncio.get_running_loop()
            if self._stopped:
                return
        self._feed = Feed(self._connect)
        self.config.app = make_app(self._feed, self._guard)
        await self.serve(sockets=[self._listener])

    async def main_loop(self) -> None:
        """Wait for the end, which no signal brings: those are the supervisor's."""
        await self._over.wait()
        self._feed.ended.set()
        for _ in range(int(_PARTING / 0.02)):
            if not self._feed.viewers:
                break
            await asyncio.sleep(0.02)
        for connection in list(self.server_state.connections):
            if connection.cycle and not connection.cycle.response_complete:
                connection.transport.abort()

    def stop(self) -> None:
        """End; for another thread."""
        with self._lock:
            self._stopped = True
            if self._loop and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._over.set)
