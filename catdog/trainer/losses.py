"""What the network is scored by: softmax cross-entropy, or the hinge loss of a support vector machine.

Both take logits (float, B x C) and labels (int64, B), return the mean over the batch, and know class weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from catdog.config.settings import Training


class SoftmaxLoss(nn.Module):
    """-log of the probability that softmax gives the true class (cross-entropy), in nats.

    With `label_smoothing` s the target is 1 - s + s/C for the true class and s/C for the others (Szegedy 2016,
    section 7).
    """

    def __init__(self, label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, weight=self.class_weights, label_smoothing=self.label_smoothing)


class SVMLoss(nn.Module):
    """Multi-class hinge: the sum over the other classes j of max(0, 1 + s_j - s_y), or of its square.

    Weston and Watkins 1999; the form taught in Stanford's CS231n, "Multiclass Support Vector Machine loss".
    """

    def __init__(self, squared: bool = False, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.squared = squared
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        true_score = logits.gather(1, labels[:, None])
        hinges = (1 + logits - true_score).clamp(min=0)
        hinges = hinges.scatter(1, labels[:, None], 0.0)  # the true class is not compared with itself
        losses = (hinges.square() if self.squared else hinges).sum(dim=1)
        if self.class_weights is None:
            return losses.mean()
        weights = self.class_weights[labels]
        return (losses * weights).sum() / weights.sum()


def weight_of(labels: Tensor, criterion: nn.Module) -> Tensor | int:
    """What the photos of these `labels` weigh together in the mean that `criterion` takes over more of them."""
    weights = criterion.class_weights if isinstance(criterion, SoftmaxLoss | SVMLoss) else None
    return len(labels) if weights is None else weights[labels].sum()


def make_loss(training: Training, label_smoothing: float, weights: Tensor | None) -> nn.Module:
    """The loss that the configuration asks for."""
    if training.loss == "svm":
        return SVMLoss(training.squared_hinge, class_weights=weights)
    return SoftmaxLoss(label_smoothing, class_weights=weights)


def class_weights(training: Training, labels: Tensor, classes: int) -> Tensor | None:
    """A weight for each class, float32, from the number of its photos; None where all photos weigh the same."""
    if training.class_weights == "none":
        return None
    return balanced_weights(torch.bincount(labels, minlength=classes).tolist())


def balanced_weights(counts: list[int]) -> Tensor:
    """A weight a class, inversely proportional to its number of photos; 1 for each where they are equal.

    A class without photos weighs as one of a single photo.
    """
    counted = torch.tensor(counts, dtype=torch.float32).clamp_min(1)
    return counted.sum() / (len(counts) * counted)
