"""Keeps the shape of a photo that is resized: crops it, or pads it."""

from collections.abc import Sequence

import numpy as np

from catdog.architecture import Resize


def box_and_target(
    full: Sequence[float], size: tuple[int, int], resize: Resize
) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """The box (left, top, right, bottom) of an image that is kept, and (width, height) that it is resized to.

    full: (width, height) of the image. size: (width, height) wanted. For "crop" the box is the largest of the shape of
    `size`, around the centre; for "pad" it is all, and what it is resized to is the largest of its shape within `size`.
    """
    ratios = [side / wanted for side, wanted in zip(full, size, strict=True)]
    if resize == "pad":
        width, height = (max(1, round(side / max(ratios))) for side in full)
        return (0, 0, full[0], full[1]), (width, height)
    left, top = (max(0, side - wanted * min(ratios)) / 2 for side, wanted in zip(full, size, strict=True))
    return (left, top, full[0] - left, full[1] - top), size


def pad(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`pixels`, uint8, H x W x 3, in the middle of `size` (height, width), their edges drawn out.

    As augmentation does around a photo that it makes smaller (zoom_out), and unlike a colour, an edge of the photo's
    own is nothing that the network would have to learn to overlook.
    """
    rows, columns = (
        (np.arange(side) - (side - there) // 2).clip(0, there - 1)
        for side, there in zip(size, pixels.shape, strict=False)
    )
    return pixels[rows[:, None], columns]
