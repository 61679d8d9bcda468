"""Figures that say how good a classifier is. All take NumPy arrays; nothing here knows a network."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Labels = NDArray[np.integer]


def accuracy_interval(correct: int, total: int) -> tuple[float, float]:
    """The 95% Wilson score interval of a share of `correct` in `total` (Wilson 1927); stays within [0, 1]."""
    if total == 0:
        return 0.0, 1.0
    z = 1.959963984540054
    share = correct / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def confusion_matrix(labels: Labels, predicted: Labels, classes: int) -> NDArray[np.int64]:
    """C x C counts; rows are the true class, columns the predicted one."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def roc_curve(positive: NDArray[np.bool_], score: Array) -> tuple[Array, Array]:
    """(false positive rate, true positive rate) at every threshold, from (0, 0) to (1, 1).

    Equal scores fall together.
    """
    order = np.argsort(-score, kind="stable")
    last_of_equals = np.append(np.diff(score[order]) != 0, True)
    true = np.cumsum(positive[order])[last_of_equals]
    false = np.cumsum(~positive[order])[last_of_equals]
    return np.concatenate(([0.0], false / max(false[-1], 1))), np.concatenate(([0.0], true / max(true[-1], 1)))


def auc(labels: Labels, probabilities: Array) -> float:
    """Area under the ROC curve: for two classes that of the second; for more, the mean over one class against the rest.

    Not a number where fewer than two classes are present.
    """
    classes = probabilities.shape[1]
    areas = []
    for c in [1] if classes == 2 else range(classes):
        positive = labels == c
        if positive.any() and not positive.all():
            false, true = roc_curve(positive, probabilities[:, c])
            areas.append(float((np.diff(false) * (true[1:] + true[:-1]) / 2).sum()))
    return float(np.mean(areas)) if areas else math.nan


@dataclass(frozen=True)
class CalibrationBin:
    """Photos whose highest probability fell between two bounds: how many, its mean, and how often it was right."""

    count: int
    confidence: float
    accuracy: float


def calibration_bins(labels: Labels, probabilities: Array, bins: int = 15) -> list[CalibrationBin]:
    """Bins of equal width over the confidence (the highest probability); empty ones are left out."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    found = []
    for b in range(bins):
        inside = which == b
        if inside.any():
            found.append(
                CalibrationBin(int(inside.sum()), float(confidence[inside].mean()), float(right[inside].mean()))
            )
    return found


def expected_calibration_error(labels: Labels, probabilities: Array, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over the bins, weighed by their photos (Guo 2017, equation 3)."""
    found = calibration_bins(labels, probabilities, bins)
    return sum(b.count * abs(b.confidence - b.accuracy) for b in found) / max(len(labels), 1)


def log_loss(labels: Labels, logits: Array) -> float:
    """Mean of -log softmax(logits) of the true class, in nats."""
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]).mean())


def fit_temperature(labels: Labels, logits: Array) -> float:
    """The T > 0 for which softmax(logits / T) has the least log loss (Guo 2017, section 4.2).

    The loss is convex in 1/T, so golden-section search on log T between 1/100 and 100 finds it.
    """
    if len(labels) == 0 or not np.isfinite(logits).all():
        return 1.0
    low, high = math.log(0.01), math.log(100.0)
    golden = (math.sqrt(5) - 1) / 2
    while high - low > 1e-6:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if log_loss(labels, logits / math.exp(left)) < log_loss(labels, logits / math.exp(right)):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)
