"""The optimizer, which moves the weights."""

import inspect
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from catdog.config.settings import Training


def make_optimizer(model: nn.Module, training: Training) -> Optimizer:
    """AdamW (Loshchilov and Hutter 2019), SGD, or Muon with AdamW over `model`; weight decay pulls on matrices only.

    The fused implementations, where a device has them, update all weights in one pass over memory.
    """
    fused = next(model.parameters()).device.type in ("cpu", "cuda", "mps")
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices, vectors = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    if training.optimizer == "muon" and matrices[1:-1]:
        from catdog.trainer.muon import MuonAndAdamW  # which few trainings use

        return MuonAndAdamW(matrices[1:-1], [matrices[0], matrices[-1]], vectors, training, fused)
    groups = [{"params": matrices, "weight_decay": training.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    if training.optimizer in ("sgd", "lbfgs"):  # lbfgs keeps nothing from one epoch to the next
        sgd = without_compiler(torch.optim.SGD)
        return sgd(groups, lr=training.learning_rate, momentum=training.momentum, fused=fused)
    return without_compiler(torch.optim.AdamW)(groups, lr=training.learning_rate, fused=fused)


def without_compiler(kind: type[Optimizer]) -> Any:
    """`kind` without the wrappers of its methods that import torch.compile's machinery, which takes as long as torch.

    They keep torch.compile out of these methods, and `step` from recording a graph.
    """
    methods = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    unwrapped = {name: inspect.unwrap(getattr(kind, name)) for name in methods}
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), {**unwrapped, "step": step})
