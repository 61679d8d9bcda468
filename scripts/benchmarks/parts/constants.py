"""What the model on paper, `benchmarks.cost_model`, takes its constants from (`benchmarks.fit`)."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.contender import Contender, Figures, Part, said
from benchmarks.photos import Place
from benchmarks.processes import Ended, run_peer, run_python

SIDES = (24, 64, 96)
PROCESSES = (1, 2, 4)
NAME = "constants"


def run_by(processes: int, module: str, *arguments: object, folder: Path) -> Ended:
    """`python -m MODULE`, started by torchrun where it is by several processes."""
    several = ("torch.distributed.run", "--standalone", "--nproc-per-node", processes, "-m") if processes > 1 else ()
    return run_python(["-m", *several, module, *arguments], folder)


def train_by(processes: int, data: Path, folder: Path, *flags: object) -> Ended:
    """`catdog train` with new weights on the processor."""
    places = ("--data", data, "--out", folder / "run", "--cache", folder / "cache", "--device", "cpu")
    return run_by(processes, "catdog", "train", *places, "--start-from", "none", *flags, folder=folder)


def _start(processes: int) -> Callable[[Place, int], Figures]:
    def measure(place: Place, round: int) -> Figures:
        with place.fresh() as folder:
            small = ("--epochs", 1, "--hidden", 8, "--image-size", 8, 8, "--batch-size", 64, "--folds", 1)
            return {"seconds": train_by(processes, place.subset(128), Path(folder), *small).seconds}

    return measure


def _decode(side: int) -> Callable[[Place, int], Figures]:
    def measure(place: Place, round: int) -> Figures:
        photos = place.photos() / "val"
        return said(run_peer("decode_rate", "catdog", photos, "--image-size", side, folder=place.work))

    return measure


def _steps(processes: int) -> Callable[[Place, int], Figures]:
    return lambda place, round: said(run_by(processes, "benchmarks.peers.constants", folder=place.work))


def constants() -> Part:
    return Part(
        NAME,
        "What scripts/scaling.py computes with: seconds of a step, and of the end of an epoch, of nine networks; "
        "photos decoded by all cores; the smallest training, from start to end.",
        [
            *(Contender(f"steps by {n}", _steps(n)) for n in PROCESSES),
            *(Contender(f"start of {n}", _start(n)) for n in PROCESSES),
            *(Contender(f"decode {side} x {side}", _decode(side)) for side in SIDES),
        ],
        rounds=3,
    )
