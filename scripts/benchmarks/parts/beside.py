"""How long a training takes while other programs keep cores busy."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.contender import Contender, Figures, Part, catdog_train
from benchmarks.photos import Place
from benchmarks.results import Limit

_PHOTOS = 6000
_MOST = {1: 1.35, 2: 1.8}  # busy processes -> seconds over those alone


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that compute all the while."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _train(others: int) -> Callable[[Place, int], Figures]:
    def measure(place: Place, round: int) -> Figures:
        with place.fresh() as folder, place.fresh() as first:
            data = place.subset(min(_PHOTOS, place.sizes.photos or _PHOTOS))
            flags = ("--epochs", place.sizes.epochs, "--seed", round)
            cache = place.work / "cache-beside"
            if not cache.exists():  # the decoding is done once, and not measured
                catdog_train(data, Path(first), "--epochs", 1, cache=cache)
            with busy(others):
                return {"seconds": catdog_train(data, Path(folder), *flags, cache=cache).seconds}

    return measure


def beside(epochs: int) -> Part:
    names = {0: "alone", 1: "beside one busy process", 2: "beside two busy processes"}
    return Part(
        "beside",
        f"{epochs} epochs with the defaults on 6,000 photos that are decoded already, from the start of the process to "
        "its end, while so many processes each keep a core busy.",
        [Contender(name, _train(others)) for others, name in names.items()],
        [
            Limit(f"seconds {names[others]} over those alone", names[others], "seconds", "ratio", "alone", most=most)
            for others, most in _MOST.items()
        ],
    )
