"""What the network does with one photo: all the numbers that the words, the picture and the page show."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catdog.errors import CatdogError
from catdog.numpy_net import Outputs, softmax
from catdog.predict import Classifier
from catdog.tools.explain.backprop import Floats, LayerGradient, Network, Stage, normalise
from catdog.tools.explain.gradient_check import Check, Checker, Question
from catdog.tools.explain.learned import Votes, votes
from catdog.tools.explain.loss import Loss

CHANNELS = ("red", "green", "blue")
LARGEST = 3  # entries, units or products shown of many


@dataclass(frozen=True)
class Entry:
    """The weight that leads from `source` (a unit of the layer below, or an input) to `unit` of layer `layer`."""

    layer: int
    unit: int
    source: int


@dataclass(frozen=True)
class Step:
    """One step of gradient descent on this photo: what it should do to the loss, and what it does."""

    rate: float
    predicted: float
    """-rate * |g|^2: the change if the loss were a straight line."""
    loss: float
    probabilities: Floats
    logits: Floats

    def actual(self, before: float) -> float:
        return self.loss - before


@dataclass(frozen=True)
class Explanation:
    """One photo's way through the network and back. Vectors are float64; `label` is the true class's index."""

    name: str
    classifier: Classifier
    network: Network
    loss: Loss
    pixels: NDArray[np.uint8]
    """3 x H x W, as the network sees the photo."""
    x: Floats
    """Those numbers normalised and flattened."""
    kept: list[Outputs]
    label: int
    label_reason: str
    loss_value: float
    gradients: list[LayerGradient]
    by_x: Floats
    path: tuple[int, ...]
    """A unit of each hidden layer: the way along which the chain rule is written out; its end is the label."""
    source: int
    """The input at the start of that way: the one of which its first neuron makes most."""
    checks: dict[int, list[Check]]
    """By layer; those by the logits come last, under the number of layers."""
    square: float
    """|g|^2: the sum of the squares of the gradients by all weights and biases."""
    steps: list[Step]
    """The chosen rate, a tenth and a hundredth of it."""
    mirrored_logits: Floats | None
    final: Floats
    """The probabilities that prediction gives: averaged with the mirror image, over the temperature."""
    votes: Votes

    @property
    def title(self) -> str:
        """The photo's file name, on one line."""
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in Path(self.name).name)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.classifier.classes

    @property
    def logits(self) -> Floats:
        return self.kept[-1].out

    @property
    def probabilities(self) -> Floats:
        return softmax(self.logits[None])[0]

    @property
    def entries(self) -> list[Entry]:
        """The weights along the path, from the first layer to the classifier."""
        units = (*self.path, self.label)
        sources = (self.source, *self.path)
        return [Entry(i, *ends) for i, ends in enumerate(zip(units, sources, strict=True))]

    def shown_sources(self, layer: int) -> list[int]:
        """The inputs of the path's unit in a layer that are shown: the path's own, and others of large product w*x."""
        products = self.network.layers[layer].row(self.entries[layer].unit) * self.kept[layer].x
        own = self.entries[layer].source
        return [own, *(j for j in largest(products) if j != own)][:LARGEST]

    def readers(self, layer: int) -> list[int]:
        """The units of the layer above through which most of the gradient came to the path's unit in a layer."""
        return largest(self.network.layers[layer + 1].column(self.path[layer]) * self.gradients[layer + 1].sum)

    def entry_gradient(self, entry: Entry) -> float:
        return float(self.gradients[entry.layer].sum[entry.unit] * self.kept[entry.layer].x[entry.source])

    def source_name(self, layer: int, j: int) -> str:
        """What input `j` of a layer is: a colour of a pixel, or a unit of the layer below."""
        if layer:
            return f"unit {j}"
        _, height, width = self.pixels.shape
        channel, row, column = np.unravel_index(j, (3, height, width))
        return f"{CHANNELS[channel]} {row},{column}"

    def unit_name(self, layer: int, unit: int) -> str:
        return self.classes[unit] if layer == len(self.network.layers) - 1 else f"unit {unit}"


def largest(values: Floats, count: int = LARGEST) -> list[int]:
    """Indices of the entries of largest size, the largest first."""
    return [int(i) for i in np.argsort(-np.abs(values), kind="stable")[:count]]


def explain(
    classifier: Classifier,
    source: str | bytes,
    name: str,
    label: str | None = None,
    rate: float | None = None,
) -> Explanation:
    """Follow one photo (a path or a file's bytes) through the network and back.

    label: the true class; None takes the name of the photo's folder if it is a class, else the predicted class.
    rate: of the step; None takes one that should lower the loss by about a tenth.
    Raises ImageError for a photo that cannot be read, CatdogError for an unknown label.
    """
    pixels = classifier.decode(source)
    network, loss = Network.of(classifier), Loss(classifier.card.loss, classifier.card.squared_hinge)
    x = normalise(classifier, pixels)
    kept = network.forward(x)
    logits = kept[-1].out
    index, reason = _choose_label(classifier, name, label, logits)
    by_logits = loss.gradient(logits, index)
    gradients, by_x = network.backward(kept, by_logits)
    path = _strongest_path(network, gradients)
    first = int(np.abs(network.layers[0].row((*path, index)[0]) * x).argmax())
    square = sum(sum(layer.values()) for layer in layer_squares(network, kept, gradients))
    value = float(loss.value(logits, index))
    if rate is None:
        rate = float(f"{0.1 * value / square:.1g}") if square > 0 else 0.01
    mirrored = None
    final = softmax(logits[None] / classifier.card.temperature)[0]
    if classifier.card.average_mirrored:
        mirrored = network.forward(normalise(classifier, pixels[:, :, ::-1]))[-1].out
        final = softmax((logits + mirrored)[None] / 2 / classifier.card.temperature)[0]
    found = Explanation(
        name=name,
        classifier=classifier,
        network=network,
        loss=loss,
        pixels=pixels,
        x=x,
        kept=kept,
        label=index,
        label_reason=reason,
        loss_value=value,
        gradients=gradients,
        by_x=by_x,
        path=path,
        source=first,
        checks={},
        square=square,
        steps=[_take_step(network, kept, gradients, loss, index, rate / part, square) for part in (1, 10, 100)],
        mirrored_logits=mirrored,
        final=final,
        votes=votes(classifier, network, pixels, logits),
    )
    return replace(found, checks=_check(found))


def _choose_label(classifier: Classifier, name: str, label: str | None, logits: Floats) -> tuple[int, str]:
    classes = classifier.classes
    if label is not None:
        if label not in classes:
            raise CatdogError(f"--label {label} is not a class of this model; it knows {', '.join(classes)}.")
        return classes.index(label), "given by --label"
    folder = Path(name).absolute().parent.name
    if name != "-" and folder in classes:
        return classes.index(folder), "the name of the photo's folder"
    return int(logits.argmax()), "what the network says of it; for another give --label"


def _strongest_path(network: Network, gradients: list[LayerGradient]) -> tuple[int, ...]:
    """A unit of each hidden layer: in the first the one of largest gradient, then each time the one through which most
    of that gradient came."""
    hidden = len(network.layers) - 1
    path: list[int] = []
    for i in range(hidden):
        shares = gradients[0].sum if i == 0 else network.layers[i].column(path[-1]) * gradients[i].sum
        path.append(int(np.abs(shares).argmax()))
    return tuple(path)


def layer_squares(network: Network, kept: list[Outputs], gradients: list[LayerGradient]) -> list[dict[str, float]]:
    """Of each layer, the squared norm of the gradient by its "W", "b" and, with batch normalisation, "gamma", "beta".

    dL/dW of a neuron is what it sees times dL by its sum, so its norm is the product of the two norms.
    """
    found = []
    for layer, k, g in zip(network.layers, kept, gradients, strict=True):
        squares = {"W": float(np.square(g.sum) @ layer.squares_seen(k.x)), "b": float(g.sum @ g.sum)}
        if g.gamma is not None:
            squares |= {"gamma": float(g.gamma @ g.gamma), "beta": float(g.normed @ g.normed)}
        found.append(squares)
    return found


def _take_step(
    network: Network,
    kept: list[Outputs],
    gradients: list[LayerGradient],
    loss: Loss,
    label: int,
    rate: float,
    square: float,
) -> Step:
    logits = network.moved(kept, gradients, rate).forward(kept[0].x)[-1].out
    return Step(rate, -rate * square, float(loss.value(logits, label)), softmax(logits[None])[0], logits)


def _check(e: Explanation) -> dict[int, list[Check]]:
    """Check all gradients that are shown: norms and largest entries of each layer, and those along the path."""
    checker = Checker(e.network, e.kept, e.loss, e.label)
    by_layer = {i: _questions(e, i) for i in range(len(e.network.layers))}
    last = len(e.network.layers)
    by_layer[last] = [
        Question(f"dL/dlogit {name}", last - 1, "out", _unit(len(e.classes), j, 1.0), float(e.gradients[-1].out[j]))
        for j, name in enumerate(e.classes)
    ]
    return {i: checker.check(questions) for i, questions in by_layer.items()}


def _unit(size: int, index: int, length: float) -> Floats:
    found = np.zeros(size)
    found[index] = length
    return found


def _questions(e: Explanation, i: int) -> list[Question]:
    layer, k, g = e.network.layers[i], e.kept[i], e.gradients[i]
    unit = (*e.path, e.label)[i]
    units = largest(g.sum)
    inputs = largest(k.x)
    seen = [(u, j) for u in units for j in inputs if layer.sees(u, j)]
    pairs = sorted(seen, key=lambda pair: -abs(g.sum[pair[0]] * k.x[pair[1]]))[:LARGEST]
    pairs += [(unit, j) for j in e.shown_sources(i) if (unit, j) not in pairs]
    if i == len(e.network.layers) - 1:
        own = e.entries[i].source
        pairs += [(u, own) for u in range(layer.units) if (u, own) not in pairs]
    moved = g.sum * layer.squares_seen(k.x)
    questions = [Question("|dL/dW|", i, "sum", moved, float(g.sum @ moved), True)]
    for u, j in pairs:
        name = f"dL/dW[{e.unit_name(i, u)}, {e.source_name(i, j)}]"
        questions.append(Question(name, i, "sum", _unit(layer.units, u, k.x[j]), float(g.sum[u] * k.x[j])))
    also = [unit, *(e.readers(i - 1) if i else [])]
    stages: list[tuple[str, Stage, Floats, Floats]] = [("b", "sum", g.sum, np.ones(layer.units))]
    if layer.norm is not None and g.gamma is not None:
        standard = (k.sum - layer.norm.mean) / layer.norm.deviation
        stages += [("gamma", "normed", g.gamma, standard), ("beta", "normed", g.normed, np.ones(layer.units))]
    for what, stage, gradient, moves in stages:
        square = float(gradient @ gradient)
        questions.append(Question(f"|dL/d{what}|", i, stage, gradient * moves, square, True))
        for u in dict.fromkeys([*largest(gradient), *also]):
            name = f"dL/d{what}[{e.unit_name(i, u)}]"
            direction = _unit(layer.units, u, moves[u])
            questions.append(Question(name, i, stage, direction, float(gradient[u])))
    if i < len(e.network.layers) - 1:
        name = f"dL/da[{e.unit_name(i, unit)}]"
        questions.append(Question(name, i, "out", _unit(layer.units, unit, 1.0), float(g.out[unit])))
    return questions
