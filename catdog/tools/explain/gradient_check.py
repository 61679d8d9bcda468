"""Checks gradients by backpropagation against forward-mode differentiation and central differences, in float64."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catdog.errors import CatdogError
from catdog.numpy_net import Outputs
from catdog.tools.explain.backprop import Floats, Network, Stage
from catdog.tools.explain.loss import Loss

TOLERANCE = 1e-6
_STEP = 1e-3  # h of the central differences, as a distance in the space of a layer's sums
_SHORTEST = 1e-9  # h, below which no kink is avoided any more


@dataclass(frozen=True)
class Derivative:
    """Directional derivative of the loss to be checked: along `direction`, a vector, in `stage` of layer `layer`."""

    name: str
    layer: int
    stage: Stage
    direction: Floats
    backward: float
    """Its value by backpropagation."""
    is_square: bool = False
    """Whether `direction` is the gradient itself, so that the derivative is its squared norm; the norm is reported."""


@dataclass(frozen=True)
class GradientCheck:
    """One gradient computed in three ways; `relative_error` is their largest difference over the largest of them."""

    name: str
    backward: float
    forward: float
    """By forward-mode differentiation: the chain rule from the weight to the loss."""
    differences: float
    """Central differences in float64."""
    relative_error: float
    agrees: bool
    kink: bool = False
    """Whether a relu or hinge is exactly at its kink, with another slope on each side: differences are not compared."""


class GradientChecker:
    """Checks derivatives of the loss of one photo. outputs: of the forward pass; label: the true class's index."""

    def __init__(self, network: Network, outputs: list[Outputs], loss: Loss, label: int) -> None:
        self.network, self.outputs, self.loss, self.label = network, outputs, loss, label
        self.logits_gradient = loss.gradient(outputs[-1].out, label)

    def check(
        self, derivatives: list[Derivative], progress: Callable[[int], object] = lambda count: None
    ) -> list[GradientCheck]:
        """Check each of `derivatives`. Raises CatdogError, which names it, where the computations disagree.

        progress: called with 1 after each.
        """
        checks = []
        for derivative in derivatives:
            checks.append(c := self._check_one(derivative))
            progress(1)
            if not c.agrees:
                raise CatdogError(
                    f"the gradient {c.name} is {c.backward:.9g} by backpropagation, {c.forward:.9g} by the chain rule "
                    f"from the weight on and {c.differences:.9g} by central differences: this is a defect of catdog, "
                    "please report it."
                )
        return checks

    def _check_one(self, d: Derivative) -> GradientCheck:
        by_logits, by_normed = self.network.jvp(self.outputs, d.layer, d.stage, d.direction)
        forward = float(by_logits @ self.logits_gradient)
        length = float(np.linalg.norm(d.direction))
        if length == 0:  # the input, or the gradient, is zero
            return GradientCheck(d.name, d.backward, forward, 0.0, 0.0, d.backward == forward == 0)
        here, nearest = self._sides(d, self.outputs[d.layer :]), self._nearest_kink(by_logits, by_normed)
        step = _STEP / length
        while True:
            while step >= nearest and step * length >= _SHORTEST:
                step /= 4
            run = self._run(d, step * np.array([-1, 1] if self._is_straight(d) else [-1, 1, -0.5, 0.5]))
            kink = bool((self._sides(d, run) != here).any())
            if not kink or step * length < _SHORTEST:
                break
            step /= 4
        logits = self.outputs[-1].out
        moved = run[-1].out
        if len(moved) == 2:  # on a straight line what is half way needs no run
            moved = np.concatenate([moved, (moved + logits) / 2])
        values = self.loss.value(moved, self.label)
        rough, fine = (values[1] - values[0]) / (2 * step), (values[3] - values[2]) / step
        differences = float((4 * fine - rough) / 3)  # the h^2 term of the error removed (Richardson)
        # Bound on the error of the difference quotient from rounding the logits to float64.
        noise = 64 * np.finfo(float).eps * (np.abs(self.logits_gradient).sum() * (1 + np.abs(logits).max())) / step
        agrees = abs(d.backward - forward) <= TOLERANCE * abs(d.backward) + 1e-300
        if not kink:
            agrees = agrees and abs(d.backward - differences) <= TOLERANCE * abs(d.backward) + noise
        shown = np.array([d.backward, forward, differences])
        if d.is_square:
            shown = np.sqrt(np.maximum(shown, 0))
        compared = shown[:2] if kink else shown
        error = float(np.abs(compared - shown[0]).max() / (np.abs(compared).max() or 1.0))
        return GradientCheck(d.name, float(shown[0]), float(shown[1]), float(shown[2]), error, bool(agrees), kink)

    def _run(self, d: Derivative, steps: Floats) -> list[Outputs]:
        """Forward pass with `stage` moved by each of the steps along the direction."""
        start = getattr(self.outputs[d.layer], d.stage)
        return self.network.forward_from(self.outputs, d.layer, d.stage, start + steps[:, None] * d.direction)

    def _is_straight(self, d: Derivative) -> bool:
        """Whether the logits are a linear function of a step along the direction, as long as it crosses no kink."""
        return all(layer.activation in ("relu", "none") for layer in self.network.layers[d.layer :])

    def _nearest_kink(self, by_logits: Floats, by_normed: list[Floats]) -> float:
        """Length of the step that reaches the first kink of a relu or of a hinge, if all goes straight on up to it."""
        since = len(self.outputs) - len(by_normed)
        pairs = [
            (o.normed, tangent)
            for layer, o, tangent in zip(self.network.layers[since:], self.outputs[since:], by_normed, strict=True)
            if layer.activation == "relu"
        ]
        if self.loss.kind == "svm":
            pairs.append((self.loss.margins(self.outputs[-1].out, self.label), by_logits - by_logits[self.label]))
        return min((np.abs(z[t != 0] / t[t != 0]).min(initial=np.inf) for z, t in pairs), default=np.inf)

    def _sides(self, d: Derivative, run: list[Outputs]) -> NDArray[np.bool_]:
        """Whether each relu, and each hinge of the loss, is above its kink: ... x (relus + hinges)."""
        layers = self.network.layers[d.layer :]
        relus = [o.normed > 0 for layer, o in zip(layers, run, strict=True) if layer.activation == "relu"]
        if d.stage == "out" and layers[0].activation == "relu":
            relus = relus[1:]
        return np.concatenate([*relus, self.loss.kink_sides(run[-1].out, self.label)], axis=-1)
