"""Study of `catdog tune`: the folder that stores the trials of a search, which can be killed and resumed at any time.

`study.db` (SQLite, whose transactions survive a killed process) holds every trial, `config.toml` what all have in
common, `trials/NNN` the run folder of each. `trials.csv` and `best.toml` are derived from these.

A trial whose process ended is resumed from its run's last checkpoint as a new Optuna trial with the same number here:
so Optuna counts more trials.
"""

import csv
import io
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from catdog.base.atomic import write_text
from catdog.base.extras import how_to_install
from catdog.base.text import percent
from catdog.checkpoint.model_file import MODEL_FILE, PREVIOUS_FILE, STATE_FILE
from catdog.config.settings import Config
from catdog.config.toml import load_config, to_toml
from catdog.errors import CatdogError
from catdog.runs.folder import RunFolder
from catdog.runs.paths import NewRunFolder
from catdog.tools.tune.search_space import Dimension, Value, with_values

try:
    import optuna
    import sqlalchemy
except ImportError:
    raise CatdogError(f"catdog tune needs Optuna, which is not installed: {how_to_install('tune')}.") from None

DATABASE, CONFIG, BEST, TABLE, TRIALS = "study.db", "config.toml", "best.toml", "trials.csv", "trials"
_STARTUP = 5  # complete trials from which on others are pruned
_MIN_COMPLETE = 10  # complete trials from which on importances are computed
_RANDOM_TRIALS = 10  # trials with random values, before the sampler uses their results
_COMPLETE, _PRUNED, _FAILED = (
    optuna.trial.TrialState.COMPLETE,
    optuna.trial.TrialState.PRUNED,
    optuna.trial.TrialState.FAIL,
)


@dataclass(frozen=True)
class FinishedTrial:
    """Trial that has ended.

    `state`: complete, pruned or failed (its loss diverged, or memory was full).
    """

    number: int
    state: str
    accuracies: list[float]
    """Validation accuracy after each epoch."""
    photos: int
    """Number of validation photos; 0 if the trial is not complete."""
    values: dict[str, Value]

    @property
    def accuracy(self) -> float:
        """Accuracy of the best epoch, whose weights are kept; NaN if no epoch ended."""
        return max(self.accuracies, default=math.nan)


class Trial:
    """Trial in training; `record` is its Optuna trial, `accuracies` the validation accuracy by epoch."""

    def __init__(self, record: optuna.Trial, epochs: int) -> None:
        self.record, self.epochs = record, epochs
        self.number: int = record.user_attrs["number"]
        self.values: dict[str, Value] = record.params
        self.accuracies: dict[int, float] = {}

    def report_accuracy(self, epoch: int, accuracy: float) -> None:
        """Store the validation accuracy of an epoch, counted from 1; ignored if it is stored already."""
        if epoch not in self.accuracies:
            self.accuracies[epoch] = accuracy
            self.record.report(accuracy, epoch)

    def should_prune(self) -> bool:
        """Whether its best accuracy so far is below the median of the complete trials' at the same epoch."""
        return 0 < len(self.accuracies) < self.epochs and self.record.should_prune()


class StudyFolder(RunFolder):
    """The folder of a study, claimed as that of a training is; it has no log of its own."""

    kind, verb = "study folder", "tune"
    marks = (CONFIG, DATABASE)

    def _note(self, line: str) -> None:
        pass


class NewStudyFolder(StudyFolder, NewRunFolder):
    """The folder of a new study."""

    by_time = "tune-%Y-%m-%d-%H%M%S"
    kept_from = (TRIALS,)
    before = (CONFIG, DATABASE)


class Study:
    """Open study. Make one with `create` or `resume`, in its StudyFolder, which locks it against other processes."""

    def __init__(self, folder: Path, config: Config, study: optuna.Study) -> None:
        self.folder, self.config, self._study = folder, config, study
        self._study.pruner = optuna.pruners.MedianPruner(_STARTUP, n_warmup_steps=max(1, config.training.epochs // 3))

    @classmethod
    def create(cls, folder: Path, config: Config, space: Sequence[Dimension], goal: dict[str, float | None]) -> "Study":
        """Create a study in the empty folder; its first trial has the configuration's own values."""
        study = optuna.create_study(storage=_storage(folder), study_name="tune", direction="maximize")
        study.set_user_attr("space", [{**vars(dimension), "choices": list(dimension.choices)} for dimension in space])
        study.set_user_attr("goal", goal)
        own = {dimension.name: dimension.own for dimension in space}
        study.enqueue_trial(own, user_attrs={"number": 1, "values": own})
        # Last, so that a folder with a config.toml holds a complete study.
        write_text(folder / CONFIG, to_toml(replace(config, run=replace(config.run, out=""))))
        return cls(folder, config, study)

    @classmethod
    def resume(cls, folder: Path) -> "Study":
        """Open the study in `folder`, to train its unfinished trial next. Raises CatdogError if there is no study."""
        if not (folder / CONFIG).is_file() or not (folder / DATABASE).is_file():
            raise CatdogError(f"{folder} holds no study to resume; give a folder that `catdog tune` made.")
        try:
            records = optuna.load_study(study_name="tune", storage=_storage(folder))
        except KeyError:
            raise CatdogError(f"{folder / DATABASE} holds no study of `catdog tune`; start a new one.") from None
        waiting = records.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,))
        for unfinished in records.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            about = {name: unfinished.user_attrs.get(name) for name in ("number", "values")}
            # A kill between the next two calls leaves it both waiting and running. One without values has not begun.
            if about["values"] and not waiting:
                records.enqueue_trial(about["values"], user_attrs=about)
            records.tell(unfinished.number, state=_FAILED)
        study = cls(folder, load_config(folder / CONFIG), records)
        study.write()
        return study

    @property
    def goal(self) -> dict[str, float | None]:
        """When the search ends: `trials` in all, or None, and `minutes` of a process, or None."""
        return self._study.user_attrs["goal"]

    @goal.setter
    def goal(self, goal: dict[str, float | None]) -> None:
        self._study.set_user_attr("goal", goal)

    @property
    def names(self) -> list[str]:
        """Names of the searched fields."""
        return [dimension["name"] for dimension in self._study.user_attrs["space"]]

    def next_trial(self) -> Trial:
        """Take the unfinished trial, or else sample a new one.

        The sampler is seeded by the trial's number, so a resumed study samples what an uninterrupted one would.
        """
        number = len(self.finished()) + 1
        seed = int(np.random.SeedSequence(self.config.run.seed, spawn_key=(number,)).generate_state(1)[0])
        self._study.sampler = optuna.samplers.TPESampler(n_startup_trials=_RANDOM_TRIALS, seed=seed)
        trial = self._study.ask({d["name"]: _distribution(d) for d in self._study.user_attrs["space"]})
        trial.set_user_attr("number", number)
        trial.set_user_attr("values", trial.params)
        return Trial(trial, self.config.training.epochs)

    def config_of(self, values: dict[str, Value], out: str = "") -> Config:
        """Configuration of a trial with these values."""
        config = with_values(self.config, values)
        return replace(config, run=replace(config.run, out=out))

    def end(self, trial: Trial, state: str, photos: int = 0) -> FinishedTrial:
        """Store that the trial has ended, and update the study's files."""
        trial.record.set_user_attr("how", state)
        trial.record.set_user_attr("photos", photos)
        if state == "complete":
            self._study.tell(trial.record, max(trial.accuracies.values()))
        else:  # also if failed, since the sampler uses pruned trials and ignores those of state FAIL
            self._study.tell(trial.record, state=_PRUNED)
        self.write()
        return self.finished()[-1]

    def finished(self) -> list[FinishedTrial]:
        """Trials that have ended, in order."""
        return [
            FinishedTrial(
                trial.user_attrs["number"],
                trial.user_attrs["how"],
                [accuracy for _, accuracy in sorted(trial.intermediate_values.items())],
                trial.user_attrs["photos"],
                trial.params,
            )
            for trial in self._study.get_trials(deepcopy=False, states=(_COMPLETE, _PRUNED))
        ]

    def best(self) -> FinishedTrial | None:
        """Complete trial of the highest accuracy, the first of equals; None without any."""
        return max((t for t in self.finished() if t.state == "complete"), key=lambda t: t.accuracy, default=None)

    def run_of(self, number: int) -> Path:
        """Run folder of a trial."""
        return self.folder / TRIALS / f"{number:03}"

    def write(self) -> None:
        """Update trials.csv and best.toml from the database, and delete the weights of all but the best trial.

        Of the others a few kilobytes each remain: configuration, metrics, log.
        """
        finished, best, names = self.finished(), self.best(), self.names
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("trial", "how", "val_accuracy", "epochs", *names))
        for t in finished:
            accuracy = t.accuracy if t.accuracies else ""
            writer.writerow((t.number, t.state, accuracy, len(t.accuracies), *(t.values[name] for name in names)))
        write_text(self.folder / TABLE, table.getvalue())
        if best is not None:
            about = (
                f"# Trial {best.number}, the best of {len(finished)} of `catdog tune`: {percent(best.accuracy)} of "
                f"{best.photos:,} validation photos right.\n"
            )
            write_text(self.folder / BEST, about + to_toml(self.config_of(best.values)))
        for t in finished:
            for name in (STATE_FILE, PREVIOUS_FILE, *([] if t == best else [MODEL_FILE])):
                (self.run_of(t.number) / name).unlink(missing_ok=True)

    def importances(self) -> dict[str, float]:
        """Importance of each field for being in the better half of the complete trials, largest first; sum 1.

        By PED-ANOVA (Watanabe, Bansal and Hutter 2023); empty for fewer than ten complete trials, since it needs at
        least five in that half.
        """
        complete = [t for t in self.finished() if t.state == "complete"]
        if len(complete) < _MIN_COMPLETE or len(self.names) < 2 or len({t.accuracy for t in complete}) < 2:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.5)
        return optuna.importance.get_param_importances(self._study, evaluator=evaluator)


def _distribution(dimension: dict[str, Any]) -> optuna.distributions.BaseDistribution:
    if dimension["choices"]:
        return optuna.distributions.CategoricalDistribution(dimension["choices"])
    return optuna.distributions.FloatDistribution(dimension["low"], dimension["high"], log=dimension["is_logarithmic"])


def _storage(folder: Path) -> optuna.storages.RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # By a function that opens the file, since not every path can be written in a URL.
    path = folder / DATABASE
    return optuna.storages.RDBStorage(
        "sqlite://",
        engine_kwargs={"creator": lambda: sqlite3.connect(path), "poolclass": sqlalchemy.pool.NullPool},
    )


@contextmanager
def database_in(folder: Path) -> Iterator[None]:
    """Context manager that turns an error of the database in `folder` into a CatdogError."""
    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        cause = error.__cause__ or error
        reason = " ".join(str(getattr(cause, "orig", cause)).split())[:200]
        raise CatdogError(
            f"cannot use the database {folder / DATABASE}: {reason}; make room and go on with --resume, or start anew."
        ) from None
