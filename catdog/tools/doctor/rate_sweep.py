"""Learning rate range test: trains for a few steps with a rising rate and finds where the loss falls fastest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from catdog.base.text import many
from catdog.drawing.figures import legend_below, new_figure, save_figure
from catdog.tools.doctor.patient import Finding, Patient, steps
from catdog.trainer.likely_cause import is_rate_too_high
from catdog.trainer.schedule import learning_rate_at

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
_WIDTH = 3  # standard deviation, in points, of the Gaussian weights that smooth the loss
_EXPLODED = 3.0  # times the first losses: above, the rate is too high
_EPOCHS, _TRIED = 3, 60  # of a training at the configured rate, and its steps at most
_FALLEN = 0.95  # times the first losses: below, the loss has fallen


@dataclass(frozen=True)
class Sweep:
    """Losses at rising rates, raw and smoothed (N each); the rates at which the loss falls fastest and explodes.

    `steepest` is None where the loss did not fall, `too_high` where it did not explode.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    steepest: float | None
    too_high: float | None


def sweep(patient: Patient) -> Sweep:
    """Train for STEPS steps with a rate that rises exponentially (Smith 2017, Cyclical Learning Rates, section 3.3).

    The photos are not augmented, which would hide so short a descent, and the last layer starts at a tenth of its
    weights: so the loss starts at that of guessing, and falls by what is learned, not by unlearning the initial
    weights. `steepest` is the rate at which the smoothed loss falls fastest over the logarithm of the rate, before its
    minimum.
    """
    rates = np.geomspace(LOWEST, HIGHEST, STEPS)
    losses: list[float] = []
    model = patient.model()
    with torch.no_grad():
        model.classifier.weight.mul_(0.1)
    for step in steps(patient, model, patient.train, STEPS, batch_size=128, as_they_are=True, rates=rates.tolist()):
        losses.append(step.loss)
        if not step.is_finite or step.loss > 2 * _EXPLODED * losses[0]:
            break
    finite = [loss for loss in losses if math.isfinite(loss)]
    return find_rates(rates[: len(finite)], np.array(finite), exploded=len(finite) < len(losses))


def find_rates(rates: np.ndarray, losses: np.ndarray, exploded: bool = False) -> Sweep:
    """Find the steepest and the exploding rate. rates, losses: float, N; exploded: the next was NaN or infinite."""
    if len(rates) < _WIDTH:
        return Sweep(rates, losses, losses, None, float(rates[-1]) if exploded and len(rates) else None)
    smoothed, slope = smooth(np.log(rates), losses)
    start, least = float(losses[: 2 * _WIDTH].mean()), float(smoothed.min())
    above = np.flatnonzero(losses > _EXPLODED * start)
    too_high = float(rates[above[0]]) if len(above) else float(rates[-1]) if exploded else None
    # Only between the initial loss and the minimum: near either, slopes are noise.
    falling = (smoothed < start - 0.1 * (start - least)) & (np.arange(len(rates)) <= smoothed.argmin())
    steepest = None
    if least < _FALLEN * start and falling.any():
        steepest = float(rates[np.where(falling, slope, np.inf).argmin()])
    return Sweep(rates, losses, smoothed, steepest, too_high)


def smooth(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Local linear regression (Cleveland 1979): (value, slope) at each x of the line fitted to nearby points, N each.

    The points have Gaussian weights of standard deviation _WIDTH points; x is evenly spaced.
    """
    number = np.arange(len(x))
    values, slopes = np.empty(len(x)), np.empty(len(x))
    for i in number:
        weights = np.exp(-0.5 * ((number - i) / _WIDTH) ** 2)
        weights /= weights.sum()
        middle, level = weights @ x, weights @ y
        slopes[i] = (weights * (x - middle)) @ (y - level) / ((weights * (x - middle)) @ (x - middle))
        values[i] = level + slopes[i] * (x[i] - middle)
    return values, slopes


def first_epochs(patient: Patient) -> list[float]:
    """Mean loss of each of the first epochs of a training as configured: its batches, its rates with their warm-up."""
    training, photos = patient.config.training, len(patient.train)
    per_epoch = max(1, round(photos / training.batch_size))
    rates = [learning_rate_at(step, per_epoch, training) for step in range(min(_TRIED, _EPOCHS * per_epoch))]
    made = steps(patient, patient.model(), patient.train, len(rates), batch_size=training.batch_size, rates=rates)
    losses = [step.loss for step in made]
    return [float(np.mean(losses[start : start + per_epoch])) for start in range(0, len(losses), per_epoch)]


def check_rate(found: Sweep, rate: float, losses: Sequence[float] = (), guess: float = math.inf) -> Finding:
    """Check the configured learning rate `rate` against the result of the sweep, and by what training calls too high.

    losses: of the first epochs at that rate; guess: that of giving all classes the same score.
    """
    name = "rate sweep"
    if found.too_high is not None and rate > found.too_high:
        advice = f"Try --learning-rate {found.steepest or found.too_high / 100:.1g}."
        return Finding(
            name,
            "ill",
            f"from a learning rate of {found.too_high:.1e} on the loss explodes, and it is set to {rate:g}.",
            advice,
        )
    if losses and is_rate_too_high(losses, guess):
        return Finding(
            name,
            "warning",
            f"in the first {many(len(losses), 'epoch')} at the learning rate that is set, {rate:g}, the loss goes up "
            f"to {max(losses):.3g}, and guessing costs {guess:.3g}: the rate is too high.",
            f"Try --learning-rate {rate / 10:g}.",
        )
    if found.steepest is None:
        return Finding(
            name,
            "warning",
            f"at no learning rate from {LOWEST:g} to {found.rates[-1] if len(found.rates) else HIGHEST:.1g} does the "
            "loss fall.",
            "It may need more steps to begin; if it does not learn by heart either, look at the gradient check.",
        )
    explodes = "" if found.too_high is None else f", and explodes from {found.too_high:.1e} on"
    what = f"the loss falls fastest at a learning rate of {found.steepest:.1e}{explodes}; it is set to {rate:g}"
    advice = f"Try --learning-rate {found.steepest:.1g}."
    if rate > 30 * found.steepest:
        return Finding(name, "warning", f"{what}, {rate / found.steepest:,.0f} times as much.", advice)
    if rate < found.steepest / 1000:
        return Finding(name, "ill", f"{what}, {found.steepest / rate:,.0f} times less.", advice)
    if rate < found.steepest / 30:
        return Finding(name, "warning", f"{what}, {found.steepest / rate:,.0f} times less.", advice)
    return Finding(name, "ok", f"{what}.")


def draw_sweep(found: Sweep, rate: float, path: Path) -> None:
    """Draw the losses over the rate, on a logarithmic scale, with the steepest rate and the configured one."""
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color="lightgrey", marker=".", label="loss of a batch")
    axes.plot(found.rates, found.smoothed, label="smoothed")
    if found.steepest is not None:
        axes.axvline(found.steepest, color="green", linestyle="--", label=f"falls fastest: {found.steepest:.1e}")
    axes.axvline(rate, color="black", linestyle=":", label=f"set: {rate:g}")
    if len(found.rates):
        axes.set_ylim(0, min(float(found.losses.max()), _EXPLODED * float(found.losses[0])) * 1.05)
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", title="learning rate range test")
    axes.grid(alpha=0.3)
    legend_below(axes)
    save_figure(figure, path)
