"""`catdog serve`: binds the address, prints it and answers until a signal comes."""

import asyncio
import secrets
import socket
import webbrowser
from pathlib import Path

import uvicorn

from catdog.errors import CatdogError
from catdog.runs.locate import find_model
from catdog.server.app import make_app
from catdog.server.connection import BoundedProtocol
from catdog.server.guard import Guard, is_local
from catdog.server.networks import Networks
from catdog.server.state import State

_ENDS_WITHIN = 2  # seconds, for the requests that are being answered


def serve(
    run: str | None, data: str | None, host: str, port: int, token: str | None, opens: bool, unfamiliar_below: float
) -> int:
    """Run `catdog serve`; returns the exit status. port: 0 takes a free one."""
    if data is not None and not Path(data).is_dir():
        raise CatdogError(f"there is no folder {data}; give --data the folder that holds folders of photos.")
    if token is None and not is_local(host):
        token = secrets.token_urlsafe(24)
    networks = Networks(Path("runs"), find_model(run))
    state = State(networks, data=Path(data).resolve() if data is not None else None, unfamiliar_below=unfamiliar_below)
    server = Server(state, host, port, token, opens)
    try:
        server.answer()
    finally:
        state.close()
    return 0


class Server(uvicorn.Server):
    """Uvicorn with the application, at `address`, which it prints as soon as it answers there."""

    def __init__(self, state: State, host: str, port: int, token: str | None = None, opens: bool = False) -> None:
        self._state = state
        self._listening = _bind(host, port)
        self.address = _address(host, self._listening.getsockname()[1], token)
        self._opens = opens
        super().__init__(
            uvicorn.Config(
                Guard(make_app(state), token),
                http=BoundedProtocol,
                ws="none",
                log_level="critical",  # what goes wrong is printed by the application,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=10,
                timeout_graceful_shutdown=_ENDS_WITHIN,
                h11_max_incomplete_event_size=2**15,
            )
        )

    def answer(self) -> None:
        """Answer requests until a signal comes, or `should_exit` is set."""
        self.run([self._listening])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.to_thread(self._state.close)  # first: then no stream of events is waited for
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(f"the page is at {self.address} (Ctrl-C ends it)", flush=True)
        if self._opens:
            webbrowser.open(self.address)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise CatdogError(
            f"cannot listen at {host} port {port}: {error.strerror}; give another --port or --host."
        ) from None


def _address(host: str, port: int, token: str | None) -> str:
    """The address to open; a token stands behind #, which browsers send to no server."""
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(
        host, f"[{host}]" if ":" in host else host
    )
    return f"http://{shown}:{port}/" + (f"#token={token}" if token else "")
