"""Uvicorn's protocol for HTTP, with bounds: how many connections are open, and for how long without a request."""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 200  # more are answered 503 and closed; some systems let a process open 256 files
PATIENCE = 10.0  # seconds for the head of a request to arrive, and for a client to take what it is sent

_SENTENCE = b'{"error": "the server has too many connections; try again in a moment."}'
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_SENTENCE), _SENTENCE)
)


class BoundedProtocol(H11Protocol):
    """A connection. Uvicorn bounds the wait for the next request; this, that for its head, and for clients to read."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._clocks: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Else a response waits 40 ms; asyncio does it for sockets that were made with this protocol's number alone.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        if len(self.connections) > CONNECTIONS:
            transport.write(_FULL)
            transport.close()
        self._watch_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_for_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_for_head()

    def pause_writing(self) -> None:
        """The client takes nothing for now."""
        super().pause_writing()
        self._watch("taking", True)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._watch("taking", False)

    def connection_lost(self, exc: Exception | None) -> None:
        for name in tuple(self._clocks):
            self._watch(name, False)
        super().connection_lost(exc)

    def _watch_for_head(self) -> None:
        self._watch("head", self.cycle is None or self.cycle.response_complete)  # no request is being answered

    def _watch(self, name: str, runs: bool) -> None:
        """Start a clock that breaks the connection off, unless it runs already; or stop it."""
        if runs and name not in self._clocks:
            self._clocks[name] = self.loop.call_later(PATIENCE, self.transport.abort)
        elif not runs and name in self._clocks:
            self._clocks.pop(name).cancel()
