"""The training loop: forward, loss, backward, step; then a checkpoint.

All randomness of a step comes from (seed, epoch, step), so a training that goes on from a checkpoint, at any step,
repeats to the bit what it would have done without a stop.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from catdog import augment, histograms, metrics
from catdog.checkpoint import FORMAT_VERSION, MODEL_FILE, STATE_FILE, ModelCard, save_model, save_state, write_text
from catdog.config import Config, Training, to_toml
from catdog.dataset import PhotoSet, in_chunks
from catdog.losses import SoftmaxLoss, SVMLoss, balanced_weights
from catdog.model import MLP
from catdog.optim import AveragedWeights, learning_rate_at, make_optimizer, set_learning_rate

_SHOW_EVERY = 0.5  # seconds between two readings of the running loss, which make a GPU wait


@dataclass
class Progress:
    """Where a training is, and what it has found so far: all of its state but the tensors."""

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Steps done in the current epoch."""
    history: list[dict[str, float]] = field(default_factory=list)
    """A row an epoch, as in metrics.csv."""
    weights: list[dict[str, Any]] = field(default_factory=list)
    """How weights and gradients were spread after the last step of each epoch, as in weights.csv."""
    best_epoch: int = -1

    @property
    def best(self) -> dict[str, float]:
        return self.history[self.best_epoch]


class Interrupted(Exception):
    """Training stopped at a signal, after a checkpoint. `signal` is its number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


class Trainer:
    """Trains `model` on the photos `train`, evaluates it on `val`, and writes to the folder `run`.

    `card` describes the network; its temperature and validation figures are filled in here. `log` is told a line
    after each epoch, `on_epoch` the row of metrics.csv.
    """

    def __init__(
        self,
        config: Config,
        model: MLP,
        train: PhotoSet,
        val: PhotoSet,
        card: ModelCard,
        run: Path,
        device: torch.device,
        log: Callable[[str], None] = print,
        on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
    ) -> None:
        self.config, self.card, self.run, self.device = config, card, run, device
        self.log, self.on_epoch = log, on_epoch
        self.model = model.to(device)
        self.average = AveragedWeights(self.model, config.training.ema)
        self.optimizer = make_optimizer(self.model, config.training)
        weights = class_weights(config.training, train)
        self.loss = make_loss(config.training, config.training.label_smoothing, weights).to(device)
        self.val_loss = make_loss(config.training, 0.0, weights)
        self.train_pixels, self.train_labels = train.pixels.to(device), train.labels.to(device)
        self.val_pixels, self.val_labels = val.pixels.to(device), val.labels
        self.mean, self.std = (torch.tensor(values, device=device) for values in (card.mean, card.std))
        self.steps_per_epoch = -(-len(train) // config.training.batch_size)
        self.progress = Progress()
        self.totals = torch.zeros(3, dtype=torch.float64, device=device)  # of the epoch: loss, right answers, photos
        self._signal = 0

    def fit(self) -> None:
        """Train until the last epoch, or until early stopping; raises Interrupted at SIGINT or SIGTERM."""
        photos = len(self.train_labels)
        with (
            _Signals(self._on_signal),
            tqdm(
                total=photos * self.config.training.epochs, unit=" photos", unit_scale=True, disable=None, leave=False
            ) as bar,
        ):
            bar.update(photos * self.progress.epoch)
            while self.progress.epoch < self.config.training.epochs and not self._has_stalled():
                started = time.perf_counter()
                self._train_epoch(bar)
                self._finish_epoch(photos / (time.perf_counter() - started))

    def _train_epoch(self, bar: Any) -> None:
        training, progress = self.config.training, self.progress
        batches = self._batches(progress.epoch)
        saved = shown = time.monotonic()
        self.model.train()
        for step in range(progress.step, self.steps_per_epoch):
            rows = batches[step].to(self.device)
            images, targets = self._batch(rows, self._rng(progress.epoch, step))
            overall_step = progress.epoch * self.steps_per_epoch + step
            set_learning_rate(self.optimizer, learning_rate_at(overall_step, self.steps_per_epoch, training))

            self.optimizer.zero_grad()
            for part, part_targets in _parts(images, targets, training.accumulate):
                logits = self.model(part)  # forward
                loss = part_targets.loss(self.loss, logits) * (len(part) / len(images))  # loss
                loss.backward()  # backward: dE/dw of every weight, by the chain rule
                self.totals += part_targets.count(loss.detach() * len(images), logits)
            if training.clip_norm:
                nn.utils.clip_grad_norm_(self.model.parameters(), training.clip_norm)
            self.optimizer.step()  # step: w' = w - lr * dE/dw, or the optimizer's refinement of it
            self.average.update(self.model, overall_step)
            if step + 1 == self.steps_per_epoch:
                progress.weights += histograms.of_model(self.model, progress.epoch + 1)

            progress.step = step + 1
            bar.update(len(rows))
            now = time.monotonic()
            if now - shown > _SHOW_EVERY:
                shown = now
                bar.set_description(self._running(), refresh=False)
            if self._signal or now - saved > 60 * self.config.run.checkpoint_minutes > 0:
                self.save()
                saved = time.monotonic()
            if self._signal:
                raise Interrupted(self._signal)

    def _batches(self, epoch: int) -> list[Tensor]:
        """Rows of each batch of an epoch: all photos once, in an order of (seed, epoch) alone, in equal batches."""
        order = np.random.default_rng([self.config.run.seed, epoch]).permutation(len(self.train_labels))
        return [torch.from_numpy(rows) for rows in np.array_split(order, self.steps_per_epoch)]

    def _rng(self, epoch: int, step: int) -> np.random.Generator:
        """The source of all that is random in a step; dropout draws from torch's own, which is set here too."""
        entropy = np.random.SeedSequence([self.config.run.seed, epoch, step])
        torch.manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))
        return np.random.default_rng(entropy)

    def _batch(self, rows: Tensor, rng: np.random.Generator) -> "tuple[Tensor, Targets]":
        drawn = augment.draw(self.config.augment, len(rows), rng)
        images = augment.apply(self.train_pixels[rows], drawn, self.mean, self.std)
        labels = self.train_labels[rows]
        return images, Targets(labels, labels[drawn.partner.to(self.device)], drawn.share)

    def _running(self) -> str:
        loss, right, count = self.totals.tolist()
        epochs = self.config.training.epochs
        return f"epoch {self.progress.epoch + 1}/{epochs} loss {loss / count:.4f} accuracy {right / count:.1%}"

    def _finish_epoch(self, photos_per_second: float) -> None:
        """Evaluate, note the figures, keep the weights if they are the best so far, save."""
        progress = self.progress
        loss_sum, right, count = self.totals.tolist()
        logits = self.evaluate(self.val_pixels)
        labels = self.val_labels.numpy()
        row = {
            "epoch": progress.epoch + 1,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": loss_sum / count,
            "train_accuracy": right / count,
            "val_loss": float(self.val_loss(torch.from_numpy(logits), self.val_labels)),
            "val_accuracy": float((logits.argmax(axis=1) == labels).mean()),
        }
        progress.history.append(row)
        progress.epoch, progress.step = progress.epoch + 1, 0
        self.totals.zero_()
        is_best = progress.best_epoch < 0 or _rank(row) > _rank(progress.best)
        if is_best:
            progress.best_epoch = len(progress.history) - 1
            self._save_best(labels, logits)
        write_text(self.run / "metrics.csv", to_csv(progress.history))
        write_text(self.run / histograms.FILE, histograms.to_csv(progress.weights))
        self.save()
        self.on_epoch(row)
        self.log(
            f"epoch {row['epoch']:>{len(str(self.config.training.epochs))}}/{self.config.training.epochs}"
            f"  loss {row['train_loss']:.4f}  accuracy {row['train_accuracy']:.1%}"
            f"  val loss {row['val_loss']:.4f}  val accuracy {row['val_accuracy']:.2%}{' *' if is_best else '  '}"
            f"  {photos_per_second:,.0f} photos/s"
        )

    @torch.no_grad()
    def evaluate(self, pixels: Tensor) -> np.ndarray:
        """Logits (float32, N x C) of the averaged weights, as prediction computes them: mean over the mirror image."""
        model = self.average.model.eval()
        found = []
        for some in in_chunks(pixels):
            images = augment.normalise(some, self.mean, self.std)
            logits = model(images)
            if self.card.average_mirrored:
                logits = (logits + model(images.flip(3))) / 2
            found.append(logits.float().cpu())
        return torch.cat(found).numpy()

    def _save_best(self, labels: np.ndarray, logits: np.ndarray) -> None:
        best = self.progress.best
        about = {
            **asdict(self.card),
            "architecture": self.card.architecture,
            "temperature": metrics.fit_temperature(labels, logits),
            "validation": {
                "accuracy": best["val_accuracy"],
                "loss": best["val_loss"],
                "photos": len(labels),
                "epoch": best["epoch"],
            },
        }
        tensors = {
            name: tensor.float().cpu().numpy()
            for name, tensor in self.average.model.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        save_model(self.run / MODEL_FILE, tensors, ModelCard(**about))

    def save(self) -> None:
        """Write last.pt: everything that `restore` needs to go on exactly."""
        save_state(
            self.run / STATE_FILE,
            {
                "format_version": FORMAT_VERSION,
                "config": to_toml(self.config),
                "classes": list(self.card.classes),
                "progress": asdict(self.progress),
                "totals": self.totals,
                "model": self.model.state_dict(),
                "average": self.average.model.state_dict() if self.average.decay else {},
                "optimizer": self.optimizer.state_dict(),
            },
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `save` wrote."""
        self.progress = Progress(**state["progress"])
        self.totals.copy_(state["totals"])
        self.model.load_state_dict(state["model"])
        if self.average.decay:
            self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _has_stalled(self) -> bool:
        patience = self.config.training.early_stopping
        return bool(patience) and len(self.progress.history) - 1 - self.progress.best_epoch >= patience

    def _on_signal(self, number: int) -> None:
        self._signal = number


def _rank(row: dict[str, float]) -> tuple[float, float]:
    """The better of two epochs has the higher validation accuracy, or else the lower loss."""
    return row["val_accuracy"], -row["val_loss"]


@dataclass
class Targets:
    """What a batch should be answered with: labels, and where photos were blended, the partner's label too."""

    labels: Tensor
    partners: Tensor
    share: float

    def loss(self, criterion: nn.Module, logits: Tensor) -> Tensor:
        if self.share == 1:
            return criterion(logits, self.labels)
        # Mixup (Zhang 2018, section 2): the loss blends as the photos did.
        return self.share * criterion(logits, self.labels) + (1 - self.share) * criterion(logits, self.partners)

    def count(self, loss_sum: Tensor, logits: Tensor) -> Tensor:
        """(loss, right answers, photos), to be added up."""
        likelier = self.labels if self.share >= 0.5 else self.partners
        right = (logits.detach().argmax(dim=1) == likelier).sum()
        return torch.stack([loss_sum.double(), right.double(), torch.full_like(right, len(logits)).double()])


def _parts(images: Tensor, targets: Targets, parts: int) -> list[tuple[Tensor, Targets]]:
    if parts == 1:
        return [(images, targets)]
    pieces = zip(
        images.tensor_split(parts),
        targets.labels.tensor_split(parts),
        targets.partners.tensor_split(parts),
        strict=True,
    )
    return [(image, Targets(labels, partners, targets.share)) for image, labels, partners in pieces if len(image)]


def class_weights(training: Training, train: PhotoSet) -> Tensor | None:
    """A weight for each class, float32, from the number of its photos; None where all photos weigh the same."""
    if training.class_weights == "none":
        return None
    return balanced_weights(torch.bincount(train.labels, minlength=len(train.classes)).tolist())


def make_loss(training: Training, label_smoothing: float, weights: Tensor | None) -> nn.Module:
    """The loss that the configuration asks for."""
    if training.loss == "svm":
        return SVMLoss(training.squared_hinge, class_weights=weights)
    return SoftmaxLoss(label_smoothing, class_weights=weights)


def to_csv(history: list[dict[str, float]]) -> str:
    """metrics.csv: a header and a row an epoch; numbers as Python writes them, so they read back exactly."""
    return "\n".join([",".join(history[0]), *(",".join(map(repr, row.values())) for row in history), ""])


class _Signals:
    """While inside, the first SIGINT or SIGTERM calls `handler`; a second one does what it did outside."""

    def __init__(self, handler: Callable[[int], None]) -> None:
        self.handler = handler
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self.previous[number] = signal.signal(number, self._first)
            except ValueError:  # not in the main thread, where no signal arrives
                return

    def _first(self, number: int, frame: FrameType | None) -> None:
        self.__exit__()
        self.handler(number)

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}
