"""The training loop: forward, loss, backward, step; then a checkpoint.

All randomness of a step comes from (seed, epoch, step), so a training that goes on from a checkpoint, at any step,
repeats to the bit what it would have done without a stop.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from catdog import metrics
from catdog.base.atomic import write_text
from catdog.base.signals import Interrupted, Signals
from catdog.checkpoint.model_file import FORMAT_VERSION, MODEL_FILE, PREVIOUS_FILE, STATE_FILE, ModelCard, save_model
from catdog.checkpoint.training_state import check_fits, check_optimizer, check_scaler, load_state, save_state
from catdog.config.settings import Config
from catdog.config.toml import to_toml
from catdog.data.feed import Feed, in_order
from catdog.errors import SettingsError
from catdog.model.local import share_places
from catdog.runs import histograms
from catdog.runs.history import Progress, to_csv
from catdog.runtime.distributed import ALONE, Team
from catdog.runtime.precision import choose_precision, compiled
from catdog.trainer import augment
from catdog.trainer.advice import what_is_not_learned
from catdog.trainer.divergence import MAX_ROLLBACKS, NotFinite, check_loss, check_state, guessing_loss
from catdog.trainer.ema import AveragedWeights
from catdog.trainer.losses import class_weights, make_loss
from catdog.trainer.optim import make_optimizer
from catdog.trainer.schedule import learning_rate_at, set_learning_rate
from catdog.trainer.targets import Targets, in_parts

_LOOK_EVERY = 16  # steps between two readings of the running loss on a GPU, which waits for them


class Trainer:
    """Trains `model` on the photos `train`, evaluates it on `val`, and writes to the folder `run`.

    `card` describes the network; its temperature and validation figures are filled in here. `log` is told a line
    after each epoch, `on_epoch` the row of metrics.csv.
    """

    def __init__(
        self,
        config: Config,
        model: nn.Module,
        train: Feed,
        val: Feed,
        card: ModelCard,
        run: Path,
        device: torch.device,
        log: Callable[[str], None] = print,
        on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
        team: Team = ALONE,
    ) -> None:
        self.config, self.card, self.run, self.device = config, card, run, device
        self.log, self.on_epoch, self.team = log, on_epoch, team
        self.model = team.prepared(model, device)
        network = team.network(self.model, device)
        self.network = compiled(network, device) if config.run.compile else network  # what a step computes
        self.precision = choose_precision(config.run.precision, device)
        self.precision.set_matrix_products()
        self.scaler = self.precision.scaler()
        self.average = AveragedWeights(self.model, config.training.ema)
        self.optimizer = make_optimizer(self.model, config.training)
        weights = class_weights(config.training, train.labels, len(train.classes))
        self.loss = make_loss(config.training, config.training.label_smoothing, weights).to(device)
        self.val_loss = make_loss(config.training, 0.0, weights)
        self.train, self.val = train.to(device), val.to(device)
        self.mean, self.std = (torch.tensor(values, device=device) for values in (card.mean, card.std))
        self.steps_per_epoch = -(-len(train) // config.training.batch_size)
        team.check_batches(len(train) // self.steps_per_epoch, config.training.accumulate)
        self.progress = Progress()
        exact = torch.float32 if device.type == "mps" else torch.float64  # mps has nothing longer
        self.totals = torch.zeros(3, dtype=exact, device=device)  # of the epoch: loss, right answers, photos
        self.guess = guessing_loss(config.training, len(train.classes))
        self.checks_each_step = device.type == "cpu"
        self._saved = (-1, -1)  # epochs and steps done at the last checkpoint
        self._signal = 0

    def fit(self) -> None:
        """Train until the last epoch, or until early stopping.

        Raises Interrupted at SIGINT or SIGTERM, and SettingsError where the loss is no longer a number.
        """
        photos = len(self.train)
        with (
            Signals(self._on_signal),
            tqdm(
                total=photos * self.config.training.epochs,
                unit=" photos",
                unit_scale=True,
                disable=None if self.team.is_main else True,
                leave=False,
            ) as bar,
        ):
            if self._saved == (-1, -1):
                self.save()  # there is always one to go back to, and a disk without room for it is noticed now
            while not self._is_done():
                bar.update(photos * self.progress.epoch - bar.n)
                started = time.perf_counter()
                try:
                    self._train_epoch(bar)
                    self._finish_epoch(photos / (time.perf_counter() - started))
                except NotFinite as problem:
                    self._recover(problem)

    def _train_epoch(self, bar: Any) -> None:
        progress = self.progress
        batches = self._batches(progress.epoch)
        saved = time.monotonic()
        self._share()
        self.model.train()
        for step, (rows, pixels) in enumerate(self._photos(batches[progress.step :]), progress.step):
            looks = self.checks_each_step or step % _LOOK_EVERY == 0
            said = self._step(rows, pixels, step, looks)
            if looks:
                bar.set_description(said, refresh=False)
            if step + 1 == self.steps_per_epoch:
                progress.weights += histograms.of_model(self.model, progress.epoch + 1)
            progress.step = step + 1
            bar.update(len(rows))
            if looks or self.team.size == 1:  # the others are asked only when the device is waited for anyway
                self._stop_if_asked()
                if self._any(time.monotonic() - saved > 60 * self.config.run.checkpoint_minutes > 0):
                    self.save()
                    saved = time.monotonic()

    def _share(self) -> None:
        """While the places of local layers have the same weights, say so; at the end of that, start a new optimizer.

        What the old one remembers is of gradients that were a mean over all places, and so much smaller.
        """
        epochs, progress = self.config.training.share_epochs, self.progress
        for model in (self.model, self.average.model):
            share_places(model, progress.epoch < epochs)
        if self.config.model.local and progress.epoch == epochs > 0 and progress.step == 0:
            self.optimizer = make_optimizer(self.model, self.config.training)

    def _step(self, rows: Tensor, pixels: Tensor, step: int, looks: bool) -> str:
        """Step number `step` (from 0) of the epoch, on the photos `rows` (B) with their `pixels` (B x 3 x H x W).

        Only if it `looks` does it wait for the device: then it returns the epoch's figures so far, in words, and raises
        NotFinite, before any weight is moved, if they show that training cannot go on.
        """
        training, progress, said = self.config.training, self.progress, ""
        overall_step = progress.epoch * self.steps_per_epoch + step
        rate = learning_rate_at(overall_step, self.steps_per_epoch, training) / 2**progress.rollbacks
        set_learning_rate(self.optimizer, rate)
        images, targets = self._batch(rows, pixels, self._rng(progress.epoch, step))

        self.optimizer.zero_grad()
        for part, part_targets in in_parts(images, targets, training.accumulate):
            with self.precision.autocast():
                logits = self.network(part)  # forward
            logits = logits.to(part.dtype)
            loss = part_targets.loss(self.loss, logits)  # loss
            # backward: dE/dw of every weight, by the chain rule (of all processes: their mean, times how many they are)
            self.scaler.scale(loss * self.team.size).backward()
            self.totals += part_targets.count(loss.detach() * targets.batch_size, logits)
        if looks:
            said = self._check_running(images)
        self.scaler.unscale_(self.optimizer)
        if training.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), training.clip_norm)
        self.scaler.step(self.optimizer)  # step: w' = w - lr * dE/dw, or the optimizer's refinement of it
        self.scaler.update()
        self.average.update(self.model, overall_step)
        return said

    def _batches(self, epoch: int) -> list[Tensor]:
        """Rows of each batch of an epoch: all photos once, in an order of (seed, epoch) alone, in equal batches."""
        order = np.random.default_rng([self.config.run.seed, epoch]).permutation(len(self.train))
        return [torch.from_numpy(rows) for rows in np.array_split(order, self.steps_per_epoch)]

    def _photos(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """For each batch its rows, and the pixels of those that this process needs: its slice; to blend photos, all."""
        if self.team.size == 1:
            yield from self.train.batches(batches)
            return
        needed = batches if self.config.augment.mixup else [rows[self.team.slice(len(rows))] for rows in batches]
        for rows, (_, pixels) in zip(batches, self.train.batches(needed), strict=True):
            yield rows.to(self.device, non_blocking=True), pixels

    def _rng(self, epoch: int, step: int) -> np.random.Generator:
        """The source of all that is random in a step; dropout draws from torch's own, which is set here too."""
        entropy = np.random.SeedSequence([self.config.run.seed, epoch, step])
        # Not torch.manual_seed on a CPU: looking for the generators of other devices, it takes a millisecond.
        seed = torch.default_generator.manual_seed if self.device.type == "cpu" else torch.manual_seed
        seed(int(entropy.generate_state(self.team.rank + 1, np.uint64)[-1] >> 1))
        return np.random.default_rng(entropy)

    def _batch(self, rows: Tensor, pixels: Tensor, rng: np.random.Generator) -> "tuple[Tensor, Targets]":
        """This process's slice of the batch `rows`, changed at random, and what it should be answered with."""
        drawn = augment.draw(self.config.augment, len(rows), rng)
        labels = self.train.labels[rows]
        targets = Targets(labels, labels[drawn.partner.to(self.device, non_blocking=True)], drawn.share)
        if self.team.size > 1:
            own = self.team.slice(len(rows))
            targets = targets.part(own)
            if self.config.augment.mixup:
                pixels, drawn = augment.own_slice(pixels, drawn, own)
            else:
                drawn = drawn.part(own)
        return augment.apply(pixels, drawn, self.mean, self.std), targets

    def _check_running(self, images: Tensor) -> str:
        """The epoch's figures so far, in words; raises NotFinite if they show that training cannot go on."""
        loss, right, count = self.team.sum(self.totals).tolist()
        check_loss(loss / count, self.guess, self.model, images)
        epochs = self.config.training.epochs
        return f"epoch {self.progress.epoch + 1}/{epochs} loss {loss / count:.4f} accuracy {right / count:.1%}"

    def _finish_epoch(self, photos_per_second: float) -> None:
        """Evaluate, note the figures, keep the weights if they are the best so far, save."""
        progress, training = self.progress, self.config.training
        check_state({"model": self.model.state_dict(), "average": self.average.model.state_dict()})
        images = self._some_images()
        self._check_running(images)
        loss_sum, right, count = self.team.sum(self.totals).tolist()
        labels, logits = self.evaluate(self.val)
        answers = logits.argmax(axis=1)
        row = {
            "epoch": progress.epoch + 1,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": loss_sum / count,
            "train_accuracy": right / count,
            "val_loss": float(self.val_loss(torch.from_numpy(logits), torch.from_numpy(labels))),
            "val_accuracy": float((answers == labels).mean()),
        }
        check_loss(row["val_loss"], self.guess, self.model, images)
        is_best = progress.add(row)
        self.totals.zero_()
        if is_best and self.team.is_main:
            self._save_best(labels, logits)
        notes = what_is_not_learned(progress, training, self.card, labels, answers, self._is_done())
        if self.team.is_main:
            write_text(self.run / "metrics.csv", to_csv(progress.history))
            write_text(self.run / histograms.FILE, histograms.to_csv(progress.weights))
        self.save()
        self.on_epoch(row)
        self.log(
            f"epoch {row['epoch']:>{len(str(training.epochs))}}/{training.epochs}"
            f"  loss {row['train_loss']:.4f}  accuracy {row['train_accuracy']:.1%}"
            f"  val loss {row['val_loss']:.4f}  val accuracy {row['val_accuracy']:.2%}{' *' if is_best else '  '}"
            f"  {photos_per_second:,.0f} photos/s"
        )
        for note in notes:
            self.log(note)
        self.checks_each_step = self.device.type == "cpu"
        if not self._is_done():
            self._stop_if_asked()

    @torch.no_grad()
    def evaluate(self, photos: Feed) -> tuple[np.ndarray, np.ndarray]:
        """(labels, int64, N; logits, float32, N x C) of those of `photos` that can be read.

        The logits are of the averaged weights, as prediction computes them: their mean over the mirror image.
        """
        model = self.average.model.eval()
        # A row a photo: the logits, and whether it could be read. Each process fills in some, and the rest is 0.
        answers = torch.zeros(len(photos), len(self.card.classes) + 1, device=self.device)
        alone, batches = self.team.size == 1, in_order(photos)
        for rows, pixels in photos.batches(batches if alone else batches[self.team.rank :: self.team.size]):
            if alone:
                self._stop_if_asked()
            images = self._normalised(pixels)
            logits = model(images)
            if self.card.average_mirrored:
                logits = (logits + model(images.flip(3))) / 2
            answers[rows] = F.pad(logits.float(), (0, 1), value=1.0)
        answers = self.team.sum(answers).cpu()
        is_read = answers[:, -1] > 0
        return photos.labels.cpu()[is_read].numpy(), answers[is_read, :-1].numpy()

    def _some_images(self) -> Tensor:
        """A few photos, normalised, to look for where a number that is not finite comes from."""
        _, pixels = next(self.val.batches([torch.arange(min(64, len(self.val)))]))
        return self._normalised(pixels)

    def _normalised(self, pixels: Tensor) -> Tensor:
        return augment.normalise(pixels, self.mean, self.std)

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

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs to go on exactly: tensors and plain values."""
        return {
            "format_version": FORMAT_VERSION,
            "config": to_toml(self.config),
            "classes": list(self.card.classes),
            "photos": [len(self.train), len(self.val)],
            "progress": asdict(self.progress),
            "totals": self.team.sum(self.totals).cpu().double(),
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict() if self.average.decay else {},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def save(self) -> None:
        """Write last.pt, unless it would hold numbers that are not finite.

        What last.pt was at the end of an epoch is kept as previous.pt, so that the start of the current epoch is in one
        or the other.
        """
        state = self.state()
        check_state(state)
        if self.team.is_main:
            save_state(self.run / STATE_FILE, state, self.run / PREVIOUS_FILE if self._saved[1] == 0 else None)
        self._saved = (self.progress.epoch, self.progress.step)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`; raises ValueError, before anything is changed, if it is not one of this training."""
        check_optimizer(state["optimizer"], self.optimizer)
        state = {"scaler": {}, **state}  # a checkpoint of before there was one
        check_scaler(state["scaler"])
        check_fits(state, {**self.state(), "optimizer": state["optimizer"], "scaler": state["scaler"]})
        check_state(state)
        progress = Progress.from_plain(state["progress"], self.steps_per_epoch, self.config.training.epochs)
        if (progress.step > 0) != (float(state["totals"][2]) > 0):
            raise ValueError("its steps and its photos do not agree")
        self.progress = progress
        self.totals.copy_(state["totals"] if self.team.is_main else torch.zeros(3))  # they are added up
        self.model.load_state_dict(state["model"])
        if self.average.decay:
            self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # none, where the checkpoint was written on a device that needs none
            self.scaler.load_state_dict(state["scaler"])
        self._saved = (self.progress.epoch, self.progress.step)
        if state["photos"] != self.state()["photos"]:
            self.log("the photos are not as many as when this run was started; it will not end as it would have.")

    def _recover(self, problem: NotFinite) -> None:
        """Go back to the start of the epoch, with half the learning rate or to find the step; or SettingsError."""
        progress, on_nan = self.progress, self.config.training.on_nan
        if not self.checks_each_step:
            self.log(f"in epoch {progress.epoch + 1}, {problem}; going over it again, looking at each step.")
            self._go_back()
            self.checks_each_step = True
            return
        at = min(progress.step + 1, self.steps_per_epoch)
        rate = self.optimizer.param_groups[0]["lr"]
        what = f"in epoch {progress.epoch + 1}, step {at}, {problem}; the learning rate was {rate:.3g}"
        if on_nan == "stop":
            mend = f"go on with --resume {self.run} --on-nan rollback, or train again with a lower --learning-rate."
            raise SettingsError(f"{what}, and {self._last_good()}; {mend}")
        if progress.rollbacks == MAX_ROLLBACKS:
            what += f", after {MAX_ROLLBACKS} halvings"
            raise SettingsError(f"{what}, and {self._last_good()}; train again with a lower --learning-rate.")
        self._go_back()
        self.progress.rollbacks = progress.rollbacks + 1
        self.save()
        self.log(f"{what}; going on from the start of epoch {self.progress.epoch + 1} with half of it.")

    def _last_good(self) -> str:
        epoch, step = self._saved
        within = f" and step {step} of the next" if step else ""
        return f"the last good checkpoint is {self.run / STATE_FILE}, after epoch {epoch}{within}"

    def _go_back(self) -> None:
        """To the start of the epoch, not to a later checkpoint, so that it does not matter when those were written."""
        saved = self._saved
        path = self.run / (STATE_FILE if saved[1] == 0 else PREVIOUS_FILE)
        self.restore(self.team.from_main(load_state(path) if self.team.is_main else None))
        self._saved = saved  # of last.pt, which is as it was

    def _is_done(self) -> bool:
        patience, progress = self.config.training.early_stopping, self.progress
        has_stalled = bool(patience) and len(progress.history) - 1 - progress.best_epoch >= patience
        return has_stalled or progress.epoch >= self.config.training.epochs

    def _any(self, condition: bool) -> bool:
        """Whether it is so in any process of the team."""
        return bool(self.team.largest(int(condition), self.device))

    def _stop_if_asked(self) -> None:
        number = self.team.largest(self._signal, self.device)  # a signal that comes meanwhile is for the next time
        if number:
            if self._saved != (self.progress.epoch, self.progress.step):
                self.save()
            self.team.wait()  # for the one that writes: when one ends, all are ended
            raise Interrupted(number, saved=True)

    def _on_signal(self, number: int) -> None:
        self._signal = number
