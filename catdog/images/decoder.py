"""Decodes an image file, or its bytes, to pixels: training, evaluation, prediction and the web page all call `decode`.

Whatever the file holds:
- The pixels are those that an image viewer shows: upright (Exif orientation), in sRGB (embedded colour profile), over
  white where it is transparent, the first frame where there are several. The content decides the format, not the name.
  16 bits are scaled to 8. Grey levels without a depth of their own (32-bit integers, floats) run from black to white
  over the narrowest of 0..1 (floats only), 0..255 and 0..65535 that holds them all, else from the least to the
  greatest; NaN is black.
- A file that cannot be decoded, or is cut off, raises `ImageError`. No warning is printed; no pipe or device is opened.
- One call takes less than 1 GiB: MAX_MEMORY at most for the file and its pixels, beside them the strips in which
  colours are converted. A picture that would need more is refused by its header, before it is decoded.
"""

import os
import stat
import struct
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any, BinaryIO

import numpy as np
import simplejpeg
from PIL import Image

from catdog.errors import ImageError
from catdog.images.colour import STRIP_PIXELS, fix_metadata, strips, to_rgb
from catdog.images.formats import (
    FORMATS,
    BoundedStream,
    Jpeg,
    detect_format,
    exif_orientation,
    parse_jpeg,
    parse_png,
)
from catdog.images.limits import MAX_BYTES, check_icon, check_memory, check_size, check_tiff, jpeg_bytes_per_pixel

RESIZE_FILTER = "bilinear"  # Pillow's: a triangle as wide as the reduction asks, so that nothing aliases

# Pillow's warnings about odd metadata are not for the user. Appended: a filter that the program sets comes first.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.\w+ImagePlugin", append=True)


def decode(source: str | os.PathLike[str] | bytes | BinaryIO, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode a path, a file's bytes or a file object to pixels: uint8, H x W x 3, RGB, contiguous and writable.

    size: (height, width) to which the upright image is resized, each side on its own, with RESIZE_FILTER; a large
    JPEG is then decoded at a half, a quarter or an eighth, not below that size. None: not resized.
    Raises ImageError, which names the path. Threads may call it at the same time.
    """
    return decode_and_measure(source, size)[0]


def decode_and_measure(
    source: str | os.PathLike[str] | bytes | BinaryIO, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode as `decode` does; return the pixels, and (height, width) of the upright image before it was resized."""
    if size is not None and min(size) < 1:
        raise ValueError(f"size must be (height, width), both at least 1, not {size}")
    try:
        return _decode(_read(source), size)
    except ImageError as error:
        reason = str(error)
    except Exception as error:
        reason = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    # Raised here: an exception that a caller keeps must not keep the frames above, and their pixels, alive.
    raise ImageError(f"{os.fsdecode(source)}: {reason}" if isinstance(source, str | os.PathLike) else reason)


def _read(source: str | os.PathLike[str] | bytes | BinaryIO) -> bytes:
    too_large = ImageError(f"larger than {MAX_BYTES >> 20} MiB: save it smaller, as JPEG or PNG")
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        try:
            status = os.stat(source)
        except FileNotFoundError:
            raise ImageError("a link to nothing" if os.path.islink(source) else "no such file") from None
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device might never end
            raise ImageError("a folder, not a picture" if stat.S_ISDIR(status.st_mode) else "not an ordinary file")
        if status.st_size > MAX_BYTES:
            raise too_large
        with open(source, "rb", buffering=0) as file:  # the fewer system calls, the less threads wait for each other
            data = file.read(status.st_size)
    else:
        if source.seekable():
            source.seek(0)
        chunks = bytearray()
        while len(chunks) <= MAX_BYTES and (chunk := source.read(2**20)):
            chunks += chunk
        data = bytes(chunks)
    if len(data) > MAX_BYTES:
        raise too_large
    return data


def _decode(data: bytes, size: tuple[int, int] | None) -> tuple[np.ndarray, tuple[int, int]]:
    kind = detect_format(data)
    try:
        exif = profile = b""
        if kind == "JPEG":
            jpeg = parse_jpeg(data)
            done = _decode_with_turbo(jpeg, size)
            if done is not None:
                return done
            data, exif, profile, _ = jpeg
        elif kind == "PNG":
            data, exif, profile = parse_png(data)
        elif kind == "TIFF":
            check_tiff(data)
        elif kind == "ICO":
            check_icon(data)
        elif kind == "JPEG 2000" and data.find(b"\xff\xd9", data.find(b"\xff\x4f\xff\x51")) < 0:
            raise ImageError("a JPEG 2000 that is cut off: copy or download it again")
        stream = BoundedStream(data)
        image = _open(kind, stream)
        check_memory(kind, image, len(data))
        exif = exif or image.info.get("exif") or b""
        orientation = 1 if kind == "TIFF" else exif_orientation(exif)  # Pillow turns a TIFF
        full_size = (image.height, image.width)
        divisor = _jpeg_divisor(full_size, orientation, size) if kind == "JPEG" else 1
        if divisor > 1:
            image.draft(None, (image.width // divisor, image.height // divisor))
        fix_metadata(kind, image, data)
        image.load()
        if stream.exhausted and kind != "JPEG 2000":  # whose decoder reads beyond the end of a whole file
            raise EOFError
        picture = to_rgb(kind, image, profile or image.info.get("icc_profile") or b"")
        del image
        return _finish(picture, full_size, divisor, orientation, size)
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"too large a {kind} picture: save it smaller, as JPEG or PNG") from None
    except Exception as error:
        detail = f" ({str(error)[:100]})" if isinstance(error, OSError | SyntaxError | ValueError) else ""
        mend = "copy or download it again, or save it as JPEG or PNG"
        raise ImageError(f"a damaged, cut-off or unusual {kind} picture{detail}: {mend}") from error


def _decode_with_turbo(jpeg: Jpeg, size: tuple[int, int] | None) -> tuple[np.ndarray, tuple[int, int]] | None:
    """Decode an 8-bit JPEG of 1 or 3 components with libjpeg-turbo (simplejpeg): the same pixels as Pillow's, faster.

    None for any other JPEG, and where libjpeg-turbo reports an error or a warning: then Pillow decodes it.
    """
    if len(jpeg.frame) < 10 or jpeg.frame[1] not in (0xC0, 0xC1, 0xC2) or jpeg.frame[4] != 8:  # bits a sample
        return None
    *full_size, components = struct.unpack_from(">HHB", jpeg.frame, 5)
    if min(full_size) < 1 or components not in (1, 3) or len(jpeg.frame) < 10 + 3 * components:
        return None
    samples = [(byte >> 4) * (byte & 15) for byte in jpeg.frame[11 : 11 + 3 * components : 3]]
    check_size("JPEG", full_size[1], full_size[0], jpeg_bytes_per_pixel(samples), len(jpeg.data))
    orientation = exif_orientation(jpeg.exif)
    divisor = _jpeg_divisor(full_size, orientation, size)
    least = [-(-side // divisor) if divisor > 1 else 0 for side in full_size]
    try:
        pixels = simplejpeg.decode_jpeg(
            jpeg.data, "GRAY" if components == 1 else "RGBX", min_height=least[0], min_width=least[1]
        )
    except (ValueError, RuntimeError):
        return None
    mode = "L" if components == 1 else "RGBX"
    image = Image.frombuffer(mode, (pixels.shape[1], pixels.shape[0]), pixels, "raw", mode, 0, 1)
    del pixels
    picture = to_rgb("JPEG", image, jpeg.profile)
    del image
    return _finish(picture, full_size, divisor, orientation, size)


def _jpeg_divisor(full_size: Sequence[int], orientation: int, size: tuple[int, int] | None) -> int:
    """Divisor (8, 4, 2 or 1) by which a JPEG of (height, width) `full_size` may be reduced while it is decoded."""
    if size is None or min(full_size) < 8:
        return 1
    height, width = size if orientation < 5 else size[::-1]
    room = min(full_size[0] / height, full_size[1] / width)
    return 8 if room >= 8 else 4 if room >= 4 else 2 if room >= 2 else 1


def _finish(
    picture: Any, full_size: Sequence[int], divisor: int, orientation: int, size: tuple[int, int] | None
) -> tuple[np.ndarray, tuple[int, int]]:
    """Resize `picture` and turn it upright; return its pixels, and (height, width) `full_size` upright.

    `picture` was decoded at 1 / `divisor` of `full_size`.
    """
    if size is not None:
        target = (size[1], size[0]) if orientation < 5 else size
        # Beyond these edges lie pixels that rounding up has added.
        edges = (0, 0, full_size[1] / divisor, full_size[0] / divisor)
        picture = picture.resize(target, Image.Resampling.BILINEAR, edges)
    height, width = full_size if orientation < 5 else full_size[::-1]
    return _upright(picture, orientation), (height, width)


def _open(kind: str, stream: BoundedStream) -> Any:
    """Open with Pillow's class for the format, and not Image.open: no other plug-in is imported or tried."""
    try:
        module = import_module(FORMATS[kind].module)
    except ImportError:
        module = None
    if module is None or not getattr(module, "SUPPORTED", True):
        raise ImageError(f"a {kind} picture, which needs a plug-in: pip install pillow-heif, or a newer pillow")
    return getattr(module, FORMATS[kind].opener)(stream)


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
