"""Decodes an image file, or its bytes, to pixels: training, evaluation and prediction all come through here.

Whatever the file holds:
- The pixels are those that an image viewer shows: upright (Exif orientation), in sRGB (embedded colour profile), over
  white where it is transparent, the first frame where there are several. The content decides the format, not the name.
  16 bits are scaled to 8. Grey levels without a depth of their own (32-bit integers, floats) run from black to white
  over the narrowest of 0..1 (floats only), 0..255 and 0..65535 that holds them all, else from the least to the
  greatest; NaN is black.
- A file that cannot be decoded, is cut off or found damaged raises `ImageError`. Nothing is printed; no pipe or device
  is opened.
- One call takes less than 1 GiB: MAX_MEMORY at most for the file and its pixels, beside them the strips in which
  colours are converted. A picture that would need more is refused by its header, before it is decoded.
"""

import os
import stat
import struct
import warnings
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from catdog.architecture import RESIZES, Resize
from catdog.errors import CatdogError, ImageError
from catdog.images.formats import Jpeg, detect_format, exif_orientation, parse_jpeg
from catdog.images.geometry import finish, jpeg_divisor
from catdog.images.limits import MAX_BYTES, check_bytes, check_size, jpeg_bytes_per_pixel

FileReport = tuple[dict[int, str], list[tuple[int, int]]]  # what `decode_files` returns

# Pillow's warnings about odd metadata are not for the user. Appended: a filter that the program sets comes first.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.\w+ImagePlugin", append=True)


def decode(
    source: str | os.PathLike[str] | bytes | BinaryIO, size: tuple[int, int] | None = None, resize: Resize = "squash"
) -> NDArray[np.uint8]:
    """Decode a path, a file's bytes or a file object to pixels: uint8, H x W x 3, RGB, contiguous and writable.

    size: (height, width) to which the upright image is resized, with RESIZE_FILTER; a large JPEG is then decoded at a
    half, a quarter or an eighth, not below that size. None: not resized.
    resize: "squash" resizes each side on its own; "crop" keeps as much around the centre as has the shape of `size`;
    "pad" keeps all, and draws out the edges of the shorter side.
    Raises ImageError, which names the path. Threads may call it at the same time.
    """
    return decode_and_measure(source, size, resize)[0]


def decode_and_measure(
    source: str | os.PathLike[str] | bytes | BinaryIO, size: tuple[int, int] | None = None, resize: Resize = "squash"
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Decode as `decode` does; return the pixels, and (height, width) of the upright image before it was resized."""
    if size is not None and (min(size) < 1 or resize not in RESIZES):
        raise ValueError(f"size, (height, width), must be at least 1, not {size}; resize in {RESIZES}, not {resize!r}")
    try:
        return _decode(_read(source), size, resize)
    except ImageError as error:
        reason = str(error)
    except CatdogError:  # of the store or the index that the photo is in, not of the photo
        raise
    except Exception as error:
        reason = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    # Raised here: an exception that a caller keeps must not keep the frames above, and their pixels, alive.
    raise ImageError(f"{os.fsdecode(source)}: {reason}" if isinstance(source, str | os.PathLike) else reason)


def decode_files(
    paths: Sequence[str], into: np.ndarray, resize: Resize, is_given_up: Callable[[], bool] = lambda: False
) -> FileReport:
    """Decode files into the rows of `into`: uint8, len(paths) x 3 x H x W; give up before a file when `is_given_up`.

    Returns row -> why that file cannot be read, and (height, width) of each image itself, (0, 0) where it cannot be.
    """
    reasons, sizes = {}, [(0, 0)] * len(paths)
    for row, path in enumerate(paths):
        if is_given_up():
            break
        try:
            pixels, sizes[row] = decode_and_measure(path, (into.shape[2], into.shape[3]), resize)
            into[row] = pixels.transpose(2, 0, 1)
        except ImageError as error:
            reasons[row] = str(error)
    return reasons, sizes


def _read(source: str | os.PathLike[str] | bytes | BinaryIO) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        try:
            status = os.stat(source)
        except FileNotFoundError:
            from catdog.images.packed_paths import find_photo  # which photos in folders do without

            if (packed := find_photo(source)) is not None:
                return packed.read()
            raise ImageError("a link to nothing" if os.path.islink(source) else "no such file") from None
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device might never end
            raise ImageError("a folder, not a picture" if stat.S_ISDIR(status.st_mode) else "not an ordinary file")
        check_bytes(status.st_size)
        with open(source, "rb", buffering=0) as file:  # the fewer system calls, the less threads wait for each other
            data = file.read(status.st_size)
    else:
        if source.seekable():
            source.seek(0)
        chunks = bytearray()
        while len(chunks) <= MAX_BYTES and (chunk := source.read(2**20)):
            chunks += chunk
        data = bytes(chunks)
    check_bytes(len(data))
    return data


def _decode(data: bytes, size: tuple[int, int] | None, resize: Resize) -> tuple[np.ndarray, tuple[int, int]]:
    kind = detect_format(data)
    try:
        jpeg = parse_jpeg(data) if kind == "JPEG" else None
        if jpeg is not None and (done := _decode_with_turbo(jpeg, size, resize)) is not None:
            return done
        from catdog.images.pillow import decode_with_pillow

        return decode_with_pillow(kind, data, jpeg, size, resize)
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"too large a {kind} picture: save it smaller, as JPEG or PNG") from None
    except Exception as error:
        detail = f" ({str(error)[:100]})" if isinstance(error, OSError | SyntaxError | ValueError) else ""
        mend = "copy or download it again, or save it as JPEG or PNG"
        raise ImageError(f"a damaged, cut-off or unusual {kind} picture{detail}: {mend}") from error


def _decode_with_turbo(
    jpeg: Jpeg, size: tuple[int, int] | None, resize: Resize
) -> tuple[np.ndarray, tuple[int, int]] | None:
    """Decode an 8-bit JPEG of 1 or 3 components with libjpeg-turbo (simplejpeg): the same pixels as Pillow's, faster.

    None for any other JPEG, and where libjpeg-turbo cannot decode it: then Pillow does. Raises ImageError where
    libjpeg-turbo warns of damage, of which Pillow says nothing.
    """
    if len(jpeg.frame) < 10 or jpeg.frame[1] not in (0xC0, 0xC1, 0xC2) or jpeg.frame[4] != 8:  # bits a sample
        return None
    *full_size, components = struct.unpack_from(">HHB", jpeg.frame, 5)
    if min(full_size) < 1 or components not in (1, 3, 4) or len(jpeg.frame) < 10 + 3 * components:
        return None
    samples = [(byte >> 4) * (byte & 15) for byte in jpeg.frame[11 : 11 + 3 * components : 3]]
    check_size("JPEG", full_size[1], full_size[0], jpeg_bytes_per_pixel(samples), len(jpeg.data))
    orientation = exif_orientation(jpeg.exif)
    divisor = jpeg_divisor(full_size, orientation, size, resize)
    least = [-(-side // divisor) if divisor > 1 else 0 for side in full_size]
    try:
        if components == 4:  # inks, which Pillow converts; decoded here, as small as can be, for its warnings
            simplejpeg.decode_jpeg(jpeg.data, "CMYK", min_height=1, min_width=1)
            return None
        pixels = simplejpeg.decode_jpeg(
            jpeg.data, "GRAY" if components == 1 else "RGBX", min_height=least[0], min_width=least[1]
        )
    except (ValueError, RuntimeError) as error:
        from catdog.images.pillow import check_scan  # which ordinary JPEGs do without

        check_scan(jpeg.data, str(error))
        return None
    mode = "L" if components == 1 else "RGBX"
    image = Image.frombuffer(mode, (pixels.shape[1], pixels.shape[0]), pixels, "raw", mode, 0, 1)
    del pixels
    picture: Any = image
    if mode == "L" or jpeg.profile:
        from catdog.images.colour import to_rgb

        picture = to_rgb("JPEG", image, jpeg.profile)
    del image
    return finish(picture, full_size, divisor, orientation, size, resize)
