"""Converts a decoded image of any mode to 8-bit sRGB, composited over white where it is transparent."""

import io
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from catdog.images.formats import MAX_PROFILE

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform
from catdog.images.geometry import strips


def fix_metadata(kind: str, image: Any, data: bytes) -> None:
    """Correct what Pillow reads wrongly, before the image is loaded.

    That is the transparent colour of a PNG of other than 8 bits, and the inversion of a CMYK JPEG not from Adobe.
    """
    if kind == "PNG" and "transparency" in image.info:  # a colour, in the bit depth of the file
        key, depth = image.info["transparency"], data[24]
        if isinstance(key, tuple) and depth == 16:
            image.info["transparency"] = tuple(level >> 8 for level in key)
        elif image.mode == "L" and depth < 8:
            image.info["transparency"] = key * 255 // (2**depth - 1)
    if kind == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:  # only Adobe stores inks inverted
        image.tile = [tile._replace(args=("CMYK", "")) for tile in image.tile]


def to_rgb(kind: str, image: Any, profile: bytes) -> Any:
    """Convert a Pillow image of any mode, with its ICC profile (or b""), to sRGB: mode RGB, or RGBX if it was that.

    It converts in strips of STRIP_PIXELS, so that intermediate images stay small.
    """
    mode = {"P": "RGB", "PA": "RGB", "CMYK": "CMYK", "LAB": "LAB"}.get(image.mode) or Image.getmodebase(image.mode)
    usable = isinstance(profile, bytes) and 128 < len(profile) <= MAX_PROFILE
    transform = _to_srgb(profile, mode) if usable else None
    transparent = image.has_transparency_data
    if image.mode in ("RGB", "RGBX") and not transparent and transform is None:
        return image
    deep = image.mode.startswith(("I", "F"))
    levels = _levels(kind, image) if deep else (0, 255)
    picture = Image.new("RGB", image.size)
    for box in strips(image):
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
    """The (black, white) values of an image of more than 8 bits, as `catdog.images.decoder` defines them."""
    tags = image.tag_v2 if kind == "TIFF" else {}
    if image.mode.startswith("I;16") or (image.mode == "I" and kind in ("PNG", "PNM")):
        low, high = 0.0, 4095.0 if tags.get(258) == (12,) else 65535.0
    else:
        low, high = np.inf, -np.inf
        for box in strips(image):
            values = np.asarray(image.crop(box))
            values = values[np.isfinite(values)].astype(np.float64)
            low, high = min(low, values.min(initial=np.inf)), max(high, values.max(initial=-np.inf))
        for white in (1, 255, 65535)[image.mode == "I" :]:
            if low >= 0 and high <= white:
                low, high = 0, white
                break
    return (high, low) if tags.get(262) == 0 else (low, high)  # 0: WhiteIsZero


def _eight_bits(values: np.ndarray, black: float, white: float) -> Image.Image:
    """Scale the values linearly from [black, white] to uint8, clipped to [0, 255]; NaN is black."""
    with np.errstate(all="ignore"):
        scaled = (values.astype(np.float64) - black) * (255 / ((white - black) or 1))
        return Image.fromarray(np.nan_to_num(scaled, nan=0).clip(0, 255).round().astype(np.uint8))


@lru_cache(maxsize=4)
def _to_srgb(profile: bytes, mode: str) -> "ImageCmsTransform | None":
    """Build the transform from an ICC profile to sRGB; None if the profile is sRGB, broken, or not for this mode."""
    from PIL import ImageCms

    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if re.match("sRGB( IEC|$)", opened.profile.profile_description or ""):
            return None
        return ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
    except Exception:
        return None
