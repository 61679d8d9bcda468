"""Kills trainings at random moments, damages their checkpoints, goes on with them, and compares what comes out.

python scripts/torture.py [--kills 200] [--seed 0] [--folder DIR]

One training is left alone. The others, with the same settings, are killed (SIGKILL) again and again: half of the times at
a random moment, half of the times while a file is being written; and now and then `last.pt` is cut short or a bit of it is
flipped before they go on. In the end each must have the same model.safetensors and metrics.csv, to the last byte.
Exit status 1 if anything was lost.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from catdog.checkpoint import MODEL_FILE, PREVIOUS_FILE, STATE_FILE, load_model
from catdog.config import load_config
from catdog.errors import CatdogError

KILLS_A_TRAINING = 10
SAME = (MODEL_FILE, "metrics.csv", "weights.csv")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments and the damage")
    parser.add_argument("--folder", metavar="DIR", help="keep everything here, for a look at it (default: removed)")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(arguments.folder or stack.enter_context(tempfile.TemporaryDirectory()))
        draw_photos(folder / "photos")
        started = time.monotonic()
        count = torture(folder, arguments.kills, random.Random(arguments.seed))
        print(f"in {time.monotonic() - started:.0f} s; the undisturbed training took {count.pop('milliseconds')} ms")
    for what, number in count.items():
        print(f"{number:6}  {what}")
    return 1 if any(number for what, number in count.items() if what.startswith("LOST")) else 0


def draw_photos(folder: Path) -> None:
    """Twenty pictures of noise a class, around a colour of its own."""
    rng = np.random.default_rng(0)
    for label, colour in (("cat", (150, 100, 60)), ("dog", (60, 150, 100))):
        (folder / label).mkdir(parents=True)
        for i in range(20):
            pixels = np.clip(rng.normal(colour, 40, (20, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i:02}.png")


def train_or_resume(photos: str, run: str, cache: str) -> None:
    """What each process does. A checkpoint is written after every step, so that many a kill meets one."""
    from catdog.train import resume, train

    tqdm.set_lock(threading.RLock())  # not one between processes, which a killed one would leave behind
    with open(Path(run).with_suffix(".txt"), "a") as output:

        def log(line: str) -> None:
            print(line, file=output, flush=True)

        if (Path(run) / "config.toml").exists():
            resume(Path(run), log)
            return
        settings = {"data": photos, "out": run, "cache": cache, "image_size": (8, 8), "hidden": (256, 128), "epochs": 4}
        more = {"batch_size": 8, "dropout": 0.2, "mixup": 0.4, "learning_rate": 3e-3, "device": "cpu", "threads": 1}
        train(load_config(None, {**settings, **more, "checkpoint_minutes": 1e-5}), log)


def torture(folder: Path, kills: int, rng: random.Random) -> Counter[str]:
    """Counts of all that was done and all that was found."""
    # Children are forked from a process that has imported everything and done nothing yet.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["catdog.train", "torch._dynamo", "torch.utils.tensorboard", "matplotlib.figure", "matplotlib.backends.backend_agg"]
    )

    def start(name: str) -> BaseProcess:
        places = [str(folder / place) for place in ("photos", name, f"{name}.cache")]
        process = context.Process(target=train_or_resume, args=places)
        process.start()
        return process

    start("warm-up").join()
    began = time.monotonic()
    start("whole").join()
    length = time.monotonic() - began
    count = Counter(milliseconds=round(1000 * length))
    for key in ("kills, at any time", "kills, while a file was being written", "checkpoints cut short", "bits flipped"):
        count[key] = 0
    for key in ("trainings gone on with to the end", "of them the same to the last byte"):
        count[key] = 0
    for key in ("unreadable files", "trainings that could not go on, or ended otherwise", "temporary files at the end"):
        count[f"LOST: {key}"] = 0
    done = 0
    while done < kills:
        name = f"killed-{count['trainings gone on with to the end']:03}"
        run = folder / name
        for _ in range(min(KILLS_A_TRAINING, kills - done)):
            process = start(name)
            if rng.random() < 0.5:
                process.join(rng.uniform(0, length))
            else:
                wait_for_a_write(process, run, rng)
            process.kill()
            process.join()
            done += 1
            left = sorted(run.glob(".*.tmp"))
            count["kills, while a file was being written" if left else "kills, at any time"] += 1
            count["LOST: unreadable files"] += unreadable(run)
            if rng.random() < 0.2 and (run / PREVIOUS_FILE).exists():
                count[damage(run / STATE_FILE, rng)] += 1
        last = start(name)
        last.join()
        count["trainings gone on with to the end"] += 1
        same = all(
            (run / file).is_file() and (run / file).read_bytes() == (folder / "whole" / file).read_bytes()
            for file in SAME
        )
        good = last.exitcode == 0 and same
        count["of them the same to the last byte" if good else "LOST: trainings that could not go on, or ended otherwise"] += 1
        count["LOST: temporary files at the end"] += len(
            [path for path in (*run.rglob("*"), *(folder / f"{name}.cache").rglob("*")) if path.name.startswith(".")]
        )
    return count


def wait_for_a_write(process: BaseProcess, run: Path, rng: random.Random) -> None:
    """Until a temporary file is seen, after a random number of them, or the process ends."""
    seen: set[str] = set()
    wanted = rng.randrange(1, 20)
    before = {path.name for path in run.glob(".*.tmp")}
    while process.is_alive():
        with contextlib.suppress(FileNotFoundError):
            seen |= {name for name in os.listdir(run) if name.endswith(".tmp")} - before
        if len(seen) >= wanted:
            return


def unreadable(run: Path) -> int:
    """How many files of the run cannot be read as what their names say."""
    from catdog.state import load_state

    readers: dict[str, Callable[[Path], object]] = {
        MODEL_FILE: load_model,
        STATE_FILE: load_state,
        PREVIOUS_FILE: load_state,
        "config.toml": load_config,
        "metrics.csv": lambda path: np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2),
    }
    bad = 0
    for name, read in readers.items():
        try:
            if (run / name).exists():
                read(run / name)
        except (CatdogError, ValueError) as error:
            print(error)
            bad += 1
    return bad


def damage(path: Path, rng: random.Random) -> str:
    """Cut a file short or flip one of its bits, anywhere; says which."""
    data = bytearray(path.read_bytes())
    if rng.random() < 0.5:
        path.write_bytes(data[: rng.randrange(len(data))])
        return "checkpoints cut short"
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return "bits flipped"


if __name__ == "__main__":
    sys.exit(main())
