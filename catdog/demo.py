"""Small experiments: `catdog demo permute|depth|activation|loss`.

Each trains a few networks that differ in one thing, several times from different seeds, and compares them on photos
that they were not trained on. What it says is worked out from the figures it found.
"""

import copy
import math
import os
import sys
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.data.dataset import PhotoSet, load_photos
from catdog.data.splits import SAMPLE, photo_folder, train_and_val
from catdog.errors import CatdogError
from catdog.model.mlp import MLP, count_weights
from catdog.runtime.device import choose_device
from catdog.train import build_model, describe
from catdog.trainer import augment
from catdog.trainer.loop import Trainer

MOST_PHOTOS = 2000  # in each of the two sets: a demo is to end in a minute or two
MOST_SEEDS = 20
# Without random changes to the photos, whose crops would make no sense of shuffled pixels, and so that nothing but the
# network and its training differs; the rest is as in any training.
SETTINGS: dict[str, Any] = {
    "image_size": (32, 32),
    "hidden": (256,),
    "activation": "relu",
    "flip": False,
    "crop_area": 1.0,
    "crop_ratio": 1.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "epochs": 12,
    "batch_size": 64,
}


@dataclass(frozen=True)
class Variant:
    """One of the networks compared: fields of the configuration that it changes, and whether its photos are shuffled.

    `name` goes on after "with".
    """

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    is_shuffled: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of training a variant from each of S seeds, for E epochs."""

    name: str
    trained: np.ndarray
    """S x E: share of right answers on the photos trained on, over each epoch."""
    apart: np.ndarray
    """S x E: the same on the photos kept apart, after each epoch."""
    first: Trainer
    """The training from the first seed."""

    @property
    def accuracy(self) -> float:
        """Right on photos kept apart after the last epoch, the mean over the seeds."""
        return float(self.apart[:, -1].mean())

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of that mean, 95%; None for a single seed."""
        return mean_interval(self.apart[:, -1])


@dataclass(frozen=True)
class Demo:
    """`question` is what is asked; `conclude` says what the outcomes answer, a paragraph each."""

    question: str
    variants: tuple[Variant, ...]
    conclude: Callable[[Sequence[Outcome]], list[str]]


# Student's t for 1, 2, ... degrees of freedom: its 97.5th percentile (Student 1908; any table of it).
_T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228]
_T += [2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093]


def mean_interval(values: np.ndarray) -> tuple[float, float] | None:
    """The 95% interval of the mean of a few shares, by Student's t, kept within [0, 1]; None for one value."""
    if len(values) < 2:
        return None
    half = _T[len(values) - 2] * float(values.std(ddof=1)) / math.sqrt(len(values))
    return max(0.0, float(values.mean()) - half), min(1.0, float(values.mean()) + half)


def shuffle_order(pixels: Tensor) -> Tensor:
    """Where each pixel of a shuffled photo comes from: int64, H * W, the same for all photos of N x 3 x H x W."""
    return torch.from_numpy(np.random.default_rng(0).permutation(pixels[0, 0].numel()))


def shuffle(pixels: Tensor, order: Tensor) -> Tensor:
    """N x 3 x H x W -> the same shape: every pixel, with its three colours, moved to another place."""
    return pixels.flatten(2)[:, :, order.to(pixels.device)].view_as(pixels)


def shuffle_weights(model: MLP, order: Tensor) -> MLP:
    """A copy of `model` whose first layer's weights are moved as `shuffle` moves the pixels that they multiply."""
    model = copy.deepcopy(model)
    weight = next(model.parameters())  # the first layer's, outputs x inputs
    with torch.no_grad():
        weight.copy_(shuffle(weight.view(len(weight), 3, *model.image_size), order).flatten(1))
    return model


def some(photos: PhotoSet, most: int) -> PhotoSet:
    """At most so many of the photos, always the same ones."""
    rows = torch.from_numpy(np.sort(np.random.default_rng(0).permutation(len(photos))[:most]))
    return PhotoSet(photos.pixels[rows], photos.labels[rows], photos.classes, [])


def settings(variant: Variant, data: str, seed: int) -> Config:
    """The configuration that a variant is trained with."""
    return load_config(None, {**SETTINGS, **variant.changes, "data": data, "seed": seed})


def train_once(config: Config, train: PhotoSet, apart: PhotoSet) -> Trainer:
    """Train as `catdog train` does, in a folder that is gone afterwards."""
    device = choose_device(config.run.device)[0]
    torch.manual_seed(config.run.seed)
    model = build_model(config, len(train.classes))
    with tempfile.TemporaryDirectory(prefix="catdog-demo-") as folder:
        card = describe(config, train)
        trainer = Trainer(config, model, train, apart, card, Path(folder), device, log=lambda line: None)
        trainer.fit()
    return trainer


def run(
    demo: Demo, data: str, train: PhotoSet, apart: PhotoSet, seeds: int, log: Callable[[str], None]
) -> list[Outcome]:
    """Train each variant from the seeds 0, 1, ... on the same photos."""
    order = shuffle_order(train.pixels)

    def shuffled(photos: PhotoSet) -> PhotoSet:
        return PhotoSet(shuffle(photos.pixels, order), photos.labels, photos.classes, [])

    outcomes = []
    for variant in demo.variants:
        sets = (shuffled(train), shuffled(apart)) if variant.is_shuffled else (train, apart)
        trainers = []
        for seed in range(seeds):
            log(f"training with {variant.name}, seed {seed + 1} of {seeds}")
            trainers.append(train_once(settings(variant, data, seed), *sets))
        trained, right = (
            np.array([[row[f"{which}_accuracy"] for row in trainer.progress.history] for trainer in trainers])
            for which in ("train", "val")
        )
        outcomes.append(Outcome(variant.name, trained, right, trainers[0]))
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """A line a variant: right on photos kept apart, its interval, right on those trained on, number of weights."""
    seeds = len(outcomes[0].apart)
    rows = [("right on photos", "kept apart", f"95% interval, {_seeds(seeds)}", "trained on", "weights")]
    for o in outcomes:
        span = "-" if o.interval is None else f"{o.interval[0]:.1%} to {o.interval[1]:.1%}"
        weights = f"{count_weights(o.first.model):,}"
        rows.append((f"with {o.name}", f"{o.accuracy:.1%}", span, f"{o.trained[:, -1].mean():.1%}", weights))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}" + "".join(f"  {cell:>{w}}" for cell, w in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count > 1 else ''}"


def told_apart(a: Outcome, b: Outcome) -> bool | None:
    """Whether the two intervals have nothing in common; None where a single seed gives no interval."""
    if a.interval is None or b.interval is None:
        return None
    return a.interval[1] < b.interval[0] or b.interval[1] < a.interval[0]


def compare(a: Outcome, b: Outcome) -> str:
    """What the figures say of `b` beside `a`."""
    gap = b.accuracy - a.accuracy
    found = f"With {a.name} the network is right on {a.accuracy:.1%}, with {b.name} on {b.accuracy:.1%}"
    apart = told_apart(a, b)
    if apart is None:
        return f"{found}. One seed cannot tell whether that is more than luck; give --seeds 3 or more."
    if not apart:
        return f"{found}. The intervals overlap: these seeds do not tell the two apart."
    return (
        f"{found}. That is {abs(gap) * 100:.1f} points {'more' if gap > 0 else 'less'}, and the intervals do not "
        "overlap: it takes more than the luck of the first weights to explain."
    )


def by_heart(outcomes: Sequence[Outcome]) -> list[str]:
    """A word on networks that know the photos they were trained on, and the others less well."""
    trained = [float(o.trained[:, -1].mean()) for o in outcomes]
    names = [o.name for o, share in zip(outcomes, trained, strict=True) if share > 0.99 and o.accuracy < share - 0.02]
    if not names:
        return []
    return [
        f"With {' and with '.join(names)} the network is right on almost every photo that it was trained on, and on "
        "fewer of the others: it has learned much by heart. Only photos kept apart tell what it can do."
    ]


def _conclude_permute(outcomes: Sequence[Outcome]) -> list[str]:
    plain, shuffled = outcomes
    return [
        compare(plain, shuffled),
        "Nobody could tell a cat from a dog in the shuffled photos. But a neuron of the first layer has a weight of "
        "its own for every pixel and is never told which pixels lie side by side. Move those weights as the pixels "
        "were moved, and the network trained on the photos as they are scores the shuffled ones as it did the photos "
        f"themselves: on those kept apart, no score changes by more than {largest_change(plain.first):.0e}.",
        "So such a network cannot use that neighbouring pixels belong together, or that a cat is a cat wherever it "
        "sits. Convolution builds just that in, which is why people went on to it.",
    ]


@torch.no_grad()
def largest_change(trainer: Trainer) -> float:
    """By how much a score changes at most when the photos and the first layer's weights are shuffled alike."""
    model = trainer.average.model.eval()
    assert isinstance(model, MLP) and isinstance(trainer.val, PhotoSet)
    pixels = trainer.val.pixels
    order = shuffle_order(pixels)
    images, moved = (augment.normalise(p, trainer.mean, trainer.std) for p in (pixels, shuffle(pixels, order)))
    return float((shuffle_weights(model, order)(moved) - model(images)).abs().max())


def _conclude_depth(outcomes: Sequence[Outcome]) -> list[str]:
    none, one, three = outcomes
    return [
        compare(none, one),
        compare(one, three),
        "Without a hidden layer there is one weight for each pixel and class: a single template, laid over every "
        "photo. A hidden layer is many templates, of which the activation lets each speak on some photos and be silent "
        "on others. More layers can say more, which is not yet to be right more often.",
        *by_heart(outcomes),
    ]


def _conclude_activation(outcomes: Sequence[Outcome]) -> list[str]:
    relu, tanh, sigmoid = outcomes
    early = ", ".join(f"{o.apart[:, 0].mean():.1%} with {o.name}" for o in outcomes)
    return [
        compare(relu, tanh),
        compare(relu, sigmoid),
        f"After the first epoch: {early}. On its way back through three hidden layers the gradient is multiplied by "
        "the activation's slope three times. The slope of relu is 1 wherever a neuron speaks; that of tanh is 1 only "
        "in the middle, and that of sigmoid never more than 1/4, so the first layers may hear little of the loss.",
        *by_heart(outcomes),
    ]


def _conclude_loss(outcomes: Sequence[Outcome]) -> list[str]:
    softmax, svm = outcomes
    return [
        compare(softmax, svm),
        "Softmax turns the scores into probabilities, and its loss always has something left to lower. The SVM asks "
        "that the true class's score lead by 1 and is then content with a photo: after its training "
        f"{share_content(svm.first):.1%} of the photos that it was trained on do, and no longer pull at any weight.",
        *by_heart(outcomes),
    ]


def share_content(trainer: Trainer) -> float:
    """The share of the photos trained on in which the true class's score leads all others by the SVM's margin of 1."""
    found, logits = trainer.evaluate(trainer.train)
    labels, scores = torch.from_numpy(found)[:, None], torch.from_numpy(logits)
    others = scores.scatter(1, labels, -math.inf)
    return float((scores.gather(1, labels)[:, 0] - others.amax(1) >= 1).double().mean())


_THREE = (256, 256, 256)
DEMOS = {
    "permute": Demo(
        "Does the network mind if the pixels of all photos are shuffled, in the same way for each?",
        (Variant("photos as they are"), Variant("shuffled photos", is_shuffled=True)),
        _conclude_permute,
    ),
    "depth": Demo(
        "What are hidden layers good for?",
        (
            Variant("no hidden layer", {"hidden": ()}),
            Variant("one hidden layer", {"hidden": (256,)}),
            Variant("three hidden layers", {"hidden": _THREE}),
        ),
        _conclude_depth,
    ),
    "activation": Demo(
        "Which activation should three hidden layers have?",
        tuple(Variant(name, {"activation": name, "hidden": _THREE}) for name in ("relu", "tanh", "sigmoid")),
        _conclude_activation,
    ),
    "loss": Demo(
        "Softmax or SVM at the end?",
        (Variant("softmax", {"loss": "softmax"}), Variant("an SVM", {"loss": "svm"})),
        _conclude_loss,
    ),
}


def main(name: str, data: str | None, seeds: int, out: str | None) -> int:
    """The exit status of `catdog demo`."""
    if not 1 <= seeds <= MOST_SEEDS:
        raise CatdogError(f"--seeds must be from 1 to {MOST_SEEDS}, not {seeds}.")
    demo, folder = DEMOS[name], Path(out or ".")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CatdogError(f"cannot make the folder {folder}: {error.strerror}; give another --out.") from None
    data = data or SAMPLE
    train, apart = load(data)
    drawn = "drawn cats and dogs" if data == SAMPLE else data
    print(
        f"{demo.question}\n{drawn}, {' x '.join(map(str, train.pixels.shape[2:]))} pixels: {len(train):,} to train on, "
        f"{len(apart):,} kept apart\n",
        flush=True,
    )
    outcomes = run(demo, data, train, apart, seeds, lambda line: print(line, file=sys.stderr, flush=True))
    print(table(outcomes))
    print("(the interval: how far the mean over the seeds is to be trusted, roughly; other photos give other figures)")
    for paragraph in demo.conclude(outcomes):
        print("\n" + textwrap.fill(paragraph, 110))
    from catdog.demo_picture import draw_demo  # matplotlib takes a while to import

    picture = folder / f"demo-{name}.png"
    photos = apart.pixels[first_of_each(apart)] if name == "permute" else None
    draw_demo(demo.question, outcomes, picture, photos, shuffle_order(apart.pixels))
    print(f"picture in {picture}", file=sys.stderr)
    return 0


def load(data: str) -> tuple[PhotoSet, PhotoSet]:
    """The photos to train on, and those kept apart: those of `catdog train`, or some of them where there are many."""
    config = load_config(None, {**SETTINGS, "data": data})
    listings = train_and_val(photo_folder(config.photos), config.photos.val_share, config.run.seed)
    photos = config.photos
    train, apart = (
        load_photos(part, photos.image_size, threads=os.cpu_count() or 1, max_skipped=photos.max_skipped)
        for part in listings
    )
    for photos_read, listing in zip((train, apart), listings, strict=True):
        if not len(photos_read):
            raise CatdogError(
                f"none of the photos in {listing.root} can be read; the first: {photos_read.skipped[0].reason}"
            )
    return some(train, MOST_PHOTOS), some(apart, MOST_PHOTOS)


def first_of_each(photos: PhotoSet) -> list[int]:
    """The index of the first photo of each of the first two classes that are there."""
    labels = photos.labels.tolist()
    return [labels.index(label) for label in sorted(set(labels))[:2]]
