"""Checks that the numbers of a training are finite, and that its loss has not exploded."""

import math
from typing import Any

from torch import Tensor, nn

from catdog.config.settings import Training

_EXPLODED = 1e6  # times the loss of guessing


class NotFinite(Exception):
    """The training cannot go on from these numbers; the message says what they are and in which layer."""


def guessing_loss(training: Training, classes: int) -> float:
    """The loss of giving all classes the same score: -log(1/C) with softmax, a hinge of 1 for each wrong class."""
    return math.log(classes) if training.loss == "softmax" else classes - 1.0


def check_loss(loss: float, guess: float, model: nn.Module, images: Tensor) -> None:
    """Raise NotFinite if the `loss` of the normalised `images` is not a number, or a million times that of a guess."""
    if not loss < _EXPLODED * guess:
        from catdog.trainer.diagnosis import find_layer

        raise NotFinite(f"the loss is {loss:.3g}, and {find_layer(model, images)}")


def is_finite(tensor: Tensor) -> bool:
    """Whether every number is finite, in one pass: NaN is both the least and the greatest of what holds it."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    least, greatest = tensor.aminmax()
    return math.isfinite(float(least)) and math.isfinite(float(greatest))


def check_state(state: dict[str, Any]) -> None:
    """Raise NotFinite, naming the tensor, if a checkpoint about to be written holds a number that is not finite."""
    bad = _first_bad(state)
    if bad:
        raise NotFinite(f"{bad} holds numbers that are not finite")


def _first_bad(value: Any, name: str = "") -> str | None:
    if isinstance(value, Tensor):
        return None if is_finite(value) else name
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, item in items:
        bad = _first_bad(item, f"{name}.{key}" if name else str(key))
        if bad:
            return bad
    return None
