"""The running average of the weights, which is evaluated and saved."""

import copy

import torch
from torch import nn


class AveragedWeights:
    """An exponential moving average of a network's weights (Polyak and Juditsky 1992).

    `model` is a network of its own, never trained, that holds the average; with decay 0 it is the trained one itself.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False) if decay else model

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards `model` after step number `step` (from 0); the first steps count for more."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
