"""Formats an explanation as text: sections in the order of a textbook, from the photo's numbers to the prediction."""

from collections.abc import Sequence

import numpy as np

from catdog.drawing.page import Section
from catdog.runs.readme import RESIZED
from catdog.tools.explain.backprop import Floats, Layer, LocalLayer, Pool
from catdog.tools.explain.explanation import CHANNELS, LARGEST, Explanation, largest
from catdog.tools.explain.gradient_check import GradientCheck

_CORNER = (3, 8)  # rows and columns of the photo whose numbers are printed


def number(value: float) -> str:
    """Format to five significant digits."""
    if value == 0:
        return "0"
    return f"{value:#.5g}".rstrip(".") if 1e-4 <= abs(value) < 1e5 else f"{value:.4e}"


def signed(value: float) -> str:
    """Format like `number`, a negative value in parentheses: for the right side of an operator."""
    return number(value) if value >= 0 else f"({number(value)})"


def times(a: float, b: float) -> str:
    """Format a * b."""
    return f"{number(a)} * {signed(b)}"


def plus(terms: Sequence[str]) -> str:
    """Join terms to a sum: a + b - c."""
    return " + ".join(terms).replace("+ -", "- ")


def as_text(e: Explanation) -> str:
    """Format all sections as text."""
    parts = []
    for i, section in enumerate(sections(e), start=1):
        parts.append("\n".join([f"{i}. {section.title}", f"   {section.about}", *(f"   {s}" for s in section.lines)]))
    return "\n\n".join(parts)


def sections(e: Explanation) -> list[Section]:
    return [photo(e), forward(e), loss(e), backward(e), chain_rule(e), step(e), prediction(e), attribution(e)]


def photo(e: Explanation) -> Section:
    _, height, width = e.pixels.shape
    rows, columns = min(_CORNER[0], height), min(_CORNER[1], width)
    normal = e.x.reshape(3, height, width)
    card = e.classifier.card
    lines = [f"an array of 3 x {height} x {width} = {e.x.size:,} numbers from 0 to 255; its top left corner:"]
    for c, channel in enumerate(CHANNELS):
        for r in range(rows):
            values = " ".join(f"{v:>6}" for v in e.pixels[c, r, :columns])
            lines.append(f"  {channel if r == 0 else '':<6} {values} {'...' if columns < width else ''}".rstrip())
    lines.append("normalised, (number - mean) / deviation of its colour over the training photos:")
    for c, channel in enumerate(CHANNELS):
        for r in range(rows):
            values = " ".join(f"{v:>6.2f}" for v in normal[c, r, :columns])
            how = f"  (n - {card.mean[c]:.1f}) / {card.std[c]:.1f}" if r == 0 else ""
            lines.append(f"  {channel if r == 0 else '':<6} {values} {'...' if columns < width else ''}{how}".rstrip())
    lines.append(f"flattened: x, {e.x.size:,} numbers from {e.x.min():.2f} to {e.x.max():.2f}, are the input layer;")
    lines.append('"green 4,7" is the one for green in row 4, column 7, both counted from 0')
    about = f"{e.title}, {RESIZED[card.resize]} to {width} x {height} pixels, is what the network sees."
    return Section("photo", "The photo as numbers", about, lines)


def inactive_units(activation: str, out: Floats) -> tuple[float, str, str]:
    """Units of activation 0, near it, or saturated: (their share of `out`, what they are called, the condition)."""
    if activation == "relu":
        return float((out == 0).mean()), "dead", "0"
    if activation == "gelu":
        return float((np.abs(out) < 0.01).mean()), "silent", "closer to 0 than 0.01"
    low = -0.99 if activation == "tanh" else 0.01
    return float(((out < low) | (out > 0.99)).mean()), "saturated", f"nearly {low:.0f} or 1"


def shape(layer: Layer) -> str:
    """Format the shape of W and b; of a local layer also how many of W's entries are weights and not fixed at 0."""
    found = f"W {layer.units:,} x {layer.inputs:,}, b {layer.units:,}"
    if isinstance(layer, LocalLayer):
        same = f", the same weights at all {layer.places:,} places" if layer.shape.shared else ""
        found += f" (W is 0 but for a window of {layer.weight.shape[1]:,} inputs to each unit{same}: "
        found += f"{layer.weight.size:,} weights)"
    return found


def forward(e: Explanation) -> Section:
    lines = []
    for i, (layer, o) in enumerate(zip(e.network.layers, e.outputs, strict=True)):
        unit = (*e.path, e.label)[i]
        if isinstance(layer, Pool):
            lines.append(f"{layer.name}: of each channel, over {layer.fan_in(unit):,} of them, gives {_span(o.sum)}")
            lines.append(f"  as a W that is 1 / {layer.fan_in(unit):,} for a channel's units and 0 for all others")
            continue
        lines.append(f"{layer.name}: {shape(layer)}; Wx + b gives {_span(o.sum)}")
        if layer.norm is not None:
            lines.append(f"  batch norm gives {_span(o.normed - o.added)}")
        if layer.adds:
            lines.append(
                f"  plus the input of {e.network.layers[i - 1].name}, as a residual block ends: {_span(o.normed)}"
            )
        if layer.activation != "none":
            share, called, meaning = inactive_units(layer.activation, o.out)
            lines.append(f"  {layer.activation} gives {_span(o.out)}")
            lines.append(f"  {share:.1%} of the units are {called} on this photo ({meaning})")
            biggest = ", ".join(f"unit {u} {number(o.out[u])}" for u in largest(o.out))
            lines.append(f"  the largest: {biggest}")
        lines += [f"  {line}" for line in neuron(e, i, unit)]
    scores = "SVM scores" if e.loss.kind == "svm" else "logits"
    lines.append(f"{scores}: " + _by_class(e, e.logits))
    if e.loss.kind != "svm":
        terms = " + ".join(f"exp({number(e.logits[j])})" for j in e.shown_classes)
        if others := len(e.classes) - len(e.shown_classes):
            terms += f" + {number(np.exp(np.delete(e.logits, e.shown_classes)).sum())} of the {others:,} other classes"
        for j in e.shown_classes:
            lines.append(f"softmax: {e.classes[j]} {e.probabilities[j]:.5f} = exp({number(e.logits[j])}) / ({terms})")
        if e.seen_alone:
            lines.append(f"that is of the photo {e.seen_alone}, as in training; for the answer see The prediction")
    about = "Each layer computes f(x, W) = Wx + b and then an activation; the last gives the scores."
    if any(layer.norm is not None for layer in e.network.layers):
        about += (
            " Between the two, batch norm: Wx + b less its mean in training, over its deviation there, times gamma "
            "plus beta, which training found for each unit."
        )
    return Section("forward", "Forward", about, lines)


def _by_class(e: Explanation, values: Floats) -> str:
    """Each class with its value; of many classes, those that are shown."""
    return "  ".join(f"{e.classes[j]} {number(values[j])}" for j in e.shown_classes)


def _span(values: Floats) -> str:
    return f"{len(values):,} numbers from {number(values.min())} to {number(values.max())}"


def neuron(e: Explanation, i: int, unit: int) -> list[str]:
    """Format the computation of one unit: its largest products w*x, their sum, the bias, the activation."""
    layer, o = e.network.layers[i], e.outputs[i]
    weights = layer.row(unit)
    products = weights * o.x
    shown = largest(products, min(LARGEST, layer.fan_in(unit)))
    lines = [f"{e.unit_name(i, unit)}, written out:"]
    for j in shown:
        lines.append(f"  w*x = {times(weights[j], o.x[j])} = {number(products[j])}  ({e.input_name(i, j)})")
    rest = layer.fan_in(unit) - len(shown)
    if rest:
        lines.append(f"  and {rest:,} others, together {number(products.sum() - products[shown].sum())}")
    bias = float(layer.bias[unit])
    total = (
        f"  sum {number(products.sum())} {'-' if bias < 0 else '+'} bias {number(abs(bias))} = {number(o.sum[unit])}"
    )
    if layer.norm is not None:
        n = layer.norm
        total += (
            f"; batch norm ({number(o.sum[unit])} - {signed(n.mean[unit])}) / {number(n.deviation[unit])} "
            f"* {signed(n.gamma[unit])} + {signed(n.beta[unit])} = {number((o.normed - o.added)[unit])}"
        )
    if layer.adds:
        added = e.outputs[i - 1].x[unit]
        total += f"; plus input {unit} of {e.network.layers[i - 1].name}, {number(added)}, = {number(o.normed[unit])}"
    if layer.activation != "none":
        total += f"; {layer.activation}({number(o.normed[unit])}) = {number(o.out[unit])}"
    return [*lines, total]


def loss(e: Explanation) -> Section:
    label = e.classes[e.label]
    if e.loss.kind == "svm":
        about = "For each other class, how far its score comes within the margin of 1 below the true class's score."
        lines = []
        margins = e.loss.margins(e.logits, e.label)
        for j in e.shown_classes:
            if j != e.label:
                lines.append(
                    f"{e.classes[j]}: max(0, 1 + {signed(e.logits[j])} - {signed(e.logits[e.label])}) = "
                    f"{number(max(margins[j], 0.0))}" + (", squared" if e.loss.squared else "")
                )
        lines.append(f"loss L = {number(e.loss_value)}")
    else:
        about = "Cross-entropy: how surprised the network is by the true class."
        lines = [f"L = -ln(probability of {label}) = -ln({e.probabilities[e.label]:.5f}) = {number(e.loss_value)}"]
    taken = f"the true class: {label} ({e.label_reason})"
    if not e.label_reason:
        taken = (
            f"the answer itself, {label}, is taken for the true class, since nothing tells it; if the photo shows "
            "something else, name that with --label"
        )
    return Section("loss", "Loss", about, [taken, *lines])


def backward(e: Explanation) -> Section:
    last = len(e.network.layers)
    if e.loss.kind == "svm":
        lines = ["dL/dscores: each violated margin pulls its class down and the true class up:"]
    else:
        lines = ["dL/dlogits = p - y, where y is 1 for the true class and 0 for the others:"]
    if not e.gradient_checks:
        pairs = zip(e.classes, e.gradients[last - 1].out, strict=True)
        lines += [f"  {'dL/dlogit ' + name:<34} {number(gradient):>12}" for name, gradient in pairs]
        lines.append("--full computes each gradient in three ways and compares them")
        return Section("backward", "Backward", "The chain rule from the loss to every weight.", lines)
    header = f"{'':<36} {'backward':>12} {'chain rule':>12} {'differences':>12}  agree to"
    lines += [header, *_table(e.gradient_checks[last])]
    for i in reversed([i for i, layer in enumerate(e.network.layers) if not isinstance(layer, Pool)]):
        lines += [f"{e.network.layers[i].name}: norms and largest entries", *_table(e.gradient_checks[i])]
    checks = [check for layer in e.gradient_checks.values() for check in layer]
    worst = max(check.relative_error for check in checks)
    lines.append(f"all {len(checks)} agree, the worst to {worst:.0e}")
    kinks = sum(check.kink for check in checks)
    if kinks:
        lines.append(
            f"{kinks} of them stand exactly at a kink, where the slope is another on each side: their differences "
            "were not compared"
        )
    return Section(
        "backward",
        "Backward",
        "The chain rule from the loss to every weight, checked by the chain rule from the weight to the loss and by "
        "central differences (L(w + h) - L(w - h)) / 2h, all in float64.",
        lines,
    )


def _table(checks: Sequence[GradientCheck]) -> list[str]:
    return [
        f"  {c.name:<34} {number(c.backward):>12} {number(c.forward):>12} {number(c.differences):>12}  "
        + ("at a kink" if c.kink else f"{c.relative_error:.0e}")
        for c in checks
    ]


def chain_rule(e: Explanation) -> Section:
    """Format the chain rule for the weights at both ends of the path."""
    lines = []
    first, last = e.path_weights[0], e.path_weights[-1]
    if len(e.path_weights) > 1:
        lines += _weight_head(e, last.layer)
        by_score, x = e.gradients[-1].out[e.label], e.outputs[-1].x[last.source]
        lines += [
            "  dL/dw = dL/ds * ds/dw, with s the score; ds/dw = x, the activation that the weight multiplies",
            f"        = {times(by_score, x)} = {number(e.weight_gradient(last))}",
        ]
    lines += _weight_head(e, first.layer)
    name = e.classes[e.label]
    for i in reversed(range(len(e.path))):
        layer, above, unit = e.network.layers[i], e.network.layers[i + 1], e.path[i]
        weights, slopes = above.column(unit), e.gradients[i + 1].sum
        products = weights * slopes
        shown = e.units_above(i)
        terms = [times(weights[k], slopes[k]) for k in shown]
        names = ", ".join(e.unit_name(i + 1, k) for k in shown)
        rest = above.fan_out(unit) - len(shown)
        if rest:
            terms.append(number(products.sum() - products[shown].sum()))
            names += f", {rest:,} others"
        names = f"{above.name} ({names})"
        if i + 2 < len(e.network.layers) and e.network.layers[i + 2].adds:
            terms.append(number(e.gradients[i + 2].normed[unit]))
            names += f", and added by {e.network.layers[i + 2].name} (the last term, w = 1)"
        if above.branches:
            pool, k, w = e.network.branch(i, unit)
            terms.append(times(w, e.gradients[pool].sum[k]))
            names += f", and by unit {k} of the {e.network.layers[pool].name} (the last term)"
        g, o = e.gradients[i], e.outputs[i]
        lines += [
            f"  {layer.name}, unit {unit}, is read by {names}:",
            f"    dL/da = sum of w * dL/dz = {plus(terms)} = {number(g.out[unit])}",
        ]
        if isinstance(layer, Pool):
            name = f"unit {unit}"
            continue
        lines.append(
            f"    dL/dz = dL/da * {layer.activation}'({number(o.normed[unit])}) = "
            f"{times(g.out[unit], layer.slope(o)[unit])} = {number(g.normed[unit])}"
        )
        if layer.norm is not None:
            lines.append(
                f"    before batch norm: dL/dz * gamma / deviation = "
                f"{times(g.normed[unit], layer.norm_slope[unit])} = {number(g.sum[unit])}"
            )
        name = f"unit {unit}"
    slope, x = e.gradients[0].sum[first.unit], e.x[first.source]
    here, found = slope * x, e.weight_gradient(first)
    layer = e.network.layers[0]
    is_shared = isinstance(layer, LocalLayer) and layer.shape.shared
    where = "at this place, " if is_shared else ""
    lines.append(f"  {where}dL/dw = dL/dz of {name} * x = {times(slope, x)} = {number(here)}")
    if isinstance(layer, LocalLayer) and is_shared:
        lines.append(
            f"  and at the {layer.places - 1:,} other places that share w, together {number(found - here)}: "
            f"dL/dw = {number(found)}"
        )
    about = "How the gradient of one weight comes about: the product of all derivatives on the way from it to the loss"
    if len(e.path) > 1:
        about += f", summed over all ways; the {LARGEST} largest terms of each sum are shown"
    return Section("chain", "The chain rule, written out", about + ".", lines)


def _weight_head(e: Explanation, layer: int) -> list[str]:
    weight = e.path_weights[layer]
    of = f"{e.network.layers[layer].name}, {e.input_name(layer, weight.source)} -> {e.unit_name(layer, weight.unit)}"
    return [f"w = {number(e.network.layers[layer].row(weight.unit)[weight.source])}  ({of})"]


def step(e: Explanation) -> Section:
    first = e.steps[0]
    lines = [f"lr = {first.rate:g}, a learning rate {e.rate_reason}:"]
    for i in sorted({len(e.path_weights) - 1, 0}, reverse=True):
        weight = e.path_weights[i]
        w, g = float(e.network.layers[i].row(weight.unit)[weight.source]), e.weight_gradient(weight)
        lines.append(
            f"{e.network.layers[i].name}, {e.input_name(i, weight.source)} -> {e.unit_name(i, weight.unit)}: "
            f"w' = {w:.7g} - {times(first.rate, g)} = {w - first.rate * g:.7g}"
        )
    lines.append(
        f"all {e.weights:,} weights and biases moved so, with |g|^2 = {number(e.squared_norm)}, and forward again:"
    )
    svm = e.loss.kind == "svm"
    what = ("score", e.logits, first.logits) if svm else ("probability", e.probabilities, first.probabilities)
    for j in e.shown_classes:
        lines.append(f"  {what[0]} of {e.classes[j]}: {what[1][j]:.5f} -> {what[2][j]:.5f}")
    lines.append(f"  loss: {number(e.loss_value)} -> {number(first.loss)}")
    lines.append("the shorter the step, the nearer is the change to -lr * |g|^2, what a straight line would give:")
    lines.append(f"  {'lr':>9} {'predicted':>13} {'actual':>13}  actual / predicted")
    for s in e.steps:
        ratio = f"{s.actual(e.loss_value) / s.predicted:.5f}" if s.predicted else "-"
        lines.append(f"  {s.rate:>9g} {number(s.predicted):>13} {number(s.actual(e.loss_value)):>13}  {ratio}")
    if e.squared_norm == 0:
        lines.append("the gradient is 0: this photo has nothing to teach the network any more")
    return Section("step", "The step", "Every weight moves a little against its gradient: w' = w - lr * dL/dw.", lines)


def prediction(e: Explanation) -> Section:
    card = e.classifier.card
    scores = "scores" if e.loss.kind == "svm" else "logits"

    def row(name: str, values: Floats) -> str:
        return f"{name:<20}{_by_class(e, values)}"

    lines = [row(f"{scores}", e.logits)]
    about = f"The probability is softmax({scores} / temperature)."
    if e.mirrored_logits is not None:
        lines += [row("of its mirror image", e.mirrored_logits), row("mean", e.mean_logits)]
        about = f"The {scores} of the photo and of its mirror image are averaged; " + about[0].lower() + about[1:]
    lines.append(row(f"over {card.temperature:.4g}", e.mean_logits / card.temperature) + "  (the temperature)")
    lines.append(row("probability", e.final))
    lines.append(f"the answer: {e.answer}")
    return Section("prediction", "The prediction", about, lines)


def attribution(e: Explanation) -> Section:
    shares = e.attribution
    first, second = e.classes[shares.first], e.classes[shares.second]
    positive, negative = shares.pixels[shares.pixels > 0].sum(), shares.pixels[shares.pixels < 0].sum()
    lines = [
        f"pixels that spoke for {first}: {number(positive)}; for {second}: {number(-negative)}; "
        f"the biases: {number(shares.biases)}",
        f"{plus([number(positive), number(negative), number(shares.biases)])} = {number(shares.difference)}, "
        f"the score of {first} less that of {second}",
    ]
    if e.mirrored_logits is not None:
        lines[-1] += " (mean over the mirror image)"
    about = "Every activation is a gate, open to a/z for its sum z, so each score is a sum of shares of the pixels."
    if e.network.layers[0].activation == "relu":
        about = (
            "Every relu is a gate, open (1) or shut (0), so near this photo each score is a sum of shares of pixels."
        )
    about += " A pixel of the average colour has no share."
    if len(e.network.layers) == 1:
        about = "Each score is a sum of weight * pixel. A pixel of the average colour has no share."
    return Section("pixels", "Which pixels spoke for which class", about, lines)
