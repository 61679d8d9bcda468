"""The constants of `benchmarks.cost_model` on this machine.

python -m benchmarks.peers.constants steps             t0, F, g and M, fitted to steps of several sizes
python -m benchmarks.peers.constants sums 2            latency and bytes a second of a sum over 2 processes (Gloo)
"""

import argparse
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from benchmarks.cost_model import PASSES, Work
from benchmarks.peers.lines import say
from catdog.base.cpus import usable_cpus
from catdog.config.toml import load_config
from catdog.data.batches import shuffled_batches
from catdog.data.photo_dataset import PhotoBatch, PhotoDataset
from catdog.model.build import build_model
from catdog.trainer.card import make_card
from catdog.trainer.loop import Trainer

CPU = torch.device("cpu")
SIZES = [  # side, hidden layers, batch
    (16, (64,), 32),
    (24, (256,), 64),
    (24, (1024, 1024), 256),
    (32, (2048, 2048), 32),
    (48, (512,), 256),
    (64, (512, 256), 128),
    (96, (256,), 128),
]
SUMS = (2**10, 2**24)  # bytes


def step_seconds(side: int, hidden: tuple[int, ...], batch: int, steps: int = 12) -> float:
    """The median of some steps, their photos gathered and changed included."""
    given = {"image_size": (side, side), "hidden": hidden, "batch_size": batch, "device": "cpu"}
    config = load_config(None, given)
    pixels = torch.randint(256, (2 * batch, 3, side, side), dtype=torch.uint8)
    photos = PhotoDataset.from_tensors(pixels, torch.arange(2 * batch) % 2, ("cat", "dog"))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, build_model(config, 2), photos, photos, make_card(config, photos), Path(folder), CPU)
    trainer.state.model.train()
    seconds = []
    for number in range(steps + 2):
        rows = shuffled_batches(2 * batch, 2, seed=0, epoch=number)[0]
        began = time.perf_counter()
        some = trainer.train.__getitems__(rows)
        assert isinstance(some, PhotoBatch)
        trainer.step(some.rows, some.pixels, number)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[2:])


def fit_steps() -> dict[str, float]:
    """The constants, not below 0, with which the relative errors of all sizes are least."""
    torch.set_num_threads(usable_cpus()[0])
    works = [Work(batch, 0, side, hidden, batch, 1) for side, hidden, batch in SIZES]
    took = np.array([step_seconds(*size) for size in SIZES])
    costs = np.array([(1, w.batch * w.flops, w.batch * w.values, PASSES * w.weights) for w in works], float)
    costs /= took[:, None]
    left, found = list(range(4)), np.zeros(4)
    while True:
        scale = np.abs(costs[:, left]).max(0)
        part = np.linalg.lstsq(costs[:, left] / scale, np.ones(len(works)), rcond=None)[0] / scale
        if (part > 0).all():
            break
        left = [place for place, value in zip(left, part, strict=True) if value > 0]
    found[left] = part
    worst = float(np.abs(costs @ found - 1).max())
    rates = [float(1 / value) if value else 1e30 for value in found]
    return {
        "step_seconds": float(found[0]),
        "flops_per_second": rates[1],
        "value_seconds": float(found[2]),
        "passes_bytes_per_second": rates[3],
        "worst_relative_error": worst,
    }


def _sum(rank: int, size: int, port: int, found: "multiprocessing.Queue[list[float]]") -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(size))
    torch.set_num_threads(max(1, usable_cpus()[0] // size))
    distributed.init_process_group("gloo")
    medians = []
    for count in SUMS:
        numbers, seconds = torch.ones(count // 4), []
        for _ in range(20):
            began = time.perf_counter()
            distributed.all_reduce(numbers)
            numbers.fill_(1)
            seconds.append(time.perf_counter() - began)
        medians.append(statistics.median(seconds))
    if rank == 0:
        found.put(medians)
    distributed.destroy_process_group()


def time_sums(size: int) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found: multiprocessing.Queue[list[float]] = context.Queue()
    processes = [context.Process(target=_sum, args=(rank, size, port, found)) for rank in range(size)]
    for process in processes:
        process.start()
    small, large = found.get()
    for process in processes:
        process.join()
    return {"latency_seconds": small, "reduced_bytes_per_second": (SUMS[1] - SUMS[0]) / max(large - small, 1e-9)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["steps", "sums"])
    parser.add_argument("processes", type=int, nargs="?", default=2)
    arguments = parser.parse_args()
    say(**(fit_steps() if arguments.what == "steps" else time_sums(arguments.processes)))


if __name__ == "__main__":
    main()
