"""The batches of an epoch, and what a step takes of each: augmented, normalised images and their targets."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from catdog.config.settings import Augment
from catdog.data.photo_dataset import PhotoDataset
from catdog.data.prefetch import load_batches
from catdog.runtime.world import ALONE, World
from catdog.trainer.augment import apply, draw, own_slice
from catdog.trainer.targets import Targets


def load_slices(
    photos: PhotoDataset, batches: Sequence[Tensor], world: World, whole: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """For each batch its rows, and the pixels of this process's slice of it; of the `whole` batch, to blend photos."""
    if world.size == 1:
        yield from ((batch.rows, batch.pixels) for batch in load_batches(photos, batches))
        return
    needed = batches if whole else [rows[world.slice(len(rows))] for rows in batches]
    for rows, batch in zip(batches, load_batches(photos, needed), strict=True):
        yield rows.to(photos.device, non_blocking=True), batch.pixels


def prepare_batch(
    pixels: Tensor,
    labels: Tensor,
    settings: Augment,
    rng: np.random.Generator,
    mean: Tensor,
    std: Tensor,
    world: World = ALONE,
) -> tuple[Tensor, Targets]:
    """This process's slice of a batch of B photos: (images: float32, b x 3 x H x W, augmented and normalised; targets).

    pixels: uint8, of the whole batch where `world` is one process or photos are blended (mixup), else of the slice.
    labels: int64, B. rng: from which the augmentation of all B photos is drawn, in every process alike.
    """
    drawn = draw(settings, len(labels), rng)
    partners = labels[drawn.partner.to(labels.device, non_blocking=True)]
    targets = Targets(labels, partners, drawn.share)
    if world.size > 1:
        own = world.slice(len(labels))
        targets = targets.part(own)
        if settings.mixup:
            pixels, drawn = own_slice(pixels, drawn, own)
        else:
            drawn = drawn.part(own)
    return apply(pixels, drawn, mean, std), targets
