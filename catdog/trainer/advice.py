"""Notes to the user of a training that learns nothing: what the likely cause is, and what to try."""

import numpy as np

from catdog.checkpoint.model_card import ModelCard
from catdog.config.settings import Training
from catdog.runs.history import Progress
from catdog.trainer.divergence import guessing_loss, is_rate_too_high

_FEW_STEPS = 100
_LOPSIDED = 0.7  # share of the training photos from which a class is called much commoner than the others


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
