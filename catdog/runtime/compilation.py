"""Compiles a network with torch.compile, where there is a compiler."""

import importlib.util
import shutil
from typing import cast

import torch
from torch import nn

from catdog.errors import CatdogError


def compiled(network: nn.Module, device: torch.device) -> nn.Module:
    """`network` compiled at its first use, by TorchInductor in its default mode; the same weights.

    It is compiled for the size of the first batch, and once more, for any size, at the first batch of another one.
    Raises CatdogError where a compiler is missing.
    """
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise CatdogError("--compile needs Triton on a GPU, which is not installed; leave --compile out.")
    if device.type in ("cpu", "cuda") and not any(map(shutil.which, ("g++", "clang++", "c++", "cl"))):
        raise CatdogError("--compile needs a C++ compiler, and there is no g++ or clang++; leave --compile out.")
    return cast(nn.Module, torch.compile(network))
