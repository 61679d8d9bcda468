"""PhotoFolder, the photos that training iterates as a torchvision ImageFolder, for loops of your own.

Training itself does without torchvision, which takes longer to import than torch.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import Tensor
from torchvision.datasets import ImageFolder, VisionDataset

from catdog.architecture import Resize
from catdog.data.listing import Listing
from catdog.data.named_folder import open_named
from catdog.data.photo_dataset import PhotoDataset
from catdog.images.decoder import decode

__all__ = ["PhotoFolder"]


class PhotoFolder(PhotoDataset, ImageFolder):
    """torchvision's ImageFolder with catdog's listing and decoding: item i is (uint8 3 x H x W tensor, label).

    photos: a folder of class folders, or a listing of one. size: (height, width) that each photo is resized to, as
    `resize` says (`catdog.images.decode`); None keeps its own. transform, target_transform: applied to the tensor, and
    to the label.

    Reading a broken photo raises ImageError. on_error="skip" decodes each photo once when the folder is opened, and
    leaves broken ones out: `len` counts the others, `skipped` names them; a file that breaks afterwards still raises.
    """

    def __init__(
        self,
        photos: str | Path | Listing,
        size: tuple[int, int] | None = None,
        transform: Callable[[Tensor], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        *,
        resize: Resize = "squash",
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        listing, skipped = open_named(photos, on_error)
        PhotoDataset.__init__(self, listing, size, resize, skipped=skipped)
        # Not ImageFolder's own __init__, which lists the folder by other rules, and a million photos in 500 MB.
        VisionDataset.__init__(self, str(listing.root), transform=transform, target_transform=target_transform)
        self.loader, self.extensions = partial(decode, size=size, resize=resize), None
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        self.samples = self.imgs = listing.samples
        self.targets = listing.labels

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        sample, label = super().__getitem__(index)
        if self.transform is not None:
            sample = self.transform(sample)
        return sample, label if self.target_transform is None else self.target_transform(label)

    def __getitems__(self, rows: Sequence[int] | Tensor) -> Sequence[tuple[Any, Any]]:
        if self.transform is None and self.target_transform is None:
            return super().__getitems__(rows)
        return [self[int(row)] for row in rows]
