"""Draws an explanation: a panel for each step, all on one figure; each panel can also be cut out."""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from PIL import Image

from catdog.drawing.figures import new_figure
from catdog.drawing.fonts import shorten
from catdog.tools.explain import graph
from catdog.tools.explain.backprop import Pool
from catdog.tools.explain.explanation import CHANNELS, Explanation, PathWeight
from catdog.tools.explain.graph import Edge, Node
from catdog.tools.explain.learned import FIRST_CLASS, SECOND_CLASS, overlay
from catdog.tools.explain.words import inactive_units, number

WIDTH = 15.0  # inches
_CORNER = 8  # rows and columns of the photo shown as numbers
_BLOCKS = 6  # blocks along the photo's height and width whose attributions are summed
_ENDS = 2  # layers drawn at each end of the network; those between are left out
_MOST = 8  # classes in the bars of a picture
_ACROSS = 30  # letters of their names that fit side by side
ALL = ("photo", "forward", "backward", "chain", "step", "pixels")
QUICK = ("photo", "forward", "pixels")  # the panels that take little time
_GAP, _RISE = 3.1, 1.55  # between the columns and rows of the graph
_LAST = 1.2  # more between the last two columns, where edges cross


def poster(e: Explanation, keys: Collection[str] = ALL) -> tuple[Any, dict[str, Any]]:
    """Draw panels, one below the other: (the figure, the subfigures by the key of their section in `words`)."""
    rows = -(-max(len(e.path), 1) // 4)
    columns = min(len(e.network.layers), 2 * _ENDS) + 1.6 + _LAST / _GAP
    panels: dict[str, tuple[float, Callable[[Any, Explanation], None]]] = {
        "photo": (3.9, photo),
        "forward": (3.6 * rows + 0.3, layers),
        "backward": (3.4, gradients),
        "chain": (min(WIDTH / columns / _GAP * 5.2, 6) + 0.5, network),
        "step": (4.8 if _are_long(_bar_names(e)) else 3.6, step),
        "pixels": (4.4, attribution),
    }
    panels = {key: panel for key, panel in panels.items() if key in keys}
    heights = [height for height, _ in panels.values()]
    figure = new_figure(WIDTH, sum(heights) + 0.6)
    figure.suptitle(f"{shorten(e.title, 60)}: {shorten(e.answer, 40)}", fontsize=17, fontweight="bold")
    rows_of_panels = figure.subfigures(len(panels), 1, height_ratios=heights, squeeze=False)[:, 0]
    parts = dict(zip(panels, rows_of_panels, strict=True))
    for key, (_, draw) in panels.items():
        draw(parts[key], e)
    return figure, parts


def cut_out(image: Image.Image, panels: dict[str, Any]) -> dict[str, bytes]:
    """Crop each panel out of the rendered figure, as PNG."""
    found = {}
    for key, panel in panels.items():
        box = panel.bbox  # its y runs upwards
        cut = (round(box.x0), round(image.height - box.y1), round(box.x1), round(image.height - box.y0))
        found[key] = graph.png(image.crop(cut))
    return found


def _title(figure: Any, text: str) -> None:
    figure.suptitle(text, x=0.01, ha="left", fontsize=12, fontweight="bold")


def photo(figure: Any, e: Explanation) -> None:
    """Draw the photo as the network sees it, its three channels, and a corner as numbers."""
    _, height, width = e.pixels.shape
    _title(figure, f"1. The photo is an array of 3 x {height} x {width} = {e.x.size:,} numbers")
    whole, *colours, numbers = figure.subplots(1, 5, width_ratios=[1, 1, 1, 1, 1.35])
    whole.imshow(e.pixels.transpose(1, 2, 0))
    whole.set_title("as the network sees it")
    for c, (axes, name) in enumerate(zip(colours, CHANNELS, strict=True)):
        tinted = np.zeros((height, width, 3), np.uint8)
        tinted[..., c] = e.pixels[c]
        axes.imshow(tinted)
        axes.set_title(f"{name}: {e.pixels[c].min()} to {e.pixels[c].max()}")
    corner = e.pixels[0, :_CORNER, :_CORNER]
    high, wide = corner.shape
    colours[0].plot([-0.5, wide - 0.5, wide - 0.5], [high - 0.5, high - 0.5, -0.5], color="white", linewidth=1)
    numbers.imshow(corner, cmap="Reds_r", vmin=0, vmax=255)
    for (row, column), value in np.ndenumerate(corner):
        numbers.text(
            column, row, str(value), ha="center", va="center", fontsize=8, color="white" if value < 140 else "black"
        )
    numbers.set_title("the top left corner of red")
    for axes in figure.axes:
        axes.set_xticks([])
        axes.set_yticks([])


def layers(figure: Any, e: Explanation) -> None:
    """Draw the activations of the hidden layers, a square a unit, and the scores of the classes."""
    normalised = "the normalised " * any(layer.norm is not None for layer in e.network.layers)
    what = f"what each unit gives, the activation of {normalised}Wx + b; a square is a unit, white is 0"
    _title(figure, f"2. Forward: {what}")
    hidden = len(e.path)
    columns = min(max(hidden, 1), 4) + 1
    rows = -(-max(hidden, 1) // 4)
    grid = figure.add_gridspec(rows, columns, width_ratios=[1] * (columns - 1) + [1.4])
    for i in range(hidden):
        draw_units(figure.add_subplot(grid[i // 4, i % 4]), e, i)
    draw_scores(figure.add_subplot(grid[:, -1]), e)


def draw_units(axes: Any, e: Explanation, i: int, mark: bool = True) -> None:
    """Draw the activations of hidden layer `i` as a mosaic. mark: frame the path's unit in red."""
    out, layer = e.outputs[i].out, e.network.layers[i]
    side = int(np.ceil(np.sqrt(len(out))))
    mosaic = np.full(side * side, np.nan)
    mosaic[: len(out)] = out
    top = float(np.abs(out).max()) or 1.0
    axes.imshow(mosaic.reshape(side, side), cmap="PuOr_r", vmin=-top, vmax=top)
    unit = e.path[i]
    if mark:
        axes.scatter(unit % side, unit // side, s=60, marker="s", facecolors="none", edgecolors=graph.BACKWARD)
    axes.set_xticks([])
    axes.set_yticks([])
    if layer.activation == "none":
        axes.set_title(f"{layer.name}: {layer.units:,} channels", fontsize=10)
        axes.set_xlabel(f"darkest: {number(top)}", fontsize=9)
        return
    axes.set_title(f"{layer.name}: {layer.units:,} units, {layer.activation}", fontsize=10)
    share, called, _ = inactive_units(layer.activation, out)
    axes.set_xlabel(f"darkest: {number(top)}; {share:.1%} {called}", fontsize=9)


def pictured_classes(e: Explanation) -> list[int]:
    """Classes in the bars of a picture, in their order: the true class and the most likely others, _MOST at most."""
    others = [int(c) for c in np.argsort(-e.logits, kind="stable") if c != e.label]
    return sorted([e.label, *others[: _MOST - 1]])


def _bar_names(e: Explanation) -> list[str]:
    return [shorten(e.classes[c], 16) for c in pictured_classes(e)]


def _are_long(names: list[str]) -> bool:
    """Whether names are too long to stand side by side below bars."""
    return len("".join(names)) > _ACROSS


def draw_scores(axes: Any, e: Explanation) -> None:
    """Draw the scores of the classes as bars, with the probability of each."""
    shown = pictured_classes(e)
    places = np.arange(len(shown))
    colours = [graph.FORWARD if c == e.label else graph.PALE for c in shown]
    axes.barh(places, e.logits[shown], color=colours, height=0.6)
    what = "score" if e.loss.kind == "svm" else "logit"
    for place, (s, p) in enumerate(zip(e.logits[shown], e.probabilities[shown], strict=True)):
        beside = number(s) if e.loss.kind == "svm" else f"{number(s)}: p = {p:.3f}"
        axes.text(1.02, place, beside, transform=axes.get_yaxis_transform(), va="center", fontsize=9)
    taken = "(true)" if e.label_reason else "(the answer)"
    names = _bar_names(e)
    axes.set_yticks(
        places, [f"{name}\n{taken}" if c == e.label else name for c, name in zip(shown, names, strict=True)]
    )
    if e.seen_alone and e.loss.kind != "svm":
        axes.set_xlabel(f"p: {e.seen_alone}".replace(" and ", "\nand "), fontsize=9)
    axes.set_ylim(len(places) - 0.5, -0.5)
    axes.axvline(0, color=graph.INK, linewidth=0.8)
    axes.set_title(f"{what}s; 3. loss {number(e.loss_value)}", fontsize=10)


def network(figure: Any, e: Explanation) -> None:
    """Draw the path of the written-out chain rule, with the inputs of largest product to its units."""
    _title(figure, "5. The chain rule on one way through the network: forward in green, above; backward in red, below")
    depth = len(e.network.layers)
    shown = [i for i in range(depth) if i < _ENDS or i >= depth - _ENDS]
    nodes: dict[str, Node] = {}
    edges: list[Edge] = []
    for column, i in enumerate(shown):
        unit = (*e.path, e.label)[i]
        if i and i - 1 not in shown:  # the layers between are left out
            edges.append(Edge(f"{i - 1}:", f"{i}:{e.path_weights[i].source}", faint=True))
            column_of_gap = column * _GAP - 0.9
            nodes[f"{i - 1}:"] = Node(column_of_gap, 0, "...", radius=0)
            nodes[f"{_ENDS}:{e.path[_ENDS - 1]}"] = nodes[f"{i - 1}:"]
        for row, j in enumerate(e.shown_inputs(i)):
            nodes[f"{i}:{j}"] = _node(e, i, j, column, row)
            edges.append(_edge(e, i, j, unit, 0.5 if row == 0 or i < depth - 1 else 0.27))
    others = [int(c) for c in np.argsort(-e.logits, kind="stable") if c != e.label][:2]
    for row, c in enumerate([e.label, *others]):
        nodes[f"{depth}:{c}"] = _node(e, depth, c, len(shown), row)
        edges.append(Edge(f"{depth}:{c}", "L", "", f"dL/ds {number(e.gradients[-1].out[c])}", 0.45))
        if c != e.label:
            edges.append(_edge(e, depth - 1, e.path_weights[-1].source, c, 0.73))
    nodes["L"] = Node((len(shown) + 0.85) * _GAP + _LAST, 0, "L", number(e.loss_value), 0.42, "#fde8e8")
    axes = figure.subplots()
    graph.draw(axes, nodes, edges, font=8.5)
    graph.legend(
        axes,
        "green, above the arrows: weights w; at the circles: inputs x, activations a, scores s",
        "red, below the arrows: gradients of the loss L",
    )


def _node(e: Explanation, i: int, j: int, column: int, row: int) -> Node:
    """Node for input `j` of layer `i`; after the last layer, for the score of class `j`."""
    last = len(e.network.layers)
    value = number(e.logits[j] if i == last else e.outputs[i].x[j])
    kind = "s" if i == last else "a" if i else "x"
    label = shorten(e.classes[j], 10) if i == last else e.input_name(i, j).replace(" ", "\n")
    height = (0.0, _RISE, -_RISE)[row]
    x = column * _GAP + (_LAST if i == last else 0)
    return Node(x, height, label, f"{kind} {value}", 0.42, note_side=1 if row == 1 else -1)


def _edge(e: Explanation, i: int, j: int, unit: int, at: float) -> Edge:
    layer = e.network.layers[i]
    gradient = "" if isinstance(layer, Pool) else f"dL/dw {number(e.weight_gradient(PathWeight(i, unit, j)))}"
    return Edge(f"{i}:{j}", f"{i + 1}:{unit}", f"w {number(layer.row(unit)[j])}", gradient, at)


def gradients(figure: Any, e: Explanation) -> None:
    """Draw the gradient norm of each layer, and how far the three computations of each gradient agree."""
    _title(figure, "4. Backward: how strongly each layer is pulled, and how well three computations of it agree")
    left, right = figure.subplots(1, 2)
    learning = [i for i, layer in enumerate(e.network.layers) if not isinstance(layer, Pool)]
    names = [e.network.layers[i].name for i in learning]
    places = range(len(names))
    for offset, what, colour in ((-0.2, "|dL/dW|", graph.BACKWARD), (0.2, "|dL/db|", "#f2a1a7")):
        norms = [next(c.backward for c in e.gradient_checks[i] if c.name == what) for i in learning]
        left.bar([place + offset for place in places], norms, 0.38, color=colour)
    left.set_xticks(places, names, rotation=0 if len(names) < 9 else 90)
    left.set_title("norm of the gradient: left |dL/dW|, right, pale |dL/db|", fontsize=10)
    checks = [check for i in sorted(e.gradient_checks) for check in e.gradient_checks[i] if not check.kink]
    errors = np.maximum([check.relative_error for check in checks], 1e-17)
    right.semilogy(range(1, len(errors) + 1), errors, ".", color=graph.FORWARD)
    right.axhline(1e-6, color=graph.PALE, linestyle="--")
    right.text(1, 1.3e-6, "more than this would be an error", fontsize=8, color=graph.INK)
    right.set(ylim=(1e-17, 1e-4), xlabel=f"the {len(errors)} gradients shown")
    right.set_title("relative difference: backpropagation, chain rule, central differences", fontsize=10)


def step(figure: Any, e: Explanation) -> None:
    """Draw scores and probabilities before and after the step, and the fall of the loss against the learning rate."""
    first = e.steps[0]
    _title(
        figure,
        f"6. The step, w' = w - {first.rate:g} * dL/dw, for every weight; bars: before (left, grey), after (right)\n"
        f"{first.rate:g} is a learning rate {e.rate_reason}",
    )
    left, middle, right = figure.subplots(1, 3)
    classes = pictured_classes(e)
    places = np.arange(len(classes))
    svm = e.loss.kind == "svm"
    hinges = [np.maximum(e.loss.margins(scores, e.label), 0) for scores in (e.logits, first.logits)]
    for axes, before, after, what in (
        (left, e.logits, first.logits, "scores" if svm else "logits"),
        (middle, *hinges, "violated margins, max(0, 1 + s - s of the true class)")
        if svm
        else (middle, e.probabilities, first.probabilities, "probabilities"),
    ):
        axes.bar(places - 0.2, before[classes], 0.38, color=graph.PALE)
        axes.bar(places + 0.2, after[classes], 0.38, color=graph.BACKWARD)
        axes.axhline(0, color=graph.INK, linewidth=0.8)
        names = _bar_names(e)
        axes.set_xticks(places, names, rotation=90 if _are_long(names) else 0)
        axes.set_title(what, fontsize=10)
    if e.seen_alone and not svm:
        middle.set_xlabel(e.seen_alone, fontsize=9)
    rates = [s.rate for s in e.steps]
    right.loglog(rates, [-s.predicted or np.nan for s in e.steps], "o--", color=graph.PALE, label="lr * |g|^2")
    falls = [e.loss_value - s.loss for s in e.steps]
    right.loglog(rates, [fall if fall > 0 else np.nan for fall in falls], "o-", color=graph.BACKWARD, label="actual")
    right.set(xlabel="learning rate lr")
    right.set_title(f"fall of the loss, {number(e.loss_value)} -> {number(first.loss)}", fontsize=10)
    right.legend(loc="upper left")  # the lines rise


def attribution(figure: Any, e: Explanation) -> None:
    """Draw the attribution of the score difference to the pixels, one by one and summed over blocks."""
    shares = e.attribution
    first, second = shorten(e.classes[shares.first], 16), shorten(e.classes[shares.second], 16)
    _title(figure, f"8. Which pixels spoke for {first} and which for {second}")
    left, middle, right, bars = figure.subplots(1, 4, width_ratios=[1, 1, 1, 1.1])
    picture = e.pixels.transpose(1, 2, 0)
    left.imshow(picture)
    left.set_title("the photo", fontsize=10)
    middle.imshow(overlay(picture, shares.pixels))
    middle.set_title(f"orange: for {first}\nblue: for {second}", fontsize=10)
    sums, down, across = block_sums(shares.pixels)
    right.imshow(overlay(picture, np.repeat(np.repeat(sums, down, axis=0), across, axis=1)))
    for (row, column), value in np.ndenumerate(sums):
        y, x = down[:row].sum() + down[row] / 2 - 0.5, across[:column].sum() + across[column] / 2 - 0.5
        right.text(x, y, f"{value:+.2f}", ha="center", va="center", fontsize=8)
    right.set_title("summed over blocks", fontsize=10)
    for axes in (left, middle, right):
        axes.set_xticks([])
        axes.set_yticks([])
    positive, negative = shares.pixels[shares.pixels > 0].sum(), shares.pixels[shares.pixels < 0].sum()
    values = [positive, negative, shares.biases, shares.difference]
    drawn = bars.barh(range(4), values, color=[FIRST_CLASS, SECOND_CLASS, graph.PALE, graph.INK], height=0.6)
    bars.bar_label(drawn, [f" {number(v)} " for v in values], fontsize=9)
    bars.set_yticks(range(4), [f"pixels\nfor {first}", f"pixels\nfor {second}", "biases", f"{first}\n- {second}"])
    bars.invert_yaxis()
    bars.axvline(0, color=graph.INK, linewidth=0.8)
    bars.margins(x=0.3)
    bars.set_title("their sum is the difference of the scores", fontsize=10)


def block_sums(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum over blocks of pixels: (the sums, pixel rows of each row of blocks, pixel columns of each column)."""
    cuts = [np.unique(np.linspace(0, n, min(_BLOCKS, n) + 1).round().astype(int)) for n in pixels.shape]
    sums = np.add.reduceat(np.add.reduceat(pixels, cuts[0][:-1], axis=0), cuts[1][:-1], axis=1)
    return sums, np.diff(cuts[0]), np.diff(cuts[1])
