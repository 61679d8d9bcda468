"""What a part of the benchmark consists of, and how catdog itself is run and read."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.photos import Place
from benchmarks.processes import Ended, run_peer, run_python
from benchmarks.results import Limit, Problem

Figures = dict[str, float]


@dataclass(frozen=True)
class Contender:
    """`measure(place, round)` runs it once, in a process of its own, and gives its figures; Problem where it
    cannot.

    needs: the package without which it is left out. rounds: how often at most; 0: as often as asked. usually: how often
    where no number of rounds is asked for; 0: as often as its part.
    """

    name: str
    measure: Callable[[Place, int], Figures]
    needs: str = ""
    rounds: int = 0
    usually: int = 0


@dataclass(frozen=True)
class Part:
    """Contenders that are measured side by side, and their limits. rounds: how often where no number is asked for."""

    name: str
    about: str
    contenders: Sequence[Contender]
    limits: Sequence[Limit] = ()
    rounds: int = 1

    def rounds_of(self, contender: Contender, asked: int) -> int:
        """asked: a number for all, or 0."""
        wanted = asked or contender.usually or self.rounds
        return min(wanted, contender.rounds or wanted)


# The network and the training of the tutorial's loop, as flags of catdog.
PLAIN_NETWORK = ("--image-size", 64, 64, "--hidden", 512, 256, "--activation", "relu", "--no-batch-norm")
PLAIN_TRAINING = (
    *("--label-smoothing", 0, "--optimizer", "adamw", "--learning-rate", 1e-3, "--weight-decay", 0),
    *("--ema", 0, "--clip-norm", 0, "--schedule", "constant", "--warmup-epochs", 0),
)
NO_AUGMENTATION = (
    *("--no-flip", "--crop-area", 1, "--crop-ratio", 1),
    *("--brightness", 0, "--contrast", 0, "--saturation", 0, "--mixup", 0),
)
LIKE_THE_TUTORIAL = (*PLAIN_NETWORK, *PLAIN_TRAINING, *NO_AUGMENTATION)


@dataclass(frozen=True)
class Epoch:
    """What a program said of an epoch, and when, in seconds since its start. accuracy: of validation, 0 to 1."""

    at: float
    photos_per_second: float
    accuracy: float


_EPOCH = re.compile(r"epoch +\d+/\d+ .*val accuracy ([\d.]+)%.* ([\d,]+) photos/s")


def accuracy_in(line: str) -> float | None:
    """Validation accuracy in a line that catdog or a peer prints after an epoch; None for another line."""
    epoch = _epoch(0.0, line)
    return None if epoch is None else epoch.accuracy


def _epoch(at: float, line: str) -> Epoch | None:
    if found := _EPOCH.search(line):
        return Epoch(at, float(found[2].replace(",", "")), float(found[1]) / 100)
    if line.startswith('{"epoch"'):
        said = json.loads(line)
        return Epoch(at, said["photos_per_second"], said["accuracy"])
    return None


def epochs_of(ended: Ended) -> list[Epoch]:
    """All epochs of a training; Problem where it said nothing of any."""
    found = [epoch for at, line in ended.lines if (epoch := _epoch(at, line))]
    if not found:
        raise Problem("a training ended without a word of any epoch; see what it prints.")
    return found


def said(ended: Ended) -> Figures:
    """The figures in the last line of JSON that a peer printed."""
    lines = [line for _, line in ended.lines if line.startswith("{")]
    if not lines:
        raise Problem("a program ended without its figures; see what it prints.")
    return dict(json.loads(lines[-1]))


def catdog_train(
    data: Path,
    folder: Path,
    *flags: object,
    cache: Path | str | None = None,
    until: Callable[[str], bool] = lambda line: False,
    is_warm: bool = False,
) -> Ended:
    """`catdog train` on the processor; its run is `folder`/run, its cache a new one unless it is given.

    is_warm: torch has imported before what it imports at the first optimizer.
    """
    places = ("--data", data, "--out", folder / "run", "--cache", cache or folder / "cache")
    program = ("benchmarks.peers.warm_train",) if is_warm else ("catdog", "train")
    return run_python(["-m", *program, *places, "--device", "cpu", *flags], folder, until)


def peer_train(
    peer: str, data: Path, folder: Path, *flags: object, until: Callable[[str], bool] = lambda line: False
) -> Ended:
    """The program peers/`peer`.py; its weights are `folder`/model.pt."""
    return run_peer(peer, data, "--out", folder / "model.pt", *flags, folder=folder, until=until)


PEERS = {"fastai": "fastai_learner", "lightning": "lightning_trainer", "timm": "timm_loader"}
"""Package -> program of each peer that is an extra; the tutorial needs none."""
