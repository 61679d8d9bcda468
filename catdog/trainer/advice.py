"""Notes to the user of a training that learns nothing; likely_cause.py says why, and what to try."""

import numpy as np

from catdog.checkpoint.model_card import ModelCard
from catdog.config.settings import Training
from catdog.runs.history import Progress
from catdog.trainer.divergence import guessing_loss


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
            from catdog.trainer.likely_cause import why_one_class  # of which most trainings have no need

            said.append(
                f"note: every validation photo is called {card.classes[answers[0]]}; "
                f"{why_one_class(progress, training, card)}"
            )
    if progress.epoch == patience or (is_last and progress.epoch < patience):
        guess = guessing_loss(training, len(card.classes))
        if min(row["train_loss"] for row in progress.history) > 0.99 * guess:
            from catdog.trainer.likely_cause import why_no_better

            said.append(
                f"note: after epoch {progress.epoch} the loss is {progress.history[-1]['train_loss']:.3g}, and giving "
                f"every class the same score costs {guess:.3g}; {why_no_better(progress, training, card)}"
            )
    return said
