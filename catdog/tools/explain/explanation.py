"""Computes the explanation of one photo: all numbers that its text, picture and page show."""

import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catdog.base.progress import bar
from catdog.base.text import MANY, listed
from catdog.errors import CatdogError
from catdog.numpy_net import Outputs, softmax
from catdog.predict import Classifier
from catdog.tools.explain.backprop import Floats, LayerGradient, Network, Pool, Stage, fold, normalise
from catdog.tools.explain.gradient_check import Derivative, GradientCheck, GradientChecker
from catdog.tools.explain.learned import Attribution, attribute_pixels
from catdog.tools.explain.loss import Loss

CHANNELS = ("red", "green", "blue")
LARGEST = 3  # weights, units or products shown of many


@dataclass(frozen=True)
class PathWeight:
    """Weight of the path, in layer `layer`, from input `source` (a unit of the layer below, or a pixel) to `unit`."""

    layer: int
    unit: int
    source: int


@dataclass(frozen=True)
class Step:
    """One step of gradient descent on this photo: the predicted change of the loss, and what the step leads to."""

    rate: float
    predicted: float
    """-rate * |g|^2: the change of the loss to first order."""
    loss: float
    probabilities: Floats
    logits: Floats

    def actual(self, before: float) -> float:
        """Change of the loss from `before`."""
        return self.loss - before


@dataclass(frozen=True, repr=False)
class Explanation:
    """Forward and backward pass of one photo; what else follows from them is computed when it is first asked for.

    Vectors are float64; `label` is the true class's index.
    """

    name: str
    classifier: Classifier
    network: Network
    loss: Loss
    pixels: NDArray[np.uint8]
    """3 x H x W, as the network sees the photo."""
    x: Floats
    """3HW: the pixels normalised and flattened."""
    outputs: list[Outputs]
    label: int
    label_reason: str
    """Where the label is from; empty where nothing tells it, so that the answer itself is taken."""
    gradients: list[LayerGradient]
    x_gradient: Floats
    path: tuple[int, ...]
    """A unit of each hidden layer: the chain rule is written out along them, from the input `source` to the label."""
    source: int
    """The input at the start of the path: that of the largest |w * x| in the path's first unit."""
    mirrored_logits: Floats | None
    final: Floats
    """Probabilities as `predict` gives them: with the temperature and, if set, the average with the mirror image."""
    given_rate: float | None = None
    """Learning rate of the step; None takes one that should lower the loss by about a tenth."""
    training_rate: float | None = None
    """That of the training, named beside a rate that was chosen here."""
    gradient_checks: dict[int, list[GradientCheck]] = field(default_factory=dict)
    """By layer; those by the logits have the number of layers as their key. Empty where they were not asked for."""

    def __repr__(self) -> str:  # short, since a notebook keeps it beside the HTML
        return f"<Explanation of {self.title}: {self.answer}>"

    def _repr_html_(self) -> str:
        from catdog.tools.explain.notebook import as_html

        return as_html(self)

    @cached_property
    def loss_value(self) -> float:
        return float(self.loss.value(self.logits, self.label))

    @cached_property
    def squared_norm(self) -> float:
        """|g|^2, the squared norm of the gradient by all weights and biases."""
        return sum(sum(layer.values()) for layer in squared_norms(self.network, self.outputs, self.gradients))

    @cached_property
    def rate(self) -> float:
        """Learning rate of the step."""
        if self.given_rate is not None:
            return self.given_rate
        if self.squared_norm == 0:
            return 0.01  # or any: nothing moves
        return float(f"{0.1 * self.loss_value / self.squared_norm:.1g}")

    @property
    def rate_reason(self) -> str:
        """Where that learning rate is from: "chosen for this photo so that ...", or "given by --lr"."""
        if self.given_rate is not None:
            return "given by --lr"
        training = f"; training's was {self.training_rate:g}" if self.training_rate is not None else ""
        return "chosen for this photo so that the loss falls by about a tenth" + training

    @cached_property
    def steps(self) -> list[Step]:
        """With the learning rate of the step, a tenth and a hundredth of it."""
        return [self._step(self.rate / part) for part in (1, 10, 100)]

    def _step(self, rate: float) -> Step:
        logits = self.after_step(rate).forward(self.x)[-1].out
        loss = float(self.loss.value(logits, self.label))
        return Step(rate, -rate * self.squared_norm, loss, softmax(logits[None])[0], logits)

    def after_step(self, rate: float) -> Network:
        """The network after one step of gradient descent on this photo."""
        return self.network.after_step(self.outputs, self.gradients, rate)

    @cached_property
    def attribution(self) -> Attribution:
        return attribute_pixels(self.classifier, self.network, self.pixels, self.mean_logits)

    @property
    def title(self) -> str:
        """File name of the photo, unprintable characters escaped."""
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in Path(self.name).name)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.classifier.classes

    @property
    def shown_classes(self) -> list[int]:
        """Indices of the classes that are shown, as `classes_to_show` chooses them."""
        return classes_to_show(self.logits, self.label)

    @property
    def logits(self) -> Floats:
        return self.outputs[-1].out

    @property
    def probabilities(self) -> Floats:
        """Softmax of `logits`, without mirror image and temperature."""
        return softmax(self.logits[None])[0]

    @property
    def weights(self) -> int:
        """Number of weights and biases that training found, with the gammas and betas of batch normalisation."""
        return sum(
            array.size
            for name, array in self.classifier.tensors.items()
            if not name.startswith("familiarity.") and "running_" not in name
        )

    @property
    def mean_logits(self) -> Floats:
        """Logits that the answer is computed from: with a mirror image, the mean of both."""
        return self.logits if self.mirrored_logits is None else (self.logits + self.mirrored_logits) / 2

    @property
    def answer(self) -> str:
        """The likeliest class with its probability, as `predict` prints it."""
        best = int(self.final.argmax())
        return f"{self.classes[best]} {self.final[best]:.1%}"

    @property
    def seen_alone(self) -> str:
        """How `probabilities` differ from the answer's: "without its mirror image and the temperature"; or nothing."""
        parts = [] if self.mirrored_logits is None else ["its mirror image"]
        parts += [] if self.classifier.card.temperature == 1 else ["the temperature"]
        return f"without {' and '.join(parts)}" if parts else ""

    @property
    def path_weights(self) -> list[PathWeight]:
        """Weights along the path, from the first layer to the classifier."""
        units = (*self.path, self.label)
        sources = (self.source, *self.path)
        return [PathWeight(i, *ends) for i, ends in enumerate(zip(units, sources, strict=True))]

    def shown_inputs(self, layer: int) -> list[int]:
        """Inputs shown of the path's unit in a layer: the path's own, then those of the largest |w * x|."""
        products = self.network.layers[layer].row(self.path_weights[layer].unit) * self.outputs[layer].x
        own = self.path_weights[layer].source
        return [own, *(j for j in largest(products) if j != own)][:LARGEST]

    def units_above(self, layer: int) -> list[int]:
        """Units of the layer above that contribute most to the gradient of the path's unit in a layer."""
        above, unit = self.network.layers[layer + 1], self.path[layer]
        return largest(above.column(unit) * self.gradients[layer + 1].sum, min(LARGEST, above.fan_out(unit)))

    def weight_gradient(self, weight: PathWeight) -> float:
        """dL/dw; of a weight that all places share, summed over them."""
        layer, x = self.network.layers[weight.layer], self.outputs[weight.layer].x
        return float(self.gradients[weight.layer].sum @ layer.by_weight(x, weight.unit, weight.source))

    def input_name(self, layer: int, j: int) -> str:
        """Name of input `j` of a layer: colour, row and column of a pixel, or the unit of the layer below."""
        if layer:
            return f"unit {j}"
        _, height, width = self.pixels.shape
        channel, row, column = np.unravel_index(j, (3, height, width))
        return f"{CHANNELS[channel]} {row},{column}"

    def unit_name(self, layer: int, unit: int) -> str:
        return self.classes[unit] if layer == len(self.network.layers) - 1 else f"unit {unit}"


def classes_to_show(logits: Floats, label: int) -> list[int]:
    """Indices of all classes; of more than MANY, the true class `label` and those with the highest scores."""
    if len(logits) <= MANY:
        return list(range(len(logits)))
    return sorted({label, *np.argsort(-logits, kind="stable")[:LARGEST].tolist()})


def largest(values: Floats, count: int = LARGEST) -> list[int]:
    """Indices of the values of largest magnitude, the largest first."""
    return [int(i) for i in np.argsort(-np.abs(values), kind="stable")[:count]]


def explain(
    classifier: Classifier,
    source: str | os.PathLike[str] | bytes,
    name: str = "",
    label: str | None = None,
    rate: float | None = None,
    checks: bool = True,
    training_rate: float | None = None,
) -> Explanation:
    """Compute forward pass, backward pass, gradient checks and step for one photo (a path or a file's bytes).

    name: of the photo, where it is not its path.
    label: the true class; None takes the name of the photo's folder if it is a class, else the predicted class.
    rate: learning rate of the step; None takes one that should lower the loss by about a tenth.
    checks: whether to check the gradients, which takes most of the time.
    training_rate: the learning rate of the training, named beside a rate that was chosen here.
    Raises ImageError for a photo that cannot be read, CatdogError for an unknown label.
    """
    network, pixels = Network.of(classifier), classifier.decode(source)
    name = name or ("-" if isinstance(source, bytes) else os.fspath(source))
    found = explain_pixels(classifier, network, pixels, name, label)
    found = replace(found, given_rate=rate, training_rate=training_rate)
    return replace(found, gradient_checks=_check_gradients(found)) if checks else found


def explain_pixels(
    classifier: Classifier, network: Network, pixels: NDArray[np.uint8], name: str, label: str | None
) -> Explanation:
    """The same of a decoded photo (3 x H x W), and with the weights that `network` has by now."""
    loss, x = Loss(classifier.card.loss, classifier.card.squared_hinge), normalise(classifier, pixels)
    outputs = network.forward(x)
    mirrored, mean_logits = None, outputs[-1].out
    if classifier.card.average_mirrored:
        mirrored = network.forward(normalise(classifier, pixels[:, :, ::-1]))[-1].out
        mean_logits = (mean_logits + mirrored) / 2
    final = softmax(mean_logits[None] / classifier.card.temperature)[0]
    index, reason = _choose_label(classifier, name, label, final)
    gradients, x_gradient = network.backward(outputs, loss.gradient(outputs[-1].out, index))
    path = _strongest_path(network, gradients)
    return Explanation(
        name=name,
        classifier=classifier,
        network=network,
        loss=loss,
        pixels=pixels,
        x=x,
        outputs=outputs,
        label=index,
        label_reason=reason,
        gradients=gradients,
        x_gradient=x_gradient,
        path=path,
        source=int(np.abs(network.layers[0].row((*path, index)[0]) * x).argmax()),
        mirrored_logits=mirrored,
        final=final,
    )


def _choose_label(classifier: Classifier, name: str, label: str | None, final: Floats) -> tuple[int, str]:
    classes = classifier.classes
    if label is not None:
        if label not in classes:
            raise CatdogError(f"--label {label} is not a class of this model; it knows {listed(classes)}.")
        return classes.index(label), "given by --label"
    folder = Path(name).absolute().parent.name
    if name != "-" and folder in classes:
        return classes.index(folder), "the name of the photo's folder"
    return int(final.argmax()), ""


def _strongest_path(network: Network, gradients: list[LayerGradient]) -> tuple[int, ...]:
    """Choose a unit of each hidden layer: in the first that of the largest gradient, above that the one which
    contributes most to the gradient of the unit chosen in the layer below."""
    hidden = len(network.layers) - 1
    path: list[int] = []
    for i in range(hidden):
        shares = gradients[0].sum if i == 0 else network.layers[i].column(path[-1]) * gradients[i].sum
        path.append(int(np.abs(shares).argmax()))
    return tuple(path)


def squared_norms(network: Network, outputs: list[Outputs], gradients: list[LayerGradient]) -> list[dict[str, float]]:
    """Squared norm of the gradient by each layer's "W", "b" and, with batch normalisation, "gamma" and "beta".

    What units share has the sum of their gradients.
    """
    found = []
    for layer, o, g in zip(network.layers, outputs, gradients, strict=True):
        vectors = {"b": (g.sum, layer.biases)}
        if g.gamma is not None:
            vectors |= {"gamma": (g.gamma, layer.channels), "beta": (g.normed, layer.channels)}
        squares = {what: float(np.square(fold(*vector)).sum()) for what, vector in vectors.items()}
        found.append({"W": float(g.sum @ layer.along(g.sum, o.x)), **squares})
    return found


def _check_gradients(e: Explanation) -> dict[int, list[GradientCheck]]:
    """Check all gradients that are shown: norms and largest values of each layer, and those along the path."""
    checker = GradientChecker(e.network, e.outputs, e.loss, e.label)
    by_layer = {i: _derivatives(e, i) for i in range(len(e.network.layers))}
    last = len(e.network.layers)
    by_layer[last] = [
        Derivative(
            f"dL/dlogit {e.classes[j]}",
            last - 1,
            "out",
            _one_hot(len(e.classes), j, 1.0),
            float(e.gradients[-1].out[j]),
        )
        for j in e.shown_classes
    ]
    with bar("checking the gradients", sum(map(len, by_layer.values())), unit=" gradients") as progress:
        return {i: checker.check(derivatives, progress.update) for i, derivatives in by_layer.items()}


def _one_hot(size: int, index: int, value: float) -> Floats:
    found = np.zeros(size)
    found[index] = value
    return found


def _derivatives(e: Explanation, i: int) -> list[Derivative]:
    """Derivatives of layer `i` that are shown, each with its value by backpropagation."""
    layer, o, g = e.network.layers[i], e.outputs[i], e.gradients[i]
    unit = (*e.path, e.label)[i]
    by_out = f"dL/da[{e.unit_name(i, unit)}]"
    if isinstance(layer, Pool):
        return [Derivative(by_out, i, "out", _one_hot(layer.units, unit, 1.0), float(g.out[unit]))]
    units = largest(g.sum)
    inputs = largest(o.x)
    seen = [(u, j) for u in units for j in inputs if layer.is_connected(u, j)]
    pairs = sorted(seen, key=lambda pair: -abs(g.sum[pair[0]] * o.x[pair[1]]))[:LARGEST]
    pairs += [(unit, j) for j in e.shown_inputs(i) if (unit, j) not in pairs]
    if i == len(e.network.layers) - 1:
        own = e.path_weights[i].source
        pairs += [(u, own) for u in e.shown_classes if (u, own) not in pairs]
    along = layer.along(g.sum, o.x)
    derivatives = [Derivative("|dL/dW|", i, "sum", along, float(g.sum @ along), True)]
    for u, j in pairs:
        name, moves = f"dL/dW[{e.unit_name(i, u)}, {e.input_name(i, j)}]", layer.by_weight(o.x, u, j)
        derivatives.append(Derivative(name, i, "sum", moves, float(g.sum @ moves)))
    also = [unit, *(e.units_above(i - 1) if i else [])]
    ones = np.ones(layer.units)
    stages: list[tuple[str, Stage, Floats, Floats, int]] = [("b", "sum", g.sum, ones, layer.biases)]
    if layer.norm is not None and g.gamma is not None:
        standard = (o.sum - layer.norm.mean) / layer.norm.deviation
        stages += [("gamma", "normed", g.gamma, standard, layer.channels)]
        stages += [("beta", "normed", g.normed, ones, layer.channels)]
    for what, stage, by_unit, moves, count in stages:
        gradient = fold(by_unit, count)
        direction = np.resize(gradient, layer.units) * moves
        derivatives.append(Derivative(f"|dL/d{what}|", i, stage, direction, float(gradient @ gradient), True))
        for u in dict.fromkeys([*largest(gradient), *(u % count for u in also)]):
            name = f"dL/d{what}[{e.unit_name(i, u) if count == layer.units else f'channel {u}'}]"
            direction = np.resize(_one_hot(count, u, 1.0), layer.units) * moves
            derivatives.append(Derivative(name, i, stage, direction, float(gradient[u])))
    if i < len(e.network.layers) - 1:
        derivatives.append(Derivative(by_out, i, "out", _one_hot(layer.units, unit, 1.0), float(g.out[unit])))
    return derivatives
