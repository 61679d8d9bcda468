"""A run's folder.

folder        made, locked, and what is logged to it; paths: where it and the cache may lie
history       Progress: where a training is and its figures so far; metrics_csv reads them again
histograms    how weights and gradients are spread: weights.csv
readme        README.md: the card of the network that came of it
answers       answers.csv: what networks that had not seen a photo said of it
locate        where to find a run's model, or the one that comes with catdog; no_run: why nothing can be resumed
start         new weights, or another network's, whose architecture is then taken
introduction  the line that says which network answers; trained_on: drawings, or the photos in which folder
"""

from typing import TYPE_CHECKING

from catdog.base.lazy import offer

if TYPE_CHECKING:
    from catdog.runs.folder import RunFolder
    from catdog.runs.history import Progress
    from catdog.runs.locate import find_model
    from catdog.runs.metrics_csv import read_metrics

__all__ = ["Progress", "RunFolder", "find_model", "read_metrics"]
__getattr__ = offer(
    __name__,
    {"RunFolder": "folder", "Progress": "history", "read_metrics": "metrics_csv", "find_model": "locate"},
)
