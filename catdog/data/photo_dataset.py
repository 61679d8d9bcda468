"""PhotoDataset, the photos that training iterates: single ones, and whole batches at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from catdog.architecture import Resize
from catdog.data.decode_pool import DecodePool
from catdog.data.listing import Listing, Skipped
from catdog.errors import CatdogError, ImageError
from catdog.images.decoder import decode, decode_files

_TASK = 16  # photos of a batch that one worker decodes in a turn
Item = tuple[Tensor, int]


@dataclass(frozen=True)
class PhotoBatch(Sequence[Item]):
    """B photos: as a sequence, the items of an ImageFolder, which DataLoader's default collation stacks again.

    rows: int64, B: which photos of the folder. pixels: uint8, B x 3 x H x W. folder_labels: int64, of all its photos.
    """

    rows: Tensor
    pixels: Tensor
    folder_labels: Tensor

    @property
    def labels(self) -> Tensor:
        """int64, B."""
        return self.folder_labels[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.pixels[index], int(self.folder_labels[self.rows[index]])


class PhotoDataset(Dataset[Any]):
    """The photos of a listing: item i is (uint8 3 x H x W tensor, label). `catdog.imagefolder` makes it an ImageFolder.

    size: (height, width) that each photo is resized to, as `resize` says (`catdog.images.decode`); None keeps its own.
    pixels: all photos decoded before, uint8 N x 3 x H x W (see `load_photos`); None decodes each photo each time that
    it is asked for, batches by the `pool` if there is one. skipped: photos left out of the listing as unreadable.

    Reading a broken photo raises ImageError. max_skipped: a batch leaves broken photos out, up to this share of
    `out_of` (all), or raises CatdogError.
    """

    def __init__(
        self,
        listing: Listing,
        size: tuple[int, int] | None = None,
        resize: Resize = "squash",
        *,
        pixels: Tensor | None = None,
        skipped: Sequence[Skipped] = (),
        pool: DecodePool | None = None,
        max_skipped: float = 0.0,
        out_of: int | None = None,
    ) -> None:
        self.listing, self.classes = listing, list(listing.classes)
        self.size, self.resize, self.is_decoded = size, resize, pixels is not None
        self.pixels = torch.empty(0, 3, *(size or (0, 0)), dtype=torch.uint8) if pixels is None else pixels
        self.labels = torch.tensor(listing.labels, dtype=torch.int64)
        """int64, N, on `device`."""
        self.features: Tensor | None = None
        """float32, N x D: what the layers of a network that stay as they are make of each photo, if that is known."""
        self.device = torch.device("cpu")
        """Where batches are to arrive."""
        self._stays = False
        self.pool, self.max_skipped, self.out_of = pool, max_skipped, out_of
        self._skipped, self._unreadable = list(skipped), dict[int, str]()

    @classmethod
    def from_tensors(cls, pixels: Tensor, labels: Tensor, classes: Sequence[str]) -> "PhotoDataset":
        """Photos that are in memory alone. pixels: uint8, N x 3 x H x W; labels: int64, N, indices into `classes`."""
        names = [f"{classes[label]}/{row}" for row, label in enumerate(labels.tolist())]
        height, width = pixels.shape[2:]
        return cls(Listing(Path(), tuple(classes), names, labels.tolist()), (height, width), pixels=pixels)

    def select(self, keep: Sequence[bool]) -> "PhotoDataset":
        """The decoded photos for which `keep` is true."""
        rows = torch.tensor(keep)
        found = PhotoDataset(self.listing.select(keep), self.size, pixels=self.pixels[rows])
        found.features = None if self.features is None else self.features[rows]
        return found

    @cached_property
    def shards(self) -> np.ndarray | None:
        """int, N: the shard of each photo, where they are brought from a store batch by batch; else None."""
        from catdog.data.remote import shards_of

        return None if self.is_decoded else shards_of(self.listing)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the photos as they are given."""
        if self.size is None:
            raise ValueError("photos without a size are photos of many sizes")
        return self.size

    @property
    def skipped(self) -> list[Skipped]:
        """The photos that could not be read, so far as is known."""
        found = sorted(self._unreadable.items())
        return [*self._skipped, *(Skipped(self.listing.path(row), reason) for row, reason in found)]

    def keep_in_main_memory(self) -> None:
        """Keep the pixels where they are, whatever device batches are for; `catdog.data.prefetch` copies those."""
        self._stays = True

    @property
    def needs_copies(self) -> bool:
        """Whether batches are made in main memory for a network that is elsewhere."""
        return self.device.type != "cpu" and (self._stays or not self.is_decoded)

    def to(self, device: torch.device) -> "PhotoDataset":
        """This folder with batches for a network on `device`, and its pixels there, unless they are kept."""
        self.device = device
        self.labels = self.labels.to(device)
        if not self._stays:
            self.pixels = self.pixels.to(device)
        return self

    def __len__(self) -> int:
        return len(self.listing)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if self.is_decoded:
            sample = self.pixels[index].clone()
        else:
            pixels = decode(self.listing.path(index), self.size, self.resize)
            sample = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
        return sample, self.listing.labels[index]

    def __getitems__(self, rows: Sequence[int] | Tensor) -> Sequence[tuple[Any, Any]]:
        """A batch of the photos `rows`, which DataLoader asks for: a PhotoBatch, or photos of many sizes as a list."""
        if self.size is None:
            return [self[int(row)] for row in rows]
        rows = torch.as_tensor(rows, dtype=torch.int64)
        if not self.is_decoded:
            rows, pixels = self._decode(rows)
        elif not self.needs_copies:
            rows = rows.to(self.device, non_blocking=True)
            pixels = self.pixels.index_select(0, rows)  # much quicker than pixels[rows]
        else:  # into memory that the system does not move, from which a GPU can fetch them by itself
            pinned = self.device.type == "cuda"
            rows = rows.pin_memory() if pinned else rows
            pixels = torch.empty(len(rows), *self.pixels.shape[1:], dtype=torch.uint8, pin_memory=pinned)
            torch.index_select(self.pixels, 0, rows, out=pixels)
        return PhotoBatch(rows, pixels, self.labels)

    def _decode(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the photos `rows` that can be read, and their pixels."""
        indices = rows.tolist()
        pixels = np.empty((len(indices), 3, *self.image_size), np.uint8)
        paths = [self.listing.path(index) for index in indices]
        if self.pool is None:
            found_reasons = [decode_files(paths, pixels, self.resize)[0]]
        else:
            found_reasons = [part.reasons for part in self.pool.decode_all(paths, pixels, _TASK)]
        for reasons in found_reasons:
            if reasons and not self.max_skipped:
                raise ImageError(next(iter(reasons.values())))
            self._unreadable.update({indices[position]: reason for position, reason in reasons.items()})
        found = torch.from_numpy(pixels)
        if not self._unreadable:
            return rows, found
        keep = torch.tensor([index not in self._unreadable for index in indices])
        if len(self._unreadable) > self.max_skipped * (self.out_of or len(self)) or not keep.any():
            raise CatdogError(
                f"{len(self._unreadable)} of the photos in {self.listing.root} read so far cannot be, more than "
                f"--max-skipped {self.max_skipped:g} allows or all of a batch; the first: {self.skipped[0].reason}"
            )
        return rows[keep], found[keep]
