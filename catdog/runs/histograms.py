"""Computes histograms of the weights and gradients of each layer after each epoch, as rows of weights.csv."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

WEIGHTS_FILE = "weights.csv"
BINS = 41
WIDEST = 4.0  # the bins span -WIDEST to WIDEST root mean squares; values beyond are counted in the outermost bins
_SAMPLE = 2**18  # numbers of a matrix that are used, evenly spaced


def weight_histograms(model: "nn.Module", epoch: int) -> list[dict[str, Any]]:
    """Compute a row for each weight matrix of an MLP and for its gradient: root mean square and share in each bin.

    The rows are plain values; `epoch` counts from 1. Empty for a network of torchvision.
    """
    if not hasattr(model, "hidden"):  # a network of torchvision
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


def histograms_as_csv(rows: list[dict[str, Any]]) -> str:
    """Format weights.csv: epoch, layer, weight or gradient, root mean square, then the share in each bin."""
    lines = [",".join(["epoch", "layer", "what", "size", *(f"bin_{i}" for i in range(BINS))])]
    for row in rows:
        lines.append(",".join(map(str, [row["epoch"], row["layer"], row["what"], row["size"], *row["shares"]])))
    return "\n".join([*lines, ""])
