"""The two examples of `catdog explain --textbook` as JSON, with the weights that steps have led to."""

from collections.abc import Mapping
from typing import Any

from catdog.errors import CatdogError
from catdog.tools.explain import textbook
from catdog.tools.explain.textbook import BIASES, CIRCUIT, INPUTS, RATE, TARGETS, WEIGHTS, Graph

EXAMPLES = ("network", "circuit")
MOST = 100.0  # magnitude of a weight
_CIRCUIT_WEIGHTS = ("w0", "w1", "w2")


def start(example: str) -> dict[str, float]:
    """The weights that the textbook begins with, by name."""
    if example == "network":
        return {f"w{i}": value for i, value in enumerate(WEIGHTS, start=1)}
    return {name: CIRCUIT[name] for name in _CIRCUIT_WEIGHTS}


def after_steps(example: str, weights: Mapping[str, float], rate: float, times: int) -> dict[str, Any]:
    """All values and gradients after so many steps w' = w - rate * gradient from these weights."""
    try:
        for _ in range(times):
            graph = _graph(example, weights)
            weights = {name: value - rate * graph.gradient(name) for name, value in weights.items()}
        graph = _graph(example, weights)
    except OverflowError:
        raise CatdogError(f"a learning rate of {rate:g} leads too far; take a smaller one.") from None
    return {
        "example": example,
        "rate": RATE,
        "weights": dict(weights),
        "start": start(example),
        "constants": {"targets": TARGETS, "inputs": INPUTS, "biases": BIASES} if example == "network" else {},
        "result": graph.result.name,
        "numbers": {name: _number_as_json(graph, name) for name in graph.numbers},
    }


def _graph(example: str, weights: Mapping[str, float]) -> Graph:
    return textbook.network(list(weights.values())) if example == "network" else textbook.circuit(**weights)


def _number_as_json(graph: Graph, name: str) -> dict[str, Any]:
    """A number of the graph, the derivative of the result by it, and its own by what it is computed from."""
    n = graph.numbers[name]
    return {"value": n.value, "gradient": n.gradient, "by": {parent.name: slope for parent, slope in n.parents}}
