"""Small experiments: `catdog demo permute|depth|activation|loss`.

Each trains a few networks that differ in one thing, several times from different seeds, and compares them on photos
that they were not trained on. What it says is worked out from the figures it found.
"""

import sys
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from catdog.base.progress import working
from catdog.base.text import many
from catdog.base.threads import thread_count
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.data.load import load_photos
from catdog.data.mistakes import require_few_unreadable
from catdog.data.photo_dataset import PhotoDataset
from catdog.data.splits import SAMPLE, photo_folder, train_and_val
from catdog.errors import CatdogError
from catdog.model.build import build_model
from catdog.model.mlp import count_weights
from catdog.runtime.device import choose_device
from catdog.tools.demo.conclusions import conclude_activation, conclude_depth, conclude_loss, conclude_permute
from catdog.tools.demo.outcome import Outcome, Variant, shuffle, shuffle_order
from catdog.trainer.card import make_card
from catdog.trainer.loop import Trainer

MOST_PHOTOS = 2000  # in each of the two sets: a demo is to end in a minute or two
MOST_SEEDS = 20
# Without random changes to the photos, whose crops would make no sense of shuffled pixels, and so that nothing but the
# network and its training differs, and without batch norm, whose scaling would hide what activations and depth do to
# the gradient; the rest is as in any training.
SETTINGS: dict[str, Any] = {
    "image_size": (32, 32),
    "hidden": (256,),
    "activation": "relu",
    "batch_norm": False,
    "flip": False,
    "crop_area": 1.0,
    "crop_ratio": 1.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "epochs": 12,
    "batch_size": 64,
    "learning_rate": 5e-4,
}


@dataclass(frozen=True)
class Demo:
    """`question` is what is asked; `conclude` says what the outcomes answer, a paragraph each."""

    question: str
    variants: tuple[Variant, ...]
    conclude: Callable[[Sequence[Outcome]], list[str]]


def some(photos: PhotoDataset, most: int) -> PhotoDataset:
    """At most so many of the photos, always the same ones."""
    rows = torch.from_numpy(np.sort(np.random.default_rng(0).permutation(len(photos))[:most]))
    return PhotoDataset.from_tensors(photos.pixels[rows], photos.labels[rows], photos.classes)


def settings(variant: Variant, data: str, seed: int) -> Config:
    """The configuration that a variant is trained with."""
    return load_config(None, {**SETTINGS, **variant.changes, "data": data, "seed": seed})


def train_once(config: Config, train: PhotoDataset, apart: PhotoDataset) -> Trainer:
    """Train as `catdog train` does, in a folder that is gone afterwards."""
    device = choose_device(config.run.device)[0]
    torch.manual_seed(config.run.seed)
    model = build_model(config, len(train.classes))
    with tempfile.TemporaryDirectory(prefix="catdog-demo-") as folder:
        card = make_card(config, train)
        trainer = Trainer(config, model, train, apart, card, Path(folder), device, log=lambda line: None)
        trainer.fit()
    return trainer


def run(
    demo: Demo, data: str, train: PhotoDataset, apart: PhotoDataset, seeds: int, log: Callable[[str], None]
) -> list[Outcome]:
    """Train each variant from the seeds 0, 1, ... on the same photos."""
    order = shuffle_order(train.pixels)

    def shuffled(photos: PhotoDataset) -> PhotoDataset:
        return PhotoDataset.from_tensors(shuffle(photos.pixels, order), photos.labels, photos.classes)

    outcomes = []
    for variant in demo.variants:
        sets = (shuffled(train), shuffled(apart)) if variant.is_shuffled else (train, apart)
        trainers = []
        for seed in range(seeds):
            log(f"training with {variant.name}, seed {seed + 1} of {seeds}")
            trainers.append(train_once(settings(variant, data, seed), *sets))
        trained, right = (
            np.array([[row[f"{which}_accuracy"] for row in trainer.state.progress.history] for trainer in trainers])
            for which in ("train", "val")
        )
        outcomes.append(Outcome(variant.name, trained, right, trainers[0]))
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """A line a variant: right on photos kept apart, its interval, right on those trained on, number of weights."""
    seeds = len(outcomes[0].held_out)
    rows = [("right on photos", "kept apart", f"95% interval, {many(seeds, 'seed')}", "trained on", "weights")]
    for o in outcomes:
        span = "-" if o.interval is None else f"{o.interval[0]:.1%} to {o.interval[1]:.1%}"
        weights = f"{count_weights(o.trainer.state.model):,}"
        rows.append((f"with {o.name}", f"{o.accuracy:.1%}", span, f"{o.training[:, -1].mean():.1%}", weights))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}" + "".join(f"  {cell:>{w}}" for cell, w in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


_THREE = (256, 256, 256)
DEMOS = {
    "permute": Demo(
        "Does the network mind if the pixels of all photos are shuffled, in the same way for each?",
        (Variant("photos as they are"), Variant("shuffled photos", is_shuffled=True)),
        conclude_permute,
    ),
    "depth": Demo(
        "What are hidden layers good for?",
        (
            Variant("no hidden layer", {"hidden": ()}),
            Variant("one hidden layer", {"hidden": (256,)}),
            Variant("three hidden layers", {"hidden": _THREE}),
        ),
        conclude_depth,
    ),
    "activation": Demo(
        "Which activation should three hidden layers have?",
        tuple(Variant(name, {"activation": name, "hidden": _THREE}) for name in ("relu", "tanh", "sigmoid")),
        conclude_activation,
    ),
    "loss": Demo(
        "Softmax or SVM at the end?",
        (Variant("softmax", {"loss": "softmax"}), Variant("an SVM", {"loss": "svm"})),
        conclude_loss,
    ),
}


def main(name: str, data: str | None, seeds: int, out: str | None) -> int:
    """The exit status of `catdog demo`."""
    if not 1 <= seeds <= MOST_SEEDS:
        raise CatdogError(f"--seeds must be from 1 to {MOST_SEEDS}, not {seeds}.")
    demo, folder, data = DEMOS[name], Path(out or "."), data or SAMPLE
    picture = folder / f"demo-{name}.png"
    if data != SAMPLE and picture.resolve().is_relative_to(Path(data).resolve()):
        raise CatdogError(f"{picture} lies among the photos, where nothing is written; give another --out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CatdogError(f"cannot make the folder {folder}: {error.strerror}; give another --out.") from None
    torch.set_num_threads(thread_count()[0])
    with working("reading the photos"):
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
    from catdog.tools.demo.picture import draw_demo  # matplotlib takes a while to import

    photos = apart.pixels[first_of_each(apart)] if name == "permute" else None
    with working("drawing"):
        draw_demo(demo.question, outcomes, picture, photos, shuffle_order(apart.pixels))
    print(f"picture in {picture}", file=sys.stderr)
    return 0


def load(data: str) -> tuple[PhotoDataset, PhotoDataset]:
    """The photos to train on, and those kept apart: those of `catdog train`, or some of them where there are many."""
    config = load_config(None, {**SETTINGS, "data": data})
    listings = train_and_val(photo_folder(config.photos), config.photos.val_share, config.run.seed)
    photos = config.photos
    train, apart = (load_photos(part, photos.image_size, photos.resize, threads=0) for part in listings)
    require_few_unreadable((train, apart), photos.max_skipped)
    for photos_read, listing in zip((train, apart), listings, strict=True):
        if not len(photos_read):
            raise CatdogError(
                f"none of the photos in {listing.root} can be read; the first: {photos_read.skipped[0].reason}"
            )
    return some(train, MOST_PHOTOS), some(apart, MOST_PHOTOS)


def first_of_each(photos: PhotoDataset) -> list[int]:
    """The index of the first photo of each of the first two classes that are there."""
    labels = photos.labels.tolist()
    return [labels.index(label) for label in sorted(set(labels))[:2]]
