"""The command line: `catdog VERB`. What a verb does is in the package; here is how it is asked for."""

import argparse
import atexit
import contextlib
import csv
import json
import os
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import catdog
from catdog.config.schema import SECTIONS, Field, fields, nearest
from catdog.config.toml import load_config
from catdog.errors import CatdogError, ImageError
from catdog.tools.tune import search_space

_TRAIN_EXAMPLES = """examples:
  catdog train                                  on data/, or on drawn cats and dogs where that is empty
  catdog train --data photos --out runs/mine    on photos/cat/*, photos/dog/*
  catdog train --config configs/article.toml --device cuda
  catdog train --narrate                        tell the first step of the training in all its numbers
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
    _add_demo(verbs)
    _add_doctor(verbs)
    _add_tune(verbs)
    _add_data(verbs)
    _add_cache(verbs)
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
    parser.add_argument(
        "--narrate", action="store_true", help="tell the first step in the textbook's words and its own numbers"
    )
    groups = {section: parser.add_argument_group(section, cls.__doc__) for section, cls in SECTIONS.items()}
    for field in fields().values():
        _add_field(groups[field.section], field)


def _add_field(group: Any, field: Field) -> None:
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
    from catdog.base.signals import Interrupted

    try:
        if arguments.resume is None:
            _train_anew(arguments)
        else:
            _go_on(arguments)
    except Interrupted as stop:
        return 128 + stop.signal
    return 0


def _train_anew(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.config, _given_fields(arguments))

    from catdog.data.warm_up import DecodingAhead

    # Torch takes seconds to import: before it comes all that can be said without, beside it all that can be done.
    with DecodingAhead(config) as ahead:
        from catdog.train import train

        train(config, narrate=arguments.narrate, decode_all=ahead.decode_all)


def _go_on(arguments: argparse.Namespace) -> None:
    given = _given_fields(arguments)
    on_nan = given.pop("on_nan", None)  # how to go on from a run that stopped for it
    if given or arguments.config:
        other = next(iter(given), "config").replace("_", "-")
        raise CatdogError(
            f"--resume goes on with the run's own configuration; leave --{other} out, or start a new run."
        )
    if arguments.narrate:
        raise CatdogError("--narrate tells the first step of a new training; leave it out to go on with --resume.")
    run = _run_to_resume(arguments.resume)

    from catdog.train import resume  # after all that can be said without torch

    resume(run, on_nan=on_nan)


def _given_fields(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields of the configuration that were given as flags."""
    given = {name: value for name, value in vars(arguments).items() if name in fields()}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def _run_to_resume(name: str) -> Path:
    from catdog.checkpoint.model_file import STATE_FILE

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
    _add_run(parser)
    parser.add_argument(
        "--unsure-below",
        metavar="P",
        type=_probability,
        default=0.0,
        help='answer "not sure" where the likeliest class is less probable than P, from 0 to 1; the label is then null '
        "with --json, empty with --csv",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--csv", action="store_true", help="a table with a header")


def _add_run(parser: Any) -> None:
    parser.add_argument(
        "--run",
        metavar="RUN",
        help="folder of the run, or its model file, or cats-dogs, the network that comes with catdog (default: the "
        "newest in runs/, else cats-dogs)",
    )


def _probability(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {text!r}")


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
    for name, answer in classifier.predict_all(photos_of(arguments.inputs)):
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


def _add_evaluate(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "evaluate",
        _evaluate,
        "measure how often a network is right, and write a report",
        "examples:\n  catdog evaluate                          figures; the report goes to evaluation/ in the run\n"
        "  catdog evaluate --data other-photos --out report.html\n"
        "  catdog evaluate --run runs/mine --json   figures alone, for programs",
    )
    _add_run(parser)
    parser.add_argument(
        "--data", metavar="DIR", help="folder of photos (default: what the run was validated on; cats-dogs needs one)"
    )
    parser.add_argument(
        "--out",
        metavar="DIR|FILE.html",
        help="where the report goes (default: evaluation/ in the run's folder; runs/cats-dogs/ for cats-dogs)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object; no report without --out")


def _evaluate(arguments: argparse.Namespace) -> int:
    from catdog.tools.evaluation.command import main as evaluate

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
    _add_run(parser)
    parser.add_argument(
        "--label", metavar="CLASS", help="what is on the photo (default: its folder's name, else the answer itself)"
    )
    parser.add_argument(
        "--lr", metavar="X", type=float, help="learning rate of the step (default: one that lowers the loss by a tenth)"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="where pictures and page go (default: explain/ in the run's folder; runs/cats-dogs/ for cats-dogs)",
    )
    parser.add_argument("--textbook", action="store_true", help="the textbooks' examples; takes --out alone")


def _explain(arguments: argparse.Namespace) -> int:
    from catdog.tools.explain.command import main as explain
    from catdog.tools.explain.command import textbook

    if arguments.textbook:
        for flag in ("inputs", "run", "label", "lr"):
            if getattr(arguments, flag):
                what = "a photo" if flag == "inputs" else f"--{flag}"
                raise CatdogError(f"--textbook shows its own numbers; leave {what} out.")
        return textbook(arguments.out)
    return explain(arguments.inputs, arguments.run, arguments.label, arguments.out, arguments.lr)


def _add_demo(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "demo",
        _demo,
        "train small networks that differ in one thing, and compare them: a table, a picture, a few sentences",
        "examples:\n  catdog demo permute                     all photos' pixels shuffled alike: does it matter?\n"
        "  catdog demo depth                       no hidden layer, one, three\n"
        "  catdog demo activation --seeds 5        relu, tanh, sigmoid, five times each\n"
        "  catdog demo loss --data photos --out .  softmax or SVM, on your own photos",
    )
    parser.add_argument("name", choices=("permute", "depth", "activation", "loss"), help="what the networks differ in")
    parser.add_argument("--data", metavar="DIR", help="folder of photos, some of which it takes (default: drawn ones)")
    parser.add_argument("--seeds", metavar="N", type=int, default=3, help="trainings of each network (default: 3)")
    parser.add_argument("--out", metavar="DIR", help="where demo-NAME.png goes (default: the current folder)")


def _demo(arguments: argparse.Namespace) -> int:
    from catdog.tools.demo.command import main as demo
    from catdog.train import Interrupted

    try:
        return demo(arguments.name, arguments.data, arguments.seeds, arguments.out)
    except Interrupted as stop:
        return 128 + stop.signal


def _add_doctor(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "doctor",
        _doctor,
        "is it working? small experiments on the photos, the settings and the run, in less than a minute",
        "examples:\n  catdog doctor                            the newest run, else what `catdog train` would do\n"
        "  catdog doctor --data photos --learning-rate 0.1 --out rates.png\n"
        "  catdog doctor --run runs/mine\n\n"
        "exit status: 0 when nothing is ill, 1 when something is, 2 when it cannot be examined",
    )
    parser.add_argument("--config", metavar="FILE.toml", help="read the configuration from a file; flags go over it")
    parser.add_argument(
        "--run",
        metavar="RUN",
        help="a run, whose configuration is taken (default: the newest in runs/, where neither --data nor --config is "
        "given)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE.png",
        dest="picture",
        help="draw the loss over the learning rate (default: learning_rates.png in the run's folder, if there is one)",
    )
    groups = {section: parser.add_argument_group(section, cls.__doc__) for section, cls in SECTIONS.items()}
    for field in fields().values():
        if field.name not in ("out", "checkpoint_minutes", "early_stopping", "on_nan", "precision", "compile"):
            _add_field(groups[field.section], field)


def _doctor(arguments: argparse.Namespace) -> int:
    given = _given_fields(arguments)
    if arguments.run is None:
        load_config(arguments.config, given)  # a mistake is told before torch, which takes seconds

    from catdog.tools.doctor.command import main as doctor

    return doctor(arguments.run, arguments.config, given, arguments.picture)


def _add_tune(verbs: Any) -> None:
    ranges = "\n".join(f"  {name:<16} {words}" for name, words in search_space.IN_WORDS.items())
    searched = f"what can be searched, and where; the first {len(search_space.DEFAULT)} unless --search says otherwise:"
    parser = _verb(
        verbs,
        "tune",
        _tune,
        "search the settings that suit your photos: many trainings, the best of which is kept",
        "examples:\n  catdog tune --data photos --trials 20\n"
        "  catdog tune --data photos --minutes 60 --epochs 15 --search learning_rate mixup hidden\n"
        "  catdog tune --resume runs/tune-2026-01-31-120000 --trials 40\n"
        "  catdog train --config runs/tune-2026-01-31-120000/best.toml\n\n"
        f"{searched}\n{ranges}\n\n"
        'needs Optuna: pip install -e ".[tune]"',
    )
    parser.add_argument("--config", metavar="FILE.toml", help="read the configuration from a file; flags go over it")
    parser.add_argument(
        "--search", metavar="FIELD", nargs="+", default=[], help="the fields to search; they are listed below"
    )
    parser.add_argument("--trials", metavar="N", type=int, help="end after N trials in all (default: 20)")
    parser.add_argument(
        "--minutes", metavar="X", type=float, help="begin no trial after X minutes; without --trials, as many as fit"
    )
    parser.add_argument(
        "--out", metavar="STUDY", dest="study", help="folder of the study (default: runs/tune-<date>-<time>)"
    )
    parser.add_argument("--resume", metavar="STUDY", help="go on with a stopped study, or add trials to one that ended")
    groups = {section: parser.add_argument_group(section, cls.__doc__) for section, cls in SECTIONS.items()}
    for field in fields().values():
        if field.name != "out":
            _add_field(groups[field.section], field)


def _tune(arguments: argparse.Namespace) -> int:
    given, trials, minutes = _given_fields(arguments), arguments.trials, arguments.minutes
    for flag, value in (("trials", trials), ("minutes", minutes)):
        if value is not None and not 0 < value < 1e9:
            raise CatdogError(f"--{flag} must be more than 0, not {value:g}.")
    if arguments.resume is not None:
        others = {"config": arguments.config, "search": arguments.search, "out": arguments.study, **given}
        for name, value in others.items():
            if value or name in given:
                raise CatdogError(
                    f"--resume goes on with the study's own configuration; leave --{name.replace('_', '-')} out, or "
                    "start a new study."
                )
        from catdog.tools.tune.command import go_on

        return go_on(Path(arguments.resume), trials, minutes)
    config = load_config(arguments.config, given)
    space = search_space.dimensions(config, arguments.search, fixed=given)

    from catdog.tools.tune.command import start

    return start(config, space, arguments.study, trials, minutes)


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

    sums = _verb(
        actions,
        "stats",
        _data_stats,
        "count and measure photos: sizes, colours, the mean photo of each class",
        "examples:\n  catdog data stats photos\n  catdog data stats photos --image-size 64 64 --out mean.png",
    )
    sums.add_argument("folder", metavar="DIR", help="a folder of photos; nothing in it is changed")
    sums.add_argument("--json", action="store_true", help="print one JSON object")
    sums.add_argument("--out", metavar="FILE.png", help="draw the mean photo of each class (default: no picture)")
    size = fields()["image_size"].default
    sums.add_argument(
        "--image-size",
        metavar=("H", "W"),
        type=int,
        nargs=2,
        default=size,
        help=f"squash each photo to H x W pixels, as training does (default: {size[0]} {size[1]})",
    )

    get = _verb(
        actions,
        "fetch",
        _data_fetch,
        "download public photographs of cats and dogs",
        "examples:\n  catdog data fetch pets photos/pets\n  catdog train --data photos/pets\n\n"
        "pets      Oxford-IIIT Pet: 3,680 photos to train on, 3,669 to test with; about 810 MB; CC BY-SA 4.0\n"
        "catsdogs  Microsoft's Kaggle Cats and Dogs: 25,000 photos, some broken; 825 MB; for research\n\n"
        "a download that was interrupted goes on when the same command is run again",
    )
    get.add_argument("name", choices=("pets", "catsdogs"), help="which photographs")
    get.add_argument("folder", metavar="DIR", help="a folder that is not there yet, or is empty")


def _data_sample(arguments: argparse.Namespace) -> int:
    from catdog.data.drawn import write_sample

    write_sample(Path(arguments.folder), arguments.count, tuple(arguments.size), arguments.seed)
    print(f"drew {arguments.count:,} cats and dogs into {arguments.folder}")
    return 0


def _data_check(arguments: argparse.Namespace) -> int:
    from catdog.tools.dataset.check import main as check

    return check(arguments.folder, arguments.json, arguments.out)


def _data_stats(arguments: argparse.Namespace) -> int:
    from catdog.tools.dataset.stats import main as stats

    return stats(arguments.folder, tuple(arguments.image_size), arguments.json, arguments.out)


def _data_fetch(arguments: argparse.Namespace) -> int:
    from catdog.tools.dataset.fetch import fetch

    print(fetch(arguments.name, Path(arguments.folder)))
    return 0


def _add_cache(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "cache",
        _cache,
        "list, or clear, the decoded photos that are kept between runs",
        "examples:\n  catdog cache\n  catdog cache --clear\n\n"
        "what is removed is decoded again when it is needed; photos and runs are not touched",
    )
    parser.add_argument("--cache", metavar="DIR", default="auto", help="another folder than the user's cache folder")
    parser.add_argument("--clear", action="store_true", help="remove everything that is kept")


def _cache(arguments: argparse.Namespace) -> int:
    from catdog.data.cache_dir import main as show_cache

    return show_cache(arguments.cache, arguments.clear)


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
    return f"{' '.join(words)} has no {what} {flag}{nearest(flag, known)}; see {' '.join(words)} --help."


def entry() -> NoReturn:
    """What the `catdog` command calls: `main`, and the end of the process, for which torch's parts are not freed."""
    status = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    atexit._run_exitfuncs()
    os._exit(status)
