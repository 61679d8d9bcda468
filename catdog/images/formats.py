"""Detects the format of an image file; parses JPEG segments and the Exif orientation."""

import contextlib
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from catdog.errors import ImageError

MAX_PROFILE = 4 * 2**20  # bytes of an ICC profile
MAX_PARTS = 100_000  # chunks of a PNG, segments of a JPEG
_MAX_SCANS = 32  # of a progressive JPEG, which has about ten; each costs a pass over all pixels


class Format(NamedTuple):
    """An image format: its signature, Pillow's class for it, and the memory that decoding takes."""

    signature: bytes  # a regular expression
    module: str
    opener: str  # name of the image class in the module
    per_pixel: int = 8  # bytes of memory, at most, for each pixel while it is decoded and converted
    per_byte: int = 1  # and for each byte of the file


# Raster formats whose decoding can be bounded: no PostScript, no PDF, no PNM in plain text.
FORMATS = {
    "JPEG": Format(rb"\xff\xd8\xff", "PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": Format(rb"\x89PNG\r\n\x1a\n", "PIL.PngImagePlugin", "PngImageFile"),
    "GIF": Format(rb"GIF8[79]a", "PIL.GifImagePlugin", "GifImageFile"),
    "WebP": Format(rb"RIFF....WEBP", "PIL.WebPImagePlugin", "WebPImageFile", 20, 3),
    "TIFF": Format(rb"II[*+]\0|MM\0[*+]", "PIL.TiffImagePlugin", "TiffImageFile", 14),
    "BMP": Format(rb"BM", "PIL.BmpImagePlugin", "BmpImageFile", 12),
    "PNM": Format(rb"P[456f]\s", "PIL.PpmImagePlugin", "PpmImageFile"),
    "JPEG 2000": Format(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile", 32, 18),
    "AVIF": Format(rb"....ftyp(?:.{4})*?avi[fs]", "PIL.AvifImagePlugin", "AvifImageFile", 24, 40),
    "HEIC": Format(rb"....ftyp(?:he[iv].|m[is]f1)", "pillow_heif", "HeifImageFile", 32, 40),
    "ICO": Format(rb"\0\0\x01\0", "PIL.IcoImagePlugin", "IcoImageFile"),
    "DIB": Format(rb"[(48@l|]\0\0\0", "PIL.BmpImagePlugin", "DibImageFile", 12),
    "PCX": Format(rb"\n[\0\x02\x03\x05]\x01", "PIL.PcxImagePlugin", "PcxImageFile"),
    "TGA": Format(rb".[\0\x01][\x01-\x03\x09-\x0b].{13}[\x01\x08\x10\x18\x20]", "PIL.TgaImagePlugin", "TgaImageFile"),
}


def detect_format(data: bytes) -> str:
    """Return the key in FORMATS whose signature `data` begins with. Raises ImageError where there is none."""
    head = data[:512]
    for kind, format in FORMATS.items():
        if re.match(format.signature, head, re.DOTALL):
            return kind
    if not data.strip(b"\0"):
        raise ImageError(f"{'nothing but zeros' if data else 'the file is empty'}: copy or download it again")
    if re.match(rb"[\xef\xbb\xbf\s]*<[!?a-z]", head, re.IGNORECASE):
        raise ImageError("a web page or another text with tags, not a photo: download the photo itself")
    if not re.search(rb"[\0-\x08\x0e-\x1f]", head):
        raise ImageError("text, not a photo: download the photo itself")
    raise ImageError(f"not a picture in a known format ({', '.join(FORMATS)}): convert it to JPEG or PNG")


_SEGMENT = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")  # a marker; not stuffing, not a restart


class Jpeg(NamedTuple):
    """A parsed JPEG: its data up to the end marker without the metadata before the first scan, and parts of that."""

    data: bytes
    exif: bytes
    profile: bytes  # ICC
    frame: bytes  # the first frame's header, from its marker on


def parse_jpeg(data: bytes) -> Jpeg:
    """Parse the segments of a JPEG. Raises ImageError where it is cut off or has too many segments or scans."""
    kept: list[bytes | memoryview] = [data[:2]]
    profile: list[bytes] = []
    exif, frame, first_scan, scans, at = b"", b"", 0, 0, 2
    for _ in range(MAX_PARTS):
        match = _SEGMENT.search(data, at)
        if match is None:
            raise ImageError("a JPEG that is cut off: copy or download it again")
        start, code = match.start(), match[1][0]
        if code == 0xD9:  # end of image
            kept.append(memoryview(data)[first_scan or start : start + 2])
            return Jpeg(b"".join(kept), exif, b"".join(part[2:] for part in sorted(profile)), frame)
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
            elif code in (0xE0, 0xEE) or code < 0xE0:  # JFIF and Adobe define how the colours are stored
                kept.append(segment)
                if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
                    frame = frame or segment
    raise ImageError("a JPEG of too many parts: save it again, as JPEG or PNG")


def tiff_entries(tiff: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield (tag, type, count, value if it is one integer, else 0) of the first directory of TIFF or Exif data.

    Raises struct.error where the data are cut off.
    """
    order, big = "<" if tiff[:2] == b"II" else ">", 43 in tiff[2:4]
    at = struct.unpack_from(order + ("Q" if big else "L"), tiff, 8 if big else 4)[0]
    directory_size = struct.unpack_from(order + ("Q" if big else "H"), tiff, at)[0]
    at += 8 if big else 2
    for _ in range(min(directory_size, 65_535)):
        tag, kind, count = struct.unpack_from(order + ("HHQ" if big else "HHL"), tiff, at)
        one = {1: "B", 3: "H", 4: "L"}.get(kind) if count == 1 else None
        yield tag, kind, count, struct.unpack_from(order + one, tiff, at + (12 if big else 8))[0] if one else 0
        at += 20 if big else 12


def exif_orientation(exif: bytes) -> int:
    """Return the orientation (tag 0x0112), 1 to 8, of Exif data; 1, upright, where it is missing or invalid."""
    with contextlib.suppress(struct.error, OverflowError):  # broken Exif
        for tag, _, _, value in tiff_entries(exif.removeprefix(b"Exif\0\0")):
            if tag == 0x0112 and 1 <= value <= 8:
                return value
    return 1
