"""Limits the size of an image: bytes of the file, pixels, and the memory that decoding takes."""

import struct
from typing import Any

from PIL import Image

from catdog.errors import ImageError
from catdog.images.formats import FORMATS, tiff_entries

MAX_BYTES = 256 * 2**20  # of the file
MAX_PIXELS = 110_000_000
MAX_SIDE = 65_535
MAX_MEMORY = 880 * 2**20  # bytes of the file and its pixels while it is decoded


def check_memory(kind: str, image: Any, file_bytes: int) -> None:
    """Raise ImageError if the image, opened by Pillow but not loaded, is larger than the limits above."""
    per_pixel = FORMATS[kind].per_pixel
    if kind == "JPEG":
        per_pixel = jpeg_bytes_per_pixel([down * across for _, down, across, _ in image.layer])
    elif image.tile and image.tile[0][0] in Image.DECODERS:  # a decoder written in Python
        per_pixel = 200
    check_size(kind, image.width, image.height, per_pixel, file_bytes)


def jpeg_bytes_per_pixel(samples: list[int]) -> int:
    """Memory for each pixel of a JPEG: with several scans, two bytes for each coefficient are held beside the pixels.

    samples: of each component, in an MCU (horizontal times vertical sampling factor).
    """
    return max(FORMATS["JPEG"].per_pixel, 4 + 2 * -(-sum(samples) // max(1, *samples)))


def check_size(kind: str, width: int, height: int, per_pixel: int, file_bytes: int) -> None:
    """Raise ImageError if an image of that size exceeds MAX_SIDE, MAX_PIXELS or, at `per_pixel` bytes, MAX_MEMORY."""
    memory = width * height * per_pixel + file_bytes * FORMATS[kind].per_byte
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS or memory > MAX_MEMORY:
        raise ImageError(f"too large, {width} x {height} pixels in a {kind}: save it smaller, as JPEG or PNG")


def check_tiff(data: bytes) -> None:
    """Raise ImageError for a TIFF of too large tiles, or whose directory takes far more memory than the file."""
    tile = 1
    for number, (tag, kind, count, value) in enumerate(tiff_entries(data)):
        if number > 1000 or (count > 500_000 and (kind not in (1, 2, 6, 7) or tag in (273, 324))):  # offsets of strips
            raise ImageError("a TIFF of too many parts: save it again, as JPEG or PNG")
        if tag in (322, 323):  # width and height of a tile, which may be larger than the image
            tile *= value
    if tile > MAX_PIXELS // 2:
        raise ImageError("a TIFF of too large tiles: save it again, as JPEG or PNG")


def check_icon(data: bytes) -> None:
    """Raise ImageError for an icon (ICO) with an image of more than 1024 pixels a side; the format's own limit is 256.

    This is checked here because Pillow decodes the PNG or BMP images in it before it gives their size.
    """
    for entry in range(struct.unpack_from("<H", data, 4)[0]):
        start = struct.unpack_from("<L", data, 18 + 16 * entry)[0]
        layout, skip = (">LL", 16) if data[start : start + 4] == b"\x89PNG" else ("<LL", 4)
        if max(struct.unpack_from(layout, data, start + skip)) > 1024:
            raise ImageError("an icon of more than 1024 pixels a side: save it as PNG")
