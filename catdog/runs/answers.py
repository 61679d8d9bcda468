"""Reads and writes answers.csv of a run: what networks that had not seen a photo said of it, for each photo."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catdog.base.atomic import write_text
from catdog.errors import CatdogError

ANSWERS_FILE = "answers.csv"
_BEFORE = ("path", "class", "answer")  # the columns before those of the probabilities


@dataclass(frozen=True)
class Answers:
    """What was said of N photos of C classes. paths: below the folder of photos; labels: int, N, their classes."""

    classes: tuple[str, ...]
    paths: Sequence[str]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    """N x C."""

    @property
    def called(self) -> NDArray[np.int64]:
        """N: the likeliest class of each."""
        return self.probabilities.argmax(axis=1)


def write_answers(run: Path, answers: Answers) -> None:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*_BEFORE, *answers.classes])
    rows = zip(answers.paths, answers.labels, answers.called, answers.probabilities.tolist(), strict=True)
    for path, label, answer, probabilities in rows:
        names = (answers.classes[label], answers.classes[answer])
        writer.writerow([path, *names, *(f"{probability:.6g}" for probability in probabilities)])
    write_text(run / ANSWERS_FILE, table.getvalue())


def read_answers(run: Path) -> Answers:
    """Raises CatdogError where the run has no such table."""
    path = run / ANSWERS_FILE
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            header, *rows = csv.reader(file)
        classes = tuple(header[len(_BEFORE) :])
        if tuple(header[: len(_BEFORE)]) != _BEFORE:
            raise ValueError("its first line is another")
        labels = np.array([classes.index(row[1]) for row in rows], np.int64)
        probabilities = np.array([list(map(float, row[len(_BEFORE) :])) for row in rows])
        if probabilities.shape != (len(rows), len(classes)):
            raise ValueError("its lines are not all of the same length")
        return Answers(classes, [row[0] for row in rows], labels, probabilities)
    except OSError as error:
        raise CatdogError(f"cannot read {path}: {error.strerror}; give a run that was trained with --folds.") from None
    except (ValueError, IndexError) as error:
        raise CatdogError(f"{path} is no table of answers ({error}); train again with --folds.") from None
