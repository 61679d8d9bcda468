"""Kills trainings at random moments, damages their checkpoints, goes on with them, and compares what comes out.

python scripts/torture.py [--kills 200] [--seed 0] [--folder DIR]

One training is left alone. The others, with the same settings, are killed (SIGKILL) again and again, half of the times
at a random moment, half of the times when a file is seen to be written; and now and then `last.pt` is cut short, or a
bit of it is flipped, before they go on. In the end each must have the same model.safetensors, metrics.csv and
weights.csv, to the last byte. Exit status 1 if anything was lost.
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

from catdog.checkpoint.model_file import MODEL_FILE, PREVIOUS_FILE, STATE_FILE
from catdog.checkpoint.saved_model import load_model
from catdog.config.toml import load_config
from catdog.errors import CatdogError

SAME = (MODEL_FILE, "metrics.csv", "weights.csv")
BETWEEN, WRITING = "kills between writes", "kills while a file was being written"
CUT_SHORT, FLIPPED = "checkpoints cut short", "checkpoints with a bit flipped"
FINISHED, IDENTICAL = "trainings killed, damaged and gone on with to the end", "of them the same to the last byte"
DONE = (BETWEEN, WRITING, CUT_SHORT, FLIPPED, FINISHED, IDENTICAL)
UNREADABLE, DIFFERENT, LEFT_OVER = "LOST: unreadable files", "LOST: trainings that ended otherwise", "LOST: left-overs"
LOST = (UNREADABLE, DIFFERENT, LEFT_OVER)


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
    return 1 if any(count[what] for what in LOST) else 0


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
        settings = {"data": photos, "out": run, "cache": cache, "image_size": (8, 8), "epochs": 16}
        more = {
            "hidden": (256, 128),
            "batch_size": 8,
            "dropout": 0.2,
            "mixup": 0.4,
            "learning_rate": 3e-3,
            "device": "cpu",
            "threads": 1,
        }
        train(load_config(None, {**settings, **more, "checkpoint_minutes": 1e-5}), log)


def torture(folder: Path, kills: int, rng: random.Random) -> Counter[str]:
    """Counts of all that was done and all that was found."""
    # Children are forked from a process that has imported everything and done nothing yet.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["catdog.train", "torch._dynamo", "torch.utils.tensorboard", "matplotlib.backends.backend_agg"]
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
    count = Counter(dict.fromkeys([*DONE, *LOST], 0))
    count["milliseconds"] = round(1000 * length)
    while count[BETWEEN] + count[WRITING] < kills:
        name = f"killed-{count[FINISHED]:03}"
        run, damaged = folder / name, b""
        while True:
            before = set(run.glob(".*.tmp"))
            process = start(name)
            if count[BETWEEN] + count[WRITING] == kills:
                process.join()
            elif rng.random() < 0.5:
                process.join(rng.uniform(0, 0.4 * length))
            else:
                wait_for_a_write(process, run, rng)
            if not process.is_alive():
                break
            process.kill()
            process.join()
            count[WRITING if set(run.glob(".*.tmp")) - before else BETWEEN] += 1
            count[UNREADABLE] += unreadable(run, damaged)
            if rng.random() < 0.2 and (run / PREVIOUS_FILE).exists() and read_bytes(run / STATE_FILE):
                what, damaged = damage(run / STATE_FILE, rng)
                count[what] += 1
        count[FINISHED] += 1
        same = all(read_bytes(run / file) == (folder / "whole" / file).read_bytes() for file in SAME)
        count[IDENTICAL if process.exitcode == 0 and same else DIFFERENT] += 1
        for place in (run, folder / f"{name}.cache"):
            count[LEFT_OVER] += sum(path.name.startswith(".") for path in place.rglob("*"))
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


def unreadable(run: Path, damaged: bytes) -> int:
    """How many files of the run cannot be read as what their names say, but for one that was made so."""
    from catdog.checkpoint.saved_state import load_state

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
            if (run / name).exists() and read_bytes(run / name) != damaged:
                read(run / name)
        except (CatdogError, ValueError) as error:
            print(error)
            bad += 1
    return bad


def read_bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def damage(path: Path, rng: random.Random) -> tuple[str, bytes]:
    """Cut a file short or flip one of its bits, anywhere; says which, and what it holds now."""
    data = bytearray(path.read_bytes())
    path.unlink()  # a new file: this one may have another name as well
    if rng.random() < 0.5:
        what, data = CUT_SHORT, data[: rng.randrange(len(data))]
    else:
        what = FLIPPED
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return what, bytes(data)


if __name__ == "__main__":
    sys.exit(main())
