"""Photos that were uploaded: kept in memory, the least recently used go first, and shown as JPEG whatever they were."""

import io
import secrets
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from catdog.architecture import Resize
from catdog.base.text import on_one_line
from catdog.checkpoint.model_card import ModelCard
from catdog.errors import ImageError
from catdog.server.requests import RequestError, body_of, json_of, text, whole
from catdog.server.responses import JSONResponse

if TYPE_CHECKING:
    from catdog.server.state import State

UPLOAD_BYTES = 64 * 2**20  # of all photos in a request
UPLOAD_PHOTOS = 64  # in a request
_KEPT_BYTES = 512 * 2**20
_KEPT_PHOTOS = 1000
_SHOWN = 1024  # pixels of the longer side, at most, of a photo that is sent to be looked at
_DRAWN = (384, 384)  # height and width of a drawing

# The decoder takes less than 1 GiB for a picture (catdog/images/decoder.py); two at a time keep two cores busy.
_decoding = threading.Semaphore(2)


@dataclass(frozen=True)
class Photo:
    """A file that was uploaded, its name, and (height, width) of the upright picture."""

    name: str
    data: bytes
    size: tuple[int, int]


class Photos:
    """Photos by id. An id cannot be guessed. Threads may use it at the same time."""

    def __init__(self, most_bytes: int = _KEPT_BYTES, most: int = _KEPT_PHOTOS) -> None:
        self._limits = most_bytes, most
        self._kept: OrderedDict[str, Photo] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, name: str, data: bytes) -> tuple[str, Photo]:
        """Keep a photo: its id, and what is kept. Raises ImageError for what cannot be decoded."""
        _, size = decode_bounded(data, (32, 32))
        photo = Photo(on_one_line(name)[:200] or "photo", data, size)
        key = secrets.token_urlsafe(12)
        with self._lock:
            self._kept[key] = photo
            while len(self._kept) > 1 and (
                len(self._kept) > self._limits[1] or sum(len(p.data) for p in self._kept.values()) > self._limits[0]
            ):
                self._kept.popitem(last=False)
        return key, photo

    def get(self, key: str) -> Photo:
        """The photo of an id. Raises RequestError where there is none."""
        with self._lock:
            if key not in self._kept:
                raise RequestError(404, "that photo is not here any more; upload it again.")
            self._kept.move_to_end(key)
            return self._kept[key]


def as_seen(data: bytes, card: ModelCard) -> np.ndarray:
    """A photo as the network of `card` sees it: uint8, H x W x 3. Raises ImageError."""
    return decode_bounded(data, card.architecture.image_size, card.resize)[0]


def decode_bounded(data: bytes, size: tuple[int, int], resize: Resize = "squash") -> tuple[np.ndarray, tuple[int, int]]:
    """`decode_and_measure`, for two at a time."""
    from catdog.images.decoder import decode_and_measure

    with _decoding:
        return decode_and_measure(data, size, resize)


def as_png(pixels: np.ndarray) -> bytes:
    """pixels: uint8, H x W x 3 -> a PNG."""
    return _encode(pixels, "PNG")


def _encode(pixels: np.ndarray, kind: str) -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(pixels).save(data, kind)
    return data.getvalue()


async def uploads_of(request: Request) -> list[tuple[str, bytes]]:
    """Name and bytes of each photo in a request: the files of a multipart form, or the body itself as one photo.

    Nothing is written to a disk: a form is held in memory whole.
    """
    kind, _ = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        data = await body_of(request, UPLOAD_BYTES)
        return [(request.query_params.get("name", "photo"), data)]
    parser = MultiPartParser(request.headers, _bounded(request), max_files=UPLOAD_PHOTOS, max_fields=UPLOAD_PHOTOS)
    parser.spool_max_size = UPLOAD_BYTES + 1
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RequestError(400, f"the form cannot be read: {error.message.rstrip('.')}; send it again.") from None
    found = []
    for part in form.multi_items():
        if isinstance(part[1], UploadFile):
            found.append((part[1].filename or "photo", await part[1].read()))
            await part[1].close()
    if not found:
        raise RequestError(400, "the form holds no photo; add one as a file.")
    return found


async def _bounded(request: Request) -> AsyncGenerator[bytes, None]:
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
        if count > UPLOAD_BYTES:
            raise RequestError(
                413, f"the request holds more than {UPLOAD_BYTES >> 20} MiB; send fewer photos at a time."
            )
        yield chunk


def routes(state: "State") -> list[Route]:
    async def upload(request: Request) -> Response:
        found = []
        for name, data in await uploads_of(request):
            try:
                key, photo = await state.compute(state.photos.add, name, data)
                found.append(_described(key, photo))
            except ImageError as error:
                found.append({"name": on_one_line(name)[:200], "error": str(error)})
        return JSONResponse({"photos": found}, 200 if any("id" in one for one in found) else 400)

    async def draw(request: Request) -> Response:
        from catdog.data.drawn import CLASSES

        wanted = await json_of(request)
        label, seed = text(wanted, "label", CLASSES[0]), whole(wanted, "seed", 0, 10**6, 0)
        if label not in CLASSES:
            raise RequestError(400, f'"label" must be one of {", ".join(CLASSES)}.')
        key, photo = await state.compute(_draw, state.photos, label, seed)
        return JSONResponse({"photos": [_described(key, photo)]})

    async def show(request: Request) -> Response:
        photo = state.photos.get(request.path_params["photo"])
        side = whole(request.query_params, "side", 16, _SHOWN, _SHOWN)
        scale = min(1.0, side / max(photo.size))
        height, width = (max(1, round(side * scale)) for side in photo.size)
        pixels, _ = await state.compute(decode_bounded, photo.data, (height, width))
        data = await state.compute(_encode, pixels, "JPEG")
        return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})

    async def seen(request: Request) -> Response:
        photo = state.photos.get(request.path_params["photo"])
        network = await state.compute(state.networks.get, request.query_params.get("run"))
        pixels = await state.compute(as_seen, photo.data, network.card)
        return Response(await state.compute(as_png, pixels), media_type="image/png")

    return [
        Route("/api/photos", upload, methods=["POST"]),
        Route("/api/photos/drawn", draw, methods=["POST"]),
        Route("/api/photos/{photo}", show, methods=["GET"]),
        Route("/api/photos/{photo}/seen", seen, methods=["GET"]),
    ]


def _described(key: str, photo: Photo) -> dict[str, object]:
    height, width = photo.size
    return {"id": key, "name": photo.name, "width": width, "height": height}


def _draw(photos: Photos, label: str, seed: int) -> tuple[str, Photo]:
    from catdog.data.drawn import draw

    data = io.BytesIO()
    draw(label, seed, _DRAWN).save(data, "JPEG", quality=95)
    return photos.add(f"{label}.jpg", data.getvalue())
