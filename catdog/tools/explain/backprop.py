"""Backpropagation in NumPy, float64, through the layers of `catdog.numpy_net`.

Arrays have the units on their last axis; any axes before it are photos or variants of one photo. A test compares the
gradients with torch's. A name such as `out_gradient` is dL/d`out`.
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


# The derivative of each activation. That of relu at 0, its kink, is 0, as in torch.
SLOPES: dict[str, Callable[[Floats], Floats]] = {
    "relu": lambda z: (z > 0).astype(np.float64),
    "gelu": _gelu_slope,
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "sigmoid": lambda z: sigmoid(z) * (1 - sigmoid(z)),
    "none": np.ones_like,
}


@dataclass(frozen=True)
class LayerGradient:
    """Gradient of the loss by the `Outputs` of one layer. dL/dW is outer(`sum`, the input x), dL/db is `sum`."""

    out: Floats
    normed: Floats
    sum: Floats
    gamma: Floats | None = None
    """dL/dgamma where the layer has batch normalisation; dL/dbeta is `normed`."""


@dataclass(frozen=True)
class Layer(numpy_net.Layer):
    """Dense layer with its backward pass and, after `after_step`, a rank-1 update of its weights."""

    step: tuple[Floats, Floats] | None = None
    """(u, v): the weight matrix is `weight` - outer(u, v), so that a step for one photo needs no second matrix."""

    def row(self, unit: int) -> Floats:
        """Weights of one unit: inputs."""
        weights = self.weight[unit].astype(np.float64)
        return weights if self.step is None else weights - self.step[0][unit] * self.step[1]

    def column(self, j: int) -> Floats:
        """Weights of input `j` to each unit: units."""
        weights = self.weight[:, j].astype(np.float64)
        return weights if self.step is None else weights - self.step[0] * self.step[1][j]

    def is_connected(self, unit: int, j: int) -> bool:
        """Whether the unit has a weight for input `j`; in a dense layer always."""
        return True

    def fan_in(self, unit: int) -> int:
        """Number of inputs that the unit has a weight for."""
        return self.inputs

    def fan_out(self, j: int) -> int:
        """Number of units that have a weight for input `j`."""
        return self.units

    def input_squares(self, x: Floats) -> Floats:
        """Sum of the squares of the inputs that each unit is connected to: units."""
        return np.full(self.units, x @ x)

    def product(self, x: Floats) -> Floats:
        """Wx."""
        found = super().product(x)
        return found if self.step is None else found - (x @ self.step[1])[..., None] * self.step[0]

    def transposed_product(self, gradient: Floats) -> Floats:
        """W'g: the gradient by the layer's input, from the gradient by its sums."""
        found = np.zeros((*gradient.shape[:-1], self.inputs))
        for rows in self.chunks():
            found += gradient[..., rows] @ self.weight[rows].astype(np.float64)
        return found if self.step is None else found - (gradient @ self.step[0])[..., None] * self.step[1]

    def slope(self, outputs: Outputs) -> Floats:
        """Derivative of the activation at each unit."""
        return SLOPES[self.activation](outputs.normed)

    @property
    def norm_slope(self) -> Floats:
        """d normed / d sum of each unit: gamma / deviation, or 1 without batch normalisation."""
        return np.ones(self.units) if self.norm is None else self.norm.gamma / self.norm.deviation

    def backward(self, outputs: Outputs, out_gradient: Floats) -> LayerGradient:
        """Chain rule from the layer's output back to its sums: multiply by the local derivatives."""
        normed_gradient = out_gradient * self.slope(outputs)
        gamma_gradient = None
        if self.norm is not None:
            gamma_gradient = normed_gradient * (outputs.sum - self.norm.mean) / self.norm.deviation
        return LayerGradient(out_gradient, normed_gradient, normed_gradient * self.norm_slope, gamma_gradient)

    def after_step(self, gradient: LayerGradient, x: Floats, rate: float) -> "Layer":
        """Copy of the layer after w' = w - rate * dL/dw of all its weights, biases, gammas and betas, for one photo."""
        norm = self.norm
        if norm is not None and gradient.gamma is not None:
            norm = replace(norm, gamma=norm.gamma - rate * gradient.gamma, beta=norm.beta - rate * gradient.normed)
        return replace(self, bias=self.bias - rate * gradient.sum, norm=norm, step=(rate * gradient.sum, x))


@dataclass(frozen=True)
class LocalLayer(Layer, numpy_net.LocalLayer):
    """Local layer with its backward pass.

    Each unit has its own gamma and beta here. In training all places of a channel share one, whose gradient is the sum.
    """

    def _window_of(self, unit: int) -> NDArray[np.int64]:
        return self.windows[unit // (self.units // len(self.windows))]

    def row(self, unit: int) -> Floats:
        weights = np.zeros(self.inputs + 1)  # the last one stands for the zeros outside the grid
        weights[self._window_of(unit)] = self._weights_after_step.reshape(self.units, -1)[unit]
        return weights[:-1]

    def column(self, j: int) -> Floats:
        found = np.zeros((len(self.windows), self.units // len(self.windows)))
        places, positions = np.nonzero(self.windows == j)
        found[places] = self._weights_after_step[places, :, positions]
        return found.reshape(-1)

    def is_connected(self, unit: int, j: int) -> bool:
        return bool((self._window_of(unit) == j).any())

    def fan_in(self, unit: int) -> int:
        return int((self._window_of(unit) < self.inputs).sum())

    def fan_out(self, j: int) -> int:
        return int((self.windows == j).sum()) * (self.units // len(self.windows))

    def input_squares(self, x: Floats) -> Floats:
        squares = np.square(np.append(x, 0.0)[self.windows]).sum(axis=1)
        return np.repeat(squares, self.units // len(self.windows))

    def by_place(self, dtype: Any) -> Floats:
        return self._weights_after_step

    def product(self, x: Floats) -> Floats:
        return numpy_net.LocalLayer.product(self, x)  # with `by_place`, the weights after the step

    def transposed_product(self, gradient: Floats) -> Floats:
        rows = gradient.reshape(-1, len(self.windows), self.units // len(self.windows)).transpose(1, 0, 2)
        by_window = (rows @ self._weights_after_step).transpose(1, 0, 2)  # rows x places x window
        found = np.empty((len(by_window), self.inputs))
        for row, by_input in zip(by_window, found, strict=True):
            by_input[:] = np.bincount(self.windows.reshape(-1), row.reshape(-1), self.inputs + 1)[:-1]
        return found.reshape(*gradient.shape[:-1], self.inputs)

    @functools.cached_property
    def _weights_after_step(self) -> Floats:
        """Weights after the step: float64, places x channels x window."""
        weights = self.weight.astype(np.float64)
        if self.step is not None:
            u, v = self.step
            seen = np.append(v, 0.0)[self.windows]  # places x window
            weights -= u[:, None] * np.repeat(seen, self.units // len(self.windows), axis=0)
        return weights.reshape(len(self.windows), -1, self.windows.shape[1])


def _norm_of_each_unit(layer: Layer) -> Layer:
    """Expand batch normalisation from one gamma, beta, mean and variance a channel to one a unit."""
    if layer.norm is None:
        return layer
    norm = layer.norm
    count = layer.units // len(norm.mean)
    each = (np.tile(values, count) for values in (norm.gamma, norm.beta, norm.mean, norm.variance))
    return replace(layer, norm=Norm(*each))


@dataclass(frozen=True)
class Network:
    """MLP as a sequence of layers, the classifier last."""

    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, classifier: Classifier) -> "Network":
        """Convert a `Classifier`. Raises CatdogError if it is not an MLP."""
        shape = classifier.card.architecture
        if not shape.is_mlp:
            raise CatdogError(f"catdog explains MLPs, and this network is a {shape.model}; name another with --run.")
        layers = build_layers(classifier.tensors, shape, len(classifier.classes), Layer, LocalLayer, np.float64)
        return cls(tuple(map(_norm_of_each_unit, layers)))

    def forward(self, x: Floats) -> list[Outputs]:
        """Forward pass of x (... x inputs, normalised): the outputs of each layer; the logits are the last `out`."""
        outputs = []
        for layer in self.layers:
            outputs.append(layer.forward(x))
            x = outputs[-1].out
        return outputs

    def forward_from(self, index: int, stage: Stage, value: Floats) -> list[Outputs]:
        """Forward pass from inside layer `index` on, with `value` for its `stage`."""
        layer = self.layers[index]
        if stage == "sum":
            first = layer.after_sum(value, value)
        elif stage == "normed":
            first = replace(layer, norm=None).after_sum(value, value)
        else:
            first = Outputs(value, value, value, value)
        return [first, *Network(self.layers[index + 1 :]).forward(first.out)]

    def backward(self, outputs: list[Outputs], logits_gradient: Floats) -> tuple[list[LayerGradient], Floats]:
        """Backpropagation: (the gradients of each layer, the gradient by the network's input x)."""
        found: list[LayerGradient] = []
        out_gradient = logits_gradient
        for layer, o in zip(reversed(self.layers), reversed(outputs), strict=True):
            found.append(layer.backward(o, out_gradient))
            out_gradient = layer.transposed_product(found[-1].sum)
        return found[::-1], out_gradient

    def jvp(self, outputs: list[Outputs], index: int, stage: Stage, tangent: Floats) -> Floats:
        """Jacobian-vector product (forward-mode differentiation) from inside layer `index` to the logits.

        tangent: the derivative of that layer's `stage` by some number; returns the derivative of the logits by it.
        """
        for layer, o in zip(self.layers[index:], outputs[index:], strict=True):
            if o is not outputs[index]:
                tangent, stage = layer.product(tangent), "sum"
            if stage == "sum":
                tangent, stage = tangent * layer.norm_slope, "normed"
            if stage == "normed":
                tangent = tangent * layer.slope(o)
        return tangent

    def after_step(self, outputs: list[Outputs], gradients: list[LayerGradient], rate: float) -> "Network":
        """Copy of the network after one step of gradient descent on one photo."""
        steps = zip(self.layers, outputs, gradients, strict=True)
        return Network(tuple(layer.after_step(gradient, o.x, rate) for layer, o, gradient in steps))


def normalise(classifier: Classifier, pixels: NDArray[np.uint8]) -> Floats:
    """Normalise and flatten: uint8, 3 x H x W -> float64, 3HW, (pixel - mean) / std of its channel."""
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (classifier.card.mean, classifier.card.std))
    flat: Floats = ((pixels.astype(np.float64) - mean) / std).reshape(-1)
    return flat
