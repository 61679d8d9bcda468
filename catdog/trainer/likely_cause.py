"""The likely cause of a training that learns nothing, and what to try."""

from collections.abc import Sequence

import numpy as np

from catdog.checkpoint.model_card import ModelCard
from catdog.config.settings import Training
from catdog.runs.history import Progress
from catdog.trainer.divergence import guessing_loss

_FEW_STEPS = 100
_LOPSIDED = 0.7  # share of the training photos from which a class is called much commoner than the others


def why_one_class(progress: Progress, training: Training, card: ModelCard) -> str:
    """Why every photo is answered with one class."""
    commonest = int(np.argmax(card.train_counts))
    share = card.train_counts[commonest] / sum(card.train_counts)
    if share >= _LOPSIDED and training.class_weights == "none":
        return (
            f"the likely cause is that {share:.0%} of the training photos are {card.classes[commonest]}, so try "
            "--class-weights balanced, or more photos of the others."
        )
    return why_no_better(progress, training, card)


def why_no_better(progress: Progress, training: Training, card: ModelCard) -> str:
    """Why the loss is no better than that of giving all classes the same score."""
    losses = [row["train_loss"] for row in progress.history]
    if is_rate_too_high(losses, guessing_loss(training, len(card.classes))):
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


def is_rate_too_high(losses: Sequence[float], guess: float) -> bool:
    """Whether the training losses of some epochs, one or more, have been higher than those of a good learning rate.

    New weights may cost somewhat more than guessing (`guess`), but not twice as much, nor more and more.
    """
    return any(not loss <= 2 * guess for loss in losses) or losses[-1] > 1.5 * losses[0]
