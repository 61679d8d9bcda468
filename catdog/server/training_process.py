"""The process of a training that the page watches: the same `catdog train`, which tells the server what the page shows.

On standard output: a line for each thing told, its name and its value as JSON. On standard input: the task, as JSON,
then commands, a line each: pause, continue, stop. The end of the input, when the server has ended, means stop too.
"""

import base64
import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
from _thread import interrupt_main
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catdog.base.cpus import usable_cpus
from catdog.base.signals import Interrupted, Signals, stop_at_once
from catdog.base.worker import claim_standard_output
from catdog.config.toml import load_config
from catdog.errors import CatdogError, ImageError

if TYPE_CHECKING:
    from torch import Tensor

    from catdog.numpy_net import Floats
    from catdog.predict import Classifier
    from catdog.tools.explain.backprop import Network
    from catdog.trainer.events import EpochDone, Event, StepDone
    from catdog.trainer.loop import Trainer

INTERVAL = 0.1  # seconds between two snapshots, at least
_PICTURES_INTERVAL = 0.5  # between two of what is drawn of the weights
_SHARE = 0.1  # of the time, at most, is spent on looking at the weights
_POINTS = 300  # of the curve within the epochs, at most; an even number
_PHOTOS, _UNITS, _TEMPLATES = 24, 24, 8  # shown
_MOST = 5e7  # weights of a network that is looked at: its copies take time and memory
_THUMBNAIL = 112  # pixels of a photo's longer side
_LARGEST = 64  # pixels of the longer side of a neuron's image
_EARLY = 3  # epochs, before which the doctor says nothing
_LINES = 500  # of the log


class Voice:
    """Tells the server; what it has no ear for any more is lost, and the training goes on to its end or its stop."""

    def __init__(self) -> None:
        self._output = claim_standard_output()
        self._lines: list[str] = []
        self._begun = 0  # how many lines belong to the plan

    def tell(self, name: str, value: Any) -> None:
        line = f"{name} {json.dumps(value)}\n"
        with contextlib.suppress(OSError):
            self._output.write(line.encode())
            self._output.flush()

    def log(self, line: str) -> None:
        """A line of train.log: of the plan until the training begins, then a note, unless the curves show as much."""
        if not (self._begun and line.startswith("epoch ")):
            self._lines = [*self._lines, line][-_LINES:]
            self._tell_lines()

    def end_of_plan(self) -> None:
        self._begun = len(self._lines)
        self._tell_lines()

    def _tell_lines(self) -> None:
        begun = self._begun or len(self._lines)
        self.tell("log", {"plan": self._lines[:begun], "notes": self._lines[begun:]})


class Commands:
    """The server's commands, which a thread reads: `going` is not set while the training is to pause."""

    def __init__(self) -> None:
        self.task = json.loads(sys.stdin.buffer.readline())
        self.going = threading.Event()
        self.going.set()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            if line == b"pause\n":
                self.going.clear()
            elif line == b"continue\n":
                self.going.set()
            else:
                break
        self.going.set()
        interrupt_main(signal.SIGTERM)  # as Ctrl-C does: a checkpoint is written


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

    def __init__(self, voice: Voice, commands: Commands) -> None:
        self._voice, self._tell, self._going = voice, voice.tell, commands.going
        self._curve = Curve()
        self._rows: list[dict[str, float]] = []
        self._before = (0, 0.0, 0.0, 0.0)  # the epoch, and its totals at the last point
        self._steps = 0  # taken by this process
        self._epochs, self._guess, self._classes = 1, 0.0, 2
        self._told = self._next_pictures = 0.0
        self._started = time.monotonic()
        self._pictures: Pictures | None = None

    def __call__(self, event: "Event") -> None:
        from catdog.trainer.events import EpochDone, StepDone, TrainingDone, TrainingStarted

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
            self._tell_epoch(event)
        elif isinstance(event, TrainingDone):
            self._look()

    def _begin(self, trainer: "Trainer") -> None:
        from catdog.model.mlp import count_weights

        progress, training = trainer.state.progress, trainer.config.training
        self._voice.end_of_plan()
        self._epochs, self._guess, self._classes = training.epochs, trainer.guess, len(trainer.card.classes)
        self._rows = list(progress.history)
        self._before = (progress.epoch + 1, *trainer.state.totals.tolist())
        about = {"classes": trainer.card.classes, "epochs": training.epochs, "guess": trainer.guess}
        self._tell("about", {**about, "photos": len(trainer.val)})
        self._tell("epochs", self._rows)
        is_shown = trainer.card.architecture.is_mlp and count_weights(trainer.state.model) <= _MOST
        self._pictures = Pictures(trainer) if is_shown else None
        if self._pictures:
            self._tell("photos", self._pictures.photos)
        self._look()
        self._started = time.monotonic()
        self._tell("phase", {"phase": "training"})

    def _tell_step(self, event: "StepDone") -> None:
        totals = event.totals.tolist()
        epoch, *before = self._before
        if epoch != event.epoch:
            before = [0.0, 0.0, 0.0]
        loss, correct, count = (now - then for now, then in zip(totals, before, strict=True))
        if not count:
            return
        self._before = (event.epoch, *totals)
        done = event.epoch - 1 + event.step / event.steps
        self._curve.add(done, loss, correct, count)
        per_step = (time.monotonic() - self._started) / self._steps
        left = self._epochs * event.steps - (event.epoch - 1) * event.steps - event.step
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

    def _tell_epoch(self, event: "EpochDone") -> None:
        self._rows.append(event.row)
        self._tell("epochs", self._rows)
        if len(self._rows) >= min(_EARLY, self._epochs):
            from catdog.tools.doctor.history import check_history

            findings = check_history(self._rows, self._guess, self._classes)
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


class Pictures:
    """What the network has learned to look for, as images, and its answers to a fixed choice of validation photos.

    By the averaged weights, in NumPy, as prediction computes: the training's own network is only read.
    """

    def __init__(self, trainer: "Trainer") -> None:
        import numpy as np

        from catdog.drawing.page import jpeg, thumbnail

        self._trainer, listing = trainer, trainer.val.listing
        self._first = self._network_of(_first_weights(trainer))[1].layers[0]
        self._units: list[int] = []
        pixels, self.photos = [], []
        # Where all photos are trained on (folds), none is left whose answers would mean something.
        for row in _spread(listing.labels, len(listing.classes)) if trainer.config.photos.folds == 1 else ():
            with contextlib.suppress(ImageError):
                pixels.append(trainer.val[row][0].cpu().numpy())
                picture = thumbnail(listing.path(row))
                if picture is not None:
                    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
                data = base64.b64encode(jpeg(picture) or b"").decode()
                self.photos.append({"label": listing.labels[row], "jpeg": data})
        self._pixels = np.stack(pixels) if pixels else None

    def _network_of(self, weights: "dict[str, Tensor]") -> "tuple[Classifier, Network]":
        from catdog.predict import Classifier
        from catdog.tools.explain.backprop import Network

        tensors = {name: tensor.float().cpu().numpy() for name, tensor in weights.items()}
        classifier = Classifier(tensors, self._trainer.card)
        return classifier, Network.of(classifier)

    def now(self) -> dict[str, Any]:
        """Images in base64, uint8, height x width x 3, and for each photo the probabilities of its classes.

        templates: how the average photo would have to change for each class. units: of the most important neurons of
        the first layer, the weights less those that they began with; a neuron that stays among them keeps its place.
        """
        import numpy as np

        from catdog.numpy_net import softmax
        from catdog.tools.explain.learned import class_gradients, importance

        classifier, network = self._network_of(self._trainer.state.average.model.state_dict())
        first = network.layers[0]
        gradients, templates = class_gradients(network, np.zeros(first.inputs))
        best = np.argsort(-importance(network), kind="stable")[:_UNITS].tolist()
        new = [unit for unit in best if unit not in self._units]
        self._units = [unit if unit in best else new.pop(0) for unit in self._units] or best
        speaks_for = gradients[0].out.argmax(axis=0)
        height, width = classifier.card.architecture.image_size
        shown = min(1.0, _LARGEST / max(height, width))
        size = (max(1, round(height * shown)), max(1, round(width * shown)))

        def pixels(weights: "Floats") -> str:
            return base64.b64encode(_picture(weights, (height, width), size)).decode()

        return {
            "height": size[0],
            "width": size[1],
            "templates": [pixels(one) for one in templates[:_TEMPLATES]],
            "units": [
                {
                    "unit": unit,
                    "speaks_for": int(speaks_for[unit]),
                    "pixels": pixels(first.row(unit) - self._first.row(unit)),
                }
                for unit in self._units
            ],
            "answers": [] if self._pixels is None else softmax(classifier.logits(self._pixels)).round(4).tolist(),
        }


def _picture(weights: "Floats", size: tuple[int, int], shown: tuple[int, int]) -> bytes:
    """Weights by input, smoothed, as the bytes of an image of `shown` = (height, width): grey is 0."""
    import numpy as np
    from PIL import Image

    from catdog.tools.explain.learned import as_picture, smooth

    picture = Image.fromarray(np.uint8(255 * as_picture(smooth(weights, size), size) + 0.5))
    return picture.resize(shown[::-1], Image.Resampling.BOX).tobytes()


def _first_weights(trainer: "Trainer") -> "dict[str, Tensor]":
    """The weights that the training began with: of a resumed one, drawn anew; where others were taken over, today's."""
    import torch

    from catdog.model.build import build_network

    config = trainer.config
    if config.model.start_from != "none" or trainer.state.progress.epoch + trainer.state.progress.step == 0:
        return {name: tensor.clone() for name, tensor in trainer.state.average.model.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        return build_network(config, len(trainer.card.classes), pretrained=False).state_dict()


def _spread(labels: Sequence[int], classes: int) -> list[int]:
    """Rows of photos, as many of each class, spread over all of its photos."""
    chosen = []
    for label in range(min(classes, _PHOTOS)):
        mine = [row for row, of in enumerate(labels) if of == label]
        count = min(len(mine), max(1, _PHOTOS // classes))
        chosen += [mine[i * len(mine) // count] for i in range(count)]
    return chosen


class _NoTerminal(io.TextIOWrapper):
    """Standard error without progress bars, for which the terminal is that of the server."""

    def isatty(self) -> bool:
        return False


def main() -> None:
    """Be that process."""
    sys.stderr = _NoTerminal(io.FileIO(os.dup(2), "w"), write_through=True)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(usable_cpus()[0]))  # as for `catdog train`
    voice = Voice()
    end: dict[str, Any] = {"phase": "done"}
    try:
        with Signals(stop_at_once):
            commands = Commands()
            _train(commands.task, voice, Watch(voice, commands))
    except Interrupted as stop:
        end = {"phase": "stopped", "saved": stop.saved, "sentence": stop.advice}
    except CatdogError as error:
        end = {"phase": "failed", "sentence": str(error)}
    voice.tell("phase", end)
    sys.stderr.flush()
    os._exit(0)  # torch's parts are not freed


def _train(task: dict[str, Any], voice: Voice, watch: Watch) -> None:
    os.chdir(task["folder"])
    if run := task.get("resume"):
        voice.tell("run", Path(run).name)
        voice.tell("phase", {"phase": "preparing"})
        from catdog.train import resume

        resume(Path(run), voice.log, [watch])
        return
    from catdog.data.warm_up import WarmUp
    from catdog.runs.paths import new_run

    with new_run(load_config(None, task["settings"]), voice.log) as (config, folder):
        voice.tell("run", folder.path.name)
        voice.tell("phase", {"phase": "preparing"})
        with WarmUp(config).bar:
            from catdog.train import train
        train(config, voice.log, [watch], folder)
