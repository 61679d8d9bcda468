"""Who may ask, and how much: Host, Origin, token, limits of size, time and number, and the headers of all responses.

Against pages of other sites that the same browser shows: Host must be a name of this machine (DNS rebinding), Origin,
where there is one, the same (forged requests), and a token, if there is one, is in a header or a SameSite cookie.
"""

import asyncio
import hmac
import re
from collections.abc import MutableMapping
from ipaddress import ip_address
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from catdog.server.requests import RequestError, refusal

REQUESTS = 128  # answered at the same time, streams of events among them
BODY_BYTES = 65 * 2**20  # of a request
BODIES_BYTES = 512 * 2**20  # of all requests that are being answered
PATIENCE = 30.0  # seconds for a whole body to arrive
SESSION = "/api/session"  # takes the token and gives the cookie
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def is_local(host: str) -> bool:
    """Whether a server that is bound to `host` is reached from this machine alone."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """The application behind all that is checked and bounded.

    token: what all requests to /api/ must bring; None: nothing, but Host must be a name of this machine.
    """

    def __init__(self, app: ASGIApp, token: str | None = None) -> None:
        self.app = app
        self.token = token
        self._answering = 0
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the lifespan; websockets are off
            await self.app(scope, receive, send)
            return
        app: ASGIApp = self.app
        guarded = _Exchange(self, receive, send)
        if self._answering >= REQUESTS:
            app = refusal(_busy())
        elif (refused := self._why_not(scope)) is not None:
            app = refusal(refused)
        elif scope["path"] == SESSION and self.token is not None:
            app = Response(status_code=204, headers={"set-cookie": self._cookie(scope)})
        self._answering += 1
        try:
            await app(scope, guarded.receive, guarded.send)
        finally:
            self._answering -= 1
            self._bytes -= guarded.bytes

    def count(self, size: int) -> None:
        """Note that so much of a body has come. Raises RequestError where there is too much of all."""
        self._bytes += size
        if self._bytes > BODIES_BYTES:
            raise _busy()

    def _why_not(self, scope: Scope) -> RequestError | None:
        """What is wrong with a request, as far as its head tells."""
        head = HTTPConnection(scope)
        host, origin = head.headers.get("host", ""), head.headers.get("origin")
        is_api = scope["path"].startswith("/api/")
        if len(head.headers.getlist("host")) != 1 or (self.token is None and _name(host) not in _LOCAL):
            return RequestError(403, "open the page at the address that catdog serve has printed.")
        is_foreign = is_api and head.headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if is_foreign or origin not in (None, f"http://{host}", f"https://{host}"):
            return RequestError(403, "the page of another site may not ask this server.")
        if int(head.headers.get("content-length") or 0) > BODY_BYTES:
            return RequestError(413, f"the request holds more than {BODY_BYTES >> 20} MiB; send less at a time.")
        if self.token is not None and is_api and not self._is_known(head, self.token):
            return RequestError(401, "give the token that catdog serve has printed: Authorization: Bearer TOKEN.")
        return None

    def _is_known(self, head: HTTPConnection, token: str) -> bool:
        """Whether a request brings the token: in a header, or, but for a new session, in the cookie."""
        given = head.headers.get("authorization", "").removeprefix("Bearer ")
        if not given and head.scope["path"] != SESSION:
            given = head.cookies.get(_cookie_name(head.scope), "")
        return hmac.compare_digest(given.encode(), token.encode())

    def _cookie(self, scope: Scope) -> str:
        return f"{_cookie_name(scope)}={self.token}; Path=/; HttpOnly; SameSite=Strict"


class _Exchange:
    """The two ends of a request: a body that is too large or too slow is refused; the response has our headers."""

    def __init__(self, guard: Guard, receive: Receive, send: Send) -> None:
        self._guard, self._receive, self._send = guard, receive, send
        self.bytes, self._whole = 0, False
        self._until = asyncio.get_running_loop().time() + PATIENCE

    async def receive(self) -> Message:
        if self._whole:  # the rest is the wait for a disconnect
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise RequestError(
                408, f"the request took longer than {PATIENCE:g} seconds to arrive; send it again."
            ) from None
        size = len(message.get("body", b""))
        self.bytes += size
        self._guard.count(size)
        self._whole = not message.get("more_body", False)
        if self.bytes > BODY_BYTES:
            raise RequestError(413, f"the request holds more than {BODY_BYTES >> 20} MiB; send less at a time.")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await self._send(message)


def _busy() -> RequestError:
    return RequestError(503, "the server has too much to answer; ask again in a moment.")


def _name(host: str) -> str:
    """A Host header without its port."""
    return re.sub(r":\d*$", "", host).lower()


def _cookie_name(scope: MutableMapping[str, Any]) -> str:
    """Cookies are shared by all ports of a host, so the name holds the port."""
    return f"catdog-{(scope.get('server') or ('', 0))[1]}"
