"""The network in float64 with all that it computes on the way kept, and the chain rule written out by hand.

Arrays have the units on their last axis; any axes before it are photos or variants of one photo. `catdog.predict`
states the same forward pass in float32, and a test compares both, and the gradients with torch's.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from catdog.errors import CatdogError
from catdog.fields import windows
from catdog.predict import Classifier

Floats = NDArray[np.float64]
Stage = Literal["sum", "normed", "out"]
_CHUNK = 2**24  # weights converted to float64 at a time: 128 MiB

_GELU_SCALE = np.sqrt(2 / np.pi)


def _gelu(z: Floats) -> Floats:
    return 0.5 * z * (1 + np.tanh(_GELU_SCALE * (z + 0.044715 * z**3)))


def _gelu_slope(z: Floats) -> Floats:
    t = np.tanh(_GELU_SCALE * (z + 0.044715 * z**3))
    return 0.5 * (1 + t) + 0.5 * z * (1 - t**2) * _GELU_SCALE * (1 + 3 * 0.044715 * z**2)


def _sigmoid(z: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(0.5 * z))


# Each activation with its derivative. At 0, where relu has a kink, the derivative is taken to be 0, as torch does.
ACTIVATIONS: dict[str, tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]] = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(np.float64)),
    "gelu": (_gelu, _gelu_slope),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (_sigmoid, lambda z: _sigmoid(z) * (1 - _sigmoid(z))),
    "none": (lambda z: z, np.ones_like),
}


@dataclass(frozen=True)
class Norm:
    """Batch normalisation as prediction does it: gamma * (sum - mean) / deviation + beta, all fixed numbers a unit."""

    gamma: Floats
    beta: Floats
    mean: Floats
    deviation: Floats

    def of_each(self, places: int) -> "Norm":
        """Of each unit, where there is one of each channel at each of so many places."""
        return Norm(*(np.tile(values, places) for values in (self.gamma, self.beta, self.mean, self.deviation)))


@dataclass(frozen=True)
class Kept:
    """What one layer computed: its input x, Wx + b, that after batch normalisation (or unchanged), the activation."""

    x: Floats
    sum: Floats
    normed: Floats
    out: Floats


@dataclass(frozen=True)
class LayerGradient:
    """dL by what one layer computed. dL/dW is the outer product of `sum` and the layer's input x, dL/db is `sum`."""

    out: Floats
    normed: Floats
    sum: Floats
    gamma: Floats | None = None
    """dL/dgamma, where the layer has batch normalisation; dL/dbeta is `normed`."""


@dataclass(frozen=True)
class Layer:
    """Wx + b, batch normalisation where `norm` is set, activation ("none" in the classifier)."""

    name: str
    weight: NDArray[np.floating]
    bias: Floats
    activation: str
    norm: Norm | None = None
    step: tuple[Floats, Floats] | None = None
    """(u, v): the weight matrix is `weight` - outer(u, v). So a step for one photo needs no second matrix."""

    @property
    def inputs(self) -> int:
        return int(self.weight.shape[1])

    @property
    def units(self) -> int:
        return int(self.weight.shape[0])

    def row(self, unit: int) -> Floats:
        """The weights of one neuron."""
        weights = self.weight[unit].astype(np.float64)
        return weights if self.step is None else weights - self.step[0][unit] * self.step[1]

    def column(self, j: int) -> Floats:
        """The weights that read input `j`, one a neuron."""
        weights = self.weight[:, j].astype(np.float64)
        return weights if self.step is None else weights - self.step[0] * self.step[1][j]

    def sees(self, unit: int, j: int) -> bool:
        """Whether there is a weight from input `j` to the neuron."""
        return True

    def squares_seen(self, x: Floats) -> Floats:
        """Of each neuron, the sum of the squares of the inputs that it sees."""
        return np.full(self.units, x @ x)

    def times(self, x: Floats) -> Floats:
        """Wx."""
        found = np.empty((*x.shape[:-1], self.units))
        for rows in self._chunks():
            found[..., rows] = x @ self.weight[rows].astype(np.float64).T
        return found if self.step is None else found - (x @ self.step[1])[..., None] * self.step[0]

    def times_transposed(self, gradient: Floats) -> Floats:
        """W'g: the gradient by the layer's input, from that by its sums."""
        found = np.zeros((*gradient.shape[:-1], self.inputs))
        for rows in self._chunks():
            found += gradient[..., rows] @ self.weight[rows].astype(np.float64)
        return found if self.step is None else found - (gradient @ self.step[0])[..., None] * self.step[1]

    def _chunks(self) -> list[slice]:
        size = max(1, _CHUNK // self.inputs)
        return [slice(start, start + size) for start in range(0, self.units, size)]

    def forward(self, x: Floats) -> Kept:
        return self.after_sum(x, self.times(x) + self.bias)

    def after_sum(self, x: Floats, total: Floats) -> Kept:
        normed = total
        if self.norm is not None:
            normed = self.norm.gamma * (total - self.norm.mean) / self.norm.deviation + self.norm.beta
        return Kept(x, total, normed, ACTIVATIONS[self.activation][0](normed))

    def slope(self, kept: Kept) -> Floats:
        """The derivative of the activation at each unit."""
        return ACTIVATIONS[self.activation][1](kept.normed)

    @property
    def norm_slope(self) -> Floats:
        """d normed / d sum of each unit."""
        return np.ones(self.units) if self.norm is None else self.norm.gamma / self.norm.deviation

    def backward(self, kept: Kept, by_out: Floats) -> LayerGradient:
        """The chain rule from the activation back to the sums: multiply by the local derivatives."""
        by_normed = by_out * self.slope(kept)
        by_gamma = None
        if self.norm is not None:
            by_gamma = by_normed * (kept.sum - self.norm.mean) / self.norm.deviation
        return LayerGradient(by_out, by_normed, by_normed * self.norm_slope, by_gamma)

    def moved(self, gradient: LayerGradient, x: Floats, rate: float) -> "Layer":
        """The layer after w' = w - rate * dL/dw of all its weights, for one photo."""
        norm = self.norm
        if norm is not None and gradient.gamma is not None:
            norm = replace(norm, gamma=norm.gamma - rate * gradient.gamma, beta=norm.beta - rate * gradient.normed)
        return replace(self, bias=self.bias - rate * gradient.sum, norm=norm, step=(rate * gradient.sum, x))


@dataclass(frozen=True)
class LocalLayer(Layer):
    """A layer whose W is 0 but for what each unit sees: `weight` is units x window, `windows` places x window.

    Here each unit has a gamma and a beta of its own; training gives all places of a channel the same, and so their sum.
    """

    windows: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    inputs_below: int = 0

    @property
    def inputs(self) -> int:
        return self.inputs_below

    def _seen_by(self, unit: int) -> NDArray[np.int64]:
        return self.windows[unit // (self.units // len(self.windows))]

    def row(self, unit: int) -> Floats:
        weights = np.zeros(self.inputs + 1)  # the last is what lies outside the grid
        weights[self._seen_by(unit)] = self._by_place.reshape(self.units, -1)[unit]
        return weights[:-1]

    def column(self, j: int) -> Floats:
        found = np.zeros((len(self.windows), self.units // len(self.windows)))
        places, positions = np.nonzero(self.windows == j)
        found[places] = self._by_place[places, :, positions]
        return found.reshape(-1)

    def sees(self, unit: int, j: int) -> bool:
        return bool((self._seen_by(unit) == j).any())

    def squares_seen(self, x: Floats) -> Floats:
        by_place = np.square(np.append(x, 0.0)[self.windows]).sum(axis=1)
        return np.repeat(by_place, self.units // len(self.windows))

    def times(self, x: Floats) -> Floats:
        rows = np.append(x.reshape(-1, self.inputs), np.zeros((x[..., 0].size, 1)), axis=1)
        seen = rows[:, self.windows].transpose(1, 2, 0)  # places x window x rows
        return (self._by_place @ seen).transpose(2, 0, 1).reshape(*x.shape[:-1], self.units)

    def times_transposed(self, gradient: Floats) -> Floats:
        rows = gradient.reshape(-1, len(self.windows), self.units // len(self.windows)).transpose(1, 0, 2)
        by_window = (rows @ self._by_place).transpose(1, 0, 2)  # rows x places x window
        found = np.empty((len(by_window), self.inputs))
        for row, by_input in zip(by_window, found, strict=True):
            by_input[:] = np.bincount(self.windows.reshape(-1), row.reshape(-1), self.inputs + 1)[:-1]
        return found.reshape(*gradient.shape[:-1], self.inputs)

    @functools.cached_property
    def _by_place(self) -> Floats:
        """The weights after the step: float64, places x channels x window."""
        weights = self.weight.astype(np.float64)
        if self.step is not None:
            by_sum, x = self.step
            seen = np.append(x, 0.0)[self.windows]  # places x window
            weights -= by_sum[:, None] * np.repeat(seen, self.units // len(self.windows), axis=0)
        return weights.reshape(len(self.windows), -1, self.windows.shape[1])


@dataclass(frozen=True)
class Network:
    """The layers of an MLP, the classifier last."""

    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, classifier: Classifier) -> "Network":
        t, shape = classifier.tensors, classifier.card.architecture
        if shape.model != "mlp":
            raise CatdogError(f"catdog explains MLPs, and this network is a {shape.model}; name another with --run.")
        layers: list[Layer] = []
        for i in range(len(shape.local) + len(shape.hidden)):
            norm = None
            if shape.batch_norm:
                gamma, beta, mean, variance = (
                    t[f"hidden.{i}.norm.{name}"].astype(np.float64)
                    for name in ("weight", "bias", "running_mean", "running_var")
                )
                norm = Norm(gamma, beta, mean, np.sqrt(variance + 1e-5))
                if i < len(shape.local):  # where all places of a channel are normalised together
                    norm = norm.of_each(shape.grids[i + 1].places)
            weight, bias = t[f"hidden.{i}.linear.weight"], t[f"hidden.{i}.linear.bias"].astype(np.float64)
            name = f"hidden {i + 1}"
            if i < len(shape.local):
                below = shape.grids[i]
                seen = windows(below, shape.field)
                layers.append(LocalLayer(name, weight, bias, shape.activation, norm, None, seen, below.units))
            else:
                layers.append(Layer(name, weight, bias, shape.activation, norm))
        bias = t["classifier.bias"].astype(np.float64)
        return cls((*layers, Layer("classifier", t["classifier.weight"], bias, "none")))

    def forward(self, x: Floats) -> list[Kept]:
        """x: ... x inputs, normalised -> what each layer computed; the last one's `out` are the logits."""
        kept = []
        for layer in self.layers:
            kept.append(layer.forward(x))
            x = kept[-1].out
        return kept

    def forward_from(self, index: int, stage: Stage, value: Floats) -> list[Kept]:
        """The forward pass from within layer `index` on, where its `stage` has the value given."""
        layer = self.layers[index]
        if stage == "sum":
            kept = layer.after_sum(value, value)
        elif stage == "normed":
            kept = Kept(value, value, value, ACTIVATIONS[layer.activation][0](value))
        else:
            kept = Kept(value, value, value, value)
        return [kept, *Network(self.layers[index + 1 :]).forward(kept.out)]

    def backward(self, kept: list[Kept], by_logits: Floats) -> tuple[list[LayerGradient], Floats]:
        """Backpropagation: (gradients of each layer, gradient by the network's input x)."""
        found: list[LayerGradient] = []
        by_out = by_logits
        for layer, k in zip(reversed(self.layers), reversed(kept), strict=True):
            found.append(layer.backward(k, by_out))
            by_out = layer.times_transposed(found[-1].sum)
        return found[::-1], by_out

    def push(self, kept: list[Kept], index: int, stage: Stage, tangent: Floats) -> Floats:
        """The chain rule the other way round, from within layer `index` on to the logits.

        tangent: the derivative of that layer's `stage` by some number -> the derivative of the logits by it.
        """
        for layer, k in zip(self.layers[index:], kept[index:], strict=True):
            if k is not kept[index]:
                tangent, stage = layer.times(tangent), "sum"
            if stage == "sum":
                tangent, stage = tangent * layer.norm_slope, "normed"
            if stage == "normed":
                tangent = tangent * layer.slope(k)
        return tangent

    def moved(self, kept: list[Kept], gradients: list[LayerGradient], rate: float) -> "Network":
        """The network after one step of gradient descent on one photo."""
        steps = zip(self.layers, kept, gradients, strict=True)
        return Network(tuple(layer.moved(gradient, k.x, rate) for layer, k, gradient in steps))


def normalise(classifier: Classifier, pixels: NDArray[np.uint8]) -> Floats:
    """uint8, 3 x H x W -> float64, flattened: each channel less its mean and over its deviation."""
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (classifier.card.mean, classifier.card.std))
    flat: Floats = ((pixels.astype(np.float64) - mean) / std).reshape(-1)
    return flat
