"""What happens in a training, for those that watch it: TensorBoard, train.log, tune, the narration."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from catdog.base.text import percent

if TYPE_CHECKING:
    from catdog.trainer.loop import Trainer


@dataclass(frozen=True)
class TrainingStarted:
    """No step has been taken yet, or, of a resumed training, no further one."""

    trainer: "Trainer"


@dataclass(frozen=True)
class StepDone:
    """A step was taken. `epoch` and `step` (of `steps` in the epoch) count from 1."""

    epoch: int
    step: int
    steps: int
    totals: Tensor
    """float, 3: summed loss, correct answers and photos of the epoch so far. It is the trainer's own, which the next
    step changes, and a GPU is waited for by who reads it."""


@dataclass(frozen=True)
class EpochDone:
    """An epoch was finished and validated; its checkpoint is being written."""

    row: dict[str, float]
    """As in metrics.csv."""
    epochs: int
    """Of the whole training."""
    is_best: bool
    photos_per_second: float
    notes: list[str]
    """Advice to the user, from `catdog.trainer.advice`."""


@dataclass(frozen=True)
class TrainingDone:
    """The last epoch was finished; its checkpoint is being written."""

    trainer: "Trainer"


Event = TrainingStarted | StepDone | EpochDone | TrainingDone
Listener = Callable[[Event], None]
"""Called with each event, in the training's own process and thread; what it raises ends the training."""


def epoch_logger(log: Callable[[str], None]) -> Listener:
    """A listener that logs a line an epoch, and the advice that goes with it."""

    def log_epoch(event: Event) -> None:
        if isinstance(event, EpochDone):
            row, epochs, mark = event.row, event.epochs, " best" if event.is_best else "     "
            log(
                f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}"
                f"  loss {row['train_loss']:.4f}  accuracy {percent(row['train_accuracy'])}"
                f"  val loss {row['val_loss']:.4f}  val accuracy {percent(row['val_accuracy'])}{mark}"
                f"  {event.photos_per_second:,.0f} photos/s"
            )
            for note in event.notes:
                log(note)

    return log_epoch
