"""Which photos say most about a network, and what they look like."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from catdog.base.text import on_one_line
from catdog.data.listing import Listing
from catdog.errors import ImageError
from catdog.images.decoder import decode

MOST = 24  # photos of a kind
_SIDE = 240  # pixels of the longer side of a thumbnail


@dataclass(frozen=True)
class Shown:
    """A photo (None where it can no longer be read), its path, what is on it, and the answer with its probability."""

    photo: Image.Image | None
    path: str
    label: str
    answer: str
    probability: float

    def in_words(self) -> str:
        called = "" if self.answer == self.label else f"called {self.answer}, "
        return on_one_line(f"{self.label}, {called}{self.probability:.1%}")


def worst_mistakes(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of the wrong answers, the surest first. labels: N; probabilities: N x C."""
    answers, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    return _first(np.flatnonzero(answers != labels), -sure)


def surest_right(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of the right answers, the surest first."""
    answers, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    return _first(np.flatnonzero(answers == labels), -sure)


def least_sure(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of all answers, the least sure first."""
    return _first(np.arange(len(probabilities)), probabilities.max(axis=1))


def _first(indices: NDArray[np.int64], key: NDArray[np.float64]) -> NDArray[np.int64]:
    return indices[np.argsort(key[indices], kind="stable")][:MOST]


def show(chosen: NDArray[np.int64], photos: Listing, probabilities: NDArray[np.float64]) -> list[Shown]:
    """The chosen photos of `photos`, whose answers are `probabilities` (N x C), as thumbnails in their own shape."""
    shown = []
    for i in chosen:
        answer = int(probabilities[i].argmax())
        try:
            photo = Image.fromarray(decode(photos.path(i)))
            photo.thumbnail((_SIDE, _SIDE))
        except ImageError:  # gone, or changed, since it was evaluated
            photo = None
        shown.append(
            Shown(
                photo,
                photos.paths[i],
                photos.classes[photos.labels[i]],
                photos.classes[answer],
                float(probabilities[i, answer]),
            )
        )
    return shown
