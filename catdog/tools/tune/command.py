"""`catdog tune`: train with many configurations, and keep the one that is right most often on the validation photos.

Each trial is a training as `catdog train` does it. Which values to try is Optuna's choice (Akiba et al. 2019): at
random at first, then by a tree-structured Parzen estimator (Bergstra et al. 2011), which draws where good trials lie
dense and bad ones do not. A trial that does worse than half of the others did by then is given up.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from catdog.base.signals import Interrupted, Signals, stop_at_once
from catdog.checkpoint.model_file import MODEL_FILE, STATE_FILE, load_model
from catdog.config.settings import Config
from catdog.errors import CatdogError, SettingsError
from catdog.metrics import accuracy_interval
from catdog.runs.folder import RunFolder
from catdog.runs.history import read_metrics
from catdog.runs.paths import check_places, settle, unused
from catdog.tools.tune.search_space import Dimension, in_words
from catdog.tools.tune.study import BEST, Ended, Study, Trial, database_in
from catdog.train import resume, train

TRIALS = 20


class _Hopeless(Exception):
    """The trial is given up."""


def start(
    config: Config, space: Sequence[Dimension], folder: str | None, trials: int | None, minutes: float | None
) -> int:
    """A new search, in `folder`, over `space`; what is not in it stays as in `config`. Returns the exit status.

    It ends after so many trials in all; after so many minutes no trial is begun any more. Without either it is TRIALS.
    """
    place = Path(folder) if folder else unused(Path("runs") / time.strftime("tune-%Y-%m-%d-%H%M%S"))
    config = settle(replace(config, run=replace(config.run, out=str(place))), print)
    check_places(config)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise CatdogError(
            f"the study's folder {place} exists; give another --out, or go on with it by --resume {place}."
        )
    goal = {"trials": TRIALS if trials is None and minutes is None else trials, "minutes": minutes}
    with RunFolder(place), database_in(place):
        return _search(Study.create(place, config, space, goal))


def go_on(folder: Path, trials: int | None, minutes: float | None) -> int:
    """Go on with the search in `folder`, to the end that was set for it or to another. Returns the exit status."""
    if not folder.is_dir():
        raise CatdogError(f"there is no folder {folder} to resume; give one that `catdog tune` made.")
    with RunFolder(folder), database_in(folder):
        study = Study.resume(folder)
        if trials is not None or minutes is not None:
            study.goal = {"trials": trials, "minutes": minutes}
        return _search(study)


def _search(study: Study) -> int:
    trials, minutes = study.goal["trials"], study.goal["minutes"]
    end = time.monotonic() + 60 * minutes if minutes is not None else None
    epochs = study.config.training.epochs
    print(f"searching {', '.join(study.names)}, in trials of {epochs} epochs; the study is {study.folder}", flush=True)
    is_first = True  # of those trained now: it is trained however short the time, and its plan is told
    try:
        with Signals(stop_at_once):
            while trials is None or len(study.ended()) < trials:
                best_before = study.best()
                ended = _train_trial(study, study.next_trial(), tells=is_first)
                is_first = False
                print(_trial_in_words(ended, study, trials, is_best=study.best() != best_before), flush=True)
                if end is not None and time.monotonic() > end:
                    break
    except Interrupted as stop:
        print(f"stopped and saved; go on with: catdog tune --resume {study.folder}", flush=True)
        return 128 + stop.signal
    print(_summary(study))
    return 0


def _train_trial(study: Study, trial: Trial, tells: bool) -> Ended:
    """Train as the trial says, or go on where its training was when the process ended."""
    run = study.run_of(trial.number)
    has_begun = (run / "config.toml").is_file()
    if has_begun:
        print(f"going on with trial {trial.number}", flush=True)

    def log(line: str) -> None:
        """What is said before the first step; the rest is in the run's train.log."""
        if tells and not (run / STATE_FILE).exists():
            print(line, flush=True)

    def on_epoch(row: dict[str, float]) -> None:
        trial.report(int(row["epoch"]), row["val_accuracy"])
        if trial.is_hopeless():
            raise _Hopeless

    try:
        if has_begun:
            if (run / "metrics.csv").exists():
                for epoch, row in enumerate(read_metrics(run), start=1):
                    on_epoch({"epoch": epoch, **row})
            resume(run, log, on_epoch=on_epoch)
        else:
            train(study.config_of(trial.values, str(run)), log, on_epoch=on_epoch)
    except _Hopeless:
        return study.end(trial, "pruned")
    except SettingsError:
        return study.end(trial, "failed")
    return study.end(trial, "complete", int(load_model(run / MODEL_FILE)[1].validation["photos"]))


def _trial_in_words(ended: Ended, study: Study, trials: float | None, is_best: bool) -> str:
    count = f"trial {ended.number:>{len(f'{trials:g}')}}/{trials:g}" if trials else f"trial {ended.number}"
    if ended.how == "failed":
        return f"{count}  failed; {study.run_of(ended.number) / 'train.log'} says why  {in_words(ended.values)}"
    note = f" (given up after epoch {len(ended.accuracies)})" if ended.how == "pruned" else " *" if is_best else "  "
    return f"{count}  {ended.accuracy:.2%}{note}  {in_words(ended.values)}"


def _summary(study: Study) -> str:
    ended, best = study.ended(), study.best()
    hows = [trial.how for trial in ended]
    count = f"{len(ended)} trials: " + ", ".join(
        f"{hows.count(how)} {words}"
        for how, words in (("complete", "complete"), ("pruned", "given up early"), ("failed", "failed"))
        if how in hows
    )
    if best is None:
        return f"{count}; none is complete, so there is no best; a lower learning_rate may help"
    low, high = accuracy_interval(round(best.accuracy * best.photos), best.photos)
    lines = [
        count,
        f"best: trial {best.number}, {best.accuracy:.2%} of {best.photos:,} validation photos right "
        f"(95% interval {low:.1%} to {high:.1%})",
        f"      {in_words(best.values)}",
        f"      Chosen as the best of {len(ended)} on these photos, it looks better than it is. On others it does:",
        f"      catdog evaluate --run {study.run_of(best.number)} --data OTHER",
    ]
    if importances := study.importances():
        shares = ", ".join(f"{name} {share:.0%}" for name, share in importances.items())
        lines.append(f"what set the better half of the complete trials apart: {shares}")
    lines.append(f"train with it: catdog train --config {study.folder / BEST}")
    return "\n".join(lines)
