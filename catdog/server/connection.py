"""Uvicorn's protocol for HTTP, with bounds: how many connections are open, and for how long without a request."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 200  # more are answered 503 and closed; some systems let a process open 256 files
PATIENCE = 10.0  # seconds for the head of a request to arrive

_SENTENCE = b'{"error": "the server has too many connections; try again in a moment."}'
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_SENTENCE), _SENTENCE)
)


class BoundedProtocol(H11Protocol):
    """A connection. Uvicorn bounds the time between two requests; this bounds that of the head of each, too."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.write(_FULL)
            transport.close()
        else:
            self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait_for_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        """Start the clock where no request is being answered, unless it runs; else stop it."""
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self._waiting is None:
            self._waiting = self.loop.call_later(PATIENCE, self.transport.close)
        elif not is_idle and self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
