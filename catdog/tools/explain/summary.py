"""Formats an explanation for a newcomer: the answer, the pixels that spoke for it, and how it came to that."""

import textwrap
from collections.abc import Iterator

import numpy as np

from catdog.tools.explain.backprop import LocalLayer, Pool
from catdog.tools.explain.explanation import Explanation, largest
from catdog.tools.explain.words import number

_WIDTH = 110
_CLASSES = 4  # shown of many
_BENDS = {
    "relu": "replaces what is negative by 0",
    "gelu": "brings what is negative close to 0",
    "tanh": "squeezes it in between -1 and 1",
    "sigmoid": "squeezes it in between 0 and 1",
}
_PLACES = (
    "at the top left",
    "at the top",
    "at the top right",
    "on the left",
    "in the middle",
    "on the right",
    "at the bottom left",
    "at the bottom",
    "at the bottom right",
)


def summary(e: Explanation) -> str:
    """Format the answer, then what led to it; each technical word is explained where it first appears."""
    lines = [f"{e.answer}  {e.title}", ""]
    lines += [*_wrapped("", pixels(e)), "", "How it came to that:"]
    for i, (word, text) in enumerate(steps(e), start=1):
        lines += _wrapped(f"{i}. {word:<9} ", text)
    lines += ["", *_wrapped("", "All numbers, each gradient checked, and all pictures: the same command with --full")]
    return "\n".join(lines)


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)


def pixels(e: Explanation) -> str:
    """Name the parts of the photo that spoke for the answer, and against it."""
    found, best = e.attribution, int(e.final.argmax())
    sign = 1 if best == found.first else -1
    other = e.classes[found.second if sign > 0 else found.first]
    shares = sign * found.pixels
    thirds = [np.array_split(rows, 3, axis=1) for rows in np.array_split(shares, 3, axis=0)]
    sums = np.array([block.sum() for row in thirds for block in row])

    def named(values: np.ndarray) -> str:
        places = [f"{_PLACES[i]} ({values[i]:.2f})" for i in largest(values, 2) if values[i] > 0]
        return " and ".join(places) or "nowhere"

    return (
        f"For {e.classes[best]} spoke most of all the pixels {named(np.maximum(sums, 0))}; for {other} those "
        f"{named(np.maximum(-sums, 0))}."
    )


def steps(e: Explanation) -> Iterator[tuple[str, str]]:
    """The way of the photo through the network, then that of a step of training: (the word, a sentence or two)."""
    _, height, width = e.pixels.shape
    yield (
        "input",
        f"The photo as {width} x {height} pixels of 3 colours: {e.x.size:,} numbers, less their average in training.",
    )
    *hidden, _ = e.network.layers
    neuron = "multiplies each number that it sees by a weight, adds them up, adds its bias"
    if hidden:
        window = ""
        if isinstance(hidden[0], LocalLayer):
            same = ", by the same weights wherever that is" if hidden[0].shape.shared else ""
            window = f" (a small window of the layer before{same})"
        neurons = [layer for layer in hidden if not isinstance(layer, Pool)]
        normed = (
            ", takes away what that is on average in training, divides by its spread (batch norm)"
            if hidden[0].norm is not None
            else ""
        )
        added = ", adds what came into its block (at the end of one)" * any(layer.adds for layer in hidden)
        yield (
            "layers",
            f"{' -> '.join(f'{layer.units:,}' for layer in neurons)} neurons. A neuron "
            f"{neuron.replace('sees', 'sees' + window)}{normed}{added}, and bends the result (the activation: "
            f"{hidden[0].activation} {_BENDS[hidden[0].activation]}). "
            + "Then the mean of each channel over all places is taken. " * (len(neurons) < len(hidden))
            + f"Training found the {e.weights:,} weights and biases.",
        )
    svm = e.loss.kind == "svm"
    mirror = " (mean over the photo and its mirror image)" if e.mirrored_logits is not None else ""
    what = "" if hidden else f", each of which {neuron}"
    yield (
        "scores" if svm else "logits",
        f"What the last layer's neurons give{what}: a score for each class{mirror}: "
        f"{_each(e, [number(v) for v in e.mean_logits])}.",
    )
    temperature = e.classifier.card.temperature
    yield (
        "softmax",
        f"exp(score / {temperature:.4g}), over the sum for all classes, is the probability: "
        f"{_each(e, [f'{p:.1%}' for p in e.final])}. {temperature:.4g}, the temperature, was fitted on photos kept "
        "apart from training, for the network to be as sure as it is often right.",
    )
    yield "answer", f"The likeliest class: {e.answer}."
    yield "loss", _loss(e)
    first = e.steps[0]
    yield (
        "gradient",
        "How the loss changes with each weight, by the chain rule, from the last layer back (backpropagation).",
    )
    if e.squared_norm == 0:
        yield "step", "The gradient is 0: this photo has nothing to teach the network any more."
        return
    yield (
        "step",
        f"Each weight less {first.rate:g} times its gradient: the loss goes to {number(first.loss)}. {first.rate:g} is "
        f"a learning rate {e.rate_reason}. Training is many such steps, on many photos.",
    )


def _each(e: Explanation, values: list[str]) -> str:
    """Format a value of each class, the likeliest first, at most `_CLASSES` of them."""
    order = largest(e.final, _CLASSES)
    rest = len(values) - len(order)
    shown = ", ".join(f"{e.classes[i]} {values[i]}" for i in order)
    return f"{shown}, and {rest:,} more" if rest else shown


def _loss(e: Explanation) -> str:
    label = e.classes[e.label]
    reason = f"The true class is {label} ({e.label_reason})."
    if not e.label_reason:
        reason = f"Nothing tells the true class (--label would), so the answer, {label}, is taken for it."
    if e.loss.kind == "svm":
        alone = " on this photo alone" if e.mirrored_logits is not None else ""
        return f"{reason} How far other scores come within 1 of that of {label}{alone}: {number(e.loss_value)}."
    alone = f" (as training sees it, {e.seen_alone})" if e.seen_alone else ""
    return (
        f"{reason} How wrong that makes the network: -ln of the probability of {label}{alone} = "
        f"-ln({e.probabilities[e.label]:.5f}) = {number(e.loss_value)}."
    )
