"""Pixels from files: compared with the pixels that went in, with torchvision's decoders, and with closed forms."""

import io
import math
import os
import pickle
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch
from PIL import Image, ImageFile, UnidentifiedImageError
from torchvision.io import ImageReadMode, decode_image

from catdog.errors import ImageError
from catdog.images import geometry, limits
from catdog.images.decoder import decode, decode_and_measure

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*TorchVision:DeprecationWarning"),  # it is to hand its decoders to TorchCodec
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),  # which pytest brings back
]

ROWS, COLUMNS = 48, 64
Y, X = np.mgrid[0:ROWS, 0:COLUMNS]
PHOTO = np.stack([X * 4, Y * 5, 255 - X * 2 - Y], axis=-1).astype(np.uint8)  # smooth, and different at each corner
RAMP = np.linspace(0, 65535, ROWS * COLUMNS).astype(np.uint16).reshape(ROWS, COLUMNS)


def encode(picture: Image.Image | np.ndarray, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(stream, format, **options)
    return stream.getvalue()


def photo(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(PHOTO).convert(mode)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG written by hand; `rows` is what follows the filter byte of each row, one row after another."""
    size = len(rows) // height
    data = zlib.compress(b"".join(b"\0" + rows[at : at + size] for at in range(0, size * height, size)), 1)
    header = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff(entries: dict[int, tuple[int, int, int]], tail: bytes = b"") -> bytes:
    """A little-endian TIFF written by hand: {tag: (type, count, value)}, and what follows the directory."""
    body = b"".join(struct.pack("<HHLL", tag, *entry) for tag, entry in sorted(entries.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4) + tail


def grey_tiff(
    width: int, height: int, bits: int, photometric: int, pixels: bytes, **more: tuple[int, int, int]
) -> bytes:
    start = 8 + 2 + 12 * (9 + len(more)) + 4
    values = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: start, 277: 1, 278: height}
    entries = {tag: (4 if tag in (256, 257, 273, 278) else 3, 1, value) for tag, value in values.items()}
    entries |= {279: (4, 1, len(pixels))} | {int(tag[1:]): entry for tag, entry in more.items()}
    return tiff(entries, pixels)


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def torchvision_pixels(data: bytes | bytearray) -> np.ndarray:
    """H x W x 3 of the first frame, by another library's decoders."""
    planes = decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)
    return (planes[0] if planes.ndim == 4 else planes).permute(1, 2, 0).numpy()


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    assert one.shape == other.shape
    return np.abs(one.astype(int) - other.astype(int))


LOSSLESS = {
    "png": encode(PHOTO, "PNG"),
    "bmp": encode(PHOTO, "BMP"),
    "dib": encode(PHOTO, "DIB"),
    "tiff": encode(PHOTO, "TIFF"),
    "tiff-lzw": encode(PHOTO, "TIFF", compression="tiff_lzw"),
    "tiff-deflate": encode(PHOTO, "TIFF", compression="tiff_adobe_deflate"),
    "bigtiff": encode(PHOTO, "TIFF", big_tiff=True),
    "webp": encode(PHOTO, "WEBP", lossless=True),
    "ppm": encode(PHOTO, "PPM"),
    "jp2": encode(PHOTO, "JPEG2000"),
    "j2k": encode(PHOTO, "JPEG2000", no_jp2=True),
    "tga": encode(PHOTO, "TGA"),
    "tga-rle": encode(PHOTO, "TGA", compression="tga_rle"),
    "pcx": encode(PHOTO, "PCX"),
    "ico": encode(PHOTO, "ICO", sizes=[(COLUMNS, ROWS)]),
}
LOSSY = {
    "jpeg": encode(PHOTO, "JPEG", quality=95),
    "jpeg-progressive": encode(PHOTO, "JPEG", quality=95, progressive=True),
    "jpeg-grey": encode(photo("L"), "JPEG", quality=95),
    "jpeg-cmyk": encode(photo("CMYK"), "JPEG", quality=95),
    "mpo": encode(PHOTO, "MPO", quality=95, save_all=True, append_images=[Image.new("RGB", (9, 9))]),
    "webp": encode(PHOTO, "WEBP", quality=95),
    "gif": encode(photo("P"), "GIF"),
    "png-palette": encode(photo("P"), "PNG"),
    "png-grey": encode(photo("L"), "PNG"),
    "png-bits": encode(photo("1"), "PNG"),
}


# What a picture looks like


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_lossless_file_gives_back_the_pixels_that_went_in(name: str) -> None:
    pixels = decode(LOSSLESS[name])
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous and pixels.flags.writeable
    assert np.array_equal(pixels, PHOTO)


@pytest.mark.parametrize("name", LOSSY)
def test_other_files_decode_as_torchvision_decodes_them(name: str) -> None:
    assert difference(decode(LOSSY[name]), torchvision_pixels(LOSSY[name])).max() <= 1


def test_avif_is_read_where_pillow_can() -> None:
    pytest.importorskip("PIL._avif")
    assert difference(decode(encode(PHOTO, "AVIF", quality=95, subsampling="4:4:4")), PHOTO).mean() < 2


# Exif: orientation -> which stored pixel (y, x) is at row r and column c of the upright picture of height h, width w.
TURNS: dict[int, Callable[..., tuple[Any, Any]]] = {
    1: lambda r, c, h, w: (r, c),
    2: lambda r, c, h, w: (r, w - 1 - c),
    3: lambda r, c, h, w: (h - 1 - r, w - 1 - c),
    4: lambda r, c, h, w: (h - 1 - r, c),
    5: lambda r, c, h, w: (c, r),
    6: lambda r, c, h, w: (w - 1 - c, r),
    7: lambda r, c, h, w: (w - 1 - c, h - 1 - r),
    8: lambda r, c, h, w: (c, h - 1 - r),
}


def upright(stored: np.ndarray, turn: int) -> np.ndarray:
    height, width = stored.shape[:2] if turn < 5 else stored.shape[1::-1]
    return stored[TURNS[turn](*np.mgrid[0:height, 0:width], height, width)]


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_orientation_is_undone(format: str, turn: int) -> None:
    if format == "AVIF":
        pytest.importorskip("PIL._avif")
    plain, turned = encode(PHOTO, format), encode(PHOTO, format, exif=exif(turn))
    assert np.array_equal(decode(turned), upright(decode(plain), turn))
    small = decode(turned, (20, 30))  # the turn comes first: (20, 30) is height and width of the upright picture
    whole = Image.fromarray(upright(decode(plain), turn)).resize((30, 20), Image.Resampling.BILINEAR)
    assert small.shape == (20, 30, 3)
    assert difference(small, np.asarray(whole)).max() <= 2  # a JPEG is first reduced by a half


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        exif(6)[:-8],
        exif(0),
        exif(9),
        b"Exif\0\0II+\0\x08\0\0\0" + b"\xff" * 8,
        bytes(range(256)),
    ],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_malformed_exif_is_ignored(format: str, block: bytes) -> None:
    assert np.array_equal(decode(encode(PHOTO, format, exif=block)), decode(encode(PHOTO, format)))


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    opacity = alpha[..., None] / 255
    return np.round(colour * opacity + 255 * (1 - opacity))


ALPHA = (X * 4).astype(np.uint8)
GREY = (Y * 5).astype(np.uint8)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "TGA", "JPEG2000"])
def test_alpha_is_shown_over_white(format: str) -> None:
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    data = encode(np.dstack([PHOTO, ALPHA]), format, **options)
    assert difference(decode(data), over_white(PHOTO, ALPHA)).max() <= 1


def test_grey_with_alpha_is_shown_over_white() -> None:
    grey = np.repeat(GREY[..., None], 3, axis=2)
    data = encode(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)]), "PNG")
    assert difference(decode(data), over_white(grey, ALPHA)).max() <= 1


def test_premultiplied_alpha_is_shown_over_white() -> None:
    multiplied = np.round(PHOTO * (ALPHA[..., None] / 255)).astype(np.uint8)
    data = bytearray(encode(np.dstack([multiplied, ALPHA]), "TIFF"))
    at = data.index(struct.pack("<HHL", 338, 3, 1))  # ExtraSamples: 2, plain alpha -> 1, premultiplied
    data[at + 8] = 1
    visible = ALPHA >= 40  # fainter colours were rounded away by the premultiplication
    assert difference(decode(bytes(data)), over_white(PHOTO, ALPHA))[visible].max() <= 6


def test_premultiplied_grey_is_shown_over_white() -> None:
    multiplied = np.round(GREY * (ALPHA / 255)).astype(np.uint8)
    data = bytearray(encode(Image.merge("LA", [Image.fromarray(multiplied), Image.fromarray(ALPHA)]), "TIFF"))
    data[data.index(struct.pack("<HHL", 338, 3, 1)) + 8] = 1
    try:
        Image.open(io.BytesIO(bytes(data)))
    except UnidentifiedImageError:
        pytest.skip("a Pillow that does not know this kind")
    expected = over_white(np.repeat(GREY[..., None], 3, axis=2), ALPHA)
    assert difference(decode(bytes(data)), expected)[ALPHA >= 40].max() <= 6


def test_transparent_palette_entries_are_white() -> None:
    indices = np.arange(16, dtype=np.uint8).reshape(4, 4)
    palette = np.arange(48, dtype=np.uint8).reshape(16, 3) * 4
    picture = Image.fromarray(indices, "P")
    picture.putpalette(palette.tobytes())
    one = np.where(indices == 5, 0, 255)
    some = np.minimum(indices.astype(int) * 40, 255)
    for format in ("PNG", "GIF"):
        assert difference(decode(encode(picture, format, transparency=5)), over_white(palette[indices], one)).max() == 0
    data = encode(picture, "PNG", transparency=bytes(range(0, 256, 40)))
    assert difference(decode(data), over_white(palette[indices], some)).max() <= 1
    data = encode(Image.merge("PA", [picture, Image.fromarray(some.astype(np.uint8))]), "TIFF")
    pair = Image.open(io.BytesIO(data))
    assert pair.mode == "PA"
    # Pillow writes no palette for PA worth comparing; what it reads is the reference for the colours, not for white.
    colours = np.asarray(pair.convert("RGB"))
    assert difference(decode(data), over_white(colours, some)).max() <= 1


def test_a_transparent_colour_is_white_in_every_depth() -> None:
    """PNG's tRNS is in the depth of the file: PNG specification, 11.3.1.1."""
    bits = np.arange(8) % 2
    twos = np.arange(8) % 4
    wide = np.arange(8) * 9000
    triple = np.stack([wide, wide[::-1], wide], axis=-1)

    def row(values: np.ndarray, kind: str) -> bytes:
        return values.astype(kind).tobytes()

    def key(*levels: int) -> bytes:
        return chunk(b"tRNS", struct.pack(f">{len(levels)}H", *levels))

    def grey(levels: np.ndarray, clear: np.ndarray) -> np.ndarray:
        return np.repeat(np.where(clear, 255, levels)[None, :, None], 3, axis=2)

    packed = np.packbits(bits).tobytes()
    assert difference(decode(png(8, 1, 1, 0, packed, key(0))), grey(bits * 255, bits == 0)).max() == 0
    packed = np.packbits(np.stack([twos >> 1, twos & 1], axis=-1)).tobytes()
    assert difference(decode(png(8, 1, 2, 0, packed, key(1))), grey(twos * 85, twos == 1)).max() == 0
    assert difference(decode(png(8, 1, 8, 0, row(wide >> 8, "u1"), key(35))), grey(wide >> 8, wide == 9000)).max() == 0
    data = png(8, 1, 16, 0, row(wide, ">u2"), key(27000))
    assert difference(decode(data), grey(wide / 257, wide == 27000)).max() <= 1
    data = png(8, 1, 16, 2, row(triple, ">u2"), key(9000, 54000, 9000))
    assert difference(decode(data), np.where(wide[None, :, None] == 9000, 255, triple[None] / 257)).max() <= 1


@pytest.mark.parametrize("colour, channels", [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_of_a_png_are_scaled_to_eight(colour: int, channels: int) -> None:
    samples = np.repeat(RAMP[..., None], channels, axis=2)
    if channels in (2, 4):
        samples[..., -1] = 65535
    data = png(COLUMNS, ROWS, 16, colour, samples.astype(">u2").tobytes())
    assert difference(decode(data), np.repeat(RAMP[..., None] / 257, 3, axis=2)).max() <= 1


def test_sixteen_bits_of_other_formats_are_scaled_to_eight() -> None:
    expected = np.repeat(RAMP[..., None] / 257, 3, axis=2)
    big = b"MM\0*" + struct.pack(">LH", 8, 9)
    for tag, kind, value in [(256, 4, COLUMNS), (257, 4, ROWS), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 122)]:
        big += struct.pack(">HHL", tag, kind, 1) + struct.pack(">L" if kind == 4 else ">Hxx", value)
    for tag, value in [(277, 1), (278, ROWS), (279, RAMP.nbytes)]:
        big += struct.pack(">HHLL", tag, 4, 1, value)
    files = {
        "little-endian TIFF": encode(RAMP, "TIFF"),
        "compressed TIFF": encode(RAMP, "TIFF", compression="tiff_adobe_deflate"),
        "big-endian TIFF": big + bytes(4) + RAMP.astype(">u2").tobytes(),
        "TIFF, white is zero": grey_tiff(COLUMNS, ROWS, 16, 0, (65535 - RAMP).tobytes()),
        "PGM": b"P5\n%d %d\n65535\n" % (COLUMNS, ROWS) + RAMP.astype(">u2").tobytes(),
        "PGM to 1000": b"P5\n%d %d\n1000\n" % (COLUMNS, ROWS) + (RAMP // 65.535).astype(">u2").tobytes(),
        "JPEG 2000": encode(RAMP, "JPEG2000"),
    }
    for name, data in files.items():
        assert difference(decode(data), expected).max() <= 1, name


def test_twelve_bits_of_a_tiff_are_scaled_to_eight() -> None:
    levels = np.arange(0, 4096, 64)
    pairs = levels.reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=-1)
    pixels = decode(grey_tiff(64, 1, 12, 1, packed.astype(np.uint8).tobytes()))
    assert difference(pixels, np.repeat(levels[None, :, None] * 255 / 4095, 3, axis=2)).max() <= 1


@pytest.mark.parametrize(
    "kind, values, expected",
    [
        ("float32", [0, 0.5, 1], [0, 128, 255]),
        ("float32", [0.25, 0.5, 0.75], [64, 128, 191]),
        ("float32", [0, 128, 255], [0, 128, 255]),
        ("float32", [0, 30000, 65535], [0, 117, 255]),
        ("float32", [-1, 0, 3], [0, 64, 255]),
        ("float32", [1e6, 2e6, 3e6], [0, 128, 255]),
        ("float32", [np.nan, 0.5, np.inf], [0, 128, 255]),
        ("float32", [-np.inf, 0.5, 1], [0, 128, 255]),
        ("float32", [np.nan, np.nan, np.nan], [0, 0, 0]),
        ("float32", [7e7, 7e7, 7e7], [0, 0, 0]),
        ("int32", [0, 100, 255], [0, 100, 255]),
        ("int32", [0, 30000, 65535], [0, 117, 255]),
        ("int32", [0, 1, 1], [0, 1, 1]),
        ("int32", [-1000, 0, 1000], [0, 128, 255]),
        ("int32", [0, 2**30, 2**31 - 1], [0, 128, 255]),
    ],
)
def test_levels_without_a_depth_of_their_own_get_a_range(kind: str, values: list[float], expected: list[int]) -> None:
    pixels = decode(encode(np.array([values], kind), "TIFF"))
    assert difference(pixels[0], np.repeat(np.array(expected)[:, None], 3, axis=1)).max() <= 1


def test_float_maps_are_read() -> None:
    data = b"Pf\n2 2\n-1.0\n" + np.array([0.2, 0.4, 0.6, 0.8], "<f4").tobytes()  # the bottom row comes first
    assert difference(decode(data)[..., 0], np.array([[153, 204], [51, 102]])).max() <= 1


INKS = np.array([[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 255, 0], [0, 0, 0, 255], [100, 50, 0, 30]])


def blocks(colours: np.ndarray) -> np.ndarray:
    """Each colour as a square of 16, large enough that JPEG's chroma does not mix them."""
    return np.repeat(np.repeat(colours[None].astype(np.uint8), 16, axis=1), 16, axis=0)


def inks_to_rgb(inks: np.ndarray) -> np.ndarray:
    return (255 - inks[:, :3]) * (255 - inks[:, 3:]) / 255


def test_cmyk_is_ink_on_white() -> None:
    picture = Image.fromarray(blocks(INKS), "CMYK")
    for data in (encode(picture, "TIFF"), encode(picture, "JPEG", quality=100)):
        assert difference(decode(data)[8, 8::16], inks_to_rgb(INKS)).max() <= 3


def test_ycck_is_ink_on_white_as_torchvision_has_it() -> None:
    data = bytearray(LOSSY["jpeg-cmyk"])
    data[data.index(b"Adobe") + 11] = 2  # the colour transform: none -> YCCK
    assert difference(decode(bytes(data)), torchvision_pixels(data)).max() <= 1
    assert difference(decode(bytes(data)), decode(LOSSY["jpeg-cmyk"])).max() > 50


def test_only_adobe_inverts_the_inks_of_a_jpeg() -> None:
    data = encode(Image.fromarray(blocks(255 - INKS), "CMYK"), "JPEG", quality=100)  # stored inverted twice: plain
    at = data.index(b"Adobe") - 4
    assert data[at : at + 4] == b"\xff\xee\0\x0e"
    assert difference(decode(data[:at] + data[at + 16 :])[8, 8::16], inks_to_rgb(INKS)).max() <= 3


def test_other_colour_models_become_rgb() -> None:
    ycbcr = Image.frombytes("YCbCr", (3, 1), bytes([255, 128, 128, 76, 85, 255, 29, 255, 107]))
    assert (
        difference(
            decode(encode(ycbcr, "TIFF", compression="tiff_lzw"))[0],
            np.array([[255, 255, 255], [254, 0, 0], [0, 0, 254]]),
        ).max()
        <= 2
    )
    lab = Image.frombytes("LAB", (3, 1), bytes([255, 0, 0, 138, 81, 70, 0, 0, 0]))  # D50: white, sRGB's red, black
    assert difference(decode(encode(lab, "TIFF"))[0], np.array([[255, 255, 255], [255, 0, 0], [0, 0, 0]])).max() <= 6


def test_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    for format in ("GIF", "WEBP", "PNG", "TIFF", "MPO"):
        options = {"lossless": True} if format == "WEBP" else {"quality": 100} if format == "MPO" else {}
        data = encode(frames[0], format, save_all=True, append_images=frames[1:], **options)
        assert Image.open(io.BytesIO(data)).n_frames == 3  # type: ignore[attr-defined]
        assert difference(decode(data), np.full((10, 20, 3), (255, 0, 0))).max() <= 2, format


# Colour profiles, written by hand: ICC.1:2001-04 (version 2), 6.1 to 6.5


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">L", 5) + b"hand\0" + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3l", *(round(65536 * value) for value in (0.9642, 1, 0.8249))),
    } | tags
    table, body = b"", b""
    for name, data in tags.items():
        table += name + struct.pack(">LL", 132 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    link = b"Lab " if space == b"CMYK" else b"XYZ "
    head = bytes(4) + struct.pack(">L", 0x02400000) + kind + space + link + bytes(12) + b"acsp" + bytes(28)
    head += struct.pack(">3l", 63190, 65536, 54061) + bytes(48)
    size = 4 + len(head) + 4 + len(table) + len(body)
    return struct.pack(">L", size) + head + struct.pack(">L", len(tags)) + table + body


def gamma(exponent: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">LH", 1, round(exponent * 256)) + bytes(2)


# sRGB's primaries as seen at D50 (Lindbloom's Bradford-adapted matrix), columns: red, green, blue.
TO_XYZ = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)


def rgb_profile(columns: np.ndarray, exponent: float) -> bytes:
    tags = {}
    for name, column in zip("rgb", columns.T, strict=True):
        tags[f"{name}XYZ".encode()] = b"XYZ \0\0\0\0" + struct.pack(">3l", *np.round(column * 65536).astype(int))
        tags[f"{name}TRC".encode()] = gamma(exponent)
    return profile(b"RGB ", tags)


def srgb(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1: linear light in 0..1 -> levels."""
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


LINEAR_GBR = rgb_profile(TO_XYZ[:, [1, 2, 0]], 1.0)  # linear light, its "red" is sRGB's green, and so on
GREY_GAMMA = profile(b"GRAY", {b"kTRC": gamma(1.0)})


def cmyk_profile() -> bytes:
    """Black ink alone counts: L* falls from 100 to 0 with K (a table of 2 points an ink; CMYK -> CIELAB, 8 bits)."""
    ends = b"".join(bytes([0 if corner & 1 else 255, 128, 128]) for corner in range(16))  # K changes fastest
    identity = struct.pack(">9l", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + bytes(range(256)) * 4 + ends + bytes(range(256)) * 3
    return profile(b"CMYK", {b"A2B0": table})


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_rgb_profile_is_converted_to_srgb(format: str) -> None:
    colours = np.array([[0, 0, 0], [255, 255, 255], [128, 128, 128], [200, 60, 10], [30, 90, 220], [255, 0, 0]])
    data = encode(blocks(colours), format, icc_profile=LINEAR_GBR, quality=100, lossless=True)
    # Level v of "red" is linear light v / 255 of sRGB's green. A level more of the file is up to 13 levels of sRGB in
    # the dark, and JPEG is a level or so off, so there it is the dark that is left out.
    expected = srgb(colours[:, [2, 0, 1]] / 255)
    bright = expected > 100 if format == "JPEG" else np.ones_like(expected, bool)
    assert difference(decode(data)[8, 8::16], np.round(expected))[bright].max() <= 3


def test_a_profile_in_several_segments_of_a_jpeg_is_put_in_order() -> None:
    plain, half = encode(PHOTO, "JPEG"), len(LINEAR_GBR) // 2
    parts = [b"ICC_PROFILE\0\2\2" + LINEAR_GBR[half:], b"ICC_PROFILE\0\1\2" + LINEAR_GBR[:half]]
    data = plain[:2] + segment(0xE2, parts[0]) + segment(0xE2, parts[1]) + plain[2:]
    assert np.array_equal(decode(data), decode(encode(PHOTO, "JPEG", icc_profile=LINEAR_GBR)))
    assert difference(decode(data), decode(plain)).max() > 50


def test_a_grey_profile_is_converted_to_srgb() -> None:
    levels = np.array([0, 20, 60, 128, 200, 255])
    for picture in (
        Image.fromarray(levels.astype(np.uint8)[None]),
        Image.fromarray((levels * 257).astype(np.uint16)[None]),
    ):
        pixels = decode(encode(picture, "PNG", icc_profile=GREY_GAMMA))
        assert difference(pixels[0], np.repeat(np.round(srgb(levels / 255))[:, None], 3, axis=1)).max() <= 2


def test_a_cmyk_profile_is_converted_to_srgb() -> None:
    inks = np.array([[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 128], [0, 0, 0, 255]])
    lightness = np.array([1, 1, 1 - 128 / 255, 0]) * 100
    luminance = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)  # CIE 15: L* -> Y
    expected = np.repeat(srgb(luminance)[:, None], 3, axis=1)
    for format in ("TIFF", "JPEG"):
        data = encode(Image.fromarray(blocks(inks), "CMYK"), format, icc_profile=cmyk_profile(), quality=100)
        assert difference(decode(data)[8, 8::16], np.round(expected)).max() <= 3


def test_a_profile_applies_under_transparency_and_in_a_palette() -> None:
    colours = np.array([[200, 60, 10], [30, 90, 220]])
    expected = srgb(colours[:, [2, 0, 1]] / 255)
    half = np.array([[200, 60, 10, 128], [30, 90, 220, 255]], np.uint8)[None]
    pixels = decode(encode(half, "PNG", icc_profile=LINEAR_GBR))
    assert difference(pixels, np.round(over_white(expected[None], half[..., 3]))).max() <= 3
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    picture.putpalette(colours.astype(np.uint8).tobytes())
    pixels = decode(encode(picture, "PNG", icc_profile=LINEAR_GBR))
    assert difference(pixels[0], np.round(expected)).max() <= 3


@pytest.mark.parametrize(
    "broken",
    [
        b"not a profile",
        LINEAR_GBR[:200],
        LINEAR_GBR[:150] + bytes(len(LINEAR_GBR) - 150),
        GREY_GAMMA,  # a whole profile, of another kind of colours
        cmyk_profile(),
        bytes(5 * 2**20),
    ],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_profile_that_cannot_apply_is_ignored(format: str, broken: bytes) -> None:
    assert np.array_equal(decode(encode(PHOTO, format, icc_profile=broken)), decode(encode(PHOTO, format)))


# Sizes


@pytest.mark.parametrize("size", [(16, 16), (7, 90), (48, 64), (100, 3), (1, 1)])
def test_a_size_squashes_with_an_antialiased_triangle(size: tuple[int, int]) -> None:
    planes = torch.from_numpy(PHOTO).permute(2, 0, 1)[None].double()
    expected = torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=True, align_corners=False)
    pixels = decode(LOSSLESS["png"], size)
    assert pixels.flags.c_contiguous and pixels.flags.writeable and pixels.dtype == np.uint8
    assert difference(pixels, expected[0].permute(1, 2, 0).round().numpy()).max() <= 2
    assert geometry.RESIZE_FILTER == "bilinear"


@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize("size", [(60, 80), (400, 20), (20, 400), (320, 320), (700, 700)])
def test_a_large_jpeg_is_decoded_at_a_fraction_that_is_not_below_the_size(turn: int, size: tuple[int, int]) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8))
    data = encode(noise.resize((1924, 1283), Image.Resampling.BICUBIC), "JPEG", quality=90, exif=exif(turn))
    pixels = decode(data, size)
    whole = Image.fromarray(decode(data)).resize(size[::-1], Image.Resampling.BILINEAR)
    error = difference(pixels, np.asarray(whole))
    assert error.mean() < 3 and error.max() < 30

    width, height = size[::-1] if turn == 1 else size
    part = max(part for part in (1, 2, 4, 8) if part == 1 or (part * width <= 1924 and part * height <= 1283))
    drafted = Image.open(io.BytesIO(data))
    drafted.draft("RGB", (1924 // part, 1283 // part))
    assert drafted.size == (-(-1924 // part), -(-1283 // part))
    edges = (0, 0, 1924 / part, 1283 / part)
    expected = np.asarray(drafted.resize((width, height), Image.Resampling.BILINEAR, edges))
    assert np.array_equal(pixels, expected if turn == 1 else np.rot90(expected, -1))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_decoded_without_pillow_has_the_pixels_that_pillow_gives(
    subsampling: str, progressive: bool, mode: str
) -> None:
    for side in ((33, 47), (8, 8), (3, 5), (1, 1)):
        picture = photo().resize(side).convert(mode)
        data = encode(picture, "JPEG", quality=60, subsampling=subsampling, progressive=progressive)
        assert np.array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_a_jpeg_whose_areas_libjpeg_finds_damaged_is_an_error(mode: str, options: dict[str, Any]) -> None:
    data = encode(photo(mode).resize((256, 192)), "JPEG", quality=80, **options)
    noise = np.random.default_rng(1).integers(1, 255, 40, np.uint8).tobytes()
    some = data.index(b"\xff\xda") + 60
    for damaged in (data[:some] + data[some + 40 :], data[:some] + noise + data[some:], data[:some] + data[-2:]):
        with pytest.raises(ValueError, match="Corrupt JPEG data"):
            simplejpeg.decode_jpeg(damaged, {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}[mode])
        for size in (None, (8, 8)):
            with pytest.raises(ImageError, match="a damaged JPEG, of which areas are wrong or missing"):
                decode(damaged, size)


def test_zeros_that_fill_up_a_jpeg_are_no_damage() -> None:
    data = encode(photo(), "JPEG", quality=80)
    filled = data[:-2] + bytes(300) + data[-2:]
    with pytest.raises(ValueError, match="extraneous bytes"):
        simplejpeg.decode_jpeg(filled)
    assert np.array_equal(decode(filled), decode(data))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_measure_is_that_of_the_upright_picture_before_it_was_squashed(format: str) -> None:
    for turn, measure in ((1, (480, 640)), (6, (640, 480))):
        pixels, measured = decode_and_measure(encode(photo().resize((640, 480)), format, exif=exif(turn)), (16, 24))
        assert pixels.shape == (16, 24, 3) and measured == measure


def test_a_size_without_pixels_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="size"):
        decode(LOSSLESS["png"], (0, 10))


# Where the bytes come from


def test_a_path_bytes_and_a_file_object_give_the_same_pixels(tmp_path: Path) -> None:
    path = tmp_path / "photo.tiff"
    for data in (*LOSSLESS.values(), *LOSSY.values()):
        path.write_bytes(data)
        expected = decode(data)
        stream = io.BytesIO(data)
        stream.seek(0, io.SEEK_END)  # as it is left by what wrote it
        with path.open("rb") as file:
            for source in (path, str(path), bytearray(data), stream, file):
                assert np.array_equal(decode(source), expected)  # type: ignore[arg-type]
            assert not file.closed


def test_a_stream_that_cannot_seek_is_read_to_its_end() -> None:
    reader, writer = os.pipe()
    with ThreadPoolExecutor(1) as pool, open(reader, "rb", buffering=0) as stream:

        def write() -> None:
            with open(writer, "wb") as file:
                file.write(LOSSLESS["bmp"])

        pool.submit(write)
        assert np.array_equal(decode(stream), PHOTO)


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    for name, data in LOSSLESS.items():
        path = tmp_path / f"{name}.jpg"
        path.write_bytes(data)
        assert np.array_equal(decode(path), PHOTO)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts the open files of a Linux process")
def test_files_are_closed_and_nothing_is_written(tmp_path: Path) -> None:
    files = {name: data for name, data in LOSSLESS.items()} | {"broken": LOSSLESS["tiff-lzw"][:500], "text": b"hello"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    opened = len(os.listdir("/proc/self/fd"))
    for path in before:
        try:
            decode(path)
        except ImageError:
            assert path.name in ("broken", "text")
    assert len(os.listdir("/proc/self/fd")) == opened
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_threads_get_the_pixels_that_one_thread_gets() -> None:
    files = [*LOSSLESS.values(), *LOSSY.values(), encode(PHOTO, "PNG", icc_profile=LINEAR_GBR)]
    expected = [decode(data, (20, 20)) for data in files]
    with ThreadPoolExecutor(8) as pool:
        for found, pixels in zip(pool.map(lambda data: decode(data, (20, 20)), files * 10), expected * 10, strict=True):
            assert np.array_equal(found, pixels)


def test_importing_is_light_and_leaves_pillow_as_it_was() -> None:
    program = """
import sys, warnings
from PIL import Image, ImageFile, UnidentifiedImageError
before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, warnings.filters[:])
from catdog.images.decoder import decode, decode_and_measure
decode(sys.stdin.buffer, (8, 8))
assert before[:2] == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
assert [kept for kept in warnings.filters if kept in before[2]] == before[2]
assert warnings.filters[-1] not in before[2]  # what the program itself asked for comes first
print(*(name for name in ("torch", "PIL.ImageCms", "PIL.TiffImagePlugin", "PIL.PngImagePlugin") if name in sys.modules))
"""
    assert run(program, LOSSY["jpeg"]) == b"\n"


def run(program: str, data: bytes = b"", *arguments: str) -> bytes:
    """What a fresh Python prints; it must print no error and no warning."""
    command, folder = [sys.executable, "-c", program, *arguments], Path(__file__).parents[2]
    done = subprocess.run(command, input=data, capture_output=True, cwd=folder)
    assert done.returncode == 0 and done.stderr == b"", done.stderr.decode()
    return done.stdout


# What cannot be read


def message(source: Any, size: tuple[int, int] | None = None) -> str:
    with pytest.raises(ImageError) as caught:
        decode(source, size)
    assert caught.value.__cause__ is None and caught.value.__context__ is None  # keeps no frames, hence no pixels
    text = str(caught.value)
    assert "\n" not in text and "Traceback" not in text and len(text) < 500
    return text


@pytest.mark.parametrize(
    "content, says",
    [
        (b"", "empty"),
        (bytes(1000), "zeros"),
        (b"<!DOCTYPE html><html><body>not found</body></html>", "web page"),
        (b"\xef\xbb\xbf\n  <html lang='de'>\xc3\xa4</html>", "web page"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "tags"),
        ("Die Datei wurde nicht gefunden: Größe 0".encode(), "text"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "not a"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "text"),
        (b"P3\n1 1\n255\n1 2 3\n", "text"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", "known format"),
        (b"\x93\x01\xfa\xce" * 20, "known format"),
    ],
)
def test_what_is_not_a_picture_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(content)
    assert says in message(path) and str(path) in message(path)
    assert says in message(content)


def test_heic_without_the_plug_in_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for brand in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        assert "pip install pillow-heif" in message(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(99))


def test_heic_is_read_and_turned_by_the_plug_in() -> None:
    plug_in = pytest.importorskip("pillow_heif")
    if not plug_in.libheif_info()["encoders"]:
        pytest.skip("no encoder")
    stream = io.BytesIO()
    plug_in.from_pillow(photo()).save(stream, quality=95)
    assert difference(decode(stream.getvalue()), PHOTO).mean() < 3


def whole_or_error(data: bytes, expected: np.ndarray) -> bool:
    try:
        assert np.array_equal(decode(data), expected)
    except ImageError:
        return False
    return True


CUT = LOSSLESS | LOSSY | {"png-16": encode(RAMP, "PNG")}
CUT |= {
    "tiff-jpeg": encode(PHOTO, "TIFF", compression="jpeg"),
    "apng": encode(PHOTO, "PNG", save_all=True, append_images=[photo()]),
}


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize("name", CUT)
def test_a_file_cut_off_anywhere_never_gives_other_pixels(
    name: str, tolerant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the program told Pillow. What may be missing is what follows the pixels, such as a GIF's last byte."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
    data, expected = CUT[name], decode(CUT[name])
    cuts = {*range(1, len(data), max(1, len(data) // 60)), *range(len(data) - 12, len(data))}
    survived = [cut for cut in cuts if whole_or_error(data[:cut], expected)]
    if name.startswith(("jpeg", "png", "apng", "webp", "ppm", "bmp")):
        assert survived == []
    else:
        assert all(cut > 0.9 * len(data) or name in ("mpo", "ico") for cut in survived)


def test_a_cut_jpeg_is_an_error_at_a_fraction_too() -> None:
    data = encode(photo().resize((640, 480)), "JPEG")
    assert decode(data, (16, 16)).shape == (16, 16, 3)
    for missing in (1, 2, 3, 10, 100, 1000, len(data) // 2):
        assert "JPEG" in message(data[:-missing], (16, 16))


def test_what_follows_the_end_of_a_jpeg_does_not_matter() -> None:
    for junk in (b"\0", b"\xff", b"\xff\xd8\xff", bytes(range(256)) * 40, LOSSY["jpeg"]):
        assert np.array_equal(decode(LOSSY["jpeg"] + junk), decode(LOSSY["jpeg"]))


def test_a_damaged_png_is_an_error() -> None:
    data = LOSSLESS["png"]
    for at in range(8, len(data), max(1, len(data) // 50)):
        assert whole_or_error(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :], PHOTO) is False


def test_a_picture_without_pixels_is_an_error() -> None:
    for width, height in ((0, 5), (5, 0), (0, 0)):
        header = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0))
        message(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
        message(b"P6\n%d %d\n255\n" % (width, height))
        message(b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0;")
        message(encode(PHOTO, "BMP")[:18] + struct.pack("<LL", width, height) + encode(PHOTO, "BMP")[26:])


def keep_message(source: Any, found: list[str]) -> None:
    found.append(message(source))


def test_only_ordinary_files_are_opened(tmp_path: Path) -> None:
    folder = tmp_path / "x.jpg"
    folder.mkdir()
    assert "folder" in message(folder)
    link = tmp_path / "link.jpg"
    link.symlink_to(tmp_path / "gone.jpg")
    assert "link" in message(link)
    loop = tmp_path / "loop.jpg"
    loop.symlink_to(loop)
    assert str(loop) in message(loop)
    assert "no such file" in message(tmp_path / "gone.jpg")
    assert "cannot be read" in message("cat\0dog.jpg")
    assert "cannot be read" in message("x" * 300)
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), Path("/dev/null")):
        found: list[str] = []
        thread = threading.Thread(target=keep_message, args=(path, found), daemon=True)
        thread.start()
        thread.join(20)  # a reader of the pipe, or of the device, would never come back
        assert found and "not an ordinary file" in found[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(LOSSY["jpeg"])
    path.chmod(0)
    assert "cannot be read" in message(path)


def test_a_file_that_vanishes_between_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(LOSSY["jpeg"])
    stat = os.stat

    def vanish(name: Any, **options: Any) -> os.stat_result:
        found = stat(name, **options)
        if name == path:
            path.unlink()
        return found

    monkeypatch.setattr(os, "stat", vanish)
    assert "cannot be read" in message(path)


def test_a_broken_file_object_is_an_error() -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            raise OSError(5, "Input/output error")

    assert "Input/output error" in message(Broken())
    assert "cannot be read" in message(io.StringIO("text"))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "cat.jpg"
    with path.open("wb") as file:
        file.truncate(limits.MAX_BYTES + 1)
    assert "larger than" in message(path)


# What costs more than it seems to


def giant(side: int) -> dict[str, bytes]:
    """Headers that promise side x side pixels, in files of a few bytes."""
    low, high = struct.pack("<H", side & 0xFFFF), struct.pack(">H", side & 0xFFFF)
    frame = LOSSY["jpeg"].index(b"\xff\xc0") + 5
    jp2 = LOSSLESS["j2k"]
    webp = LOSSLESS["webp"]
    return {
        "PNG": png_header(side),
        "GIF": b"GIF89a" + low * 2 + b"\0\0\0,\0\0\0\0" + low * 2 + b"\0\x08\x02\x4c\x01\0;",
        "JPEG": LOSSY["jpeg"][:frame] + high * 2 + LOSSY["jpeg"][frame + 4 :],
        "BMP": LOSSLESS["bmp"][:18] + struct.pack("<LL", side, side) + LOSSLESS["bmp"][26:],
        "PNM": b"P6\n%d %d\n255\n" % (side, side),
        "TIFF": grey_tiff(side, side, 8, 1, b"abc"),
        "JPEG 2000": jp2[:8] + struct.pack(">LL", side, side) + jp2[16:24] + struct.pack(">LL", side, side) + jp2[32:],
        "WebP": webp[:21] + struct.pack("<L", side - 1 | (side - 1) << 14) + webp[25:],
        "TGA": LOSSLESS["tga"][:12] + low * 2 + LOSSLESS["tga"][16:],
    }


def png_header(side: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">LLBBBBB", side, side, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", giant(16_000))
def test_the_header_of_a_giant_is_refused(format: str) -> None:
    assert "too large" in message(giant(16_000)[format])


def test_the_stated_number_of_pixels_is_the_limit() -> None:
    assert "too large" in message(png_header(math.isqrt(limits.MAX_PIXELS) + 1))
    assert "too large" not in message(png_header(math.isqrt(limits.MAX_PIXELS)))  # cut off, but not too large


def test_a_sliver_longer_than_any_photo_is_refused() -> None:
    assert "too large" in message(b"P5\n70000 1\n255\n" + bytes(70_000))


def small_png(*chunks: bytes) -> bytes:
    return png(COLUMNS, ROWS, 8, 2, PHOTO.tobytes(), *chunks)


def small_jpeg(*segments: bytes) -> bytes:
    return LOSSY["jpeg"][:2] + b"".join(segments) + LOSSY["jpeg"][2:]


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


BOMB = zlib.compress(bytes(2**26), 9)


def test_heavy_metadata_is_not_unpacked() -> None:
    """Text and profiles that unpack a thousandfold, Exif of many parts: the picture beneath is whole."""
    for chunks in ([chunk(b"zTXt", b"x\0\0" + BOMB)] * 20, [chunk(b"iCCP", b"x\0\0" + BOMB)] * 20):
        assert np.array_equal(decode(small_png(*chunks)), PHOTO)
    rationals = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHLL", 0x0112, 5, 8000, 26) + bytes(64000)
    for extra in (segment(0xE1, b"Exif\0\0" + rationals), segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65000))):
        assert np.array_equal(decode(small_jpeg(*[extra] * 300)), decode(LOSSY["jpeg"]))


def too_many() -> dict[str, bytes]:
    progressive = LOSSY["jpeg-progressive"]
    scan, end = progressive.rindex(b"\xff\xda"), len(progressive) - 2
    longs = struct.pack("<HHLL", 273, 4, 30_000_000, 8)
    return {
        "chunks of a PNG": small_png(*[chunk(b"tEXt", b"")] * 100_001),
        "segments of a JPEG": small_jpeg(*[segment(0xFE, b"")] * 100_001),
        "scans of a JPEG": progressive[:end] + progressive[scan:end] * 40 + progressive[end:],
        "comments of a GIF": b"GIF89a\1\0\1\0\0\0\0!\xfe" + b"\1a" * 3_000_000,
        "comment of a PNM": b"P6\n#" + b"a" * 3_000_000,
        "tags of a TIFF": b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHLL", 1, 3, 1, 0) * 65535,
        "tags of a BigTIFF": b"II+\0\x08\0\0\0"
        + struct.pack("<QQ", 16, 2**63)
        + struct.pack("<HHQQ", 1, 3, 1, 0) * 2000,
        "strips of a TIFF": b"II*\0\x08\0\0\0\1\0" + longs + bytes(9),
        "pixels decoded in Python": b"P6\n3000 3000 254\n",
        "tile of a TIFF": tiff(
            {256: (4, 1, 1), 257: (4, 1, 1), 258: (3, 1, 8), 259: (3, 1, 8), 262: (3, 1, 1)}
            | {322: (4, 1, 20_000), 323: (4, 1, 20_000), 324: (4, 1, 122), 325: (4, 1, len(BOMB))},
            BOMB,
        ),
        "icon": b"\0\0\1\0\1\0" + bytes([16, 16, 0, 0, 1, 0, 32, 0]) + struct.pack("<LL", 99, 22) + png_header(9000),
    }


TOO_MANY = too_many()


@pytest.mark.parametrize("name", TOO_MANY)
def test_a_file_that_would_cost_minutes_or_gigabytes_is_refused(name: str) -> None:
    assert "too " in message(TOO_MANY[name]) or "1024" in message(TOO_MANY[name])


def test_nothing_is_printed_about_odd_metadata() -> None:
    start = 8 + 2 + 12 * 11 + 4
    odd = {"_700": (1, 2**20, 9), "_305": (2, 99, 2**31)}  # tags that promise more bytes than the file has
    files = [
        grey_tiff(4, 4, 8, 1, bytes(16), **odd).replace(struct.pack("<HHLL", 273, 4, 1, start), b"") or b"",
        encode(PHOTO, "TIFF")[:-3],
        small_png(chunk(b"acTL", bytes(8)), chunk(b"eXIf", b"II*\0\xff\xff\xff\xff")),
        small_jpeg(segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(30))),
        encode(photo("P"), "PNG", transparency=bytes(range(99))),
        encode(PHOTO, "ICO", sizes=[(COLUMNS, ROWS)]).replace(bytes([COLUMNS, ROWS]), bytes([16, 16]), 1),
        b"GIF89a" + bytes(20),
        LOSSLESS["tiff"].replace(struct.pack("<HHL", 277, 3, 1), struct.pack("<HHL", 277, 4, 1)),
        LOSSLESS["tiff"].replace(struct.pack("<HHL", 277, 3, 1), struct.pack("<HHL", 277, 3, 9999)),
    ]
    for compression in ("tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate"):  # of which libtiff prints
        data = encode(photo(), "TIFF", compression=compression)
        files += [data[:at] + b"\xff\x0f\xf1\x2a" + data[at + 4 :] for at in range(8, len(data) - 4, len(data) // 40)]
    program = """
import pickle, sys
from catdog.errors import ImageError
from catdog.images.decoder import decode, decode_and_measure
for data in pickle.load(sys.stdin.buffer):
    try:
        decode(data)
    except ImageError:
        pass
"""
    assert run(program, pickle.dumps(files)) == b""


def largest() -> dict[str, Callable[[], bytes]]:
    """Pictures about as large as they may be, each on another of the paths that take much memory."""

    def rgba_png() -> bytes:
        side = math.isqrt(limits.MAX_PIXELS)
        rows = zlib.compressobj(1)
        data = b"".join(
            rows.compress(bytes(1) + bytes(range(256)) * (side // 64) + bytes(side % 64 * 4)) for _ in range(side)
        )
        header = chunk(b"IHDR", struct.pack(">LLBBBBB", side, side, 8, 6, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data + rows.flush()) + chunk(b"IEND", b"")

    def progressive_jpeg() -> bytes:  # its coefficients are kept beside its pixels
        side = math.isqrt(limits.MAX_MEMORY // 10) - 200
        return encode(Image.new("RGB", (side, side), "teal"), "JPEG", progressive=True, subsampling=0, exif=exif(6))

    def float_tiff() -> bytes:
        side = math.isqrt(limits.MAX_MEMORY // 14) - 200
        return encode(Image.new("F", (side, side), 3.5), "TIFF", compression="tiff_adobe_deflate", tiffinfo={278: side})

    def webp() -> bytes:
        side = math.isqrt(limits.MAX_MEMORY // 20) - 200
        return encode(Image.new("RGBA", (side, side), (9, 99, 199, 99)), "WEBP", lossless=True, method=0, quality=0)

    return {"RGBA PNG": rgba_png, "progressive JPEG": progressive_jpeg, "float TIFF": float_tiff, "WebP": webp}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak memory as Linux reports it")
@pytest.mark.parametrize("name", largest())
@pytest.mark.slow
def test_the_largest_picture_stays_under_one_gibibyte(name: str) -> None:
    program = """
import re, sys
from catdog.images.decoder import decode, decode_and_measure
pixels = decode(sys.stdin.buffer)
print(pixels.size, *re.findall(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read()))
"""
    size, peak = map(int, run(program, largest()[name]()).split())
    assert size > 100_000_000 and peak < 2**20  # KiB, of the whole process since it started


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "YCbCr"])
def test_a_damaged_jpeg_within_a_tiff_is_an_error(mode: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise).convert(mode), "TIFF", compression="jpeg")
    assert decode(data).shape == (300, 400, 3)
    middle = len(data) // 2
    with pytest.raises(ImageError, match="a damaged JPEG"):
        decode(data[:middle] + b"\xff\xd9" + bytes(30) + data[middle + 32 :])
