"""Server: the review page on 127.0.0.1, for whoever has the link and nobody else."""

from __future__ import annotations

import hmac
import json
import secrets
import socket
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from anonymizer.core.errors import InputError
from anonymizer.review.desk import Desk

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["make_app", "serve"]

HOST = "127.0.0.1"
#: Largest decision in bytes: a polygon of a thousand points takes a tenth of it.
MOST = 1 << 18
#: Bytes of chance in the link.
TOKEN_BYTES = 24
#: Seconds that answers under way have when the server ends.
END_S = 1
STATIC = {"index.html": "text/html", "review.css": "text/css", "icon.svg": "image/svg+xml"}
STATIC |= dict.fromkeys(("app.js", "dom.js", "grid.js", "marks.js", "picture.js", "stage.js"), "text/javascript")
#: The page asks nobody but this server, runs no script but its own, and nothing of it stays in the browser's cache.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def serve(desk: Desk, *, port: int = 0, on_start: Callable[[str], None]) -> None:
    """Show the review page until the process is interrupted.

    Args:
        desk: The pictures and decisions.
        port: Port on 127.0.0.1; a free one if 0.
        on_start: Called with the link when it can be opened.

    Raises:
        InputError: The extra ``review`` is not installed, or the port is taken.
        KeyboardInterrupt: The user ended it.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise InputError(
            "review: expected starlette and uvicorn, they are not installed; pip install 'anonymizer[review]'"
        ) from error
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise InputError(f"--port {port}: {error.strerror}; choose another, or none for a free one") from error
        token, own = secrets.token_urlsafe(TOKEN_BYTES), listener.getsockname()[1]
        app = make_app(desk, token, own)
        # No access log: its lines would hold the token.
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, lifespan="off",
            timeout_graceful_shutdown=END_S,
        )  # fmt: skip
        listener.listen()
        on_start(f"http://{HOST}:{own}/{token}/")
        uvicorn.Server(config).run(sockets=[listener])


def make_app(desk: Desk, token: str, port: int) -> ASGIApp:
    """Return the application; it answers only what names its host and begins with its token."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    routes = [
        Route("/", partial(_static, name="index.html")),
        *(Route(f"/{name}", partial(_static, name=name)) for name in STATIC),
        Route("/api/overview", _answer(lambda request: desk.overview())),
        Route("/api/version", _answer(lambda request: {"version": desk.refresh()})),
        Route("/api/picture", _answer(lambda request: desk.picture(_name(request)))),
        Route("/api/decisions", partial(_decide, desk=desk), methods=["POST"]),
        Route("/thumbnail", _jpeg(lambda request: desk.thumbnail(_name(request)))),
        Route("/result", _jpeg(lambda request: desk.result(_name(request), "full" in request.query_params))),
        Route("/original", _jpeg(lambda request: desk.original(_name(request), "full" in request.query_params))),
    ]
    return _Gate(Starlette(routes=routes), token, port)


class _Gate:
    """Lets through what comes from the page itself: right host, right token, and for decisions the right origin.

    The host is checked because a name that leads to 127.0.0.1 would let a foreign page in through the browser.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app = app
        self._token = token
        self._hosts = {f"{name}:{port}" for name in (HOST, "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import Headers, MutableHeaders
        from starlette.responses import PlainTextResponse

        if scope["type"] != "http":
            return  # Websockets are none of the page's; without an answer they are closed.
        headers = Headers(scope=scope)
        first, _, rest = scope["path"].removeprefix("/").partition("/")
        origin = headers.get("origin")
        allowed = (
            headers.get("host") in self._hosts
            and hmac.compare_digest(first.encode(), self._token.encode())
            and (origin is None or urlsplit(origin).netloc in self._hosts)
        )

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if not allowed:
            refusal = PlainTextResponse("Open the link that anonymizer review printed.\n", 403)
            await refusal(scope, receive, guarded)
            return
        await self._app({**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode()}, receive, guarded)


async def _static(request: Request, name: str) -> Response:
    from starlette.responses import Response

    content = files("anonymizer.review").joinpath("static", name).read_bytes()
    return Response(content, media_type=STATIC[name])


async def _decide(request: Request, desk: Desk) -> Response:
    from starlette.concurrency import run_in_threadpool

    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MOST:
            return _refusal(InputError(f"review: a decision of more than {MOST} bytes"))
    try:
        asked = json.loads(content) if request.headers.get("content-type") == "application/json" else None
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        return _refusal(InputError("review: expected a decision as a JSON object"))
    return await run_in_threadpool(_told, lambda: desk.decide(asked))


def _name(request: Request) -> str:
    return request.query_params.get("name", "")


def _answer(call: Callable[[Request], Any]) -> Callable[[Request], Response]:
    return lambda request: _told(lambda: call(request))


def _told(call: Callable[[], Any]) -> Response:
    from starlette.responses import Response

    try:
        return Response(json.dumps(call()), media_type="application/json")
    except InputError as error:
        return _refusal(error)


def _jpeg(call: Callable[[Request], bytes]) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        from starlette.responses import Response

        try:
            return Response(call(request), media_type="image/jpeg")
        except InputError as error:
            return _refusal(error)

    return answer


def _refusal(error: InputError) -> Response:
    from starlette.responses import Response

    return Response(json.dumps({"error": str(error)}), 409, media_type="application/json")
