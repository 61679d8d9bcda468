"""Limits the size of an image: bytes of the file, pixels, and the memory that decoding takes."""

from catdog.errors import ImageError
from catdog.images.formats import FORMATS

MAX_BYTES = 256 * 2**20  # of the file
MAX_PIXELS = 110_000_000
MAX_SIDE = 65_535
MAX_MEMORY = 880 * 2**20  # bytes of the file and its pixels while it is decoded


def check_bytes(count: int) -> None:
    """Raise ImageError for a file of more than MAX_BYTES."""
    if count > MAX_BYTES:
        raise ImageError(f"larger than {MAX_BYTES >> 20} MiB: save it smaller, as JPEG or PNG")


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
