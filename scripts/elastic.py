"""Kills processes of a training by several, while torchrun starts them anew, and compares what comes out.

python scripts/elastic.py [--kills 100] [--seed 0] [--folder DIR]

One training by two processes is left alone. In others, with the same settings and `--or-resume`, one process is killed
(SIGKILL) at a random moment, again and again: torchrun ends the other and starts both anew. In the end each must have
the same model.safetensors, metrics.csv and weights.csv, to the last byte. Then two torchruns share a training, as two
machines would, and one is killed with its process: the other goes on alone, and the losses of its epochs must be the
same to 1e-5. Exit status 1 if anything was lost.
"""

import argparse
import contextlib
import math
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torture
from catdog.runs.metrics_csv import read_metrics

EPOCHS = 16
SETTINGS = f"--image-size 8 8 --hidden 256 128 --batch-size 8 --epochs {EPOCHS} --folds 1 --start-from none"
ELSEWHERE = "--device cpu --threads 1 --checkpoint-minutes 1e-5"  # a checkpoint after each step
Process = subprocess.Popen[bytes]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments")
    parser.add_argument("--folder", metavar="DIR", help="keep everything here, for a look at it (default: removed)")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with contextlib.ExitStack() as stack:
        folder = Path(arguments.folder or stack.enter_context(tempfile.TemporaryDirectory())).absolute()
        torture.draw_photos(folder / "photos")
        began = time.monotonic()
        torchrun(folder, "whole", "--nproc-per-node", "2").wait()
        length = time.monotonic() - began
        finished, identical = kill_processes(folder, arguments.kills, 0.7 * length, rng)
        print(f"{arguments.kills:6}  kills of one of two processes")
        print(f"{finished:6}  trainings that went on to the end\n{identical:6}  of them the same to the last byte")
        off = go_on_with_fewer(folder)
        print(f"two machines, of which one is lost: the other goes on, losses of the epochs off by {off:.1e} at most")
    return int(identical < finished or off > 1e-5)


def kill_processes(folder: Path, kills: int, longest: float, rng: random.Random) -> tuple[int, int]:
    """Kill a process at most `longest` seconds after the last; how many trainings ended, how many as they should."""
    done = finished = identical = 0
    while done < kills:
        name = f"killed-{finished:03}"
        process = torchrun(folder, name, "--nproc-per-node", "2", "--max-restarts", str(kills))
        while done < kills and process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0, longest))
            done += kill_one(process, rng)
        process.wait()
        finished += 1
        files = [(folder / run / file for run in ("whole", name)) for file in torture.SAME]
        same = all(torture.read_bytes(whole) == torture.read_bytes(killed) != b"" for whole, killed in files)
        identical += process.returncode == 0 and same
    return finished, identical


def go_on_with_fewer(folder: Path) -> float:
    """Kill one of two torchruns; how far the losses of the epochs are from those of two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    flags = ["--nnodes", "1:2", "--nproc-per-node", "1", "--max-restarts", "3", "--rdzv-backend", "c10d"]
    flags += ["--rdzv-endpoint", place, "--rdzv-id", "fewer", "--rdzv-conf", "last_call_timeout=5"]
    stays = torchrun(folder, "fewer", *flags)
    while stays.poll() is None and not is_listening(place):  # the first holds what both agree on
        time.sleep(0.1)
    goes = torchrun(folder, "fewer", *flags)
    fewer, whole = (folder / name for name in ("fewer", "whole"))
    while stays.poll() is None and len(losses(fewer)) <= EPOCHS // 3:
        time.sleep(0.01)
    for number in (goes.pid, *workers_of(goes)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, 9)
    goes.wait()
    stays.wait()
    found, expected = losses(fewer), losses(whole)
    if len(found) < len(expected):
        return math.inf
    return max(abs(one - other) for one, other in zip(found, expected, strict=True))


def is_listening(place: str) -> bool:
    host, port = place.split(":")
    with socket.socket() as looking:
        return looking.connect_ex((host, int(port))) == 0


def torchrun(folder: Path, name: str, *flags: str) -> Process:
    """A training in the folder `name`, whose output goes to `name`.txt."""
    command = [sys.executable, "-m", "torch.distributed.run", *flags, "-m", "catdog", "train", "--or-resume"]
    command += ["--data", str(folder / "photos"), "--out", str(folder / name), *SETTINGS.split(), *ELSEWHERE.split()]
    with open(folder / f"{name}.txt", "ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, "OMP_NUM_THREADS": "1"})


def workers_of(process: Process) -> list[int]:
    """The numbers of the processes that a torchrun has started; of Linux alone."""
    with contextlib.suppress(FileNotFoundError):
        return [int(number) for number in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    return []


def kill_one(process: Process, rng: random.Random) -> bool:
    """Kill one of the processes that a torchrun has started; whether there was one."""
    workers = workers_of(process)
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None and workers:
            os.kill(rng.choice(workers), 9)
            return True
    return False


def losses(run: Path) -> list[float]:
    """Of each epoch so far, on the training photos and on the validation photos."""
    if not (run / "metrics.csv").exists():
        return []
    return [row[name] for row in read_metrics(run) for name in ("train_loss", "val_loss")]


if __name__ == "__main__":
    sys.exit(main())
