"""Steps of training networks of several sizes, from which `benchmarks.parts.constants` gets what a step costs.

python -m benchmarks.peers.constants        by one process, or by as many as torchrun starts

Prints for each of `benchmarks.fit.MEASURED` the seconds of a step, and those of an epoch's end: validation, metrics,
checkpoint.
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.cost_model import Work
from benchmarks.fit import MEASURED
from benchmarks.peers.lines import say
from catdog.base.threads import thread_count
from catdog.config.toml import load_config
from catdog.data.photo_dataset import PhotoDataset
from catdog.model.build import build_model
from catdog.runtime.join import join_world
from catdog.runtime.world import World
from catdog.trainer.card import make_card
from catdog.trainer.events import Event, StepDone
from catdog.trainer.loop import Trainer

CPU = torch.device("cpu")


def measure(work: Work, world: World) -> tuple[float, float]:
    """Seconds of a step, and of the end of an epoch, with what its checkpoint takes from the steps of the next."""
    given = {"image_size": (work.side, work.side), "hidden": work.hidden, "batch_size": work.batch}
    config = load_config(None, {**given, "epochs": work.epochs, "device": "cpu"})
    photos, val = (random_photos(count, work.side) for count in (work.photos, work.val))
    at: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, StepDone):
            at.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            *(config, build_model(config, 2), photos, val, make_card(config, photos), Path(folder), CPU),
            log=lambda line: None,
            listeners=[note],
            world=world,
        )
        trainer.fit()
    ended = time.perf_counter()
    first = work.steps // 2  # what is done once is over by then, and in each epoch the writing of the checkpoint
    late = (number for number in range(1, len(at)) if number % work.steps > first)
    step = statistics.median(at[number] - at[number - 1] for number in late)
    return step, (ended - at[first] - step * (len(at) - 1 - first)) / work.epochs


def random_photos(count: int, side: int) -> PhotoDataset:
    pixels = torch.randint(256, (count, 3, side, side), dtype=torch.uint8)
    return PhotoDataset.from_tensors(pixels, torch.arange(count) % 2, ("cat", "dog"))


def main() -> None:
    with join_world() as world:
        world.start(CPU)
        torch.set_num_threads(thread_count(0, world.local_size)[0])
        found = [measure(work, world) for work in MEASURED]
        if world.is_main:
            say(**{f"{what} {i}": took[j] for i, took in enumerate(found) for j, what in enumerate(("step", "end"))})


if __name__ == "__main__":
    main()
