"""Decodes by Pillow whatever is not an ordinary JPEG: other formats, and JPEGs that are odd."""

import contextlib
import ctypes
import io
import logging
import re
import struct
import zlib
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from catdog.architecture import Resize
from catdog.errors import ImageError
from catdog.images.colour import fix_metadata, to_rgb
from catdog.images.formats import FORMATS, MAX_PARTS, MAX_PROFILE, Jpeg, exif_orientation, tiff_entries
from catdog.images.geometry import finish, jpeg_divisor
from catdog.images.limits import MAX_PIXELS, check_size, jpeg_bytes_per_pixel

_MAX_READS = 1_000_000


def decode_with_pillow(
    kind: str, data: bytes, jpeg: Jpeg | None, size: tuple[int, int] | None, resize: Resize
) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode `data` of the format `kind`, parsed before if it is a `jpeg`, as `decode_and_measure` does.

    Raises ImageError, or whatever Pillow raises, where it cannot be decoded.
    """
    exif = profile = b""
    if jpeg is not None:
        data, exif, profile, _ = jpeg
    elif kind == "PNG":
        data, exif, profile = parse_png(data)
    elif kind == "TIFF":
        check_tiff(data)
        silence_tiff()
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
    divisor = jpeg_divisor(full_size, orientation, size, resize) if kind == "JPEG" else 1
    if divisor > 1:
        image.draft(None, (image.width // divisor, image.height // divisor))
    fix_metadata(kind, image, data)
    if kind == "TIFF":
        check_tiff_jpegs(image.tag_v2, data)
    image.load()
    if stream.exhausted and kind != "JPEG 2000":  # whose decoder reads beyond the end of a whole file
        raise EOFError
    picture = to_rgb(kind, image, profile or image.info.get("icc_profile") or b"")
    del image
    return finish(picture, full_size, divisor, orientation, size, resize)


class BoundedStream(io.BytesIO):
    """A file in memory that raises OSError after too many reads or bytes, to bound parsers written in Python."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads_left = _MAX_READS
        self.bytes_left = 4 * len(data) + 2**20
        self.exhausted = False  # which Pillow tolerates where the program set ImageFile.LOAD_TRUNCATED_IMAGES

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.reads_left -= 1
        self.bytes_left -= len(data)
        if not data and size is not None and size > 0:
            self.exhausted = True
        if self.reads_left < 0 or self.bytes_left < 0:
            raise OSError("it has too many parts")
        return data


def parse_png(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Parse a PNG to (its image chunks, which are the first frame of an animation; Exif; ICC profile).

    Raises ImageError where a checksum is wrong or there are too many chunks.
    """
    kept: list[bytes | memoryview] = [data[:8]]
    exif, profile, view, at = b"", b"", memoryview(data), 8
    for _ in range(MAX_PARTS):
        length, name = struct.unpack_from(">L4s", data, at)
        body, end = view[at + 8 : at + 8 + length], at + 12 + length
        if name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            if struct.unpack_from(">L", data, end - 4)[0] != zlib.crc32(body, zlib.crc32(name)):
                raise ImageError("a PNG that is damaged: copy or download it again")
            kept.append(view[at:end])
            if name == b"IEND":
                return b"".join(kept), exif, profile
        elif name == b"eXIf":
            exif = bytes(body)
        elif name == b"iCCP" and not profile:
            with contextlib.suppress(zlib.error):
                profile = zlib.decompressobj().decompress(bytes(body).partition(b"\0")[2][1:], MAX_PROFILE)
        at = end
    raise ImageError("a PNG of too many parts: save it again, as JPEG or PNG")


def check_memory(kind: str, image: Any, file_bytes: int) -> None:
    """Raise ImageError if the image, opened by Pillow but not loaded, is larger than the limits (limits.py)."""
    per_pixel = FORMATS[kind].per_pixel
    if kind == "JPEG":
        per_pixel = jpeg_bytes_per_pixel([down * across for _, down, across, _ in image.layer])
    elif image.tile and image.tile[0][0] in Image.DECODERS:  # a decoder written in Python
        per_pixel = 200
    check_size(kind, image.width, image.height, per_pixel, file_bytes)


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


def check_scan(data: bytes, warning: str) -> None:
    """Raise ImageError if libjpeg's `warning` says that compressed data of a JPEG are damaged: areas are wrong then.

    Zeros between the last of them and the end marker, with which some cameras fill up the file, are no damage.
    """
    filled = re.search(r"(\d+) extraneous bytes before marker 0xd9", warning)
    if filled and not data[-2 - int(filled[1]) : -2].strip(b"\0"):
        return
    if warning.startswith(("Corrupt JPEG data", "Inconsistent progression", "Premature end")):
        raise ImageError(
            f"a damaged JPEG, of which areas are wrong or missing ({warning[:100]}): copy or download it again, or, if "
            "it looks as it should, save it again"
        )


def check_tiff_jpegs(tags: Any, data: bytes) -> None:
    """Raise ImageError if a strip or tile of a TIFF, compressed as JPEG, is damaged: libtiff says nothing of most.

    https://www.awaresystems.be/imaging/tiff/specification/TIFFTechNote2.txt: each is a JPEG without its tables, which
    JPEGTables (347) holds. Of the old kind (compression 6), only strips that are JPEGs of their own are looked at.
    """
    if tags.get(259) not in (6, 7):
        return
    tables = tags.get(347, b"\xff\xd8\xff\xd9")[:-2]
    for at, length in zip(tags.get(273) or tags.get(324) or (), tags.get(279) or tags.get(325) or (), strict=False):
        part = data[at : at + length]
        if part[:2] == b"\xff\xd8":
            jpeg = tables + part[2:]
            try:
                simplejpeg.decode_jpeg(jpeg, "CMYK" if tags.get(277) == 4 else "GRAY", min_height=1, min_width=1)
            except (ValueError, RuntimeError) as error:
                check_scan(jpeg, str(error))


@cache
def silence_tiff() -> None:
    """Turn off what libtiff, and Pillow's log, print on standard error of a TIFF: Pillow raises what they are about.

    https://libtiff.gitlab.io/libtiff/functions/TIFFError.html; Pillow has no switch for it. Where Pillow holds libtiff
    under no name that can be found, as on Windows, its lines stay.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # without any handler, Python prints errors
    with contextlib.suppress(OSError, AttributeError):
        libtiff = ctypes.CDLL(Image.core.__file__)  # and the libraries that it needs, libtiff among them
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            set_handler = getattr(libtiff, name)
            set_handler.restype, set_handler.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
            set_handler(None)


def check_icon(data: bytes) -> None:
    """Raise ImageError for an icon (ICO) with an image of more than 1024 pixels a side; the format's own limit is 256.

    This is checked here because Pillow decodes the PNG or BMP images in it before it gives their size.
    """
    for entry in range(struct.unpack_from("<H", data, 4)[0]):
        start = struct.unpack_from("<L", data, 18 + 16 * entry)[0]
        layout, skip = (">LL", 16) if data[start : start + 4] == b"\x89PNG" else ("<LL", 4)
        if max(struct.unpack_from(layout, data, start + skip)) > 1024:
            raise ImageError("an icon of more than 1024 pixels a side: save it as PNG")


def _open(kind: str, stream: BoundedStream) -> Any:
    """Open with Pillow's class for the format, and not Image.open: no other plug-in is imported or tried."""
    try:
        module = import_module(FORMATS[kind].module)
    except ImportError:
        module = None
    if module is None or not getattr(module, "SUPPORTED", True):
        raise ImageError(f"a {kind} picture, which needs a plug-in: pip install pillow-heif, or a newer pillow")
    return getattr(module, FORMATS[kind].opener)(stream)
