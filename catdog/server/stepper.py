"""Steps of gradient descent on one photo, on a copy of a network's weights, and their numbers as JSON.

All numbers are those of `catdog explain`: `Stepper` takes one `Explanation` after the other.
"""

import base64
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catdog.errors import CatdogError
from catdog.predict import Classifier
from catdog.tools.explain.backprop import Floats, Layer, LocalLayer, Network, Pool
from catdog.tools.explain.explanation import Explanation, PathWeight, explain_pixels, largest

MOST_STEPS = 10_000
_TERMS = 40  # products w*x of a neuron that are told one by one
_CHOICES = 5  # inputs of a path's unit among which one may choose how the path goes on
_CLASSES = 8  # of the scores that are told, at least
_MOST_DRAWN = 200_000  # weights in a picture of a neuron
_KEPT_BYTES = 2**28  # of weights before earlier steps, which going back to is quick


class Stepper:
    """A photo, a label and the weights after some steps; going back gives exactly the weights that were there before.

    Threads may read it at any time; one that changes it holds `lock`.
    """

    def __init__(
        self, classifier: Classifier, network: Network, pixels: NDArray[np.uint8], label: str | None = None
    ) -> None:
        """network: of `classifier`, as it is before any step; pixels: uint8, 3 x H x W."""
        self.now = explain_pixels(classifier, network, pixels, "-", label)
        self.rates: list[float] = []
        self.curve = [self._point()]
        self.lock = threading.Lock()
        self._start = network
        self._kept = {0: network}

    def step(self, rate: float, times: int = 1) -> None:
        """w' = w - rate * dL/dw of all weights, `times` times.

        Raises CatdogError where a step leads to infinite numbers; that step, and what would follow, is not taken.
        """
        if len(self.rates) + times > MOST_STEPS:
            raise CatdogError(f"{MOST_STEPS:,} steps are as many as the page takes; rewind, or go back.")
        with np.errstate(all="ignore"):
            for left in reversed(range(times)):
                self._look_at(self.now.after_step(rate))
                self.rates.append(rate)
                self.curve.append(self._point())
                self._keep()
                shown = self.now.loss_value, 0.0 if left else self.now.squared_norm
                if not np.isfinite([*shown, *self.now.final]).all():
                    self.go_to(len(self.rates) - 1)
                    raise CatdogError(f"a learning rate of {rate:g} leads to infinite numbers; take a smaller one.")

    def go_to(self, step: int) -> None:
        """Take back all steps after the first `step`; 0 gives the network as it came."""
        found = max(number for number in self._kept if number <= step)
        self._look_at(self._kept[found])
        for rate in self.rates[found:step]:
            self._look_at(self.now.after_step(rate))
        self._kept = {number: network for number, network in self._kept.items() if number <= step}
        self.rates, self.curve = self.rates[:step], self.curve[: step + 1]

    def choose(self, layer: int, source: int) -> None:
        """Lead the path through input `source` of its unit in a layer, then down to the photo along the largest w*x."""
        e, layers = self.now, self.now.network.layers
        if not 0 <= layer < len(layers) or not 0 <= source < layers[layer].inputs:
            raise CatdogError("there is no such input in that layer; choose one that is drawn.")
        units = [*e.path, e.label]
        if not layers[layer].is_connected(units[layer], source) or not _leads_down(e.network, layer, source):
            raise CatdogError(f"{e.unit_name(layer, units[layer])} does not see that input; choose one that is drawn.")
        while layer > 0:
            units[layer - 1], layer = source, layer - 1
            source = int(np.abs(layers[layer].row(units[layer]) * e.outputs[layer].x).argmax())
        self.now = replace(e, path=tuple(units[:-1]), source=source)

    def state(self) -> dict[str, Any]:
        """All that the page shows of where the steps have led."""
        found = {"steps": len(self.rates), "curve": list(self.curve), **explanation_as_json(self.now)}
        for link in found["chain"]:
            link["w_start"] = float(self._start.layers[link["layer"]].row(link["unit"])[link["input"]])
        return found

    def neuron(self, layer: int, unit: int) -> dict[str, Any]:
        if not 0 <= layer < len(self.now.network.layers) or not 0 <= unit < self.now.network.layers[layer].units:
            raise CatdogError("there is no such neuron in this network; choose one that is drawn.")
        return neuron_as_json(self.now, layer, unit)

    def outputs(self, layer: int) -> bytes:
        """What the units of a layer give: float32, one after the other, little-endian."""
        if not 0 <= layer < len(self.now.outputs):
            raise CatdogError("there is no such layer in this network; choose one that is drawn.")
        return self.now.outputs[layer].out.astype("<f4").tobytes()

    def template(self, unit: int) -> dict[str, Any]:
        """Weights of a neuron of the first layer before all steps and now, of the part of the photo that it sees."""
        before, now = (network.layers[0] for network in (self._start, self.now.network))
        if not 0 <= unit < now.units:
            raise CatdogError("there is no such neuron in the first layer; choose one that is drawn.")
        if now.fan_in(unit) > _MOST_DRAWN:
            raise CatdogError(f"more than {_MOST_DRAWN:,} weights are not drawn; look at single ones.")
        _, height, width = self.now.pixels.shape
        top, left, bottom, right = _window(now, unit) if isinstance(now, LocalLayer) else (0, 0, height - 1, width - 1)
        pictures = {
            name: layer.row(unit).reshape(3, height, width)[:, top : bottom + 1, left : right + 1].reshape(-1).tolist()
            for name, layer in (("before", before), ("now", now))
        }
        return {"top": top, "left": left, "height": bottom - top + 1, "width": right - left + 1, **pictures}

    def _look_at(self, network: Network) -> None:
        e = self.now
        seen = explain_pixels(e.classifier, network, e.pixels, "-", e.classes[e.label])
        self.now = replace(seen, path=e.path, source=e.source, label_reason=e.label_reason)

    def _point(self) -> list[float]:
        """The loss and the true class's probability, for a curve over the steps."""
        return [self.now.loss_value, float(self.now.probabilities[self.now.label])]

    def _keep(self) -> None:
        """Keep the weights of now, and as many of before as `_KEPT_BYTES` allows; those of the start always."""
        self._kept[len(self.rates)] = self.now.network
        size = sum(layer.weight.nbytes for layer in self.now.network.layers)
        for number in sorted(self._kept)[1 : -max(1, _KEPT_BYTES // size)]:
            del self._kept[number]


class Steppers:
    """Steppers by id; of more than `most` the least recently used goes. Threads may use it at the same time."""

    def __init__(self, most: int = 4) -> None:
        self._most = most
        self._kept: OrderedDict[str, Stepper] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, key: str, stepper: Stepper) -> None:
        with self._lock:
            self._kept[key] = stepper
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def get(self, key: str) -> Stepper | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)


def explanation_as_json(e: Explanation) -> dict[str, Any]:
    """Numbers of an explanation: the photo, the layers, the scores, the loss, and the chain rule along its path."""
    card = e.classifier.card
    order = np.argsort(-e.logits, kind="stable")[:_CLASSES].tolist()
    return {
        "height": e.pixels.shape[1],
        "width": e.pixels.shape[2],
        "pixels": base64.b64encode(e.pixels.tobytes()).decode("ascii"),  # all of red row by row, of green, of blue
        "mean": card.mean,
        "std": card.std,
        "classes": e.classes,
        "shown": sorted({e.label, *order}),
        "label": e.label,
        "loss_kind": "squared svm" if e.loss.squared and e.loss.kind == "svm" else e.loss.kind,
        "logits": e.logits.tolist(),
        "probabilities": e.probabilities.tolist(),
        "mirrored_logits": None if e.mirrored_logits is None else e.mirrored_logits.tolist(),
        "mean_logits": e.mean_logits.tolist(),
        "temperature": card.temperature,
        "final": e.final.tolist(),
        "loss": e.loss_value,
        "logits_gradient": e.gradients[-1].out.tolist(),
        "squared_norm": e.squared_norm,
        "rate": e.rate,
        "weights": e.weights,
        "layers": [_layer_as_json(e, i) for i in range(len(e.network.layers))],
        "chain": [_link_as_json(e, weight) for weight in e.path_weights],
    }


def _layer_as_json(e: Explanation, i: int) -> dict[str, Any]:
    layer, out = e.network.layers[i], e.outputs[i].out
    found: dict[str, Any] = {
        "name": layer.name,
        "kind": _kind(layer),
        "units": layer.units,
        "inputs": layer.inputs,
        "weights": 0 if isinstance(layer, Pool) else layer.weight.size,
        "activation": layer.activation,
        "norm": layer.norm is not None,
        "adds": layer.adds,
        "least": float(out.min()),
        "largest": float(out.max()),
        "zeros": float((out == 0).mean()),
        "strongest": largest(out),
    }
    if isinstance(layer, LocalLayer) and layer.shape.grid is not None:
        grid = layer.shape.grid
        found |= {"grid": [grid.channels, grid.height, grid.width], "shared": layer.shape.shared}
    return found


def _kind(layer: Layer) -> str:
    return "mean" if isinstance(layer, Pool) else "local" if isinstance(layer, LocalLayer) else "dense"


def _unit_as_json(e: Explanation, i: int, unit: int) -> dict[str, Any]:
    """One unit: the forward pass from its sum to what it gives, and the gradients on the way back."""
    layer, o, g = e.network.layers[i], e.outputs[i], e.gradients[i]
    found: dict[str, Any] = {
        "layer": i,
        "unit": unit,
        "name": e.unit_name(i, unit),
        "bias": float(layer.bias[unit]),
        "sum": float(o.sum[unit]),
        "normed": float(o.normed[unit]),
        "out": float(o.out[unit]),
        "activation": layer.activation,
        "slope": float(layer.slope(o)[unit]),
        "sum_gradient": float(g.sum[unit]),
        "normed_gradient": float(g.normed[unit]),
        "out_gradient": float(g.out[unit]),
    }
    if layer.norm is not None:
        n = layer.norm
        numbers = {"mean": n.mean, "deviation": n.deviation, "gamma": n.gamma, "beta": n.beta}
        numbers["slope"] = layer.norm_slope
        found["norm"] = {name: float(values[unit]) for name, values in numbers.items()}
    if layer.adds:
        found["added"] = float(e.outputs[i - 1].x[unit])
    return found


def neuron_as_json(e: Explanation, i: int, unit: int) -> dict[str, Any]:
    """Wx + b of one unit written out: its products w*x of largest magnitude, and what the others are together."""
    layer, x = e.network.layers[i], e.outputs[i].x
    row = layer.row(unit)
    products = row * x
    shown = largest(products, min(_TERMS, layer.fan_in(unit)))
    found = {
        **_unit_as_json(e, i, unit),
        "kind": _kind(layer),
        "terms": [_term(e, i, j, row, x) for j in shown],
        "others": layer.fan_in(unit) - len(shown),
        "others_sum": float(products.sum() - products[shown].sum()),
    }
    if isinstance(layer, LocalLayer):
        found["window"] = _window(layer, unit)
    return found


def _leads_down(network: Network, i: int, j: int) -> bool:
    """Whether input `j` of layer `i` comes through the layer before it, not past it from a grid before (pool_all)."""
    below = network.layers[i - 1] if i else None
    return not isinstance(below, Pool) or j < below.grids[0].channels


def _term(e: Explanation, i: int, j: int, row: Floats, x: Floats) -> dict[str, Any]:
    w, value = float(row[j]), float(x[j])
    return {"input": j, "name": e.input_name(i, j), "w": w, "x": value, "product": w * value}


def _window(layer: LocalLayer, unit: int) -> list[int]:
    """Top, left, bottom and right of what a unit sees in the grid below, the last row and column included."""
    below = layer.shape.below
    assert below is not None
    seen = layer.windows[unit // layer.channels]
    seen = seen[seen < layer.inputs]
    places = seen % below.places if below.by_channel else seen // below.channels
    rows, columns = np.divmod(places, below.width)
    return [int(rows.min()), int(columns.min()), int(rows.max()), int(columns.max())]


def _link_as_json(e: Explanation, weight: PathWeight) -> dict[str, Any]:
    """One layer of the path: its unit, the weight that the path takes, and the chain rule there."""
    i, unit, j = weight.layer, weight.unit, weight.source
    layer, x = e.network.layers[i], e.outputs[i].x
    row = layer.row(unit)
    by_input = e.gradients[i - 1].out if i else e.x_gradient
    others = (
        k for k in largest(row * x, len(x)) if k != j and layer.is_connected(unit, k) and _leads_down(e.network, i, k)
    )
    choices = [j, *others]
    above = e.network.layers[i + 1 :]
    skips = {"skip_gradient": float(e.gradients[i + 1].normed[j])} if i and above and above[0].adds else {}
    if layer.branches:
        pool, k, share = e.network.branch(i - 1, j)
        skips["branch_gradient"] = share * float(e.gradients[pool].sum[k])
    return {
        **_unit_as_json(e, i, unit),
        "kind": _kind(layer),
        **_term(e, i, j, row, x),
        "name": e.unit_name(i, unit),
        "input_name": e.input_name(i, j),
        "x_gradient": float(by_input[j]),
        "readers": layer.fan_out(j),
        **skips,
        "w_gradient": 0.0 if isinstance(layer, Pool) else e.weight_gradient(weight),
        "w_gradient_here": float(e.gradients[i].sum[unit] * x[j]),
        "places": layer.places if isinstance(layer, LocalLayer) and layer.shape.shared else 1,
        "choices": [_term(e, i, k, row, x) for k in choices[:_CHOICES]],
    }
