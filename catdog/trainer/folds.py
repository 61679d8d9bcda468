"""Cross-validation: each photo is answered by networks that have not seen it; then one network learns from all photos.

A share of few photos says little of a network: 10 right of 12 may come of one that is right on 55% of all photos, or on
95%. Cut into folds, all photos are answered; files of the same bytes are in one fold. The network of all photos has
none left to be measured with; what stands for it, after each of its epochs, are the answers of the folds' networks
after as many.
"""

import shutil
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from catdog.base.atomic import write_atomic
from catdog.base.text import percent
from catdog.checkpoint.model_card import ModelCard
from catdog.checkpoint.model_file import MODEL_FILE
from catdog.config.settings import Config
from catdog.data.duplicates import exact_copies
from catdog.data.listing import Listing
from catdog.data.photo_dataset import PhotoDataset
from catdog.data.splits import folds
from catdog.errors import CatdogError, SettingsError
from catdog.metrics import fit_temperature
from catdog.numpy_net import softmax
from catdog.runs.answers import Answers, write_answers
from catdog.runs.locate import TRAINED_NAME
from catdog.runtime.world import World
from catdog.trainer.comparison import CATS_DOGS, as_it_comes
from catdog.trainer.divergence import NotFinite
from catdog.trainer.fit_familiarity import add_familiarity
from catdog.trainer.loop import Trainer
from catdog.trainer.sureness import how_sure, learning_curve

Logits = NDArray[np.float32]
FOLDER = "folds"  # of a run: what the folds' networks answered
FEW = 1000  # photos, below which they are cut into folds
_USUAL = 5
_CALMER = "train again with a lower --learning-rate, or with --on-nan rollback."
_FIRST = 2  # epochs: what is best by then has hardly been trained


def with_folds(config: Config, listings: Sequence[Listing], world: World) -> Config:
    """`config` with a number of folds where it leaves that open (0).

    Raises CatdogError where folds are asked for and cannot be.
    """
    photos = config.photos
    has_val = listings[0].root != listings[1].root
    why_not = (
        "the folder has a val/ folder, which is measured with"
        if has_val
        else "with --cache none no photo stays decoded"
        if photos.cache == "none"
        else "several processes share a training"
        if world.size > 1
        else ""
    )
    chosen = photos.folds
    if chosen > 1 and why_not:
        raise CatdogError(f"folds (--folds {chosen}) cannot be: {why_not}; leave one of the two out.")
    if chosen == 0:
        from catdog.data.drawn import are_drawn

        is_few = sum(map(len, listings)) < FEW
        chosen = _USUAL if is_few and not why_not and not are_drawn(listings[0]) else 1
    return replace(config, photos=replace(photos, folds=chosen))


def cross_validate(
    config: Config,
    folders: Sequence[PhotoDataset],
    run: Path,
    device: torch.device,
    new_model: Callable[[], nn.Module],
    new_card: Callable[[PhotoDataset], ModelCard],
    log: Callable[[str], None],
) -> tuple[tuple[PhotoDataset, PhotoDataset], "Callable[..., Trainer]"]:
    """Train the folds' networks, and those of half of the photos; return what then learns from all.

    That is all photos, both to train on and to validate on, and how to make a `Trainer` of them. folders: the photos
    to train on and to validate on, as they are without folds. new_model makes a network with its first weights,
    new_card the card of a network of some photos. Raises CatdogError where one fold would hold nearly all photos.
    """
    photos = _together(*folders)
    listing, count = photos.listing, config.photos.folds
    copies = exact_copies(listing.files)
    fold_of, half_of = (np.array(folds(listing, parts, config.run.seed, copies)) for parts in (count, 2))
    if not _can_learn(fold_of):
        raise CatdogError(
            f"nearly all photos of {listing.root} are copies of each other, and those are kept in one fold, which "
            "leaves none to learn from; add other photos, or give --folds 1."
        )
    trainings = _Folds(config, photos, run, device, new_model, new_card, log)
    answers = trainings.answers(fold_of, count)
    with_halves = count > 2 and len(photos) < FEW and _can_learn(half_of)
    of_half = trainings.answers(half_of, 2) if with_halves else answers
    return (photos, photos), partial(TrainerOnAll, answers, of_half)


class TrainerOnAll(Trainer):
    """A training on all photos; its validation figures are the answers of the folds' networks after as many epochs.

    answers, of_half: E x N x C, the logits of each photo after each epoch, by a network of the photos of the other
    folds, and by one of the other half of the photos, or `answers` again.
    """

    validated_on = "photos right, each by a network that had not seen it"

    def __init__(self, answers: Logits, of_half: Logits, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.answers, self.of_half = answers, of_half
        self.card = replace(self.card, validation=as_it_comes(self.val.listing))

    def evaluate(self, photos: PhotoDataset) -> tuple[np.ndarray, np.ndarray]:
        return photos.labels.cpu().numpy(), self.answers[self.state.progress.epoch]

    def complete(self) -> None:
        """Familiarity, and answers.csv: what the folds' networks answered after the best epoch."""
        # Fitted on half of the photos, and measured with the others: no photo is left that the network has not seen.
        is_odd = [row % 2 > 0 for row in range(len(self.val))]
        even = self.val.select([not odd for odd in is_odd])
        add_familiarity(self.run / MODEL_FILE, even, self.val.select(is_odd))
        logits, listing = self.answers[self.state.progress.best_epoch], self.val.listing
        labels = np.array(listing.labels)
        probabilities = softmax(logits / fit_temperature(labels, logits))
        write_answers(self.run, Answers(listing.classes, listing.paths, labels, probabilities))

    def in_words(self) -> list[str]:
        """How sure the figure is, and what more photos may give."""
        best = self.state.progress.best_epoch
        labels, folds = self.val.labels.cpu().numpy(), self.config.photos.folds
        right, right_of_half = (one[best].argmax(axis=1) == labels for one in (self.answers, self.of_half))
        said = how_sure(right, labels, self.val.classes)
        if best < min(_FIRST, len(self.answers) - 1):
            said.append(
                f"note: none of the later epochs was better than epoch {best + 1}, so little was learned beyond what "
                "the network began with."
            )
        if (theirs := self.card.validation.get(CATS_DOGS, 0)) > right.mean():
            said.append(
                f"note: {TRAINED_NAME}, which comes with catdog, is right on {percent(theirs)} of these photos as "
                f"it is, so it is the better one: catdog predict PHOTO --run {TRAINED_NAME}"
            )
        if self.of_half is self.answers:
            return said
        return [*said, learning_curve(right_of_half, right, 1 - 1 / folds)]


class _Fold(Trainer):
    """A training on the photos outside a fold. answers: by epoch, the logits (n x C) of the n inside."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.answers: dict[int, Logits] = {}

    def complete(self) -> None:
        pass

    def _recover(self, problem: NotFinite) -> None:
        if self.config.training.on_nan == "stop":  # its checkpoints go with it
            raise SettingsError(f"in epoch {self.state.progress.epoch + 1} of a fold, {problem}; {_CALMER}")
        super()._recover(problem)

    def evaluate(self, photos: PhotoDataset) -> tuple[np.ndarray, np.ndarray]:
        labels, logits = super().evaluate(photos)
        self.answers[self.state.progress.epoch] = logits
        return labels, logits


@dataclass
class _Folds:
    """The trainings of the folds' networks. What they answered is kept in folds/, so that a stop loses none of them."""

    config: Config
    photos: PhotoDataset
    run: Path
    device: torch.device
    new_model: Callable[[], nn.Module]
    new_card: Callable[[PhotoDataset], ModelCard]
    log: Callable[[str], None]

    def answers(self, fold_of: NDArray[np.int64], count: int) -> Logits:
        """E x N x C: the logits of each photo after each epoch, by that of `count` networks that has not seen it.

        fold_of: N, the fold of each photo. One that no photo is in is left out.
        """
        photos, labels = self.photos, np.array(self.photos.listing.labels)
        found = np.zeros((self.config.training.epochs, len(photos), len(photos.classes)), np.float32)
        for fold in np.unique(fold_of):
            inside = fold_of == fold
            found[:, inside] = self._of_fold(f"{fold + 1}-of-{count}", inside)
            right = int((found[-1, inside].argmax(axis=1) == labels[inside]).sum())
            outside = f"a network of the other {int((~inside).sum()):,}"
            self.log(f"fold {fold + 1} of {count}: {right:,} of {int(inside.sum()):,} photos right by {outside}")
        return found

    def _of_fold(self, name: str, inside: NDArray[np.bool_]) -> Logits:
        """E x n x C: of the n photos inside, by a network of the others, from its file where there is one."""
        from safetensors.numpy import load, save

        epochs = self.config.training.epochs
        which = repr((self.photos.listing.paths, inside.tolist(), epochs)).encode("utf-8", "surrogateescape")
        place = self.run / FOLDER / name
        kept = place.with_name(f"{name}-{zlib.crc32(which):08x}.safetensors")
        if kept.exists():
            return load(kept.read_bytes())["logits"]
        train, val = self.photos.select((~inside).tolist()), self.photos.select(inside.tolist())
        config = replace(self.config, training=replace(self.config.training, early_stopping=0))
        shutil.rmtree(place, ignore_errors=True)  # of a training that was killed
        place.mkdir(parents=True)
        try:
            fold = _Fold(config, self.new_model(), train, val, self.new_card(train), place, self.device, _say_nothing)
            fold.fit()
            answers = np.stack([fold.answers[epoch] for epoch in range(epochs)])
            write_atomic(kept, lambda file: file.write(save({"logits": answers})))
            fold.stop_if_asked()  # a signal may have come too late for `fit`, and others are still to be trained
        finally:
            shutil.rmtree(place)
            with suppress(OSError):  # it holds those that were finished
                place.parent.rmdir()
        return answers


def _can_learn(fold_of: NDArray[np.int64]) -> bool:
    """Whether two photos or more, which batch norm takes, are outside of each fold."""
    return len(fold_of) - int(np.bincount(fold_of).max()) >= 2


def _say_nothing(line: str) -> None:
    pass


def _together(train: PhotoDataset, val: PhotoDataset) -> PhotoDataset:
    """The photos of both, in the order of a listing."""
    paths, labels = [*train.listing.paths, *val.listing.paths], [*train.listing.labels, *val.listing.labels]
    order = sorted(range(len(paths)), key=lambda i: (labels[i], paths[i]))
    listing = replace(train.listing, paths=[paths[i] for i in order], labels=[labels[i] for i in order])
    pixels = torch.cat([train.pixels, val.pixels])[order]
    found = PhotoDataset(listing, train.size, pixels=pixels, skipped=[*train.skipped, *val.skipped])
    if train.features is not None and val.features is not None:
        found.features = torch.cat([train.features, val.features])[order]
    return found
