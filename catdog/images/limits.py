"""How large a picture may be: its file, its sides, and the memory that decoding it takes."""

from typing import TYPE_CHECKING, Any

from PIL import Image

from catdog.errors import ImageError
from catdog.images.formats import (
    FORMATS,
    MAX_PIXELS,
)

if TYPE_CHECKING:
    pass

MAX_BYTES = 256 * 2**20


MAX_MEMORY = 880 * 2**20


MAX_SIDE = 65_535


def _check_memory(kind: str, image: Any, file_bytes: int) -> None:
    per_pixel = FORMATS[kind].per_pixel
    if kind == "JPEG":
        per_pixel = _jpeg_memory([down * across for _, down, across, _ in image.layer])
    elif image.tile and image.tile[0][0] in Image.DECODERS:  # a decoder written in Python
        per_pixel = 200
    _check_size(kind, image.width, image.height, per_pixel, file_bytes)


def _jpeg_memory(samples: list[int]) -> int:
    """Bytes for each pixel: where a JPEG has several scans, two for each coefficient are held, beside the pixels.

    samples: of each component, in a block of the picture.
    """
    return max(FORMATS["JPEG"].per_pixel, 4 + 2 * -(-sum(samples) // max(1, *samples)))


def _check_size(kind: str, width: int, height: int, per_pixel: int, file_bytes: int) -> None:
    memory = width * height * per_pixel + file_bytes * FORMATS[kind].per_byte
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS or memory > MAX_MEMORY:
        raise ImageError(f"too large, {width} x {height} pixels in a {kind}: save it smaller, as JPEG or PNG")
