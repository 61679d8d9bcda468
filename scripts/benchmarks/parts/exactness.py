"""What the reduced decode costs in pixels and in accuracy."""

import functools
from collections.abc import Callable
from pathlib import Path

from benchmarks.contender import Contender, Figures, Part, catdog_train, epochs_of, said
from benchmarks.photos import SPLITS, Place
from benchmarks.processes import run_peer
from benchmarks.results import Limit

_SIDES = (32, 64)


def _levels(folder: Callable[[Place], Path], side: int) -> Callable[[Place, int], Figures]:
    return lambda place, round: said(
        run_peer("pixels", "difference", folder(place), "--image-size", side, folder=place.work)
    )


@functools.cache
def _decoded_in_full(place: Place, side: int) -> Path:
    """The photos as PNG files of the size that is trained on, each decoded in full and then resized."""
    root = place.work / f"full-{side}"
    for split in SPLITS:
        run_peer(
            *("pixels", "copy", place.photos() / split, "--image-size", side, "--to", root / split), folder=place.work
        )
    return root


def _accuracy(data: Callable[[Place], Path], side: int) -> Callable[[Place, int], Figures]:
    def measure(place: Place, round: int) -> Figures:
        with place.fresh() as folder:
            flags = ("--image-size", side, side, "--epochs", place.sizes.epochs, "--seed", round)
            cache = place.work / "cache"
            return {"accuracy": epochs_of(catdog_train(data(place), Path(folder), *flags, cache=cache))[-1].accuracy}

    return measure


def pixels(epochs: int) -> Part:
    contenders, limits = [], []
    folders: dict[str, Callable[[Place], Path]] = {
        "validation photos": lambda place: place.photos() / "val",
        "native photos": lambda place: place.native,
    }
    for side in _SIDES:
        contenders += [
            Contender(f"{name} at {side} x {side}", _levels(folder, side), rounds=1) for name, folder in folders.items()
        ]
        reduced, full = (f"trained at {side} x {side}, {how}" for how in ("reduced decode", "decode in full"))
        contenders += [
            Contender(reduced, _accuracy(lambda place: place.photos(), side)),
            Contender(full, _accuracy(functools.partial(_decoded_in_full, side=side), side)),
        ]
        limits.append(
            Limit(
                f"accuracy at {side} x {side} above that with a decode in full, mean",
                *(reduced, "accuracy", "mean difference", full),
                least=0,
            )
        )
    return Part(
        "pixels",
        "How far the pixels of the reduced decode are from those of a decode in full that is then resized, in levels "
        f"of 0 to 255; and the accuracy on validation photos after {epochs} epochs with either, all else the defaults, "
        "a seed a round.",
        contenders,
        limits,
    )
