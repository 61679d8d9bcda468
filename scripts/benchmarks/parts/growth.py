"""What more photos, larger ones and more weights cost: seconds and memory."""

import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.contender import Contender, Figures, Part, catdog_train, said
from benchmarks.photos import Place, Sizes
from benchmarks.processes import run_peer
from benchmarks.results import Limit, Problem


def _list(place: Place, round: int) -> Figures:
    ended = run_peer("listing", place.million(), folder=place.work)
    return {"seconds": ended.seconds, "list_seconds": said(ended)["list_seconds"], "peak_mb": ended.peak_mb}


def _first_step(place: Place, round: int) -> Figures:
    with place.fresh() as folder:
        places = ("--data", place.million(), "--out", Path(folder) / "run", "--cache", "none", "--device", "cpu")
        ended = run_peer("first_step", *places, folder=Path(folder))
    stepped = ended.when(lambda line: line.startswith('{"stepped"'))
    if stepped is None:
        raise Problem("catdog train ended before its first step; see what it prints.")
    return {"first_step_seconds": stepped, "peak_mb": ended.peak_mb}


def listing(sizes: Sizes) -> Part:
    return Part(
        "listing",
        f"A folder of {sizes.photos_to_list:,} links to photos, listed and split, the whole process; and `catdog train "
        "--cache none` on it to the end of its first step.",
        [Contender("list and split", _list), Contender("catdog train --cache none", _first_step)],
        [
            Limit("seconds", "list and split", "seconds", most=20),
            Limit("peak memory, MB", "list and split", "peak_mb", most=500),
        ],
    )


SCALING_FIGURES = {"seconds_1_epoch": 1, "seconds_5_epochs": 5}
_PLANNED = re.compile(r"memory +about ([\d,]+) MiB")


def _peak(photos: int, *flags: object) -> Callable[[Place, int], Figures]:
    def measure(place: Place, round: int) -> Figures:
        data = place.subset(photos) if photos and not place.sizes.photos else place.photos()
        with place.fresh() as folder:
            ended = catdog_train(data, Path(folder), "--epochs", 1, *flags)
        for _, line in ended.lines:
            if found := _PLANNED.match(line):
                planned = float(found[1].replace(",", "")) * 2**20 / 1e6
                return {"peak_mb": ended.peak_mb, "planned_mb": planned, "peak_over_plan": ended.peak_mb / planned}
        raise Problem("the plan that catdog train prints says nothing of memory.")

    return measure


def memory() -> Part:
    contenders = [
        Contender("the defaults", _peak(0)),
        Contender("2,000 photos", _peak(2000)),
        Contender("64 x 64", _peak(0, "--image-size", 64, 64)),
        Contender("2,000 photos, hidden 4096 x 3", _peak(2000, "--hidden", 4096, 4096, 4096)),
        Contender(
            "2,000 photos, 64 x 64, hidden 4096 x 3",
            _peak(2000, "--image-size", 64, 64, "--hidden", 4096, 4096, 4096),
        ),
    ]
    return Part(
        "memory",
        "The most memory of `catdog train` (1 epoch, all photos where no number is given, nothing decoded before), "
        "beside what its plan says.",
        contenders,
        [
            Limit("peak memory with the defaults, MB", "the defaults", "peak_mb", most=1500),
            *(
                Limit(f"{contender.name}: peak over plan", contender.name, "peak_over_plan", least=0.8, most=1.2)
                for contender in contenders
            ),
        ],
    )


def _whole(photos: int) -> Callable[[Place, int], Figures]:
    def measure(place: Place, round: int) -> Figures:
        found = {}
        for figure, epochs in SCALING_FIGURES.items():
            with place.fresh() as folder:
                flags = ("--epochs", epochs, "--start-from", "none", "--folds", 1, "--seed", round)
                ended = catdog_train(place.subset(photos), Path(folder), *flags)
            found[figure] = ended.seconds
        return found

    return measure


def scaling(sizes: Sizes) -> Part:
    return Part(
        "scaling",
        "`catdog train` with its defaults and new weights, without folds, on more and more photos, with nothing "
        "decoded before: the whole process.",
        [Contender(f"{photos} photos", _whole(photos)) for photos in sizes.scaling],
    )
