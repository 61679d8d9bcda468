"""An evaluation as HTML for a notebook: how often it is right, beside simple rules, and what is taken for what."""

from typing import TYPE_CHECKING

import numpy as np

from catdog.base.text import many, percent
from catdog.data.names import told_apart
from catdog.drawing.notebook import bars, note, panel, table
from catdog.metrics import mistakes
from catdog.tools.evaluation.baselines import BASELINES

if TYPE_CHECKING:
    from catdog.tools.evaluation.measure import Evaluation

_CLASSES = 8  # of a confusion matrix, at most; of more, the most frequent mistakes
_MISTAKES = 8


def as_html(result: "Evaluation") -> str:
    """What `_repr_html_` of an evaluation returns."""
    low, high = result.accuracy_interval
    others = sorted(((BASELINES[name], share) for name, share in result.baselines.items()), key=lambda one: -one[1])
    rows = [(name, share, percent(share)) for name, share in [("the network", result.accuracy), *others]]
    area = "" if result.auc is None else f"ROC AUC {result.auc:.4f}, "
    left_out = f" {many(result.skipped, 'photo')} could not be read." if result.skipped else ""
    return panel(
        f"{percent(result.accuracy)} of {many(result.n, 'photo')} right",
        note(f"95% interval {percent(low)} to {percent(high)}.{left_out}"),
        bars(rows),
        note(f"{area}log loss {result.loss:.4f}, calibration error {percent(result.ece)}."),
        _confusion(result),
    )


def _confusion(result: "Evaluation") -> str:
    names, counts = told_apart(result.classes), np.array(result.confusion)
    if len(names) <= _CLASSES:
        rows = [
            [f"photos of {name}", *map("{:,}".format, row)] for name, row in zip(names, counts.tolist(), strict=True)
        ]
        return table(["", *(f"called {name}" for name in names)], rows)
    found = [(f"{names[i]} called {names[j]}", f"{count:,}") for i, j, count in mistakes(counts, _MISTAKES)]
    return table(["the most frequent mistakes", "photos"], found) if found else ""
