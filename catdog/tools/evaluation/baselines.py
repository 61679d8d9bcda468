"""Fits baselines on the network's input pixels: a linear classifier, and the k nearest neighbours. Needs NumPy alone.

Both see each photo averaged to at most 16 x 16: they then need seconds, and on photographs lose about a point at most.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catdog.checkpoint.model_card import ModelCard
from catdog.numpy_net import softmax

BASELINES = {
    "majority_class": "the majority class of the training photos, always",
    "nearest_mean_colour": "the class of the nearest mean colour",
    "linear_classifier": "a linear classifier on the same pixels",
    "k_nearest_neighbours": "the vote of the k nearest neighbours",
}
"""What each of the `baselines` answers, by its name."""
MIN_PHOTOS = 10  # training photos without which no baseline is fitted
SIDE = 16  # pixels of the averaged photos each way, at most
_NUMBERS = 2**23  # numbers of all averaged training photos, at most
_BLOCK = 2**22  # numbers of the photos averaged at a time
_STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
_NEIGHBOURS = (1, 3, 9, 25, 51, 101)
_HELD_OUT = 5  # every fifth training photo is held out, to choose between those
_ITERATIONS = 300
_TOLERANCE = 1e-8  # of the mean loss

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Predictions:
    """Predicted classes of N photos by each baseline (int64, N), with the hyperparameters chosen on held-out photos."""

    linear: Labels
    neighbours: Labels
    strength: float
    k: int


def some_of(photos: int, size: tuple[int, int]) -> NDArray[np.int64]:
    """Numbers of evenly spread photos among `photos`, as many as are fitted at `size` (height, width)."""
    most = max(MIN_PHOTOS, _NUMBERS // (3 * min(size[0], SIDE) * min(size[1], SIDE)))
    return np.linspace(0, photos - 1, min(photos, most)).round().astype(np.int64)


def averaged_to(size: tuple[int, int]) -> str:
    """To what size photos of `size` (height, width) are averaged, in words; nothing where they are small enough."""
    return f", averaged to {min(size[1], SIDE)} x {min(size[0], SIDE)}," if max(size) > SIDE else ""


def held_out(photos: int) -> int:
    """Number of training photos held out of so many, to choose the hyperparameters."""
    return -(-photos // _HELD_OUT)


def fit_and_predict(
    pixels: NDArray[np.uint8], labels: Labels, queries: NDArray[np.uint8], card: ModelCard
) -> Predictions:
    """Fit both baselines on `pixels` (M x 3 x H x W) with `labels` (M), and predict `queries` (N x 3 x H x W).

    The photos must be ordered by class, as in a listing, so that every class has its share of held-out photos.
    """
    classes = len(card.classes)
    x, asked = averaged(pixels, card), averaged(queries, card)
    is_held_out = np.arange(len(x)) % _HELD_OUT == 0
    fitted, held = (x[~is_held_out], labels[~is_held_out]), (x[is_held_out], labels[is_held_out])
    strength, start = _best_linear(*fitted, *held, classes)
    weight, bias = fit_linear(x, labels, classes, strength, start)

    near = nearest_labels(*fitted, held[0], max(_NEIGHBOURS))
    correct = [int((majority_vote(near[:, :k], classes) == held[1]).sum()) for k in _NEIGHBOURS]
    k = _NEIGHBOURS[int(np.argmax(correct))]
    neighbours = majority_vote(nearest_labels(x, labels, asked, k), classes)
    return Predictions((asked @ weight.T + bias).argmax(axis=1), neighbours, strength, min(k, len(x)))


def averaged(pixels: NDArray[np.uint8], card: ModelCard) -> Floats:
    """Normalise as for the network, average to at most SIDE x SIDE, flatten: N x 3 x H x W -> float32, N x D."""
    mean, std = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (card.mean, card.std))
    rows, columns = map(_shares, pixels.shape[2:])
    found, step = [], max(1, _BLOCK // pixels[0].size)
    for first in range(0, len(pixels), step):
        means = rows.T @ (pixels[first : first + step].astype(np.float32) @ columns)
        found.append(((means - mean) / std).reshape(len(means), -1))
    return np.concatenate(found)


def _shares(pixels: int) -> Floats:
    """The share of each of so many pixels in the mean of its part, of at most SIDE parts, as equal as can be."""
    parts = min(pixels, SIDE)
    is_in = np.eye(parts, dtype=np.float32)[np.arange(pixels) * parts // pixels]
    return is_in / is_in.sum(axis=0)


def _best_linear(
    x: Floats, labels: Labels, held_out: Floats, held_out_labels: Labels, classes: int
) -> tuple[float, tuple[Floats, Floats]]:
    """Decrease the L2 strength until the held-out loss rises: (the best strength, its weights and biases)."""
    best, found, products = math.inf, None, x.T @ x
    for strength in _STRENGTHS:
        weight, bias = fit_linear(x, labels, classes, strength, found, products)
        chances = softmax(held_out @ weight.T + bias)[np.arange(len(held_out)), held_out_labels]
        loss = float(-np.log(np.maximum(chances, np.finfo(np.float64).tiny)).mean())
        if found is not None and loss > best:
            break
        best, found, chosen = loss, (weight, bias), strength
    assert found is not None
    return chosen, found


def fit_linear(
    x: Floats,
    labels: Labels,
    classes: int,
    strength: float,
    start: tuple[Floats, Floats] | None = None,
    products: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Softmax regression: (W, C x D; b, C) that minimise mean cross-entropy + strength/2 * |W|^2 over x (M x D).

    Newton's method with a bound of the Hessian, 1/2 X'X / M, that is the same at each step (Böhning 1992, "Multinomial
    logistic regression algorithm"), accelerated (Nesterov 1983; restarted as in O'Donoghue and Candès 2015).
    The loss is convex, so it converges to the same from any `start`; the biases are not regularised. products: X'X,
    where it is known.
    """
    sums = x.sum(axis=0, dtype=np.float64).astype(np.float32)[:, None]
    bound = np.block([[x.T @ x if products is None else products, sums], [sums.T, np.full((1, 1), len(x), np.float32)]])
    x = np.concatenate([x, np.ones((len(x), 1), np.float32)], axis=1)
    pull = np.append(np.full(x.shape[1] - 1, strength, np.float32), np.float32(0))
    inverse = np.linalg.inv(bound / np.float32(2 * len(x)) + np.diag(pull + np.float32(1e-6)))
    true = np.eye(classes, dtype=np.float32)[labels]
    here = np.zeros((classes, x.shape[1]), np.float32)
    if start is not None:
        here = np.concatenate([start[0], start[1][:, None]], axis=1)
    ahead, momentum = here, 1.0
    for _ in range(_ITERATIONS):
        excess = softmax(x @ ahead.T).astype(np.float32) - true
        gradient = (x.T @ excess).T / np.float32(len(x)) + ahead * pull
        step = gradient @ inverse
        moved = ahead - step
        if float((gradient * step).sum()) < _TOLERANCE:
            here = moved
            break
        if float((gradient * (moved - here)).sum()) > 0:  # it has gone too far
            momentum = 1.0
        longer = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        here, ahead, momentum = moved, moved + (momentum - 1) / longer * (moved - here), longer
    return here[:, :-1], here[:, -1]


def nearest_labels(x: Floats, labels: Labels, queries: Floats, k: int) -> Labels:
    """Labels of the (at most) k points of x (M x D) nearest to each of `queries` (N x D), nearest first: N x k."""
    squares, k, found = np.square(x).sum(axis=1), min(k, len(x)), [np.zeros((0, min(k, len(x))), np.int64)]
    for first in range(0, len(queries), 256):
        # |a - x|^2 without |a|^2, which is the same for all x.
        distances = squares - 2 * (queries[first : first + 256] @ x.T)
        nearest = np.argpartition(distances, k - 1, axis=1)[:, :k]
        order = np.take_along_axis(distances, nearest, axis=1).argsort(axis=1, kind="stable")
        found.append(labels[np.take_along_axis(nearest, order, axis=1)])
    return np.concatenate(found)


def majority_vote(labels: Labels, classes: int) -> Labels:
    """Most frequent label of each row, the lowest of equals: N x k -> N."""
    cells = np.arange(len(labels))[:, None] * classes + labels
    votes = np.bincount(cells.ravel(), minlength=len(labels) * classes)
    return votes.reshape(len(labels), classes).argmax(axis=1)
