"""Draws the outcomes of a demo: accuracy over the epochs, and after the last epoch with confidence intervals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from catdog.drawing.figures import legend_below, new_figure, save_figure
from catdog.tools.demo.outcome import Outcome, shuffle


def draw_demo(
    question: str, outcomes: Sequence[Outcome], path: Path, photos: Tensor | None = None, order: Tensor | None = None
) -> None:
    """Draw held-out accuracy over the epochs, a line a seed and their mean, and the last mean with its 95% interval.

    photos: uint8, N x 3 x H x W, to show as they are and with pixels permuted by `order`; None shows none.
    """
    figure = new_figure(11 if photos is None else 13, 4.4)
    figure.suptitle(question)
    if photos is None or order is None:
        curves, ends = figure.subplots(1, 2, sharey=True, width_ratios=(1.5, 1))
    else:
        left, right = figure.subfigures(1, 2, width_ratios=(1, 2.6))
        _photos(left, photos, order)
        curves, ends = right.subplots(1, 2, sharey=True, width_ratios=(1.3, 1))
    _curves(curves, outcomes)
    _ends(ends, outcomes)
    save_figure(figure, path)


def _photos(figure: Any, photos: Tensor, order: Tensor) -> None:
    axes = figure.subplots(len(photos), 2, squeeze=False)
    for column, (title, shown) in enumerate((("as they are", photos), ("shuffled", shuffle(photos, order)))):
        axes[0, column].set_title(title)
        for row, photo in enumerate(shown):
            axes[row, column].imshow(photo.permute(1, 2, 0).cpu().numpy())
            axes[row, column].axis("off")


def _curves(axes: Any, outcomes: Sequence[Outcome]) -> None:
    for i, o in enumerate(outcomes):
        epochs = np.arange(1, o.held_out.shape[1] + 1)
        for seed in o.held_out:
            axes.plot(epochs, seed, color=f"C{i}", linewidth=0.7, alpha=0.4)
        # Dashed, so that of two curves that coincide both are visible.
        axes.plot(epochs, o.held_out.mean(0), color=f"C{i}", label=f"with {o.name}", linestyle=("-", "--", "-.")[i % 3])
    axes.set(title="thin: each seed; thick: their mean", xlabel="epoch", ylabel="right on photos kept apart")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    legend_below(axes)


def _ends(axes: Any, outcomes: Sequence[Outcome]) -> None:
    for i, o in enumerate(outcomes):
        axes.plot([i] * len(o.held_out), o.held_out[:, -1], "o", color=f"C{i}", markersize=4, alpha=0.5)
        low, high = o.interval or (o.accuracy, o.accuracy)
        axes.errorbar(
            [i], [o.accuracy], [[o.accuracy - low], [high - o.accuracy]], color=f"C{i}", marker="D", capsize=6
        )
        axes.annotate(f"{o.accuracy:.1%}", (i, o.accuracy), (9, 0), textcoords="offset points", va="center")
    axes.set_xticks(range(len(outcomes)), [o.name.replace(" ", "\n", 1) for o in outcomes])
    axes.set_xlim(-0.5, len(outcomes) - 0.3)
    axes.set(title="after the last epoch: mean, 95% interval")
    axes.grid(alpha=0.3, axis="y")
