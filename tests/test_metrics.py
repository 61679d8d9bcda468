import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from catdog import metrics

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 500)
LOGITS = RNG.normal(0, 2, (500, 3)) + 2 * np.eye(3)[LABELS]
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
TWO = np.round(PROBABILITIES[:, :2] / PROBABILITIES[:, :2].sum(axis=1, keepdims=True), 2)  # with many equal scores


def test_accuracy_interval_is_wilsons() -> None:
    # Published example: 8 of 10 gives 49.0% to 94.3% (Brown, Cai and DasGupta 2001 discuss the interval).
    assert metrics.accuracy_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert metrics.accuracy_interval(0, 10)[0] == 0
    assert metrics.accuracy_interval(10, 10)[1] == pytest.approx(1)
    assert metrics.accuracy_interval(0, 0) == (0, 1)


def test_confusion_matrix_and_auc_are_those_of_scikit_learn() -> None:
    predicted = PROBABILITIES.argmax(axis=1)
    assert (metrics.confusion_matrix(LABELS, predicted, 3) == sklearn_metrics.confusion_matrix(LABELS, predicted)).all()
    assert metrics.auc(LABELS, PROBABILITIES) == pytest.approx(
        sklearn_metrics.roc_auc_score(LABELS, PROBABILITIES, multi_class="ovr"), abs=1e-12
    )
    two = LABELS % 2
    assert metrics.auc(two, TWO) == pytest.approx(sklearn_metrics.roc_auc_score(two, TWO[:, 1]), abs=1e-12)
    assert math.isnan(metrics.auc(np.zeros(5, int), TWO[:5]))


def test_calibration_error_of_a_worked_example() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.35, 0.65], [0.4, 0.6]])
    labels = np.array([0, 1, 1, 1])
    # Confidence 0.9 twice, right once: gap 0.4. Confidence 0.65 and 0.6, right twice, in bins of their own.
    assert metrics.expected_calibration_error(labels, probabilities) == pytest.approx(
        0.5 * 0.4 + 0.25 * 0.35 + 0.25 * 0.4
    )


def test_log_loss_is_torchs_cross_entropy() -> None:
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(LOGITS), torch.from_numpy(LABELS))
    assert metrics.log_loss(LABELS, LOGITS) == pytest.approx(expected.item(), abs=1e-12)


def test_temperature_is_found_again() -> None:
    """Labels drawn from softmax(z): scores 3 z have temperature 3."""
    z = RNG.normal(0, 2, (20_000, 3))
    gumbel = RNG.gumbel(size=z.shape)
    labels = (z + gumbel).argmax(axis=1)
    assert metrics.fit_temperature(labels, 3 * z) == pytest.approx(3, rel=0.05)
    best = metrics.fit_temperature(LABELS, LOGITS)
    at = [metrics.log_loss(LABELS, LOGITS / t) for t in (best * 0.99, best, best * 1.01)]
    assert at[1] < min(at[0], at[2])
    assert metrics.fit_temperature(np.zeros(0, int), np.zeros((0, 2))) == 1
