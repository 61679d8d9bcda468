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

import contextlib
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

RESIZE_FILTER = "bilinear"  # Pillow's: a triangle as wide as the reduction asks, so that nothing aliases
MAX_BYTES = 256 * 2**20
MAX_MEMORY = 880 * 2**20
MAX_PIXELS = 110_000_000
MAX_SIDE = 65_535
_MAX_PROFILE = 4 * 2**20
_MAX_PARTS = 100_000  # chunks of a PNG, segments of a JPEG
_MAX_SCANS = 32  # of a progressive JPEG, which has about ten; each costs a pass over all pixels
_MAX_READS = 1_000_000
_STRIP = 2**20  # pixels converted at a time

# Pillow's remarks about odd metadata are not for the user. Appended: a filter that the program sets comes first.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.\w+ImagePlugin", append=True)


class _Format(NamedTuple):
    signature: bytes  # a regular expression
    module: str
    opener: str
    per_pixel: int = 8  # bytes of memory, at most, for each pixel while it is decoded and converted
    per_byte: int = 1  # and for each byte of the file


# Rasters whose decoders can be bounded: no PostScript, no PDF, no PNM in plain text.
_FORMATS = {
    "JPEG": _Format(rb"\xff\xd8\xff", "PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": _Format(rb"\x89PNG\r\n\x1a\n", "PIL.PngImagePlugin", "PngImageFile"),
    "GIF": _Format(rb"GIF8[79]a", "PIL.GifImagePlugin", "GifImageFile"),
    "WebP": _Format(rb"RIFF....WEBP", "PIL.WebPImagePlugin", "WebPImageFile", 20, 3),
    "TIFF": _Format(rb"II[*+]\0|MM\0[*+]", "PIL.TiffImagePlugin", "TiffImageFile", 14),
    "BMP": _Format(rb"BM", "PIL.BmpImagePlugin", "BmpImageFile", 12),
    "PNM": _Format(rb"P[456f]\s", "PIL.PpmImagePlugin", "PpmImageFile"),
    "JPEG 2000": _Format(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile", 32, 18),
    "AVIF": _Format(rb"....ftyp(?:.{4})*?avi[fs]", "PIL.AvifImagePlugin", "AvifImageFile", 24, 40),
    "HEIC": _Format(rb"....ftyp(?:he[iv].|m[is]f1)", "pillow_heif", "HeifImageFile", 32, 40),
    "ICO": _Format(rb"\0\0\x01\0", "PIL.IcoImagePlugin", "IcoImageFile"),
    "DIB": _Format(rb"[(48@l|]\0\0\0", "PIL.BmpImagePlugin", "DibImageFile", 12),
    "PCX": _Format(rb"\n[\0\x02\x03\x05]\x01", "PIL.PcxImagePlugin", "PcxImageFile"),
    "TGA": _Format(rb".[\0\x01][\x01-\x03\x09-\x0b].{13}[\x01\x08\x10\x18\x20]", "PIL.TgaImagePlugin", "TgaImageFile"),
}


def decode(source: str | os.PathLike[str] | bytes | BinaryIO, size: tuple[int, int] | None = None) -> np.ndarray:
    """The pixels of a path, of a file's bytes or of a file object: uint8, H x W x 3, RGB, contiguous and writable.

    size: (height, width) to which the upright picture is squashed, each side on its own, with RESIZE_FILTER; a large
    JPEG is then decoded at a half, a quarter or an eighth, not below twice that size. None: as large as it is.
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
        with open(source, "rb") as file:
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
    kind = _kind(data)
    try:
        exif = profile = b""
        if kind == "JPEG":
            data, exif, profile = _bare_jpeg(data)
        elif kind == "PNG":
            data, exif, profile = _bare_png(data)
        elif kind == "TIFF":
            _check_tiff(data)
        elif kind == "ICO":
            _check_icon(data)
        elif kind == "JPEG 2000" and data.find(b"\xff\xd9", data.find(b"\xff\x4f\xff\x51")) < 0:
            raise ImageError("a JPEG 2000 that is cut off: copy or download it again")
        stream = _Stream(data)
        image = _open(kind, stream)
        _check_memory(kind, image, len(data))
        turn = 1 if kind == "TIFF" else _orientation(exif or image.info.get("exif") or b"")  # Pillow turns a TIFF
        target = None if size is None else (size[1], size[0]) if turn < 5 else size
        whole = (image.height, image.width) if turn < 5 else (image.width, image.height)
        if kind == "JPEG" and target is not None:
            image.draft(None, (2 * target[0], 2 * target[1]))
        _correct(kind, image, data)
        image.load()
        if stream.exhausted and kind != "JPEG 2000":  # whose decoder looks beyond the end of a whole file
            raise EOFError
        picture = _rgb(kind, image, profile or image.info.get("icc_profile") or b"")
        del image
        if target is not None:
            picture = picture.resize(target, Image.Resampling.BILINEAR)
        return _upright(picture, turn), whole
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"too large a {kind} picture: save it smaller, as JPEG or PNG") from None
    except Exception as error:
        detail = f" ({str(error)[:100]})" if isinstance(error, OSError | SyntaxError | ValueError) else ""
        mend = "copy or download it again, or save it as JPEG or PNG"
        raise ImageError(f"a damaged, cut-off or unusual {kind} picture{detail}: {mend}") from error


def _kind(data: bytes) -> str:
    head = data[:512]
    for kind, format in _FORMATS.items():
        if re.match(format.signature, head, re.DOTALL):
            return kind
    if not data.strip(b"\0"):
        raise ImageError(f"{'nothing but zeros' if data else 'the file is empty'}: copy or download it again")
    if re.match(rb"[\xef\xbb\xbf\s]*<[!?a-z]", head, re.IGNORECASE):
        raise ImageError("a web page or another text with tags, not a photo: download the photo itself")
    if not re.search(rb"[\0-\x08\x0e-\x1f]", head):
        raise ImageError("text, not a photo: download the photo itself")
    raise ImageError(f"not a picture in a known format ({', '.join(_FORMATS)}): convert it to JPEG or PNG")


def _open(kind: str, stream: "_Stream") -> Any:
    """Pillow's own class for the format: it imports no other, makes no guess, and says what is wrong."""
    try:
        module = import_module(_FORMATS[kind].module)
    except ImportError:
        module = None
    if module is None or not getattr(module, "SUPPORTED", True):
        raise ImageError(f"a {kind} picture, which needs a plug-in: pip install pillow-heif, or a newer pillow")
    return getattr(module, _FORMATS[kind].opener)(stream)


class _Stream(io.BytesIO):
    """A file in memory. It bounds the work of parsers written in Python: every read counts, and re-reading too."""

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


_SEGMENT = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")  # a marker; not stuffing, not a restart


def _bare_jpeg(data: bytes) -> tuple[bytes, bytes, bytes]:
    """-> (the JPEG up to its end marker, without the metadata before its first scan; Exif; colour profile)."""
    kept: list[bytes | memoryview] = [data[:2]]
    profile: list[bytes] = []
    exif, first_scan, scans, at = b"", 0, 0, 2
    for _ in range(_MAX_PARTS):
        match = _SEGMENT.search(data, at)
        if match is None:
            raise ImageError("a JPEG that is cut off: copy or download it again")
        start, code = match.start(), match[1][0]
        if code == 0xD9:  # end of image
            kept.append(memoryview(data)[first_scan or start : start + 2])
            return b"".join(kept), exif, b"".join(part[2:] for part in sorted(profile))
        at = start + 2 + (struct.unpack_from(">H", data, start + 2)[0] if code != 0xD8 else 0)
        if code == 0xDA:
            first_scan, scans = first_scan or start, scans + 1
            if scans > _MAX_SCANS:
                raise ImageError("a JPEG of too many scans: save it again, as JPEG or PNG")
        elif not first_scan:
            segment = data[start:at]
            if segment.startswith(b"Exif\0\0", 4):
                exif = exif or segment[4:]
            elif segment.startswith(b"ICC_PROFILE\0", 4):
                profile.append(segment[16:] if len(profile) < 64 else b"")
            elif code in (0xE0, 0xEE) or code < 0xE0:  # JFIF and Adobe tell how the colours are stored
                kept.append(segment)
    raise ImageError("a JPEG of too many parts: save it again, as JPEG or PNG")


def _bare_png(data: bytes) -> tuple[bytes, bytes, bytes]:
    """-> (the PNG's picture, which is the first frame of an animation, without the rest; Exif; colour profile)."""
    kept: list[bytes | memoryview] = [data[:8]]
    exif, profile, view, at = b"", b"", memoryview(data), 8
    for _ in range(_MAX_PARTS):
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
                profile = zlib.decompressobj().decompress(bytes(body).partition(b"\0")[2][1:], _MAX_PROFILE)
        at = end
    raise ImageError("a PNG of too many parts: save it again, as JPEG or PNG")


def _entries(tiff: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(tag, type, count, value where it is one integer, else 0) of the first directory of TIFF or Exif data."""
    order, big = "<" if tiff[:2] == b"II" else ">", 43 in tiff[2:4]
    at = struct.unpack_from(order + ("Q" if big else "L"), tiff, 8 if big else 4)[0]
    entries = struct.unpack_from(order + ("Q" if big else "H"), tiff, at)[0]
    at += 8 if big else 2
    for _ in range(min(entries, 65_535)):
        tag, kind, count = struct.unpack_from(order + ("HHQ" if big else "HHL"), tiff, at)
        one = {1: "B", 3: "H", 4: "L"}.get(kind) if count == 1 else None
        yield tag, kind, count, struct.unpack_from(order + one, tiff, at + (12 if big else 8))[0] if one else 0
        at += 20 if big else 12


def _orientation(exif: bytes) -> int:
    with contextlib.suppress(struct.error, OverflowError):  # broken Exif says nothing
        for tag, _, _, value in _entries(exif.removeprefix(b"Exif\0\0")):
            if tag == 0x0112 and 1 <= value <= 8:
                return value
    return 1


def _check_tiff(data: bytes) -> None:
    """Refuses a directory that would take far more memory than it has bytes."""
    tile = 1
    for number, (tag, kind, count, value) in enumerate(_entries(data)):
        if number > 1000 or (count > 500_000 and (kind not in (1, 2, 6, 7) or tag in (273, 324))):  # offsets of parts
            raise ImageError("a TIFF of too many parts: save it again, as JPEG or PNG")
        if tag in (322, 323):  # sides of a tile, which may be larger than the picture
            tile *= value
    if tile > MAX_PIXELS // 2:
        raise ImageError("a TIFF of too large tiles: save it again, as JPEG or PNG")


def _check_icon(data: bytes) -> None:
    """An icon holds PNG or BMP pictures, of 256 pixels a side at most; Pillow decodes them before it tells the size."""
    for entry in range(struct.unpack_from("<H", data, 4)[0]):
        start = struct.unpack_from("<L", data, 18 + 16 * entry)[0]
        layout, skip = (">LL", 16) if data[start : start + 4] == b"\x89PNG" else ("<LL", 4)
        if max(struct.unpack_from(layout, data, start + skip)) > 1024:
            raise ImageError("an icon of more than 1024 pixels a side: save it as PNG")


def _check_memory(kind: str, image: Any, file_bytes: int) -> None:
    width, height = image.size
    per_pixel = _FORMATS[kind].per_pixel
    if kind == "JPEG":  # where it has several scans, two bytes for each coefficient are held, beside the pixels
        samples = [down * across for _, down, across, _ in image.layer]
        per_pixel = max(per_pixel, 4 + 2 * -(-sum(samples) // max(samples)))
    elif image.tile and image.tile[0][0] in Image.DECODERS:  # a decoder written in Python
        per_pixel = 200
    memory = width * height * per_pixel + file_bytes * _FORMATS[kind].per_byte
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS or memory > MAX_MEMORY:
        raise ImageError(f"too large, {width} x {height} pixels in a {kind}: save it smaller, as JPEG or PNG")


def _correct(kind: str, image: Any, data: bytes) -> None:
    """Two things that Pillow takes otherwise than the file means them."""
    if kind == "PNG" and "transparency" in image.info:  # a transparent colour, in the depth of the file
        key, depth = image.info["transparency"], data[24]
        if isinstance(key, tuple) and depth == 16:
            image.info["transparency"] = tuple(level >> 8 for level in key)
        elif image.mode == "L" and depth < 8:
            image.info["transparency"] = key * 255 // (2**depth - 1)
    if kind == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:  # only Adobe stores inks inverted
        image.tile = [tile._replace(args=("CMYK", "")) for tile in image.tile]


def _rgb(kind: str, image: Any, profile: bytes) -> Any:
    """An image of any mode -> one of mode RGB, in strips, so that what is needed on the way stays small."""
    mode = {"P": "RGB", "PA": "RGB", "CMYK": "CMYK", "LAB": "LAB"}.get(image.mode) or Image.getmodebase(image.mode)
    usable = isinstance(profile, bytes) and 128 < len(profile) <= _MAX_PROFILE
    transform = _to_srgb(profile, mode) if usable else None
    transparent = image.has_transparency_data
    if image.mode == "RGB" and not transparent and transform is None:
        return image
    deep = image.mode.startswith(("I", "F"))
    levels = _levels(kind, image) if deep else (0, 255)
    picture = Image.new("RGB", image.size)
    for box in _strips(image):
        strip, alpha = image.crop(box), None
        if deep:
            values = np.asarray(strip)
            strip = _eight_bits(values, *levels)
            if transparent:
                alpha = Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8))
        elif transparent:
            strip = strip.convert({"La": "LA", "RGBa": "RGBA"}.get(strip.mode, strip.mode)).convert("RGBA")
            alpha = strip.getchannel("A")
        if transform is not None:
            from PIL import ImageCms

            strip = ImageCms.applyTransform(strip.convert(mode), transform)
        picture.paste(strip.convert("RGB"), box)
        if alpha is not None:
            picture.paste((255, 255, 255), box, alpha.point([255 - level for level in range(256)]))
    return picture


def _levels(kind: str, image: Any) -> tuple[float, float]:
    """The values that mean black and white in an image of more than 8 bits."""
    tags = image.tag_v2 if kind == "TIFF" else {}
    if image.mode.startswith("I;16") or (image.mode == "I" and kind in ("PNG", "PNM")):
        low, high = 0.0, 4095.0 if tags.get(258) == (12,) else 65535.0
    else:
        low, high = np.inf, -np.inf
        for box in _strips(image):
            values = np.asarray(image.crop(box))
            values = values[np.isfinite(values)].astype(np.float64)
            low, high = min(low, values.min(initial=np.inf)), max(high, values.max(initial=-np.inf))
        for white in (1, 255, 65535)[image.mode == "I" :]:
            if low >= 0 and high <= white:
                low, high = 0, white
                break
    return (high, low) if tags.get(262) == 0 else (low, high)  # 0: WhiteIsZero


def _eight_bits(values: np.ndarray, black: float, white: float) -> Image.Image:
    with np.errstate(all="ignore"):
        scaled = (values.astype(np.float64) - black) * (255 / ((white - black) or 1))
        return Image.fromarray(np.nan_to_num(scaled, nan=0).clip(0, 255).round().astype(np.uint8))


@lru_cache(maxsize=4)
def _to_srgb(profile: bytes, mode: str) -> "ImageCmsTransform | None":
    """None where there is nothing to do: the profile is sRGB, or broken, or one for other colours than the mode's."""
    from PIL import ImageCms

    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if re.match("sRGB( IEC|$)", opened.profile.profile_description or ""):
            return None
        return ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
    except Exception:
        return None


def _strips(image: Any) -> Iterator[tuple[int, int, int, int]]:
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def _upright(picture: Any, turn: int) -> np.ndarray:
    """The pixels of an RGB image, its orientation `turn` undone (Exif tag 0x0112: where first row and column are)."""
    pixels = np.empty((*(picture.size if turn >= 5 else picture.size[::-1]), 3), np.uint8)
    stored = pixels.swapaxes(0, 1) if turn >= 5 else pixels  # the same memory, as the file has it
    if turn in (2, 3, 7, 8):
        stored = stored[:, ::-1]
    if turn in (3, 4, 6, 7):
        stored = stored[::-1]
    for box in _strips(picture):
        stored[box[1] : box[3]] = np.asarray(picture.crop(box))
    return pixels
