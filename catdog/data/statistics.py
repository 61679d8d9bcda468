"""Means and deviations of the training photos' colours, by which the network's input is normalised."""

from typing import Any

import torch

from catdog.data.batches import batches_in_order, some_of_each_class
from catdog.data.photo_dataset import PhotoDataset
from catdog.data.prefetch import load_batches

_PHOTOS = 4096  # at most, whose colours are measured


def colour_statistics(photos: PhotoDataset) -> tuple[Any, Any, Any]:
    """(mean, standard deviation of each channel over all pixels, mean colour of each class), in levels (0 to 255).

    Of many photos, some of each class are taken. Sums are of whole numbers below 2^53, so exact in any order.
    """
    share = 1 if photos.is_decoded else 4  # there each photo has to be decoded for it
    most = max(16, _PHOTOS // share // len(photos.classes))
    batch_size = len(batches_in_order(len(photos), photos.image_size)[0])
    batches = some_of_each_class(photos.labels, most).split(batch_size)
    numbers = photos.image_size[0] * photos.image_size[1]
    found, labels, squares = [], [], torch.zeros(3, dtype=torch.float64)
    exact = torch.float32 if photos.image_size[1] * 255**2 < 2**24 else torch.float64  # for the squares of a row
    for batch in load_batches(photos, batches):
        levels = batch.pixels.to(exact)
        found.append(levels.sum(dim=3).double().sum(dim=2))
        labels.append(batch.labels)
        squares += levels.square_().sum(dim=3).double().sum(dim=(0, 2))
    sums, found_labels = torch.cat(found), torch.cat(labels)
    mean = sums.sum(0) / (len(sums) * numbers)
    std = (squares / (len(sums) * numbers) - mean.square()).clamp(min=0).sqrt()
    std = torch.where(std < 1, torch.ones_like(std), std)  # photos all of one colour
    by_class = torch.zeros(len(photos.classes), 3, dtype=torch.float64).index_add_(0, found_labels, sums)
    counts = torch.bincount(found_labels, minlength=len(photos.classes)).clamp(min=1)
    colours = by_class / (counts[:, None] * numbers)
    return tuple(mean.tolist()), tuple(std.tolist()), tuple(tuple(colour) for colour in colours.tolist())
