"""Automatic differentiation of scalars: each number keeps its operands and the local derivatives by them.

`Scalar.backward` multiplies these from the result to the inputs (backpropagation); `derivative_along_paths` computes
the same derivative as a sum over all paths through the graph.
"""

import math
from collections.abc import Iterator, Sequence


class Scalar:
    """Number with the operands it was computed from: `parents` holds each with the local derivative by it."""

    __slots__ = ("gradient", "name", "parents", "value")

    def __init__(self, value: float, name: str = "", parents: "Sequence[tuple[Scalar, float]]" = ()) -> None:
        self.value, self.name, self.parents = value, name, parents
        self.gradient = 0.0

    def backward(self) -> None:
        """Backpropagation: set `n.gradient` to d self / d n for every number n that self was computed from."""
        order = _in_order_of_computation(self)
        for n in order:
            n.gradient = 0.0
        self.gradient = 1.0
        for n in reversed(order):
            for parent, derivative in n.parents:
                parent.gradient += n.gradient * derivative  # the chain rule


def _in_order_of_computation(result: Scalar) -> list[Scalar]:
    order: list[Scalar] = []
    seen: set[int] = set()

    def visit(n: Scalar) -> None:
        if id(n) not in seen:
            seen.add(id(n))
            for parent, _ in n.parents:
                visit(parent)
            order.append(n)

    visit(result)
    return order


def paths(result: Scalar, source: Scalar) -> Iterator[list[tuple[Scalar, Scalar, float]]]:
    """Each path from `result` down to `source`: its steps (n, parent, d n / d parent)."""
    if result is source:
        yield []
    for parent, derivative in result.parents:
        for rest in paths(parent, source):
            yield [(result, parent, derivative), *rest]


def derivative_along_paths(result: Scalar, source: Scalar) -> float:
    """d result / d source as the sum over all paths of the product of their local derivatives."""
    return math.fsum(math.prod(derivative for _, _, derivative in path) for path in paths(result, source))


def weighted_sum(name: str, weights: Sequence[Scalar], inputs: Sequence[Scalar], bias: Scalar) -> Scalar:
    """w1*x1 + w2*x2 + ... + b, the sum of a neuron."""
    pairs = list(zip(weights, inputs, strict=True))
    value = math.fsum([*(w.value * x.value for w, x in pairs), bias.value])
    slopes = [slope for w, x in pairs for slope in ((w, x.value), (x, w.value))]
    return Scalar(value, name, [*slopes, (bias, 1.0)])


def sigmoid(name: str, x: Scalar) -> Scalar:
    """1 / (1 + exp(-x)); its derivative is s * (1 - s)."""
    s = 1 / (1 + math.exp(-x.value))
    return Scalar(s, name, [(x, s * (1 - s))])


def half_square(name: str, target: float, x: Scalar) -> Scalar:
    """(target - x)^2 / 2; its derivative is x - target."""
    return Scalar((target - x.value) ** 2 / 2, name, [(x, x.value - target)])


def add(name: str, *terms: Scalar) -> Scalar:
    return Scalar(math.fsum(term.value for term in terms), name, [(term, 1.0) for term in terms])


def multiply(name: str, a: Scalar, b: Scalar) -> Scalar:
    return Scalar(a.value * b.value, name, [(a, b.value), (b, a.value)])


def scale(name: str, factor: float, x: Scalar) -> Scalar:
    return Scalar(factor * x.value, name, [(x, factor)])


def shift(name: str, constant: float, x: Scalar) -> Scalar:
    return Scalar(constant + x.value, name, [(x, 1.0)])


def exp(name: str, x: Scalar) -> Scalar:
    value = math.exp(x.value)
    return Scalar(value, name, [(x, value)])


def reciprocal(name: str, x: Scalar) -> Scalar:
    return Scalar(1 / x.value, name, [(x, -1 / x.value**2)])
