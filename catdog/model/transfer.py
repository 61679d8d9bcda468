"""Transfer learning: the weights of another network, copied as far as they fit, and layers that stay as they are."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from catdog.base.text import listed
from catdog.config.settings import Training
from catdog.data.names import class_key
from catdog.model.mlp import MLP
from catdog.numpy_net import Floats


@torch.no_grad()
def copy_weights(
    model: nn.Module, tensors: Mapping[str, Floats], theirs: Sequence[str], ours: Sequence[str]
) -> tuple[int, list[str]]:
    """Copy into `model` each layer of `tensors` that fits by name and shape, and of the classifier the rows of classes
    of the same name (`class_key`), all others of which are 0; what else does not fit keeps its first values.

    theirs, ours: the classes of both, in order. Returns how many weights were copied, and the classes with new rows.
    """
    head, weights = head_name(model), dict(model.named_parameters())
    state = {name: own for name, own in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    known = {class_key(name): row for row, name in enumerate(theirs)}
    rows = [row for row, name in enumerate(ours) if class_key(name) in known]
    their_rows = [known[class_key(ours[row])] for row in rows]

    def fits(name: str) -> bool:
        own, other = state[name].shape, tensors[name].shape if name in tensors else None
        return other is not None and (own[1:] == other[1:] if _layer(name) == head else own == other)

    new_layers = {_layer(name) for name in state if not fits(name)}
    copied = 0
    for name, own in state.items():
        if _layer(name) == head:
            own.zero_()
        if (layer := _layer(name)) not in new_layers:
            mine, its = (rows, their_rows) if layer == head else (slice(None), slice(None))
            own[mine] = torch.from_numpy(tensors[name])[its]
            copied += own[mine].numel() if name in weights else 0
    return copied, [name for name in ours if class_key(name) not in known or head in new_layers]


def _layer(name: str) -> str:
    """The layer of an array; an MLP's batch normalisation belongs to the layer that it normalises."""
    return name.rpartition(".")[0].removesuffix(".linear").removesuffix(".norm")


def layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Name and module of each layer, as the plan lists them: of torchvision's networks, their parts with weights."""
    if isinstance(model, MLP):
        return [
            *((f"hidden {i}", layer) for i, layer in enumerate(model.hidden, start=1)),
            ("classifier", model.classifier),
        ]
    (network,) = model.children()
    return [(name, part) for name, part in network.named_children() if list(part.parameters())]


def freeze(model: nn.Module, training: Training) -> None:
    """Leave the layers of `model`, which is in training mode, before the last `train_layers` out of training: no
    gradient, no dropout, and no new statistics; with `keep_statistics`, no new statistics in any layer.
    """
    if training.train_layers:
        model.eval().requires_grad_(False)
        for _, layer in layers(model)[-training.train_layers :]:
            layer.train().requires_grad_(True)
    if training.keep_statistics:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def describe_trained(model: nn.Module, training: Training) -> str:
    """Which layers of `model` are trained, in words."""
    found, words = layers(model), "all layers"
    if 0 < training.train_layers < len(found):
        trained = found[-training.train_layers :]
        count, total = (sum(p.numel() for _, layer in part for p in layer.parameters()) for part in (trained, found))
        names = listed([name for name, _ in trained])
        words = f"{names}: {count:,} of {total:,} weights; the layers before stay as they are"
    return words + "; batch normalisation keeps its statistics" * training.keep_statistics


def head_name(model: nn.Module) -> str:
    """The name of the classifier in `model`: of its last layer of weights."""
    return [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]
