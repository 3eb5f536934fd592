"""The page over HTTP."""

import asyncio
import json
import os

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ...errors import ClimitsError
from .feed import Viewer
from .page import locked, page
from .view import event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .feed import Feed
    from .guard import Guard

#: Those who watch at once, and seats among them that only holders of the token get.
MOST_VIEWERS, HOLDERS_SEATS = 32, 8
#: The longest body of a request, bytes, and seconds that it may take.
MOST_BODY, BODY_IN = 4 << 10, 10.0
#: Seconds between signs of life.
BEAT = 15.0
#: A wrong token is answered after so many seconds, and so many may wait for that at once; the
#: others are put off.  The right one never waits: wrong ones cannot lock its holder out.
PENANCE, MOST_PENITENTS = 1.0, 4

_ASSETS = {
    "style.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_HEADERS = [(name.encode(), value.encode()) for name, value in {
    # Trusted types: no text ever becomes markup or code.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}.items()]  # fmt: skip
_ACTIONS = ("start", "stop", "restart", "set-limit")


def make_app(feed: "Feed", guard: "Guard") -> "ASGIApp":
    """The whole application, its guard in front of it."""
    site = _Site(feed, guard)
    routes = [
        Route("/", site.page),
        Route("/login", site.login),
        Route("/live", site.live),
        Route("/token", site.token, methods=["POST"]),
        Route("/do/{action}", site.do, methods=["POST"]),
        *(Route(f"/{name}", _asset(name, kind)) for name, kind in _ASSETS.items()),
    ]
    return _Gate(Starlette(routes=routes), guard)


class _Gate:
    """Turns away what comes from elsewhere, and gives every answer its headers."""

    def __init__(self, app: "ASGIApp", guard: "Guard") -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def send_guarded(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        app = self._refuse(Request(scope)) or self._app
        try:
            await app(scope, receive, send_guarded)
        except ClientDisconnect:
            pass

    def _refuse(self, request: Request) -> "Response | None":
        headers, guard = request.headers, self._guard
        if len(headers.getlist("host")) != 1 or not guard.host_is_ours(headers.get("host")):
            return PlainTextResponse("climits: the Host header names another host\n", 421)
        if not guard.origin_is_ours(headers):
            # A link to the page is fine, wherever it stands.
            linked = request.method == "GET" and headers.get("sec-fetch-mode") == "navigate"
            if not linked or "origin" in headers:
                return PlainTextResponse("climits: the request comes from another site\n", 403)
        return None


class _Site:
    """What there is to get and to do."""

    def __init__(self, feed: "Feed", guard: "Guard") -> None:
        self._feed, self._guard = feed, guard
        self._penitents = 0

    async def _knows(self, request: Request, *, basic: bool = False) -> "bool | Response":
        """Whether it has the token: an answer where it has tried another."""
        known = self._guard.knows_token(request.headers.get("authorization"), basic=basic)
        if known is not False:
            request.state.holder = bool(known)  # its connection is kept
            return bool(known)
        if self._penitents >= MOST_PENITENTS:
            text = "too many wrong tokens at the moment: try again in some seconds"
            return _refusal(429, text, headers={"retry-after": "5"})
        self._penitents += 1
        try:
            async with asyncio.timeout(PENANCE):
                await self._feed.ended.wait()  # the end waits for nobody
        except TimeoutError:
            pass
        finally:
            self._penitents -= 1
        return _refusal(401, "this is not the token", hint=_TOKEN_HINT)

    # -- reading -----------------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        """The page."""
        known = await self._knows(request, basic=True)
        if isinstance(known, Response):
            return known
        if not (known or self._guard.open):
            return HTMLResponse(locked())
        return await self._full(private=known)

    async def _full(self, *, private: bool) -> Response:
        try:
            await self._feed.refresh()
        except ClimitsError as e:
            return PlainTextResponse(f"climits: {e}\n", 503)
        events = [event(record, private=private) for record in self._feed.records]
        return HTMLResponse(page(self._feed.rows.values(), events))

    async def login(self, request: Request) -> Response:
        """The page too, for those without JavaScript: here the browser asks for the token."""
        known = await self._knows(request, basic=True)
        if known is True:
            return await self._full(private=True)
        basic = {"www-authenticate": 'Basic realm="climits: the token as password"'}
        if isinstance(known, Response) and known.status_code != 401:
            return known
        return PlainTextResponse("climits: the token is needed\n", 401, headers=basic)

    async def live(self, request: Request) -> "Response | _Stream":
        """Changes as they come, as server-sent events."""
        known = await self._knows(request, basic=True)
        if isinstance(known, Response):
            return known
        if not (known or self._guard.open):
            return _refusal(401, "the token is needed", hint=_TOKEN_HINT)
        seats = MOST_VIEWERS if known else MOST_VIEWERS - HOLDERS_SEATS
        if len(self._feed.viewers) >= seats:
            hint = "close one" if known else "close one, or unlock actions: holders have their own"
            return _refusal(503, f"{seats} pages are open already", hint=hint)
        return _Stream(self._feed, Viewer(private=known))

    # -- acting ------------------------------------------------------------------------------

    async def token(self, request: Request) -> Response:
        """Whether a token is the right one."""
        known = await self._knows(request)
        if known is True:
            return JSONResponse({"ok": True})
        return known or _refusal(401, "the token is needed", hint=_TOKEN_HINT)

    async def do(self, request: Request) -> Response:
        """Start, stop, restart a program or set its limit."""
        known = await self._knows(request)
        if known is not True:
            return known or _refusal(401, "the token is needed", hint=_TOKEN_HINT)
        action = request.path_params["action"]
        if action not in _ACTIONS:
            return _refusal(404, f"no such action: {action}", hint=f"one of {', '.join(_ACTIONS)}")
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return _refusal(415, "not JSON")
        try:
            async with asyncio.timeout(BODY_IN):
                fields = json.loads(await _body(request))
            program, memory = fields["program"], fields.get("memory")
            if not isinstance(program, str) or not isinstance(memory, str | None):
                raise TypeError
        except TimeoutError:
            return _refusal(408, "the request took too long")
        except OverflowError:
            return _refusal(413, f"a request of more than {MOST_BODY} bytes")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return _refusal(400, "not a request", hint='send {"program": NAME}')
        try:
            done = await self._feed.perform(action, program, memory)
        except ClimitsError as e:
            return _refusal(409, str(e), hint=e.hint)
        return JSONResponse({"ok": True, "text": done})


_TOKEN_HINT = "it is printed when climits supervise starts"


def _refusal(
    status: int, error: str, *, hint: "str | None" = None, headers: "dict[str, str] | None" = None
) -> Response:
    return JSONResponse({"ok": False, "error": error, "hint": hint}, status, headers=headers)


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY:
            raise OverflowError
    return body


def _asset(name: str, kind: str) -> "Any":
    async def asset(_request: Request) -> Response:
        return Response(_read_asset(name), media_type=kind)

    return asset


def _read_asset(name: str) -> bytes:
    with open(f"{os.path.dirname(__file__)}/assets/{name}", "rb") as file:
        return file.read()


class _Stream:
    """Server-sent events to one viewer.

    It waits while the viewer does not read; the connection is cut when that takes too long.
    """

    def __init__(self, feed: "Feed", viewer: Viewer) -> None:
        self._feed, self._viewer = feed, viewer

    async def __call__(self, _scope: "Scope", receive: "Receive", send: "Send") -> None:
        feed, viewer = self._feed, self._viewer
        await send({
            "type": "http.response.start", "status": 200,
            "headers": [(b"content-type", b"text/event-stream")],
        })  # fmt: skip
        gone = asyncio.create_task(_gone(receive))
        ended = asyncio.create_task(feed.ended.wait())
        feed.join(viewer)
        try:
            while not gone.done():
                ready = asyncio.create_task(viewer.ready.wait())
                await asyncio.wait(
                    {gone, ended, ready}, timeout=BEAT, return_when=asyncio.FIRST_COMPLETED
                )
                ready.cancel()
                text = ": still here\n\n"
                if last := ended.done():
                    text = "event: end\ndata: {}\n\n"
                elif viewer.ready.is_set():
                    kind, data = viewer.take(feed)
                    text = f"event: {kind}\ndata: {json.dumps(data)}\n\n"
                await send({
                    "type": "http.response.body", "body": text.encode(), "more_body": not last,
                })  # fmt: skip
                if last:
                    break
        finally:
            feed.leave(viewer)
            gone.cancel()
            ended.cancel()


async def _gone(receive: "Receive") -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
