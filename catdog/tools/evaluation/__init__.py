"""`catdog evaluate`: measures the accuracy of a network on photos, and writes a report of diagrams and galleries.

measure computes the figures, baselines compares with simple classifiers, diagrams and gallery draw, report puts the
page together, folder writes it, command prints, notebook shows the figures in a notebook.
"""

from typing import TYPE_CHECKING

from catdog.base.lazy import offer

if TYPE_CHECKING:
    from catdog.tools.evaluation.measure import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
__getattr__ = offer(__name__, {"Evaluation": "measure", "evaluate": "measure"})
