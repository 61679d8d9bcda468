"""How good is a run's network, on which photos, and beside what: `catdog evaluate`."""

import json
import math
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from catdog import cache, metrics
from catdog.config import load_config
from catdog.errors import CatdogError
from catdog.files import Listing
from catdog.predict import Classifier, find_model, softmax
from catdog.source import held_out_photos, photo_folder

_BATCH = 256


@dataclass(frozen=True)
class Evaluation:
    """The figures of one evaluation; `confusion[i][j]` counts photos of class i that were called class j."""

    n: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    """95%, Wilson."""
    loss: float
    """Mean of -log of the probability given to the true class, in nats."""
    auc: float | None
    """Area under the ROC curve; None where the photos are of one class only."""
    ece: float
    """Expected calibration error, 15 bins."""
    classes: tuple[str, ...]
    confusion: list[list[int]]
    baselines: dict[str, float]
    """Accuracy on the same photos of rules that anybody could use: the commonest class of the training photos, and the
    class whose training photos have the nearest mean colour."""
    skipped: int


def evaluate(
    classifier: Classifier, photos: Listing, cache_folder: str = "auto"
) -> tuple[Evaluation, np.ndarray, np.ndarray]:
    """Evaluate on `photos`, whose classes the model must know.

    Returns the figures, the labels (N) and the probabilities (N x C) of the photos that could be read.
    """
    card = classifier.card
    photos = photos.with_classes(classifier.classes, whose="the model")
    decoded = cache.decode_all(photos, card.architecture.image_size, cache=cache_folder, threads=os.cpu_count() or 1)
    pixels = decoded.pixels
    if not len(pixels):
        raise CatdogError(
            f"{photos.root} holds no photos that can be read; give a folder of class folders with --data."
        )
    labels = np.array([label for i, label in enumerate(photos.labels) if i not in decoded.skipped])
    batches = [pixels[start : start + _BATCH] for start in range(0, len(pixels), _BATCH)]
    scaled = np.concatenate([classifier.logits(batch) for batch in batches]) / card.temperature
    colours = np.concatenate([batch.mean(axis=(2, 3)) for batch in batches])
    probabilities = softmax(scaled)
    predicted = probabilities.argmax(axis=1)
    correct = int((predicted == labels).sum())
    area = metrics.auc(labels, probabilities)
    return (
        Evaluation(
            n=len(labels),
            accuracy=correct / len(labels),
            accuracy_interval=metrics.accuracy_interval(correct, len(labels)),
            loss=metrics.log_loss(labels, scaled),
            auc=None if math.isnan(area) else area,
            ece=metrics.expected_calibration_error(labels, probabilities),
            classes=classifier.classes,
            confusion=metrics.confusion_matrix(labels, predicted, len(classifier.classes)).tolist(),
            baselines={
                "majority_class": float((labels == int(np.argmax(card.train_counts))).mean()),
                "nearest_mean_colour": float((_nearest(colours, np.array(card.mean_colours)) == labels).mean()),
            },
            skipped=len(decoded.skipped),
        ),
        labels,
        probabilities,
    )


def _nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Index of the nearest of C centres (C x D) to each of N points (N x D)."""
    return ((points[:, None, :] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)


def main(run: str | None, data: str | None, as_json: bool, out: str | None) -> int:
    """The exit status of `catdog evaluate`."""
    model = find_model(run)
    classifier = Classifier.load(model)
    config_file = model.parent / "config.toml"
    config = load_config(config_file) if config_file.is_file() else None
    if data is None and config is None:
        raise CatdogError(
            f"{model.parent} has no config.toml that says what it was trained on; name a folder with --data."
        )
    folder = Path(data) if data is not None else photo_folder(config.photos)  # type: ignore[union-attr]
    photos = held_out_photos(folder, config)
    figures, labels, probabilities = evaluate(classifier, photos, config.photos.cache if config else "auto")
    if as_json and out is None:  # for programs: quick, and without matplotlib
        print(json.dumps(asdict(figures)))
        return 0
    from catdog.report import draw_evaluation  # matplotlib takes a while to import

    picture = Path(out) if out else model.parent / "evaluation.png"
    draw_evaluation(labels, probabilities, figures.confusion, classifier.classes, picture)
    if as_json:
        print(json.dumps(asdict(figures)))
    else:
        print(in_words(figures, model, photos))
    print(f"pictures in {picture}", file=sys.stderr)
    return 0


def in_words(figures: Evaluation, model: Path, photos: Listing) -> str:
    """The figures as a table to read."""
    low, high = figures.accuracy_interval
    width = max(map(len, figures.classes))
    lines = [
        f"model      {model}",
        f"photos     {figures.n:,} in {photos.root}" + (f" ({figures.skipped} unreadable)" if figures.skipped else ""),
        f"accuracy   {figures.accuracy:.2%}  (95% interval {low:.2%} to {high:.2%})",
        *(f"           {accuracy:.2%}  {name.replace('_', ' ')}" for name, accuracy in figures.baselines.items()),
        f"loss       {figures.loss:.4f}  (never leaving {math.log(len(figures.classes)):.4f} would be guessing)",
        f"ROC AUC    {'-' if figures.auc is None else format(figures.auc, '.4f')}",
        f"ECE        {figures.ece:.2%}  (mean gap between how sure it is and how often it is right)",
        f"confusion  {'true class':<{width}}  called "
        + " ".join(f"{name:>{max(width, 6)}}" for name in figures.classes),
    ]
    for name, row in zip(figures.classes, figures.confusion, strict=True):
        lines.append(f"           {name:<{max(width, 10)}}         " + " ".join(f"{c:>{max(width, 6)},}" for c in row))
    return "\n".join(lines)
