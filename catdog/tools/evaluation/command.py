"""`catdog evaluate`: evaluates a network, prints the figures as text or JSON, and writes the report."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from catdog.base.atomic import write_atomic
from catdog.base.output import json_line
from catdog.base.progress import working
from catdog.base.text import many, on_one_line, percent
from catdog.config.toml import load_config
from catdog.data import pixel_cache as cache
from catdog.data.held_out import held_out_photos, is_all_learned
from catdog.data.listing import Listing, is_address
from catdog.data.names import told_apart
from catdog.data.remarks import remarks
from catdog.data.remote import local_folder
from catdog.data.splits import photo_folder, train_and_val, whole_place
from catdog.drawing.fonts import shorten
from catdog.drawing.page import how_to_open
from catdog.errors import CatdogError
from catdog.metrics import mistakes
from catdog.predict import Classifier
from catdog.runs.answers import read_answers
from catdog.runs.introduction import figures_in_words, introduction, name_of
from catdog.runs.locate import TRAINED_NAME, comes_with_catdog, find_model, output_folder
from catdog.runs.metrics_csv import read_metrics
from catdog.tools.evaluation.baselines import BASELINES
from catdog.tools.evaluation.folder import check_replaceable, write_folder
from catdog.tools.evaluation.measure import Evaluation, evaluate, readable
from catdog.tools.evaluation.report import FILES, PAGE, make_report

_COLUMNS = 120  # of the printed confusion matrix, at most
_WORST = 12  # mistakes, and classes, printed of many


def main(run: str | None, data: str | None, as_json: bool, out: str | None) -> int:
    """Run `catdog evaluate`; returns the exit status."""
    model = find_model(run, drawings=data is None)  # without data: on what the newest run was validated on
    classifier = Classifier.load(model)
    config_file = model.parent / "config.toml"
    config = load_config(config_file) if config_file.is_file() else None
    if data is None and config is None:
        if comes_with_catdog(model):
            raise CatdogError(
                f"{TRAINED_NAME} comes without its photos; give a folder of yours: catdog evaluate --data photos"
            )
        raise CatdogError(
            f"beside {model}, there is no config.toml that says what it was trained on; name a folder with --data."
        )
    if data is None or (config is not None and is_address(data) and whole_place(data) == config.photos.data):
        assert config is not None
        folder = photo_folder(config.photos)  # of a store the same mirror, wherever --cache had it
    else:
        folder = local_folder(data)
    photos = held_out_photos(folder, config).with_classes(classifier.classes, whose="the model")
    answered = None
    if config is not None and is_all_learned(photos.root, config):
        answers = read_answers(model.parent)
        answered = dict(zip(answers.paths, answers.probabilities, strict=True))
        photos = photos.select([path in answered for path in photos.paths])
    print(introduction(model, classifier.card), file=sys.stderr, flush=True)
    for remark in remarks(folder, photos):
        print(remark, file=sys.stderr)
    has_folder = config is not None or comes_with_catdog(model)
    place = _report_path(out, folder, output_folder(model) if has_folder and not as_json else None)
    cache_folder = config.photos.cache if config else "auto"
    result, decoded, probabilities = evaluate(classifier, photos, cache_folder, answered)
    fit_note, validated, missing = "", False, ""
    if answered is not None:
        fit_note = missing = (
            "The network has learned from all of these photos, so each is answered by a network that had not seen it "
            "(answers.csv of the run). That leaves no photos to fit simple rules to, to compare with."
        )
    elif place is not None and config is not None:
        try:
            known, val = train_and_val(photo_folder(config.photos), config.photos.val_share, config.run.seed)
            validated = val.root.resolve() == photos.root.resolve() and list(val.paths) == list(photos.paths)
            labels = np.array(readable(photos, decoded).labels)
            with working("fitting simple rules to the training photos, to compare"):
                baselines, fit_note = _fit_baselines(classifier, cache_folder, known, decoded.pixels, labels)
            result = replace(result, baselines={**result.baselines, **baselines})
        except CatdogError as error:
            fit_note = missing = f"No linear classifier and no nearest neighbours to compare with: {error}"
    print(json_line(vars(result)) if as_json else as_text(result, model, photos, classifier.card.recipe), flush=True)
    if missing:
        print(missing, file=sys.stderr)
    if place is None:
        if not as_json:
            print(
                f"no report: {name_of(model)} lies in no run's folder; say with --out where one should go",
                file=sys.stderr,
            )
        return 0

    name = on_one_line(output_folder(model).resolve().name)
    with working("drawing the report"):
        files = make_report(
            f"{name}: {percent(result.accuracy)} of {many(result.n, 'photo')} right",
            f"{figures_in_words(model, classifier.card)} Here it is evaluated on the photos in "
            f"{on_one_line(str(photos.root))}.",
            result,
            photos,
            decoded,
            probabilities,
            fit_note=fit_note,
            history=None if config is None else _history(model.parent),
            validated=validated,
        )
    if _is_page(place):
        write_atomic(place, lambda file: file.write(files[PAGE]))
    else:
        write_folder(place, files)
        place = place / PAGE
    print(f"report in {place}\n{how_to_open(place)}", file=sys.stderr)
    return 0


def _is_page(place: Path) -> bool:
    return place.suffix.lower() in (".html", ".htm")


def _report_path(out: str | None, photos: Path, run: Path | None) -> Path | None:
    """Path of the page or of the report's folder: --out, else in the run's folder; None without either.

    Raises CatdogError, before anything is computed, where no report can be written there.
    """
    if out is None:
        place = run / "evaluation" if run else None
    else:
        place = Path(out)
        if place.suffix.lower() in (".png", ".jpg", ".svg", ".pdf"):
            raise CatdogError(f"--out {out} names a picture, and a report has several; give a folder, or a page.html.")
        if _is_page(place) and not place.parent.is_dir():
            raise CatdogError(f"there is no folder {place.parent} for --out {out}; make it, or give another.")
        if place.resolve().is_relative_to(photos.resolve()):
            raise CatdogError(f"--out {out} lies among the photos, where nothing is written; give another.")
    if place is not None and not _is_page(place):
        check_replaceable(place, FILES)
    return place


def _fit_baselines(
    classifier: Classifier, cache_folder: str, listing: Listing, pixels: np.ndarray, labels: np.ndarray
) -> tuple[dict[str, float], str]:
    """Fit the baselines on the training photos `listing`: (their accuracy on `pixels`, a sentence on how).

    Raises CatdogError where too few of the training photos can be read.
    """
    listing = listing.with_classes(classifier.classes, whose="the model")

    from catdog.tools.evaluation import baselines

    size, resize = classifier.card.architecture.image_size, classifier.card.resize
    some, training = listing, cache.decoded_before(listing, size, resize, cache_folder)
    if training is None:  # the cache holds the pixels of whole listings only
        chosen = set(baselines.some_of(len(listing), size).tolist())
        some = listing.select([index in chosen for index in range(len(listing))])
        folder = cache_folder if len(some) == len(listing) else "none"
        training = cache.decode_all(some, size, resize, cache=folder, threads=0)
    known = np.array(readable(some, training).labels)
    rows = baselines.some_of(len(known), size)
    if len(rows) < baselines.MIN_PHOTOS:
        raise CatdogError(f"{listing.root} holds only {many(len(rows), 'photo')} that can be read.")
    known = known[rows]
    predictions = baselines.fit_and_predict(training.pixels[rows], known, pixels, classifier.card)
    shares = {
        "linear_classifier": float((predictions.linear == labels).mean()),
        "k_nearest_neighbours": float((predictions.neighbours == labels).mean()),
    }
    of = f"{len(known):,}" if len(known) == len(listing) else f"{len(known):,} of the {len(listing):,}"
    return shares, (
        f"The linear classifier and the nearest neighbours know the same pixels{baselines.averaged_to(size)} of {of} "
        "training photos; "
        f"{baselines.held_out(len(known)):,} of these chose how many neighbours vote ({predictions.k}) and how "
        f"strongly the weights are held back (L2, {predictions.strength:g})."
    )


def _history(run: Path) -> list[dict[str, float]] | str:
    """Rows of the run's metrics.csv, or the reason why there are none."""
    try:
        return [{"epoch": epoch, **row} for epoch, row in enumerate(read_metrics(run), start=1)]
    except CatdogError as error:
        return str(error)


def as_text(result: Evaluation, model: Path, photos: Listing, recipe: str) -> str:
    """Format the figures as a table, the accuracy first. recipe: the command that trains the network, or empty."""
    low, high = result.accuracy_interval
    lines = [
        f"accuracy   {percent(result.accuracy)} of {many(result.n, 'photo')}  (95% interval {percent(low)} to "
        f"{percent(high)})",
        *(f"           {percent(accuracy)}  {BASELINES[name]}" for name, accuracy in result.baselines.items()),
        f"loss       {result.loss:.4f}  (never leaving {math.log(len(result.classes)):.4f} would be guessing)",
        f"ROC AUC    {'-' if result.auc is None else format(result.auc, '.4f')}  (how well its probabilities put the "
        "classes apart: 1 is perfect, 0.5 guessing)",
        f"ECE        {percent(result.ece)}  (expected calibration error: mean gap between how sure it is and how often "
        "it is right)",
    ]
    names = told_apart(result.classes)
    lines += _table(names, np.array(result.confusion)) or _worst(names, np.array(result.confusion))
    lines.append(f"photos     {photos.root}" + (f"; {result.skipped} unreadable" if result.skipped else ""))
    lines.append(f"model      {name_of(model)}")
    lines += [f"trained    {on_one_line(recipe)}"] if recipe else []
    return "\n".join(lines)


def _table(names: list[str], confusion: np.ndarray) -> list[str]:
    """The confusion matrix, line by line, its names shortened to fit; nothing of too many classes, or too alike."""
    fitting = min((_COLUMNS - 20 - len(names)) // (len(names) + 1), (_COLUMNS - 30 - len(names)) // len(names))
    if fitting < 6 or len({shorten(name, fitting - 1) for name in names}) < len(names):
        return []
    names = [shorten(name, fitting - 1) for name in names]
    width = max(map(len, names))
    head = " ".join(f"{name:>{max(width, 6)}}" for name in names)
    lines = [f"confusion  {'true class':<{width}}  called {head}"]
    for name, row in zip(names, confusion.tolist(), strict=True):
        lines.append(f"           {name:<{max(width, 10)}}         " + " ".join(f"{c:>{max(width, 6)},}" for c in row))
    return lines


def _worst(names: list[str], confusion: np.ndarray) -> list[str]:
    """Of many classes, the most frequent mistakes and the classes with the fewest photos right, line by line."""
    photos = confusion.sum(axis=1)
    shares = confusion.diagonal() / np.maximum(photos, 1)
    worst = [i for i in np.argsort(np.where(photos, shares, np.inf), kind="stable")[:_WORST] if photos[i]]
    lines = [f"confusion  of {len(names):,} classes the most frequent mistakes; --json has the whole table"]
    lines += [f"           {count:>6,}  {names[i]} called {names[j]}" for i, j, count in mistakes(confusion, _WORST)]
    lines += ["worst      the classes with the fewest photos right"]
    lines += [f"           {percent(shares[i]):>7}  of {many(int(photos[i]), 'photo')}: {names[i]}" for i in worst]
    return lines
