"""Loss of one photo and its gradient by the logits, in float64: softmax cross-entropy, or the hinge loss of an SVM.

As in `catdog.trainer.losses`, without its label smoothing and class weights: one photo with one label.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catdog.tools.explain.backprop import Floats


@dataclass(frozen=True)
class Loss:
    """Loss of kind "softmax" or "svm" (margin 1); `squared` squares each hinge."""

    kind: str
    squared: bool = False

    def margins(self, logits: Floats, label: int) -> Floats:
        """1 + s_j - s_y of each other class j, ... x C; minus infinity for the label y itself."""
        found = 1 + logits - logits[..., label : label + 1]
        found[..., label] = -np.inf
        return found

    def value(self, logits: Floats, label: int) -> Floats:
        """Loss of each row of logits: ... x C -> ..."""
        if self.kind == "svm":
            hinges = np.maximum(self.margins(logits, label), 0)
            return (hinges**2 if self.squared else hinges).sum(axis=-1)
        # -log p_y = log(sum of exp(s_j - s_y)), the largest term factored out so that small losses stay exact.
        differences = logits - logits[..., label : label + 1]
        largest = differences.argmax(axis=-1)[..., None]
        top = np.take_along_axis(differences, largest, axis=-1)
        terms = np.exp(differences - top)
        np.put_along_axis(terms, largest, 0.0, axis=-1)
        return top[..., 0] + np.log1p(terms.sum(axis=-1))

    def gradient(self, logits: Floats, label: int) -> Floats:
        """dL/dlogits, ... x C: p - y for softmax.

        For svm 1 (or 2 * margin) of each class with a violated margin, and minus their sum of the label.
        """
        if self.kind == "svm":
            margins = self.margins(logits, label)
            found = np.where(margins > 0, 2 * margins if self.squared else 1.0, 0.0)
        else:
            terms = np.exp(logits - logits.max(axis=-1, keepdims=True))
            found = terms / terms.sum(axis=-1, keepdims=True)
        found[..., label] = 0.0
        found[..., label] = -found.sum(axis=-1)
        return found

    def kink_sides(self, logits: Floats, label: int) -> NDArray[np.bool_]:
        """Whether each hinge is above its kink: bool, ... x C; softmax has no kinks, ... x 0."""
        if self.kind == "svm":
            return self.margins(logits, label) > 0
        return np.zeros((*logits.shape[:-1], 0), bool)
