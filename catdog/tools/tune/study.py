"""A study: the folder in which the trials of a search are kept, so that a search can be stopped at any instant.

`study.db` (SQLite, which a process that is killed leaves whole) holds every trial, `config.toml` what all have in
common, `trials/NNN` the run folder of each. From these `trials.csv` and `best.toml` can be written anew at any time.

A trial whose process ended is gone on with from its run's last checkpoint, in a new record: Optuna's own count of
trials is larger than ours by those.
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
from catdog.checkpoint.model_file import MODEL_FILE, PREVIOUS_FILE, STATE_FILE
from catdog.config.settings import Config
from catdog.config.toml import load_config, to_toml
from catdog.errors import CatdogError
from catdog.tools.tune.search_space import Dimension, Value, with_values

try:
    import optuna
    import sqlalchemy
except ImportError:
    raise CatdogError('catdog tune needs Optuna, which is not installed: pip install -e ".[tune]".') from None

DATABASE, CONFIG, BEST, TABLE, TRIALS = "study.db", "config.toml", "best.toml", "trials.csv", "trials"
_FIRST = 5  # trials that must have ended before others are compared with them
_TELLING = 10  # complete trials, from which on it can be said which fields mattered
_RANDOM = 10  # trials with values drawn at random, from which the sampler then learns
_COMPLETE, _PRUNED, _FAILED = (
    optuna.trial.TrialState.COMPLETE,
    optuna.trial.TrialState.PRUNED,
    optuna.trial.TrialState.FAIL,
)


@dataclass(frozen=True)
class Ended:
    """A trial that is over.

    `how`: complete, pruned (given up early) or failed (its loss diverged, or memory was full).
    """

    number: int
    how: str
    accuracies: list[float]
    """On the validation photos, after each epoch."""
    photos: int
    """How many those are; 0 where the trial is not complete."""
    values: dict[str, Value]

    @property
    def accuracy(self) -> float:
        """That of the epoch whose weights were kept; not a number where no epoch was ended."""
        return max(self.accuracies, default=math.nan)


class Trial:
    """A trial that is being trained; `record` is Optuna's of it."""

    def __init__(self, record: optuna.Trial, epochs: int) -> None:
        self.record, self.epochs = record, epochs
        self.number: int = record.user_attrs["number"]
        self.values: dict[str, Value] = record.params
        self.accuracies: dict[int, float] = {}

    def report(self, epoch: int, accuracy: float) -> None:
        """Note the validation accuracy of an epoch, counted from 1; what is known already is passed over."""
        if epoch not in self.accuracies:
            self.accuracies[epoch] = accuracy
            self.record.report(accuracy, epoch)

    def is_hopeless(self) -> bool:
        """Whether it has done worse, up to its last epoch, than half of the complete trials had by then."""
        return 0 < len(self.accuracies) < self.epochs and self.record.should_prune()


class Study:
    """An open study. Make one with `create` or `resume`, inside a RunFolder, so that there is one process at a time."""

    def __init__(self, folder: Path, config: Config, study: optuna.Study) -> None:
        self.folder, self.config, self._study = folder, config, study
        self._study.pruner = optuna.pruners.MedianPruner(_FIRST, n_warmup_steps=max(1, config.training.epochs // 3))

    @classmethod
    def create(cls, folder: Path, config: Config, space: Sequence[Dimension], goal: dict[str, float | None]) -> "Study":
        """A new study in the empty folder; its first trial will be that of the configuration's own values."""
        study = optuna.create_study(storage=_storage(folder), study_name="tune", direction="maximize")
        study.set_user_attr("space", [{**vars(dimension), "choices": list(dimension.choices)} for dimension in space])
        study.set_user_attr("goal", goal)
        own = {dimension.name: dimension.own for dimension in space}
        study.enqueue_trial(own, user_attrs={"number": 1, "values": own})
        write_text(folder / CONFIG, to_toml(replace(config, run=replace(config.run, out=""))))  # the last: it is whole
        return cls(folder, config, study)

    @classmethod
    def resume(cls, folder: Path) -> "Study":
        """The study in `folder`. A trial that was left unfinished is the next one to be trained."""
        if not (folder / CONFIG).is_file() or not (folder / DATABASE).is_file():
            raise CatdogError(f"{folder} holds no study to resume; give a folder that `catdog tune` made.")
        try:
            records = optuna.load_study(study_name="tune", storage=_storage(folder))
        except KeyError:
            raise CatdogError(f"{folder / DATABASE} holds no study of `catdog tune`; start a new one.") from None
        waiting = records.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,))
        for left in records.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            about = {name: left.user_attrs.get(name) for name in ("number", "values")}
            # A kill between the next two leaves it both waiting and running. One without values has not begun.
            if about["values"] and not waiting:
                records.enqueue_trial(about["values"], user_attrs=about)
            records.tell(left.number, state=_FAILED)
        study = cls(folder, load_config(folder / CONFIG), records)
        study.write()
        return study

    @property
    def goal(self) -> dict[str, float | None]:
        """`trials` in all, or None, and `minutes` of a search, or None."""
        return self._study.user_attrs["goal"]

    @goal.setter
    def goal(self, goal: dict[str, float | None]) -> None:
        self._study.set_user_attr("goal", goal)

    @property
    def names(self) -> list[str]:
        return [dimension["name"] for dimension in self._study.user_attrs["space"]]

    def next_trial(self) -> Trial:
        """The trial that waits to be gone on with, or else a new one, with values that promise much.

        The sampler is seeded anew for each, so a study that was stopped draws what it would have drawn.
        """
        number = len(self.ended()) + 1
        seed = int(np.random.SeedSequence(self.config.run.seed, spawn_key=(number,)).generate_state(1)[0])
        self._study.sampler = optuna.samplers.TPESampler(n_startup_trials=_RANDOM, seed=seed)
        trial = self._study.ask({d["name"]: _distribution(d) for d in self._study.user_attrs["space"]})
        trial.set_user_attr("number", number)
        trial.set_user_attr("values", trial.params)
        return Trial(trial, self.config.training.epochs)

    def config_of(self, values: dict[str, Value], out: str = "") -> Config:
        """The configuration of a trial with these values."""
        config = with_values(self.config, values)
        return replace(config, run=replace(config.run, out=out))

    def end(self, trial: Trial, how: str, photos: int = 0) -> Ended:
        """Note that the trial is over, and renew the study's files."""
        trial.record.set_user_attr("how", how)
        trial.record.set_user_attr("photos", photos)
        if how == "complete":
            self._study.tell(trial.record, max(trial.accuracies.values()))
        else:  # of one that was given up the sampler learns; of one that failed, in Optuna's sense, it would not
            self._study.tell(trial.record, state=_PRUNED)
        self.write()
        return self.ended()[-1]

    def ended(self) -> list[Ended]:
        """The trials that are over, in order."""
        return [
            Ended(
                trial.user_attrs["number"],
                trial.user_attrs["how"],
                [accuracy for _, accuracy in sorted(trial.intermediate_values.items())],
                trial.user_attrs["photos"],
                trial.params,
            )
            for trial in self._study.get_trials(deepcopy=False, states=(_COMPLETE, _PRUNED))
        ]

    def best(self) -> Ended | None:
        """The complete trial of the highest accuracy, the first of equals; None where there is none."""
        return max((t for t in self.ended() if t.how == "complete"), key=lambda t: t.accuracy, default=None)

    def run_of(self, number: int) -> Path:
        return self.folder / TRIALS / f"{number:03}"

    def write(self) -> None:
        """Bring trials.csv and best.toml up to date with the database; keep the weights of the best trial alone.

        Of the others a few kilobytes each are kept: configuration, figures, log.
        """
        ended, best, names = self.ended(), self.best(), self.names
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("trial", "how", "val_accuracy", "epochs", *names))
        for t in ended:
            accuracy = t.accuracy if t.accuracies else ""
            writer.writerow((t.number, t.how, accuracy, len(t.accuracies), *(t.values[name] for name in names)))
        write_text(self.folder / TABLE, table.getvalue())
        if best is not None:
            about = (
                f"# Trial {best.number}, the best of {len(ended)} of `catdog tune`: {best.accuracy:.2%} of "
                f"{best.photos:,} validation photos right.\n"
            )
            write_text(self.folder / BEST, about + to_toml(self.config_of(best.values)))
        for t in ended:
            for name in (STATE_FILE, PREVIOUS_FILE, *([] if t == best else [MODEL_FILE])):
                (self.run_of(t.number) / name).unlink(missing_ok=True)

    def importances(self) -> dict[str, float]:
        """The share of each field in what set the better half of the complete trials apart, the largest first.

        By PED-ANOVA (Watanabe, Bansal and Hutter 2023); empty for fewer than ten complete trials, since it wants at
        least five in that half.
        """
        complete = [t for t in self.ended() if t.how == "complete"]
        if len(complete) < _TELLING or len(self.names) < 2 or len({t.accuracy for t in complete}) < 2:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.5)
        return optuna.importance.get_param_importances(self._study, evaluator=evaluator)


def _distribution(dimension: dict[str, Any]) -> optuna.distributions.BaseDistribution:
    if dimension["choices"]:
        return optuna.distributions.CategoricalDistribution(dimension["choices"])
    return optuna.distributions.FloatDistribution(dimension["low"], dimension["high"], log=dimension["is_logarithmic"])


def _storage(folder: Path) -> optuna.storages.RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # By a function that opens the file, since not every path can be said in a URL.
    path = folder / DATABASE
    return optuna.storages.RDBStorage(
        "sqlite://",
        engine_kwargs={"creator": lambda: sqlite3.connect(path), "poolclass": sqlalchemy.pool.NullPool},
    )


@contextmanager
def database_in(folder: Path) -> Iterator[None]:
    """Inside, what goes wrong with the database is one sentence."""
    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        cause = error.__cause__ or error
        reason = " ".join(str(getattr(cause, "orig", cause)).split())[:200]
        raise CatdogError(
            f"cannot use the database {folder / DATABASE}: {reason}; make room and go on with --resume, or start anew."
        ) from None
