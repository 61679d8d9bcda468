"""One step of training: forward, loss, backward, step."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from catdog.config.settings import Training
from catdog.runtime.precision import FLOAT32, Precision
from catdog.trainer.targets import Targets, in_parts


def begin_training(network: nn.Module, training: Training) -> None:
    """Put `network` into training mode, but for the layers and statistics that `training` keeps as they are."""
    network.train()
    if training.train_layers or training.keep_statistics:
        from catdog.model.transfer import freeze

        freeze(network, training)


def train_step(
    network: nn.Module,
    images: Tensor,
    targets: Targets,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    training: Training,
    totals: Tensor,
    *,
    precision: Precision = FLOAT32,
    scaler: torch.amp.GradScaler | None = None,
    world_size: int = 1,
    least: int = 1,
    before_step: Callable[[], object] = lambda: None,
) -> None:
    """Move every weight of `network` once against the gradient of the mean loss over a batch.

    images: float32, B x 3 x H x W, normalised. totals: float, 3, to which the batch's summed loss, correct answers and
    photos are added. least: photos that each part of the batch must hold. before_step: called when the gradients are
    there; where it raises, no weight has moved.
    """
    scaler = scaler or precision.scaler()
    optimizer.zero_grad()
    for part, part_targets in in_parts(images, targets, training.accumulate, least):
        with precision.autocast():
            logits = network(part)  # forward
        logits = logits.to(part.dtype)
        loss = part_targets.loss(criterion, logits)  # loss
        # backward: dE/dw of every weight, by the chain rule (of all processes: their mean, times how many they are)
        scaler.scale(loss * world_size).backward()
        totals += part_targets.count(loss.detach() * targets.batch_size, logits)
    before_step()
    scaler.unscale_(optimizer)
    if training.clip_norm:
        nn.utils.clip_grad_norm_(network.parameters(), training.clip_norm)
    scaler.step(optimizer)  # step: w' = w - lr * dE/dw, or the optimizer's refinement of it
    scaler.update()
