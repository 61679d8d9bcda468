"""catdog's training step on a GPU beside two floors: the bytes it must move and the multiplications it must do.

A step reads and writes every weight, its gradient and its two moments, and does 6 floating-point operations for each
weight and photo (2 forward, 4 backward). How quick the device is at either is measured, by a large copy and a large
matrix product.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.peers.lines import say
from catdog.config.toml import load_config
from catdog.data.batches import shuffled_batches
from catdog.data.photo_dataset import PhotoBatch, PhotoDataset
from catdog.model.build import build_model
from catdog.model.mlp import count_weights
from catdog.runtime.precision import choose_precision
from catdog.trainer.card import make_card
from catdog.trainer.loop import Trainer

PRECISIONS = ("float32", "bfloat16", "float16")
_TIMES = 20


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """What `work` takes on the device, in seconds: the median of several runs, after as many that are not counted."""
    found = []
    for i in range(2 * _TIMES):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if i >= _TIMES:
            found.append(time.perf_counter() - started)
    return statistics.median(found)


def bytes_a_second(device: torch.device, count: int) -> float:
    large = torch.empty(count, dtype=torch.uint8, device=device)
    other = torch.empty_like(large)
    return 2 * count / seconds(lambda: other.copy_(large), device)


def operations_a_second(device: torch.device, dtype: torch.dtype, side: int) -> float:
    square = torch.randn(side, side, dtype=dtype, device=device)
    return 2 * side**3 / seconds(lambda: square @ square, device)


def measure(device: torch.device, precision: str, photos: int, side: int) -> dict[str, float]:
    """side: of the matrix multiplied, whose square is the number of elements copied, 8 bytes each."""
    config = load_config(None, {"device": str(device), "precision": precision, "batch_size": 256})
    height, width = config.photos.image_size
    pixels = torch.randint(256, (photos, 3, height, width), dtype=torch.uint8)
    train = PhotoDataset.from_tensors(pixels, torch.arange(photos) % 2, ("cat", "dog"))
    model = build_model(config, 2)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, model, train, train, make_card(config, train), Path(folder), device)
    trainer.state.model.train()
    batches = shuffled_batches(photos, trainer.steps_per_epoch, config.run.seed, epoch=0)
    taken = 0

    def step() -> None:
        nonlocal taken
        number = taken % len(batches)
        batch = trainer.train.__getitems__(batches[number])
        assert isinstance(batch, PhotoBatch)
        trainer.step(batch.rows, batch.pixels, number)
        taken += 1

    bandwidth = bytes_a_second(device, 8 * side**2)
    operations = operations_a_second(device, choose_precision(precision, device).dtype, side)
    weights, batch_size = count_weights(model), len(batches[0])
    # Weight, gradient and two moments, 4 bytes each: the gradient is written and read, the others are read and written;
    # the weight is read once more forward and once backward.
    bytes_floor = weights * 4 * (2 * 4 + 2) / bandwidth
    arithmetic_floor = 6 * weights * batch_size / operations
    took = seconds(step, device)
    return {
        "photos_per_second": batch_size / took,
        "step_milliseconds": took * 1000,
        "bytes_floor_milliseconds": bytes_floor * 1000,
        "arithmetic_floor_milliseconds": arithmetic_floor * 1000,
        "share_of_floor": max(bytes_floor, arithmetic_floor) / took,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("precision", choices=PRECISIONS)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        say(gpus=0)
        return
    figures = measure(torch.device("cuda"), arguments.precision, photos=16_000, side=8192)
    say(gpus=torch.cuda.device_count(), **figures)


if __name__ == "__main__":
    main()
