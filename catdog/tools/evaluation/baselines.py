"""Fits baselines on the network's input pixels: a linear classifier, and the k nearest neighbours."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from catdog.base.threads import thread_count
from catdog.checkpoint.model_card import ModelCard
from catdog.data.listing import Listing

MIN_PHOTOS = 10  # training photos without which no baseline is fitted
_NUMBERS = 2**26  # float32 numbers of all training photos, at most: a quarter of a gibibyte
_BLOCK = 2**22  # float32 numbers of the photos predicted at a time
_STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
_NEIGHBOURS = (1, 3, 9, 25, 51, 101)
_HELD_OUT = 5  # every fifth training photo is held out, to choose between those
_ITERATIONS = 100
_FAR_MORE = 32  # ratio of numbers a photo to photos above which the classifier is fitted in the photos' span


@dataclass(frozen=True)
class Predictions:
    """Predicted classes of N photos by each baseline (int64, N), with the hyperparameters chosen on held-out photos."""

    linear: NDArray[np.int64]
    neighbours: NDArray[np.int64]
    strength: float
    k: int


def subsample(photos: Listing, size: tuple[int, int]) -> Listing:
    """Select evenly spread photos, as many as fit in memory at `size` (height, width)."""
    most = max(MIN_PHOTOS, _NUMBERS // (3 * size[0] * size[1]))
    if len(photos) <= most:
        return photos
    chosen = set(np.linspace(0, len(photos) - 1, most).round().astype(int).tolist())
    return photos.select([i in chosen for i in range(len(photos))])


def held_out(photos: int) -> int:
    """Number of training photos held out of so many, to choose the hyperparameters."""
    return -(-photos // _HELD_OUT)


def fit_and_predict(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    queries: NDArray[np.uint8],
    card: ModelCard,
) -> Predictions:
    """Fit both baselines on `pixels` (M x 3 x H x W) with `labels` (M), and predict `queries` (N x 3 x H x W).

    The photos must be ordered by class, as in a listing, so that every class has its share of held-out photos.
    """
    classes = len(card.classes)
    torch.set_num_threads(thread_count()[0])
    x, y = _normalised(pixels, card), torch.from_numpy(labels)
    held_out = torch.arange(len(x)) % _HELD_OUT == 0
    basis = _span(x)
    flat = x if basis is None else x @ basis
    strength, start = _best_linear(flat[~held_out], y[~held_out], flat[held_out], y[held_out], classes)
    found = fit_linear(flat, y, classes, strength, start)

    near = nearest_labels(x[~held_out], y[~held_out], x[held_out], max(_NEIGHBOURS))
    correct = [int((majority_vote(near[:, :k], classes) == y[held_out]).sum()) for k in _NEIGHBOURS]
    k = _NEIGHBOURS[int(np.argmax(correct))]
    linear, neighbours = [], []
    step = max(1, _BLOCK // pixels[0].size)
    for first in range(0, len(queries), step):
        block = _normalised(queries[first : first + step], card)
        linear.append(F.linear(block if basis is None else block @ basis, *found).argmax(1))
        neighbours.append(majority_vote(nearest_labels(x, y, block, k), classes))
    return Predictions(torch.cat(linear).numpy(), torch.cat(neighbours).numpy(), strength, min(k, len(x)))


def _normalised(pixels: NDArray[np.uint8], card: ModelCard) -> Tensor:
    """Normalise and flatten as for the network: uint8, N x 3 x H x W -> float32, N x 3HW."""
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (card.mean, card.std))
    return torch.from_numpy(np.array(pixels)).float().sub_(mean).div_(std).flatten(start_dim=1)


def _span(x: Tensor) -> Tensor | None:
    """Orthonormal basis of the M rows of x: D x M; None unless D is far more than M.

    The weights of least |W|^2 are in that span, so fitting there loses nothing and needs little memory.
    """
    return torch.linalg.qr(x.T).Q if x.shape[1] > _FAR_MORE * len(x) else None


def _best_linear(
    x: Tensor, labels: Tensor, held_out: Tensor, held_out_labels: Tensor, classes: int
) -> tuple[float, tuple[Tensor, Tensor]]:
    """Decrease the L2 strength until the held-out loss rises: (the best strength, its weights and biases)."""
    best, found = math.inf, None
    for strength in _STRENGTHS:
        here = fit_linear(x, labels, classes, strength, found)
        loss = float(F.cross_entropy(F.linear(held_out, *here), held_out_labels))
        if found is not None and loss > best:
            break
        best, found, chosen = loss, here, strength
    assert found is not None
    return chosen, found


def fit_linear(
    x: Tensor, labels: Tensor, classes: int, strength: float, start: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Softmax regression: (W, C x D; b, C) that minimise mean cross-entropy + strength/2 * |W|^2 over x (M x D).

    Convex, so L-BFGS converges to the same from any `start`; the biases are not regularised.
    """
    weight, bias = start or (x.new_zeros(classes, x.shape[1]), x.new_zeros(classes))
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=_ITERATIONS,
        history_size=20,
        tolerance_grad=1e-5,
        tolerance_change=1e-7,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(F.linear(x, weight, bias), labels) + strength / 2 * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach(), bias.detach()


def nearest_labels(x: Tensor, labels: Tensor, queries: Tensor, k: int) -> Tensor:
    """Labels of the (at most) k points of x (M x D) nearest to each of `queries` (N x D), nearest first: N x k."""
    squares = x.square().sum(dim=1)
    # |a - x|^2 without |a|^2, which is the same for all x.
    found = [(squares - 2 * (some @ x.T)).topk(min(k, len(x)), largest=False).indices for some in queries.split(256)]
    return labels[torch.cat(found)]


def majority_vote(labels: Tensor, classes: int) -> Tensor:
    """Most frequent label of each row, the lowest of equals: N x k -> N."""
    return F.one_hot(labels, classes).sum(dim=1).argmax(dim=1)
