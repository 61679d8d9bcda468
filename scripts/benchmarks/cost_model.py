"""What a training costs in seconds, from a few constants of the machine: a model on paper, for scripts/scaling.py.

A step on p processes, each with its slice of the batch of B photos, costs

    t(p)                what it costs whatever is in it: Python, kernels started, the sums that every step has
    + n l(p)            for each of the n hidden layers; on several processes the sums of batch normalisation
    + B flops / F       products, at the rate of all cores together
    + B values g        photos gathered, changed and normalised, by pixel values
    + p 52 W / M        passes over the W weights: optimizer, average, norm; each process does them all
    + 4 W / R(p)        the gradients summed over the processes, if there are several

and an epoch is its steps, the decoding of its photos where they are not kept, the evaluation, which is the forward
third of the products for each photo and its mirror image, and its end, e(p) + 16 W / C(p), with the checkpoint. A
training is its start and end, the decoding of all photos where they are kept, and its epochs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

PASSES = (
    13 * 4
)  # bytes that are read or written for each weight in a step: AdamW 7, average 3, norm 1, clipping 2 numbers
CHECKPOINT = 4 * 4  # bytes of a weight in a checkpoint: itself, AdamW's two, the average
VIEWS = 2  # a photo is evaluated with its mirror image


@dataclass(frozen=True)
class Work:
    """A training: `photos` to train on, `val` to validate on, squares of `side` pixels, `hidden` layers, 2 classes."""

    photos: int
    val: int
    side: int
    hidden: tuple[int, ...]
    batch: int
    epochs: int

    @property
    def values(self) -> int:
        """Numbers of a photo."""
        return 3 * self.side**2

    @property
    def weights(self) -> int:
        widths = (self.values, *self.hidden, 2)
        return sum((before + 1) * after for before, after in pairwise(widths))

    @property
    def flops(self) -> int:
        """Of a photo, forward and backward; the first layer has no gradient of its inputs."""
        first = self.values * (self.hidden or (2,))[0]
        return 6 * self.weights - 2 * first

    @property
    def steps(self) -> int:
        """Of an epoch, in batches of equal size."""
        return math.ceil(self.photos / self.batch)


@dataclass(frozen=True)
class Machine:
    """cores: that share all work. flops, values, passes: F, g and M of the module's docstring. By processes, what it
    calls t, l, R, e and C: step, layer, reduce, epoch, checkpoint; and start, seconds of a training with nothing in it.

    decode: core-seconds of a photo, by side.
    """

    cores: int
    flops: float
    values: float
    passes: float
    step: Mapping[int, float]
    layer: Mapping[int, float]
    reduce: Mapping[int, float]
    epoch: Mapping[int, float]
    checkpoint: Mapping[int, float]
    start: Mapping[int, float]
    decode: Mapping[int, float]

    def decode_seconds(self, photos: int, side: int) -> float:
        """By all cores; between two sides that were measured a straight line, beyond them that of the nearest."""
        known = sorted(self.decode)
        low = max((s for s in known if s <= side), default=known[0])
        high = min((s for s in known if s >= side), default=known[-1])
        share = (side - low) / (high - low) if high > low else 0.0
        return photos * (self.decode[low] + share * (self.decode[high] - self.decode[low])) / self.cores


def step_parts(work: Work, machine: Machine, processes: int = 1) -> dict[str, float]:
    """Seconds of a step, by what they go into."""
    batch = work.photos / work.steps
    parts = {
        "start of a step": machine.step[processes],
        "layers": len(work.hidden) * machine.layer[processes],
        "products": batch * work.flops / machine.flops,
        "batch": batch * work.values * machine.values,
        "passes over the weights": processes * PASSES * work.weights / machine.passes,
    }
    if processes > 1:
        parts["gradients summed"] = 4 * work.weights / machine.reduce[processes]
    return parts


def training_parts(work: Work, machine: Machine, processes: int = 1, kept: bool = True) -> dict[str, float]:
    """Seconds of a training, by what they go into. kept: photos are decoded once, else in every epoch."""
    parts = {name: work.epochs * work.steps * seconds for name, seconds in step_parts(work, machine, processes).items()}
    evaluated = VIEWS * work.val * (work.flops / 3 / machine.flops + work.values * machine.values)
    decoded = machine.decode_seconds(work.photos + work.val, work.side)
    end = machine.epoch[processes] + CHECKPOINT * work.weights / machine.checkpoint[processes]
    return {
        "start": machine.start[processes],
        "decoding": decoded * (1 if kept else work.epochs),
        **parts,
        "evaluation": work.epochs * evaluated,
        "end of an epoch": work.epochs * end,
    }
