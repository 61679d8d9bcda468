"""`catdog data check --labels`: photos whose own class is unlikely, by networks that have not seen them."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from catdog.base.atomic import write_text
from catdog.base.text import many, on_one_line, percent
from catdog.checkpoint.model_file import load_model
from catdog.config.toml import load_config
from catdog.drawing.page import GalleryPhoto, Section, how_to_open, page
from catdog.errors import ImageError
from catdog.images.decoder import decode
from catdog.runs.answers import ANSWERS_FILE, Answer, read_answers
from catdog.runs.locate import TRAINED_NAME, find_model
from catdog.tools.dataset.layout import Finding

PAGE = "labels.html"
SETTINGS: dict[str, Any] = {"folds": 5, "start_from": TRAINED_NAME, "epochs": 3}  # of the trainings
_PICTURED = 200
_SIDE = 240  # pixels of the longer side of a picture


def doubtful_labels(root: Path, log: Callable[[str], None]) -> tuple[Finding | None, str]:
    """The finding, if there is one, and where its page and its table lie.

    Every photo is answered by a network that has not seen it (`train` with folds); the run is kept, with all answers.
    Raises CatdogError as `train` does.
    """
    from catdog.data.splits import find_splits
    from catdog.train import train

    photos = find_splits(root).get("train", root)
    run = train(load_config(None, {"data": str(photos), **SETTINGS}), log)
    answers = read_answers(run)
    doubted = [answers[i] for i in in_doubt(answers)]
    right = percent(load_model(find_model(run))[1].validation["accuracy"])
    about = (
        f"A network that had not seen the photo calls it another class, with less for its own than the photos of that "
        f"class get. Such networks were right on {right} of all {len(answers):,} photos, so some of these are their "
        "own mistakes. Nothing was moved."
    )
    write_text(run / PAGE, _page(photos, doubted, about))
    if not doubted:
        return None, f"no label is in doubt; all answers are in {run / ANSWERS_FILE}"
    items = [{"path": str((photos / a.path).relative_to(root)), "reason": _in_words(a)} for a in doubted]
    message = f"{many(len(items), 'photo')} whose label is in doubt, the most doubtful first; look at them."
    where = f"the photos whose labels are in doubt: {run / PAGE}, all answers: {run / ANSWERS_FILE}\n"
    return Finding("doubtful_label", False, message, items), where + how_to_open(run / PAGE)


def in_doubt(answers: list[Answer]) -> NDArray[np.int64]:
    """Indices of the photos whose label is in doubt, the most doubtful first.

    Confident learning (Northcutt, Jiang and Chuang 2021, section 3.1): the answer is another class, and it is as sure
    of that class as it is, in the mean, of photos that are labelled so.
    """
    labels = sorted({answer.label for answer in answers} | {answer.answer for answer in answers})
    usual = {}
    for label in labels:
        own = [answer.of_label for answer in answers if answer.label == label]
        usual[label] = float(np.mean(own)) if own else 1.0
    found = [
        (answer.of_label, i)
        for i, answer in enumerate(answers)
        if answer.answer != answer.label and answer.of_answer >= usual[answer.answer]
    ]
    return np.array([i for _, i in sorted(found)], np.int64)


def _in_words(answer: Answer) -> str:
    return f"called {answer.answer}, {answer.of_answer:.1%}"


def _page(photos: Path, doubted: list[Answer], about: str) -> str:
    gallery = [
        GalleryPhoto(_jpeg(photos / answer.path), f"{answer.label}? {_in_words(answer)}", answer.path)
        for answer in doubted[:_PICTURED]
    ]
    rest = f" The first {_PICTURED} are shown." if len(doubted) > _PICTURED else ""
    section = Section(
        "doubted", f"{many(len(doubted), 'photo')}, the most doubtful first", about + rest, gallery=gallery
    )
    title = on_one_line(f"Labels in doubt in {photos}")
    return page(title, "Each photo may lie in the folder of another class.", [section], {}, numbered=False)


def _jpeg(path: Path) -> bytes | None:
    try:
        photo = Image.fromarray(decode(path))
    except ImageError:  # gone, or changed, since
        return None
    photo.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=85)
    return file.getvalue()
