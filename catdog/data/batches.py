"""Which photos each batch holds, and the random numbers of each step: both depend on (seed, epoch, step) alone."""

import numpy as np
import torch
from torch import Tensor


def steps_per_epoch(photos: int, batch_size: int, least: int = 1) -> int:
    """How many batches of at most `batch_size` an epoch has; fewer, and larger, where one would have less than `least`.

    That is for batch normalisation, which cannot take a single photo: three photos in batches of two are one batch.
    """
    return min(-(-photos // batch_size), max(1, photos // least))


def shuffled_batches(photos: int, steps: int, seed: int, epoch: int, shards: np.ndarray | None = None) -> list[Tensor]:
    """Row numbers (int64) of each batch of an epoch: all photos once, shuffled, in `steps` batches of equal size.

    shards: int, N, the shard of each photo, where they are brought from a store: `catdog.data.shard_order.in_windows`.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(photos)
    if shards is None:
        batches = np.array_split(order, steps)
    else:
        from catdog.data.shard_order import in_windows

        batches = in_windows(order, shards, steps, rng)
    return [torch.from_numpy(rows) for rows in batches]


def batches_in_order(photos: int, image_size: tuple[int, int], shards: np.ndarray | None = None) -> tuple[Tensor, ...]:
    """Row numbers of all photos, in batches of as many as make 16 MiB, what a processor caches, in float32.

    shards: as for `shuffled_batches`, a window of which is used up before the next.
    """
    height, width = image_size
    order = np.arange(photos)
    if shards is not None:
        from catdog.data.shard_order import WINDOW

        order = np.argsort(shards // WINDOW, kind="stable")
    return torch.from_numpy(order).split(max(1, 2**22 // (3 * height * width)))


def some_of_each_class(labels: Tensor, most: int) -> Tensor:
    """Row numbers (int64) of at most `most` photos of each class, evenly spaced among those of the class, in order."""
    chosen = []
    for label in labels.unique():
        rows = torch.nonzero(labels == label)[:, 0]
        chosen.append(rows[torch.linspace(0, len(rows) - 1, min(most, len(rows))).long()])
    return torch.cat(chosen).sort().values


def seed_step(seed: int, epoch: int, step: int, device: torch.device, rank: int = 0) -> np.random.Generator:
    """The generator of a step's augmentation; torch's own, which dropout draws from, is seeded too, for each rank."""
    entropy = np.random.SeedSequence([seed, epoch, step])
    # Not torch.manual_seed on a CPU: looking for the generators of other devices, it takes a millisecond.
    seed_torch = torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed
    seed_torch(int(entropy.generate_state(rank + 1, np.uint64)[-1] >> 1))
    return np.random.default_rng(entropy)
