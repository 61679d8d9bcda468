"""Draws what a network has learned (neurons, templates, histograms), and the activations of several photos."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from catdog.drawing.figures import new_figure
from catdog.drawing.fonts import shorten
from catdog.predict import Classifier
from catdog.runs.histograms import BINS, WIDEST
from catdog.tools.explain import graph
from catdog.tools.explain.backprop import Network
from catdog.tools.explain.explanation import Explanation
from catdog.tools.explain.learned import (
    FIRST_CLASS,
    SECOND_CLASS,
    as_picture,
    class_gradients,
    importance,
    smooth,
    templates,
)
from catdog.tools.explain.picture import draw_units, pictured_classes
from catdog.tools.explain.weights_history import LayerHistograms
from catdog.tools.explain.words import number

_COLUMNS, _ROWS = 10, 3
_TEMPLATES = 12  # class templates in one picture


def draw_neurons(classifier: Classifier, network: Network) -> Any:
    """Draw the weights of the most important units of the first layer as images, the most important first.

    With two classes, the colour of the frame is the class whose score the unit raises at the average photo.
    """
    first, size = network.layers[0], classifier.card.architecture.image_size
    order = np.argsort(-importance(network), kind="stable")[: _COLUMNS * _ROWS]
    moves = class_gradients(network, np.zeros(first.inputs))[0][0].out
    rows = -(-len(order) // _COLUMNS)
    figure = new_figure(13, 2 * (1.45 * rows + 0.6))
    whole, smoothed = figure.subfigures(2, 1)
    for part, change in ((whole, lambda w: w), (smoothed, lambda w: smooth(w, size))):
        for axes, unit in zip(_empty_axes(part, rows, _COLUMNS), order, strict=False):
            axes.axis("on")
            axes.imshow(as_picture(change(first.row(int(unit))), size))
            axes.set_title(f"unit {unit}", fontsize=8, pad=3)
            if len(classifier.classes) == 2:
                for side in axes.spines.values():
                    first_speaks = moves[0, unit] > 0
                    side.set(color=FIRST_CLASS if first_speaks else SECOND_CLASS, linewidth=2)
                    side.set_linestyle("-" if first_speaks else ":")
    frames = ""
    if len(classifier.classes) == 2:
        frames = "\norange frame: speaks for {}; blue, dotted: for {}".format(*map(shorten, classifier.classes))
    whole.suptitle(
        f"The weights of the {len(order)} most important of {first.units:,} first-layer neurons: grey is 0, "
        f"brighter is positive{frames}",
        fontsize=11,
    )
    smoothed.suptitle(
        "The same, each weight averaged with its neighbours: the noise they started from fades", fontsize=11
    )
    return figure


def _empty_axes(figure: Any, rows: int, columns: int) -> list[Any]:
    found = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in found:
        axes.axis("off")
        axes.set_xticks([])
        axes.set_yticks([])
    return found


def draw_templates(classifier: Classifier, network: Network) -> Any:
    """Draw the class templates: the gradient of each class's score less the others', at the average photo."""
    size, classes = classifier.card.architecture.image_size, min(len(classifier.classes), _TEMPLATES)
    figure = new_figure(max(3.3 * classes, 7), 10.4)
    axes = _empty_axes(figure, 3, classes)
    for c, (name, template) in enumerate(zip(classifier.classes[:classes], templates(network)[:classes], strict=True)):
        axes[c].imshow(as_picture(template, size))
        axes[c].set_title(f"more {shorten(name)}")
        blurred = smooth(template, size)
        axes[classes + c].imshow(as_picture(blurred, size))
        axes[classes + c].set_title("the same, smoothed", fontsize=10)
        brightness = blurred.reshape(3, *size).sum(axis=0)
        top = float(np.abs(brightness).max()) or 1.0
        axes[2 * classes + c].imshow(brightness, cmap="PuOr_r", vmin=-top, vmax=top)
        axes[2 * classes + c].set_title("lighter (orange) or darker (violet)", fontsize=10)
    some = "" if classes == len(classifier.classes) else f", for the first {classes} of {len(classifier.classes):,}"
    figure.suptitle(f"Class templates: how the average photo would have to change{some}", fontsize=12)
    return figure


def draw_histories(histories: Sequence[LayerHistograms]) -> Any:
    """Draw the histograms of weights (above) and gradients (below) over the epochs, a column a layer."""
    layers = list(dict.fromkeys(h.layer for h in histories))
    figure = new_figure(max(3.4 * len(layers), 7), 6.4)
    grid = figure.subplots(2, len(layers), squeeze=False)
    for h in histories:
        axes = grid[("weight", "gradient").index(h.what), layers.index(h.layer)]
        top = 3 * float(h.size.max()) or 1.0
        values = np.linspace(-top, top, 121)
        edges = np.linspace(-WIDEST, WIDEST, BINS + 1)
        middles = (edges[1:] + edges[:-1]) / 2
        density = [
            np.interp(values / (s or 1.0), middles, share, 0, 0) for s, share in zip(h.size, h.shares, strict=True)
        ]
        shown = np.array([column / (column.max() or 1.0) for column in density]).T
        low, high = h.epochs[0] - 0.5, h.epochs[-1] + 0.5
        axes.imshow(
            shown, extent=(low, high, -top, top), origin="lower", aspect="auto", cmap="Purples", interpolation="nearest"
        )
        for sign in (-1, 1):
            axes.plot(h.epochs, sign * h.size, color=graph.BACKWARD if h.what == "gradient" else graph.FORWARD)
        axes.set_title(f"{h.layer}: {'w' if h.what == 'weight' else 'dL/dw'}", fontsize=10)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.ticklabel_format(axis="y", scilimits=(0, 0))
    figure.suptitle("Weights (above) and gradients (below) through training; line: root mean square", fontsize=11)
    return figure


def draw_activations(explanations: Sequence[Explanation]) -> Any:
    """Draw a row a photo: the photo, the activations of each hidden layer, and the probabilities."""
    first = explanations[0]
    hidden = len(first.path)
    figure = new_figure(3.2 * (hidden + 2), 3.1 * len(explanations))
    grid = figure.subplots(len(explanations), hidden + 2, squeeze=False)
    for row, e in zip(grid, explanations, strict=True):
        row[0].imshow(e.pixels.transpose(1, 2, 0))
        row[0].set_title(shorten(e.title), fontsize=10)
        row[0].set_xticks([])
        row[0].set_yticks([])
        for i in range(hidden):
            draw_units(row[1 + i], e, i, mark=False)
        classes = pictured_classes(e)
        row[-1].barh(range(len(classes)), e.final[classes], color=graph.PALE, height=0.5)
        row[-1].set_yticks(range(len(classes)), [shorten(e.classes[c], 16) for c in classes])
        row[-1].set(xlim=(0, 1), title="probability")
        row[-1].invert_yaxis()
        for place, p in enumerate(e.final[classes]):
            row[-1].text(0.02, place, number(p), va="center")
    return figure
