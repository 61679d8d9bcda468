"""Computes and prints two worked examples of textbooks, value by value: a 2-2-2 network and a single circuit.

(a) is M. Mazur's "A Step by Step Backpropagation Example"; (b) is the sigmoid circuit of Stanford's CS231n,
"Backpropagation, Intuitions". Every gradient is computed by backpropagation, by the chain rule along each path, and by
central differences.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from catdog.errors import CatdogError
from catdog.tools.explain import scalar
from catdog.tools.explain.scalar import Scalar

INPUTS = (0.05, 0.10)
TARGETS = (0.01, 0.99)
WEIGHTS = (0.15, 0.20, 0.25, 0.30, 0.40, 0.45, 0.50, 0.55)
BIASES = (0.35, 0.60)
RATE = 0.5
CIRCUIT = {"w0": 2.0, "x0": -1.0, "w1": -3.0, "x1": -2.0, "w2": -3.0}


@dataclass
class Graph:
    """Computation graph: its numbers by name, and its result; `graph[name]` is a value."""

    numbers: dict[str, Scalar]
    result: Scalar

    def __getitem__(self, name: str) -> float:
        return self.numbers[name].value

    def gradient(self, name: str) -> float:
        return self.numbers[name].gradient


def network(weights: Sequence[float] = WEIGHTS) -> Graph:
    """Compute (a) and its gradients: two inputs, two hidden neurons, two outputs, sigmoid, E = |target - out|^2 / 2.

    w1, w2 lead to h1; w3, w4 to h2; w5, w6 to o1; w7, w8 to o2; b1 and b2 are shared within a layer.
    """
    n = {f"w{i}": Scalar(value, f"w{i}") for i, value in enumerate(weights, start=1)}
    n |= {f"i{i}": Scalar(value, f"i{i}") for i, value in enumerate(INPUTS, start=1)}
    n |= {f"b{i}": Scalar(value, f"b{i}") for i, value in enumerate(BIASES, start=1)}
    for unit, first_weight, inputs, bias in (
        ("h1", 1, ("i1", "i2"), "b1"),
        ("h2", 3, ("i1", "i2"), "b1"),
        ("o1", 5, ("out_h1", "out_h2"), "b2"),
        ("o2", 7, ("out_h1", "out_h2"), "b2"),
    ):
        pair = [n[f"w{first_weight}"], n[f"w{first_weight + 1}"]]
        n[f"net_{unit}"] = scalar.weighted_sum(f"net_{unit}", pair, [n[name] for name in inputs], n[bias])
        n[f"out_{unit}"] = scalar.sigmoid(f"out_{unit}", n[f"net_{unit}"])
    for i, target in enumerate(TARGETS, start=1):
        n[f"E_o{i}"] = scalar.half_square(f"E_o{i}", target, n[f"out_o{i}"])
    n["E"] = scalar.add("E", n["E_o1"], n["E_o2"])
    n["E"].backward()
    return Graph(n, n["E"])


def step(graph: Graph, rate: float = RATE) -> list[float]:
    """Weights after w' = w - rate * dE/dw, for w1 to w8; the biases are not changed."""
    return [graph[f"w{i}"] - rate * graph.gradient(f"w{i}") for i in range(1, 9)]


def error_after(steps: int) -> float:
    """E of network (a) after `steps` steps from WEIGHTS."""
    weights: Sequence[float] = WEIGHTS
    for _ in range(steps):
        weights = step(network(weights))
    return network(weights)["E"]


def circuit(**values: float) -> Graph:
    """Compute (b) and its gradients: f = 1 / (1 + exp(-(w0*x0 + w1*x1 + w2))), gate by gate."""
    n = {name: Scalar(value, name) for name, value in {**CIRCUIT, **values}.items()}
    n["w0*x0"] = scalar.multiply("w0*x0", n["w0"], n["x0"])
    n["w1*x1"] = scalar.multiply("w1*x1", n["w1"], n["x1"])
    n["first sum"] = scalar.add("first sum", n["w0*x0"], n["w1*x1"])
    n["sum"] = scalar.add("sum", n["first sum"], n["w2"])
    n["-sum"] = scalar.scale("-sum", -1.0, n["sum"])
    n["exp"] = scalar.exp("exp", n["-sum"])
    n["1 + exp"] = scalar.shift("1 + exp", 1.0, n["exp"])
    n["f"] = scalar.reciprocal("f", n["1 + exp"])
    n["f"].backward()
    return Graph(n, n["f"])


def check_gradient(graph: Graph, name: str, f: Callable[[float], float]) -> float:
    """Compute the gradient by `name` in three ways; returns the largest relative difference. f(value): the result.

    Raises CatdogError where they disagree.
    """
    value, gradient = graph[name], graph.gradient(name)
    # Central differences at h and h/2, the h^2 term of the error removed (Richardson).
    rough, fine = ((f(value + h) - f(value - h)) / (2 * h) for h in (1e-3, 5e-4))
    others = (scalar.derivative_along_paths(graph.result, graph.numbers[name]), (4 * fine - rough) / 3)
    difference = max(abs(other - gradient) for other in others) / abs(gradient)
    if not difference < 1e-7:
        raise CatdogError(
            f"the gradient of {graph.result.name} by {name} is {gradient:.9g} by backpropagation and {others} in two "
            "other ways: this is a defect of catdog, please report it."
        )
    return difference


def _e_with(weight: int) -> Callable[[float], float]:
    return lambda value: network([*WEIGHTS[: weight - 1], value, *WEIGHTS[weight:]])["E"]


def _f_with(name: str) -> Callable[[float], float]:
    return lambda value: circuit(**{name: value})["f"]


def as_text() -> str:
    """Format both examples, every value."""
    return "\n".join([*_network_as_text(), "", "", *_circuit_as_text()])


def _network_as_text() -> list[str]:
    n = network()
    after = network(step(n))
    lines = [
        "(a) A network with two inputs, two hidden neurons and two outputs",
        "",
        f"inputs   i1 = {INPUTS[0]:.2f}  i2 = {INPUTS[1]:.2f}",
        f"targets  o1 = {TARGETS[0]:.2f}  o2 = {TARGETS[1]:.2f}",
        "weights  " + "  ".join(f"w{i} = {w:.2f}" for i, w in enumerate(WEIGHTS, start=1)),
        f"biases   b1 = {BIASES[0]:.2f}  b2 = {BIASES[1]:.2f} (kept as they are)     learning rate {RATE}",
        "",
        "Forward: each neuron sums weight * input and its bias, then applies sigmoid(x) = 1 / (1 + exp(-x)).",
    ]
    for unit, (w, v), (x, y), b in (
        ("h1", ("w1", "w2"), ("i1", "i2"), "b1"),
        ("h2", ("w3", "w4"), ("i1", "i2"), "b1"),
        ("o1", ("w5", "w6"), ("out_h1", "out_h2"), "b2"),
        ("o2", ("w7", "w8"), ("out_h1", "out_h2"), "b2"),
    ):
        lines.append(f"  net_{unit} = {w}*{x} + {v}*{y} + {b} = {n[f'net_{unit}']:.9f}")
        lines.append(f"  out_{unit} = sigmoid(net_{unit}) = {n[f'out_{unit}']:.9f}")
    lines += [
        "",
        "Loss: half the squared distance from the target.",
        *(f"  E_o{i} = ({target} - out_o{i})^2 / 2 = {n[f'E_o{i}']:.9f}" for i, target in enumerate(TARGETS, start=1)),
        f"  E = E_o1 + E_o2 = {n['E']:.9f}",
        "",
        "Backward: the chain rule, along each path from E down to the weight.",
        *_written_out(n, "w5"),
        *_written_out(n, "w1"),
        "",
        "Step: w' = w - learning rate * dE/dw. Each gradient was also summed over its paths and measured by",
        "central differences; the last column is the largest relative difference.",
        "      w             dE/dw         w'            agrees to",
    ]
    for i, (before, moved) in enumerate(zip(WEIGHTS, step(n), strict=True), start=1):
        difference = check_gradient(n, f"w{i}", _e_with(i))
        lines.append(f"  w{i}  {before:.9f}  {n.gradient(f'w{i}'):>12.9f}   {moved:.9f}   {difference:.0e}")
    lines += [
        "",
        "Forward again, with the new weights:",
        f"  out_o1 = {after['out_o1']:.9f}  out_o2 = {after['out_o2']:.9f}",
        f"  E = {after['E']:.9f}; it was {n['E']:.9f}",
        f"  after 10,000 such steps E = {error_after(10_000):.4e}",
    ]
    return lines


def _written_out(graph: Graph, name: str) -> list[str]:
    """Format dE/dw as a sum over paths: in letters, in numbers, and the sum."""
    lines, shares = [], []
    for path in scalar.paths(graph.result, graph.numbers[name]):
        factors = [(f"d{n.name}/d{parent.name}", slope) for n, parent, slope in path if n.name != "E"]
        shares.append(math.prod(slope for _, slope in factors))
        start = f"  dE/d{name} = " if len(shares) == 1 else " " * (8 + len(name)) + "+ "
        lines.append(start + " * ".join(letters for letters, _ in factors))
        numbers = " * ".join(f"{slope:.9f}" for _, slope in factors)
        lines.append(" " * (8 + len(name)) + f"= {numbers} = {shares[-1]:.9f}")
    if len(shares) > 1:
        total = " + ".join(f"{share:.9f}" for share in shares).replace("+ -", "- ")
        lines.append(" " * (8 + len(name)) + f"= {total} = {sum(shares):.9f}")
    return lines


def _circuit_as_text() -> list[str]:
    n = circuit()
    lines = [
        "(b) A circuit: f = sigmoid(w0*x0 + w1*x1 + w2)",
        "",
        "inputs   " + "  ".join(f"{name} = {value:g}" for name, value in CIRCUIT.items()),
        "",
        "Each gate knows its own derivative and multiplies the gradient that comes from behind with it.",
        "  gate         value     df/d(value)",
        *(f"  {name:<10} {v.value:>8.4f}   {v.gradient:>8.4f}" for name, v in n.numbers.items() if name not in CIRCUIT),
        "",
        f"The last four gates together are the sigmoid: its derivative is (1 - f) * f = (1 - {n['f']:.4f}) * "
        f"{n['f']:.4f} = {(1 - n['f']) * n['f']:.4f}, in one step.",
        "",
        "  input     value     gradient   agrees to",
    ]
    for name in CIRCUIT:
        difference = check_gradient(n, name, _f_with(name))
        lines.append(f"  {name:<6} {n[name]:>8.4f}   {n.gradient(name):>10.4f}   {difference:.0e}")
    return lines
