"""The constants of the model on paper, `benchmarks.cost_model`, from what `benchmarks.parts.constants` has measured."""

from collections.abc import Sequence
from statistics import median

import numpy as np

from benchmarks.cost_model import CHECKPOINT, PASSES, Machine, Work
from benchmarks.parts.constants import NAME, PROCESSES, SIDES
from benchmarks.results import Problem, Results

MEASURED = [  # 16 steps an epoch; too few validation photos for what is fitted when a training has ended
    Work(16 * batch, 16, side, hidden, batch, 3)
    for side, hidden, batch in (
        (16, (64,), 64),
        (16, (128, 128, 128, 128), 64),
        (24, (256, 256), 128),
        (24, (768, 768), 256),
        (32, (2048,), 64),
        (48, (512,), 256),
        (64, (256, 256, 256), 128),
        (64, (1024,), 64),
        (96, (512,), 128),
    )
]


def machine_of(found: Results, cores: int) -> Machine:
    """The machine that was measured; of several rounds the median."""

    def middle(contender: str, figure: str) -> float:
        if not (values := found.figures(NAME, contender, figure)):
            raise Problem(
                f"{contender} is not among the constants; measure: python scripts/benchmark.py --only {NAME}."
            )
        return median(values.values())

    def middles(processes: int, what: str) -> np.ndarray:
        return np.array([middle(f"steps by {processes}", f"{what} {number}") for number in range(len(MEASURED))])

    weights = [work.weights for work in MEASURED]
    ones, layers = [1.0] * len(MEASURED), [len(work.hidden) for work in MEASURED]
    products = [work.batch * work.flops for work in MEASURED]
    values = [work.batch * work.values for work in MEASURED]
    step, layer, reduce, epoch, checkpoint = (dict[int, float]() for _ in range(5))
    alone = middles(1, "step")
    step[1], layer[1], flop, value, a_pass = fit((ones, layers, products, values, weights), alone, alone)
    reduce[1] = np.inf
    for n in PROCESSES[1:]:
        took = middles(n, "step")
        rest = took - flop * np.array(products) - value * np.array(values) - n * a_pass * np.array(weights)
        step[n], layer[n], reduced = fit((ones, layers, weights), rest, took)
        reduce[n] = 4 / reduced if reduced else np.inf
    for n in PROCESSES:
        ends = middles(n, "end")
        epoch[n], kept = fit((ones, weights), ends, ends)
        checkpoint[n] = CHECKPOINT / kept if kept else np.inf
    return Machine(
        cores=cores,
        flops=1 / flop if flop else np.inf,
        values=value,
        passes=PASSES / a_pass if a_pass else np.inf,
        step=step,
        layer=layer,
        reduce=reduce,
        epoch=epoch,
        checkpoint=checkpoint,
        start={n: middle(f"start of {n}", "seconds") for n in PROCESSES},
        decode={side: cores / middle(f"decode {side} x {side}", "photos_per_second") for side in SIDES},
    )


def fit(costs: Sequence[Sequence[float]], took: np.ndarray, scale: np.ndarray) -> list[float]:
    """The factors, not below 0, of the costs (K x N) whose sum comes nearest to `took` (N), relative to `scale` (N)."""
    rows = np.array(costs, float) / scale
    left, factors = list(range(len(rows))), np.zeros(len(rows))
    while left:
        size = rows[left].max(axis=1)
        found = np.linalg.lstsq((rows[left] / size[:, None]).T, took / scale, rcond=None)[0] / size
        if (found >= 0).all():
            factors[left] = found
            break
        left = [place for place, factor in zip(left, found, strict=True) if factor > 0]
    return [float(factor) for factor in factors]
