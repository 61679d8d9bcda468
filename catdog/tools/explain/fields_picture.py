"""Draws local receptive fields: the extent of each layer's in the photo, and the weights of the first layer."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catdog.architecture import Architecture, margin
from catdog.drawing.figures import new_figure

_CHANNELS = 24  # units shown at each place, at most


def extents(shape: Architecture) -> list[tuple[int, int, int, int]]:
    """Receptive field of the middle unit of each local layer: (top, left, bottom, right) in pixels of the photo."""
    found = []
    layers = [(layer, on) for layer in shape.hidden_layers() if (on := layer.grid) is not None]
    for number, (_, on) in enumerate(layers, start=1):
        low = [on.height // 2, on.width // 2]
        high = list(low)
        for layer, _ in reversed(layers[:number]):  # down through the layers
            low = [layer.stride * place - margin(layer.field) for place in low]
            high = [layer.stride * place - margin(layer.field) + layer.field - 1 for place in high]
        height, width = shape.image_size
        found.append((max(low[0], 0), max(low[1], 0), min(high[0], height - 1) + 1, min(high[1], width - 1) + 1))
    return found


def draw_fields(shape: Architecture, weights: Mapping[str, NDArray[np.floating]]) -> Any:
    """Draw the extents of the receptive fields, and the weights of the first local layer.

    weights: units x window, or channels x window where all places share them, by a name for the row ("before
    training", ...). A row shows the units of one place; where places have different weights, several places are shown.
    """
    on = shape.grids[1]
    channels = min(on.channels, _CHANNELS)
    rows = [
        (f"{name}, {where}", patches[:channels])
        for name, matrix in weights.items()
        for where, patches in _some_places(
            np.resize(matrix, (on.height, on.width, on.channels, shape.field, shape.field, 3))
        )
    ]
    figure = new_figure(3.2 + 0.42 * channels + 2.2, max(0.5 * len(rows) + 0.7, 3.4))
    left, right = figure.subfigures(1, 2, width_ratios=(3.2, 0.42 * channels + 2.2))
    _draw_extents(left.subplots(), shape)
    left.suptitle("What a unit in the middle\nof each layer sees of the photo", fontsize=10)
    grid = right.subplots(len(rows), channels, squeeze=False)
    for cells, (name, patches) in zip(grid, rows, strict=True):
        for axes, patch in zip(cells, patches, strict=True):
            axes.imshow(0.5 + 0.5 * patch / (np.abs(patch).max() or 1.0))
            axes.set_xticks([])
            axes.set_yticks([])
        cells[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    right.suptitle(
        f"The weights of {channels} first-layer units at some of the {on.height} x {on.width} places; grey is 0",
        fontsize=10,
    )
    return figure


def _some_places(weights: NDArray[np.floating]) -> list[tuple[str, NDArray[np.floating]]]:
    """Weights of the units at a few places, with their names; at one place, where all places have the same."""
    last, right = weights.shape[0] - 1, weights.shape[1] - 1
    if np.allclose(weights, weights[:1, :1], atol=1e-6):
        return [("everywhere", weights[0, 0])]
    return [
        ("in the middle", weights[(last + 1) // 2, (right + 1) // 2]),
        ("beside that", weights[(last + 1) // 2, min((right + 1) // 2 + 1, right)]),
        ("top left", weights[0, 0]),
        ("bottom right", weights[last, right]),
    ]


def _draw_extents(axes: Any, shape: Architecture) -> None:
    from matplotlib.patches import Rectangle

    height, width = shape.image_size
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xticks=[0, width], yticks=[0, height])
    every = extents(shape)
    for colour, number in enumerate(itertools.accumulate(shape.depths)):  # of the layers on one grid, the last
        top, left, bottom, right = every[number - 1]
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=f"C{colour}", lw=2))
        axes.plot([], [], color=f"C{colour}", label=f"layer {number}: {bottom - top} x {right - left} pixels")
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.08), frameon=False)
