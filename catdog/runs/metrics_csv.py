"""Reads metrics.csv, the figures of each epoch of a run."""

import csv
from pathlib import Path

from catdog.errors import CatdogError

_FIGURES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")


def read_metrics(run: Path) -> list[dict[str, float]]:
    """Read the rows of metrics.csv, one an epoch. Raises CatdogError if it is missing, empty or not such a table."""
    path = run / "metrics.csv"
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [{name: float(row[name]) for name in _FIGURES} for row in csv.DictReader(file)]
    except OSError as error:
        raise CatdogError(f"cannot read {path}: {error.strerror}; give a run that finished an epoch.") from None
    except (ValueError, KeyError, TypeError, csv.Error):
        raise CatdogError(f"{path} is not the metrics.csv of a run; restore it, or give another run.") from None
    if not rows:
        raise CatdogError(f"{path} holds no epoch; give a run that finished one.")
    return rows
