"""Reads and writes answers.csv of a run: what networks that had not seen a photo said of it, for each photo."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from catdog.base.atomic import write_text
from catdog.errors import CatdogError

ANSWERS_FILE = "answers.csv"


class Answer(NamedTuple):
    """A photo's path below its folder of photos, its class, what it was called, and the probability of both classes."""

    path: str
    label: str
    answer: str
    of_label: float
    of_answer: float


_HEADER = ("path", "class", "answer", "probability_of_class", "probability_of_answer")


def write_answers(run: Path, answers: Sequence[Answer]) -> None:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerows([_HEADER, *((*a[:3], f"{a.of_label:.6f}", f"{a.of_answer:.6f}") for a in answers)])
    write_text(run / ANSWERS_FILE, table.getvalue())


def read_answers(run: Path) -> list[Answer]:
    """Raises CatdogError where the run has no such table."""
    path = run / ANSWERS_FILE
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            header, *rows = csv.reader(file)
            if tuple(header) != _HEADER:
                raise ValueError("its first line is another")
            return [Answer(path, label, answer, float(p), float(q)) for path, label, answer, p, q in rows]
    except OSError as error:
        raise CatdogError(f"cannot read {path}: {error.strerror}; give a run that was trained with --folds.") from None
    except (ValueError, TypeError) as error:
        raise CatdogError(f"{path} is no table of answers ({error}); train again with --folds.") from None
