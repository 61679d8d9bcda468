"""Draws curves.png, the loss and accuracy of a training over its epochs, with matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catdog.drawing.figures import legend_below, new_figure, save_figure


def draw_curves(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draw the rows of metrics.csv and write the figure to `path`, atomically."""
    save_figure(curves_figure(history), path)


def curves_figure(history: Sequence[dict[str, float]]) -> Any:
    """Make the figure: loss and accuracy over the epochs, on the training photos and on the validation photos."""
    from matplotlib.ticker import PercentFormatter  # takes a while to import

    figure = new_figure(10, 4)
    epochs = [row["epoch"] for row in history]
    both = figure.subplots(1, 2)
    for axes, what in zip(both, ("loss", "accuracy"), strict=True):
        for split, marker, name in (
            ("train", "o", "training photos, changed at random"),
            ("val", "s", "validation photos"),
        ):
            axes.plot(epochs, [row[f"{split}_{what}"] for row in history], label=name, marker=marker, markersize=4)
        axes.set(xlabel="epoch", ylabel=what)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    both[1].yaxis.set_major_formatter(PercentFormatter(1))
    legend_below(*both)
    return figure
