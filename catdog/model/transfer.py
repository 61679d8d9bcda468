"""Transfer learning: the weights of another network, copied as far as they fit, and layers that stay as they are."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from catdog.numpy_net import Floats


@torch.no_grad()
def copy_weights(
    model: nn.Module, tensors: Mapping[str, Floats], theirs: Sequence[str], ours: Sequence[str]
) -> tuple[int, list[str]]:
    """Copy into `model` each array of `tensors` that fits by name and shape, and of the classifier the rows of classes
    of the same name; the others keep their first values.

    theirs, ours: the classes of both, in order. Returns how many weights were copied, and the classes with new rows.
    """
    weights, head = dict(model.named_parameters()), head_name(model)
    known = {name: row for row, name in enumerate(theirs)}
    pairs = [(row, known[name]) for row, name in enumerate(ours) if name in known]
    copied, new = 0, list(ours)
    for name, own in model.state_dict().items():
        if name not in tensors:
            continue
        other = torch.from_numpy(tensors[name])
        if name.startswith(f"{head}."):
            if own.shape[1:] == other.shape[1:] and pairs:
                rows, their_rows = map(list, zip(*pairs, strict=True))
                own[rows] = other[their_rows].to(own)
                copied += own[rows].numel()
                new = [name for name in ours if name not in known]
        elif own.shape == other.shape:
            own.copy_(other)
            copied += own.numel() if name in weights else 0
    return copied, new


def head_name(model: nn.Module) -> str:
    """The name of the classifier in `model`: of its last layer of weights."""
    return [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]
