import numpy as np
import pytest
import torch
from sklearn.metrics import hinge_loss
from torch.nn import functional as F

from catdog.trainer.losses import SoftmaxLoss, SVMLoss, balanced_weights

LOGITS = torch.tensor([[1.5, -0.3, 0.2], [0.1, 0.2, 3.0], [-2.0, 0.5, 0.4], [4.0, 0.0, -1.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 0])
WEIGHTS = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)


def test_softmax_loss_is_minus_the_log_of_the_probability() -> None:
    probabilities = np.exp(LOGITS.numpy()) / np.exp(LOGITS.numpy()).sum(axis=1, keepdims=True)
    expected = -np.log(probabilities[range(4), LABELS]).mean()
    assert SoftmaxLoss()(LOGITS, LABELS).item() == pytest.approx(expected, abs=1e-12)


def test_label_smoothing_spreads_the_target() -> None:
    target = F.one_hot(LABELS, 3).double() * 0.9 + 0.1 / 3
    expected = -(target * F.log_softmax(LOGITS, dim=1)).sum(dim=1).mean()
    assert SoftmaxLoss(0.1)(LOGITS, LABELS).item() == pytest.approx(expected.item(), abs=1e-12)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_svm_loss_is_the_hinge_of_torch(squared: bool, weights: torch.Tensor | None) -> None:
    # torch's own divides by the number of classes, and, with weights, by the number of photos.
    each = F.multi_margin_loss(LOGITS, LABELS, p=2 if squared else 1, reduction="none") * 3
    scale = torch.ones(4, dtype=torch.float64) if weights is None else weights[LABELS]
    expected = (each * scale).sum() / scale.sum()
    assert SVMLoss(squared, class_weights=weights)(LOGITS, LABELS).item() == pytest.approx(expected.item(), abs=1e-12)


def test_svm_loss_for_two_classes_is_the_hinge_of_scikit_learn() -> None:
    scores = LOGITS[:, :2]
    labels = torch.tensor([0, 1, 1, 0])
    expected = hinge_loss(labels.numpy() * 2 - 1, (scores[:, 1] - scores[:, 0]).numpy())
    assert SVMLoss()(scores, labels).item() == pytest.approx(expected, abs=1e-12)


def test_gradients_agree_with_finite_differences() -> None:
    for loss in (SoftmaxLoss(0.1), SoftmaxLoss(class_weights=WEIGHTS), SVMLoss(), SVMLoss(True, class_weights=WEIGHTS)):
        assert torch.autograd.gradcheck(lambda x, loss=loss: loss(x, LABELS), LOGITS.clone().requires_grad_())


def test_balanced_weights_let_each_class_weigh_the_same() -> None:
    counts = [10, 30, 60]
    weights = balanced_weights(counts)
    assert torch.allclose(weights * torch.tensor(counts), torch.full((3,), 100 / 3))
    assert balanced_weights([7, 7]).tolist() == [1, 1]
