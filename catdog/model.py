"""The network: a multilayer perceptron that flattens the picture.

Each hidden layer computes f(x, W) = Wx + b and an activation; the last layer, the linear classifier, computes
one score (logit) a class. `catdog.predict` states the same computation in NumPy.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from catdog.architecture import Architecture, Grid, LayerShape, margin

# GELU by its tanh formula (Hendrycks and Gimpel 2016, section 2), which needs no error function to be stated in NumPy.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": lambda: nn.GELU(approximate="tanh"),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class LocalLinear(nn.Module):
    """Wx + b with a W that is 0 outside each unit's window (`catdog.architecture`). x: float, B x inputs -> B x units.

    weight: units x window, a unit's weights for what it sees alone; bias: units. While it is `shared`, all places
    compute with the mean of their weights, which is a convolution; they get the same gradient and so move together.
    """

    def __init__(self, below: Grid, channels: int, field: int) -> None:
        super().__init__()
        self.below, self.grid, self.field = below, below.above(channels, field), field
        self.in_features, self.out_features = below.units, self.grid.units
        self.weight = nn.Parameter(torch.empty(self.grid.units, field * field * below.channels))
        self.bias = nn.Parameter(torch.zeros(self.grid.units))
        self.shared = False

    def forward(self, x: Tensor) -> Tensor:
        below, places, channels = self.below, self.grid.places, self.grid.channels
        if below.by_channel:
            x = x.unflatten(1, (below.channels, below.height, below.width)).permute(0, 2, 3, 1)
        else:
            x = x.unflatten(1, (below.height, below.width, below.channels))
        weight = self.weight.view(places, channels, -1)
        if self.shared:
            kernel = weight.mean(dim=0).view(channels, self.field, self.field, below.channels).permute(0, 3, 1, 2)
            bias = self.bias.view(places, channels).mean(dim=0)
            found = F.conv2d(x.permute(0, 3, 1, 2), kernel, bias, stride=2, padding=margin(self.field))
            return found.permute(0, 2, 3, 1).flatten(start_dim=1)
        edge = margin(self.field)
        seen = _Windows.apply(F.pad(x, (0, 0, edge, edge, edge, edge)), self.field)  # places x B x window
        found = torch.bmm(seen, weight.transpose(1, 2))  # places x B x channels
        return found.transpose(0, 1).flatten(start_dim=1) + self.bias


class _Windows(torch.autograd.Function):
    """B x H x W x C -> places x B x (field * field * C): every second window, in both directions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, field: int) -> Tensor:
        x = x.contiguous()
        count, height, width, channels = ctx.shape = x.shape
        ctx.field = field
        per_photo, per_row, per_place, _ = x.stride()
        rows, columns = (height - field) // 2 + 1, (width - field) // 2 + 1
        seen = x.as_strided(
            (rows, columns, count, field, field, channels),
            (2 * per_row, 2 * per_place, per_photo, per_row, per_place, 1),
        )
        return seen.reshape(rows * columns, count, -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        count, height, width, channels = ctx.shape
        field = ctx.field
        rows, columns = (height - field) // 2 + 1, (width - field) // 2 + 1
        by_window = gradients[0].view(rows, columns, count, field, field, channels)
        found = by_window.new_zeros(ctx.shape)
        for i in range(field):
            for j in range(field):
                seen = found[:, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2]
                seen += by_window[:, :, :, i, j].permute(2, 0, 1, 3)
        return found, None


class HiddenLayer(nn.Module):
    """Wx + b, (batch normalisation), activation, (dropout). x: float, B x inputs -> B x units."""

    def __init__(self, linear: nn.Linear | LocalLinear, activation: str, batch_norm: bool, dropout: float) -> None:
        super().__init__()
        self.linear = linear
        self.norm: nn.Module = nn.Identity()
        if batch_norm:
            self.norm = (
                ChannelNorm(linear.grid.channels)
                if isinstance(linear, LocalLinear)
                else nn.BatchNorm1d(linear.out_features)
            )
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)
        if isinstance(linear, LocalLinear):
            # As below, by the inputs that a unit sees; all places begin alike, so that they can be shared.
            window = linear.weight.shape[1]
            spread = math.sqrt(2 / window) if activation in ("relu", "gelu") else math.sqrt(1 / window)
            of_a_place = torch.randn(linear.grid.channels, window) * spread
            linear.weight.data.copy_(of_a_place.repeat(linear.grid.places, 1))
        elif activation in ("relu", "gelu"):
            # He et al. 2015, equation 10: variance 2 / inputs, since the activation silences half of the units.
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        else:
            # Glorot and Bengio 2010, equation 16, for activations that are odd around their middle.
            gain = 5 / 3 if activation == "tanh" else 1.0  # torch.nn.init.calculate_gain
            nn.init.xavier_uniform_(linear.weight, gain)
        nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.activation(self.norm(self.linear(x))))


class ChannelNorm(nn.BatchNorm1d):
    """Batch normalisation of a layer on a grid: over the batch and all places of a channel. x: float, B x units."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.view(-1, self.num_features)).view_as(x)


class MLP(nn.Module):
    """Flatten, hidden layers, linear classifier.

    image_size: (height, width) of the input. hidden: width of each hidden layer; empty for a linear classifier.
    local: units at each place of the local layers that come before them; field: side of the windows that these see.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        classes: int,
        hidden: Sequence[int] = (1024, 1024, 1024),
        activation: str = "gelu",
        batch_norm: bool = False,
        dropout: float = 0.0,
        local: Sequence[int] = (),
        field: int = 4,
    ) -> None:
        super().__init__()
        shape = Architecture(image_size, tuple(hidden), activation, batch_norm, dropout, tuple(local), field)
        self.image_size = image_size
        self.hidden = nn.ModuleList(
            HiddenLayer(_linear(layer), activation, batch_norm, dropout) for layer in shape.hidden_layers()
        )
        self.classifier = nn.Linear(shape.layers(classes)[-1].inputs, classes)
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    @classmethod
    def of(cls, shape: Architecture, classes: int) -> "MLP":
        """The MLP of that shape."""
        return cls(
            shape.image_size,
            classes,
            shape.hidden,
            shape.activation,
            shape.batch_norm,
            shape.dropout,
            shape.local,
            shape.field,
        )

    def forward(self, images: Tensor) -> Tensor:
        """images: float, B x 3 x H x W, normalised -> logits: float, B x classes."""
        x = images.flatten(start_dim=1)
        for layer in self.hidden:
            x = layer(x)
        return self.classifier(x)

    def numbers_kept(self) -> int:
        """How many numbers a photo has that wait for the backward pass: three a unit, and local layers' windows."""
        found = 0
        for layer in self.hidden:
            assert isinstance(layer, HiddenLayer)
            found += 3 * layer.linear.out_features
            if isinstance(layer.linear, LocalLinear):
                found += layer.linear.grid.places * layer.linear.weight.shape[1]
        return found

    def describe(self) -> str:
        """A table of the layers, a line each: what it computes, its output, and how many weights it has."""
        height, width = self.image_size
        inputs = 3 * height * width
        rows = [("input", f"3 x {height} x {width}, flattened", f"{inputs:,}", "")]
        for i, layer in enumerate(self.hidden, start=1):
            assert isinstance(layer, HiddenLayer)
            steps = [_wx_b(layer.linear)]
            if not isinstance(layer.norm, nn.Identity):
                steps.append("batch norm")
            steps.append(type(layer.activation).__name__.lower())
            if layer.dropout.p:
                steps.append(f"dropout {layer.dropout.p:g}")
            rows.append(
                (f"hidden {i}", ", ".join(steps), f"{layer.linear.out_features:,}", f"{count_weights(layer):,}")
            )
        last = self.classifier
        rows.append(("classifier", _wx_b(last), f"{last.out_features:,}", f"{count_weights(last):,}"))
        rows.append(("", "", "", f"{count_weights(self):,}"))
        rows.insert(0, ("layer", "computes", "outputs", "weights"))
        columns = [max(len(row[i]) for row in rows) for i in range(4)]
        return "\n".join(
            f"{a:<{columns[0]}}  {b:<{columns[1]}}  {c:>{columns[2]}}  {d:>{columns[3]}}".rstrip()
            for a, b, c, d in rows
        )


def _linear(layer: LayerShape) -> "nn.Linear | LocalLinear":
    if layer.below is None or layer.grid is None:
        return nn.Linear(layer.inputs, layer.units)
    return LocalLinear(layer.below, layer.grid.channels, layer.field)


def _wx_b(linear: nn.Linear | LocalLinear) -> str:
    if isinstance(linear, LocalLinear):
        on = linear.grid
        return (
            f"Wx + b, {on.channels} units at {on.height} x {on.width} places, each sees {linear.field} x {linear.field}"
        )
    return f"Wx + b, W {linear.out_features:,} x {linear.in_features:,}"


def share_places(model: nn.Module, shared: bool) -> None:
    """Whether all places of a local layer of `model` compute with the same weights, or each with its own."""
    for module in model.modules():
        if isinstance(module, LocalLinear):
            module.shared = shared


def count_weights(module: nn.Module) -> int:
    """Trainable numbers of a module: weights and biases."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
