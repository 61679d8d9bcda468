"""What one waits for: an answer on a photo, help, the first line."""

import functools
from pathlib import Path

from benchmarks.contender import Contender, Figures, Part, catdog_train, peer_train, said
from benchmarks.photos import Place
from benchmarks.processes import Ended, run_peer, run_python
from benchmarks.results import Limit

_FEW = 400  # photos that the networks to predict with are trained on: what they answer does not matter here


def _costs(ended: Ended) -> Figures:
    return {"seconds": ended.seconds, "peak_mb": ended.peak_mb}


@functools.cache
def run_folder(place: Place) -> Path:
    """A dense network without batch norm, trained by catdog."""
    folder = place.work / "to-predict"
    folder.mkdir()
    catdog_train(place.subset(_FEW), folder, "--epochs", 1, "--image-size", 32, 32, "--no-batch-norm")
    return folder / "run"


@functools.cache
def weights(place: Place) -> Path:
    """The weights of a network of the same shape, trained by the tutorial's loop."""
    folder = place.work / "to-predict-by-torch"
    folder.mkdir()
    flags = ("--epochs", 1, "--image-size", 32, "--hidden", 1024, 1024, 1024)
    peer_train("tutorial", place.subset(_FEW), folder, *flags)
    return folder / "model.pt"


def _photo(place: Place) -> Path:
    return min(path for path in place.native.rglob("*") if path.is_file())


def _by_catdog(place: Place, what: Path) -> Ended:
    return run_python(["-m", "catdog", "predict", what, "--run", run_folder(place)], place.work)


def _by_torch(place: Place, what: Path, workers: int) -> Ended:
    return run_peer("torch_predict", what, "--weights", weights(place), "--workers", workers, folder=place.work)


def _imports(modules: str) -> Contender:
    return Contender(
        f"import {modules}",
        lambda place, round: _costs(run_python(["-c", f"import {modules}"], place.work)),
    )


def _folder_rates(place: Place, one: Ended, folder: Ended) -> Figures:
    """Of the whole process, and of what it takes beyond a single photo."""
    photos = sum(path.is_file() for path in place.native.rglob("*"))
    return {
        "photos_per_second": photos / folder.seconds,
        "after_start_photos_per_second": (photos - 1) / max(folder.seconds - one.seconds, 1e-3),
        "peak_mb": folder.peak_mb,
    }


def _catdog_folder(place: Place, round: int) -> Figures:
    return _folder_rates(place, _by_catdog(place, _photo(place)), _by_catdog(place, place.native))


def _torch_folder(place: Place, round: int) -> Figures:
    return _folder_rates(place, _by_torch(place, _photo(place), 0), _by_torch(place, place.native, 2))


def _bundled_folder(place: Place, round: int) -> Figures:
    folder = place.photos() / "val"
    ended = run_python(["-m", "catdog", "predict", folder, "--run", "cats-dogs"], place.work)
    return {"photos_per_second": len(ended.lines) / ended.seconds, "peak_mb": ended.peak_mb}


def _decode_folder(place: Place, round: int) -> Figures:
    return said(run_peer("decode_rate", "catdog", place.photos() / "val", folder=place.work))


def predict() -> Part:
    by_torch, floor = "torch and torchvision", _imports("numpy, PIL.Image")
    folder, torch_folder = "catdog, a folder", "torch and torchvision, a folder, 2 workers"
    bundled, decoding = "cats-dogs, the validation photos", "decoding the validation photos"
    return Part(
        "predict",
        "One photo, and all native photos, by a dense network (32 x 32, three layers of 1024): the "
        "whole process; after the start means less the seconds for one photo in the same round. cats-dogs is the "
        "network that comes with catdog (64 x 64, mirror images too), beside decoding to its size on all cores.",
        [
            Contender("catdog", lambda place, round: _costs(_by_catdog(place, _photo(place)))),
            Contender(by_torch, lambda place, round: _costs(_by_torch(place, _photo(place), 0))),
            floor,
            Contender(folder, _catdog_folder),
            Contender(torch_folder, _torch_folder),
            Contender(bundled, _bundled_folder, usually=2),
            Contender(decoding, _decode_folder, usually=2),
        ],
        [
            Limit(
                f"(seconds - 0.1 s) over those of python -c '{floor.name}'",
                *("catdog", "seconds", "ratio", floor.name),
                most=2,
                allowance=0.1,
            ),
            Limit("seconds of torch and torchvision over catdog's", by_torch, "seconds", "ratio", "catdog", least=10),
            Limit("peak memory, MB (120 MiB)", "catdog", "peak_mb", most=120 * 2**20 / 1e6),
            Limit(
                "a folder: photos/s over those of torch",
                *(folder, "photos_per_second", "ratio", torch_folder),
                least=3,
            ),
            Limit(
                "a folder, after the start: photos/s over those of torch",
                *(folder, "after_start_photos_per_second", "ratio", torch_folder),
                least=3,
            ),
            Limit(
                "cats-dogs: photos/s over decoding alone",
                *(bundled, "photos_per_second", "ratio", decoding),
                least=0.9,
            ),
        ],
        rounds=5,
    )


def _help(place: Place, round: int) -> Figures:
    return _costs(run_python(["-m", "catdog", "--help"], place.work))


def _first_line(place: Place, round: int) -> Figures:
    with place.fresh() as folder:
        ended = catdog_train(place.photos(), Path(folder), until=lambda line: True)
    return {"first_line_seconds": ended.lines[0][0]}


def _page(place: Place, round: int) -> Figures:
    ended = run_python(["-m", "catdog", "serve", "--port", 0], place.work, until=lambda line: True)
    return {"first_line_seconds": ended.lines[0][0]}


def start() -> Part:
    torch = _imports("torch")
    return Part(
        "start",
        "`catdog --help`, and the first lines of `catdog train` and `catdog serve`, from the start of the process.",
        [
            Contender("catdog --help", _help),
            Contender("catdog train", _first_line),
            Contender("catdog serve", _page, needs="starlette"),
            torch,
        ],
        [
            Limit("seconds of catdog --help", "catdog --help", "seconds", most=0.3),
            Limit("first line of serve, seconds", "catdog serve", "first_line_seconds", most=2),
            Limit(
                "first line of train, seconds after python -c 'import torch' would be done",
                *("catdog train", "first_line_seconds", "difference", torch.name, "seconds"),
                most=1,
            ),
        ],
        rounds=5,
    )
