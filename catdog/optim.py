"""How the weights move: the optimizer, the learning rate of each step, and the running average of the weights."""

import copy
import math
from typing import Any

import torch
from torch import nn

from catdog.config.settings import Training
from catdog.errors import CatdogError

Params = list[nn.Parameter]


def make_optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019), SGD, or Muon with AdamW over `model`; weight decay pulls on matrices only.

    The fused implementations, where a device has them, update all weights in one pass over memory.
    """
    fused = next(model.parameters()).device.type in ("cpu", "cuda", "mps")
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    if training.optimizer == "muon" and matrices[1:-1]:
        return MuonAndAdamW(matrices[1:-1], [matrices[0], matrices[-1]], vectors, training, fused)
    groups = [{"params": matrices, "weight_decay": training.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=training.learning_rate, momentum=training.momentum, fused=fused)
    return torch.optim.AdamW(groups, lr=training.learning_rate, fused=fused)


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) over the matrices `hidden`; AdamW over the `other` matrices and the `vectors`.

    Muon's steps are made as long as AdamW's usually are (Liu et al. 2025, "Muon is Scalable for LLM Training", section
    2.2), so that one learning rate serves both. To the outside it is one optimizer with one state.
    """

    def __init__(self, hidden: Params, other: Params, vectors: Params, training: Training, fused: bool) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise CatdogError(
                f"optimizer (--optimizer) muon needs PyTorch 2.9, and this is {torch.__version__}; give adamw."
            )
        rate, decay = training.learning_rate, training.weight_decay
        self.muon = torch.optim.Muon(hidden, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        groups = [{"params": other, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
        self.adamw = torch.optim.AdamW(groups, lr=rate, fused=fused)
        super().__init__([*self.muon.param_groups, *self.adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """The two work on this one's settings and state."""
        self.muon.param_groups, self.adamw.param_groups = self.param_groups[:1], self.param_groups[1:]
        self.muon.state = self.adamw.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        self.muon.step()
        self.adamw.step()


def learning_rate_at(step: int, steps_per_epoch: int, training: Training) -> float:
    """The rate of step number `step` (from 0) of the whole training: a linear warm-up, then the schedule."""
    warmup = round(training.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return training.learning_rate * (step + 1) / (warmup + 1)
    if training.schedule == "constant":
        return training.learning_rate
    if training.schedule == "step":
        return training.learning_rate * training.step_factor ** (step // (training.step_epochs * steps_per_epoch))
    # Half a cosine from the full rate, after warm-up, to zero (Loshchilov and Hutter 2017, equation 5).
    total = training.epochs * steps_per_epoch
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


class AveragedWeights:
    """An exponential moving average of a network's weights (Polyak and Juditsky 1992).

    `model` is a network of its own, never trained, that holds the average; with decay 0 it is the trained one itself.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False) if decay else model

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards `model` after step number `step` (from 0); the first steps count for more."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
