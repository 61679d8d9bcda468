"""Files damaged in every way that a seeded generator thinks of: they give pixels, or ImageError, and nothing else."""

import contextlib
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from catdog.errors import ImageError
from catdog.images.decoder import decode

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning"),  # Pillow's, which pytest brings back
]

Y, X = np.mgrid[0:20, 0:30]
PHOTO = Image.fromarray(np.stack([X * 8, Y * 12, X * Y % 256], axis=-1).astype(np.uint8))
CLEAR = PHOTO.copy()
CLEAR.putalpha(Image.fromarray((X * 8).astype(np.uint8)))
DEEP = Image.fromarray((X * 2000 + Y).astype(np.uint16))
FLOATS = Image.fromarray((X / 7).astype(np.float32))


def encode(picture: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def exif() -> bytes:
    block = Image.Exif()
    block[0x0112], block[0x010E] = 6, "a description of some length"
    return block.tobytes()


FILES = {
    "jpeg": [
        encode(PHOTO, "JPEG", exif=exif()),
        encode(PHOTO, "JPEG", progressive=True),
        encode(PHOTO.convert("CMYK"), "JPEG"),
    ],
    "png": [
        encode(CLEAR, "PNG", exif=exif()),
        encode(DEEP, "PNG"),
        encode(PHOTO.convert("P"), "PNG", transparency=b"\0\x7f"),
    ],
    "apng": [encode(PHOTO, "PNG", save_all=True, append_images=[PHOTO.rotate(90), PHOTO.rotate(180)])],
    "gif": [
        encode(PHOTO.convert("P"), "GIF", save_all=True, append_images=[PHOTO.rotate(9).convert("P")], transparency=3)
    ],
    "webp": [encode(PHOTO, "WEBP", exif=exif()), encode(CLEAR, "WEBP", lossless=True)],
    "tiff": [encode(PHOTO, "TIFF", exif=exif()), encode(FLOATS, "TIFF"), encode(PHOTO, "TIFF", big_tiff=True)],
    "tiff-packed": [
        encode(PHOTO, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    ],
    "bmp": [encode(PHOTO, "BMP"), encode(PHOTO.convert("P"), "BMP"), encode(PHOTO, "DIB")],
    "pnm": [encode(PHOTO, "PPM"), encode(FLOATS, "PPM"), b"P5\n30 20\n999\n" + bytes(1200)],
    "jpeg2000": [encode(CLEAR, "JPEG2000"), encode(PHOTO, "JPEG2000", no_jp2=True)],
    "icon": [encode(CLEAR, "ICO", sizes=[(20, 20)]), encode(CLEAR, "ICO", sizes=[(20, 20)], bitmap_format="bmp")],
    "tga-pcx": [encode(CLEAR, "TGA", compression="tga_rle"), encode(PHOTO.convert("P"), "TGA"), encode(PHOTO, "PCX")],
}

# What upsets parsers: extremes of counts and offsets, and the names of parts.
TOKENS = [
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\0\0\0",
    b"\0\0\0\x80",
    b"\0\1",
]
TOKENS += [
    b"\xff\xd9",
    b"\xff\xda",
    b"\xff\xc2",
    b"\xff\xd8\xff",
    b"IDAT",
    b"tRNS",
    b"PLTE",
    b"fcTL",
    b"II*\0",
    b";",
    b",",
]

place = st.one_of(st.integers(0, 150), st.integers(0, 10_000))  # headers are short, and decide most
change = st.one_of(
    st.tuples(st.just("set"), place, st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from(TOKENS))),
    st.tuples(st.just("insert"), place, st.one_of(st.binary(min_size=1, max_size=9), st.sampled_from(TOKENS))),
    st.tuples(st.just("delete"), place, st.integers(1, 40)),
    st.tuples(st.just("repeat"), place, st.integers(1, 60)),
    st.tuples(st.just("cut"), place, st.none()),
)


def damage(data: bytes, changes: list[tuple[str, int, Any]]) -> bytes:
    for what, at, argument in changes:
        at %= len(data) + 1
        if what == "set":
            data = data[:at] + argument + data[at + len(argument) :]
        elif what == "insert":
            data = data[:at] + argument + data[at:]
        elif what == "delete":
            data = data[:at] + data[at + argument :]
        elif what == "repeat":
            data = data[: at + argument] + data[at:]
        else:
            data = data[:at]
    return data


def with_checksums(data: bytes) -> bytes:
    """A damaged PNG whose checksums are right, so that the damage reaches the decoder."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        end = at + 12 + struct.unpack_from(">L", data, at)[0]
        parts.append(data[at : end - 4] + struct.pack(">L", zlib.crc32(data[at + 4 : end - 4])))
        at = end
    return b"".join(parts)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_gives_pixels_or_an_image_error(name: str) -> None:
    outcomes = {"pixels": 0, "error": 0}

    @settings(max_examples=400, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(FILES[name]), st.lists(change, min_size=1, max_size=6), st.sampled_from([None, (8, 6)]))
    def check(data: bytes, changes: list[tuple[str, int, Any]], size: tuple[int, int] | None) -> None:
        damaged = damage(data, changes)
        if name in ("png", "apng"):
            damaged = with_checksums(damaged)
        try:
            pixels = decode(damaged, size)
        except ImageError as error:
            outcomes["error"] += 1
            assert "\n" not in str(error) and len(str(error)) < 500
        else:
            outcomes["pixels"] += 1
            assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size > 0
            assert size is None or pixels.shape[:2] == size

    check()
    assert outcomes["pixels"] > 0 and outcomes["error"] > 0  # the damage is neither harmless nor always fatal


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.binary(max_size=200), st.sampled_from([files[0][:16] for files in FILES.values()]), st.integers(0, 16))
def test_noise_behind_the_start_of_a_picture_gives_pixels_or_an_image_error(
    noise: bytes, start: bytes, kept: int
) -> None:
    with contextlib.suppress(ImageError):
        assert decode(start[:kept] + noise).dtype == np.uint8
