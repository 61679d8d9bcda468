"""Fits what tells a familiar photo from a stranger (`catdog.familiarity`), once, when a training has ended."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from catdog.checkpoint.model_card import ModelCard
from catdog.checkpoint.model_file import save_model
from catdog.checkpoint.saved_model import load_model
from catdog.data.photo_dataset import PhotoDataset
from catdog.data.prefetch import load_batches
from catdog.familiarity import distances
from catdog.numpy_net import Floats
from catdog.predict import Classifier

Arrays = dict[str, NDArray[np.float32]]
LEAST = 20  # held-out photos; of fewer, 5% are less than one
_MOST = 256  # photos to fit on, and as many held out: more change little
_BATCH = 64
_RANK = 64
_QUANTILES = 201
_LEAST_DEVIATION = 1e-3  # of a feature, so that one that never varies in training does not decide alone


def add_familiarity(model: Path, train: PhotoDataset, val: PhotoDataset) -> None:
    """Write the model file again, with what familiarity is computed with, if there are LEAST photos in `val`."""
    if len(val) < LEAST:
        return
    tensors, card = load_model(model)
    classifier = Classifier(tensors, card)
    save_model(model, *with_familiarity(tensors, card, features(classifier, train), features(classifier, val)))


def features(classifier: Classifier, photos: PhotoDataset) -> Floats:
    """The features of the photos `spread_rows`: N x D."""
    batches = load_batches(photos, spread_rows(len(photos)).split(_BATCH))
    return np.concatenate([classifier.logits_and_features(batch.pixels.cpu().numpy())[1] for batch in batches])


def spread_rows(photos: int) -> Tensor:
    """int64: which of so many photos are looked at, spread over all, since they lie there class by class."""
    return torch.linspace(0, photos - 1, min(photos, _MOST), dtype=torch.float64).long()


def with_familiarity(tensors: Arrays, card: ModelCard, train: Floats, held_out: Floats) -> tuple[Arrays, ModelCard]:
    """A network's arrays and card with those of familiarity, in place of any that were there.

    train: N x D, features of training photos; held_out: M x D, of others of the same kind.
    """
    found = fit(train, held_out)
    card = replace(card, familiarity=(len(found["familiarity.directions"]), len(found["familiarity.distances"])))
    return {**tensors, **found}, card


def fit(train: Floats, held_out: Floats) -> Arrays:
    """The arrays of `familiarity_shapes`: a Gaussian whose covariance has few directions of its own, and one variance
    for all others (Tipping and Bishop 1999, "Probabilistic principal component analysis", section 3.2).

    Few photos tell of few directions: a fourth as many as there are photos.
    """
    mean = train.mean(axis=0, dtype=np.float64)
    scale = 1 / np.maximum(train.std(axis=0, dtype=np.float64), _LEAST_DEVIATION)
    z = (train - mean) * scale
    count, size = z.shape
    rank = max(1, min(_RANK, count // 4, size // 2))
    _, singular, directions = np.linalg.svd(z, full_matrices=False)
    variances = singular**2 / count
    rest = max(float(variances[rank:].sum()) / (size - rank), 1e-6)
    # With p the part of z along a direction of variance v, |z|^2 / rest and p^2 (1/v - 1/rest) make the distance.
    own = np.maximum(variances[:rank], rest)
    found = {
        "familiarity.mean": mean.astype(np.float32),
        "familiarity.factor": (scale / np.sqrt(rest)).astype(np.float32),
        "familiarity.directions": (directions[:rank] * np.sqrt(1 - rest / own)[:, None]).astype(np.float32),
    }
    shares = np.linspace(0, 1, min(len(held_out), _QUANTILES))
    return {**found, "familiarity.distances": np.quantile(distances(found, held_out), shares).astype(np.float32)}
