"""Reads weights.csv: how weights and gradients of each layer were spread through the epochs."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catdog.errors import CatdogError
from catdog.runs.histograms import BINS


@dataclass(frozen=True)
class LayerHistograms:
    """Histograms of one layer's weights, or of its gradients, over the epochs.

    epochs, and size (root mean square): one a row of the file; shares: epochs x BINS.
    """

    layer: str
    what: str
    epochs: NDArray[np.int64]
    size: NDArray[np.float64]
    shares: NDArray[np.float64]


def read(path: Path) -> list[LayerHistograms]:
    """Read weights.csv, for each layer the weights and the gradients. Raises CatdogError for another file."""
    found: dict[tuple[str, str], list[list[float]]] = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                numbers = [float(row[name]) for name in ("epoch", "size", *(f"bin_{i}" for i in range(BINS)))]
                found.setdefault((row["layer"], row["what"]), []).append(numbers)
    except (OSError, KeyError, ValueError, TypeError):
        raise CatdogError(f"{path} is not what a training writes; remove it.") from None
    histories = []
    for (layer, what), rows in found.items():
        table = np.array(rows)
        histories.append(LayerHistograms(layer, what, table[:, 0].astype(np.int64), table[:, 1], table[:, 2:]))
    return histories
