"""Networks that no training has made."""

from typing import Any

import torch
from numpy.typing import NDArray

from catdog.architecture import Architecture
from catdog.model.build import build_mlp
from catdog.model.mlp import MLP


def network(shape: Architecture, classes: int = 3, dtype: torch.dtype = torch.float32) -> MLP:
    """An MLP of that shape in which no number has its first value, in evaluation."""
    torch.manual_seed(0)
    model = build_mlp(shape, classes).to(dtype).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith(("bias", "running_mean")):
                tensor.copy_(torch.randn(tensor.shape) / 2)
            if name.endswith(("norm.weight", "running_var")):
                tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return model


def arrays_of(model: MLP) -> dict[str, NDArray[Any]]:
    """The arrays of a model file, by name."""
    return {n: t.numpy().copy() for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")}
