"""catdog's training step on a GPU beside two floors: the bytes it must move and the multiplications it must do.

A step reads and writes every weight, its gradient and its two moments, and does 6 floating-point operations for each
weight and photo (2 forward, 4 backward). How quick the GPU is at either is measured, by a large copy and a large
matrix product.
"""

import argparse
import contextlib
import statistics
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.peers.lines import say
from catdog import augment
from catdog.config import Config
from catdog.model import MLP, count_weights
from catdog.optim import make_optimizer

PRECISIONS = ("float32", "tf32", "bfloat16")


def seconds(work: Callable[[], object], times: int = 20) -> float:
    """The median of `times` runs of `work` on the GPU, after as many that are not counted."""
    found = []
    for i in range(2 * times):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        work()
        after.record()
        torch.cuda.synchronize()
        if i >= times:
            found.append(before.elapsed_time(after) / 1000)
    return statistics.median(found)


def bytes_a_second(device: torch.device) -> float:
    large = torch.empty(2**29, dtype=torch.uint8, device=device)
    other = torch.empty_like(large)
    return 2 * len(large) / seconds(lambda: other.copy_(large))


def operations_a_second(device: torch.device, dtype: torch.dtype) -> float:
    square = torch.randn(8192, 8192, dtype=dtype, device=device)
    return 2 * 8192**3 / seconds(lambda: square @ square)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("precision", choices=PRECISIONS)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--photos", type=int, default=16_000)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        say(gpus=0)
        return
    device = torch.device("cuda")
    torch.backends.cuda.matmul.allow_tf32 = args.precision == "tf32"
    dtype = torch.bfloat16 if args.precision == "bfloat16" else torch.float32
    config = Config()
    model = MLP(config.photos.image_size, 2).to(device)
    optimizer = make_optimizer(model, config.training)
    pixels = torch.randint(256, (args.photos, 3, *config.photos.image_size), dtype=torch.uint8, device=device)
    labels = torch.randint(2, (args.photos,), device=device)
    mean, std = torch.full((3,), 128.0, device=device), torch.full((3,), 64.0, device=device)
    rng = np.random.default_rng(0)

    def step() -> None:
        rows = torch.from_numpy(rng.integers(args.photos, size=args.batch_size)).to(device)
        images = augment.apply(pixels[rows], augment.draw(config.augment, args.batch_size, rng), mean, std)
        optimizer.zero_grad()
        mixed = torch.autocast("cuda", dtype) if dtype != torch.float32 else contextlib.nullcontext()
        with mixed:
            logits = model(images)
        F.cross_entropy(logits.float(), labels[rows]).backward()
        optimizer.step()

    bandwidth, operations = bytes_a_second(device), operations_a_second(device, dtype)
    weights = count_weights(model)
    # Weight, gradient and two moments, 4 bytes each: the gradient is written and read, the others are read and written;
    # the weight is read once more forward and once backward.
    least_bytes = weights * 4 * (2 * 4 + 2)
    least_operations = 6 * weights * args.batch_size
    took = seconds(step)
    floor = max(least_bytes / bandwidth, least_operations / operations)
    say(
        gpus=torch.cuda.device_count(),
        photos_per_second=args.batch_size / took,
        step_milliseconds=took * 1000,
        bytes_floor_milliseconds=least_bytes / bandwidth * 1000,
        arithmetic_floor_milliseconds=least_operations / operations * 1000,
        share_of_floor=floor / took,
    )


if __name__ == "__main__":
    main()
