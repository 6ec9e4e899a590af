"""Who may come in: basic auth where it is set, and of web pages only those of this address."""

import base64
import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "tapeline-login"
OPEN_PATHS = ("/api/health", "/metrics")
"""For health checks and Prometheus: numbers about the pipeline, no bars."""


class Guard:
    """An ASGI app in front of another one.

    A browser sends its password with pages, but not every browser does with a websocket: whoever has logged
    in gets a cookie for it, which is valid as long as this process runs.
    """

    def __init__(self, app: App, user: str = "", password: str = "") -> None:
        self._app = app
        self._login = base64.b64encode(f"{user}:{password}".encode()) if user else b""
        self._token = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer 401 or 403."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if not is_same_origin(headers):
            await _refuse(scope, receive, send, 403, b"this page is of another origin")
        elif not self._login or scope["path"] in OPEN_PATHS or self._has_cookie(headers):
            await self._app(scope, receive, send)
        elif self._is_login(headers):
            await self._app(scope, receive, self._with_cookie(send))
        else:
            await _refuse(scope, receive, send, 401, b"user and password, please")

    def _is_login(self, headers: dict[bytes, bytes]) -> bool:
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        return scheme.lower() == b"basic" and hmac.compare_digest(given.strip(), self._login)

    def _has_cookie(self, headers: dict[bytes, bytes]) -> bool:
        wanted = f"{COOKIE}={self._token}".encode()
        return any(
            hmac.compare_digest(part.strip(), wanted) for part in headers.get(b"cookie", b"").split(b";")
        )

    def _with_cookie(self, send: Send) -> Send:
        cookie = f"{COOKIE}={self._token}; Path=/; HttpOnly; SameSite=Strict".encode()

        async def send_with_cookie(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"set-cookie", cookie)]
            await send(message)

        return send_with_cookie


def is_same_origin(headers: dict[bytes, bytes]) -> bool:
    """Tell whether a browser's request comes from a page of the address it goes to; others send no origin."""
    origin = headers.get(b"origin")
    return origin is None or urlsplit(origin.decode("latin-1")).netloc == headers.get(b"host", b"").decode(
        "latin-1"
    )


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, text: bytes) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4000 + status, "reason": text.decode()})
        return
    headers = [(b"content-type", b"text/plain")]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="Tapeline", charset="UTF-8"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text + b"\n"})
