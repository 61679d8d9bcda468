"""What a training takes, from the constants of a machine: predicted, held against runs, and carried on to many GPUs.

python scripts/scaling.py predict --data PHOTOS      what runs here will take, into scaling.json, before they are run
python scripts/scaling.py run --data PHOTOS          run them, and note beside it what they took
python scripts/scaling.py table                      both, as a table
python scripts/scaling.py far                        1 to 1,000 GPUs, 10^5 to 10^9 photos
python scripts/scaling.py failures                   machines that fail, and how often to write a checkpoint

The constants are those of `python scripts/benchmark.py --only constants` (--constants FILE.json).
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cost_model import PASSES, Work, training_parts
from benchmarks.failures import DAY, best_interval, simulate
from benchmarks.fit import machine_of
from benchmarks.parts.constants import PROCESSES, train_by
from benchmarks.photos import Place, Sizes, require_photos
from benchmarks.results import Problem, load, write
from catdog.base.cpus import usable_cpus

CONSTANTS = Path(__file__).resolve().parent.parent / "docs" / "benchmarks" / "constants.json"
WORKS = {  # validation photos: the same share of theirs
    "2,000 photos of 24 x 24": Work(2000, 0, 24, (1024, 1024, 1024), 128, 8),
    "6,000 photos of 32 x 32": Work(6000, 0, 32, (512,), 256, 8),
    "8,000 photos of 64 x 64": Work(8000, 0, 64, (512, 256), 128, 4),
    "4,000 photos of 96 x 96": Work(4000, 0, 96, (1024,), 256, 4),
}


def flags_of(work: Work, kept: bool) -> list[object]:
    return [
        *("--image-size", work.side, work.side, "--hidden", *work.hidden, "--batch-size", work.batch),
        *("--epochs", work.epochs, *([] if kept else ["--cache", "none"])),
    ]


def predict(arguments: argparse.Namespace) -> None:
    """Write the predictions; never over those that runs were held against already."""
    machine = machine_of(load(arguments.constants), usable_cpus()[0])
    runs = []
    for name, work in with_val(photos_of(arguments)).items():
        for processes in PROCESSES:
            for kept in (True, False):
                parts = training_parts(work, machine, processes, kept)
                runs.append({"work": name, "processes": processes, "kept": kept, "parts": parts})
    if arguments.file.exists():
        raise Problem(f"{arguments.file} holds predictions already; give another --file.")
    write(arguments.file, json.dumps({"predicted": time.strftime("%Y-%m-%d %H:%M:%S"), "runs": runs}, indent=1) + "\n")


def photos_of(arguments: argparse.Namespace) -> Path:
    return require_photos(arguments.data, arguments.data and arguments.data / "train")[0]


def with_val(data: Path) -> dict[str, Work]:
    train, val = (sum(1 for path in (data / split).rglob("*") if path.is_file()) for split in ("train", "val"))
    return {name: replace(work, val=round(work.photos * val / train)) for name, work in WORKS.items()}


def predictions(arguments: argparse.Namespace) -> dict[str, Any]:
    try:
        return dict(json.loads(arguments.file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise Problem(f"there is no {arguments.file}; write predictions first: scaling.py predict.") from None


def run(arguments: argparse.Namespace) -> None:
    found, data = predictions(arguments), photos_of(arguments)
    with tempfile.TemporaryDirectory() as folder:
        place = Place(data, data, Path(folder), Sizes())
        for run in found["runs"]:
            if "seconds" in run:
                continue
            work = WORKS[run["work"]]
            with place.fresh() as own:
                flags = flags_of(work, run["kept"])
                run["seconds"] = train_by(run["processes"], place.subset(work.photos), Path(own), *flags).seconds
            write(arguments.file, json.dumps(found, indent=1) + "\n")
            print(row_of(run), flush=True)


def row_of(run: dict[str, Any]) -> str:
    expected, took = sum(run["parts"].values()), run.get("seconds")
    how = "decoded once" if run["kept"] else "in each epoch"
    measured = f"{took:.1f} | {expected / took:.2f}" if took else " | "
    return f"| {run['work']} | {run['processes']} | {how} | {expected:.1f} | {measured} |"


def table(arguments: argparse.Namespace) -> None:
    found = predictions(arguments)
    print("| training | processes | photos are decoded | predicted, s | measured, s | predicted over measured |")
    print("|---|---|---|---|---|---|", *map(row_of, found["runs"]), sep="\n")
    ratios = [sum(run["parts"].values()) / run["seconds"] for run in found["runs"] if "seconds" in run]
    near = sum(1 / 1.2 <= ratio <= 1.2 for ratio in ratios)
    print(f"\nwithin 20%: {near} of {len(ratios)}; predicted {found['predicted']}")


# What a GPU and what is around it does, from data sheets, not measured: NVIDIA H100 SXM, 8 a machine, 400 Gb/s a GPU.
GPU_FLOPS = 0.4 * 989e12  # bfloat16, of which large products reach about so much
GPU_BYTES = 0.8 * 3.35e12
GPU_LINK = {True: 3e11, False: 40e9}  # bytes a second of gradients of a GPU: within a machine, and between machines
HOP = 1e-5  # seconds from one GPU to another, of which a sum takes 2 log2 of their number, one after the other
GPU_CORES = 12  # of a CPU, for each GPU
IN_MACHINE = 8  # GPUs
STORE = 2e9  # bytes a second of photos that a machine reads from a store
PHOTO_BYTES = 100_000
STEP = 5e-4  # seconds that starting a step's kernels takes
FAR = Work(0, 0, 64, (4096, 4096, 1024), 8192, 30)
GPUS = (1, 8, 64, 1000)
CHANGES: dict[str, dict[str, Any]] = {  # one after the other
    "as it is": {},
    "batches of 65,536": {"batch": 65536},
    "gradients summed in bfloat16": {"gradient_bytes": 2},
    "batch normalisation over a machine's photos alone": {"norm_sums": False},
    "each machine decodes and keeps its share of the photos": {"shares": True},
}


def far(arguments: argparse.Namespace) -> None:
    """Hours of 30 epochs, and what takes the most of them; then the same for most of all with changes of the design."""
    machine = machine_of(load(arguments.constants), usable_cpus()[0])
    decode = machine.decode_seconds(1, FAR.side) * machine.cores

    def cell(photos: int, gpus: int, **changes: Any) -> str:
        hours, limit = far_hours(photos, gpus, decode, **changes)
        return f"{hours:.2g} h, {limit}"

    print("| photos |", " | ".join(f"{gpus:,} GPUs" for gpus in GPUS), "|\n|---|" + "---|" * len(GPUS))
    for power in range(5, 10):
        print(f"| 10^{power} |", " | ".join(cell(10**power, gpus) for gpus in GPUS), "|")
    print(f"\n| 10^9 photos, {GPUS[-1]:,} GPUs | |\n|---|---|")
    made: dict[str, Any] = {}
    for words, change in CHANGES.items():
        made |= change
        print(f"| {words} | {cell(10**9, GPUS[-1], **made)} |")


def far_hours(
    photos: int,
    gpus: int,
    decode: float,
    *,
    batch: int = FAR.batch,
    gradient_bytes: int = 4,
    norm_sums: bool = True,
    shares: bool = False,
) -> tuple[float, str]:
    """Hours, and what takes most of them. decode: core-seconds a photo.

    Photos are decoded once by each machine, all of them, or, where `shares`, its share; or else (--cache none) by each
    machine its share in each epoch, beside the arithmetic: whichever is quicker.
    """
    machines = -(-gpus // IN_MACHINE)
    hops = 2 * math.log2(gpus) * HOP
    step = {
        "starting steps": STEP,
        "products": batch / gpus * FAR.flops / GPU_FLOPS,
        "passes over the weights": PASSES * FAR.weights / GPU_BYTES,
        "summing gradients": 2 * (gpus - 1) / gpus * gradient_bytes * FAR.weights / GPU_LINK[machines == 1] + hops,
        "sums of batch normalisation": 4 * len(FAR.hidden) * hops if norm_sums else 0.0,
    }
    slowest = max(step, key=lambda part: step[part])
    arithmetic = photos / batch * sum(step.values())
    a_share = {"decoding": photos * decode / (gpus * GPU_CORES), "reading": photos * PHOTO_BYTES / (machines * STORE)}
    bringing = max(a_share, key=lambda part: a_share[part])
    again = FAR.epochs * max(arithmetic, a_share[bringing])
    first = a_share[bringing] * (1 if shares else machines)
    kept = first + FAR.epochs * arithmetic
    if again < kept:
        return again / 3600, slowest if arithmetic >= a_share[bringing] else f"{bringing} in each epoch"
    return kept / 3600, slowest if FAR.epochs * arithmetic >= first else f"{bringing} once"


def failures(arguments: argparse.Namespace) -> None:
    """A week of work; a machine fails once in so many days; checkpoints that stop the work for so many seconds."""
    rng = np.random.default_rng(0)
    week, restart = 7 * DAY, 120.0

    def longer(interval: float, checkpoint: float, between: float) -> tuple[float, float]:
        """By what share the work takes longer, and what share of it is done twice."""
        found = [simulate(week, interval, checkpoint, restart, between, rng) for _ in range(arguments.times)]
        clock, lost = np.mean(found, axis=0)
        return clock / week - 1, lost / week

    columns = (
        "machines",
        "a checkpoint stops for",
        "every (Young, Daly)",
        "takes longer by",
        "done twice",
        "best tried",
    )
    print("|", " | ".join(columns), "|\n|" + "---|" * len(columns))
    for machines, checkpoint in product((1, 8, 125), (0.5, 30.0)):
        between = 50 * DAY / machines
        best = best_interval(checkpoint, between)
        at_best, lost = longer(best, checkpoint, between)
        tried = {factor: longer(best * factor, checkpoint, between)[0] for factor in (0.25, 0.5, 1, 2, 4)}
        factor = min(tried, key=lambda factor: tried[factor])
        cells = (str(machines), f"{checkpoint:g} s", f"{best / 60:.0f} min", f"{at_best:.2%}", f"{lost:.2%}")
        print("|", " | ".join(cells), f"| {factor:g} times that: {tried[factor]:.2%} |")


WHAT: dict[str, Callable[[argparse.Namespace], None]] = {
    function.__name__: function for function in (predict, run, table, far, failures)
}


def main(argv: Iterable[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--data", type=Path, metavar="DIR", help="photos with train/ and val/")
    parser.add_argument("--constants", type=Path, default=CONSTANTS, metavar="FILE.json")
    parser.add_argument("--file", type=Path, default=Path("scaling.json"), metavar="FILE.json")
    parser.add_argument("--times", type=int, default=400, metavar="N", help="simulations of each kind of failures")
    arguments = parser.parse_args(list(argv))
    WHAT[arguments.what](arguments)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Problem as problem:
        sys.exit(f"scaling: {problem}")
