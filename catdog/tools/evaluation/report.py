"""Puts together the report of an evaluation: diagrams and galleries as PNGs, and a page that contains them."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from catdog import metrics
from catdog.base.text import many, on_one_line, percent
from catdog.data.listing import Listing
from catdog.data.names import told_apart
from catdog.data.pixel_cache import Decoded
from catdog.drawing import contact_sheet
from catdog.drawing.contact_sheet import fitted_size
from catdog.drawing.curves import curves_figure
from catdog.drawing.figures import encode
from catdog.drawing.page import GalleryPhoto, Section, jpeg, page
from catdog.tools.evaluation import diagrams, gallery
from catdog.tools.evaluation.baselines import BASELINES
from catdog.tools.evaluation.gallery import EvaluatedPhoto
from catdog.tools.evaluation.measure import Evaluation, readable

PAGE = "index.html"
_DIAGRAMS = ("accuracy", "curves", "confusion", "roc", "calibration")
_GALLERIES = {
    "mistakes": ("The worst mistakes", "Wrong, and surest of it. Look here for wrong labels first."),
    "surest": ("Right, and surest of it", "What it knows best."),
    "least-sure": ("Least sure", "Answers that might as well have been others."),
}
FILES = frozenset([PAGE, *(f"{key}.png" for key in (*_DIAGRAMS, *_GALLERIES))])
_LISTED = 200  # lines of a list, at most
_CURVES = (
    "Loss and accuracy after each epoch of the training, on both sets of photos. Where the network goes on getting "
    "better on the training photos and no better, or worse, on the validation photos, it learns its photos by heart: "
    "overfitting."
)


def make_report(
    title: str,
    about: str,
    result: Evaluation,
    photos: Listing,
    decoded: Decoded,
    probabilities: np.ndarray,
    *,
    fit_note: str,
    history: Sequence[dict[str, float]] | str | None,
    validated: bool,
) -> dict[str, bytes]:
    """Make the files of the report, by name: index.html, and the PNGs that are in it.

    `photos` to `probabilities` are an argument and the results of `evaluate`. fit_note: a sentence on how the baselines
    were fitted; history: the rows of metrics.csv, the reason why there are none, or None where no training is known;
    validated: whether the photos are those that the run was validated on.
    """
    read = readable(photos, decoded)
    labels = np.array(read.labels)
    counts, classes = np.array(result.confusion), result.classes
    figures = {
        "accuracy": diagrams.accuracies(accuracy_by_rule(result), result.n, len(classes)),
        "confusion": diagrams.confusion(counts, classes),
        "roc": diagrams.roc(labels, probabilities, classes),
        "calibration": diagrams.calibration(labels, probabilities),
    }
    learned = []
    if history is not None:
        learned = [Section("curves", "How it learned", history if isinstance(history, str) else _CURVES)]
        if not isinstance(history, str):
            figures["curves"] = curves_figure(history)
    images = {key: encode(figure, "png") for key, figure in figures.items()}
    chosen = (
        gallery.worst_mistakes(labels, probabilities),
        gallery.surest_correct(labels, probabilities),
        gallery.least_sure(probabilities),
    )
    galleries = {key: gallery.load(some, read, probabilities) for key, some in zip(_GALLERIES, chosen, strict=True)}
    sheets = {key: _sheet(_GALLERIES[key][0], shown) for key, shown in galleries.items() if shown}
    sections = [
        _accuracy(result, fit_note, validated),
        *learned,
        _confusion(result),
        _roc(result),
        _calibration(result),
        *(_gallery(key, shown) for key, shown in galleries.items()),
        *_unreadable(decoded),
    ]
    text = page(title, about, sections, images, numbered=False)
    return {PAGE: text.encode(), **{f"{key}.png": picture for key, picture in {**images, **sheets}.items()}}


def accuracy_by_rule(result: Evaluation) -> dict[str, float]:
    """Accuracy of the network, then of the baselines, the best first."""
    others = sorted(result.baselines.items(), key=lambda one: -one[1])
    return {"network": result.accuracy, **{BASELINES[name]: share for name, share in others}}


def _accuracy(result: Evaluation, fit_note: str, validated: bool) -> Section:
    low, high = result.accuracy_interval
    about = (
        f"{percent(result.accuracy)} of {many(result.n, 'photo')} right; 95% interval {percent(low)} to "
        f"{percent(high)}. {fit_note}"
    )
    if validated:
        about += (
            " The epoch and the temperature were chosen on these same photos, which flatters the network a little:"
            " photos that it has never met (--data) judge it better."
        )
    lines = []
    for name, share in accuracy_by_rule(result).items():
        low, high = metrics.accuracy_interval(round(share * result.n), result.n)
        lines.append(f"{share:7.2%}  {low:7.2%} to {high:7.2%}  {name}")
    return Section("accuracy", "Accuracy, beside simple rules", about, lines)


def _confusion(result: Evaluation) -> Section:
    counts = np.array(result.confusion)
    names = told_apart(result.classes)
    about = "Each row holds the photos of one class, by what they were called."
    if len(names) > diagrams.CONFUSED:
        about += f" Of the {len(names):,} classes, the {diagrams.CONFUSED} most often confused are drawn."
    lines = []
    for row, column, count in metrics.mistakes(counts, _LISTED):
        share = percent(count / counts[row].sum())
        lines.append(f"{count:>7,}  {share:>7}  {names[row]} called {names[column]}")
    return Section("confusion", "What is taken for what", about, lines)


def _roc(result: Evaluation) -> Section:
    about = (
        "The bar for calling a photo by a class, moved from never to always: how many of that class are found, at the "
        "price of how many others. The area is the chance that a photo of the class gets a higher probability for it "
        "than another photo does."
    )
    if result.auc is None:
        about = "The photos are of one class, so there is no curve."
    elif len(result.classes) > 2:
        about += f" Mean over all classes, each against the rest: {result.auc:.4f}."
        if len(result.classes) > diagrams.CURVES:
            about += f" The {diagrams.CURVES} with the smallest areas are drawn."
    return Section("roc", "ROC", about)


def _calibration(result: Evaluation) -> Section:
    about = (
        "Of the answers that it is 70% sure of, 70% should be right. The mean gap between the two (expected "
        f"calibration error, ECE, 15 bins) is {percent(result.ece)}."
    )
    return Section("calibration", "Is it as often right as it is sure?", about)


def _gallery(key: str, shown: Sequence[EvaluatedPhoto]) -> Section:
    title, about = _GALLERIES[key]
    return Section(key, title, about if shown else "There are none.", (), [_gallery_photo(one) for one in shown])


def _unreadable(decoded: Decoded) -> list[Section]:
    if not decoded.skipped:
        return []
    lines = [on_one_line(reason) for reason in decoded.skipped.values()]
    if len(lines) > _LISTED:
        lines[_LISTED:] = [f"and {len(lines) - _LISTED:,} more"]
    return [Section("unreadable", "Unreadable", f"{many(len(decoded.skipped), 'photo')} left out.", lines)]


def _gallery_photo(shown: EvaluatedPhoto) -> GalleryPhoto:
    return GalleryPhoto(jpeg(shown.photo), shown.caption(), on_one_line(shown.path))


def _sheet(title: str, shown: Sequence[EvaluatedPhoto]) -> bytes:
    """The photos of a gallery and their captions as one PNG."""
    groups = []
    for one in shown:
        photo = Image.new("RGB", (1, 1), "white") if one.photo is None else one.photo
        pixels = np.asarray(photo.resize(fitted_size(photo.height, photo.width)[::-1]))
        groups.append([contact_sheet.Cell(pixels, one.caption(), one.path)])
    data = io.BytesIO()
    sheet = contact_sheet.make_sheet([contact_sheet.Section(title, groups)])
    sheet.save(data, "PNG", compress_level=1)  # more takes time, and makes photos hardly smaller
    return data.getvalue()
