"""Where training takes its pixels from, a batch at a time: all decoded before, or decoded as they are needed."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from catdog.data.decode_pool import Decoders
from catdog.data.listing import Listing
from catdog.data.pixel_cache import Skipped
from catdog.errors import CatdogError, ImageError

_AHEAD = 3  # batches decoded while a GPU computes
_TASK = 16  # photos decoded in a turn


class Feed(Protocol):
    """Labelled photos: a `PhotoSet`, whose pixels are all in memory, or a `PhotoStream`."""

    labels: Tensor
    """int64, N."""
    classes: tuple[str, ...]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width."""

    @property
    def skipped(self) -> Sequence[Skipped]:
        """The photos that could not be read, so far as is known."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device) -> "Feed":
        """The same photos, for a network on `device`."""

    def batches(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """For each of `batches`, row numbers (int64, B): those that can be read, and their pixels, uint8 B x 3 x H x W,
        both on the device."""


def in_order(photos: Feed) -> tuple[Tensor, ...]:
    """The row numbers of all photos, in batches of as many as make 16 MiB, what a processor caches, in float32."""
    height, width = photos.image_size
    return torch.arange(len(photos)).split(max(1, 2**22 // (3 * height * width)))


def some_of_each_class(labels: Tensor, most: int) -> Tensor:
    """Row numbers (int64) of at most `most` photos of each class, evenly spaced among those of the class, in order."""
    chosen = []
    for label in labels.unique():
        rows = torch.nonzero(labels == label)[:, 0]
        chosen.append(rows[torch.linspace(0, len(rows) - 1, min(most, len(rows))).long()])
    return torch.cat(chosen).sort().values


class PhotoStream:
    """Photos that are decoded anew each time: nothing is kept, so any number of them fits, and each epoch decodes all.

    listing: labels and paths. size: (height, width) they are squashed to. `max_skipped`, `strict`: as `load_photos`.
    """

    def __init__(
        self,
        listing: Listing,
        size: tuple[int, int],
        *,
        threads: int = 1,
        strict: bool = False,
        max_skipped: float = 1.0,
    ) -> None:
        self.listing, self.image_size, self.threads = listing, size, threads
        self.strict, self.max_skipped = strict, max_skipped
        self.labels = torch.tensor(listing.labels, dtype=torch.int64)
        self.classes = listing.classes
        self.device = torch.device("cpu")
        self.unreadable: dict[int, str] = {}
        self.decoders = Decoders(size, threads, len(listing))

    def __len__(self) -> int:
        return len(self.listing)

    @property
    def skipped(self) -> list[Skipped]:
        return [Skipped(self.listing.path(index), reason) for index, reason in sorted(self.unreadable.items())]

    def to(self, device: torch.device) -> "PhotoStream":
        self.device = device
        self.labels = self.labels.to(device)
        return self

    def batches(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Decoded by all threads; ahead of their use only where that is on another device than the CPU, on which the
        threads of decoding and of training would hold each other up.

        Raises CatdogError where too many photos, or all of a batch, cannot be read.
        """
        ahead = 0 if self.device.type == "cpu" else _AHEAD
        waiting: deque[tuple[Tensor, np.ndarray, list[Future[None]]]] = deque()
        pool = ThreadPoolExecutor(max(1, self.threads))
        try:
            for number in range(len(batches) + ahead):
                if number < len(batches):
                    rows = batches[number].cpu()
                    pixels = np.empty((len(rows), 3, *self.image_size), np.uint8)
                    starts = range(0, len(rows), _TASK)
                    tasks = [pool.submit(self._decode, rows[i : i + _TASK], pixels[i : i + _TASK]) for i in starts]
                    waiting.append((rows, pixels, tasks))
                if number >= ahead:
                    rows, pixels, tasks = waiting.popleft()
                    for task in tasks:
                        task.result()
                    yield self._readable(rows, torch.from_numpy(pixels))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _decode(self, rows: Tensor, into: np.ndarray) -> None:
        indices = rows.tolist()
        reasons = self.decoders.decode([self.listing.path(index) for index in indices], into)
        if self.strict and reasons:
            raise ImageError(next(iter(reasons.values())))
        self.unreadable.update({indices[position]: reason for position, reason in reasons.items()})

    def _readable(self, rows: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        if self.unreadable:
            keep = torch.tensor([row not in self.unreadable for row in rows.tolist()])
            if len(self.unreadable) > self.max_skipped * len(self) or not keep.any():
                raise CatdogError(
                    f"{len(self.unreadable)} of the photos in {self.listing.root} read so far cannot be, more than "
                    f"--max-skipped {self.max_skipped:g} allows or all of a batch; the first: {self.skipped[0].reason}"
                )
            rows, pixels = rows[keep], pixels[keep]
        return rows.to(self.device), pixels.to(self.device)
