"""Draws the two textbook examples as graphs."""

from pathlib import Path
from typing import Any

from catdog.drawing.figures import new_figure
from catdog.tools.explain import graph
from catdog.tools.explain.graph import Edge, Node
from catdog.tools.explain.textbook import RATE, Graph, circuit, network, step

_LAYERS = (
    (("i1", "i2"), ("h1", "h2"), (("w1", "w2"), ("w3", "w4")), "b1"),
    (("h1", "h2"), ("o1", "o2"), (("w5", "w6"), ("w7", "w8")), "b2"),
)


def save_pictures(folder: Path) -> list[Path]:
    """Write textbook-network and textbook-circuit, as PNG and SVG, into `folder`; returns their paths."""
    return [
        *graph.save(draw_network(), folder / "textbook-network"),
        *graph.save(draw_circuit(), folder / "textbook-circuit"),
    ]


def draw_network() -> Any:
    """Draw (a) three times: with the gradients, with the weights after the step, and the next forward pass."""
    before = network()
    after = network(step(before))
    figure = new_figure(11, 15)
    first, second, third = figure.subplots(3, 1)
    gradients = {f"w{i}": f"dE/dw{i} = {before.gradient(f'w{i}'):.9f}" for i in range(1, 9)}
    moved = {f"w{i}": f"w{i}' = {w:.9f}" for i, w in enumerate(step(before), start=1)}
    _network(first, before, gradients)
    first.set_title("1. Forward, then backward", loc="left", fontweight="bold")
    graph.legend(first, "green, above: weights, and what neurons give", "red, below: gradient of E by each weight")
    _network(second, before, moved)
    second.set_title(f"2. The step: w' = w - {RATE} * dE/dw", loc="left", fontweight="bold")
    graph.legend(second, "green, above: weights before", "red, below: weights after")
    _network(third, after, {})
    third.set_title(f"3. Forward again: the error fell from {before['E']:.9f}", loc="left", fontweight="bold")
    return figure


def _network(axes: Any, n: Graph, below: dict[str, str]) -> None:
    places = {"i1": (0, 2), "i2": (0, 0), "h1": (3.6, 2), "h2": (3.6, 0), "o1": (7.2, 2), "o2": (7.2, 0)}
    nodes = {}
    for name, (x, y) in places.items():
        computed = f"net {n[f'net_{name}']:.9f}\nout {n[f'out_{name}']:.9f}" if name[0] != "i" else ""
        note = computed or f"{n[name]:.2f}"
        nodes[name] = Node(x, y, name, note, note_side=1 if y else -1)
    nodes["b1"] = Node(1.8, -1.15, "b1", f"{n['b1']:.2f}", 0.26, "#fff6dd")
    nodes["b2"] = Node(5.4, -1.15, "b2", f"{n['b2']:.2f}", 0.26, "#fff6dd")
    nodes["E"] = Node(9.6, 1, "E", f"{n['E']:.9f}", 0.32, "#fde8e8")
    edges = []
    for sources, targets, weights, bias in _LAYERS:
        for i, target in enumerate(targets):
            for j, source in enumerate(sources):
                w = weights[i][j]
                # Labels keep clear of the middle, where the edges cross.
                at = 0.5 if i == j else 0.23
                edges.append(Edge(source, target, f"{w} = {_digits(n[w])}", below.get(w, ""), at))
            edges.append(Edge(bias, target, faint=True))
    for i in (1, 2):
        edges.append(Edge(f"o{i}", "E", f"E_o{i} = {n[f'E_o{i}']:.9f}"))
    graph.draw(axes, nodes, edges)


def _digits(weight: float) -> str:
    return f"{weight:.2f}" if weight == round(weight, 2) else f"{weight:.9f}"


def draw_circuit() -> Any:
    """Draw (b), the circuit gate by gate: values above the wires, gradients below."""
    n = circuit()
    nodes = {
        "w0": Node(0, 4.5, "w0", radius=0),
        "x0": Node(0, 3.1, "x0", radius=0),
        "w1": Node(0, 2.0, "w1", radius=0),
        "x1": Node(0, 0.6, "x1", radius=0),
        "w2": Node(0, -0.5, "w2", radius=0),
        "w0*x0": Node(1.8, 3.8, "*"),
        "w1*x1": Node(1.8, 1.3, "*"),
        "first sum": Node(3.4, 2.5, "+"),
        "sum": Node(4.9, 1.6, "+"),
        "-sum": Node(6.5, 1.6, "* -1"),
        "exp": Node(8.0, 1.6, "exp"),
        "1 + exp": Node(9.5, 1.6, "+ 1"),
        "f": Node(11.0, 1.6, "1 / x"),
        "result": Node(12.6, 1.6, "f", radius=0),
    }
    wires = [("w0", "w0*x0"), ("x0", "w0*x0"), ("w1", "w1*x1"), ("x1", "w1*x1"), ("w0*x0", "first sum")]
    wires += [("w1*x1", "first sum"), ("first sum", "sum"), ("w2", "sum"), ("sum", "-sum"), ("-sum", "exp")]
    wires += [("exp", "1 + exp"), ("1 + exp", "f"), ("f", "result")]
    edges = [Edge(start, end, f"{n[start]:.4f}", f"{n.gradient(start):.4f}") for start, end in wires]
    figure = new_figure(13, 5.4)
    axes = figure.subplots()
    graph.draw(axes, nodes, edges, font=10)
    from matplotlib.patches import FancyBboxPatch

    box = FancyBboxPatch((6.12, 1.2), 5.26, 0.8, boxstyle="round,pad=0.1", fill=False, ec=graph.PALE, ls="--")
    axes.add_patch(box)
    together = f"together the sigmoid gate: its derivative is (1 - f) f = {(1 - n['f']) * n['f']:.4f}"
    axes.text(8.75, 1.0, together, ha="center", va="top", color=graph.INK, fontsize=10)
    axes.set_title("f = sigmoid(w0*x0 + w1*x1 + w2)", loc="left", fontweight="bold")
    graph.legend(axes, "green, above: forward values", "red, below: gradients, df / d(value)", 10)
    return figure
