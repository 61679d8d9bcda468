"""The optimizer, which moves the weights."""

import torch
from torch import nn

from catdog.config.settings import Training


def make_optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019), SGD, or Muon with AdamW over `model`; weight decay pulls on matrices only.

    The fused implementations, where a device has them, update all weights in one pass over memory.
    """
    fused = next(model.parameters()).device.type in ("cpu", "cuda", "mps")
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    if training.optimizer == "muon" and matrices[1:-1]:
        from catdog.trainer.muon import MuonAndAdamW  # which few trainings use

        return MuonAndAdamW(matrices[1:-1], [matrices[0], matrices[-1]], vectors, training, fused)
    groups = [{"params": matrices, "weight_decay": training.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=training.learning_rate, momentum=training.momentum, fused=fused)
    return torch.optim.AdamW(groups, lr=training.learning_rate, fused=fused)
