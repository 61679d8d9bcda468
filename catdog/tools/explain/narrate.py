"""`catdog train --narrate`: the first step of a training in the words of the textbook, with its own numbers.

The step is taken on a copy of the network, before training begins, by the trainer's own functions: the training itself
is the same to the last bit. After that one line every few steps tells how the loss falls in the first epoch.
"""

import math
import textwrap
from collections.abc import Callable

import torch
from tqdm import tqdm

from catdog.base.text import many
from catdog.config.settings import Training
from catdog.model.mlp import count_weights
from catdog.numpy_net import softmax
from catdog.tools.explain.backprop import SLOPES
from catdog.tools.explain.explanation import CHANNELS, classes_to_show, largest
from catdog.tools.explain.first_step import FirstStep, first_linear, first_step, mlp_of
from catdog.tools.explain.words import RESIZED, number, plus, signed, times
from catdog.trainer.events import Event, StepDone, TrainingStarted
from catdog.trainer.loop import Trainer

_LINES = 8  # of the falling loss
_WIDTH = 110


class Narration:
    """A listener that logs the first step of a training in words, and then how the loss falls in the first epoch."""

    def __init__(self) -> None:
        self._log: Callable[[str], None] = print
        self._before = torch.zeros(3)

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrainingStarted):
            trainer = event.trainer
            self._log, self._before = trainer.log, torch.zeros_like(trainer.state.totals)
            self._log(in_words(first_step(trainer), trainer, trainer.train.listing.path) + "\n")
        elif isinstance(event, StepDone) and event.epoch == 1:
            self._log_loss(event)

    def _log_loss(self, event: StepDone) -> None:
        """Log the loss of every few batches."""
        every = -(-event.steps // _LINES)
        if event.step == 1 or event.step % every == 0 or event.step == event.steps:
            loss_sum, _correct, count = (event.totals - self._before).tolist()
            with tqdm.external_write_mode():  # the line goes above the progress bar, not into it
                self._log(f"step {event.step:>{len(str(event.steps))}}: loss {loss_sum / count:.4f}")
        self._before = event.totals.clone()


def in_words(s: FirstStep, trainer: Trainer, path_of: Callable[[int], str]) -> str:
    """The step in numbered paragraphs."""
    paragraphs = [
        *_photo(s, trainer, path_of(s.row)),
        *_forward(s, trainer),
        *_scores(s, trainer),
        *_backward(s, trainer),
        *_step(s, trainer),
    ]
    lines = ["", "The first step of this training, in numbers:"]
    for i, paragraph in enumerate(paragraphs, start=1):
        about, *numbers = paragraph
        lines += textwrap.wrap(f"{i}. {about}", _WIDTH, subsequent_indent="   ", break_on_hyphens=False)
        for line in numbers:
            lines += textwrap.wrap(line, _WIDTH, initial_indent=" " * 5, subsequent_indent=" " * 9)
    return "\n".join(lines)


Paragraph = list[str]  # what it says, then lines of numbers


def _photo(s: FirstStep, trainer: Trainer, path: str) -> list[Paragraph]:
    _, height, width = s.pixels.shape
    label = trainer.card.classes[int(s.targets.labels[0])]
    corner = min(3, width)
    red_green_blue = "  ".join(
        f"{name} {' '.join(str(int(v)) for v in s.pixels[c, 0, :corner])} ..." for c, name in enumerate(CHANNELS)
    )
    resized = RESIZED[trainer.card.resize]
    about = (
        f"A photo is numbers. {path} ({label}) is {resized} to {width} x {height} pixels of red, green and blue: "
        f"{width} x {height} x 3 = {s.pixels.numel():,} numbers from 0 to 255"
    )
    if (width, height) != (800, 600):
        about += " (one of 800 x 600 would be 1,440,000 numbers)"
    changed = "changed a little at random, anew in every epoch; " if _is_augmented(trainer) else ""
    if s.targets.share < 1:
        changed += f"blended with {1 - s.targets.share:.0%} of another photo, "
    mean, std = trainer.card.mean, trainer.card.std
    return [
        [about + ". The top row begins with", red_green_blue],
        [
            f"They go in as x: {changed}each number less the mean of its colour ({mean[0]:.1f} for red) and over its "
            f"deviation ({std[0]:.1f}), all in one row of {len(s.x):,}, from {number(float(s.x.min()))} to "
            f"{number(float(s.x.max()))}."
        ],
    ]


def _is_augmented(trainer: Trainer) -> bool:
    a = trainer.config.augment
    return a.flip or a.crop_area < 1 or a.crop_ratio > 1 or max(a.brightness, a.contrast, a.saturation) > 0


def _forward(s: FirstStep, trainer: Trainer) -> list[Paragraph]:
    model, card = mlp_of(trainer), trainer.card
    first = first_linear(model)
    products = s.weights.double() * s.x.double()
    shown = largest(products.numpy())
    terms = [times(float(s.weights[j]), float(s.x[j])) for j in shown]
    rest = float(products.sum() - products[shown].sum())
    bias = f"{'-' if s.bias < 0 else '+'} {number(abs(s.bias))}"
    others = f" + {len(s.x) - len(shown):,} more products, together {signed(rest)}" if len(s.x) > len(shown) else ""
    what = _neuron(s, trainer)
    about = (
        f"The first layer computes f(x, W) = Wx + b. {what[0].upper() + what[1:]}, one of {first.out_features:,}, "
        f"multiplies each number by a weight of its own and adds its bias {number(s.bias)}; W was drawn at "
        "random. Its largest products first:"
    )
    found = [[about, plus(terms) + others, f"Wx + b = {number(float(products.sum()))} {bias} = {number(s.sum)}"]]
    if not len(model.hidden):
        return found
    if card.architecture.batch_norm:
        found.append(
            [
                "Batch norm takes from a neuron's sum its mean over the photos that are computed together, and divides "
                "by its deviation there (then times gamma plus beta, which are still 1 and 0):",
                f"({number(s.sum)} - {signed(s.mean)}) / {number(s.deviation)} = {number(s.normed)}",
            ]
        )
    activation = card.architecture.activation
    more = len(model.hidden) - 1
    layers = "layer does" if more == 1 else "layers do"
    then = f" {more} more hidden {layers} the same with the numbers of the one before." if more else ""
    about = f"The activation bends that number; this is what the neuron passes on.{then}"
    return [*found, [about, f"{activation}({number(s.normed)}) = {number(s.out)}"]]


def _neuron(s: FirstStep, trainer: Trainer) -> str:
    """What the neuron followed is called."""
    if len(mlp_of(trainer).hidden):
        return f"neuron {s.neuron}"
    return f"the neuron of the class {trainer.card.classes[s.neuron]}"


def _scores(s: FirstStep, trainer: Trainer) -> list[Paragraph]:
    training, classes = trainer.config.training, trainer.card.classes
    label = int(s.targets.labels[0])
    logits = s.logits[0].double()
    svm = training.loss == "svm"
    shown = classes_to_show(logits.numpy(), label)
    scores = "  ".join(f"{classes[j]} {number(float(logits[j]))}" for j in shown)
    hidden = f"{len(classes) - len(shown):,} others"
    if len(shown) < len(classes):
        scores += f"  and {hidden}"
    found = [[f"The classifier, Wx + b once more, gives each class a score{'' if svm else ' (logit)'}:", scores]]
    if svm:
        margins = [
            f"max(0, 1 + {signed(float(logits[j]))} - {signed(float(logits[label]))})" for j in shown if j != label
        ]
        if len(shown) < len(classes):
            margins.append(f"the same of the {hidden}")
        how = f"{' + '.join(margins)}{', each squared,' if training.squared_hinge else ''}"
        about = "The SVM's loss E asks that the true class lead every other by 1, and counts what is missing:"
    else:
        probabilities = softmax(logits[None].numpy())[0]
        total = plus([f"exp({number(float(logits[j]))})" for j in shown])
        if len(shown) < len(classes):
            total += f" + the same of the {hidden}"
        lines = [f"{classes[j]} {probabilities[j]:.1%} = exp({number(float(logits[j]))}) / ({total})" for j in shown]
        found.append(["Softmax makes probabilities of them:", *lines])
        smoothing = training.label_smoothing
        about = "The loss E says how surprised it is by the true class:"
        how = f"-ln({probabilities[label]:.5f})"
        if smoothing:
            share = smoothing / len(classes)
            about = (
                "The loss E says how surprised it is by the true class; label_smoothing counts every class for "
                f"{share:g} and the true one for {1 - smoothing:g} more:"
            )
            logs = " + ".join(f"ln({probabilities[j]:.5f})" for j in shown)
            if len(shown) < len(classes):
                logs += f" + the same of the {hidden}"
            how = f"-{1 - smoothing:g} * ln({probabilities[label]:.5f}) - {share:g} * ({logs})"
    if s.targets.share < 1:
        other = classes[int(s.targets.partners[0])]
        how = f"E of {classes[label]}, for {s.targets.share:.0%}, and of {other}, which was blended in"
    count = len(s.logits)
    weighed = ", each weighed by its class" if training.class_weights == "balanced" else ""
    found.append(
        [
            about,
            f"E of this photo = {how} = {number(s.photo_loss)}",
            f"E, the mean over the {many(count, 'photo')} of the batch{weighed} = {number(s.loss)}",
        ]
    )
    return found


def _backward(s: FirstStep, trainer: Trainer) -> list[Paragraph]:
    training, architecture = trainer.config.training, trainer.card.architecture
    _, height, width = s.pixels.shape
    channel, pixel = divmod(s.source, height * width)
    row, column = divmod(pixel, width)
    weight = f"the weight w from the {CHANNELS[channel]} of row {row}, column {column} to {_neuron(s, trainer)}"
    by_sum, x = float(s.by_sum[0]), float(s.x[s.source])
    lines = []
    if len(mlp_of(trainer).hidden):
        slope = float(SLOPES[architecture.activation](torch.tensor(s.normed).double().numpy()))
        z = "dz" if architecture.batch_norm else "d(Wx + b)"
        lines.append(
            f"dE/{z} = dE/da * {architecture.activation}'({number(s.normed)}) = {times(s.by_out, slope)} = "
            f"{number(s.by_out * slope)}, where dE/da, by what the neuron passes on, came from the layers above"
        )
        if architecture.batch_norm:  # through which the other photos have a say too: no single slope to multiply by
            lines.append(
                f"dE/d(Wx + b) = {number(by_sum)}, back through batch norm, which gave z: each photo's sum also moves "
                "the mean and the deviation, and so the z of all the others"
            )
    else:
        lines.append(f"dE/d(Wx + b) = {number(by_sum)}, from the loss")
    lines.append(f"dE/dw = dE/d(Wx + b) * x = {times(by_sum, x)} = {number(s.product)} from this photo")
    if len(s.by_sum) > 1:
        lines.append(
            f"dE/dw = {number(s.product)} + {signed(s.gradient - s.product)} from the {len(s.by_sum) - 1:,} others = "
            f"{number(s.gradient)}"
        )
    if s.clipped != s.gradient:
        lines.append(
            f"all dE/dw together are {number(s.norm)} long, clip_norm allows {training.clip_norm:g}: "
            f"dE/dw = {times(s.gradient, training.clip_norm)} / {number(s.norm)} = {number(s.clipped)}"
        )
    about = (
        "Whose fault is it? The loss is differentiated by every weight, by the chain rule, from the loss back to the "
        f"first layer. For one of them, {weight}:"
    )
    return [[about, *lines]]


def _step(s: FirstStep, trainer: Trainer) -> list[Paragraph]:
    training = trainer.config.training
    rule, numbers, note = update_rule(training, s.rate, s.before, s.clipped)
    lines = [f"w' = {numbers} = {s.after:.7g}"]
    if note:
        lines.append(note)
    warmed = f", still warming up to {training.learning_rate:g}" if s.rate < training.learning_rate else ""
    count = len(s.logits)
    change = s.loss_after - s.loss
    if math.isclose(s.loss, s.loss_after, rel_tol=1e-7):
        verdict = "the same: a step too short to see"
    elif change < 0:
        verdict = f"less by {number(-change)}: it has learned a little"
    else:
        verdict = f"more by {number(change)}: this step was too long, or chance changed too much at once"
    each = "the photo" if count == 1 else f"the same {count:,} photos"
    return [
        [
            f"Every weight moves against its derivative, {rule}, with the learning rate lr = {s.rate:.6g}{warmed}:",
            *lines,
        ],
        [
            f"All {count_weights(trainer.state.model):,} weights and biases moved so. The loss of {each}:",
            f"before {number(s.loss)}, after {number(s.loss_after)}: {verdict}",
        ],
        [
            f"That was one step. An epoch, which sees every photo once, takes "
            f"{many(trainer.steps_per_epoch, 'step')}; the training, {many(training.epochs, 'epoch')}. Then the "
            "network is given photos that it has never seen, and takes the likelier class."
        ],
    ]


def update_rule(training: Training, rate: float, w: float, g: float) -> tuple[str, str, str]:
    """How the first step of the optimizer moves a weight w of gradient g: the rule, with numbers, and a remark or none.

    AdamW divides by the gradient's size, averaged over the steps so far, of which there is only this one (Kingma and Ba
    2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2); SGD's momentum has no earlier step to keep.
    """
    decay = training.weight_decay
    pull = f" + {decay:g} * {signed(w)}" if decay else ""
    if training.optimizer == "sgd":
        rule = "w' = w - lr * (dE/dw + weight_decay * w)" if decay else "w' = w - lr * dE/dw"
        return rule, f"{w:.7g} - {rate:.6g} * ({number(g)}{pull})", ""
    rule = "adamw's refinement of w' = w - lr * dE/dw"
    note = (
        f"adamw first divides dE/dw by its usual size, which is so far {number(abs(g))}, so that every weight moves at "
        f"one pace{f'; weight_decay pulls it towards 0 by {decay:g} * w' if decay else ''}. Plain gradient descent "
        f"(--optimizer sgd --momentum 0 --weight-decay 0): w' = {w:.7g} - {rate:.6g} * {signed(g)} = {w - rate * g:.7g}"
    )
    ratio = f"{number(g)} / {number(abs(g))}" if g else "0"
    return rule, f"{w:.7g} - {rate:.6g} * ({ratio}{pull})", note
