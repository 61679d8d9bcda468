"""`catdog doctor`: from a folder of photos, a configuration or a run to a list of findings."""

import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from catdog.base.iterated import waiting_for
from catdog.base.progress import working
from catdog.base.text import in_shell, listed, many, on_one_line
from catdog.base.threads import thread_count
from catdog.checkpoint.class_names import require_names
from catdog.checkpoint.model_file import MODEL_FILE
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.data.duplicates import exact_copies_across
from catdog.data.listing import Listing, has_photos
from catdog.data.load import load_photos
from catdog.data.mistakes import require_few_unreadable
from catdog.data.photo_dataset import PhotoDataset
from catdog.data.remarks import remarks
from catdog.data.splits import SAMPLE, photo_folder, train_and_val
from catdog.drawing.contact_sheet import require_png
from catdog.errors import CatdogError
from catdog.model.mlp import count_weights
from catdog.predict import Classifier
from catdog.runs.introduction import name_of
from catdog.runs.locate import comes_with_catdog, find_model
from catdog.runs.metrics_csv import read_metrics
from catdog.runs.start import choose_start
from catdog.runtime.device import choose_device
from catdog.tools.doctor.history import check_collapse, check_history, trained_model
from catdog.tools.doctor.learning import check_initial_loss, check_overfits, check_shuffled_labels
from catdog.tools.doctor.patient import Finding, Patient
from catdog.tools.doctor.rate_sweep import Sweep, check_rate, draw_sweep, first_epochs, sweep
from catdog.tools.doctor.units import check_gradients, check_units, check_update_ratio
from catdog.trainer.batch_size import with_batch_size
from catdog.trainer.card import make_card

MOST_PHOTOS = 1000  # that are looked at
_MOST_BYTES = 2**28  # of their pixels
PICTURE = "learning_rates.png"  # in the run's folder
_MARKS = {"ok": "[ok] ", "warning": "[!]  ", "ill": "[ILL]"}


def main(run: str | None, config_file: str | None, given: Mapping[str, Any], out: str | None) -> int:
    """The exit status of `catdog doctor`: 1 where something is ill.

    given: fields of the configuration by name, over those of `config_file` or of the run. Without `run`, `config_file`
    and data, it is the newest run in runs/ that is examined, if there is one.
    """
    if run is not None and config_file is not None:
        raise CatdogError("--run brings its own configuration; leave --config out, or leave --run out.")
    model = _run_to_examine(run, config_file, given)
    if model is not None:
        classifier, metrics = Classifier.load(model), read_metrics(model.parent)
        config = _of_run(model, classifier, given)
    else:
        config = choose_start(load_config(config_file, given))
        if config.photos.data == "data" and not has_photos("data"):
            config = replace(config, photos=replace(config.photos, data=SAMPLE))
    if config.model.model != "mlp":
        mend = "give another --config or --start-from" if model is None else "name another run with --run"
        mend = "leave --model out" if "model" in given else mend
        raise CatdogError(f"catdog doctor examines MLPs, and this is a {config.model.model}; {mend}.")
    folder = photo_folder(config.photos)
    picture = require_png(out, folder) if out is not None else None
    if picture is None and model is not None and not model.resolve().is_relative_to(folder.resolve()):
        picture = model.parent / PICTURE
    train, val = train_and_val(folder, config.photos.val_share, config.run.seed)
    require_names(train)
    for remark in remarks(folder, train, val):
        print(remark, file=sys.stderr)
    with working("reading the photos"):
        patient = examine(config, train, val)
    print(_admission(patient, train, val, model), flush=True)

    states = []
    for finding in waiting_for(findings(patient, train, val, picture), "checking"):
        states.append(finding.state)
        print(in_words(finding), flush=True)
    if model is not None:
        val_photos = PhotoDataset.from_tensors(patient.val.pixels, _relabelled(patient, classifier), classifier.classes)
        images, _ = replace(patient, card=classifier.card, device=torch.device("cpu")).photos(512)
        with working("checking"):
            of_the_run = [
                *check_history(metrics, patient.guess, patient.classes),
                check_collapse(classifier, val_photos),
                check_units(trained_model(classifier), images, "units of the run"),
            ]
        for finding in of_the_run:
            states.append(finding.state)
            print(in_words(finding), flush=True)
    ill, warnings = states.count("ill"), states.count("warning")
    print(f"\n{many(len(states), 'check')}: {ill} ill, {many(warnings, 'warning')}.")
    if picture is not None:
        print(f"the rate sweep is drawn on {on_one_line(str(picture))}")
    return 1 if ill else 0


def _run_to_examine(run: str | None, config_file: str | None, given: Mapping[str, Any]) -> Path | None:
    """The model file of the run, or of the newest where nothing else is to be examined."""
    if run is not None:
        model = find_model(run)
        if comes_with_catdog(model):
            raise CatdogError(
                f"{name_of(model)}, has no history of its training to examine; give the folder of a run with --run."
            )
        return model
    if config_file is not None or "data" in given or not any(Path("runs").glob(f"*/{MODEL_FILE}")):
        return None
    return find_model(None, drawings=True)


def _of_run(model: Path, classifier: Classifier, given: Mapping[str, Any]) -> Config:
    file = model.parent / "config.toml"
    if not file.is_file():
        raise CatdogError(f"{model.parent} has no config.toml that says how it was trained; give --data or --config.")
    config = load_config(file, given)
    card = classifier.card
    if (config.photos.image_size, config.photos.resize) != (card.architecture.image_size, card.resize):
        height, width = card.architecture.image_size
        raise CatdogError(
            f"the run {model.parent} sees photos at {height} x {width} ({card.resize}); leave --image-size and "
            "--resize out."
        )
    return config


def _relabelled(patient: Patient, classifier: Classifier) -> torch.Tensor:
    """Labels of the validation photos as indices into the classes of the run's network."""
    for name in patient.train.classes:
        if name not in classifier.classes:
            raise CatdogError(
                f"the run does not know the class {name!r} (it knows {listed(classifier.classes)}); "
                "give the photos that it was trained on with --data, or leave --run out."
            )
    position = torch.tensor([classifier.classes.index(name) for name in patient.train.classes])
    return position[patient.val.labels]


def examine(config: Config, train: Listing, val: Listing) -> Patient:
    """The patient: the configuration with at most 1,000 of the photos, fewer where they are large.

    Raises CatdogError where too few of them can be read.
    """
    device, _ = choose_device(config.run.device)
    threads, _ = thread_count(config.run.threads)
    torch.set_num_threads(threads)
    height, width = config.photos.image_size
    most = min(MOST_PHOTOS, max(64, _MOST_BYTES // (3 * height * width)))
    share = most / (len(train) + len(val))
    photos = [
        load_photos(
            sample(listing, share, config.run.seed),
            config.photos.image_size,
            config.photos.resize,
            cache_folder="none",
            threads=threads,
            strict=config.photos.strict,
        )
        for listing in (train, val)
    ]
    require_few_unreadable(photos, config.photos.max_skipped)
    check = f"catdog data check {in_shell(os.path.commonpath((train.root, val.root)))}"
    for name, count in zip(train.classes, torch.bincount(photos[0].labels, minlength=len(train.classes)), strict=True):
        if not count:
            raise CatdogError(f"none of the photos of the class {name!r} that were tried can be read; see `{check}`.")
    if not len(photos[1]):
        raise CatdogError(f"none of the photos to validate on that were tried can be read; see `{check}`.")
    config = replace(config, training=with_batch_size(config.training, len(train)))
    return Patient(config, photos[0], photos[1], make_card(config, photos[0]), device)


def sample(listing: Listing, share: float, seed: int) -> Listing:
    """About `share` of the photos of each class, and at least 16 of each if there are so many."""
    if share >= 1:
        return listing
    labels = np.array(listing.labels)
    keep = np.zeros(len(labels), bool)
    rng = np.random.default_rng(seed)
    for label in range(len(listing.classes)):
        mine = rng.permutation(np.flatnonzero(labels == label))
        keep[mine[: max(16, round(share * len(mine)))]] = True
    return listing.select(keep.tolist())


def findings(patient: Patient, train: Listing, val: Listing, picture: Path | None = None) -> Iterator[Finding]:
    """Every check that needs no run, one after the other; the rate sweep is drawn on `picture`."""
    yield check_initial_loss(patient)
    yield check_gradients(patient)
    yield check_units(patient.model(), patient.photos(512)[0])
    yield check_overfits(patient)
    yield check_update_ratio(patient)
    yield check_shuffled_labels(patient)
    yield check_copies(train, val)
    found: Sweep = sweep(patient)
    rate = patient.config.training.learning_rate
    yield check_rate(found, rate, first_epochs(patient), patient.guess)
    if picture is not None:
        draw_sweep(found, rate, picture)


def check_copies(train: Listing, val: Listing) -> Finding:
    """Photos to validate on that are trained on too, byte for byte: the leak that shuffled labels cannot show."""
    name = "copies"
    copies = exact_copies_across(train, val)
    if not copies:
        return Finding(name, "ok", f"none of the {len(val):,} validation photos is, byte for byte, a training photo.")
    share = len(copies) / len(val)
    one, other = map(on_one_line, copies[0])
    return Finding(
        name,
        "ill" if share > 0.05 else "warning",
        f"{len(copies):,} of the {len(val):,} validation photos ({share:.1%}) are training photos too: "
        f"{other} is {one}.",
        "Accuracy looks better than it is: take the copies out; "
        f"`catdog data check {in_shell(os.path.commonpath((train.root, val.root)))}` lists them all.",
    )


def _admission(patient: Patient, train: Listing, val: Listing, model: Path | None) -> str:
    data = patient.config.photos.data
    lines = [
        f"run       {model.parent}" if model is not None else "",
        f"photos    {'drawn cats and dogs' if data == SAMPLE else on_one_line(data)}: {len(patient.train):,} of "
        f"{len(train):,} to train on, {len(patient.val):,} of {len(val):,} to validate on",
        f"network   {count_weights(patient.model()):,} weights, {patient.config.training.loss} loss, "
        f"{patient.config.training.optimizer} at {patient.config.training.learning_rate:g}, on {patient.device}",
        "",
    ]
    return "\n".join(lines[model is None :])


def in_words(finding: Finding) -> str:
    """A finding with its mark; what to do next is below it."""
    indent = " " * 25
    head = f"{_MARKS[finding.state]} {finding.check:<18} "
    lines = textwrap.wrap(finding.message, 110, initial_indent=head, subsequent_indent=indent)
    if finding.advice:
        lines += textwrap.wrap(finding.advice, 110, initial_indent=f"{indent}-> ", subsequent_indent=f"{indent}   ")
    return "\n".join(lines)
