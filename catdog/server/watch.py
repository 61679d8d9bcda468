"""Watches a training for the page: a listener that tells its figures, its curve and, more rarely, its pictures."""

import math
import threading
import time

from catdog.model.mlp import count_weights
from catdog.server.learned_pictures import Pictures
from catdog.server.voice import Voice
from catdog.tools.doctor.history import check_history
from catdog.trainer.events import EpochDone, Event, StepDone, TrainingDone, TrainingStarted
from catdog.trainer.loop import Trainer

INTERVAL = 0.1  # seconds between two snapshots, at least
_PICTURES_INTERVAL = 0.5  # between two of what is drawn of the weights
_SHARE = 0.1  # of the time, at most, is spent on looking at the weights
_POINTS = 300  # of the curve within the epochs, at most; an even number
_MOST = 5e7  # weights of a network that is looked at: its copies take time and memory
_EARLY = 3  # epochs, before which the doctor says nothing


class Curve:
    """Loss and accuracy within the epochs. Of more than _POINTS points each two become one, and those after as wide."""

    def __init__(self) -> None:
        self._sums: list[tuple[float, float, float, float]] = []  # epochs done; summed loss, correct answers, photos
        self._width = self._in_last = 1  # snapshots in a point, and in the last one

    def add(self, done: float, loss: float, correct: float, count: float) -> None:
        point = (done, loss, correct, count)
        if self._in_last < self._width:
            self._sums[-1] = _together(self._sums[-1], point)
            self._in_last += 1
            return
        if len(self._sums) == _POINTS:
            self._sums = list(map(_together, self._sums[::2], self._sums[1::2]))
            self._width *= 2
        self._sums.append(point)
        self._in_last = 1

    def points(self) -> list[list[float]]:
        """[epochs done, loss, accuracy] of each, to five digits."""
        found = [(done, loss / count, correct / count) for done, loss, correct, count in self._sums]
        return [[float(f"{number:.5g}") for number in point] for point in found]


def _together(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, float, float, float]:
    return b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


class Watch:
    """A listener that tells how the training goes: figures ten times a second at most, and more rarely pictures."""

    def __init__(self, voice: Voice, going: threading.Event) -> None:
        self._voice, self._tell, self._going = voice, voice.tell, going
        self._curve = Curve()
        self._before = (0, 0.0, 0.0, 0.0)  # the epoch, and its totals at the last point
        self._steps = 0  # taken by this process
        self._epochs = 1
        self._told = self._next_pictures = 0.0
        self._started = time.monotonic()
        self._pictures: Pictures | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrainingStarted):
            self._begin(event.trainer)
        elif isinstance(event, StepDone):
            self._steps += 1
            now = time.monotonic()
            if now - self._told >= INTERVAL:
                self._told = now
                self._tell_step(event)
            if now >= self._next_pictures:
                self._look()
            if not self._going.is_set():
                self._pause()
        elif isinstance(event, EpochDone):
            self._tell_epochs()
        elif isinstance(event, TrainingDone):
            self._look()

    def _begin(self, trainer: Trainer) -> None:
        progress, training = trainer.state.progress, trainer.config.training
        self._voice.end_of_plan()
        self._trainer, self._epochs = trainer, training.epochs
        self._before = (progress.epoch + 1, *trainer.state.totals.tolist())
        about = {"classes": trainer.card.classes, "epochs": training.epochs, "guess": trainer.guess}
        self._tell("about", {**about, "photos": len(trainer.val)})
        self._tell("epochs", progress.history)
        is_shown = trainer.card.architecture.is_mlp and count_weights(trainer.state.model) <= _MOST
        self._pictures = Pictures(trainer) if is_shown else None
        if self._pictures:
            self._tell("photos", self._pictures.photos)
        self._look()
        self._started = time.monotonic()
        self._tell("phase", {"phase": "training"})

    def _tell_step(self, event: StepDone) -> None:
        totals = event.totals.tolist()
        epoch, *before = self._before
        if epoch != event.epoch:
            before = [0.0, 0.0, 0.0]
        loss, correct, count = (now - then for now, then in zip(totals, before, strict=True))
        if not count or not math.isfinite(loss):  # as it may be for some steps, until the trainer looks
            return
        self._before = (event.epoch, *totals)
        done = event.epoch - 1 + event.step / event.steps
        self._curve.add(done, loss, correct, count)
        per_step = (time.monotonic() - self._started) / self._steps
        left = event.steps * (self._epochs - event.epoch + 1) - event.step
        self._tell(
            "step",
            {
                "epoch": event.epoch,
                "step": event.step,
                "steps": event.steps,
                "loss": totals[0] / totals[2],
                "accuracy": totals[1] / totals[2],
                "seconds_left": per_step * left,
                "points": self._curve.points(),
            },
        )

    def _tell_epochs(self) -> None:
        trainer = self._trainer
        rows = trainer.state.progress.history
        self._tell("epochs", rows)
        if len(rows) >= min(_EARLY, self._epochs):
            findings = check_history(rows, trainer.guess, len(trainer.card.classes))
            self._tell("doctor", [{"state": f.state, "message": f.message, "advice": f.advice} for f in findings])

    def _look(self) -> None:
        """Tell what the weights look like now and what they answer; the next time is when that costs little."""
        if not self._pictures:
            return
        started = time.monotonic()
        self._tell("pictures", self._pictures.now())
        took = time.monotonic() - started
        self._next_pictures = started + max(_PICTURES_INTERVAL, took / _SHARE)

    def _pause(self) -> None:
        self._look()
        self._tell("phase", {"phase": "paused"})
        paused = time.monotonic()
        self._going.wait()
        self._started += time.monotonic() - paused
        self._tell("phase", {"phase": "training"})
