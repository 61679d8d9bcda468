"""An MLP of which what local layers find is seen at all scales (pool_all): on each grid, not on the last alone."""

from typing import Any

import torch
from torch import Tensor

from catdog.model.mlp import MLP


class AllScalesMLP(MLP):
    """The layer after the local ones sees the mean over the places of the last grid, then of each grid before."""

    pool_all = True

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        *self.shapes, self.last_shape = self.architecture.layers(classes=1)

    def forward(self, images: Tensor) -> Tensor:
        """images: float, B x 3 x H x W, normalised -> logits: float, B x classes."""
        before = x = images.flatten(start_dim=1)
        branches: list[Tensor] = []
        for layer, shape in zip(self.hidden, self.shapes, strict=True):
            branches += [x] * shape.branches
            x = torch.cat([x, *branches], dim=1) if shape.pooled else x
            before, x = x, layer(x, before)
        return self.classifier(torch.cat([x, *branches], dim=1) if self.last_shape.pooled else x)
