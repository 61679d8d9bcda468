"""Draws curves.png, the loss and accuracy of a training over its epochs, with matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catdog.drawing.figures import new_figure, save_figure


def draw_curves(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draw the rows of metrics.csv and write the figure to `path`, atomically."""
    save_figure(curves_figure(history), path)


def curves_figure(history: Sequence[dict[str, float]]) -> Any:
    """Make the figure: loss and accuracy over the epochs, on the training photos and on the validation photos."""
    figure = new_figure(10, 4)
    epochs = [row["epoch"] for row in history]
    for axes, what in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, name in (("train", "training photos, changed at random"), ("val", "validation photos")):
            axes.plot(epochs, [row[f"{split}_{what}"] for row in history], label=name, marker="o", markersize=3)
        axes.set(xlabel="epoch", ylabel=what)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure
