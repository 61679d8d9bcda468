"""Pictures of a training and of an evaluation, drawn with matplotlib."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catdog import metrics
from catdog.checkpoint import write_atomic
from catdog.predict import Prediction


def _new_figure(width: float, height: float) -> Any:
    """A matplotlib figure that needs no screen and leaves matplotlib's own state alone."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as the kind of file that the path's ending names, atomically."""
    data = io.BytesIO()
    figure.savefig(data, format=path.suffix.removeprefix("."))
    write_atomic(path, lambda file: file.write(data.getvalue()))


def draw_curves(history: Sequence[dict[str, float]], path: Path) -> None:
    """curves.png: loss and accuracy over the epochs, on the training photos and on the validation photos."""
    figure = _new_figure(10, 4)
    epochs = [row["epoch"] for row in history]
    for axes, what in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, name in (("train", "training photos, changed at random"), ("val", "validation photos")):
            axes.plot(epochs, [row[f"{split}_{what}"] for row in history], label=name, marker="o", markersize=3)
        axes.set(xlabel="epoch", ylabel=what)
        axes.grid(alpha=0.3)
        axes.legend()
    save_figure(figure, path)


def draw_predictions(photos: Sequence[np.ndarray], answers: Sequence[Prediction], path: Path, columns: int = 5) -> None:
    """A sheet of photos (uint8, H x W x 3), each under what the network calls it and how sure it is."""
    rows = -(-len(photos) // columns)
    figure = _new_figure(2 * columns, 2.25 * rows)
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, photo, answer in zip(figure.axes, photos, answers, strict=False):
        axes.imshow(photo)
        axes.set_title(f"{answer.label} {answer.probability:.1%}")
    save_figure(figure, path)


def draw_evaluation(
    labels: np.ndarray, probabilities: np.ndarray, confusion: list[list[int]], classes: Sequence[str], path: Path
) -> None:
    """Confusion matrix, ROC curves and calibration, side by side."""
    figure = _new_figure(14, 4.3)
    left, middle, right = figure.subplots(1, 3)
    _confusion(left, np.array(confusion), classes)
    for label in [1] if len(classes) == 2 else range(len(classes)):
        false, true = metrics.roc_curve(labels == label, probabilities[:, label])
        middle.plot(false, true, label=classes[label])
    middle.plot([0, 1], [0, 1], color="grey", linestyle=":", label="guessing")
    middle.set(
        title="ROC", xlabel="share of the others called so", ylabel="share of the class called so", aspect="equal"
    )
    middle.legend(loc="lower right")
    bins = metrics.calibration_bins(labels, probabilities)
    right.plot([b.confidence for b in bins], [b.accuracy for b in bins], marker="o")
    right.plot([1 / len(classes), 1], [1 / len(classes), 1], color="grey", linestyle=":")
    right.set(title="calibration", xlabel="how sure it is", ylabel="how often it is right")
    save_figure(figure, path)


def _confusion(axes: Any, counts: np.ndarray, classes: Sequence[str]) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(title="confusion", xlabel="called", ylabel="true class")
    for (row, column), count in np.ndenumerate(counts):
        dark = shares[row, column] > 0.5
        axes.text(column, row, f"{count:,}", ha="center", va="center", color="white" if dark else "black")
