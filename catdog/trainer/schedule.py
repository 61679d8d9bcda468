"""The learning rate of each step."""

import math

import torch

from catdog.config.settings import Training


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
