"""All pixels of a folder of photos as one tensor, each photo decoded once: what training reads."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from catdog.data import pixel_cache as cache
from catdog.data.listing import Listing
from catdog.errors import CatdogError


@dataclass
class PhotoSet:
    """The readable photos of a folder: `pixels` uint8 N x 3 x H x W, `labels` int64 N, class names in order."""

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    skipped: Sequence[cache.Skipped]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_size(self) -> tuple[int, int]:
        height, width = self.pixels.shape[2:]
        return height, width

    def to(self, device: torch.device) -> "PhotoSet":
        """The same photos, their pixels and labels on `device`."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))

    def batches(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """For each of `batches`, the row numbers (int64) of photos: them, and the photos' pixels, on its device."""
        for rows in batches:
            rows = rows.to(self.pixels.device, non_blocking=True)
            yield rows, self.pixels.index_select(0, rows)  # much quicker than pixels[rows]


def load_photos(
    listing: Listing,
    size: tuple[int, int],
    *,
    cache_folder: str = "auto",
    cache_limit: float = math.inf,
    threads: int = 1,
    strict: bool = False,
    max_skipped: float = 1.0,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    decode_all: Callable[..., cache.Decoded] = cache.decode_all,
) -> PhotoSet:
    """Decode all photos of `listing` to `size`, or take them from the cache.

    `decode_all` may be one that has begun before (`DecodingAhead`), or that has its decoders already.
    Raises CatdogError if more than the share `max_skipped` of the photos cannot be read.
    """
    decoded = decode_all(
        listing,
        size,
        cache=cache_folder,
        limit=cache_limit,
        threads=threads,
        strict=strict,
        progress=progress,
    )
    skipped = [cache.Skipped(listing.path(index), reason) for index, reason in decoded.skipped.items()]
    if len(skipped) > max_skipped * len(listing):
        raise CatdogError(
            f"{len(skipped)} of the {len(listing)} photos in {listing.root} cannot be read, more than --max-skipped "
            f"{max_skipped:g} allows; the first: {skipped[0].reason}"
        )
    labels = [label for index, label in enumerate(listing.labels) if index not in decoded.skipped]
    return PhotoSet(torch.from_numpy(decoded.pixels), torch.tensor(labels), listing.classes, skipped)
