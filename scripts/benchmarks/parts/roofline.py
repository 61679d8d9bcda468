"""How near a training step comes to what the processor can do."""

from collections.abc import Callable

from benchmarks.contender import Contender, Figures, Part, said
from benchmarks.photos import Place
from benchmarks.processes import run_peer
from benchmarks.results import Limit

_STEPS: dict[str, tuple[object, ...]] = {
    "default": ("default",),
    "best": ("best",),
    "article": ("article", "--steps", 3),
}


def _step(*flags: object) -> Callable[[Place, int], Figures]:
    return lambda place, round: said(run_peer("roofline", *flags, folder=place.work))


def roofline() -> Part:
    return Part(
        "roofline",
        "A training step by itself on drawn numbers: its matrix products and convolutions beside a large matrix "
        "product, its passes over all weights (optimizer, average, norm of the gradient) beside one over arrays "
        "that no cache holds; all in float32 on all threads.",
        [Contender(name, _step(*flags)) for name, flags in _STEPS.items()],
        [
            Limit(f"{name}: {what}", name, figure, least=0.7)
            for name in _STEPS
            for what, figure in {
                "products over the peak": "products_of_peak",
                "passes over the bandwidth": "passes_of_bandwidth",
            }.items()
        ],
    )
