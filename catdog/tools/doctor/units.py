"""Checks the network's gradients, for silent or saturated units, and the size of its updates."""

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn

from catdog.model.local import LocalLinear
from catdog.model.mlp import MLP, HiddenLayer
from catdog.tools.doctor.patient import Finding, Patient, or_batch_norm, steps
from catdog.trainer.diagnosis import layer_outputs, named_layers

_WEIGHTS_TRIED = 4  # weights compared of each matrix and each vector
_RATIO_STEPS = 20


def check_gradients(patient: Patient) -> Finding:
    """Compare backpropagation with (E(w + h) - E(w - h)) / 2h, in float64, for a few weights of each layer.

    The relative error is about 1e-7 for a correct gradient, and above 1e-2 for a wrong one (Stanford's CS231n,
    "Learning", gradient checks). Of several h the one that agrees best counts: a relu's kink may lie in between, and
    with a small h rounding errors dominate.
    """
    name = "gradient"
    cpu = torch.device("cpu")
    model = copy.deepcopy(patient.model(dropout=False)).to(cpu, torch.float64).train()
    criterion = patient.criterion(patient.config.training.label_smoothing).to(cpu, torch.float64)
    photos, labels = patient.photos(8)
    images, labels = photos.to(cpu, torch.float64), labels.to(cpu)
    loss = criterion(model(images), labels)
    loss.backward()
    value = float(loss.detach())
    if not math.isfinite(value):
        return Finding(name, "ill", f"the loss is {value}.", "Look at how the first weights are drawn.")
    weights = [(which, p) for which, p in model.named_parameters() if p.requires_grad]
    largest = max(float(p.grad.abs().max()) for _, p in weights if p.grad is not None)
    # Smaller gradients drown in the rounding error of a difference of two losses.
    floor = max(1e-5 * largest, 1e-8 * max(1.0, value))
    rng = np.random.default_rng(patient.config.run.seed)
    worst = (-1.0, "", 0.0, 0.0)
    count = 0
    for which, p in weights:
        gradient = torch.zeros_like(p) if p.grad is None else p.grad
        flat = p.detach().view(-1)
        chosen = {int(gradient.abs().argmax()), *rng.integers(p.numel(), size=_WEIGHTS_TRIED - 1).tolist()}
        for index in sorted(chosen):
            by_backward = float(gradient.view(-1)[index])
            tried = []
            for h in (1e-4, 1e-5, 1e-6):
                by_differences = _central_difference(model, criterion, images, labels, flat, index, h)
                scale = max(abs(by_backward), abs(by_differences), floor)
                tried.append((abs(by_backward - by_differences) / scale, which, by_backward, by_differences))
                if tried[-1][0] < 1e-6:
                    break
            worst = max(worst, min(tried))
            count += 1
    error, which, by_backward, by_differences = worst
    what = (
        f"of {count} weights, backpropagation and central differences differ most in {which}: {by_backward:.6g} "
        f"against {by_differences:.6g}, a relative error of {error:.0e}"
    )
    if not error < 1e-2:
        return Finding(
            name,
            "ill",
            f"{what}.",
            "The gradient is wrong: look at the loss or layer whose backward pass is not torch's.",
        )
    if error > 1e-4:
        return Finding(
            name, "warning", f"{what}.", "A kink may lie just there; try another --seed, and look closer if it stays."
        )
    return Finding(name, "ok", f"{what}.")


@torch.no_grad()
def _central_difference(
    model: MLP, criterion: nn.Module, images: Tensor, labels: Tensor, flat: Tensor, index: int, h: float
) -> float:
    """(E(w + h) - E(w - h)) / 2h for the weight `flat[index]`, which is restored."""
    before = float(flat[index])
    losses = []
    for moved in (before + h, before - h):
        flat[index] = moved
        losses.append(float(criterion(model(images), labels)))
    flat[index] = before
    return (losses[0] - losses[1]) / (2 * h)


@torch.no_grad()
def check_units(model: MLP, images: Tensor, which: str = "units") -> Finding:
    """Count units that are silent on every photo, or (tanh, sigmoid) saturated on nearly every photo.

    images: float32, N x 3 x H x W, normalised. A unit is silent if its activation is 0 (gelu: within 0.001 of it) for
    all of them: it gets no gradient. It is saturated if its activation is within 0.01 of its bounds for 95%.
    """
    model.eval()
    shares: list[tuple[float, str, int]] = []
    what, how = "silent", "on every photo"
    for name, layer, x in layer_outputs(model, images):
        if not isinstance(layer, HiddenLayer):  # the classifier
            break
        if isinstance(layer.activation, nn.Tanh | nn.Sigmoid):
            what, how = "saturated", "on nearly every photo"
            low = -1.0 if isinstance(layer.activation, nn.Tanh) else 0.0
            out = ((x > 0.99) | (x < low + 0.01)).float().mean(dim=0) >= 0.95
        else:
            out = x.abs().amax(dim=0) < 1e-3
        shares.append((float(out.float().mean()), name, int(out.sum())))
        if not bool(torch.isfinite(x).all()):
            return Finding(which, "ill", f"the outputs of {name} are not finite.", "Try a lower --learning-rate.")
    if not shares:
        return Finding(which, "ok", "there are no hidden units.")
    share, name, count = max(shares)
    found = f"of the units of {name}, {count:,} ({share:.1%}) are {what} {how} of {len(images)}"
    advice = (
        f"They learn nothing: try a lower --learning-rate or --activation gelu{or_batch_norm(model)}."
        if what == "silent"
        else f"They hardly learn: try smaller first weights or --activation gelu{or_batch_norm(model)}."
    )
    if share > 0.5:
        return Finding(which, "ill", f"{found}.", advice)
    if share > 0.1:
        return Finding(which, "warning", f"{found}.", advice)
    return Finding(which, "ok", f"{found}{'; no layer has more' * (len(shares) > 1)}.")


def check_update_ratio(patient: Patient) -> Finding:
    """Check the ratio of updates to weights of each layer, |dW| / |W|, the median of some steps.

    About 1e-3 is healthy (Stanford's CS231n, "Learning", ratio of weights:updates); the first steps of adamw, which
    move every weight by about the learning rate, are longer.
    """
    name = "update ratio"
    patient = patient.with_training(weight_decay=0.0)  # which also moves weights without gradient
    model = patient.model()
    layers = [
        (which, layer.linear if isinstance(layer, HiddenLayer) else layer) for which, layer in named_layers(model)
    ]
    matrices = [(which, layer.weight) for which, layer in layers if isinstance(layer, nn.Linear | LocalLinear)]
    before = [w.detach().clone() for _, w in matrices]
    ratios: list[list[float]] = []
    for step in steps(patient, model, patient.train, _RATIO_STEPS):
        if not step.is_finite:
            return Finding(
                name,
                "ill",
                f"the loss is no longer a number after {len(ratios)} steps.",
                f"The learning rate is too high: try --learning-rate {patient.config.training.learning_rate / 10:g}.",
            )
        now = [w.detach().clone() for _, w in matrices]
        ratios.append(
            [float((new - old).norm() / old.norm().clamp(min=1e-30)) for new, old in zip(now, before, strict=True)]
        )
        before = now
    medians = np.median(ratios[len(ratios) // 2 :], axis=0).tolist()
    what = "a step moves the weights by this share of their length: " + ", ".join(
        f"{which} {ratio:.1e}" for (which, _), ratio in zip(matrices, medians, strict=True)
    )
    rate = patient.config.training.learning_rate
    low, high = min(medians), max(medians)
    # Weights that one step has made huge hardly move in the next: so the longest step counts, too.
    longest = max(map(max, ratios))
    if not (high < 0.3 and longest < 1):
        return Finding(
            name,
            "ill",
            f"{what}; the longest step was {longest:.2g} times as long as the weights: far too much.",
            f"Try --learning-rate {rate * 0.01 / longest:.1g}.",
        )
    # From the layer that moves most, since the rate is the same for all.
    higher = f"Try --learning-rate {min(rate * 1e-3 / max(high, 1e-30), 1.0):.1g}."
    if low == 0:
        higher = f"No gradient reaches a layer: look at the units, and try another --activation{or_batch_norm(model)}."
    elif high > 3e-4:
        higher = f"Other layers move well, so look at the units, and try another --activation{or_batch_norm(model)}."
    if low < 1e-6:
        return Finding(name, "ill", f"{what}: next to nothing, and about 1e-3 is healthy.", higher)
    if high > 0.05:
        return Finding(
            name,
            "warning",
            f"{what}: rather much, where about 1e-3 is healthy.",
            f"Try --learning-rate {rate * 0.01 / high:.1g}.",
        )
    if low < 1e-4:
        return Finding(name, "warning", f"{what}: rather little, where about 1e-3 is healthy.", higher)
    return Finding(name, "ok", f"{what} (about 1e-3 is healthy, and the first steps of adamw are longer).")
