"""The training loop: an epoch of steps, then validation, then a checkpoint.

All randomness of a step comes from (seed, epoch, step), so a training that is resumed from a checkpoint, at any step,
repeats to the bit what it would have done without a stop.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from catdog.base.atomic import write_text
from catdog.base.progress import bar
from catdog.base.signals import Interrupted, Signals
from catdog.checkpoint.model_card import ModelCard
from catdog.checkpoint.model_file import MODEL_FILE
from catdog.config.settings import Config
from catdog.data.batches import seed_step, shuffled_batches, steps_per_epoch
from catdog.data.photo_dataset import PhotoDataset
from catdog.runs.histograms import WEIGHTS_FILE, histograms_as_csv, weight_histograms
from catdog.runs.history import Progress, to_csv
from catdog.runtime.precision import choose_precision
from catdog.runtime.world import ALONE, World
from catdog.trainer.advice import what_is_not_learned
from catdog.trainer.batch import load_slices, prepare_batch
from catdog.trainer.best_model import save_best
from catdog.trainer.divergence import NotFinite, check_loss, check_state, guessing_loss
from catdog.trainer.ema import AveragedWeights
from catdog.trainer.events import EpochDone, Event, Listener, StepDone, TrainingDone, TrainingStarted, epoch_logger
from catdog.trainer.losses import class_weights, make_loss
from catdog.trainer.optim import make_optimizer
from catdog.trainer.schedule import learning_rate_at, set_learning_rate
from catdog.trainer.snapshots import Checkpoints, TrainState
from catdog.trainer.step import begin_training, train_step
from catdog.trainer.validation import evaluate, some_images

_CHECK_EVERY = 16  # steps between two readings of the running loss on a GPU, which waits for them


class Trainer:
    """Trains `model` on the photos `train`, validates it on `val`, and writes to the folder `run`.

    `card` describes the network; its temperature and validation figures are filled in here. `listeners` are called with
    each event (`catdog.trainer.events`); `log` is given a line after each epoch.
    """

    validated_on = "validation photos right"

    def __init__(
        self,
        config: Config,
        model: nn.Module,
        train: PhotoDataset,
        val: PhotoDataset,
        card: ModelCard,
        run: Path,
        device: torch.device,
        log: Callable[[str], None] = print,
        listeners: Sequence[Listener] = (),
        world: World = ALONE,
    ) -> None:
        training = config.training
        self.config, self.card, self.run, self.device = config, card, run, device
        self.log, self.listeners, self.world = log, [epoch_logger(log), *listeners], world
        self.least: int = model.least_photos  # type: ignore[assignment]  # as MLP and TorchvisionModel have it
        model = world.prepared(model, device)
        begin_training(model, training)
        network = world.network(model, device)
        self.network = network  # what a step computes
        if config.run.compile:
            from catdog.runtime.compilation import compiled

            self.network = compiled(network, device)
        self.precision = choose_precision(config.run.precision, device)
        self.precision.set_matrix_products()
        exact = torch.float32 if device.type == "mps" else torch.float64  # mps has nothing longer
        self.state = TrainState(
            model,
            AveragedWeights(model, training.ema),
            make_optimizer(model, training),
            self.precision.scaler(),
            torch.zeros(3, dtype=exact, device=device),
            Progress(),
        )
        weights = class_weights(training, train.labels, len(train.classes))
        self.loss = make_loss(training, training.label_smoothing, weights).to(device)
        self.val_loss = make_loss(training, 0.0, weights)
        self.train, self.val = train.to(device), val.to(device)
        self.mean, self.std = (torch.tensor(values, device=device) for values in (card.mean, card.std))
        self.steps_per_epoch = steps_per_epoch(len(train), training.batch_size, self.least)
        world.check_batches(len(train) // self.steps_per_epoch, training.accumulate)
        self.guess = guessing_loss(training, len(train.classes))
        self.checks_each_step = device.type == "cpu"
        self.checkpoints = Checkpoints(run, world)
        self._signal = 0

    def fit(self) -> None:
        """Train until the last epoch, or until early stopping.

        Raises Interrupted at SIGINT, SIGTERM or SIGHUP, and SettingsError where the loss is NaN or infinite.
        """
        photos, epochs = len(self.train), self.config.training.epochs
        with (
            Signals(self._on_signal),
            ExitStack() as stack,
            bar("", photos * epochs, unit_scale=True, hidden=not self.world.is_main) as shown,
        ):
            stack.callback(self.checkpoints.wait)
            self._tell(TrainingStarted(self))
            if self.checkpoints.position == (-1, -1):
                self.save()  # there is always one to go back to, and a disk without room for it is noticed now
            while not self._is_done():
                shown.update(photos * self.state.progress.epoch - shown.n)
                started = time.perf_counter()
                try:
                    self.epoch(shown)
                    self._finish_epoch(photos / (time.perf_counter() - started))
                except NotFinite as problem:
                    self._recover(problem)
            self._tell(TrainingDone(self))

    def epoch(self, shown: Any) -> None:
        """Take every step of the epoch that has not been taken yet. shown: a progress bar."""
        config, state, progress = self.config, self.state, self.state.progress
        if config.training.optimizer == "lbfgs":
            from catdog.trainer.closed_form import fit_classifier

            return fit_classifier(self)
        photos, steps = len(self.train), self.steps_per_epoch
        batches = shuffled_batches(photos, steps, config.run.seed, progress.epoch, self.train.shards)
        saved = time.monotonic()
        if config.model.local and config.training.share_epochs:
            from catdog.trainer.sharing import share_for_epochs

            share_for_epochs(state, config.training)
        begin_training(state.model, config.training)
        show = lambda images: shown.set_description(self._check_loss(images), refresh=False)  # noqa: E731
        pixels_of = load_slices(self.train, batches[progress.step :], self.world, whole=bool(config.augment.mixup))
        for step, (rows, pixels) in enumerate(pixels_of, progress.step):
            is_checked = self.checks_each_step or step % _CHECK_EVERY == 0
            self.step(rows, pixels, step, show if is_checked else None)
            if step + 1 == self.steps_per_epoch:
                progress.weights += weight_histograms(state.model, progress.epoch + 1)
            progress.step = step + 1
            self._tell(StepDone(progress.epoch + 1, progress.step, self.steps_per_epoch, state.totals))
            shown.update(len(rows))
            if is_checked or self.world.size == 1:  # others are asked only when the device is waited for anyway
                self.stop_if_asked()
                is_due = time.monotonic() - saved > 60 * config.run.checkpoint_minutes > 0
                if self.world.largest(int(is_due), self.device):
                    self.save()
                    saved = time.monotonic()

    def step(self, rows: Tensor, pixels: Tensor, step: int, check: Callable[[Tensor], object] | None = None) -> None:
        """Step number `step` (from 0) of the epoch, on the photos `rows` (B) with their `pixels` (B x 3 x H x W).

        check: called with the step's images before any weight is moved; without it, the device is not waited for.
        """
        if len(rows) < self.least:  # the others of the batch cannot be read
            return
        config, state, epoch = self.config, self.state, self.state.progress.epoch
        overall_step = epoch * self.steps_per_epoch + step
        rate = learning_rate_at(overall_step, self.steps_per_epoch, config.training) / 2**state.progress.rollbacks
        set_learning_rate(state.optimizer, rate)
        rng = seed_step(config.run.seed, epoch, step, self.device, self.world.rank)
        images, targets = prepare_batch(
            pixels, self.train.labels[rows], config.augment, rng, self.mean, self.std, self.world
        )
        train_step(
            self.network,
            images,
            targets,
            self.loss,
            state.optimizer,
            config.training,
            state.totals,
            precision=self.precision,
            scaler=state.scaler,
            world_size=self.world.size,
            least=1 if self.world.size > 1 else self.least,  # of several processes, each has one or more
            before_step=lambda: check(images) if check else None,
        )
        state.average.update(state.model, overall_step)

    def _finish_epoch(self, photos_per_second: float) -> None:
        """Validate, note the figures, keep the weights if they are the best so far, save."""
        state, progress, training = self.state, self.state.progress, self.config.training
        check_state({"model": state.model.state_dict(), "average": state.average.model.state_dict()})
        images = some_images(self.val, self.mean, self.std)
        self._check_loss(images)
        loss_sum, correct, count = self.world.sum(state.totals).tolist()
        labels, logits = self.evaluate(self.val)
        answers = logits.argmax(axis=1)
        row = {
            "epoch": progress.epoch + 1,
            "learning_rate": state.optimizer.param_groups[0]["lr"],
            "train_loss": loss_sum / count,
            "train_accuracy": correct / count,
            "val_loss": float(self.val_loss(torch.from_numpy(logits), torch.from_numpy(labels))),
            "val_accuracy": float((answers == labels).mean()),
        }
        check_loss(row["val_loss"], self.guess, state.model, images)
        is_best = progress.add(row)
        state.totals.zero_()
        is_done = self._is_done()
        notes = what_is_not_learned(progress, training, self.card, labels, answers, is_done)
        best, metrics, weights = progress.best, to_csv(progress.history), histograms_as_csv(progress.weights)

        def write(saved: dict[str, Any]) -> None:
            if is_best:
                save_best(self.run, self.card, saved["average"] or saved["model"], labels, logits, best)
            if is_done:
                self.complete()
            write_text(self.run / "metrics.csv", metrics)
            write_text(self.run / WEIGHTS_FILE, weights)

        self.checkpoints.save(self._plain_state(), write)
        self._tell(EpochDone(row, training.epochs, is_best, photos_per_second, notes))
        self.checks_each_step = self.device.type == "cpu"
        if not self._is_done():
            self.stop_if_asked()

    def complete(self) -> None:
        """Put into the model file what tells photos like these from others; called before the last checkpoint."""
        from catdog.trainer.fit_familiarity import add_familiarity

        add_familiarity(self.run / MODEL_FILE, self.train, self.val)

    def evaluate(self, photos: PhotoDataset) -> tuple[np.ndarray, np.ndarray]:
        """(labels: int64, N; logits: float32, N x C) of `photos`, by the averaged weights, as prediction has them."""
        if photos.features is not None:
            from catdog.trainer.closed_form import logits_of

            return logits_of(self.state.average.model, photos)
        return evaluate(
            self.state.average.model,
            photos,
            self.mean,
            self.std,
            average_mirrored=self.card.average_mirrored,
            world=self.world,
            between_batches=self.stop_if_asked,
        )

    def in_words(self) -> list[str]:
        """Sentences on what the best epoch's figures mean."""
        return []

    def save(self) -> None:
        """Begin to write a checkpoint; NotFinite if it would hold NaN or infinite numbers."""
        self.checkpoints.save(self._plain_state())

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over a checkpoint; raises ValueError, before anything is changed, if it is not one of this training."""
        like, is_main = self._plain_state(), self.world.is_main
        self.state.restore(saved, like, self.steps_per_epoch, self.config.training.epochs, is_main)
        self.checkpoints.position = (self.state.progress.epoch, self.state.progress.step)
        if saved["photos"] != like["photos"]:
            self.log("the photos are not as many as when this run was started; it will not end as it would have.")

    def _plain_state(self) -> dict[str, Any]:
        photos = [len(self.train), len(self.val)]
        return self.state.to_plain(self.config, self.card, photos, self.world)

    def _recover(self, problem: NotFinite) -> None:
        """Go back to the start of the epoch, to find the step or with half the learning rate; or SettingsError."""
        from catdog.trainer.recovery import recover

        recover(self, problem)

    def _check_loss(self, images: Tensor) -> str:
        """The epoch's figures so far, in words; raises NotFinite if they show that training cannot go on."""
        loss, correct, count = self.world.sum(self.state.totals).tolist()
        check_loss(loss / count, self.guess, self.state.model, images)
        epochs = self.config.training.epochs
        return f"epoch {self.state.progress.epoch + 1}/{epochs} loss {loss / count:.4f} accuracy {correct / count:.1%}"

    def _is_done(self) -> bool:
        training, progress = self.config.training, self.state.progress
        return progress.is_stalled(training.early_stopping) or progress.epoch >= training.epochs

    def _tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    def stop_if_asked(self) -> None:
        """Where a signal has come, save and raise Interrupted."""
        number = self.world.largest(self._signal, self.device)  # a signal that comes meanwhile is for the next time
        if number:
            if self.checkpoints.position != (self.state.progress.epoch, self.state.progress.step):
                self.save()
            self.checkpoints.wait()
            self.world.wait()  # for the one that writes: when one ends, all are ended
            raise Interrupted(number, saved=True)

    def _on_signal(self, number: int) -> None:
        self._signal = number
