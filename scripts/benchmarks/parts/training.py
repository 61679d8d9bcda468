"""How fast photos are trained on: from the disk, from memory, from start to end."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.contender import (
    LIKE_THE_TUTORIAL,
    NO_AUGMENTATION,
    PEERS,
    PLAIN_NETWORK,
    PLAIN_TRAINING,
    Contender,
    Figures,
    Part,
    accuracy_in,
    catdog_train,
    epochs_of,
    peer_train,
    said,
)
from benchmarks.photos import Place
from benchmarks.processes import Ended, run_peer
from benchmarks.results import Limit

WANTED = 0.70  # accuracy on validation photos
_BATCHES = (128, 512)


def _count(root: Path) -> int:
    return sum(1 for folder in (root / "train").iterdir() for _ in folder.iterdir())


def _first_epoch(begins: Callable[[str], bool]) -> Callable[[Place, Ended], Figures]:
    """Photos a second from the line where work begins to the line after the first epoch."""

    def figures(place: Place, ended: Ended) -> Figures:
        begun, epochs = ended.when(begins), epochs_of(ended)
        assert begun is not None
        found = {"photos_per_second": _count(place.repeated_native()) / (epochs[0].at - begun)}
        if len(epochs) > 1:
            found["second_epoch_photos_per_second"] = epochs[1].photos_per_second
        return found

    return figures


_of_catdog = _first_epoch(lambda line: line.startswith("run "))  # the end of the plan, after the listing
_of_peer = _first_epoch(lambda line: line.startswith('{"begin"'))


def _catdog_first(cache: str | None) -> Callable[[Place, int], Figures]:
    def measure(place: Place, round: int) -> Figures:
        with place.fresh() as folder:
            flags = (*LIKE_THE_TUTORIAL, "--batch-size", 128, "--epochs", 2, "--seed", round)
            ended = catdog_train(place.repeated_native(), Path(folder), *flags, cache=cache, is_warm=True)
            return _of_catdog(place, ended)

    return measure


def _peer_first(peer: str) -> Callable[[Place, int], Figures]:
    def measure(place: Place, round: int) -> Figures:
        with place.fresh() as folder:
            ended = peer_train(peer, place.repeated_native(), Path(folder), "--epochs", 2, "--seed", round)
            found = _of_peer(place, ended)
            loader = said(ended).get("loader_photos_per_second")
            return found if loader is None else {**found, "loader_photos_per_second": loader}

    return measure


def _decode(decoder: str) -> Callable[[Place, int], Figures]:
    def measure(place: Place, round: int) -> Figures:
        return said(run_peer("decode_rate", decoder, place.repeated_native() / "train", folder=place.work))

    return measure


def first_epoch() -> Part:
    return Part(
        "first-epoch",
        "Native photos from the disk (which the system has in memory), decoded to 64 x 64, nothing decoded before; "
        "network 512-256, batches of 128. From the start of the work (packages imported, photos listed) to the line "
        "after the first epoch, validation included; catdog's checkpoint is written beside the second. catdog writes "
        "its pixel cache; a loader's rate is of one pass without training.",
        [
            Contender("catdog", _catdog_first(None)),
            Contender("catdog --cache none", _catdog_first("none")),
            Contender("tutorial", _peer_first("tutorial")),
            *(Contender(name, _peer_first(peer), needs=name, usually=1) for name, peer in PEERS.items()),
            Contender("decode", _decode("catdog")),
            Contender("scaled decode, simplejpeg", _decode("simplejpeg")),
        ],
        [
            Limit("first epoch over the tutorial's", "catdog", "photos_per_second", "ratio", "tutorial", least=2.8),
            Limit(
                "first epoch over the tutorial's, --cache none",
                *("catdog --cache none", "photos_per_second", "ratio", "tutorial"),
                least=2.8,
            ),
            Limit(
                "first epoch over what scaled decoding on all cores gives",
                *("catdog", "photos_per_second", "ratio", "scaled decode, simplejpeg"),
            ),
            Limit(
                "decoding over scaled decoding on all cores",
                *("decode", "photos_per_second", "ratio", "scaled decode, simplejpeg"),
                least=0.8,
            ),
        ],
        rounds=3,
    )


def _later(batch: int, augmentation: tuple[object, ...]) -> Callable[[Place, int], Figures]:
    def measure(place: Place, round: int) -> Figures:
        with place.fresh() as folder:
            network = (*PLAIN_NETWORK, *PLAIN_TRAINING, *augmentation)
            flags = ("--batch-size", batch, "--epochs", 4, "--seed", round)
            cache = place.work / "cache"  # photos are decoded once for all rounds: the first epoch is not counted
            epochs = epochs_of(catdog_train(place.photos(), Path(folder), *network, *flags, cache=cache))
        whole = [_count(place.photos()) / (after.at - before.at) for before, after in pairwise(epochs)]
        return {
            "photos_per_second": median(epoch.photos_per_second for epoch in epochs[1:]),
            "with_evaluation_photos_per_second": median(whole),
        }

    return measure


def _arithmetic(batch: int) -> Callable[[Place, int], Figures]:
    def measure(place: Place, round: int) -> Figures:
        flags = ("--batch-size", batch, "--photos", _count(place.photos()), "--epochs", 4)
        return said(run_peer("arithmetic", *flags, folder=place.work))

    return measure


def later_epochs() -> Part:
    contenders, limits = [], []
    for batch in _BATCHES:
        plain, changed, alone = (
            f"{name}, batch {batch}" for name in ("catdog", "catdog, augmented", "the arithmetic alone")
        )
        contenders += [
            Contender(plain, _later(batch, NO_AUGMENTATION)),
            Contender(changed, _later(batch, ())),
            Contender(alone, _arithmetic(batch)),
        ]
        limits += [
            Limit(f"{plain}: over the arithmetic alone", plain, "photos_per_second", "ratio", alone, least=0.9),
            Limit(f"{changed}: over the arithmetic alone", changed, "photos_per_second", "ratio", alone, least=0.92),
        ]
    return Part(
        "later-epochs",
        "Epochs 2 to 4 at 64 x 64, network 512-256, pixels decoded before; their median. The arithmetic alone: float32 "
        "batches that lie ready in memory, the same network, fused AdamW, all threads.",
        contenders,
        limits,
        rounds=2,
    )


def _figures_of_whole(ended: Ended) -> Figures:
    return {"seconds": ended.seconds, "accuracy": epochs_of(ended)[-1].accuracy, "peak_mb": ended.peak_mb}


def _catdog_whole(*flags: object) -> Callable[[Place, int], Figures]:
    def measure(place: Place, round: int) -> Figures:
        with place.fresh() as folder:
            run = ("--batch-size", 128, "--epochs", place.sizes.epochs, "--seed", round)
            return _figures_of_whole(catdog_train(place.photos(), Path(folder), *flags, *run))

    return measure


def _peer_whole(peer: str) -> Callable[[Place, int], Figures]:
    def measure(place: Place, round: int) -> Figures:
        with place.fresh() as folder:
            flags = ("--epochs", place.sizes.epochs, "--seed", round)
            return _figures_of_whole(peer_train(peer, place.photos(), Path(folder), *flags))

    return measure


def whole_run(epochs: int) -> Part:
    packages = ("fastai", "lightning")
    limits = []
    for peer in ("tutorial", *packages):
        limits += [
            Limit(f"seconds of {peer} over catdog's", peer, "seconds", "ratio", "catdog", least=4.5),
            Limit(f"accuracy above {peer}'s, mean", "catdog", "accuracy", "mean difference", peer, least=0),
        ]
    return Part(
        "whole-run",
        f"{epochs} epochs at 64 x 64, network 512-256, batches of 128, from the start of the process to the saved "
        "model and its end; no pixels decoded before. Accuracy on the validation photos after the last epoch; each "
        "round has its own seed. catdog augmented is the same with the default augmentation.",
        [
            Contender("catdog", _catdog_whole(*LIKE_THE_TUTORIAL), usually=2),
            Contender("catdog, augmented", _catdog_whole(*PLAIN_NETWORK, *PLAIN_TRAINING)),
            Contender("tutorial", _peer_whole("tutorial"), usually=2),
            *(Contender(name, _peer_whole(PEERS[name]), needs=name) for name in packages),
        ],
        limits,
    )


def _is_accurate(line: str) -> bool:
    accuracy = accuracy_in(line)
    return accuracy is not None and accuracy >= WANTED


def _time_to(ended: Ended) -> Figures:
    reached = ended.when(_is_accurate)
    best = {"best_accuracy": max(epoch.accuracy for epoch in epochs_of(ended)), "reached": float(reached is not None)}
    return best if reached is None else {**best, "seconds_to_accuracy": reached}


def _catdog_time_to(place: Place, round: int) -> Figures:
    with place.fresh() as folder:
        epochs = ("--epochs", place.sizes.epochs) if place.sizes.photos else ()
        return _time_to(catdog_train(place.photos(), Path(folder), *epochs, "--seed", round, until=_is_accurate))


def _tutorial_time_to(place: Place, round: int) -> Figures:
    network = ("--image-size", 24, "--hidden", 1024, 1024, 1024)
    flags = ("--epochs", place.sizes.epochs, "--seed", round)
    with place.fresh() as folder:
        return _time_to(peer_train("tutorial", place.photos(), Path(folder), *network, *flags, until=_is_accurate))


def time_to_accuracy() -> Part:
    return Part(
        "time-to-accuracy",
        f"From the start of the process to the first epoch after which {WANTED:.0%} of the validation photos are "
        "right: catdog with its defaults; the tutorial's loop with the same widths and size, 10 epochs. A round that "
        "does not get there has reached 0 and no seconds.",
        [Contender("catdog", _catdog_time_to), Contender("tutorial", _tutorial_time_to)],
        [Limit(f"catdog reaches {WANTED:.0%}", "catdog", "reached", least=1)],
    )
