"""The forward pass of an MLP in NumPy: what prediction computes, in float32, and the explanation, in float64.

Arrays have the units on their last axis; any axes before it are photos, or variants of one photo.
`catdog.model.mlp` states the same computation in PyTorch, and a test compares both.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from catdog.architecture import Architecture, Grid, LayerShape, margin

Floats = NDArray[np.floating]

CHUNK = 2**24  # numbers of windows, or of a weight matrix, that are copied at a time: 128 MiB as float64
_GELU_SCALE = math.sqrt(2 / math.pi)
_EPSILON = 1e-5  # torch.nn.BatchNorm1d's


def relu(z: Floats) -> Floats:
    return np.maximum(z, 0)


def gelu(z: Floats) -> Floats:
    """Hendrycks and Gimpel 2016, section 2, the tanh formula."""
    inner = z * z  # z**3 takes twenty times as long; in place, since memory is what the rest waits for
    inner *= 0.044715
    inner += 1
    inner *= z
    inner *= _GELU_SCALE
    np.tanh(inner, out=inner)
    inner += 1
    inner *= z
    inner *= 0.5
    return inner


def sigmoid(z: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(0.5 * z))  # 1 / (1 + exp(-z)) without overflow


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "relu": relu,
    "gelu": gelu,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
}


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """B x C -> B x C in float64: each row positive, with sum 1."""
    shifted = np.asarray(logits, np.float64)
    shifted = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Norm:
    """Batch normalisation as prediction does it: gamma * (sum - mean) / deviation + beta, all fixed numbers a channel.

    In a dense layer each unit is a channel; in a local one a channel is normalised alike at all places.
    """

    gamma: Floats
    beta: Floats
    mean: Floats
    variance: Floats

    @property
    def deviation(self) -> Floats:
        return np.sqrt(self.variance + _EPSILON)

    def __call__(self, total: Floats) -> Floats:
        normed = total.reshape(*total.shape[:-1], -1, len(self.mean)) - self.mean
        normed *= self.gamma / self.deviation
        normed += self.beta
        return normed.reshape(total.shape)


@dataclass(frozen=True)
class Outputs:
    """What one layer computed: its input x, Wx + b, what the activation is of, and the activation."""

    x: Floats
    sum: Floats
    normed: Floats
    """The sum after batch normalisation, if there is any, and with `added`, at the end of a residual block."""
    out: Floats
    added: Floats | float = 0.0


@dataclass(frozen=True)
class Layer:
    """Wx + b, batch normalisation where `norm` is set, activation ("none" in the classifier).

    weight: units x inputs; bias: units.
    """

    name: str
    weight: Floats
    bias: Floats
    activation: str
    norm: Norm | None = None
    adds: bool = False
    """Whether it ends a residual block: before its activation, the input of the layer before is added."""
    branches: bool = False
    """Whether its input goes to the `Pool`, too."""

    @property
    def inputs(self) -> int:
        return int(self.weight.shape[1])

    @property
    def units(self) -> int:
        return len(self.bias)

    def product(self, x: Floats) -> Floats:
        """Wx."""
        if x.ndim == 2:  # as below; of a few rows in half the time
            return (self.weight @ x.T).T
        return x @ self.weight.T

    def forward(self, x: Floats, before: Floats) -> Outputs:
        """before: the input of the layer before."""
        return self.after_sum(x, self.product(x) + self.bias, before)

    def after_sum(self, x: Floats, total: Floats, before: Floats) -> Outputs:
        normed, added = total if self.norm is None else self.norm(total), before if self.adds else 0.0
        if self.adds:
            normed = normed + before
        out = normed if self.activation == "none" else ACTIVATIONS[self.activation](normed)
        return Outputs(x, total, normed, out, added)


def windows(x: Floats, shape: LayerShape, outside: int = 0) -> Floats:
    """What each place of a local layer sees: rows x inputs -> rows x places x (field * field * channels).

    A window is numbered row by row, place by place, channel by channel; places outside the grid hold `outside`.
    """
    below, edge, side, step = shape.below or Grid(0, 0, 0), margin(shape.field), shape.field, shape.stride
    if below.by_channel:
        x = x.reshape(-1, below.channels, below.height, below.width).transpose(0, 2, 3, 1)
    x = x.reshape(-1, below.height, below.width, below.channels)
    padded = np.full((len(x), below.height + 2 * edge, below.width + 2 * edge, below.channels), outside, x.dtype)
    padded[:, edge : edge + below.height, edge : edge + below.width] = x
    seen = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))[:, ::step, ::step]
    return seen.transpose(0, 1, 2, 4, 5, 3).reshape(len(x), seen.shape[1] * seen.shape[2], -1)


@dataclass(frozen=True)
class LocalLayer(Layer):
    """A layer whose W is 0 but for what each unit sees.

    weight: units x window, or channels x window where all places have the same weights; bias: units.
    """

    shape: LayerShape = field(default_factory=lambda: LayerShape("", "", 0, 0))

    @property
    def inputs(self) -> int:
        return self.shape.inputs

    def product(self, x: Floats) -> Floats:
        rows, weight = x.reshape(-1, self.inputs), self.weight.astype(x.dtype, copy=False)
        found = np.empty((len(rows), self.units), x.dtype)
        size = max(1, CHUNK // (self.units // self.shape.channels * weight.shape[1]))
        for some in (slice(start, start + size) for start in range(0, len(rows), size)):
            seen = windows(rows[some], self.shape)  # rows x places x window
            if self.shape.shared:
                by_channel = found[some].reshape(-1, len(weight))
                np.matmul(seen.reshape(-1, weight.shape[1]), weight.T, out=by_channel)
            else:
                by_place = weight.reshape(seen.shape[1], -1, weight.shape[1]) @ seen.transpose(1, 2, 0)
                found[some] = by_place.transpose(2, 0, 1).reshape(len(seen), -1)  # from places x channels x rows
        return found.reshape(*x.shape[:-1], self.units)


@dataclass(frozen=True)
class Pool(Layer):
    """The mean of each channel over all places of its grid, for one grid after the other: a layer without weights."""

    grids: tuple[Grid, ...] = ()

    @classmethod
    def of(cls, grids: tuple[Grid, ...], dtype: Any) -> Self:
        units = sum(grid.channels for grid in grids)
        return cls("mean over the places", np.zeros((units, 0), dtype), np.zeros(units, dtype), "none", grids=grids)

    def product(self, x: Floats) -> Floats:
        parts = zip(self.grids, self.by_grid(x), strict=True)
        means = [part.reshape(*x.shape[:-1], grid.places, grid.channels).mean(axis=-2) for grid, part in parts]
        return np.concatenate(means, axis=-1)

    def by_grid(self, x: Floats) -> list[Floats]:
        """Its inputs, cut into those of each grid."""
        return np.split(x, np.cumsum([grid.units for grid in self.grids])[:-1], axis=-1)

    @property
    def inputs(self) -> int:
        return sum(grid.units for grid in self.grids)


AnyLayer = TypeVar("AnyLayer", bound=Layer)


def build_layers(
    tensors: Mapping[str, Floats],
    architecture: Architecture,
    classes: int,
    kinds: tuple[Callable[..., AnyLayer], Callable[..., AnyLayer], Callable[..., AnyLayer]],
    dtype: Any = np.float32,
) -> list[AnyLayer]:
    """The layers of an MLP from its arrays by name, the classifier last; all but the weights as `dtype`.

    kinds: what makes a dense layer, a local one and the mean over places: KINDS or what is derived from them.
    """
    dense, local, pool = kinds
    found: list[AnyLayer] = []
    for shape in architecture.layers(classes):
        activation = "none" if shape.name == "classifier" else architecture.activation
        weight, bias = (tensors[f"{shape.arrays}.{name}"] for name in ("weight", "bias"))
        norm = None
        if shape.norm:
            names = ("weight", "bias", "running_mean", "running_var")
            norm = Norm(*(tensors[f"{shape.norm}.{name}"].astype(dtype, copy=False) for name in names))
        if shape.pooled:
            found.append(pool(shape.pooled, dtype))
        bias = bias.astype(dtype, copy=False)
        if shape.shared:
            bias = np.resize(bias, shape.units)  # that of a channel at each place
        arguments = (shape.name, weight, bias, activation, norm, shape.adds, shape.branches)
        found.append(dense(*arguments) if shape.below is None else local(*arguments, shape))
    return found


def forward(
    layers: Sequence[Layer], x: Floats, before: Floats | None = None, branches: Sequence[Floats] = ()
) -> Iterator[Outputs]:
    """Forward pass of x (... x inputs): the outputs of each layer in order; the last `out` is the logits.

    before: the input of the layer before the first of these, if there is one. branches: inputs of layers before it
    that go to the `Pool`.
    """
    before, branches = x if before is None else before, list(branches)
    for layer in layers:
        branches += [x] * layer.branches
        x = joined(branches, x) if isinstance(layer, Pool) else x
        yield (outputs := layer.forward(x, before))
        before, x = x, outputs.out


def joined(branches: Sequence[Floats], x: Floats) -> Floats:
    """x, then the branches, on the last axis, each as often as there are rows of x."""
    if not branches:
        return x
    return np.concatenate([x, *(np.broadcast_to(one, (*x.shape[:-1], one.shape[-1])) for one in branches)], axis=-1)


KINDS = (Layer, LocalLayer, Pool.of)
