"""What came of training a variant of a network, and the photos and weights that a demo shuffles."""

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
    """One of the networks compared: fields of the configuration that it changes, and whether its photos are shuffled.

    `name` goes on after "with".
    """

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    is_shuffled: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of training a variant from each of S seeds, for E epochs."""

    name: str
    trained: np.ndarray
    """S x E: share of right answers on the photos trained on, over each epoch."""
    apart: np.ndarray
    """S x E: the same on the photos kept apart, after each epoch."""
    first: Trainer
    """The training from the first seed."""

    @property
    def accuracy(self) -> float:
        """Right on photos kept apart after the last epoch, the mean over the seeds."""
        return float(self.apart[:, -1].mean())

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of that mean, 95%; None for a single seed."""
        return mean_interval(self.apart[:, -1])


# Student's t for 1, 2, ... degrees of freedom: its 97.5th percentile (Student 1908; any table of it).
_T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228]


_T += [2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093]


def mean_interval(values: np.ndarray) -> tuple[float, float] | None:
    """The 95% interval of the mean of a few shares, by Student's t, kept within [0, 1]; None for one value."""
    if len(values) < 2:
        return None
    half = _T[len(values) - 2] * float(values.std(ddof=1)) / math.sqrt(len(values))
    return max(0.0, float(values.mean()) - half), min(1.0, float(values.mean()) + half)


def shuffle_order(pixels: Tensor) -> Tensor:
    """Where each pixel of a shuffled photo comes from: int64, H * W, the same for all photos of N x 3 x H x W."""
    return torch.from_numpy(np.random.default_rng(0).permutation(pixels[0, 0].numel()))


def shuffle(pixels: Tensor, order: Tensor) -> Tensor:
    """N x 3 x H x W -> the same shape: every pixel, with its three colours, moved to another place."""
    return pixels.flatten(2)[:, :, order.to(pixels.device)].view_as(pixels)


def shuffle_weights(model: MLP, order: Tensor) -> MLP:
    """A copy of `model` whose first layer's weights are moved as `shuffle` moves the pixels that they multiply."""
    model = copy.deepcopy(model)
    weight = next(model.parameters())  # the first layer's, outputs x inputs
    with torch.no_grad():
        weight.copy_(shuffle(weight.view(len(weight), 3, *model.image_size), order).flatten(1))
    return model
