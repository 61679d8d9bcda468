"""Sizes and orientation: by how much a JPEG is reduced while it is decoded, resizing, and turning upright."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from catdog.architecture import Resize

RESIZE_FILTER = "bilinear"  # Pillow's: a triangle as wide as the reduction asks, so that nothing aliases
STRIP_PIXELS = 2**20  # converted at a time


def strips(image: Any) -> Iterator[tuple[int, int, int, int]]:
    """Yield the boxes (left, top, right, bottom) of full-width strips of at most STRIP_PIXELS, or of one row."""
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def jpeg_divisor(full_size: Sequence[int], orientation: int, size: tuple[int, int] | None, resize: Resize) -> int:
    """Divisor (8, 4, 2 or 1) by which a JPEG of (height, width) `full_size` may be reduced while it is decoded."""
    if size is None or min(full_size) < 8:
        return 1
    height, width = size if orientation < 5 else size[::-1]
    room = (max if resize == "pad" else min)(full_size[0] / height, full_size[1] / width)
    return 8 if room >= 8 else 4 if room >= 4 else 2 if room >= 2 else 1


def finish(
    picture: Any, full_size: Sequence[int], divisor: int, orientation: int, size: tuple[int, int] | None, resize: Resize
) -> tuple[np.ndarray, tuple[int, int]]:
    """Resize `picture` and turn it upright; return its pixels, and (height, width) `full_size` upright.

    `picture` was decoded at 1 / `divisor` of `full_size`.
    """
    if size is not None:
        target = (size[1], size[0]) if orientation < 5 else size
        box: Sequence[float] = (0, 0, full_size[1], full_size[0])  # beyond it lie pixels that rounding up has added
        if resize != "squash":
            from catdog.images import keep_shape  # which few networks need

            box, target = keep_shape.box_and_target(box[2:], target, resize)
        picture = picture.resize(target, Image.Resampling[RESIZE_FILTER.upper()], tuple(edge / divisor for edge in box))
    pixels = _upright(picture, orientation)
    if size is not None and resize == "pad":
        pixels = keep_shape.pad(pixels, size)
    height, width = full_size if orientation < 5 else full_size[::-1]
    return pixels, (height, width)


def _upright(picture: Any, orientation: int) -> np.ndarray:
    """Pixels (uint8, H x W x 3) of an RGB or RGBX image turned upright from its Exif `orientation`."""
    if orientation == 1 and picture.width * picture.height <= STRIP_PIXELS:
        return np.frombuffer(bytearray(picture.tobytes("raw", "RGB")), np.uint8).reshape(*picture.size[::-1], 3)
    pixels = np.empty((*(picture.size if orientation >= 5 else picture.size[::-1]), 3), np.uint8)
    stored = pixels.swapaxes(0, 1) if orientation >= 5 else pixels  # the same memory, in the order of the file
    if orientation in (2, 3, 7, 8):
        stored = stored[:, ::-1]
    if orientation in (3, 4, 6, 7):
        stored = stored[::-1]
    for box in strips(picture):
        strip = picture if box == (0, 0, *picture.size) else picture.crop(box)
        stored[box[1] : box[3]] = np.asarray(strip)[..., :3]
    return pixels
