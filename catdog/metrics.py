"""Metrics of a classifier from NumPy arrays: accuracy interval, confusion matrix, ROC, calibration, log loss."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Labels = NDArray[np.integer]


def accuracy_interval(correct: int, total: int) -> tuple[float, float]:
    """95% Wilson score interval of the accuracy `correct` / `total` (Wilson 1927); within [0, 1]."""
    if total == 0:
        return 0.0, 1.0
    z = 1.959963984540054
    share = correct / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def confusion_matrix(labels: Labels, predicted: Labels, classes: int) -> NDArray[np.int64]:
    """Confusion matrix, C x C counts: rows are the true class, columns the predicted one."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def mistakes(confusion: NDArray[np.integer], most: int) -> list[tuple[int, int, int]]:
    """The most frequent mistakes: (true class, predicted class, number of photos). confusion: int, C x C."""
    wrong = confusion - np.diag(confusion.diagonal())
    rows, columns = np.nonzero(wrong)  # of many classes few are ever confused
    counts = wrong[rows, columns]
    order = np.argsort(-counts, kind="stable")[:most]
    return list(zip(rows[order].tolist(), columns[order].tolist(), counts[order].tolist(), strict=True))


def roc_curve(positive: NDArray[np.bool_], score: Array) -> tuple[Array, Array]:
    """ROC curve: (false positive rates, true positive rates) at every threshold, from (0, 0) to (1, 1).

    Equal scores make one point.
    """
    order = np.argsort(-score, kind="stable")
    last_of_equals = np.append(np.diff(score[order]) != 0, True)
    true = np.cumsum(positive[order])[last_of_equals]
    false = np.cumsum(~positive[order])[last_of_equals]
    return np.concatenate(([0.0], false / max(false[-1], 1))), np.concatenate(([0.0], true / max(true[-1], 1)))


def auc(labels: Labels, probabilities: Array) -> float:
    """Area under the ROC curve: of the second class where there are two, else the mean of one class against the rest.

    NaN where fewer than two classes are present.
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
    """Photos whose confidence (highest probability) is in one bin: their count, mean confidence and accuracy."""

    count: int
    confidence: float
    accuracy: float


def calibration_bins(labels: Labels, probabilities: Array, bins: int = 15) -> list[CalibrationBin]:
    """Calibration bins of equal width over the confidence (the highest probability); empty ones are left out."""
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    found = []
    for b in range(bins):
        inside = which == b
        if inside.any():
            found.append(
                CalibrationBin(int(inside.sum()), float(confidence[inside].mean()), float(correct[inside].mean()))
            )
    return found


def expected_calibration_error(labels: Labels, probabilities: Array, bins: int = 15) -> float:
    """Expected calibration error: mean |accuracy - confidence| over bins, weighted by count (Guo 2017, equation 3)."""
    found = calibration_bins(labels, probabilities, bins)
    return sum(b.count * abs(b.confidence - b.accuracy) for b in found) / max(len(labels), 1)


def log_loss(labels: Labels, logits: Array) -> float:
    """Log loss (cross-entropy): mean of -log softmax(logits) of the true class, in nats. logits: B x C."""
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]).mean())


def fit_temperature(labels: Labels, logits: Array) -> float:
    """Fit the temperature T > 0 of softmax(logits / T) to N labels (Guo 2017, section 4.2), with a prior around T = 1.

    Without a prior, labels that are all predicted correctly send T to 0, and each later mistake is then a certain one.
    1/T has a Gamma(5, 4) prior: mode 1, standard deviation of log T about 1/2. N times the log loss plus the prior's
    4 (1/T + log T) is convex in 1/T, so golden-section search on log T between 1/100 and 100 finds the minimum. 1 where
    there are no labels, or a logit is NaN or infinite.
    """
    if len(labels) == 0 or not np.isfinite(logits).all():
        return 1.0

    def objective(log_t: float) -> float:
        return len(labels) * log_loss(labels, logits / math.exp(log_t)) + 4 * (math.exp(-log_t) + log_t)

    low, high = math.log(0.01), math.log(100.0)
    golden = (math.sqrt(5) - 1) / 2
    while high - low > 1e-6:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if objective(left) < objective(right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)
