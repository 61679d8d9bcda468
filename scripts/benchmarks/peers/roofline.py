"""How near catdog's training step comes to what the processor can do: its matrix products and its passes over weights.

The peak of the products is a large square matrix product, that of the passes a += s * b over arrays that no cache
holds, both in float32 on all threads and taken in turn with the steps, since a machine is not equally quick all the
time. What a step multiplies is counted by torch's FlopCounterMode; how long it takes for that, and for the optimizer,
the average and the gradient's norm, is measured by its profiler.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peers.lines import say
from catdog.base.cpus import usable_cpus
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.data.batches import shuffled_batches
from catdog.data.photo_dataset import PhotoBatch, PhotoDataset
from catdog.model.build import build_model
from catdog.model.mlp import MLP, count_weights
from catdog.trainer.batch_size import with_batch_size
from catdog.trainer.card import make_card
from catdog.trainer.loop import Trainer

CPU = torch.device("cpu")
_PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm")
_PASSES = {  # numbers of 4 bytes that are read or written for each weight
    "aten::_fused_adamw_": 7,  # weight, gradient and two moments are read; all but the gradient are written
    "aten::_fused_sgd_": 3,  # weight and gradient are read, the weight is written; momentum is 0
    "aten::_foreach_lerp_": 3,  # of the average
    "aten::_foreach_norm": 1,  # of the gradient
    "aten::_foreach_mul_": 2,  # which makes it shorter
}


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(config: Config, steps: int, side: int, count: int) -> dict[str, float]:
    """A step of `config`, at the rates of `steps` of them; side, count: of the matrices and arrays of the peaks."""
    height, width = config.photos.image_size
    config = replace(config, training=with_batch_size(config.training, 16_000))
    batch_size = config.training.batch_size
    pixels = torch.randint(256, (batch_size, 3, height, width), dtype=torch.uint8)
    photos = PhotoDataset.from_tensors(pixels, torch.arange(batch_size) % 2, ("cat", "dog"))
    model = build_model(config, 2)
    assert isinstance(model, MLP)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, model, photos, photos, make_card(config, photos), Path(folder), CPU)
    trainer.state.model.train()
    batch = trainer.train.__getitems__(shuffled_batches(batch_size, 1, seed=0, epoch=0)[0])
    assert isinstance(batch, PhotoBatch)

    def step() -> None:
        trainer.step(batch.rows, batch.pixels, 0)

    step()
    with FlopCounterMode(display=False) as counter:
        step()
    augmented = {torch.ops.aten.baddbmm}
    operations = sum(n for what, n in counter.get_flop_counts()["Global"].items() if what not in augmented)
    square, product = torch.randn(side, side), torch.empty(side, side)
    large, other = torch.ones(count), torch.ones(count)
    whole = products = passes = passed = square_seconds = pass_seconds = 0.0
    for number in range(steps + 1):
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            step()
        on_square = _timed(lambda: torch.mm(square, square, out=product))
        on_pass = _timed(lambda: large.add_(other, alpha=1e-3))
        if number == 0:  # for warming up
            continue
        square_seconds, pass_seconds = square_seconds + on_square, pass_seconds + on_pass
        for event in profiled.key_averages():
            whole += event.self_cpu_time_total / 1e6
            if event.key in _PRODUCTS or "conv" in event.key:
                products += event.self_cpu_time_total / 1e6
            if event.key in _PASSES:  # with what they call: some do one tensor after the other
                passes += event.cpu_time_total / 1e6
                passed += 4 * count_weights(model) * _PASSES[event.key]
    rate, peak = steps * operations / products, steps * 2 * side**3 / square_seconds
    pass_rate, bandwidth = passed / passes, steps * 3 * 4 * count / pass_seconds
    return {
        "step_milliseconds": 1000 * whole / steps,
        "products_share_of_step": products / whole,
        "products_gflops": rate / 1e9,
        "peak_gflops": peak / 1e9,
        "products_of_peak": rate / peak,
        "passes_share_of_step": passes / whole,
        "passes_gb_per_second": pass_rate / 1e9,
        "bandwidth_gb_per_second": bandwidth / 1e9,
        "passes_of_bandwidth": pass_rate / bandwidth,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a recipe, such as default, best or article, or a TOML file")
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(usable_cpus()[0])
    config = load_config(arguments.config, {"device": "cpu"})
    say(**measure(config, arguments.steps, side=2048, count=2**25))


if __name__ == "__main__":
    main()
