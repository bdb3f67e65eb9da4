"""The web server of a live session: three files and one WebSocket, and nothing else."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import resources
from urllib.parse import SplitResult, urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from worldmodel.errors import WorldModelError
from worldmodel.viewing.live.commands import read_command, read_message
from worldmodel.viewing.live.hub import Allowance, Hub, Viewer
from worldmodel.viewing.live.messages import message
from worldmodel.viewing.live.session import Session

PAGE = {
    "": ("index.html", "text/html; charset=utf-8"),
    **{name: (name, "text/javascript; charset=utf-8") for name in ("app.js", "charts.js", "steer.js", "paint.js")},
    "style.css": ("style.css", "text/css; charset=utf-8"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
BUSY = "Too many commands wait already, and this one was dropped: try again when the search is over, or stop it."

# Why a connection is closed; the page tells people.
WRONG_TOKEN, TOO_MANY_VIEWERS, TOO_MANY_MISTAKES, ENDED = 4401, 4429, 4400, 4410


class Live:
    """A session, its viewers and its token.

    Args:
        token: what a viewer must know; "" lets in everyone who reaches the server.
        local: take only requests that were made to this machine by its own names, so that no foreign page can reach
            the session under a name of its own.
    """

    def __init__(self, session: Session, hub: Hub, *, token: str, local: bool) -> None:
        self._session, self._hub, self._token, self._local = session, hub, token, local

    def app(self) -> ASGIApp:
        """Return the ASGI application."""
        files = [Route(f"/{path}", _File(*file)) for path, file in PAGE.items()]
        starlette = Starlette(routes=[*files, WebSocketRoute("/live", self._talk)], lifespan=self._lifespan)
        starlette.router.redirect_slashes = False
        return _OnlyLocal(starlette) if self._local else starlette

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._hub.bind(asyncio.get_running_loop())
        self._session.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self._session.stop)

    async def _talk(self, socket: WebSocket) -> None:
        """Serve one connection from its greeting to its end."""
        if not _same_origin(socket):
            await socket.close()
            return
        await socket.accept()
        if not await self._greeted(socket):
            await _close(socket, WRONG_TOKEN)
        elif self._hub.full:
            await _close(socket, TOO_MANY_VIEWERS)
        elif not self._session.running:
            await _close(socket, ENDED)
        else:
            await self._serve(socket)

    async def _greeted(self, socket: WebSocket) -> bool:
        """Return whether the first message says hello, with the token where there is one."""
        try:
            text = await asyncio.wait_for(socket.receive_text(), self._hub.config.greeting_seconds)
            kind, fields = read_message(text)
        except (WorldModelError, TimeoutError, WebSocketDisconnect, KeyError):
            return False
        given = fields.get("token", "")
        if kind != "hello" or not isinstance(given, str):
            return False
        # JSON may hold half a surrogate pair, which is no character.
        return not self._token or secrets.compare_digest(given.encode("utf-8", "surrogatepass"), self._token.encode())

    async def _serve(self, socket: WebSocket) -> None:
        viewer = self._hub.join()
        self._session.watch(len(self._hub))
        tasks = [asyncio.create_task(_tell(socket, viewer)), asyncio.create_task(self._listen(socket, viewer))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.leave(viewer)
            self._session.left(viewer.number)
            self._session.watch(len(self._hub))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await _close(socket, TOO_MANY_MISTAKES)  # where it is not closed yet

    async def _listen(self, socket: WebSocket, viewer: Viewer) -> None:
        """Take commands until the viewer leaves, or has made too many mistakes."""
        allowance, mistakes = Allowance(self._hub.config), 0
        while mistakes < self._hub.config.mistakes:
            try:
                text = await socket.receive_text()
            except (WebSocketDisconnect, RuntimeError):
                return
            except KeyError:  # bytes where text was expected
                mistakes += 1
                continue
            if not allowance.spend():
                mistakes += 1
                continue
            try:
                heeded = self._session.submit(viewer.number, read_command(text))
            except WorldModelError as error:
                mistakes += 1
                viewer.tell("note", message("note", text=str(error)))
            else:
                if not heeded:
                    viewer.tell("note", message("note", text=BUSY))


class _File:
    """Answer with one file of the page, read once."""

    def __init__(self, name: str, kind: str) -> None:
        self._content = (resources.files("worldmodel.viewing.live") / "page" / name).read_bytes()
        self._kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = self._content if Request(scope).method in ("GET", "HEAD") else b""
        await Response(body, media_type=self._kind, headers=HEADERS)(scope, receive, send)


class _OnlyLocal:
    """Refuse what was not asked of this machine by one of its own names: a foreign name may point here, too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            address = _address(f"//{host}")
            if address is None or address.hostname not in LOOPBACK:
                if scope["type"] == "http":
                    await Response("This page answers to localhost alone.", 403)(scope, receive, send)
                else:
                    await WebSocket(scope, receive, send).close()
                return
        await self._app(scope, receive, send)


def _same_origin(socket: WebSocket) -> bool:
    """Return whether a browser says that the connection comes from this server's own page, or is no browser."""
    origin = socket.headers.get("origin")
    if origin is None:
        return True
    address = _address(origin)
    return address is not None and address.netloc == socket.headers.get("host")


def _address(text: str) -> SplitResult | None:
    """Take an address apart; None where it is none, as with a bracket that is never closed."""
    try:
        return urlsplit(text)
    except ValueError:
        return None


async def _tell(socket: WebSocket, viewer: Viewer) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await socket.send_text(await viewer.next_message())


async def _close(socket: WebSocket, code: int) -> None:
    with suppress(RuntimeError, WebSocketDisconnect):
        await socket.close(code)
