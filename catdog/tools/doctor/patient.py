"""What the doctor examines, what it finds, and the few steps of training that most of its checks take."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from catdog.checkpoint.model_card import ModelCard
from catdog.config.settings import Config, Training
from catdog.data.photo_dataset import PhotoDataset
from catdog.model.build import build_model
from catdog.model.mlp import MLP
from catdog.trainer import augment
from catdog.trainer.batch import prepare_batch
from catdog.trainer.divergence import guessing_loss
from catdog.trainer.losses import class_weights, make_loss
from catdog.trainer.optim import make_optimizer
from catdog.trainer.schedule import set_learning_rate
from catdog.trainer.step import train_step
from catdog.trainer.targets import Targets

_LONGEST = 15.0  # seconds that one series of steps may take


@dataclass(frozen=True)
class Finding:
    """What one check found, in a sentence or two with numbers, and what to do next."""

    check: str
    state: Literal["ok", "warning", "ill"]
    message: str
    advice: str = ""


@dataclass(frozen=True)
class Patient:
    """A configuration with a sample of its photos; `build` and `loss` make what it is trained with."""

    config: Config
    train: PhotoDataset
    val: PhotoDataset
    card: ModelCard
    device: torch.device
    build: Callable[[Config, int], MLP] = build_model
    loss: Callable[[Training, float, Tensor | None], nn.Module] = make_loss

    @property
    def classes(self) -> int:
        return len(self.train.classes)

    @property
    def guess(self) -> float:
        """The loss of giving all classes the same score."""
        return guessing_loss(self.config.training, self.classes)

    def with_training(self, **changes: object) -> "Patient":
        """The same with fields of [training] changed."""
        return replace(self, config=replace(self.config, training=replace(self.config.training, **changes)))  # type: ignore[arg-type]

    def model(self, dropout: bool = True) -> MLP:
        """A new, untrained network: the same one each time."""
        config = self.config if dropout else replace(self.config, model=replace(self.config.model, dropout=0.0))
        torch.manual_seed(config.run.seed)
        return self.build(config, self.classes).to(self.device)

    def criterion(self, label_smoothing: float = 0.0) -> nn.Module:
        training = self.config.training
        weights = class_weights(training, self.train.labels, self.classes)
        return self.loss(training, label_smoothing, weights).to(self.device)

    def photos(self, count: int) -> tuple[Tensor, Tensor]:
        """(images: float32, B x 3 x H x W, normalised; labels: int64, B) of at most `count` training photos."""
        rows = torch.from_numpy(np.random.default_rng(self.config.run.seed).permutation(len(self.train))[:count])
        return self.normalised(self.train.pixels[rows]), self.train.labels[rows].to(self.device)

    def normalised(self, pixels: Tensor) -> Tensor:
        """uint8 B x 3 x H x W -> float32, as the network gets them, on its device."""
        mean, std = (torch.tensor(values, device=self.device) for values in (self.card.mean, self.card.std))
        return augment.normalise(pixels.to(self.device), mean, std)


def or_batch_norm(model: MLP) -> str:
    """The end of an advice, `, or --batch-norm`, for a network that does not have it."""
    return "" if any("norm" in name for name, _ in model.named_parameters()) else ", or --batch-norm"


@dataclass(frozen=True)
class Step:
    """Of the batch of one step, before the weights moved: its loss, and how many of its photos were called right."""

    loss: float
    right: int
    photos: int

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.loss)


def steps(
    patient: Patient,
    model: MLP,
    photos: PhotoDataset,
    count: int,
    *,
    batch_size: int = 64,
    as_they_are: bool = False,
    rates: Sequence[float] | None = None,
) -> Iterator[Step]:
    """Train `model` for at most `count` steps on batches of `photos`, at the full learning rate or at `rates`.

    Photos are changed at random as in training, unless they are to be learned `as_they_are`. Ends early where the loss
    is no longer a number, or when a quarter of a minute is over.
    """
    training, about = replace(patient.config.training, accumulate=1), patient.config.augment
    optimizer = make_optimizer(model, training)
    criterion = patient.criterion(training.label_smoothing)
    mean, std = (torch.tensor(values, device=patient.device) for values in (patient.card.mean, patient.card.std))
    rng = np.random.default_rng(patient.config.run.seed)
    batches = _batches(len(photos), batch_size, rng)
    until = time.monotonic() + _LONGEST
    model.train()
    for number in range(count):
        rows = next(batches)
        labels = photos.labels[rows].to(patient.device)
        if as_they_are:
            images, targets = patient.normalised(photos.pixels[rows]), Targets(labels, labels, 1.0)
        else:
            images, targets = prepare_batch(photos.pixels[rows].to(patient.device), labels, about, rng, mean, std)
        if rates is not None:
            set_learning_rate(optimizer, rates[number])
        totals = torch.zeros(3, dtype=torch.float64, device=patient.device)
        train_step(model, images, targets, criterion, optimizer, training, totals)
        loss, correct, seen = totals.tolist()
        step = Step(loss / seen, int(correct), int(seen))
        yield step
        if not step.is_finite or time.monotonic() > until:
            return


def _batches(photos: int, size: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Rows of batches of equal size, over and over, each time in another order."""
    while True:
        for rows in np.array_split(rng.permutation(photos), max(1, round(photos / size))):
            yield torch.from_numpy(rows)


@torch.no_grad()
def answers(patient: Patient, model: MLP, photos: PhotoDataset) -> Tensor:
    """The class that `model` calls each photo: int64, N, on the CPU."""
    model.eval()
    return torch.cat([model(patient.normalised(some)).argmax(dim=1).cpu() for some in photos.pixels.split(256)])
