"""The one function that turns a file, or bytes, into pixels: training, prediction and the web page all call it.

What it promises, whatever the file holds:
- A picture comes back as a viewer shows it: the right way up (Exif), in sRGB (embedded colour profile), over white
  where it is transparent, the first frame where there are several. The content decides the format, not the name.
  16 bits are scaled to 8. Grey levels without a depth of their own (32-bit integers, floats) run from black to white
  over the narrowest of 0..1 (floats only), 0..255 and 0..65535 that holds them all, else from the least to the
  greatest; what is not a number is black.
- Anything else raises `ImageError`, a cut-off file too. No warning is printed; no pipe or device is opened.
- One call takes less than 1 GiB: MAX_MEMORY at most for the file and its pixels, beside them the strips in which
  colours are converted. A picture that would need more is refused by its header, before it is decoded.
"""

import os
import stat
import struct
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import simplejpeg
from PIL import Image

from catdog.errors import ImageError
from catdog.images.formats import (
    FORMATS,
    Jpeg,
    Stream,
    bare_jpeg,
    bare_png,
    check_icon,
    check_tiff,
    format_of,
    orientation,
)

if TYPE_CHECKING:
    pass
from catdog.images.colour import _STRIP, _correct, _rgb, _strips
from catdog.images.limits import MAX_BYTES, _check_memory, _check_size, _jpeg_memory

RESIZE_FILTER = "bilinear"  # Pillow's: a triangle as wide as the reduction asks, so that nothing aliases

# Pillow's remarks about odd metadata are not for the user. Appended: a filter that the program sets comes first.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.\w+ImagePlugin", append=True)


def decode(source: str | os.PathLike[str] | bytes | BinaryIO, size: tuple[int, int] | None = None) -> np.ndarray:
    """The pixels of a path, of a file's bytes or of a file object: uint8, H x W x 3, RGB, contiguous and writable.

    size: (height, width) to which the upright picture is squashed, each side on its own, with RESIZE_FILTER; a large
    JPEG is then decoded at a half, a quarter or an eighth, not below that size. None: as large as it is.
    Raises ImageError, which names the path. Threads may call it at the same time.
    """
    return decode_and_measure(source, size)[0]


def decode_and_measure(
    source: str | os.PathLike[str] | bytes | BinaryIO, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """The pixels that `decode` gives, and (height, width) of the upright picture before it was squashed to `size`."""
    if size is not None and min(size) < 1:
        raise ValueError(f"size must be (height, width), both at least 1, not {size}")
    try:
        return _decode(_read(source), size)
    except ImageError as error:
        reason = str(error)
    except Exception as error:
        reason = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    # Raised out here: an error that someone keeps must not keep the frames above, and their pixels, alive.
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
    kind = format_of(data)
    try:
        exif = profile = b""
        if kind == "JPEG":
            jpeg = bare_jpeg(data)
            done = _turbo(jpeg, size)
            if done is not None:
                return done
            data, exif, profile, _ = jpeg
        elif kind == "PNG":
            data, exif, profile = bare_png(data)
        elif kind == "TIFF":
            check_tiff(data)
        elif kind == "ICO":
            check_icon(data)
        elif kind == "JPEG 2000" and data.find(b"\xff\xd9", data.find(b"\xff\x4f\xff\x51")) < 0:
            raise ImageError("a JPEG 2000 that is cut off: copy or download it again")
        stream = Stream(data)
        image = _open(kind, stream)
        _check_memory(kind, image, len(data))
        turn = 1 if kind == "TIFF" else orientation(exif or image.info.get("exif") or b"")  # Pillow turns a TIFF
        whole = (image.height, image.width)
        part = _part(whole, turn, size) if kind == "JPEG" else 1
        if part > 1:
            image.draft(None, (image.width // part, image.height // part))
        _correct(kind, image, data)
        image.load()
        if stream.exhausted and kind != "JPEG 2000":  # whose decoder looks beyond the end of a whole file
            raise EOFError
        picture = _rgb(kind, image, profile or image.info.get("icc_profile") or b"")
        del image
        return _finish(picture, whole, part, turn, size)
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"too large a {kind} picture: save it smaller, as JPEG or PNG") from None
    except Exception as error:
        detail = f" ({str(error)[:100]})" if isinstance(error, OSError | SyntaxError | ValueError) else ""
        mend = "copy or download it again, or save it as JPEG or PNG"
        raise ImageError(f"a damaged, cut-off or unusual {kind} picture{detail}: {mend}") from error


def _turbo(jpeg: Jpeg, size: tuple[int, int] | None) -> tuple[np.ndarray, tuple[int, int]] | None:
    """An ordinary JPEG by libjpeg-turbo's own interface: the pixels that Pillow would give, sooner.

    None where it is not an ordinary one, or anything in it is odd: then Pillow is to judge.
    """
    if len(jpeg.frame) < 10 or jpeg.frame[1] not in (0xC0, 0xC1, 0xC2) or jpeg.frame[4] != 8:  # bits a sample
        return None
    *whole, components = struct.unpack_from(">HHB", jpeg.frame, 5)
    if min(whole) < 1 or components not in (1, 3) or len(jpeg.frame) < 10 + 3 * components:
        return None
    samples = [(byte >> 4) * (byte & 15) for byte in jpeg.frame[11 : 11 + 3 * components : 3]]
    _check_size("JPEG", whole[1], whole[0], _jpeg_memory(samples), len(jpeg.data))
    turn = orientation(jpeg.exif)
    part = _part(whole, turn, size)
    least = [-(-side // part) if part > 1 else 0 for side in whole]
    try:
        pixels = simplejpeg.decode_jpeg(
            jpeg.data, "GRAY" if components == 1 else "RGBX", min_height=least[0], min_width=least[1]
        )
    except (ValueError, RuntimeError):
        return None
    mode = "L" if components == 1 else "RGBX"
    image = Image.frombuffer(mode, (pixels.shape[1], pixels.shape[0]), pixels, "raw", mode, 0, 1)
    del pixels
    picture = _rgb("JPEG", image, jpeg.profile)
    del image
    return _finish(picture, whole, part, turn, size)


def _part(whole: Sequence[int], turn: int, size: tuple[int, int] | None) -> int:
    """8, 4, 2 or 1: by how much a JPEG of (height, width) `whole` may be reduced while it is decoded."""
    if size is None or min(whole) < 8:
        return 1
    height, width = size if turn < 5 else size[::-1]
    room = min(whole[0] / height, whole[1] / width)
    return 8 if room >= 8 else 4 if room >= 4 else 2 if room >= 2 else 1


def _finish(
    picture: Any, whole: Sequence[int], part: int, turn: int, size: tuple[int, int] | None
) -> tuple[np.ndarray, tuple[int, int]]:
    """The upright pixels of `picture`, which is a `part`th of (height, width) `whole`; and `whole`, upright."""
    if size is not None:
        target = (size[1], size[0]) if turn < 5 else size
        edges = (0, 0, whole[1] / part, whole[0] / part)  # beyond them lies what rounding up has added
        picture = picture.resize(target, Image.Resampling.BILINEAR, edges)
    height, width = whole if turn < 5 else whole[::-1]
    return _upright(picture, turn), (height, width)


def _open(kind: str, stream: "Stream") -> Any:
    """Pillow's own class for the format: it imports no other, makes no guess, and says what is wrong."""
    try:
        module = import_module(FORMATS[kind].module)
    except ImportError:
        module = None
    if module is None or not getattr(module, "SUPPORTED", True):
        raise ImageError(f"a {kind} picture, which needs a plug-in: pip install pillow-heif, or a newer pillow")
    return getattr(module, FORMATS[kind].opener)(stream)


def _upright(picture: Any, turn: int) -> np.ndarray:
    """The pixels of an RGB or RGBX image, its orientation `turn` undone (Exif tag 0x0112: the first row and column)."""
    if turn == 1 and picture.width * picture.height <= _STRIP:
        return np.frombuffer(bytearray(picture.tobytes("raw", "RGB")), np.uint8).reshape(*picture.size[::-1], 3)
    pixels = np.empty((*(picture.size if turn >= 5 else picture.size[::-1]), 3), np.uint8)
    stored = pixels.swapaxes(0, 1) if turn >= 5 else pixels  # the same memory, as the file has it
    if turn in (2, 3, 7, 8):
        stored = stored[:, ::-1]
    if turn in (3, 4, 6, 7):
        stored = stored[::-1]
    for box in _strips(picture):
        strip = picture if box == (0, 0, *picture.size) else picture.crop(box)
        stored[box[1] : box[3]] = np.asarray(strip)[..., :3]
    return pixels
