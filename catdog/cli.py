"""The command line: `catdog VERB`. What a verb does is in the package; here is how it is asked for."""

import argparse
import csv
import json
import os
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import catdog
from catdog import config as configuration
from catdog.errors import CatdogError, ImageError

_TRAIN_EXAMPLES = """examples:
  catdog train                                  on data/, or on drawn cats and dogs where that is empty
  catdog train --data photos --out runs/mine    on photos/cat/*, photos/dog/*
  catdog train --config configs/article.toml --device cuda
  catdog train --resume runs/mine               go on after a stop
"""


class _Parser(argparse.ArgumentParser):
    """argparse, but a mistake is one sentence."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", _HelpFormatter)
        kwargs["allow_abbrev"] = False
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise CatdogError(f"{message}; see {self.prog} --help.")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="catdog",
        description=catdog.__doc__,
        epilog="examples:\n  catdog train --data photos\n  catdog predict photo.jpg\n  catdog evaluate",
    )
    parser.add_argument("--version", action="version", version=f"catdog {catdog.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)
    _add_train(verbs)
    _add_predict(verbs)
    _add_evaluate(verbs)
    _add_explain(verbs)
    _add_data(verbs)
    _add_completion(verbs)
    return parser


def _verb(verbs: Any, name: str, handler: Callable[[argparse.Namespace], int], about: str, examples: str) -> Any:
    parser = verbs.add_parser(name, help=about, description=about, epilog=examples)
    parser.set_defaults(handler=handler)
    return parser


def _add_train(verbs: Any) -> None:
    parser = _verb(verbs, "train", _train, "train a network on a folder of photos", _TRAIN_EXAMPLES)
    parser.add_argument("--config", metavar="FILE.toml", help="read the configuration from a file; flags go over it")
    parser.add_argument(
        "--resume", metavar="RUN", nargs="?", const="", help="go on with a stopped run (default: the newest)"
    )
    groups = {
        section: parser.add_argument_group(section, cls.__doc__) for section, cls in configuration.SECTIONS.items()
    }
    for field in configuration.fields().values():
        _add_field(groups[field.section], field)


def _add_field(group: Any, field: configuration.Field) -> None:
    """A flag for a field of the configuration; absent from the result where it was not given."""
    default = " ".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
    options: dict[str, Any] = {
        "default": argparse.SUPPRESS,
        "help": f"{field.doc} (default: {default})".replace("%", "%%"),
    }
    if field.type is bool:
        options["action"] = argparse.BooleanOptionalAction
    elif typing.get_origin(field.type) is tuple:
        open_ended = Ellipsis in typing.get_args(field.type)
        options.update(type=int, nargs="*" if open_ended else 2, metavar="N" if open_ended else ("H", "W"))
    elif field.choices:
        options["choices"] = field.choices
    else:
        options.update(type=field.type, metavar={int: "N", float: "X", str: field.name.upper()}[field.type])
    group.add_argument(field.flag, **options)


def _train(arguments: argparse.Namespace) -> int:
    given = {name: value for name, value in vars(arguments).items() if name in configuration.fields()}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    if arguments.resume is not None:
        if given or arguments.config:
            other = next(iter(given), "config").replace("_", "-")
            raise CatdogError(
                f"--resume goes on with the run's own configuration; leave --{other} out, or start a new run."
            )
        to_resume, settled = _run_to_resume(arguments.resume), None
    else:
        to_resume, settled = None, configuration.load_config(arguments.config, given)

    from catdog.train import Interrupted, resume, train  # after all that can be said without torch, which takes seconds

    try:
        if settled is not None:
            train(settled)
        elif to_resume is not None:
            resume(to_resume)
    except Interrupted as stop:
        return 128 + stop.signal
    return 0


def _run_to_resume(name: str) -> Path:
    from catdog.checkpoint import STATE_FILE

    if name:
        return Path(name) if Path(name).is_dir() else Path("runs") / name
    found = sorted(Path("runs").glob(f"*/{STATE_FILE}"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise CatdogError("there is no run in runs/ to resume; name its folder: --resume RUN.")
    return found[-1].parent


def _add_predict(verbs: Any) -> None:
    parser = _verb(
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
    parser.add_argument(
        "--run", metavar="RUN", help="folder of the run, or its model file (default: the newest in runs/)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--csv", action="store_true", help="a table with a header")


def _predict(arguments: argparse.Namespace) -> int:
    from catdog.files import on_one_line
    from catdog.predict import Classifier, find_model, photos_of

    model = find_model(arguments.run)
    classifier = Classifier.load(model)
    print(f"{model}: {classifier.in_words()}", file=sys.stderr)
    write = csv.writer(sys.stdout, lineterminator="\n").writerow
    if arguments.csv:
        write(("path", "label", "probability", *classifier.classes, "error"))
    failed = False
    for name, answer in classifier.predict_all(photos_of(arguments.inputs)):
        if isinstance(answer, ImageError):
            failed = True
            if arguments.json:
                print(json.dumps({"path": name, "error": str(answer)}), flush=True)
            elif arguments.csv:
                write((name, "", "", *("" for _ in classifier.classes), str(answer)))
            else:
                print(f"catdog: {answer}", file=sys.stderr)
        elif arguments.json:
            print(json.dumps({"path": name, **vars(answer)}), flush=True)
        elif arguments.csv:
            write((name, answer.label, answer.probability, *answer.probabilities.values(), ""))
        else:
            print(f"{answer.label} {answer.probability:.1%}  {on_one_line(name)}", flush=True)
    return 1 if failed else 0


def _add_evaluate(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "evaluate",
        _evaluate,
        "measure how often a network is right",
        "examples:\n  catdog evaluate\n  catdog evaluate --run runs/mine --data other-photos --json",
    )
    parser.add_argument(
        "--run", metavar="RUN", help="folder of the run, or its model file (default: the newest in runs/)"
    )
    parser.add_argument("--data", metavar="DIR", help="folder of photos (default: what the run was validated on)")
    parser.add_argument(
        "--out", metavar="FILE.png", help="where the picture goes (default: evaluation.png in the run's folder)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _evaluate(arguments: argparse.Namespace) -> int:
    from catdog.evaluate import main as evaluate

    return evaluate(arguments.run, arguments.data, arguments.json, arguments.out)


def _add_explain(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "explain",
        _explain,
        "show what the network does with a photo, in numbers and pictures",
        "examples:\n  catdog explain photo.jpg                 forward, loss, backward, one step, forward again\n"
        "  catdog explain --label cat photo.jpg     when the photo's folder does not tell what it is\n"
        "  catdog explain cat.jpg dog.jpg           each, and what the hidden layers make of them side by side\n"
        "  catdog explain --run runs/mine           what the network has learned, without a photo\n"
        "  catdog explain --textbook                the two worked examples of the textbooks",
    )
    parser.add_argument("inputs", metavar="IMAGE|DIR|-", nargs="*", help="photos; none: what the network has learned")
    parser.add_argument(
        "--run", metavar="RUN", help="folder of the run, or its model file (default: the newest in runs/)"
    )
    parser.add_argument(
        "--label", metavar="CLASS", help="what is on the photo (default: its folder's name, else the answer itself)"
    )
    parser.add_argument(
        "--lr", metavar="X", type=float, help="learning rate of the step (default: one that lowers the loss by a tenth)"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="where pictures and page go (default: explain/ in the run's folder)"
    )
    parser.add_argument("--textbook", action="store_true", help="the textbooks' examples; takes --out alone")


def _explain(arguments: argparse.Namespace) -> int:
    from catdog.explain.command import main as explain
    from catdog.explain.command import textbook

    if arguments.textbook:
        for flag in ("inputs", "run", "label", "lr"):
            if getattr(arguments, flag):
                what = "a photo" if flag == "inputs" else f"--{flag}"
                raise CatdogError(f"--textbook shows its own numbers; leave {what} out.")
        return textbook(arguments.out)
    return explain(arguments.inputs, arguments.run, arguments.label, arguments.out, arguments.lr)


def _add_data(verbs: Any) -> None:
    parser = verbs.add_parser("data", help="make or look at a folder of photos")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    draw = _verb(
        actions,
        "sample",
        _data_sample,
        "draw cats and dogs into DIR/cat and DIR/dog",
        "example:\n  catdog data sample drawings --count 200 --size 256 256",
    )
    draw.add_argument("folder", metavar="DIR", help="a folder that is not there yet, or is empty")
    draw.add_argument("--count", metavar="N", type=int, default=200, help="how many in all (default: 200)")
    draw.add_argument("--size", metavar=("H", "W"), type=int, nargs=2, default=(96, 96), help="pixels (default: 96 96)")
    draw.add_argument("--seed", metavar="N", type=int, default=0, help="another number draws others (default: 0)")


    look = _verb(
        actions,
        "check",
        _data_check,
        "find photos that are broken, there more than once, or in the wrong place",
        "examples:\n  catdog data check photos\n  catdog data check photos --out suspects.png\n\n"
        "exit status: 0 when nothing needs mending, 1 when something does, 2 when there is no such folder",
    )
    look.add_argument("folder", metavar="DIR", help="a folder of photos; nothing in it is changed")
    look.add_argument("--json", action="store_true", help="print one JSON object, which lists everything found")
    look.add_argument("--out", metavar="FILE.png", help="draw the photos in question (default: no picture)")


def _data_sample(arguments: argparse.Namespace) -> int:
    from catdog.sample import write_sample

    write_sample(Path(arguments.folder), arguments.count, tuple(arguments.size), arguments.seed)
    print(f"drew {arguments.count:,} cats and dogs into {arguments.folder}")
    return 0


def _data_check(arguments: argparse.Namespace) -> int:
    from catdog.check import main as check

    return check(arguments.folder, arguments.json, arguments.out)


def _add_completion(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "completion",
        _completion,
        "print the completion script of a shell",
        'example:\n  eval "$(catdog completion bash)"',
    )
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))


def _completion(arguments: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(build_parser(), shell=arguments.shell))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status. A CatdogError is one sentence on stderr and status 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="surrogateescape")  # names of files need not be valid text
    try:
        parser = build_parser()
        arguments, unknown = parser.parse_known_args(argv)
        if unknown:
            raise CatdogError(_unknown_flag(parser, arguments, unknown[0]))
        return arguments.handler(arguments)
    except CatdogError as error:
        print(f"catdog: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _unknown_flag(parser: argparse.ArgumentParser, arguments: argparse.Namespace, flag: str) -> str:
    words = ["catdog", arguments.verb, *([arguments.action] if "action" in arguments else [])]
    for word in words[1:]:
        (choices,) = (a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        parser = choices[word]
    known = [option for action in parser._actions for option in action.option_strings]
    what = "flag" if flag.startswith("-") else "argument"
    return f"{' '.join(words)} has no {what} {flag}{configuration.nearest(flag, known)}; see {' '.join(words)} --help."


def entry() -> NoReturn:
    """What the `catdog` command calls."""
    sys.exit(main())
