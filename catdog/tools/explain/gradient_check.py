"""Every gradient three times: by backpropagation, by the chain rule from the weight on, and by central differences."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catdog.errors import CatdogError
from catdog.numpy_net import Outputs
from catdog.tools.explain.backprop import Floats, Network, Stage
from catdog.tools.explain.loss import Loss

TOLERANCE = 1e-6
_STEP = 1e-3  # how far the sums of a layer are moved, as a distance
_SHORTEST = 1e-9


@dataclass(frozen=True)
class Question:
    """A derivative of the loss: by the number that moves `stage` of layer `layer` along `direction` (a vector)."""

    name: str
    layer: int
    stage: Stage
    direction: Floats
    backward: float
    """What backpropagation says."""
    is_square: bool = False
    """The derivative along the gradient itself is the square of its norm: the square roots are what is shown."""


@dataclass(frozen=True)
class Check:
    """One gradient by three computations, and the largest difference between them over the largest of them."""

    name: str
    backward: float
    forward: float
    """The chain rule from the weight on to the loss."""
    differences: float
    """Central differences in float64."""
    relative_error: float
    agrees: bool
    kink: bool = False
    """A unit stands exactly at its kink, where there are two slopes and differences say nothing of either."""


class Checker:
    """Checks derivatives of the loss of one photo."""

    def __init__(self, network: Network, kept: list[Outputs], loss: Loss, label: int) -> None:
        self.network, self.kept, self.loss, self.label = network, kept, loss, label
        self.by_logits = loss.gradient(kept[-1].out, label)

    def check(self, questions: list[Question]) -> list[Check]:
        """The questions' answers, in order. Raises CatdogError where the computations disagree."""
        checks = [self._check(question) for question in questions]
        for c in checks:
            if not c.agrees:
                raise CatdogError(
                    f"the gradient {c.name} is {c.backward:.9g} by backpropagation, {c.forward:.9g} by the chain rule "
                    f"from the weight on and {c.differences:.9g} by central differences: this is a defect of catdog, "
                    "please report it."
                )
        return checks

    def _check(self, q: Question) -> Check:
        forward = float(self.network.push(self.kept, q.layer, q.stage, q.direction) @ self.by_logits)
        length = float(np.linalg.norm(q.direction))
        if length == 0:  # the input, or the gradient, is zero: nothing moves
            return Check(q.name, q.backward, forward, 0.0, 0.0, q.backward == forward == 0)
        step, here = _STEP / length, self._sides(q, np.zeros(1))
        while kink := bool((self._sides(q, np.array([-step, step])) != here).any()):
            if step * length < _SHORTEST:
                break
            step /= 4
        values = self._losses(q, np.array([-step, step, -step / 2, step / 2]))
        rough, fine = (values[1] - values[0]) / (2 * step), (values[3] - values[2]) / step
        differences = float((4 * fine - rough) / 3)  # the h^2 term of the error removed (Richardson)
        # What float64's rounding of the logits may do to a difference of losses over so short a step.
        logits = self.kept[-1].out
        noise = 64 * np.finfo(float).eps * (np.abs(self.by_logits).sum() * (1 + np.abs(logits).max())) / step
        agrees = abs(q.backward - forward) <= TOLERANCE * abs(q.backward) + 1e-300
        if not kink:
            agrees = agrees and abs(q.backward - differences) <= TOLERANCE * abs(q.backward) + noise
        shown = np.array([q.backward, forward, differences])
        if q.is_square:
            shown = np.sqrt(np.maximum(shown, 0))
        compared = shown[:2] if kink else shown
        error = float(np.abs(compared - shown[0]).max() / (np.abs(compared).max() or 1.0))
        return Check(q.name, float(shown[0]), float(shown[1]), float(shown[2]), error, bool(agrees), kink)

    def _run(self, q: Question, steps: Floats) -> list[Outputs]:
        """The network with `stage` moved by each of the steps along the direction."""
        start = getattr(self.kept[q.layer], q.stage)
        return self.network.forward_from(q.layer, q.stage, start + steps[:, None] * q.direction)

    def _losses(self, q: Question, steps: Floats) -> Floats:
        return self.loss.value(self._run(q, steps)[-1].out, self.label)

    def _sides(self, q: Question, steps: Floats) -> NDArray[np.bool_]:
        """On which side of its kink each relu, and each hinge of the loss, is."""
        run = self._run(q, steps)
        layers = self.network.layers[q.layer :]
        relus = [k.normed > 0 for layer, k in zip(layers, run, strict=True) if layer.activation == "relu"]
        if q.stage == "out" and layers[0].activation == "relu":
            relus = relus[1:]
        return np.concatenate([*relus, self.loss.sides(run[-1].out, self.label)], axis=-1)
