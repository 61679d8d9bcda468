"""Evaluates a network on photos: accuracy, loss, AUC, calibration error, confusion matrix. Needs NumPy alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catdog import metrics
from catdog.base.progress import bar
from catdog.data import pixel_cache as cache
from catdog.data.listing import Listing
from catdog.errors import CatdogError
from catdog.numpy_net import softmax
from catdog.predict import Classifier

_BATCH = 256


@dataclass(frozen=True)
class Evaluation:
    """Figures of one evaluation; `confusion[i][j]` counts photos of class i that were predicted as class j."""

    n: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    """95% confidence interval (Wilson score)."""
    loss: float
    """Mean of -log(probability of the true class), in nats."""
    auc: float | None
    """Area under the ROC curve; None where the photos are of one class only."""
    ece: float
    """Expected calibration error, 15 bins."""
    classes: tuple[str, ...]
    confusion: list[list[int]]
    baselines: dict[str, float]
    """Accuracy on the same photos of simple classifiers: the most frequent class of the training photos, the class
    whose training photos have the nearest mean colour, and those of `evaluation.baselines`, if fitted."""
    skipped: int

    def _repr_html_(self) -> str:
        from catdog.tools.evaluation.notebook import as_html

        return as_html(self)


def evaluate(
    classifier: Classifier,
    photos: Listing,
    cache_folder: str = "auto",
    answered: Mapping[str, NDArray[np.float64]] | None = None,
) -> tuple[Evaluation, cache.Decoded, NDArray[np.float64]]:
    """Evaluate on `photos`: (the figures, the pixels, the probabilities, N x C, of the N photos that could be read).

    answered: the probabilities of each photo, by its path, where they are known, and the network is not asked.

    Raises CatdogError if a class is not one of the model's, or no photo can be read.
    """
    card = classifier.card
    photos = photos.with_classes(classifier.classes, whose="the model")
    with bar("reading the photos", len(photos)) as progress:
        decoded = cache.decode_all(
            photos, card.architecture.image_size, card.resize, cache=cache_folder, threads=0, progress=progress.update
        )
    pixels = decoded.pixels
    if not len(pixels):
        raise CatdogError(
            f"{photos.root} holds no photos that can be read; give a folder of class folders with --data."
        )
    labels = np.array(readable(photos, decoded).labels)
    batches = [pixels[start : start + _BATCH] for start in range(0, len(pixels), _BATCH)]
    if answered is None:
        logits = []
        with bar("asking the network", len(pixels)) as progress:
            for batch in batches:
                logits.append(classifier.logits(batch))
                progress.update(len(batch))
        scaled = np.concatenate(logits) / card.temperature
    else:
        scaled = np.log(np.maximum([answered[path] for path in readable(photos, decoded).paths], 1e-12))
    colours = np.concatenate([batch.mean(axis=(2, 3)) for batch in batches])
    probabilities = softmax(scaled)
    predicted = probabilities.argmax(axis=1)
    correct = int((predicted == labels).sum())
    area = metrics.auc(labels, probabilities)
    return (
        Evaluation(
            n=len(labels),
            accuracy=correct / len(labels),
            accuracy_interval=metrics.accuracy_interval(correct, len(labels)),
            loss=metrics.log_loss(labels, scaled),
            auc=None if math.isnan(area) else area,
            ece=metrics.expected_calibration_error(labels, probabilities),
            classes=classifier.classes,
            confusion=metrics.confusion_matrix(labels, predicted, len(classifier.classes)).tolist(),
            baselines={
                "majority_class": float((labels == int(np.argmax(card.train_counts))).mean()),
                "nearest_mean_colour": float((_nearest(colours, np.array(card.mean_colours)) == labels).mean()),
            },
            skipped=len(decoded.skipped),
        ),
        decoded,
        probabilities,
    )


def readable(photos: Listing, decoded: cache.Decoded) -> Listing:
    """Select the photos whose pixels are in `decoded`, in that order."""
    return photos.select([i not in decoded.skipped for i in range(len(photos))])


def _nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Index of the nearest of the centres (C x D) to each of the points (N x D): N."""
    return ((points[:, None, :] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
