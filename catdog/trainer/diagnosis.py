"""Finds the layer in which numbers first become NaN or infinite, or are the largest."""

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from catdog.model.mlp import MLP


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


@torch.no_grad()
def find_layer(model: nn.Module, images: Tensor) -> str:
    """The first layer, on the way forward, whose weights or outputs are not finite; else the one with the largest."""
    model.eval()  # in training, batch normalisation would wait for other processes, and take no single photo
    if not _is_finite(images):
        return "the normalised photos hold numbers that are not finite"
    largest, largest_name = 0.0, ""
    for name, layer, x in layer_outputs(model, images):
        if not all(map(_is_finite, layer.state_dict().values())):
            return f"the weights of {name} are the first numbers that are not finite"
        if not _is_finite(x):
            return f"the outputs of {name} are the first numbers that are not finite"
        size = float(x.abs().max())
        if size >= largest:
            largest, largest_name = size, name
    return f"the outputs of {largest_name} are the largest, up to {largest:.3g}"


def layer_outputs(model: nn.Module, images: Tensor) -> list[tuple[str, nn.Module, Tensor]]:
    """Run the forward pass: (name, layer, its output) of each layer in order."""
    layers, outputs = named_layers(model), list[Tensor]()
    with ExitStack() as stack:
        for _, layer in layers:
            stack.enter_context(layer.register_forward_hook(lambda layer, inputs, output: outputs.append(output)))
        model(images)
    return [(name, layer, output) for (name, layer), output in zip(layers, outputs, strict=True)]


def named_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers in order, as a reader calls them: hidden layer 1, ..., the classifier; or the network as a whole."""
    if not isinstance(model, MLP):
        return [("the network", model)]
    hidden = [(f"hidden layer {i}", layer) for i, layer in enumerate(model.hidden, start=1)]
    return [*hidden, ("the classifier", model.classifier)]
