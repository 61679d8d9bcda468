"""`catdog data check --labels`: photos whose own class is unlikely, by networks that have not seen them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catdog.base.atomic import write_text
from catdog.base.text import many, on_one_line, percent
from catdog.checkpoint.saved_model import load_model
from catdog.config.toml import load_config
from catdog.data.listing import subfolders
from catdog.data.splits import find_splits
from catdog.drawing.page import GalleryPhoto, Section, how_to_open, jpeg, page, thumbnail
from catdog.runs.answers import ANSWERS_FILE, Answers, read_answers
from catdog.runs.locate import TRAINED_NAME, find_model
from catdog.runs.start import are_known
from catdog.tools.dataset.layout import Finding

PAGE = "labels.html"
_FOLDS = 5
_OF_CATS_AND_DOGS = {"start_from": TRAINED_NAME, "optimizer": "lbfgs"}
_NEARLY = 0.9
_PICTURED = 200


def doubtful_labels(root: Path, log: Callable[[str], None]) -> tuple[Finding | None, str]:
    """The finding, if there is one, and where its page and its table lie.

    Every photo is answered by a network that has not seen it (`train` with folds); the run is kept, with all answers.
    Raises CatdogError as `train` does.
    """
    from catdog.train import train

    photos = find_splits(root).get("train", root)
    settings = _OF_CATS_AND_DOGS if are_known(subfolders(photos)) else {}
    run = train(load_config(None, {"data": str(photos), "folds": _FOLDS, **settings}), log)
    answers = read_answers(run)
    doubted = in_doubt(answers)
    right = percent(load_model(find_model(run))[1].validation["accuracy"])
    about = (
        f"A network that had not seen the photo calls it another class, with less for its own than the photos of that "
        f"class get. Such networks were right on {right} of all {len(answers.paths):,} photos, so some of these are "
        "their own mistakes. Nothing was moved."
    )
    write_text(run / PAGE, _page(photos, answers, doubted, about))
    if not len(doubted):
        return None, f"no label is in doubt; all answers are in {run / ANSWERS_FILE}"
    items = [
        {"path": str((photos / answers.paths[i]).relative_to(root)), "reason": _in_words(answers, i)} for i in doubted
    ]
    message = f"{many(len(items), 'photo')} whose label is in doubt, the most doubtful first; look at them."
    where = f"the photos whose labels are in doubt: {run / PAGE}, all answers: {run / ANSWERS_FILE}\n"
    return Finding("doubtful_label", False, message, items), where + how_to_open(run / PAGE)


def in_doubt(answers: Answers) -> NDArray[np.int64]:
    """Indices of the photos whose label is in doubt, the most doubtful first.

    Much as in confident learning (Northcutt, Jiang and Chuang 2021, section 3.1): the answer is another class, and it
    is nearly as sure of that class as it is, in the mean, of photos that are labelled so.
    """
    labels, called, probabilities = answers.labels, answers.called, answers.probabilities
    rows = np.arange(len(labels))
    of_label = probabilities[rows, labels]
    usual = np.array(
        [of_label[labels == c].mean() if (labels == c).any() else 1.0 for c in range(len(answers.classes))]
    )
    found = np.flatnonzero((called != labels) & (probabilities[rows, called] >= _NEARLY * usual[called]))
    return found[np.argsort(of_label[found], kind="stable")]


def _in_words(answers: Answers, i: int) -> str:
    called = answers.called[i]
    return f"called {answers.classes[called]}, {answers.probabilities[i, called]:.1%}"


def _page(photos: Path, answers: Answers, doubted: NDArray[np.int64], about: str) -> str:
    gallery = []
    for i in doubted[:_PICTURED]:
        path, label = answers.paths[i], answers.classes[answers.labels[i]]
        gallery.append(GalleryPhoto(jpeg(thumbnail(str(photos / path))), f"{label}? {_in_words(answers, i)}", path))
    rest = f" The first {_PICTURED} are shown." if len(doubted) > _PICTURED else ""
    section = Section(
        "doubted", f"{many(len(doubted), 'photo')}, the most doubtful first", about + rest, gallery=gallery
    )
    title = on_one_line(f"Labels in doubt in {photos}")
    return page(title, "Each photo may lie in the folder of another class.", [section], {}, numbered=False)
