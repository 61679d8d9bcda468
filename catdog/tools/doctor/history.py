"""Checks a run's metrics.csv and its trained network for failed training, overfitting and collapse."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from catdog.base.text import listed, percent
from catdog.data.photo_dataset import PhotoDataset
from catdog.model.build import build_mlp
from catdog.model.mlp import MLP
from catdog.predict import Classifier
from catdog.tools.doctor.patient import Finding


def check_history(rows: list[dict[str, float]], guess: float, classes: int) -> Iterator[Finding]:
    """Check the epochs of a run: the loss against that of guessing, `guess`, and the gap of train and val accuracy."""
    yield _check_loss(rows, guess)
    yield _check_gap(rows, classes)


def _check_loss(rows: list[dict[str, float]], guess: float) -> Finding:
    """Check that the training loss fell below that of guessing and stayed low."""
    name = "loss of the run"
    losses = [row["train_loss"] for row in rows]
    what = f"over {len(rows)} epochs the training loss went from {losses[0]:.3g} to {losses[-1]:.3g}"
    if not all(map(math.isfinite, losses)) or losses[-1] > 1.5 * guess:
        return Finding(
            name, "ill", f"{what}, worse than guessing ({guess:.3g}).", "Train again with a lower --learning-rate."
        )
    if min(losses) > 0.99 * guess:
        return Finding(
            name,
            "ill",
            f"{what}: it never left that of guessing, {guess:.3g}.",
            "Nothing was learned: try the rate that the sweep suggests, and look whether the photos lie in the folders "
            "of their classes.",
        )
    if losses[-1] > min(losses) + 0.2 * guess:
        return Finding(
            name,
            "warning",
            f"{what}, and had been at {min(losses):.3g}: it lost what it knew.",
            "Train again with a lower --learning-rate, or with --schedule cosine.",
        )
    return Finding(name, "ok", f"{what}; guessing costs {guess:.3g}.")


def _check_gap(rows: list[dict[str, float]], classes: int) -> Finding:
    """Check for overfitting: the accuracy on training photos less that on validation photos, in the last epoch."""
    name = "gap of the run"
    best = max(rows, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    last = rows[-1]
    gap = last["train_accuracy"] - last["val_accuracy"]
    what = (
        f"in the last epoch {percent(last['train_accuracy'])} of the training photos and "
        f"{percent(last['val_accuracy'])} of the validation photos were right (at best {percent(best['val_accuracy'])})"
    )
    if last["train_accuracy"] > 0.9 and last["val_accuracy"] < 1 / classes + 0.1:
        return Finding(
            name,
            "ill",
            f"{what}: it knows its own photos by heart and nothing else (overfitting).",
            "More photos, stronger --crop-area and colours, --dropout 0.3, or a smaller --hidden; and look whether the "
            "labels of the validation photos are right.",
        )
    if gap > 0.1:
        return Finding(
            name,
            "warning",
            f"{what}: {gap * 100:.0f} points learned by heart (overfitting).",
            "More photos, stronger changes (--crop-area 0.3, --mixup 0.4), --dropout 0.3, or a smaller --hidden.",
        )
    return Finding(name, "ok", f"{what}: no more is learned by heart (overfitting) than is usual.")


def check_collapse(classifier: Classifier, val: PhotoDataset) -> Finding:
    """Check that the network does not predict one class for all photos. val: with labels in the network's classes."""
    name = "answers of the run"
    called = np.concatenate([classifier.logits(some.numpy()).argmax(axis=1) for some in val.pixels.split(256)])
    counts = np.bincount(called, minlength=len(classifier.classes))
    true = np.bincount(val.labels.numpy(), minlength=len(classifier.classes))
    each = listed(
        [
            f"{answered} {label} ({there} there are)"
            for label, answered, there in zip(classifier.classes, counts, true, strict=True)
        ]
    )
    if (counts > 0).sum() == 1 and (true > 0).sum() > 1:
        only = classifier.classes[int(counts.argmax())]
        return Finding(
            name,
            "ill",
            f"all {len(val)} validation photos are called {only}.",
            "If there are many more photos of it than of the others, train with --class-weights balanced; else with "
            "another --learning-rate.",
        )
    return Finding(name, "ok", f"of {len(val)} validation photos it calls {each}.")


def trained_model(classifier: Classifier) -> MLP:
    """Build the run's network as a PyTorch module, as it is in prediction."""
    model = build_mlp(replace(classifier.card.architecture, dropout=0.0), len(classifier.classes))
    # Not strict, since num_batches_tracked of batch normalisation is not stored.
    model.load_state_dict({name: torch.from_numpy(array) for name, array in classifier.tensors.items()}, strict=False)
    return model.eval()
