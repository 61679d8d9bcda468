"""The Starlette application: routes of all files of the room, the page's own files, and errors as sentences."""

import hashlib
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from catdog.drawing.colours import DARK, LIGHT
from catdog.errors import CatdogError
from catdog.server import answers, inside, live, photos, runs
from catdog.server.requests import refusal
from catdog.server.responses import JSONResponse
from catdog.server.state import State

STATIC = Path(__file__).parent / "static"
_KINDS = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


def make_app(state: State) -> Starlette:
    """The application, which `catdog.server.guard` guards."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        state.close()

    rooms = (photos, answers, inside, live, runs)
    app = Starlette(
        routes=[*_static_routes(), *(route for room in rooms for route in room.routes(state))],
        exception_handlers={CatdogError: _refuse, HTTPException: _not_found, Exception: _fail},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


def _static_routes() -> list[BaseRoute]:
    """A route for each file of the page: it is read now, and no path from a request ever opens a file."""
    files = sorted(path for path in STATIC.rglob("*") if path.is_file())
    routes = [Route("/" + path.relative_to(STATIC).as_posix(), _give(path)) for path in files]
    colours = [Route(f"/{path.name}", _give(path)) for path in (LIGHT, DARK)]
    return [Route("/", _give(STATIC / "index.html")), *colours, *routes]


def _give(path: Path) -> Callable[[Request], Awaitable[Response]]:
    """The handler that gives a file."""
    content = path.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    headers = {"etag": tag, "cache-control": "no-cache"}  # asked for anew each time, sent only where it has changed

    async def give(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=_KINDS[path.suffix], headers=headers)

    return give


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, CatdogError)
    return refusal(error)


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = f"there is nothing at this address for {request.method}; /openapi.json lists what there is."
    return JSONResponse({"error": sentence}, error.status_code, error.headers)


async def _fail(request: Request, error: Exception) -> Response:
    traceback.print_exception(error)  # a defect
    return JSONResponse({"error": "catdog could not do this; where catdog serve runs, it says why."}, 500)
