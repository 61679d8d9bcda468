"""Layers with local receptive fields: LocalLinear, whose units each see one window, and its batch normalisation.

A flattened local layer holds the channels of a place one after the other, and so is a convolution's input or output in
the memory format channels_last: nothing is copied between them.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from catdog.architecture import Grid, margin


class LocalLinear(nn.Module):
    """Wx + b with a W that is 0 outside each unit's window (`catdog.architecture`). x: float, B x inputs -> B x units.

    weight: units x window, only the weights inside each unit's window; bias: units. While `shared` is true, all places
    compute with the mean of their weights, which is a convolution, and so get the same gradient. A layer that is made
    `shared` has these once: weight: channels x window; bias: channels.
    """

    def __init__(self, below: Grid, channels: int, field: int, stride: int = 2, shared: bool = False) -> None:
        super().__init__()
        self.below, self.grid, self.field, self.stride = below, below.above(channels, field, stride), field, stride
        self.out_features = self.grid.units
        rows = channels if shared else self.grid.units
        self.weight = nn.Parameter(torch.empty(rows, field * field * below.channels))
        self.bias = nn.Parameter(torch.zeros(rows))
        self.shared = shared

    def init_weights(self, gain: float) -> None:
        """Draw the weights with variance `gain` / window, the same for all places, so that they can be shared."""
        window = self.weight.shape[1]
        place_weight = torch.randn(self.grid.channels, window) * math.sqrt(gain / window)
        self.weight.data.copy_(place_weight.repeat(len(self.weight) // self.grid.channels, 1))

    def make_norm(self) -> "ChannelNorm":
        """New batch normalisation of its channels."""
        return ChannelNorm(self.grid.channels)

    @property
    def window_numbers(self) -> int:
        """How many numbers the windows of all places hold, for one photo."""
        return self.grid.places * self.weight.shape[1]

    def describe(self) -> str:
        """What it computes, for the table of the layers."""
        grid, field = self.grid, self.field
        same = ", shared" if len(self.weight) == grid.channels < grid.units else ""
        return (
            f"Wx + b, {grid.channels} units at {grid.height} x {grid.width} places, each sees {field} x {field}{same}"
        )

    def forward(self, x: Tensor) -> Tensor:
        below, channels = self.below, self.grid.channels
        if below.by_channel:
            x = x.unflatten(1, (below.channels, below.height, below.width)).permute(0, 2, 3, 1)
        else:
            x = x.unflatten(1, (below.height, below.width, below.channels))
        weight = self.weight.unflatten(0, (-1, channels))
        if self.shared:
            weight, bias = (
                each.mean(dim=0) if len(each) > 1 else each[0] for each in (weight, self.bias.view(-1, channels))
            )
            kernel = weight.view(channels, self.field, self.field, below.channels).permute(0, 3, 1, 2)
            found = F.conv2d(x.permute(0, 3, 1, 2), kernel, bias, stride=self.stride, padding=margin(self.field))
            return found.permute(0, 2, 3, 1).flatten(start_dim=1)
        edge = margin(self.field)
        seen = _Windows.apply(F.pad(x, (0, 0, edge, edge, edge, edge)), self.field, self.stride)
        found = torch.bmm(seen, weight.transpose(1, 2))  # places x B x channels
        return found.transpose(0, 1).flatten(start_dim=1) + self.bias


class _Windows(torch.autograd.Function):
    """Windows at `stride` in both directions: B x H x W x C -> places x B x (field * field * C)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, field: int, stride: int) -> Tensor:
        x = x.contiguous()
        count, height, width, channels = ctx.shape = x.shape
        ctx.field, ctx.stride = field, stride
        per_photo, per_row, per_place, _ = x.stride()
        rows, columns = (height - field) // stride + 1, (width - field) // stride + 1
        seen = x.as_strided(
            (rows, columns, count, field, field, channels),
            (stride * per_row, stride * per_place, per_photo, per_row, per_place, 1),
        )
        return seen.reshape(rows * columns, count, -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        count, height, width, channels = ctx.shape
        field, stride = ctx.field, ctx.stride
        rows, columns = (height - field) // stride + 1, (width - field) // stride + 1
        by_window = gradients[0].view(rows, columns, count, field, field, channels)
        found = by_window.new_zeros(ctx.shape)
        for i in range(field):
            for j in range(field):
                seen = found[:, i : i + stride * (rows - 1) + 1 : stride, j : j + stride * (columns - 1) + 1 : stride]
                seen += by_window[:, :, :, i, j].permute(2, 0, 1, 3)
        return found, None, None


class ChannelNorm(nn.BatchNorm1d):
    """Batch normalisation of a local layer: per channel, over the batch and all places. x: float, B x units."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.view(-1, self.num_features)).view_as(x)


class PooledLinear(nn.Linear):
    """Wx + b of the mean of each channel over all places of local layers, one layer after the other.

    x: float, B x their units -> B x units.
    """

    def __init__(self, grids: Sequence[Grid], units: int) -> None:
        super().__init__(sum(grid.channels for grid in grids), units)
        self.grids = grids

    def describe(self) -> str:
        """What it computes, for the table of the layers."""
        grids = f" of {len(self.grids)} layers" * (len(self.grids) > 1)
        return f"mean over all places{grids}, Wx + b, W {self.out_features:,} x {self.in_features:,}"

    def means(self, x: Tensor) -> Tensor:
        """What W is multiplied by: B x channels."""
        parts = zip(self.grids, x.split([grid.units for grid in self.grids], dim=1), strict=True)
        return torch.cat([part.unflatten(1, (grid.places, grid.channels)).mean(dim=1) for grid, part in parts], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.means(x))


def share_places(model: nn.Module, shared: bool) -> None:
    """Set whether all places of each local layer of `model` share their weights."""
    for module in model.modules():
        if isinstance(module, LocalLinear):
            module.shared = shared
