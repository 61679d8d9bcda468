"""Variants that a demo trains, their results with confidence intervals, and the shuffling of pixels and weights."""

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from catdog.model.mlp import MLP
from catdog.trainer.loop import Trainer


@dataclass(frozen=True)
class Variant:
    """Network to compare: the configuration fields that it changes, and whether its photos are shuffled.

    `name` is printed after "with".
    """

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    is_shuffled: bool = False


@dataclass(frozen=True)
class Outcome:
    """Result of training a variant from each of S seeds, for E epochs."""

    name: str
    training: np.ndarray
    """S x E: accuracy on the training photos, over each epoch."""
    held_out: np.ndarray
    """S x E: accuracy on the held-out photos, after each epoch."""
    trainer: Trainer
    """The trainer of the first seed."""

    @property
    def accuracy(self) -> float:
        """Accuracy on the held-out photos after the last epoch, the mean over the seeds."""
        return float(self.held_out[:, -1].mean())

    @property
    def interval(self) -> tuple[float, float] | None:
        """95% confidence interval of `accuracy`; None for a single seed."""
        return mean_interval(self.held_out[:, -1])


# 97.5th percentile of Student's t for 1, 2, ... degrees of freedom (Student 1908; any table of it).
_T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228]
_T += [2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093]


def mean_interval(values: np.ndarray) -> tuple[float, float] | None:
    """95% confidence interval of the mean of `values` (shares), by Student's t, within [0, 1]; None for one value."""
    if len(values) < 2:
        return None
    half = _T[len(values) - 2] * float(values.std(ddof=1)) / math.sqrt(len(values))
    return max(0.0, float(values.mean()) - half), min(1.0, float(values.mean()) + half)


def shuffle_order(pixels: Tensor) -> Tensor:
    """Permutation of the pixels of photos, N x 3 x H x W: int64, HW, for each pixel the one that replaces it."""
    return torch.from_numpy(np.random.default_rng(0).permutation(pixels[0, 0].numel()))


def shuffle(pixels: Tensor, order: Tensor) -> Tensor:
    """Permute the pixels, with their three channels: N x 3 x H x W -> the same shape."""
    return pixels.flatten(2)[:, :, order.to(pixels.device)].view_as(pixels)


def shuffle_weights(model: MLP, order: Tensor) -> MLP:
    """Copy of `model` whose first layer's weights are permuted as `shuffle` permutes the pixels that they multiply."""
    model = copy.deepcopy(model)
    weight = next(model.parameters())  # the first layer's, outputs x inputs
    with torch.no_grad():
        weight.copy_(shuffle(weight.view(len(weight), 3, *model.image_size), order).flatten(1))
    return model
