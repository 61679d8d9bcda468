"""Photos that keep their shape: what Pillow's own crop, resizing and padding make of them."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from catdog.architecture import RESIZES, Resize
from catdog.images.decoder import decode
from catdog.images.geometry import jpeg_divisor

WIDE, HIGH = (400, 100), (100, 400)  # width and height
SIZES = [(24, 24), (25, 24), (17, 40), (200, 30), (3, 500)]  # height and width


def drawn(size: tuple[int, int]) -> Image.Image:
    """Smooth noise, different everywhere."""
    noise = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def encode(picture: Image.Image, kind: str, orientation: int = 1) -> bytes:
    exif, data = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    picture.save(data, kind, exif=exif)
    return data.getvalue()


def padded(picture: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """By Pillow's resizing and NumPy's padding."""
    height, width = size
    inner = ImageOps.contain(picture, (width, height), Image.Resampling.BILINEAR)
    above, left = (height - inner.height) // 2, (width - inner.width) // 2
    margins = ((above, height - inner.height - above), (left, width - inner.width - left), (0, 0))
    return np.pad(np.asarray(inner), margins, "edge")


@pytest.mark.parametrize("shape", [WIDE, HIGH, (123, 123)])
@pytest.mark.parametrize("size", SIZES)
def test_crop_and_pad_are_pillows(shape: tuple[int, int], size: tuple[int, int]) -> None:
    picture = drawn(shape)
    data = encode(picture, "PNG")
    cropped = ImageOps.fit(picture, size[::-1], Image.Resampling.BILINEAR)
    assert np.array_equal(decode(data, size, "crop"), np.asarray(cropped))
    found = decode(data, size, "pad")
    assert np.array_equal(found, padded(picture, size))
    assert found.flags.c_contiguous and found.flags.writeable and found.dtype == np.uint8
    squashed = picture.resize(size[::-1], Image.Resampling.BILINEAR)
    assert np.array_equal(decode(data, size, "squash"), np.asarray(squashed))


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_turned_photo_is_the_upright_one(kind: str, orientation: int, resize: Resize) -> None:
    picture = drawn(WIDE)
    turned = Image.open(io.BytesIO(encode(picture, "PNG", orientation)))
    upright = ImageOps.exif_transpose(turned)
    found = decode(encode(picture, kind, orientation), (23, 30), resize).astype(int)
    error = np.abs(found - decode(encode(upright, "PNG"), (23, 30), resize))
    assert error.max() <= (1 if kind == "PNG" else 12)  # and no place is another one


@pytest.mark.parametrize("shape", [(4000, 1000), (1000, 4000)])
@pytest.mark.parametrize("resize", RESIZES)
def test_a_large_jpeg_is_decoded_at_a_fraction_and_looks_as_in_full(shape: tuple[int, int], resize: Resize) -> None:
    picture = drawn(shape)
    data, size = encode(picture, "JPEG"), (96, 96)
    assert jpeg_divisor(shape[::-1], 1, size, resize) == 8
    error = np.abs(decode(data, size, resize).astype(int) - decode(encode(picture, "PNG"), size, resize))
    assert error.mean() < 1.5 and error.max() < 12


def test_of_a_padded_photo_the_longer_side_alone_bounds_the_fraction() -> None:
    assert jpeg_divisor((100, 400), 1, (50, 50), "pad") == 8
    assert jpeg_divisor((100, 400), 1, (50, 50), "crop") == jpeg_divisor((100, 400), 1, (50, 50), "squash") == 2
    assert jpeg_divisor((400, 100), 6, (50, 25), "pad") == 8


@pytest.mark.parametrize("shape", [(1, 1), (3000, 1), (1, 3000), (7, 2)])
@pytest.mark.parametrize("resize", RESIZES)
def test_any_shape_becomes_any_size(shape: tuple[int, int], resize: Resize) -> None:
    for size in ((1, 1), (5, 4), (1, 40)):
        for kind in ("PNG", "JPEG"):
            assert decode(encode(drawn(shape), kind), size, resize).shape == (*size, 3)


def test_another_way_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'squash', 'crop', 'pad'.* not 'stretch'"):
        decode(encode(drawn(WIDE), "PNG"), (4, 4), "stretch")  # type: ignore[arg-type]
