"""The one function that turns a file, or bytes, into pixels: training, prediction and the web page all call it.

What it promises, whatever the file holds:
- A picture comes back as a viewer shows it: the right way up (Exif), in sRGB (embedded colour profile), over white
  where it is transparent, the first frame where there are several, 16 bits scaled to 8. The content decides the
  format, not the name. Grey levels without a fixed depth (32-bit integers, floats) run from black to white over the
  narrowest of 0..1 (floats only), 0..255 and 0..65535 that holds them all, else over their own range.
- Anything else raises `ImageError`, a cut-off file too, and nothing is printed. Only ordinary files are opened.
- One call adds less than 1 GiB to the process: at most MAX_MEMORY for the file and its pixels while they are
  decoded, and the strips in which colours are converted. A picture that would need more is refused by its header.
"""

import io
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from catdog.errors import ImageError

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

RESIZE_FILTER = "bilinear"  # Pillow's: a triangle as wide as the reduction, so it does not alias
MAX_BYTES = 256 * 2**20
MAX_MEMORY = 880 * 2**20
MAX_PIXELS = 110_000_000
MAX_SIDE = 65_535
MAX_PROFILE = 4 * 2**20
_MAX_PARTS = 100_000  # chunks of a PNG, segments of a JPEG
_MAX_SCANS = 32  # a progressive JPEG has about ten; each costs a pass over all pixels
_MAX_READS = 2_000_000
_STRIP = 2**20  # pixels that are converted at a time

# Pillow's remarks about odd metadata are not for the user. Last in the list: any filter that the program set wins.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.\w+ImagePlugin", append=True)


class _Format(NamedTuple):
    signature: bytes  # a regular expression
    module: str
    opener: str
    per_pixel: int = 8  # bytes of memory at most while decoding and converting, for each pixel
    per_byte: int = 1  # and for each byte of the file


# Only rasters, only decoders that are bounded: no PostScript, no plain-text PNM.
_FORMATS = {
    "JPEG": _Format(rb"\xff\xd8\xff", "PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": _Format(rb"\x89PNG\r\n\x1a\n", "PIL.PngImagePlugin", "PngImageFile"),
    "GIF": _Format(rb"GIF8[79]a", "PIL.GifImagePlugin", "GifImageFile"),
    "WebP": _Format(rb"RIFF....WEBP", "PIL.WebPImagePlugin", "WebPImageFile", 20, 3),
    "TIFF": _Format(rb"II[*+]\0|MM\0[*+]", "PIL.TiffImagePlugin", "TiffImageFile", 14),
    "BMP": _Format(rb"BM", "PIL.BmpImagePlugin", "BmpImageFile", 12),
    "PNM": _Format(rb"P[456f]\s", "PIL.PpmImagePlugin", "PpmImageFile"),
    "JPEG 2000": _Format(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile", 32, 28),
    "AVIF": _Format(rb"....ftyp(?:.{4})*?avi[fs]", "PIL.AvifImagePlugin", "AvifImageFile", 32, 40),
    "HEIC": _Format(rb"....ftyp(?:he[iv].|m[is]f1)", "pillow_heif", "HeifImageFile", 32, 40),
    "icon": _Format(rb"\0\0\1\0", "PIL.IcoImagePlugin", "IcoImageFile"),
    "DIB": _Format(rb"[(48@l|]\0\0\0", "PIL.BmpImagePlugin", "DibImageFile", 12),
    "PCX": _Format(rb"\n[\0\2\3\5]\1", "PIL.PcxImagePlugin", "PcxImageFile"),
    "TGA": _Format(rb".[\0\1][\1-\3\x09-\x0b].{13}[\x08\x0f\x10\x18\x20]", "PIL.TgaImagePlugin", "TgaImageFile"),
}


def decode(
    source: str | os.PathLike[str] | bytes | BinaryIO, size: tuple[int, int] | None = None
) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """The pixels of a path, of a file's bytes or of a file object: uint8, H x W x 3, RGB, contiguous and writable.

    size: (height, width) to which the upright picture is squashed, each side on its own, with RESIZE_FILTER; a large
    JPEG is then decoded at a half, a quarter or an eighth, never below twice that size. None: as large as it is.
    Raises ImageError, which names the path. Threads may call it at the same time.
    """
    if size is not None and min(size) < 1:
        raise ValueError(f"size must be (height, width), both at least 1, not {size}")
    try:
        return _decode(_read(source), size)
    except ImageError as error:
        reason = str(error)
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    except Exception as error:
        reason = f"cannot be read ({error})"
    # Raised out here, so that an error that is kept keeps no frame, and no pixels, alive.
    raise ImageError(f"{os.fsdecode(source)}: {reason}" if isinstance(source, str | os.PathLike) else reason)


def _read(source: str | os.PathLike[str] | bytes | BinaryIO) -> bytes:
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
            raise ImageError(f"larger than {MAX_BYTES >> 20} MiB: save it smaller, as JPEG or PNG")
        with open(source, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    else:
        if source.seekable():
            source.seek(0)
        chunks = bytearray()
        while len(chunks) <= MAX_BYTES and (chunk := source.read(MAX_BYTES + 1 - len(chunks))):
            chunks += chunk
        data = bytes(chunks)
    if len(data) > MAX_BYTES:
        raise ImageError(f"larger than {MAX_BYTES >> 20} MiB: save it smaller, as JPEG or PNG")
    return data


def _decode(data: bytes, size: tuple[int, int] | None) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    kind = _kind(data)
    try:
        exif = profile = b""
        if kind == "JPEG":
            data, exif, profile = _bare_jpeg(data)
        elif kind == "PNG":
            data, exif, profile = _bare_png(data)
        elif kind == "TIFF":
            _check_tiff(data)
        elif kind == "icon":
            _check_icon(data)
        stream = _Stream(data)
        image = _open(kind, stream)
        _check_size(kind, image, len(data))
        turn = _orientation(exif or image.info.get("exif") or b"") if kind != "TIFF" else 1  # Pillow turns TIFF itself
        target = None if size is None else (size[1], size[0]) if turn < 5 else size
        if target is not None and kind == "JPEG":
            image.draft(None, (2 * target[0], 2 * target[1]))
        _correct(kind, image, data)
        image.load()
        if stream.exhausted:
            raise EOFError("it ends too early")
        picture = _rgb(image, profile or image.info.get("icc_profile") or b"")
        del image
        if target is not None:
            picture = picture.resize(target, Image.Resampling.BILINEAR, reducing_gap=3.0)
        return np.ascontiguousarray(_upright(_pixels(picture), turn))
    except ImageError:
        raise
    except Exception as error:
        detail = str(error) or type(error).__name__
        raise ImageError(f"a damaged or cut-off {kind} picture ({detail}): copy or download it again") from error


def _kind(data: bytes) -> str:
    head = data[:512]
    for kind, format in _FORMATS.items():
        if re.match(format.signature, head, re.DOTALL):
            return kind
    if not data:
        raise ImageError("the file is empty: copy or download it again")
    if re.match(rb"[\xef\xbb\xbf\s]*<(!doctype|html|head|body|\?xml|!--|svg)", head, re.IGNORECASE):
        raise ImageError("a web page or a drawing in XML, not a photo: download the photo itself")
    if not re.search(rb"[\0-\x08\x0e-\x1f\x80-\xff]", head):
        raise ImageError("text, not a picture: download the photo itself")
    if not data.strip(b"\0"):
        raise ImageError("nothing but zeros: copy or download it again")
    raise ImageError(f"not a picture, or not one of {', '.join(_FORMATS)}: convert it to JPEG or PNG")


def _open(kind: str, stream: "_Stream") -> Any:
    """Pillow's own class for one format: quick to import, no guessing, and it says what is wrong."""
    try:
        module = import_module(_FORMATS[kind].module)
    except ImportError:
        module = None
    if module is None or not getattr(module, "SUPPORTED", True):
        raise ImageError(f"a {kind} picture, for which a plug-in is missing: pip install pillow-heif, or a newer pillow")
    return getattr(module, _FORMATS[kind].opener)(stream)
