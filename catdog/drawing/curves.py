"""Pictures of a training and of predictions, drawn with matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catdog.drawing.figures import new_figure, save_figure
from catdog.predict import Prediction


def draw_curves(history: Sequence[dict[str, float]], path: Path) -> None:
    """curves.png: loss and accuracy over the epochs, on the training photos and on the validation photos."""
    save_figure(curves(history), path)


def curves(history: Sequence[dict[str, float]]) -> Any:
    """The figure of curves.png from the rows of metrics.csv."""
    figure = new_figure(10, 4)
    epochs = [row["epoch"] for row in history]
    for axes, what in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, name in (("train", "training photos, changed at random"), ("val", "validation photos")):
            axes.plot(epochs, [row[f"{split}_{what}"] for row in history], label=name, marker="o", markersize=3)
        axes.set(xlabel="epoch", ylabel=what)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def draw_predictions(photos: Sequence[np.ndarray], answers: Sequence[Prediction], path: Path, columns: int = 5) -> None:
    """A sheet of photos (uint8, H x W x 3), each under what the network calls it and how sure it is."""
    rows = -(-len(photos) // columns)
    figure = new_figure(2 * columns, 2.25 * rows)
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, photo, answer in zip(figure.axes, photos, answers, strict=False):
        axes.imshow(photo)
        axes.set_title(f"{answer.label} {answer.probability:.1%}")
    save_figure(figure, path)
