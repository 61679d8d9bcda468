"""What simple rules make of the pixels that the network sees: a linear classifier, and the k nearest neighbours."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from catdog.checkpoint.model_file import ModelCard
from catdog.data.listing import Listing

LEAST = 10  # training photos that it takes
_NUMBERS = 2**26  # float32 numbers that the training photos may have together: a quarter of a gibibyte
_BLOCK = 2**22  # the same for the photos that are compared with them at a time
_STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
_NEIGHBOURS = (1, 3, 9, 25, 51, 101)
_HELD_OUT = 5  # every fifth training photo chooses between those
_ITERATIONS = 100
_FAR_MORE = 32  # numbers to a photo, for each photo, from which on the photos' span is taken in place of all numbers


@dataclass(frozen=True)
class Answers:
    """int64, N: what each rule calls N photos; and the settings that held-out training photos chose."""

    linear: NDArray[np.int64]
    neighbours: NDArray[np.int64]
    strength: float
    k: int


def thin_out(photos: Listing, size: tuple[int, int]) -> Listing:
    """As many of the photos, evenly spread, as can be held in memory at `size`; all, where that is possible."""
    most = max(LEAST, _NUMBERS // (3 * size[0] * size[1]))
    if len(photos) <= most:
        return photos
    kept = set(np.linspace(0, len(photos) - 1, most).round().astype(int).tolist())
    return photos.select([i in kept for i in range(len(photos))])


def answer(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    asked: NDArray[np.uint8],
    card: ModelCard,
) -> Answers:
    """Fit both rules on `pixels` (M x 3 x H x W) with `labels` (M), and let them answer `asked` (N x 3 x H x W).

    The order should be that of a listing, class by class, so that the held-out photos are of each class alike.
    """
    classes = len(card.classes)
    x, y = _normalised(pixels, card), torch.from_numpy(labels)
    held_out = torch.arange(len(x)) % _HELD_OUT == 0
    basis = _span(x)
    flat = x if basis is None else x @ basis
    strength, start = _best_linear(flat[~held_out], y[~held_out], flat[held_out], y[held_out], classes)
    found = fit_linear(flat, y, classes, strength, start)

    near = nearest(x[~held_out], y[~held_out], x[held_out], max(_NEIGHBOURS))
    right = [int((vote(near[:, :k], classes) == y[held_out]).sum()) for k in _NEIGHBOURS]
    k = _NEIGHBOURS[int(np.argmax(right))]
    linear, neighbours = [], []
    step = max(1, _BLOCK // pixels[0].size)
    for first in range(0, len(asked), step):
        block = _normalised(asked[first : first + step], card)
        linear.append(F.linear(block if basis is None else block @ basis, *found).argmax(1))
        neighbours.append(vote(nearest(x, y, block, k), classes))
    return Answers(torch.cat(linear).numpy(), torch.cat(neighbours).numpy(), strength, min(k, len(x)))


def _normalised(pixels: NDArray[np.uint8], card: ModelCard) -> Tensor:
    """uint8, N x 3 x H x W -> float32, N x 3HW, as the network gets them."""
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (card.mean, card.std))
    return torch.from_numpy(np.array(pixels)).float().sub_(mean).div_(std).flatten(start_dim=1)


def _span(x: Tensor) -> Tensor | None:
    """D x M, orthonormal columns that span the M rows of x; None unless D is far more than M.

    The weights of least |W|^2 lie in that span, so nothing is lost, and they need little memory.
    """
    return torch.linalg.qr(x.T).Q if x.shape[1] > _FAR_MORE * len(x) else None


def _best_linear(
    x: Tensor, labels: Tensor, held_out: Tensor, held_out_labels: Tensor, classes: int
) -> tuple[float, tuple[Tensor, Tensor]]:
    """The first strength, from the strongest on, after which the loss on the held-out photos rises; what it finds."""
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
    """Softmax regression: (W, C x D; b, C) of the least mean cross-entropy + strength/2 * |W|^2 over x (M x D).

    Convex, so L-BFGS comes to the same from any `start`; the biases are not held back.
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


def nearest(x: Tensor, labels: Tensor, asked: Tensor, k: int) -> Tensor:
    """Labels of the (at most) k points of x (M x D) nearest to each of `asked` (N x D), the nearest first: N x k."""
    squares = x.square().sum(dim=1)
    # |a - x|^2 without |a|^2, which is the same for all x.
    found = [(squares - 2 * (some @ x.T)).topk(min(k, len(x)), largest=False).indices for some in asked.split(256)]
    return labels[torch.cat(found)]


def vote(labels: Tensor, classes: int) -> Tensor:
    """The commonest of each row's labels, of equals the first: N x k -> N."""
    return F.one_hot(labels, classes).sum(dim=1).argmax(dim=1)
