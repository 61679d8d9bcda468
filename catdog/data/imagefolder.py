"""The photos as a torchvision ImageFolder, for a DataLoader or any other code that knows one.

Training does not go through it: it reads the same pixels from `catdog.data.dataset`, a batch at a time and already decoded.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.datasets import ImageFolder

from catdog.data.listing import Listing, list_photos
from catdog.images.decoder import decode


class PhotoFolder(ImageFolder):
    """torchvision's ImageFolder with catdog's listing and decoding: item i is (uint8 3 x H x W tensor, label).

    photos: a folder of class folders, or a listing of one. size: (height, width) that each photo is squashed to;
    None keeps its own. Reading a broken photo raises ImageError.
    """

    def __init__(self, photos: str | Path | Listing, size: tuple[int, int] | None = None) -> None:
        self.listing = photos if isinstance(photos, Listing) else list_photos(photos)
        super().__init__(
            str(self.listing.root), transform=_to_tensor, loader=partial(decode, size=size), allow_empty=True
        )

    def find_classes(self, directory: Any) -> tuple[list[str], dict[str, int]]:
        return list(self.listing.classes), {name: label for label, name in enumerate(self.listing.classes)}

    def make_dataset(self, *args: Any, **kwargs: Any) -> list[tuple[str, int]]:
        return [(self.listing.path(i), label) for i, label in enumerate(self.listing.labels)]


def _to_tensor(picture: Any) -> Tensor:
    """uint8 H x W x 3 array -> uint8 3 x H x W tensor."""
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous()
