"""The chain rule written out by hand, over the layers of `catdog.numpy_net` in float64.

Arrays have the units on their last axis; any axes before it are photos or variants of one photo. A test compares the
gradients with torch's.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from catdog import numpy_net
from catdog.errors import CatdogError
from catdog.numpy_net import Floats, Norm, Outputs, build_layers, sigmoid
from catdog.predict import Classifier

Stage = Literal["sum", "normed", "out"]

_GELU_SCALE = np.sqrt(2 / np.pi)


def _gelu_slope(z: Floats) -> Floats:
    t = np.tanh(_GELU_SCALE * (z + 0.044715 * z**3))
    return 0.5 * (1 + t) + 0.5 * z * (1 - t**2) * _GELU_SCALE * (1 + 3 * 0.044715 * z**2)


# The derivative of each activation. At 0, where relu has a kink, it is taken to be 0, as torch does.
SLOPES: dict[str, Callable[[Floats], Floats]] = {
    "relu": lambda z: (z > 0).astype(np.float64),
    "gelu": _gelu_slope,
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "sigmoid": lambda z: sigmoid(z) * (1 - sigmoid(z)),
    "none": np.ones_like,
}


@dataclass(frozen=True)
class LayerGradient:
    """dL by what one layer computed. dL/dW is the outer product of `sum` and the layer's input x, dL/db is `sum`."""

    out: Floats
    normed: Floats
    sum: Floats
    gamma: Floats | None = None
    """dL/dgamma, where the layer has batch normalisation; dL/dbeta is `normed`."""


@dataclass(frozen=True)
class Layer(numpy_net.Layer):
    """A dense layer with its backward pass, and what a step of gradient descent for one photo makes of it."""

    step: tuple[Floats, Floats] | None = None
    """(u, v): the weight matrix is `weight` - outer(u, v). So a step for one photo needs no second matrix."""

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

    def product(self, x: Floats) -> Floats:
        """Wx."""
        found = super().product(x)
        return found if self.step is None else found - (x @ self.step[1])[..., None] * self.step[0]

    def transposed_product(self, gradient: Floats) -> Floats:
        """W'g: the gradient by the layer's input, from that by its sums."""
        found = np.zeros((*gradient.shape[:-1], self.inputs))
        for rows in self.chunks():
            found += gradient[..., rows] @ self.weight[rows].astype(np.float64)
        return found if self.step is None else found - (gradient @ self.step[0])[..., None] * self.step[1]

    def slope(self, kept: Outputs) -> Floats:
        """The derivative of the activation at each unit."""
        return SLOPES[self.activation](kept.normed)

    @property
    def norm_slope(self) -> Floats:
        """d normed / d sum of each unit."""
        return np.ones(self.units) if self.norm is None else self.norm.gamma / self.norm.deviation

    def backward(self, kept: Outputs, by_out: Floats) -> LayerGradient:
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
class LocalLayer(Layer, numpy_net.LocalLayer):
    """A local layer with its backward pass.

    Here each unit has a gamma and a beta of its own; training gives all places of a channel the same, and so their sum.
    """

    def _window_of(self, unit: int) -> NDArray[np.int64]:
        return self.windows[unit // (self.units // len(self.windows))]

    def row(self, unit: int) -> Floats:
        weights = np.zeros(self.inputs + 1)  # the last is what lies outside the grid
        weights[self._window_of(unit)] = self._moved_weights.reshape(self.units, -1)[unit]
        return weights[:-1]

    def column(self, j: int) -> Floats:
        found = np.zeros((len(self.windows), self.units // len(self.windows)))
        places, positions = np.nonzero(self.windows == j)
        found[places] = self._moved_weights[places, :, positions]
        return found.reshape(-1)

    def sees(self, unit: int, j: int) -> bool:
        return bool((self._window_of(unit) == j).any())

    def squares_seen(self, x: Floats) -> Floats:
        by_place = np.square(np.append(x, 0.0)[self.windows]).sum(axis=1)
        return np.repeat(by_place, self.units // len(self.windows))

    def by_place(self, dtype: Any) -> Floats:
        return self._moved_weights

    def product(self, x: Floats) -> Floats:
        return numpy_net.LocalLayer.product(self, x)  # whose weights have taken the step already

    def transposed_product(self, gradient: Floats) -> Floats:
        rows = gradient.reshape(-1, len(self.windows), self.units // len(self.windows)).transpose(1, 0, 2)
        by_window = (rows @ self._moved_weights).transpose(1, 0, 2)  # rows x places x window
        found = np.empty((len(by_window), self.inputs))
        for row, by_input in zip(by_window, found, strict=True):
            by_input[:] = np.bincount(self.windows.reshape(-1), row.reshape(-1), self.inputs + 1)[:-1]
        return found.reshape(*gradient.shape[:-1], self.inputs)

    @functools.cached_property
    def _moved_weights(self) -> Floats:
        """The weights after the step: float64, places x channels x window."""
        weights = self.weight.astype(np.float64)
        if self.step is not None:
            by_sum, x = self.step
            seen = np.append(x, 0.0)[self.windows]  # places x window
            weights -= by_sum[:, None] * np.repeat(seen, self.units // len(self.windows), axis=0)
        return weights.reshape(len(self.windows), -1, self.windows.shape[1])


def _norm_of_each_unit(layer: Layer) -> Layer:
    """The layer with a gamma, beta, mean and variance a unit, also where all places of a channel have the same."""
    if layer.norm is None:
        return layer
    norm = layer.norm
    count = layer.units // len(norm.mean)
    each = (np.tile(values, count) for values in (norm.gamma, norm.beta, norm.mean, norm.variance))
    return replace(layer, norm=Norm(*each))


@dataclass(frozen=True)
class Network:
    """The layers of an MLP, the classifier last."""

    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, classifier: Classifier) -> "Network":
        shape = classifier.card.architecture
        if not shape.is_mlp:
            raise CatdogError(f"catdog explains MLPs, and this network is a {shape.model}; name another with --run.")
        layers = build_layers(classifier.tensors, shape, len(classifier.classes), Layer, LocalLayer, np.float64)
        return cls(tuple(map(_norm_of_each_unit, layers)))

    def forward(self, x: Floats) -> list[Outputs]:
        """x: ... x inputs, normalised -> what each layer computed; the last one's `out` are the logits."""
        kept = []
        for layer in self.layers:
            kept.append(layer.forward(x))
            x = kept[-1].out
        return kept

    def forward_from(self, index: int, stage: Stage, value: Floats) -> list[Outputs]:
        """The forward pass from within layer `index` on, where its `stage` has the value given."""
        layer = self.layers[index]
        if stage == "sum":
            kept = layer.after_sum(value, value)
        elif stage == "normed":
            kept = replace(layer, norm=None).after_sum(value, value)
        else:
            kept = Outputs(value, value, value, value)
        return [kept, *Network(self.layers[index + 1 :]).forward(kept.out)]

    def backward(self, kept: list[Outputs], by_logits: Floats) -> tuple[list[LayerGradient], Floats]:
        """Backpropagation: (gradients of each layer, gradient by the network's input x)."""
        found: list[LayerGradient] = []
        by_out = by_logits
        for layer, k in zip(reversed(self.layers), reversed(kept), strict=True):
            found.append(layer.backward(k, by_out))
            by_out = layer.transposed_product(found[-1].sum)
        return found[::-1], by_out

    def push(self, kept: list[Outputs], index: int, stage: Stage, tangent: Floats) -> Floats:
        """The chain rule the other way round, from within layer `index` on to the logits.

        tangent: the derivative of that layer's `stage` by some number -> the derivative of the logits by it.
        """
        for layer, k in zip(self.layers[index:], kept[index:], strict=True):
            if k is not kept[index]:
                tangent, stage = layer.product(tangent), "sum"
            if stage == "sum":
                tangent, stage = tangent * layer.norm_slope, "normed"
            if stage == "normed":
                tangent = tangent * layer.slope(k)
        return tangent

    def moved(self, kept: list[Outputs], gradients: list[LayerGradient], rate: float) -> "Network":
        """The network after one step of gradient descent on one photo."""
        steps = zip(self.layers, kept, gradients, strict=True)
        return Network(tuple(layer.moved(gradient, k.x, rate) for layer, k, gradient in steps))


def normalise(classifier: Classifier, pixels: NDArray[np.uint8]) -> Floats:
    """uint8, 3 x H x W -> float64, flattened: each channel less its mean and over its deviation."""
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (classifier.card.mean, classifier.card.std))
    flat: Floats = ((pixels.astype(np.float64) - mean) / std).reshape(-1)
    return flat
