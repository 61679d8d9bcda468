"""The arithmetic of training alone: batches that lie ready in memory as float32, the same network, fused AdamW."""

import argparse
import statistics
import time

import torch
from torch.nn import functional as F

from benchmarks.peers.common import mlp
from benchmarks.peers.lines import say
from catdog.base.cpus import usable_cpus

_BYTES = 200_000_000  # of batches: more than any cache of a processor holds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--photos", type=int, default=16_000, help="in an epoch")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--hidden", type=int, nargs="+", default=[512, 256])
    args = parser.parse_args()
    torch.set_num_threads(usable_cpus()[0])
    torch.manual_seed(0)
    steps = max(1, round(args.photos / args.batch_size))
    ready = min(steps, max(1, _BYTES // (args.batch_size * 3 * args.image_size**2 * 4)))
    batches = [
        (torch.randn(args.batch_size, 3, args.image_size, args.image_size), torch.randint(2, (args.batch_size,)))
        for _ in range(ready)
    ]
    model = mlp(args.image_size, args.hidden)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    rates = []
    for _ in range(args.epochs):
        started = time.perf_counter()
        for step in range(steps):
            images, labels = batches[step % ready]
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        rates.append(steps * args.batch_size / (time.perf_counter() - started))
    say(photos_per_second=statistics.median(rates[1:] or rates))


if __name__ == "__main__":
    main()
