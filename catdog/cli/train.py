"""`catdog train`: a new training, or one that is resumed."""

import argparse
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from catdog.base.output import output_may_fail
from catdog.base.text import in_shell
from catdog.cli.flags import add_config, add_fields, add_verb, given_fields, is_main_process, nothing_trained_yet
from catdog.config.schema import fields
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.errors import CatdogError

_TRAIN_EXAMPLES = """examples:
  catdog train                                  on data/, or on drawn cats and dogs where that is empty
  catdog train --data photos --out runs/mine    on photos/cat/*, photos/dog/*
  catdog train --config fast --data photos      by one of the recipes, or by a file of your own
  catdog train --narrate                        tell the first step of the training in all its numbers
  catdog train --resume runs/mine               go on after a stop
  catdog train --resume runs/mine --epochs 60   train on, to 60 epochs in all
  catdog train --data photos --out runs/mine --or-resume     for a job that is started again after each stop
"""
_CHANGEABLE = ("epochs", "early_stopping", "on_nan", "threads", "device")  # what may be other when it is resumed
_SETTLED = ("folds", "batch_size", "learning_rate")  # by the training, where they have their defaults


def add_train(verbs: Any) -> None:
    parser = add_verb(verbs, "train", _train, "train a network on a folder of photos", _TRAIN_EXAMPLES)
    add_config(parser)
    begun = parser.add_mutually_exclusive_group()
    begun.add_argument(
        "--resume",
        metavar="RUN",
        nargs="?",
        const="",
        help="go on with a stopped run (default: the newest); with more --epochs a finished one trains on, from there "
        "with the learning rates of a training of so many epochs",
    )
    begun.add_argument(
        "--or-resume",
        action="store_true",
        help="where this command has begun the run --out before, go on with it; do nothing where it is finished",
    )
    parser.add_argument(
        "--narrate", action="store_true", help="tell the first step in the textbook's words and its own numbers"
    )
    add_fields(parser)


def _train(arguments: argparse.Namespace) -> int:
    with nothing_trained_yet(), output_may_fail():  # a training does not end for what is printed: train.log has it
        if arguments.resume is None:
            _train_anew(arguments)
        else:
            _resume(arguments)
    return 0


def _is_begun(config: Config) -> bool:
    """Whether a training by `config` has begun in its --out; CatdogError where another has."""
    if not config.run.out:
        raise CatdogError("--or-resume goes on with the run in --out; give --out, the same each time.")
    file = Path(config.run.out) / "config.toml"
    if not (is_main_process() and file.exists()):  # other processes follow the main one
        return False
    from catdog.runs.paths import settled

    asks, begun = settled(config, lambda line: None), load_config(file)
    for field in fields().values():
        asked, has = (getattr(getattr(of, field.section), field.name) for of in (asks, begun))
        is_free = field.name in ("out", *_CHANGEABLE) or (field.name in _SETTLED and asked == field.default)
        if field.name in config.given and not is_free and asked != has:
            raise CatdogError(
                f"{file.parent} was begun with {field.name} = {has}, not {asked}; give {field.flag} as then, or "
                "another --out."
            )
    return True


def _train_anew(arguments: argparse.Namespace) -> None:
    from catdog.data.warm_up import WarmUp
    from catdog.runs.paths import new_run

    given = given_fields(arguments)
    config = load_config(arguments.config, given)
    if arguments.or_resume:
        if arguments.narrate:
            raise CatdogError("--narrate tells the first step of a new training; leave it or --or-resume out.")
        if _is_begun(config):
            return _go_on(Path(config.run.out), given)
    if arguments.narrate and config.model.start_from == "auto":  # it tells how a network begins to learn
        config = replace(config, model=replace(config.model, start_from="none"))
    with ExitStack() as stack:
        folder = None
        if is_main_process():
            config, folder = stack.enter_context(new_run(config, print))
        if arguments.narrate:
            _check_narration(config)  # when its architecture is settled
        # Torch takes seconds to import: before it all that can be said without, beside it all that can be done.
        with stack.enter_context(WarmUp(config)).bar:
            from catdog.train import train

        listeners = []
        if arguments.narrate:
            from catdog.tools.explain.narrate import Narration

            listeners.append(Narration())
        train(config, listeners=listeners, folder=folder)


def _check_narration(config: Config) -> None:
    """Raise CatdogError for a training whose first step cannot be told."""
    if config.model.local or not config.architecture.is_mlp:
        raise CatdogError(
            "--narrate tells of neurons that see the whole photo; leave out --local and --model, and --start-from "
            "where it brings other layers."
        )
    if config.training.train_layers or config.training.keep_statistics:
        raise CatdogError("--narrate tells how all layers learn; leave out --train-layers and --keep-statistics.")
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise CatdogError("--narrate tells the first step of a single process; leave it out, or start one.")


def _resume(arguments: argparse.Namespace) -> None:
    given = given_fields(arguments)
    other = [name for name in given if name not in _CHANGEABLE] + ["config"] * bool(arguments.config)
    if other:
        raise CatdogError(
            "--resume goes on with the run's own configuration, of which only --epochs, --early-stopping, "
            f"--on-nan, --threads and --device can be changed; leave --{other[0].replace('_', '-')} out, or start a "
            "new run."
        )
    if arguments.narrate:
        raise CatdogError("--narrate tells the first step of a new training; leave it out to go on with --resume.")
    _go_on(_run_to_resume(arguments.resume), given)


def _go_on(run: Path, given: dict[str, Any]) -> None:
    """Go on with a run, with those of the `given` fields that may be other."""
    if (run / "study.db").exists():
        raise CatdogError(f"{run} is a study; go on with it: catdog tune --resume {in_shell(run)}")

    from catdog.base.progress import working

    with working("starting torch"):
        from catdog.train import resume  # after all that can be said without torch

    resume(run, **{name: given[name] for name in _CHANGEABLE if name in given})


def _run_to_resume(name: str) -> Path:
    from catdog.checkpoint.model_file import STATE_FILE

    if name:
        in_runs = Path("runs") / name
        return in_runs if in_runs.exists() and not Path(name).exists() else Path(name)
    found = sorted(Path("runs").glob(f"*/{STATE_FILE}"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise CatdogError("there is no run in runs/ to resume; name its folder: --resume RUN.")
    return found[-1].parent
