"""Trains the classifier alone, at once, on layers that stay as they are, so that what it sees of a photo does too.

That is computed once, of each photo and of its mirror image; then the classifier's loss is convex in its weights, and
L-BFGS finds the least (Nocedal and Wright 2006, "Numerical Optimization", section 7.2), in float64.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from catdog.base.progress import bar
from catdog.checkpoint.model_card import ModelCard
from catdog.data.batches import batches_in_order
from catdog.data.photo_dataset import PhotoDataset
from catdog.data.prefetch import load_batches
from catdog.errors import CatdogError
from catdog.model.transfer import head_name
from catdog.runs.histograms import weight_histograms
from catdog.trainer.augment import normalise
from catdog.trainer.losses import class_weights, make_loss

if TYPE_CHECKING:
    from catdog.trainer.loop import Trainer

_NEW, _KNOWN = 0.01, 0.0001
"""Variance of the prior of a weight, for features of deviation 1: about 0 in the row of a new class; about what it was,
from which few photos are not to lead it far, in that of a class which the network knows from many."""
_STEPS = 500
_LEAST_DEVIATION = 1e-6


@torch.no_grad()
def add_features(model: nn.Module, folders: Sequence[PhotoDataset], card: ModelCard, device: torch.device) -> None:
    """Give each of `folders` the features of its photos: float32, N x V x D, NaN where one cannot be read.

    V: the photo and, where the card says that their answers are averaged, its mirror image. Raises CatdogError where
    the network does not end in a linear classifier.
    """
    from catdog.model.local import PooledLinear

    head = _head(model)
    if not isinstance(head, nn.Linear):
        raise CatdogError("optimizer lbfgs is for a network that ends in a linear classifier; leave --optimizer out.")
    model.to(device).eval()
    mean, std = (torch.tensor(values, device=device) for values in (card.mean, card.std))
    seen: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    views = 1 + card.average_mirrored
    with hook, bar("features", sum(map(len, folders))) as progress:
        for photos in folders:
            photos.features = torch.full((len(photos), views, head.in_features), torch.nan)
            for batch in load_batches(photos.to(device), batches_in_order(len(photos), photos.image_size)):
                images = normalise(batch.pixels, mean, std)
                for view in range(views):
                    model(images.flip(3) if view else images)
                    x = seen.pop()
                    x = head.means(x) if isinstance(head, PooledLinear) else x
                    photos.features[batch.rows.cpu(), view] = x.float().cpu()
                progress.update(len(batch.rows))


def logits_of(model: nn.Module, photos: PhotoDataset) -> tuple[np.ndarray, np.ndarray]:
    """(labels: int64, N; logits: float32, N x C) of `photos`, from their features, as prediction computes them."""
    labels, features = _readable(photos)
    head = _head(model)
    logits = F.linear(features.mean(dim=1), head.weight.detach().cpu(), head.bias.detach().cpu())
    return labels.numpy(), logits.numpy()


def fit_classifier(trainer: "Trainer") -> None:
    """One epoch: the weights of the classifier with the least loss, and a pull towards those that it begins with."""
    state, training, (labels, features) = trainer.state, trainer.config.training, _readable(trainer.train)
    weights = class_weights(training, labels, len(trainer.train.classes))
    criterion = make_loss(training, training.label_smoothing, weights).double()
    head = _head(state.model)
    x, of_view = features.flatten(0, 1).double(), labels.repeat_interleave(features.shape[1])
    mean, deviation = x.mean(dim=0), x.std(dim=0).clamp_min(_LEAST_DEVIATION)
    x = (x - mean) / deviation
    begin, bias = (each.detach().cpu().double() for each in (head.weight, head.bias))
    begin, bias = begin * deviation, (bias + begin @ mean).requires_grad_()  # for x of mean 0 and deviation 1
    weight = begin.clone().requires_grad_()
    variance = torch.where(begin.any(dim=1, keepdim=True), _KNOWN, _NEW)
    solver = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        pull = ((weight - begin).square() / variance).sum() / (2 * len(x))
        found: Tensor = criterion(F.linear(x, weight, bias), of_view) + pull
        found.backward()
        return found

    solver.step(loss)
    with torch.no_grad():
        logits = F.linear(x, weight, bias)
        found = {"weight": weight / deviation, "bias": bias - (weight / deviation) @ mean}
        for model in (state.model, state.average.model):
            for name, parameter in _head(model).named_parameters():
                parameter.copy_(found[name])
    state.progress.weights += weight_histograms(state.model, state.progress.epoch + 1)
    if trainer.world.is_main:  # of several processes, which all do the same
        right = (logits.unflatten(0, (len(labels), -1)).mean(dim=1).argmax(dim=1) == labels).sum()
        count = torch.tensor(len(labels))
        state.totals += torch.stack([criterion(logits, of_view) * count, right, count]).to(state.totals)


def _head(model: nn.Module) -> Any:
    return model.get_submodule(head_name(model))


def _readable(photos: PhotoDataset) -> tuple[Tensor, Tensor]:
    """Labels and features of the photos that could be read."""
    assert photos.features is not None
    is_read = photos.features[:, 0, 0].isfinite()
    return photos.labels.cpu()[is_read], photos.features[is_read]
