import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import gamma
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
    assert metrics.fit_temperature(np.zeros(0, int), np.zeros((0, 2))) == 1


def test_temperature_is_the_most_probable_one_under_its_prior() -> None:
    """Against SciPy's density of the Gamma prior and scikit-learn's log loss, over a grid."""
    for labels, logits in [(LABELS, LOGITS), (LABELS[:9], LOGITS[:9]), (np.array([0, 1]), 8 * np.eye(2))]:
        inverse = np.linspace(0.1, 2, 400)
        log_posterior = [
            gamma.logpdf(b, a=5, scale=1 / 4)
            - len(labels) * sklearn_metrics.log_loss(labels, softmax(b * logits, axis=1), labels=range(logits.shape[1]))
            for b in inverse
        ]
        expected = 1 / inverse[np.argmax(log_posterior)]
        assert metrics.fit_temperature(labels, logits) == pytest.approx(expected, rel=0.01)


def test_temperature_does_not_make_certain_what_few_photos_show() -> None:
    """On fresh photos the fitted probabilities cost no more than those of T = 1, however few or many it was fitted on.

    Photos are one number x, N(-1, 1) or N(1, 1); the best scores are 2 x (Bayes), the network's are a multiple of them.
    """
    rng = np.random.default_rng(1)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(n) % 2
        x = rng.normal(2.0 * labels - 1)
        return labels, np.stack([-x, x], axis=1)

    fresh_labels, fresh = draw(20_000)
    for scale in (0.3, 1, 3):
        at_one = metrics.log_loss(fresh_labels, scale * fresh)
        losses = {}
        for n in (2, 10, 50, 200, 1000):
            fitted = [metrics.fit_temperature(y, scale * x) for y, x in (draw(n) for _ in range(40))]
            losses[n] = np.mean([metrics.log_loss(fresh_labels, scale * fresh / t) for t in fitted])
            assert losses[n] < at_one + 0.01, (scale, n)
        assert losses[1000] == pytest.approx(metrics.log_loss(fresh_labels, fresh), abs=0.003)
    certain = np.array([0, 1]), 8 * np.eye(2)
    assert metrics.fit_temperature(*certain) > 0.9  # no evidence in two photos, however sure their scores
