"""The network on photos that are only looked at: the logits of each, as prediction computes them."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from catdog.data.batches import batches_in_order
from catdog.data.photo_dataset import PhotoDataset
from catdog.data.prefetch import load_batches
from catdog.runtime.world import ALONE, World
from catdog.trainer.augment import normalise


@torch.no_grad()
def evaluate(
    model: nn.Module,
    photos: PhotoDataset,
    mean: Tensor,
    std: Tensor,
    *,
    average_mirrored: bool,
    world: World = ALONE,
    between_batches: Callable[[], None] = lambda: None,
) -> tuple[np.ndarray, np.ndarray]:
    """(labels, int64, N; logits, float32, N x C) of those of `photos` that can be read, each process doing its share.

    mean, std: float32, 3, in levels. average_mirrored: the mean over each photo and its mirror image.
    between_batches: called before each batch, if `world` is one process.
    """
    model.eval()
    # A row a photo: the logits, and whether it could be read. Each process fills in some, and the rest is 0.
    answers = torch.zeros(len(photos), len(photos.classes) + 1, device=photos.device)
    batches = batches_in_order(len(photos), photos.image_size, photos.shards)
    for batch in load_batches(photos, batches[world.rank :: world.size]):
        if world.size == 1:
            between_batches()
        images = normalise(batch.pixels, mean, std)
        logits = model(images)
        if average_mirrored:
            logits = (logits + model(images.flip(3))) / 2
        answers[batch.rows] = F.pad(logits.float(), (0, 1), value=1.0)
    answers = world.sum(answers).cpu()
    is_read = answers[:, -1] > 0
    return photos.labels.cpu()[is_read].numpy(), answers[is_read, :-1].numpy()


def some_images(photos: PhotoDataset, mean: Tensor, std: Tensor) -> Tensor:
    """A few photos, normalised, to look for where a NaN or an infinite number comes from."""
    batch = next(load_batches(photos, [torch.arange(min(64, len(photos)))]))
    return normalise(batch.pixels, mean, std)
