"""Selects photos of an evaluation by confidence and correctness, and loads their thumbnails."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from catdog.base.text import on_one_line
from catdog.data.listing import Listing
from catdog.drawing.page import thumbnail

MOST = 24  # photos of each gallery


@dataclass(frozen=True)
class EvaluatedPhoto:
    """Thumbnail (None if it can no longer be read), path, class, and the predicted class with its probability."""

    photo: Image.Image | None
    path: str
    label: str
    prediction: str
    probability: float

    def caption(self) -> str:
        """Class, prediction if wrong, and probability, on one line."""
        called = "" if self.prediction == self.label else f"called {self.prediction}, "
        return on_one_line(f"{self.label}, {called}{self.probability:.1%}")


def worst_mistakes(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of wrong predictions, the most confident first. labels: N; probabilities: N x C."""
    predictions, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    return _first(np.flatnonzero(predictions != labels), -confidence)


def surest_correct(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of correct predictions, the most confident first."""
    predictions, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    return _first(np.flatnonzero(predictions == labels), -confidence)


def least_sure(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of all predictions, the least confident first."""
    return _first(np.arange(len(probabilities)), probabilities.max(axis=1))


def _first(indices: NDArray[np.int64], key: NDArray[np.float64]) -> NDArray[np.int64]:
    return indices[np.argsort(key[indices], kind="stable")][:MOST]


def load(chosen: NDArray[np.int64], photos: Listing, probabilities: NDArray[np.float64]) -> list[EvaluatedPhoto]:
    """Load the chosen photos as thumbnails that keep their aspect ratio. probabilities: N x C, of all `photos`."""
    shown = []
    for i in chosen:
        prediction = int(probabilities[i].argmax())
        shown.append(
            EvaluatedPhoto(
                thumbnail(photos.path(i)),
                photos.paths[i],
                photos.classes[photos.labels[i]],
                photos.classes[prediction],
                float(probabilities[i, prediction]),
            )
        )
    return shown
