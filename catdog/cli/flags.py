"""Flags that several verbs have, and the parser that says what is wrong in one sentence."""

import argparse
import contextlib
import os
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from catdog.base.signals import NOTHING_TRAINED, Interrupted
from catdog.config.schema import SECTIONS, Field, fields
from catdog.config.suggestions import did_you_mean
from catdog.errors import CatdogError

UNFAMILIAR = 0.05  # of photos like those trained on, one in twenty is called unfamiliar


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake is one sentence."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", _HelpFormatter)
        kwargs["allow_abbrev"] = False
        super().__init__(*args, **kwargs)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            known = [*choices, *(self._other_verbs(action) if isinstance(action, argparse._SubParsersAction) else ())]
            rest = did_you_mean(str(value), known, f"choose from {', '.join(choices)}")
            raise argparse.ArgumentError(action, f"invalid choice: {value!r}{rest}")

    def _other_verbs(self, verbs: Any) -> Iterator[str]:
        """What a verb that is not there may stand for beside the verbs: flags, and actions of verbs such as `data`."""
        yield from self._option_string_actions
        for name, parser in verbs.choices.items():
            for action in parser._actions:
                if isinstance(action, argparse._SubParsersAction):
                    yield from (f"{name} {choice}" for choice in action.choices)

    def error(self, message: str) -> NoReturn:
        raise CatdogError(f"{message}; see {self.prog} --help.")

    def _print_message(self, message: str, file: Any = None) -> None:
        (file or sys.stderr).write(message)  # argparse's own hides that it could not be written


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)


def add_verb(verbs: Any, name: str, handler: Callable[[argparse.Namespace], int], about: str, examples: str) -> Any:
    parser = verbs.add_parser(name, help=about, description=about, epilog=examples)
    parser.set_defaults(handler=handler)
    return parser


def add_fields(parser: Any, without: Sequence[str] = ()) -> None:
    """A flag for each field of the configuration, in a group a section, but for those named in `without`."""
    groups = {section: parser.add_argument_group(section, cls.__doc__) for section, cls in SECTIONS.items()}
    for field in fields().values():
        if field.name not in without:
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


def given_fields(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields of the configuration that were given as flags."""
    given = {name: value for name, value in vars(arguments).items() if name in fields()}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def add_config(parser: Any) -> None:
    from catdog.config.recipes import recipes

    parser.add_argument(
        "--config",
        metavar="FILE.toml|NAME",
        help="read the configuration from a file, or from a recipe that comes with catdog "
        f"({', '.join(recipes())}); flags go over it",
    )


def is_main_process() -> bool:
    """Whether this is the one of torchrun's processes that prints and claims the run folder, or the only one."""
    return os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def nothing_trained_yet() -> Iterator[None]:
    """A context in which a signal that nothing else has a sentence for came before anything was begun."""
    try:
        yield
    except Interrupted as stop:
        stop.advice = stop.advice or NOTHING_TRAINED * is_main_process()
        raise


def add_run(parser: Any) -> None:
    parser.add_argument(
        "--run",
        metavar="RUN",
        help="folder of the run, or its model file, or cats-dogs, the network that comes with catdog (default: the "
        "newest in runs/, else cats-dogs; for photos that you give none that was trained on drawings)",
    )


def add_doubts(parser: Any, unsure: str) -> None:
    """--unsure-below, of which `unsure` says what it does, and --unfamiliar-below."""
    parser.add_argument("--unsure-below", metavar="P", type=probability, default=0.0, help=unsure)
    parser.add_argument(
        "--unfamiliar-below",
        metavar="P",
        type=probability,
        default=UNFAMILIAR,
        help='answer "unfamiliar" where a photo is less like those trained on than all but a share P of other such '
        f"photos are; 0: never (default: {UNFAMILIAR:g})",
    )


def probability(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {text!r}")
