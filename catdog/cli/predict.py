"""`catdog predict`: answers as text, JSON or CSV."""

import argparse
import codecs
import csv
import io
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from catdog.cli.flags import add_doubts, add_run, add_verb
from catdog.errors import ImageError

_FEW = 100  # answers that are soon on the terminal without a progress bar
_FORMULA = r"'*[=+@\t\r＝＋－＠-]"  # https://owasp.org/www-community/attacks/CSV_Injection


def add_predict(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "predict",
        _predict,
        "say what is on a photo",
        "examples:\n  catdog predict photo.jpg\n  catdog predict folder --csv > answers.csv\n"
        "  catdog predict - < photo.jpg\n  catdog predict --run runs/mine --json *.jpg",
    )
    parser.add_argument(
        "inputs", metavar="IMAGE|DIR|-", nargs="+", help="a photo, a folder of photos, or - for standard input"
    )
    add_run(parser)
    add_doubts(
        parser,
        'answer "not sure" where the likeliest class is less probable than P, from 0 to 1; the label is then null with '
        "--json, empty with --csv",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--csv", action="store_true", help="a table with a header, in UTF-8; formulas are made text")


def _predict(arguments: argparse.Namespace) -> int:
    from catdog.base.output import json_line
    from catdog.base.text import on_one_line
    from catdog.data.inputs import photo_count, photos_of
    from catdog.data.names import told_apart
    from catdog.predict import Classifier
    from catdog.runs.introduction import introduction
    from catdog.runs.locate import find_model

    model = find_model(arguments.run)
    classifier = Classifier.load(model)
    print(introduction(model, classifier.card), file=sys.stderr)
    if arguments.csv:
        write = _csv_writer()
        write(("path", "label", "probability", *_columns(classifier.classes), "familiarity", "error"))
    shown = dict(zip(classifier.classes, told_apart(classifier.classes), strict=True))
    failed = False
    answers: Any = classifier.predict_all(photos_of(arguments.inputs))
    if sys.stderr and sys.stderr.isatty():
        total, shares = photo_count(arguments.inputs), sys.stdout.isatty()
        if total > _FEW or not shares:
            from catdog.base.iterated import counting

            writes = lambda one: shares or isinstance(one[1], ImageError)  # noqa: E731
            answers = counting(answers, "asking the network", total, writes)
    for name, answer in answers:
        if isinstance(answer, ImageError):
            failed = True
            if arguments.json:
                print(json_line({"path": name, "error": str(answer)}), flush=True)
            elif arguments.csv:
                write((_path(name), "", "", *("" for _ in classifier.classes), "", _cell(str(answer))))
            else:
                print(f"catdog: {answer}", file=sys.stderr)
            continue
        unsure = answer.probability < arguments.unsure_below
        if arguments.json:
            print(json_line({"path": name, **vars(answer), "label": None if unsure else answer.label}), flush=True)
        elif arguments.csv:
            label = "" if unsure else _cell(answer.label)
            write((_path(name), label, answer.probability, *answer.probabilities.values(), answer.familiarity, ""))
        else:
            said = f"{shown[answer.label]} {answer.probability:.1%}"
            if answer.familiarity is not None and answer.familiarity < arguments.unfamiliar_below:
                said = f"unfamiliar ({said})"
            elif unsure:
                said = f"not sure ({said})"
            print(said, f" {on_one_line(name)}", flush=True)
    return 1 if failed else 0


def _csv_writer() -> Callable[[Iterable[object]], object]:
    """A function that writes a row to standard output, in UTF-8; with a byte order mark, by which spreadsheets know it,
    where standard output has another encoding."""
    if isinstance(sys.stdout, io.TextIOWrapper) and codecs.lookup(sys.stdout.encoding).name != "utf-8":
        sys.stdout.reconfigure(encoding="utf-8-sig", errors=sys.stdout.errors)
    # Rows end with \n, but with \r\n as their end csv puts quotes around names with \r too.
    return csv.writer(SimpleNamespace(write=lambda row: sys.stdout.write(row[:-2] + "\n"))).writerow


def _columns(classes: Sequence[str]) -> Sequence[str]:
    """Names of the columns of probabilities: the classes', unless one of them is another column's or a formula."""
    if any(
        name.casefold() in ("path", "label", "probability", "familiarity", "error") or _cell(name) != name
        for name in classes
    ):
        return [f"probability of {_cell(name)}" for name in classes]  # as in the column of labels
    return classes


def _cell(text: str) -> str:
    """`text`, or behind an apostrophe, so that no spreadsheet takes it for a formula and computes it."""
    return f"'{text}" if re.match(_FORMULA, text) else text


def _path(name: str) -> str:
    """`name`, or an equivalent path that no spreadsheet takes for a formula."""
    return f"./{name}" if name != "-" and re.match(_FORMULA, name) else name
