"""Keeps the progress of a training: epoch, step, and the history of its metrics, as rows of metrics.csv."""

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass
class Progress:
    """Progress of a training, saved in every checkpoint: all of its state that is neither tensors nor configuration."""

    epoch: int = 0
    """Number of finished epochs."""
    step: int = 0
    """Number of finished steps in the current epoch."""
    history: list[dict[str, float]] = field(default_factory=list)
    """The rows of metrics.csv, one an epoch."""
    weights: list[dict[str, Any]] = field(default_factory=list)
    """The rows of weights.csv: histograms of weights and gradients after the last step of each epoch."""
    best_epoch: int = -1
    """Index in `history` of the epoch whose weights are in model.safetensors; -1: none yet, or they were lost."""
    rollbacks: int = 0
    """Number of rollbacks with half the learning rate, because the loss was NaN, infinite or far too large."""
    one_class_epochs: int = 0
    """Number of epochs after which all validation photos were predicted as one class."""

    @classmethod
    def from_plain(cls, values: dict[str, Any], steps_per_epoch: float, epochs: int) -> "Progress":
        """Build from the dict of dataclasses.asdict. Raises ValueError if it is not valid for this training."""
        progress = cls(**values)
        if not (
            all(type(getattr(progress, f.name)) is f.type for f in fields(cls) if f.type is int)
            and all(_is_row(row) for row in progress.history)
            and all(isinstance(row, dict) for row in progress.weights)
            and progress.epoch == len(progress.history) <= epochs
            and 0 <= progress.step <= steps_per_epoch
            and -1 <= progress.best_epoch < len(progress.history)
            and min(progress.rollbacks, progress.one_class_epochs) >= 0
        ):
            raise ValueError("its progress is not that of this training")
        return progress

    @property
    def best(self) -> dict[str, float]:
        """The row of the best epoch."""
        return self.history[self.best_epoch]

    def is_stalled(self, early_stopping: int) -> bool:
        """Whether the validation accuracy has not become better for `early_stopping` epochs, if that is not 0."""
        return self.best_epoch >= 0 and 0 < early_stopping <= len(self.history) - 1 - self.best_epoch

    def add(self, row: dict[str, float]) -> bool:
        """Append the row of a finished epoch to the history; return whether it is the best so far."""
        is_best = self.best_epoch < 0 or _rank(row) > _rank(self.best)
        self.history.append(row)
        self.epoch, self.step = self.epoch + 1, 0
        if is_best:
            self.best_epoch = len(self.history) - 1
        return is_best


_ROW = ("epoch", "learning_rate", "train_loss", "train_accuracy", "val_loss", "val_accuracy")


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, dict) and tuple(row) == _ROW and all(isinstance(value, int | float) for value in row.values())
    )


def _rank(row: dict[str, float]) -> tuple[float, float]:
    """Sort key of an epoch: higher validation accuracy is better, and of equal ones the lower validation loss."""
    return row["val_accuracy"], -row["val_loss"]


def to_csv(history: list[dict[str, float]]) -> str:
    """Format metrics.csv: a header and a row an epoch; numbers by repr, so that they read back exactly."""
    return "\n".join([",".join(history[0]), *(",".join(map(repr, row.values())) for row in history), ""])
