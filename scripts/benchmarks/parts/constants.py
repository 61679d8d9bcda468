"""The constants of the model on paper, `benchmarks.cost_model`, which scripts/scaling.py reads from the results."""

from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.contender import Contender, Figures, Part, said
from benchmarks.cost_model import Machine
from benchmarks.photos import Place
from benchmarks.processes import Ended, run_peer, run_python
from benchmarks.results import Problem, Results

SIDES = (24, 64, 96)
PROCESSES = (1, 2, 4)
NAME = "constants"


def train_by(processes: int, data: Path, folder: Path, *flags: object) -> Ended:
    """`catdog train` with new weights on the processor, started by torchrun where it is by several processes."""
    several = ("torch.distributed.run", "--nproc-per-node", processes, "-m") if processes > 1 else ()
    places = ("--data", data, "--out", folder / "run", "--cache", folder / "cache", "--device", "cpu")
    return run_python(["-m", *several, "catdog", "train", *places, "--start-from", "none", *flags], folder)


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


def _peer(*arguments: object) -> Callable[[Place, int], Figures]:
    return lambda place, round: said(run_peer("constants", *arguments, folder=place.work))


def constants() -> Part:
    return Part(
        NAME,
        "What scripts/scaling.py computes with: a step's constants, fitted to seven networks; gradients summed over "
        "processes by Gloo; photos decoded by all cores; the smallest training, from start to end.",
        [
            Contender("steps", _peer("steps")),
            *(Contender(f"sums over {n}", _peer("sums", n)) for n in PROCESSES[1:]),
            *(Contender(f"decode {side} x {side}", _decode(side)) for side in SIDES),
            *(Contender(f"start of {n}", _start(n)) for n in PROCESSES),
        ],
        rounds=3,
    )


def machine_of(found: Results, cores: int) -> Machine:
    """The machine that was measured: the median of the rounds."""

    def middle(contender: str, figure: str) -> float:
        if not (values := found.figures(NAME, contender, figure)):
            raise Problem(
                f"{contender} is not among the constants; measure: python scripts/benchmark.py --only {NAME}."
            )
        return median(values.values())

    return Machine(
        cores=cores,
        step=middle("steps", "step_seconds"),
        flops=middle("steps", "flops_per_second"),
        values=middle("steps", "value_seconds"),
        passes=middle("steps", "passes_bytes_per_second"),
        decode={side: cores / middle(f"decode {side} x {side}", "photos_per_second") for side in SIDES},
        start={n: middle(f"start of {n}", "seconds") for n in PROCESSES},
        latency={n: middle(f"sums over {n}", "latency_seconds") for n in PROCESSES[1:]},
        reduce={n: middle(f"sums over {n}", "reduced_bytes_per_second") for n in PROCESSES[1:]},
    )
