"""`catdog tune`: trains with many configurations and keeps the one of the highest validation accuracy.

Each trial is a training as by `catdog train`. Optuna (Akiba et al. 2019) chooses the values: at random at first, then
by a tree-structured Parzen estimator (Bergstra et al. 2011), which samples where the density of good trials is high and
that of bad ones low. A trial whose accuracy is below the median of the others at the same epoch is pruned.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from catdog.base.text import in_shell, many, percent
from catdog.checkpoint.model_file import MODEL_FILE, STATE_FILE
from catdog.checkpoint.saved_model import load_model
from catdog.config.settings import Config
from catdog.errors import SettingsError
from catdog.metrics import accuracy_interval
from catdog.runs.metrics_csv import read_metrics
from catdog.runs.paths import new_run
from catdog.tools.tune.search_space import Dimension, values_as_text
from catdog.tools.tune.study import BEST, FinishedTrial, NewStudyFolder, Study, StudyFolder, Trial, database_in
from catdog.train import resume, train
from catdog.trainer.events import EpochDone, Event

TRIALS = 20


class _Pruned(Exception):
    """The trial is pruned."""


def start_search(
    config: Config, space: Sequence[Dimension], folder: str | None, trials: int | None, minutes: float | None
) -> int:
    """Start a search over `space` in the new folder `folder`; other fields are those of `config`. Returns exit status.

    It ends after `trials` trials in all, and begins none after `minutes`. Without either it ends after TRIALS trials.
    """
    goal = {"trials": TRIALS if trials is None and minutes is None else trials, "minutes": minutes}
    config = replace(config, run=replace(config.run, out=folder or ""))
    with new_run(config, print, NewStudyFolder) as (config, claimed), database_in(claimed.path):
        return _search(Study.create(claimed.path, config, space, goal))


def resume_search(folder: Path, trials: int | None, minutes: float | None) -> int:
    """Resume the search in `folder`, to the end set at its start or to another. Returns the exit status."""
    with StudyFolder(folder), database_in(folder):
        study = Study.resume(folder)
        if trials is not None or minutes is not None:
            study.goal = {"trials": trials, "minutes": minutes}
        return _search(study)


def _search(study: Study) -> int:
    trials, minutes = study.goal["trials"], study.goal["minutes"]
    end = time.monotonic() + 60 * minutes if minutes is not None else None
    epochs = many(study.config.training.epochs, "epoch")
    print(f"searching {', '.join(study.names)}, in trials of {epochs}; the study is {study.folder}", flush=True)
    is_first = True  # of this process: it is trained whatever `minutes` is, and its plan is printed
    while trials is None or len(study.finished()) < trials:
        best_before = study.best()
        finished = _train_trial(study, study.next_trial(), is_verbose=is_first)
        is_first = False
        print(_trial_as_text(finished, study, trials, is_best=study.best() != best_before), flush=True)
        if end is not None and time.monotonic() > end:
            break
    print(_summary(study))
    return 0


def _train_trial(study: Study, trial: Trial, is_verbose: bool) -> FinishedTrial:
    """Train the trial, or resume its training if a process that ended had begun it. is_verbose: print its plan."""
    run = study.run_of(trial.number)
    has_begun = (run / "config.toml").is_file()
    if has_begun:
        print(f"going on with trial {trial.number}", flush=True)

    def log(line: str) -> None:
        """Print lines logged before the first checkpoint; all are in the run's train.log."""
        if is_verbose and not (run / STATE_FILE).exists():
            print(line, flush=True)

    def on_epoch(row: dict[str, float]) -> None:
        trial.report_accuracy(int(row["epoch"]), row["val_accuracy"])
        if trial.should_prune():
            raise _Pruned

    def on_event(event: Event) -> None:
        if isinstance(event, EpochDone):
            on_epoch(event.row)

    try:
        if has_begun:
            if (run / "metrics.csv").exists():
                for epoch, row in enumerate(read_metrics(run), start=1):
                    on_epoch({"epoch": epoch, **row})
            resume(run, log, listeners=[on_event])
        else:
            train(study.config_of(trial.values, str(run)), log, [on_event])
    except _Pruned:
        return study.end(trial, "pruned")
    except SettingsError:
        return study.end(trial, "failed")
    return study.end(trial, "complete", int(load_model(run / MODEL_FILE)[1].validation["photos"]))


def _trial_as_text(trial: FinishedTrial, study: Study, trials: float | None, is_best: bool) -> str:
    count = f"trial {trial.number:>{len(f'{trials:g}')}}/{trials:g}" if trials else f"trial {trial.number}"
    if trial.state == "failed":
        return f"{count}  failed; {study.run_of(trial.number) / 'train.log'} says why  {values_as_text(trial.values)}"
    note = " best" if is_best else "     "
    if trial.state == "pruned":
        note = f" (given up after epoch {len(trial.accuracies)})"
    return f"{count}  {percent(trial.accuracy)}{note}  {values_as_text(trial.values)}"


def _summary(study: Study) -> str:
    finished, best = study.finished(), study.best()
    states = [trial.state for trial in finished]
    count = f"{many(len(finished), 'trial')}: " + ", ".join(
        f"{states.count(state)} {words}"
        for state, words in (("complete", "complete"), ("pruned", "given up early"), ("failed", "failed"))
        if state in states
    )
    if best is None:
        return f"{count}; none is complete, so there is no best; a lower learning_rate may help"
    low, high = accuracy_interval(round(best.accuracy * best.photos), best.photos)
    lines = [
        count,
        f"best: trial {best.number}, {percent(best.accuracy)} of {best.photos:,} validation photos right "
        f"(95% interval {percent(low)} to {percent(high)})",
        f"      {values_as_text(best.values)}",
        f"      Chosen as the best of {len(finished)} on these photos, it looks better than it is. On others it does:",
        f"      catdog evaluate --run {in_shell(study.run_of(best.number))} --data OTHER",
    ]
    if importances := study.importances():
        shares = ", ".join(f"{name} {share:.0%}" for name, share in importances.items())
        lines.append(f"what set the better half of the complete trials apart: {shares}")
    lines.append(f"train with it: catdog train --config {in_shell(study.folder / BEST)}")
    return "\n".join(lines)
