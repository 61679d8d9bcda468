"""Takes the first step of a training on a copy of the network; keeps the numbers of one photo, neuron and weight."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from catdog.data.batches import seed_step, shuffled_batches
from catdog.data.prefetch import load_batches
from catdog.errors import CatdogError
from catdog.model.mlp import MLP, HiddenLayer
from catdog.trainer.batch import prepare_batch
from catdog.trainer.loop import Trainer
from catdog.trainer.losses import make_loss
from catdog.trainer.optim import make_optimizer
from catdog.trainer.schedule import learning_rate_at, set_learning_rate
from catdog.trainer.step import train_step
from catdog.trainer.targets import Targets, in_parts


@dataclass(frozen=True)
class FirstStep:
    """The numbers of the first step, which follow one photo of the batch, one neuron of the first layer, one weight."""

    row: int
    """Which of the photos to train on is followed: the first of the batch."""
    pixels: Tensor
    """uint8, 3 x H x W: that photo."""
    x: Tensor
    """float32, 3 * H * W: what goes into the network for it, normalised and, in training, changed at random."""
    targets: Targets
    """Of the whole batch, B photos; the one followed comes first."""
    neuron: int
    weights: Tensor
    """float32, 3 * H * W: of that neuron, before the step; `bias` likewise."""
    bias: float
    sum: float
    """Wx + b of that neuron."""
    mean: float
    """Mean of that neuron's sums over the photos that are computed together, and their `deviation`: for batch norm."""
    deviation: float
    normed: float
    """The sum after batch normalisation, if there is any."""
    out: float
    """Its activation; the sum itself in a network without hidden layers."""
    by_out: float
    """dE/d`out` for this photo."""
    by_sum: Tensor
    """float32, B: dE/d`sum` for each photo of the batch."""
    logits: Tensor
    """float32, B x classes."""
    photo_loss: float
    """The loss of the photo followed alone."""
    loss: float
    """E: that of the batch."""
    source: int
    """Which of the neuron's weights is followed, as an index into x."""
    product: float
    """dE/dw for the photo followed alone: dE/d`sum` * x."""
    gradient: float
    """dE/dw of the weight followed, over the batch."""
    norm: float
    """Length of the gradient by all weights and biases."""
    clipped: float
    """dE/dw after clipping, which the step is taken with."""
    rate: float
    before: float
    """The weight, and `after` the step."""
    after: float
    loss_after: float
    """The loss of the same batch, changed at random in the same way, after the step."""


def first_step(trainer: Trainer) -> FirstStep:
    """Take the first step of `trainer` on a copy of its network; nothing of the trainer is changed."""
    devices = [trainer.device] if trainer.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        return _first_step(trainer)


def _first_step(trainer: Trainer) -> FirstStep:
    config, training, device, least = trainer.config, trainer.config.training, trainer.device, trainer.least
    rows = shuffled_batches(len(trainer.train), trainer.steps_per_epoch, config.run.seed, 0, trainer.train.shards)[0]
    batch = next(load_batches(trainer.train, [rows]))
    rng = seed_step(config.run.seed, 0, 0, device)
    images, targets = prepare_batch(batch.pixels, batch.labels, config.augment, rng, trainer.mean, trainer.std)
    model = copy.deepcopy(mlp_of(trainer)).train()
    optimizer = make_optimizer(model, training)
    rate = learning_rate_at(0, trainer.steps_per_epoch, training)
    set_learning_rate(optimizer, rate)
    layer = model.hidden[0] if len(model.hidden) else None
    linear = first_linear(model)
    watched: dict[str, nn.Module] = {"sum": linear, "logits": model}
    if isinstance(layer, HiddenLayer):
        watched |= {"normed": layer.norm, "out": layer.activation}
    kept: dict[str, list[Tensor]] = {name: [] for name in watched}
    hooks = [module.register_forward_hook(_keep_in(kept[name])) for name, module in watched.items()]
    x = images[0].flatten()
    found: dict[str, Any] = {}

    def note() -> None:
        """Take down what the backward pass has found, before it is clipped and the weights move."""
        gradients = {name: torch.cat([_gradient(tensor) for tensor in tensors]) for name, tensors in kept.items()}
        values = {name: torch.cat([tensor.detach() for tensor in tensors]) for name, tensors in kept.items()}
        # A neuron that has something to learn from this photo; where none has, such as with an SVM content with it, the
        # first that learns from any.
        by_sum = gradients["sum"]
        neuron = int((by_sum[0] != 0).int().argmax()) if by_sum[0].any() else int((by_sum != 0).any(0).int().argmax())
        by_weight = _gradient(linear.weight)[neuron].clone()
        source = int(by_weight.abs().argmax())
        weights = linear.weight.detach()[neuron].clone()
        together = kept["sum"][0].detach()[:, neuron]
        epsilon = getattr(layer.norm, "eps", 0.0) if isinstance(layer, HiddenLayer) else 0.0
        found.update(
            neuron=neuron,
            weights=weights.cpu(),
            bias=float(linear.bias.detach()[neuron]),
            sum=float(values["sum"][0, neuron]),
            mean=float(together.mean()),
            deviation=math.sqrt(float(together.var(correction=0)) + epsilon),
            normed=float(values.get("normed", values["sum"])[0, neuron]),
            out=float(values.get("out", values["sum"])[0, neuron]),
            by_out=float(gradients.get("out", by_sum)[0, neuron]),
            by_sum=by_sum[:, neuron].cpu(),
            logits=values["logits"].cpu(),
            source=source,
            product=float(by_sum[0, neuron] * x[source]),
            gradient=float(by_weight[source]),
            norm=float(nn.utils.get_total_norm([_gradient(p) for p in model.parameters()])),
            before=float(weights[source]),
        )

    totals = torch.zeros(3, dtype=trainer.state.totals.dtype, device=device)
    train_step(model, images, targets, trainer.loss, optimizer, training, totals, least=least, before_step=note)
    for hook in hooks:
        hook.remove()
    parts = in_parts(images, targets, training.accumulate, least)
    criterion = make_loss(training, training.label_smoothing, None)
    alone = Targets(targets.labels[:1].cpu(), targets.partners[:1].cpu(), targets.share)
    seed_step(config.run.seed, 0, 0, device)  # so that dropout silences the same units again
    with torch.no_grad():
        after = _loss(trainer, [model(part) for part, _ in parts], parts)
    return FirstStep(
        row=int(rows[0]),
        pixels=batch.pixels[0].cpu(),
        x=x.cpu(),
        targets=targets,
        photo_loss=float(alone.loss(criterion, found["logits"][:1])),
        loss=_loss(trainer, kept["logits"], parts),
        clipped=float(_gradient(linear.weight)[found["neuron"], found["source"]]),
        rate=rate,
        after=float(linear.weight.detach()[found["neuron"], found["source"]]),
        loss_after=after,
        **found,
    )


def mlp_of(trainer: Trainer) -> MLP:
    """Its network. CatdogError if it is not an MLP whose neurons see the whole photo."""
    model, config = trainer.state.model, trainer.config
    if config.model.local or not isinstance(model, MLP):
        raise CatdogError("--narrate tells of neurons that see the whole photo; leave out --local and --model.")
    return model


def first_linear(model: MLP) -> nn.Linear:
    """The layer that reads the photo: the first hidden one, or the classifier where there is none."""
    layer = model.hidden[0].linear if len(model.hidden) else model.classifier
    assert isinstance(layer, nn.Linear)
    return layer


def _keep_in(tensors: list[Tensor]) -> Callable[[nn.Module, Any, Tensor], None]:
    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        output.retain_grad()
        tensors.append(output)

    return keep


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def _loss(trainer: Trainer, logits: Sequence[Tensor], parts: Sequence[tuple[Tensor, Targets]]) -> float:
    """E of a batch, added up over the parts."""
    losses = [targets.loss(trainer.loss, scores) for scores, (_, targets) in zip(logits, parts, strict=True)]
    return float(torch.stack(losses).sum().detach())
