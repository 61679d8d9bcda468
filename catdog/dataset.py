"""All pixels of a folder of photos as one tensor, each photo decoded once: what training reads."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from catdog import cache
from catdog.errors import CatdogError
from catdog.files import Listing


@dataclass
class PhotoSet:
    """The readable photos of a folder: `pixels` uint8 N x 3 x H x W, `labels` int64 N, class names in order."""

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    skipped: list[cache.Skipped]

    def __len__(self) -> int:
        return len(self.labels)


def in_chunks(pixels: Tensor) -> tuple[Tensor, ...]:
    """`pixels` (N x 3 x H x W) in order, a few photos at a time: as many as make 64 MiB when they are float32."""
    return pixels.split(max(1, 2**24 // max(1, pixels[0].numel()))) if len(pixels) else ()


def load_photos(
    listing: Listing,
    size: tuple[int, int],
    *,
    cache_folder: str = "auto",
    threads: int = 1,
    strict: bool = False,
    max_skipped: float = 1.0,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> PhotoSet:
    """Decode all photos of `listing` to `size`, or take them from the cache.

    Raises CatdogError if more than the share `max_skipped` of the photos cannot be read.
    """
    decoded = cache.decode_all(listing, size, cache=cache_folder, threads=threads, strict=strict, progress=progress)
    skipped = [cache.Skipped(listing.path(index), reason) for index, reason in decoded.skipped.items()]
    if len(skipped) > max_skipped * len(listing):
        raise CatdogError(
            f"{len(skipped)} of the {len(listing)} photos in {listing.root} cannot be read, more than --max-skipped "
            f"{max_skipped:g} allows; the first: {skipped[0].reason}"
        )
    labels = [label for index, label in enumerate(listing.labels) if index not in decoded.skipped]
    return PhotoSet(torch.from_numpy(decoded.pixels), torch.tensor(labels), listing.classes, skipped)
