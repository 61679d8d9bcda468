"""Backpropagation in NumPy, float64, through the layers of `catdog.numpy_net`.

Arrays have the units on their last axis; any axes before it are photos or variants of one photo. A test compares the
gradients with torch's. A name such as `out_gradient` is dL/d`out`.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from catdog import numpy_net
from catdog.errors import CatdogError
from catdog.numpy_net import CHUNK, Floats, Norm, Outputs, build_layers, joined, sigmoid, windows
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
    """Gradient of the loss by the `Outputs` of one layer. dL/dW is outer(`sum`, the input x), dL/db is `sum`.

    Where units share a weight, or a number of the batch normalisation, its gradient is the sum of theirs.
    """

    out: Floats
    normed: Floats
    sum: Floats
    gamma: Floats | None = None
    """dL/dgamma, a unit each, where the layer has batch normalisation; dL/dbeta is `normed`."""


def fold(by_unit: Floats, count: int) -> Floats:
    """Sum over the units, `count` apart, that share a number: units -> count."""
    return by_unit.reshape(-1, count).sum(axis=0) if count else np.zeros(0)


@dataclass(frozen=True)
class Layer(numpy_net.Layer):
    """Dense layer with its backward pass and, after `after_step`, a rank-1 update of its weights."""

    step: tuple[Floats, Floats] | None = None
    """(u, v): the weight matrix is `weight` - outer(u, v), so that a step for one photo needs no second matrix."""

    @property
    def biases(self) -> int:
        """How many different biases there are."""
        return self.units

    @property
    def channels(self) -> int:
        """How many different gammas and betas there are."""
        return self.units

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

    def by_weight(self, x: Floats, unit: int, j: int) -> Floats:
        """Derivative of the sums by the weight of input `j` to the unit: units."""
        found = np.zeros(self.units)
        found[unit] = x[j]
        return found

    def along(self, gradient: Floats, x: Floats) -> Floats:
        """Change of the sums as W moves along its gradient: units. gradient: dL/d`sum`; |dL/dW|^2 is their product."""
        return gradient * (x @ x)

    def product(self, x: Floats) -> Floats:
        """Wx."""
        if self.weight.dtype == x.dtype:
            found = super().product(x)
        else:
            found = np.empty((*x.shape[:-1], self.units), x.dtype)
            for rows in self._chunks():
                found[..., rows] = x @ self.weight[rows].astype(x.dtype).T
        return found if self.step is None else found - (x @ self.step[1])[..., None] * self.step[0]

    def transposed_product(self, gradient: Floats) -> Floats:
        """W'g: the gradient by the layer's input, from the gradient by its sums."""
        found = np.zeros((*gradient.shape[:-1], self.inputs))
        for rows in self._chunks():
            found += gradient[..., rows] @ self.weight[rows].astype(np.float64)
        return found if self.step is None else found - (gradient @ self.step[0])[..., None] * self.step[1]

    def _chunks(self) -> list[slice]:
        """Units whose weights can be converted to another type together."""
        size = max(1, CHUNK // self.weight.shape[1])
        return [slice(start, start + size) for start in range(0, self.units, size)]

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
            by_gamma, by_beta = (fold(values, self.channels) for values in (gradient.gamma, gradient.normed))
            gamma, beta = np.resize(by_gamma, self.units), np.resize(by_beta, self.units)
            norm = replace(norm, gamma=norm.gamma - rate * gamma, beta=norm.beta - rate * beta)
        bias = self.bias - rate * np.resize(fold(gradient.sum, self.biases), self.units)
        return replace(self._with_weight_after(gradient.sum, x, rate), bias=bias, norm=norm)

    def _with_weight_after(self, gradient: Floats, x: Floats, rate: float) -> "Layer":
        if self.step is None:
            return replace(self, step=(rate * gradient, x))
        before, x_before = self.step
        if np.array_equal(x, x_before):  # as in the first layer, where it is the photo
            return replace(self, step=(before + rate * gradient, x))
        return replace(self, weight=self.weight - np.outer(before, x_before), step=(rate * gradient, x))


@dataclass(frozen=True)
class LocalLayer(Layer, numpy_net.LocalLayer):
    """Local layer with its backward pass. All places of a channel share a gamma and a beta, and `shared` ones all."""

    @property
    def biases(self) -> int:
        return self.channels if self.shape.shared else self.units

    @property
    def channels(self) -> int:
        return self.shape.channels

    @property
    def places(self) -> int:
        return self.units // self.channels

    @functools.cached_property
    def windows(self) -> NDArray[np.int64]:
        """Which inputs each place sees, places x window; `inputs` stands for the zeros outside the grid."""
        numbers = np.arange(self.inputs, dtype=np.float64)[None]
        return windows(numbers, self.shape, outside=self.inputs)[0].astype(np.int64)

    @functools.cached_property
    def _by_place(self) -> Floats:
        """Weights in float64: places, or 1 where all have the same, x channels x window."""
        return self.weight.astype(np.float64).reshape(-1, self.channels, self.weight.shape[1])

    def _seen(self, x: Floats) -> Floats:
        """Inputs in each place's window: places x window."""
        return np.append(x, 0.0)[self.windows]

    def _window_of(self, unit: int) -> NDArray[np.int64]:
        return self.windows[unit // self.channels]

    def row(self, unit: int) -> Floats:
        weights = np.zeros(self.inputs + 1)  # the last one stands for the zeros outside the grid
        weights[self._window_of(unit)] = self.weight[unit % len(self.weight)]
        return weights[:-1]

    def column(self, j: int) -> Floats:
        found = np.zeros((self.places, self.channels))
        places, positions = np.nonzero(self.windows == j)
        found[places] = self._by_place[places % len(self._by_place), :, positions]
        return found.reshape(-1)

    def is_connected(self, unit: int, j: int) -> bool:
        return bool((self._window_of(unit) == j).any())

    def fan_in(self, unit: int) -> int:
        return int((self._window_of(unit) < self.inputs).sum())

    def fan_out(self, j: int) -> int:
        return int((self.windows == j).sum()) * self.channels

    def by_weight(self, x: Floats, unit: int, j: int) -> Floats:
        if not self.shape.shared:
            return super().by_weight(x, unit, j)
        found = np.zeros((self.places, self.channels))
        found[:, unit % self.channels] = self._seen(x)[:, self._window_of(unit) == j][:, 0]
        return found.reshape(-1)

    def along(self, gradient: Floats, x: Floats) -> Floats:
        seen, by_place = self._seen(x), gradient.reshape(self.places, self.channels)
        if self.shape.shared:
            return (seen @ (seen.T @ by_place)).reshape(-1)
        return (by_place * np.square(seen).sum(axis=1)[:, None]).reshape(-1)

    def product(self, x: Floats) -> Floats:
        return numpy_net.LocalLayer.product(self, x)

    def transposed_product(self, gradient: Floats) -> Floats:
        rows = gradient.reshape(-1, self.places, self.channels)
        if self.shape.shared:
            by_window = rows @ self._by_place[0]  # rows x places x window
        else:
            by_window = (rows.transpose(1, 0, 2) @ self._by_place).transpose(1, 0, 2)
        found = np.empty((len(by_window), self.inputs))
        for row, by_input in zip(by_window, found, strict=True):
            by_input[:] = np.bincount(self.windows.reshape(-1), row.reshape(-1), self.inputs + 1)[:-1]
        return found.reshape(*gradient.shape[:-1], self.inputs)

    def _with_weight_after(self, gradient: Floats, x: Floats, rate: float) -> "LocalLayer":
        seen, by_place = self._seen(x), gradient.reshape(self.places, self.channels)
        if self.shape.shared:
            by_weight = by_place.T @ seen
        else:
            by_weight = (by_place[:, :, None] * seen[:, None]).reshape(self.weight.shape)
        return replace(self, weight=self.weight - rate * by_weight)


@dataclass(frozen=True)
class Pool(Layer, numpy_net.Pool):
    """The mean of each channel over all places of its grid: a layer whose weights are fixed, 1 / places or 0."""

    @functools.cached_property
    def _unit_of(self) -> NDArray[np.int64]:
        """The unit that each input goes to."""
        starts = np.cumsum([0, *(grid.channels for grid in self.grids)])
        units = [start + np.arange(grid.units) % grid.channels for start, grid in zip(starts, self.grids, strict=False)]
        return np.concatenate(units)

    @functools.cached_property
    def _share_of(self) -> Floats:
        """The weight of each input: 1 / places."""
        return np.concatenate([np.full(grid.units, 1 / grid.places) for grid in self.grids])

    @property
    def biases(self) -> int:
        return 0

    def row(self, unit: int) -> Floats:
        return np.where(self._unit_of == unit, self._share_of, 0.0)

    def column(self, j: int) -> Floats:
        return np.where(np.arange(self.units) == self._unit_of[j], self._share_of[j], 0.0)

    def is_connected(self, unit: int, j: int) -> bool:
        return bool(self._unit_of[j] == unit)

    def fan_in(self, unit: int) -> int:
        return int((self._unit_of == unit).sum())

    def fan_out(self, j: int) -> int:
        return 1

    def along(self, gradient: Floats, x: Floats) -> Floats:
        return np.zeros(self.units)

    def product(self, x: Floats) -> Floats:
        return numpy_net.Pool.product(self, x)

    def transposed_product(self, gradient: Floats) -> Floats:
        return gradient[..., self._unit_of] * self._share_of

    def after_step(self, gradient: LayerGradient, x: Floats, rate: float) -> "Pool":
        return self


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
        kinds = (Layer, LocalLayer, Pool.of)
        layers = build_layers(classifier.tensors, shape, len(classifier.classes), kinds, np.float64)
        return cls(tuple(map(_norm_of_each_unit, layers)))

    def forward(self, x: Floats) -> list[Outputs]:
        """Forward pass of x (... x inputs, normalised): the outputs of each layer; the logits are the last `out`."""
        return list(numpy_net.forward(self.layers, x))

    def forward_from(self, outputs: list[Outputs], index: int, stage: Stage, value: Floats) -> list[Outputs]:
        """Forward pass from inside layer `index` on, with `value` for its `stage`, and `outputs` up to there."""
        layer, x = self.layers[index], outputs[index].x
        before = outputs[max(index - 1, 0)].x
        if stage == "sum":
            first = layer.after_sum(x, value, before)
        elif stage == "normed":
            first = replace(layer, norm=None, adds=False).after_sum(x, value, before)
        else:
            first = Outputs(x, value, value, value)
        branches = [o.x for below, o in zip(self.layers[: index + 1], outputs, strict=False) if below.branches]
        return [first, *numpy_net.forward(self.layers[index + 1 :], first.out, x, branches)]

    def backward(self, outputs: list[Outputs], logits_gradient: Floats) -> tuple[list[LayerGradient], Floats]:
        """Backpropagation: (the gradients of each layer, the gradient by the network's input x)."""
        found: list[LayerGradient] = []
        out_gradient = logits_gradient
        past: Floats | float = 0.0  # what reaches the layer before through a block's sum
        branches: list[Floats] = []  # what reaches layers through the mean over the places
        for layer, o in zip(reversed(self.layers), reversed(outputs), strict=True):
            found.append(layer.backward(o, out_gradient))
            out_gradient = layer.transposed_product(found[-1].sum) + past
            past = found[-1].normed if layer.adds else 0.0
            if isinstance(layer, Pool):
                out_gradient, *branches = layer.by_grid(out_gradient)
            if layer.branches:
                out_gradient = out_gradient + branches.pop()
        return found[::-1], out_gradient

    def jvp(self, outputs: list[Outputs], index: int, stage: Stage, tangent: Floats) -> tuple[Floats, list[Floats]]:
        """Jacobian-vector product (forward-mode differentiation) from inside layer `index` to the logits.

        tangent: the derivative of that layer's `stage` by some number. Returns the derivative by it of the logits, and
        of the `normed` of each layer from `index` on, or from the next one if `stage` is "out".
        """
        x = before = tangent  # then the tangents of the layer's input, and of the one of the layer before
        below = zip(self.layers[: index + 1], outputs, strict=False)
        branches = [np.zeros_like(o.x) for layer, o in below if layer.branches]
        of_normed = []
        for i, (layer, o) in enumerate(zip(self.layers[index:], outputs[index:], strict=True)):
            if i > 0:
                branches += [tangent] * layer.branches
                tangent = joined(branches, tangent) if isinstance(layer, Pool) else tangent
                before, x = x, tangent
                tangent, stage = layer.product(tangent), "sum"
            if stage == "sum":
                tangent, stage = tangent * layer.norm_slope, "normed"
                if layer.adds and i > 1:
                    tangent = tangent + before
            if stage == "normed":
                of_normed.append(tangent)
                tangent = tangent * layer.slope(o)
        return tangent, of_normed

    def branch(self, index: int, unit: int) -> tuple[int, int, float]:
        """Where a unit goes beside the next layer, if that branches: numbers of `Pool` and unit, and the weight."""
        pool = next(i for i, layer in enumerate(self.layers) if isinstance(layer, Pool))
        before = [layer.inputs for layer in self.layers[: index + 1] if layer.branches]
        column = self.layers[pool].column(self.layers[pool - 1].units + sum(before) + unit)
        return pool, int(column.argmax()), float(column.max())

    def after_step(self, outputs: list[Outputs], gradients: list[LayerGradient], rate: float) -> "Network":
        """Copy of the network after one step of gradient descent on one photo."""
        steps = zip(self.layers, outputs, gradients, strict=True)
        return Network(tuple(layer.after_step(gradient, o.x, rate) for layer, o, gradient in steps))


def normalise(classifier: Classifier, pixels: NDArray[np.uint8]) -> Floats:
    """Normalise and flatten: uint8, 3 x H x W -> float64, 3HW, (pixel - mean) / std of its channel."""
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (classifier.card.mean, classifier.card.std))
    flat: Floats = ((pixels.astype(np.float64) - mean) / std).reshape(-1)
    return flat
