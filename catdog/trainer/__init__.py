"""Training a network.

loop                          Trainer: fit, epoch; step: forward, loss, backward, step; events: what is told of it
batch, augment, targets       from a batch of pixels to what a step takes
losses, optim, schedule, ema  the loss; the optimizer (muon: another), its learning rate, the averaged weights
validation                    the network on photos that it does not learn from
snapshots, resume             checkpoints, and a training that is resumed from one; best_model: model.safetensors
divergence, recovery          numbers that are NaN or infinite; diagnosis: in which layer; what is done about them
folds, sureness, comparison   cross-validation of few photos, how sure its figures are, and what cats-dogs reaches
batch_size                    how many photos a batch has, where that is left open
plan, card                    what is about to happen; what the model file says
advice, likely_cause          notes where nothing is learned; why that may be, and what to try
sharing, tensorboard          local layers that share weights at first; figures for TensorBoard
closed_form                   the classifier alone, found at once on layers that stay as they are
fit_familiarity               which photos are like those trained on
"""

from typing import TYPE_CHECKING

from catdog.base.lazy import offer

if TYPE_CHECKING:
    from catdog.trainer.events import EpochDone, Listener, StepDone, TrainingStarted
    from catdog.trainer.loop import Trainer
    from catdog.trainer.step import train_step

__all__ = ["EpochDone", "Listener", "StepDone", "Trainer", "TrainingStarted", "train_step"]
__getattr__ = offer(
    __name__,
    {
        "Trainer": "loop",
        "train_step": "step",
        "TrainingStarted": "events",
        "StepDone": "events",
        "EpochDone": "events",
        "Listener": "events",
    },
)
