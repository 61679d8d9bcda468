"""The one function that turns a file, or bytes, into pixels: training, prediction and the web page all call it."""

import io
import os
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from catdog.errors import ImageError

RESIZE_FILTER = "bilinear"


def decode(
    source: str | os.PathLike[str] | bytes | BinaryIO, size: tuple[int, int] | None = None
) -> np.ndarray:
    """-> uint8, H x W x 3, RGB; with `size` = (height, width), squashed to that size."""
    try:
        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(stream) as image:
            if size is not None:
                image.draft("RGB", (2 * size[1], 2 * size[0]))
            picture = ImageOps.exif_transpose(image).convert("RGB")
            if size is not None:
                picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR, reducing_gap=2.0)
            return np.array(picture)
    except Exception as error:
        name = f"{os.fspath(source)}: " if isinstance(source, (str, os.PathLike)) else ""
        raise ImageError(f"{name}not a readable image: {error}") from error
