"""The forward pass of an MLP in NumPy: what prediction computes, in float32, and the explanation, in float64.

Arrays have the units on their last axis; any axes before it are photos, or variants of one photo.
`catdog.model.mlp` states the same computation in PyTorch, and a test compares both.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from catdog.architecture import Architecture, LayerShape, windows

Floats = NDArray[np.floating]

_CHUNK = 2**24  # weights converted to another type at a time: 128 MiB as float64
_GATHERED = 2**20  # numbers of windows gathered at a time; of fewer, threads wait for each other at Python's lock
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
    """What one layer computed: its input x, Wx + b, that after batch normalisation (or unchanged), the activation."""

    x: Floats
    sum: Floats
    normed: Floats
    out: Floats


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

    @property
    def inputs(self) -> int:
        return int(self.weight.shape[1])

    @property
    def units(self) -> int:
        return int(self.weight.shape[0])

    def product(self, x: Floats) -> Floats:
        """Wx, in the type of x."""
        if self.weight.dtype == x.dtype:
            return x @ self.weight.T
        found = np.empty((*x.shape[:-1], self.units), x.dtype)
        for rows in self.chunks():
            found[..., rows] = x @ self.weight[rows].astype(x.dtype).T
        return found

    def chunks(self) -> list[slice]:
        """Units whose weights can be converted to another type together."""
        size = max(1, _CHUNK // self.weight.shape[1])
        return [slice(start, start + size) for start in range(0, self.units, size)]

    def forward(self, x: Floats) -> Outputs:
        total = self.product(x)
        total += self.bias
        return self.after_sum(x, total)

    def answer(self, x: Floats) -> Floats:
        """`forward`'s activation alone, for many photos."""
        return self.forward(x).out

    def after_sum(self, x: Floats, total: Floats) -> Outputs:
        normed = total if self.norm is None else self.norm(total)
        out = normed if self.activation == "none" else ACTIVATIONS[self.activation](normed)
        return Outputs(x, total, normed, out)


@dataclass(frozen=True)
class LocalLayer(Layer):
    """A layer whose W is 0 but for what each unit sees. weight: units x window; windows: places x window."""

    windows: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    """Which inputs each place sees; `inputs_below` stands for the zeros outside the grid."""
    inputs_below: int = 0

    @property
    def inputs(self) -> int:
        return self.inputs_below

    def by_place(self, dtype: Any) -> Floats:
        """The weights, places x channels x window."""
        return self.weight.astype(dtype, copy=False).reshape(len(self.windows), -1, self.windows.shape[1])

    def product(self, x: Floats) -> Floats:
        rows = self._below(x)
        found: Floats = self.by_place(x.dtype) @ rows.take(self.windows, axis=0)  # places x channels x photos
        return found.reshape(self.units, -1).T.reshape(*x.shape[:-1], self.units)

    def _below(self, x: Floats) -> Floats:
        """x and the zeros outside, inputs + 1 x photos: so a window is gathered a row of photos at a time."""
        below = np.zeros((self.inputs + 1, x.size // self.inputs), x.dtype)
        below[:-1] = x.reshape(-1, self.inputs).T
        return below

    def answer(self, x: Floats) -> Floats:
        """Some places at a time, so that what is computed of them stays in a cache, and little memory is taken."""
        below = self._below(x)
        weight, bias = self.by_place(x.dtype), self.bias.reshape(len(self.windows), -1, 1)
        found = np.empty((*weight.shape[:2], below.shape[1]), x.dtype)
        size = max(1, _GATHERED // (weight.shape[2] * below.shape[1]))
        for start in range(0, len(found), size):
            places = slice(start, start + size)
            total = weight[places] @ below.take(self.windows[places], axis=0)
            total += bias[places]
            found[places] = self.after_sum(x, total.reshape(-1, below.shape[1]).T).out.T.reshape(total.shape)
        return found.reshape(self.units, -1).T.reshape(*x.shape[:-1], self.units)


AnyLayer = TypeVar("AnyLayer", bound=Layer)


def build_layers(
    tensors: Mapping[str, Floats],
    architecture: Architecture,
    classes: int,
    dense: Callable[..., AnyLayer],
    local: Callable[..., AnyLayer],
    dtype: Any = np.float32,
) -> list[AnyLayer]:
    """The layers of an MLP from its arrays by name, the classifier last; all but the weights as `dtype`.

    dense, local: what makes a layer of each kind, `Layer` and `LocalLayer` or what is derived from them.
    """

    def array(name: str) -> Floats:
        return tensors[name].astype(dtype, copy=False)

    def build(shape: LayerShape, activation: str) -> AnyLayer:
        norm = None
        if shape.norm:
            names = ("weight", "bias", "running_mean", "running_var")
            norm = Norm(*(array(f"{shape.norm}.{name}") for name in names))
        arguments = (shape.name, tensors[f"{shape.arrays}.weight"], array(f"{shape.arrays}.bias"), activation, norm)
        if shape.below is None:
            return dense(*arguments)
        return local(*arguments, windows=windows(shape.below, shape.field), inputs_below=shape.inputs)

    *hidden, classifier = architecture.layers(classes)
    return [*(build(shape, architecture.activation) for shape in hidden), build(classifier, "none")]
