"""All that a training changes, as last.pt holds it: taken, saved, and put back exactly."""

import copy
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from catdog.checkpoint.model_card import FORMAT_VERSION, ModelCard
from catdog.checkpoint.model_file import PREVIOUS_FILE, STATE_FILE
from catdog.checkpoint.training_state import save_state
from catdog.config.settings import Config
from catdog.config.toml import to_toml
from catdog.runs.history import Progress
from catdog.runtime.world import World
from catdog.trainer.divergence import check_state
from catdog.trainer.ema import AveragedWeights


@dataclass
class TrainState:
    """All that a training changes."""

    model: nn.Module
    average: AveragedWeights
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    totals: Tensor
    """float, 3: summed loss, correct answers and photos of the epoch so far, of this process."""
    progress: Progress

    def to_plain(self, config: Config, card: ModelCard, photos: list[int], world: World) -> dict[str, Any]:
        """Everything that `restore` needs: tensors and plain values. photos: how many to train and to validate on."""
        return {
            "format_version": FORMAT_VERSION,
            "config": to_toml(config),
            "classes": list(card.classes),
            "photos": photos,
            "start": {name: getattr(card, name) for name in ("started_from", "mean", "std")},
            "progress": asdict(self.progress),
            "totals": world.sum(self.totals).cpu().double(),
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict() if self.average.decay else {},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(
        self, saved: dict[str, Any], like: dict[str, Any], steps_per_epoch: int, epochs: int, is_main: bool
    ) -> None:
        """Take over `saved`, what `to_plain` gave of the same training; `like`: what it gives now.

        Raises ValueError, before anything is changed, if `saved` is not of this training.
        """
        from catdog.checkpoint.saved_state import check_fits, check_optimizer, check_scaler

        check_optimizer(saved["optimizer"], self.optimizer)
        saved = {"scaler": {}, "start": like["start"], **saved}  # a checkpoint of before there were these
        check_scaler(saved["scaler"])
        check_fits(saved, {**like, "optimizer": saved["optimizer"], "scaler": saved["scaler"]})
        check_state(saved)
        progress = Progress.from_plain(saved["progress"], steps_per_epoch, epochs)
        if (progress.step > 0) != (float(saved["totals"][2]) > 0):
            raise ValueError("its steps and its photos do not agree")
        self.progress = progress
        self.totals.copy_(saved["totals"] if is_main else torch.zeros(3))  # they are added up
        self.model.load_state_dict(saved["model"])
        if self.average.decay:
            self.average.model.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if saved["scaler"]:  # none, where the checkpoint was written on a device that needs none
            self.scaler.load_state_dict(saved["scaler"])


class Checkpoints:
    """`last.pt` and `previous.pt` of the run folder `run`, which a thread of the main process writes."""

    def __init__(self, run: Path, world: World) -> None:
        self.run, self.world = run, world
        self.position = (-1, -1)
        """Epochs finished, and steps done in the next one, at the last checkpoint."""
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def save(self, state: dict[str, Any], before: Callable[[dict[str, Any]], object] = lambda state: None) -> None:
        """Begin to write last.pt, unless it would hold NaN or infinite numbers: then it raises NotFinite.

        before: called with a copy of `state`, by the thread that then writes it. What goes wrong there is raised by the
        next call, or by `wait`. What last.pt was at the end of an epoch is kept as previous.pt, so that the start of
        the current epoch is in one or the other.
        """
        check_state(state)
        self.wait()
        if self.world.is_main:
            kept = self.run / PREVIOUS_FILE if self.position[1] == 0 else None
            copied = copy.deepcopy(state)  # the next steps change these tensors

            def write() -> None:
                before(copied)
                save_state(self.run / STATE_FILE, copied, kept)

            self._writing = self._thread.submit(write)
        self.position = (state["progress"]["epoch"], state["progress"]["step"])

    def wait(self) -> None:
        """Wait until the last checkpoint is on the disk."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
