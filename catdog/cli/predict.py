"""`catdog predict`: answers as text, JSON or CSV."""

import argparse
import csv
import json
import sys
from typing import Any

from catdog.cli.flags import add_run, add_verb, probability
from catdog.errors import ImageError


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
    parser.add_argument(
        "--unsure-below",
        metavar="P",
        type=probability,
        default=0.0,
        help='answer "not sure" where the likeliest class is less probable than P, from 0 to 1; the label is then null '
        "with --json, empty with --csv",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--csv", action="store_true", help="a table with a header")


def _predict(arguments: argparse.Namespace) -> int:
    from catdog.base.text import on_one_line
    from catdog.data.inputs import photos_of
    from catdog.predict import Classifier
    from catdog.runs.locate import find_model, name_of

    model = find_model(arguments.run)
    classifier = Classifier.load(model)
    print(f"{name_of(model)}: {classifier.in_words()}", file=sys.stderr)
    write = csv.writer(sys.stdout, lineterminator="\n").writerow
    if arguments.csv:
        write(("path", "label", "probability", *classifier.classes, "error"))
    failed = False
    answers: Any = classifier.predict_all(photos_of(arguments.inputs))
    if sys.stderr and sys.stderr.isatty() and not sys.stdout.isatty():  # the answers go elsewhere: nothing would move
        from catdog.base.progress import bar

        answers = bar("asking the network", iterable=answers)
    for name, answer in answers:
        if isinstance(answer, ImageError):
            failed = True
            if arguments.json:
                print(json.dumps({"path": name, "error": str(answer)}), flush=True)
            elif arguments.csv:
                write((name, "", "", *("" for _ in classifier.classes), str(answer)))
            else:
                print(f"catdog: {answer}", file=sys.stderr)
            continue
        unsure = answer.probability < arguments.unsure_below
        if arguments.json:
            print(json.dumps({"path": name, **vars(answer), "label": None if unsure else answer.label}), flush=True)
        elif arguments.csv:
            label = "" if unsure else answer.label
            write((name, label, answer.probability, *answer.probabilities.values(), ""))
        else:
            said = f"{answer.label} {answer.probability:.1%}"
            print(f"not sure ({said})" if unsure else said, f" {on_one_line(name)}", flush=True)
    return 1 if failed else 0
