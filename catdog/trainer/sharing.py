"""Local layers whose places have the same weights for some epochs, as in a convolution, and then each its own."""

from catdog.config.settings import Training
from catdog.model.local import share_places
from catdog.trainer.optim import make_optimizer
from catdog.trainer.snapshots import TrainState


def share_for_epochs(state: TrainState, training: Training) -> None:
    """Share the places' weights during the first `share_epochs`; at the end of that, start a new optimizer.

    What the old one remembers is of gradients that were a mean over all places, and so much smaller.
    """
    epochs, progress = training.share_epochs, state.progress
    for model in (state.model, state.average.model):
        share_places(model, progress.epoch < epochs)
    if progress.epoch == epochs > 0 and progress.step == 0:
        state.optimizer = make_optimizer(state.model, training)
