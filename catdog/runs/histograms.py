"""How weights and gradients are spread in each layer after each epoch: a few numbers that training leaves behind."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catdog.errors import CatdogError

if TYPE_CHECKING:
    from torch import nn

FILE = "weights.csv"
BINS = 41
WIDEST = 4.0  # the outer edges of the bins, in root mean squares; what lies beyond is counted in the outermost ones
_SAMPLE = 2**18  # numbers of a matrix that are looked at, evenly spread


def of_model(model: "nn.Module", epoch: int) -> list[dict[str, Any]]:
    """For the weights of each matrix, and for their gradient: the root mean square, and the share in each bin around 0.

    Plain values; `epoch` counts from 1.
    """
    if not hasattr(model, "hidden"):  # a network of torchvision, whose layers are no list
        return []
    matrices = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    names = [*(f"hidden {i}" for i in range(1, len(matrices))), "classifier"]
    rows = []
    for name, weight in zip(names, matrices, strict=True):
        for what, values in (("weight", weight.detach()), ("gradient", weight.grad)):
            if values is not None:
                flat = values.reshape(-1)
                flat = flat[:: -(-flat.numel() // _SAMPLE)].float().cpu()
                size = float(flat.square().mean().sqrt())
                inside = (flat / (size or 1.0)).clamp(-WIDEST, WIDEST)
                shares = (inside.histc(BINS, -WIDEST, WIDEST) / flat.numel()).tolist()
                rows.append({"epoch": epoch, "layer": name, "what": what, "size": size, "shares": shares})
    return rows


def to_csv(rows: list[dict[str, Any]]) -> str:
    """weights.csv: epoch, layer, weight or gradient, root mean square, then the share in each bin."""
    lines = [",".join(["epoch", "layer", "what", "size", *(f"bin_{i}" for i in range(BINS))])]
    for row in rows:
        lines.append(",".join(map(str, [row["epoch"], row["layer"], row["what"], row["size"], *row["shares"]])))
    return "\n".join([*lines, ""])


@dataclass(frozen=True)
class History:
    """The weights, or the gradients, of one layer through the epochs: `shares` is epochs x BINS, `size` epochs."""

    layer: str
    what: str
    epochs: NDArray[np.int64]
    size: NDArray[np.float64]
    shares: NDArray[np.float64]


def read(path: Path) -> list[History]:
    """What `to_csv` wrote, by layer and then by weight and gradient. Raises CatdogError for another file."""
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
        histories.append(History(layer, what, table[:, 0].astype(np.int64), table[:, 1], table[:, 2:]))
    return histories
