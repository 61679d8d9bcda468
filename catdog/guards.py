"""What can go wrong with the numbers of a training, and how it is said: no longer finite, or learning nothing."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from catdog.checkpoint.model_file import ModelCard
from catdog.config.settings import Training
from catdog.model.mlp import MLP
from catdog.runs.history import Progress

MAX_ROLLBACKS = 8  # halvings of the learning rate: to 1/256 of it
_EXPLODED = 1e6  # times the loss of guessing
_FEW_STEPS = 100
_LOPSIDED = 0.7  # share of the training photos from which a class is called much commoner than the others


class NotFinite(Exception):
    """The training cannot go on from these numbers; the message says what they are and in which layer."""


def guessing_loss(training: Training, classes: int) -> float:
    """The loss of giving all classes the same score: -log(1/C) with softmax, a hinge of 1 for each wrong class."""
    return math.log(classes) if training.loss == "softmax" else classes - 1.0


def check_loss(loss: float, guess: float, model: nn.Module, images: Tensor) -> None:
    """Raise NotFinite if the `loss` of the normalised `images` is not a number, or a million times that of a guess."""
    if not loss < _EXPLODED * guess:
        raise NotFinite(f"the loss is {loss:.3g}, and {_where(model, images)}")


@torch.no_grad()
def _where(model: nn.Module, images: Tensor) -> str:
    """The first layer, on the way forward, whose weights or outputs are not finite; else the one with the largest."""
    x = images.flatten(start_dim=1) if isinstance(model, MLP) else images
    if not is_finite(x):
        return "the normalised photos hold numbers that are not finite"
    largest, largest_name = 0.0, ""
    for name, layer in named_layers(model):
        if not all(map(is_finite, layer.state_dict().values())):
            return f"the weights of {name} are the first numbers that are not finite"
        x = layer(x)
        if not is_finite(x):
            return f"the outputs of {name} are the first numbers that are not finite"
        size = float(x.abs().max())
        if size >= largest:
            largest, largest_name = size, name
    return f"the outputs of {largest_name} are the largest, up to {largest:.3g}"


def named_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers in order, as a reader calls them: hidden layer 1, ..., the classifier; or the network as a whole."""
    if not isinstance(model, MLP):
        return [("the network", model)]
    hidden = [(f"hidden layer {i}", layer) for i, layer in enumerate(model.hidden, start=1)]
    return [*hidden, ("the classifier", model.classifier)]


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


def what_is_not_learned(
    progress: Progress, training: Training, card: ModelCard, labels: np.ndarray, answers: np.ndarray, is_last: bool
) -> list[str]:
    """What to tell the user after an epoch, each thing once in a training: that it answers one class only, or guesses.

    labels, answers: of each validation photo, its class and the class that it was called, as indices. Counts the epoch
    in `progress`.
    """
    said = []
    # Before some epochs have gone by a network has hardly begun; the last one is late enough.
    patience = min(10, max(3, training.epochs // 3))
    if (answers == answers[0]).all() and not (labels == labels[0]).all():
        progress.one_class_epochs += 1
        if progress.one_class_epochs == patience or (is_last and progress.one_class_epochs < patience):
            said.append(
                f"note: every validation photo is called {card.classes[answers[0]]}; "
                f"{_why_one_class(progress, training, card)}"
            )
    if progress.epoch == patience or (is_last and progress.epoch < patience):
        guess = guessing_loss(training, len(card.classes))
        if min(row["train_loss"] for row in progress.history) > 0.99 * guess:
            said.append(
                f"note: after epoch {progress.epoch} the loss is {progress.history[-1]['train_loss']:.3g}, and giving "
                f"every class the same score costs {guess:.3g}; {_why_no_better(progress, training, card)}"
            )
    return said


def _why_one_class(progress: Progress, training: Training, card: ModelCard) -> str:
    commonest = int(np.argmax(card.train_counts))
    share = card.train_counts[commonest] / sum(card.train_counts)
    if share >= _LOPSIDED and training.class_weights == "none":
        return (
            f"the likely cause is that {share:.0%} of the training photos are {card.classes[commonest]}, so try "
            "--class-weights balanced, or more photos of the others."
        )
    return _why_no_better(progress, training, card)


def _why_no_better(progress: Progress, training: Training, card: ModelCard) -> str:
    losses = [row["train_loss"] for row in progress.history]
    # New weights may cost somewhat more than guessing, but not much, and not more and more.
    if max(losses) > 2 * guessing_loss(training, len(card.classes)) or losses[-1] > 1.5 * losses[0]:
        return (
            "the loss has been higher than that of new weights, so the likely cause is a learning rate that is too "
            f"high: try --learning-rate {training.learning_rate / 10:g}."
        )
    steps = progress.epoch * -(-sum(card.train_counts) // training.batch_size)
    if steps < _FEW_STEPS:
        return f"the likely cause is too few steps ({steps} so far): try a smaller --batch-size, or more --epochs."
    return (
        "the likely cause is a learning rate that is too low, or labels that the photos do not tell: try "
        f"--learning-rate {training.learning_rate * 10:g}, and look whether the photos lie in the folders of their "
        "classes."
    )
