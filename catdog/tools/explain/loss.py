"""The loss of one photo and its derivative by the logits, in float64: softmax cross-entropy, or the hinge of an SVM.

As in `catdog.trainer.losses`, without its label smoothing and class weights: one photo with one label.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catdog.tools.explain.backprop import Floats


@dataclass(frozen=True)
class Loss:
    """kind: "softmax", or "svm" with margin 1, of which `squared` squares each hinge."""

    kind: str
    squared: bool = False

    def margins(self, logits: Floats, label: int) -> Floats:
        """1 + s_j - s_y of each other class j; minus infinity for the label itself."""
        found = 1 + logits - logits[..., label : label + 1]
        found[..., label] = -np.inf
        return found

    def value(self, logits: Floats, label: int) -> Floats:
        """... x C logits -> the loss of each."""
        if self.kind == "svm":
            hinges = np.maximum(self.margins(logits, label), 0)
            return (hinges**2 if self.squared else hinges).sum(axis=-1)
        # -log p_y = log(sum of exp(s_j - s_y)), the largest term taken out so that small losses keep their digits.
        apart = logits - logits[..., label : label + 1]
        largest = apart.argmax(axis=-1)[..., None]
        top = np.take_along_axis(apart, largest, axis=-1)
        terms = np.exp(apart - top)
        np.put_along_axis(terms, largest, 0.0, axis=-1)
        return top[..., 0] + np.log1p(terms.sum(axis=-1))

    def gradient(self, logits: Floats, label: int) -> Floats:
        """dL/dlogits: p - y for softmax; for the svm, each violated margin pulls its class down and the label up."""
        if self.kind == "svm":
            margins = self.margins(logits, label)
            found = np.where(margins > 0, 2 * margins if self.squared else 1.0, 0.0)
        else:
            terms = np.exp(logits - logits.max(axis=-1, keepdims=True))
            found = terms / terms.sum(axis=-1, keepdims=True)
        found[..., label] = 0.0
        found[..., label] = -found.sum(axis=-1)
        return found

    def sides(self, logits: Floats, label: int) -> NDArray[np.bool_]:
        """On which side of each of its kinks the loss is; softmax has none."""
        if self.kind == "svm":
            return self.margins(logits, label) > 0
        return np.zeros((*logits.shape[:-1], 0), bool)
