"""How near catdog's training step comes to what the processor can do: its matrix products and its passes over weights.

The peak of the products is that of a large square matrix product, the peak of the passes that of a triad,
a = b + s * c, over arrays that no cache holds; both in float32 with all threads. What a step multiplies is counted by
torch's FlopCounterMode; how long it takes for that, and for the optimizer, the average and the gradient's norm, is
measured by its profiler.
"""

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peers.gpu import operations_a_second, seconds
from benchmarks.peers.lines import say
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


def triad_bytes_a_second(count: int) -> float:
    """count: numbers in each of three arrays."""
    a, b, c = (torch.ones(count) for _ in range(3))
    return 3 * 4 * count / seconds(lambda: torch.add(b, c, alpha=3.0, out=a), CPU)


def measure(config: Config, shared: bool, steps: int, side: int, count: int) -> dict[str, float]:
    """A step of `config`, the median rates of `steps` of them; side, count: of the matrices and arrays of the peaks."""
    height, width = config.photos.image_size
    config = replace(config, training=with_batch_size(config.training, 16_000))
    batch_size = config.training.batch_size
    pixels = torch.randint(256, (batch_size, 3, height, width), dtype=torch.uint8)
    photos = PhotoDataset.from_tensors(pixels, torch.arange(batch_size) % 2, ("cat", "dog"))
    model = build_model(config, 2)
    assert isinstance(model, MLP)
    if shared:
        from catdog.model.local import share_places

        share_places(model, shared=True)
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
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(steps):
            step()
    took = {event.key: event.self_cpu_time_total / 1e6 / steps for event in profiled.key_averages()}
    products = sum(t for name, t in took.items() if name in _PRODUCTS or "conv" in name)
    passes = sum(took.get(name, 0.0) for name in _PASSES)
    passed = 4 * count_weights(model) * sum(n for name, n in _PASSES.items() if name in took)
    peak, bandwidth = operations_a_second(CPU, torch.float32, side), triad_bytes_a_second(count)
    whole = sum(took.values())
    return {
        "step_milliseconds": 1000 * whole,
        "products_share_of_step": products / whole,
        "products_gflops": operations / products / 1e9,
        "peak_gflops": peak / 1e9,
        "products_of_peak": operations / products / peak,
        "passes_share_of_step": passes / whole,
        "passes_gb_per_second": passed / passes / 1e9,
        "triad_gb_per_second": bandwidth / 1e9,
        "passes_of_triad": passed / passes / bandwidth,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a recipe, such as default, best or article, or a TOML file")
    parser.add_argument("--shared", action="store_true", help="all places of local layers share their weights")
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    config = load_config(arguments.config, {"device": "cpu"})
    say(**measure(config, arguments.shared, arguments.steps, side=2048, count=2**25))


if __name__ == "__main__":
    main()
