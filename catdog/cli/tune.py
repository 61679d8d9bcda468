"""`catdog tune`."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from catdog.cli.flags import add_config, add_fields, add_verb, given_fields, nothing_trained_yet
from catdog.config.toml import load_config
from catdog.errors import CatdogError
from catdog.tools.tune import search_space


def add_tune(verbs: Any) -> None:
    ranges = "\n".join(f"  {name:<16} {words}" for name, words in search_space.RANGES.items())
    searched = f"what can be searched, and where; the first {len(search_space.DEFAULT)} unless --search says otherwise:"
    parser = add_verb(
        verbs,
        "tune",
        _tune,
        "search the settings that suit your photos: many trainings, the best of which is kept",
        "examples:\n  catdog tune --data photos --trials 20\n"
        "  catdog tune --data photos --minutes 60 --epochs 15 --search learning_rate mixup hidden\n"
        "  catdog tune --resume runs/tune-2026-01-31-120000 --trials 40\n"
        "  catdog train --config runs/tune-2026-01-31-120000/best.toml\n\n"
        f"{searched}\n{ranges}\n\n"
        "needs Optuna, the extra [tune] of catdog",
    )
    add_config(parser)
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
    add_fields(parser, without=("out",))


def _tune(arguments: argparse.Namespace) -> int:
    from catdog.base.progress import working
    from catdog.runs.start import choose_start

    given, trials, minutes = given_fields(arguments), arguments.trials, arguments.minutes
    for flag, value in (("trials", trials), ("minutes", minutes)):
        if value is not None and not 0 < value < 1e9:
            raise CatdogError(f"--{flag} must be more than 0 and less than 1e9, not {value}.")
    if arguments.resume is not None:
        others = {"config": arguments.config, "search": arguments.search, "out": arguments.study, **given}
        for name, value in others.items():
            if value or name in given:
                raise CatdogError(
                    f"--resume goes on with the study's own configuration; leave --{name.replace('_', '-')} out, or "
                    "start a new study."
                )
        with nothing_trained_yet():
            with working("loading torch"):
                from catdog.tools.tune.command import resume_search

            return resume_search(Path(arguments.resume), trials, minutes)
    config = load_config(arguments.config, given)
    if config.model.start_from == "auto":  # a search is for a network of one's own
        config = replace(config, model=replace(config.model, start_from="none"))
    if config.photos.folds == 0:  # and many trainings already
        config = replace(config, photos=replace(config.photos, folds=1))
    config = choose_start(config)
    space = search_space.dimensions(config, arguments.search, fixed=given)
    with nothing_trained_yet():
        with working("loading torch"):
            from catdog.tools.tune.command import start_search

        return start_search(config, space, arguments.study, trials, minutes)
