"""The training step on a GPU."""

from collections.abc import Callable

from benchmarks.contender import Contender, Figures, Part, said
from benchmarks.photos import Place
from benchmarks.processes import run_peer
from benchmarks.results import Problem

_PRECISIONS = ("float32", "bfloat16", "float16")


def _step(precision: str) -> Callable[[Place, int], Figures]:
    def measure(place: Place, round: int) -> Figures:
        found = said(run_peer("gpu", precision, folder=place.work))
        if not found["gpus"]:
            raise Problem("torch sees no GPU on this machine.")
        return found

    return measure


def gpu() -> Part:
    return Part(
        "gpu",
        "A training step with the default network, augmentation and batch, pixels on the GPU, beside what the bytes "
        "moved and the multiplications would take at the rates of a large copy and a large matrix product there.",
        [Contender(precision, _step(precision)) for precision in _PRECISIONS],
    )
