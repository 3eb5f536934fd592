"""The HTTP server of the status page: uvicorn, made to hold nothing up and to sleep when idle."""

import asyncio
import itertools
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

#: Connections at once: descriptors are the supervisor's too.  One more costs a stranger, who has
#: not shown the token, the oldest; of those that ask nothing, where they are as many as the second
#: figure.  So a holder of the token gets in whatever strangers do, and is never cut for them.
MOST_CONNECTIONS, SPARED_ABOVE = 64, 32
#: Those that are let in at once, fewer than it takes to push out one that has just come to ask,
#: and those that the kernel keeps waiting meanwhile.
_AT_ONCE, _WAITING = 8, 128
#: Seconds to send the first request in, and to read some of what was sent; then it is cut.
ASKED_IN, READ_IN = 10.0, 30.0
#: The longest head of a request, bytes.
MOST_HEAD = 16 << 10
#: Seconds for viewers to be told of the end.
_PARTING = 0.5


class _Connection(H11Protocol):  # type: ignore[misc]
    """One connection, which holds nothing up and does not stay for nothing."""

    _timer: "asyncio.TimerHandle | None" = None
    _is_cut = False
    _count = itertools.count()

    def connection_made(self, transport: "Any") -> None:
        super().connection_made(transport)
        self._number = next(self._count)
        others = [c for c in self.connections if c is not self and not c._is_cut]
        if len(others) >= MOST_CONNECTIONS:
            strangers = [c for c in others if not c._is_holders]
            asking_nothing = [c for c in strangers if c._asks_nothing]
            if len(asking_nothing) >= SPARED_ABOVE:
                strangers = asking_nothing
            min(strangers, key=lambda c: c._number, default=self)._cut()
        if not self._is_cut:
            self._expect()

    @property
    def _is_holders(self) -> bool:
        """Whether its last request had the token."""
        return bool(self.scope and self.scope["state"].get("holder"))

    @property
    def _asks_nothing(self) -> bool:
        """Whether no request is being answered, as far as the application goes."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:  # the head of a request has come
            self._expect()

    def on_response_complete(self) -> None:
        self._expect()  # unless the next request has come already
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._expect()

    def connection_lost(self, exc: "Exception | None") -> None:
        self._is_cut = True
        super().connection_lost(exc)
        self._after(None)

    def _expect(self) -> None:
        """Give the other side its time for what it has to do now, if anything."""
        unsent = self.transport.get_write_buffer_size()
        if self.flow.write_paused or (self._asks_nothing and unsent):
            self._after(READ_IN, self._read_or_cut, unsent)
        elif self._asks_nothing:
            self._after(ASKED_IN, self._cut)
        else:
            self._after(None)

    def _read_or_cut(self, unsent: int) -> None:
        """Cut it, unless some was read: a long page may take its time."""
        if self.transport.get_write_buffer_size() >= unsent:
            self._cut()
        else:
            self._expect()

    def _cut(self) -> None:
        self._is_cut = True
        self.transport.abort()

    def _after(
        self, seconds: "float | None", do: "Callable[..., None] | None" = None, *args: int
    ) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, do, *args) if seconds and do else None


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
            backlog=_AT_ONCE, timeout_graceful_shutdown=1,
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
        self._listener.listen(_WAITING)  # asyncio takes one figure for both
        await self._over.wait()
        self._feed.ended.set()
        for _ in range(int(_PARTING / 0.02)):
            if not self._feed.viewers:
                break
            await asyncio.sleep(0.02)
        for connection in list(self.server_state.connections):
            if not connection._asks_nothing or connection.transport.get_write_buffer_size():
                connection.transport.abort()

    def stop(self) -> None:
        """End; for another thread."""
        with self._lock:
            self._stopped = True
            if self._loop and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._over.set)
