"""Draws the diagrams of an evaluation as matplotlib figures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catdog import metrics
from catdog.base.text import percent
from catdog.drawing.figures import legend_below, new_figure
from catdog.drawing.fonts import shorten

CONFUSED = 24  # classes in the picture of a confusion matrix
CURVES = 8  # ROC curves in one picture
_WIDTH = 10
_NARROW = 4.3  # a figure that fits a phone; inches, as _WIDTH
_BLUE, _GREY, _RED = "#0969da", "#8c959f", "#cf222e"


def accuracies(shares: dict[str, float], photos: int, classes: int) -> Any:
    """Draw a dot and its 95% interval for each classifier, in the order of `shares` (name -> accuracy)."""
    figure = new_figure(_NARROW, 0.9 + 0.62 * len(shares))
    axes = figure.subplots()
    for row, (name, share) in enumerate(shares.items()):
        low, high = metrics.accuracy_interval(round(share * photos), photos)
        colour = _BLUE if row == 0 else _GREY
        axes.plot([low, high], [row, row], color=colour, linewidth=3, solid_capstyle="butt", alpha=0.55)
        axes.plot([share], [row], "o", color=colour, markersize=9)
        beside = axes.text(0, row - 0.3, name, transform=axes.get_yaxis_transform(), va="center")
        beside.set_bbox({"color": "white", "pad": 1})  # keeps the grid off the letters
        axes.annotate(
            percent(share),
            (high, row),
            (8, 0),
            textcoords="offset points",
            va="center",
            weight="bold" if not row else None,
        )
    axes.axvline(1 / classes, color=_GREY, linestyle=":")
    axes.annotate(" guessing", (1 / classes, 0), xycoords=("data", "axes fraction"), va="bottom", color=_GREY)
    axes.set_yticks([])
    axes.set(xlabel=f"right, of {photos:,} photos; bar: 95% interval", ylim=(len(shares) - 0.4, -0.6))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.margins(x=0.25)
    axes.grid(alpha=0.3, axis="x")
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def confusion(counts: NDArray[np.int64], classes: Sequence[str]) -> Any:
    """Draw the confusion matrix: rows are true classes, colours shares of a row; of many classes the most confused."""
    mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    chosen = np.sort(np.argsort(-mistakes, kind="stable")[:CONFUSED])
    shares = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))[np.ix_(chosen, chosen)]
    counts, names = counts[np.ix_(chosen, chosen)], [shorten(classes[i]) for i in chosen]
    few = len(chosen) <= 8
    longest = max(map(len, names))
    cell = max(0.95, 0.1 + 0.085 * longest)
    width, height = 0.9 + 0.08 * longest + cell * len(chosen), 0.8 + cell * len(chosen)
    figure = new_figure(min(width, _WIDTH), min(height, 4.6)) if few else new_figure(_WIDTH, 2 + 0.34 * len(chosen))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(chosen)), names, rotation=0 if few else 90)
    axes.set_yticks(range(len(chosen)), names)
    axes.set(xlabel="called", ylabel="true class")
    axes.set_xticks(np.arange(len(chosen) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(chosen) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    for (row, column), count in np.ndenumerate(counts):
        if few or count:
            text = f"{count:,}\n{percent(shares[row, column])}" if few else f"{count:,}"
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=10 if few else 7)
    return figure


def roc(labels: NDArray[np.int64], probabilities: NDArray[np.float64], classes: Sequence[str]) -> Any:
    """Draw the ROC curve of the second of two classes; of more, each against the rest, those of the smallest area."""
    found = []
    for label in [1] if len(classes) == 2 else range(len(classes)):
        positive = labels == label
        if positive.any() and not positive.all():
            score = probabilities[:, label]
            area = metrics.auc(positive.astype(np.int64), np.stack([1 - score, score], axis=1))
            found.append((area, label, *metrics.roc_curve(positive, score)))
    found = sorted(found, key=lambda one: one[0])[:CURVES]
    figure = new_figure(_NARROW, _NARROW + 0.3 + 0.21 * len(found))
    axes = figure.subplots()
    for area, label, false, true in found:
        axes.plot(false, true, label=f"area {area:.3f}: {shorten(classes[label])}", linewidth=1.8)
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":", label="area 0.5: guessing")
    axes.set(
        xlabel="share of the others that is called so too",
        ylabel="share of the class that is called so",
        aspect="equal",
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
    )
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower left", frameon=False)
    return figure


def calibration(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Any:
    """Draw accuracy over confidence, with 95% intervals, and the histogram of the confidence."""
    figure = new_figure(_WIDTH, 4.6)
    left, right = figure.subplots(1, 2)
    bins = metrics.calibration_bins(labels, probabilities)
    lowest = 1 / probabilities.shape[1]
    left.plot([lowest, 1], [lowest, 1], color=_GREY, linestyle=":", label="as often right as it is sure")
    middles = np.array([b.confidence for b in bins])
    shares = np.array([b.accuracy for b in bins])
    intervals = np.array([metrics.accuracy_interval(round(b.accuracy * b.count), b.count) for b in bins]).T
    left.vlines(middles, *intervals, color=_BLUE, alpha=0.35, linewidth=3, label="95% interval")
    left.plot(middles, shares, "o-", color=_BLUE, markersize=5, label="its answers")
    left.set(xlabel="how sure it is", ylabel="how often it is right", xlim=(lowest - 0.02, 1.02), ylim=(0, 1.04))
    confidence, is_correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, 16)  # the bins of metrics.calibration_bins
    _, _, (_, wrong) = right.hist(
        [confidence[is_correct], confidence[~is_correct]],
        edges,
        stacked=True,
        color=[_BLUE, _RED],
        alpha=0.8,
        label=["right", "wrong"],
    )
    right.set(xlabel="how sure it is", ylabel="photos", xlim=(lowest - 0.02, 1.02))
    right.yaxis.get_major_locator().set_params(integer=True)
    for bar in wrong:
        bar.set(hatch="///", edgecolor="white")
    legend_below(left, right)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_formatter("{x:.0%}")
    left.yaxis.set_major_formatter("{x:.0%}")
    return figure
