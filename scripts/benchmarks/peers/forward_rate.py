"""Predictions a second of the forward pass in NumPy alone: one photo at a time, decoded before, in a thread a core."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `catdog serve` has it

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.peers.lines import say
from catdog.base.cpus import usable_cpus
from catdog.predict import Classifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo")
    parser.add_argument("--run", required=True)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--threads", type=int, default=usable_cpus()[0])
    args = parser.parse_args()
    network = Classifier.load(args.run)
    pixels = network.decode(args.photo)[None]
    network.answers(pixels)

    def count(until: float) -> int:
        done = 0
        while time.perf_counter() < until:
            network.answers(pixels)
            done += 1
        return done

    with ThreadPoolExecutor(args.threads) as pool:
        counts = list(pool.map(count, [time.perf_counter() + args.seconds] * args.threads))
    say(predictions_per_second=sum(counts) / args.seconds)


if __name__ == "__main__":
    main()
