"""Reads what a training is resumed from, and says what of its configuration is no longer as it was."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from catdog.base.text import in_shell, listed, many
from catdog.checkpoint.model_file import MODEL_FILE, PREVIOUS_FILE, STATE_FILE
from catdog.checkpoint.saved_model import load_model
from catdog.checkpoint.saved_state import check_fits, load_newest_state
from catdog.config.settings import Config, Training
from catdog.config.toml import load_config, parse_config, to_toml
from catdog.data.listing import Listing
from catdog.errors import CatdogError
from catdog.model.build import build_network
from catdog.runs.folder import RunFolder
from catdog.runs.history import Progress
from catdog.runs.readme import README, write_readme
from catdog.trainer.folds import FOLDER
from catdog.trainer.schedule import learning_rate_at

if TYPE_CHECKING:
    from catdog.trainer.loop import Trainer


def load_saved(folder: RunFolder, changes: Mapping[str, Any]) -> tuple[Config, dict[str, Any] | None, str]:
    """(The configuration with `changes`, the newest whole checkpoint, why there is nothing left to train or "").

    Logs what the user should know of it. changes: names of fields to values, or None to keep theirs.
    """
    run = folder.path
    config_file, checkpoints = run / "config.toml", (run / STATE_FILE, run / PREVIOUS_FILE)
    if config_file.is_file() and not any(path.exists() for path in checkpoints):
        is_cut = any((run / FOLDER).glob("*.safetensors"))
        begin = "goes on after the folds that are finished" if is_cut else "starts from the beginning"
        folder.log(f"{run} holds no checkpoint yet, so this {begin}.")
        return _changed(load_config(config_file), changes), None, ""
    state, note = load_newest_state(run)
    if note:
        folder.log(note)
    try:
        before = parse_config(state["config"], f"the configuration in {run / STATE_FILE}")
        if not all(isinstance(name, str) for name in state["classes"]):
            raise ValueError("its classes have no names")
        if len(before.architecture.hidden_layers()) > len(state["model"]):
            raise ValueError("its weights are not those of its configuration")
        with torch.device("meta"):  # shapes without numbers: nothing of a size that only the file claims is made
            check_fits(state["model"], build_network(before, len(state["classes"])).state_dict(), "model")
        if before.model.start_from != "none":
            from catdog.runs.start import start_of

            start_of(state)
        progress = Progress.from_plain(state["progress"], math.inf, before.training.epochs)
        steps_per_epoch = -(-int(state["photos"][0]) // before.training.batch_size)
    except CatdogError:
        raise
    except Exception as error:  # it is whole, but anything may be in a file that somebody made
        raise _does_not_fit(run, error) from None
    config = _changed(before, changes)
    lost = _lost_best(run, progress)
    finished = _nothing_left(folder, before.training, config.training, progress)
    if lost and not finished:
        state["progress"] = {**state["progress"], "best_epoch": -1}
    edited = _edited(folder, before, config, changeable=changes)
    longer = _more_epochs(before.training, config.training, progress, steps_per_epoch)
    for line in filter(None, (edited, longer, lost, finished)):
        folder.log(line)
    if finished and not (run / "curves.png").exists():  # it was killed just before
        from catdog.drawing import draw_curves

        draw_curves(progress.history, run / "curves.png")
    if finished and not (run / README).exists():
        write_readme(run, config)
    return config, state, finished


def _changed(config: Config, changes: Mapping[str, Any]) -> Config:
    given = {name: value for name, value in changes.items() if value is not None}
    return parse_config(to_toml(config), "the configuration", given)


def _edited(folder: RunFolder, before: Config, config: Config, changeable: Iterable[str]) -> str:
    """What config.toml says that is neither in the checkpoint, `before`, nor was asked for, `config`; or ""."""
    path = folder.path / "config.toml"
    if not path.is_file():
        return ""
    try:
        found = load_config(path)
    except CatdogError as error:
        return f"{str(error).rstrip('.')}; this goes on without it, by the configuration in {STATE_FILE}."
    here, there, wanted = (
        dict(line.split(" = ", 1) for line in to_toml(c).splitlines() if " = " in line and line[0] != "#")
        for c in (found, before, config)
    )
    other = {name: value for name, value in here.items() if value not in (there[name], wanted[name]) and name != "out"}
    if not other:
        return ""
    says = ", ".join(f"{name} = {value} where the checkpoint has {there[name]}" for name, value in other.items())
    flags = [f"--{name.replace('_', '-')} {json.loads(other[name])}" for name in changeable if name in other]
    if len(flags) == len(other):
        mend = f"to change it: {folder.resume_command} {' '.join(flags)}"
    else:
        mend = f"for a new training with it: catdog train --config {in_shell(path)}"
    return f"{path} says {says}, and it is the checkpoint that a resumed training goes by; {mend}"


def _more_epochs(before: Training, now: Training, progress: Progress, steps_per_epoch: int) -> str:
    """What another number of epochs does to the learning rate."""
    if now.epochs == before.epochs:
        return ""
    what = f"training to {many(now.epochs, 'epoch')} instead of {before.epochs}"
    if now.schedule != "cosine":
        return (
            f"{what}: the learning rate (schedule {now.schedule}) does not depend on their number, so this ends as a "
            f"training of {many(now.epochs, 'epoch')} from the start."
        )
    step = progress.epoch * steps_per_epoch + progress.step
    rate, last = (
        learning_rate_at(at, steps_per_epoch, training) / 2**progress.rollbacks
        for at, training in ((step, now), (step - 1, before))
    )
    return (
        f"{what}: the learning rate (schedule cosine) is from here on that of a training of {many(now.epochs, 'epoch')}"
        f": {rate:.2g} next{f', where it was {last:.2g}' if step else ''}, and zero again at the end."
    )


def _nothing_left(folder: RunFolder, before: Training, now: Training, progress: Progress) -> str:
    """Why there is nothing left to train, and how to train on; "" where there is. CatdogError for too few epochs."""
    run, done = folder.path, progress.epoch
    is_stalled = progress.is_stalled(now.early_stopping)
    if now.epochs < done + bool(progress.step) or (now.epochs == done and now.epochs != before.epochs):
        raise CatdogError(
            f"{run} has trained {many(done, 'epoch')}{' and a part of the next' if progress.step else ''} already, so "
            f"--epochs {now.epochs} leaves nothing to train; give more."
        )
    if done < now.epochs and not is_stalled:
        return ""
    flags = f" --epochs {2 * done}" if done == now.epochs else f" --epochs {now.epochs}" * (now.epochs != before.epochs)
    flags += " --early-stopping 0" * is_stalled
    why = f"it has trained for {many(done, 'epoch')}"
    if done < now.epochs:
        why = f"it stopped early, after epoch {done}, as none was better than epoch {progress.best_epoch + 1}"
    line = f"{run} is finished: {why}; to train on: {folder.resume_command}{flags}"
    if now.epochs != before.epochs:
        raise CatdogError(line)
    return line


def _lost_best(run: Path, progress: Progress) -> str:
    """What becomes of it that the best network so far cannot be read; "" where it can, or where there is none yet."""
    if progress.best_epoch < 0:
        return ""
    model = run / MODEL_FILE
    try:
        load_model(model)
    except CatdogError:
        what = "cannot be used as a model" if model.exists() else "is missing"
        return (
            f"{model}, the network of epoch {progress.best_epoch + 1}, {what}, and no checkpoint holds it; where this "
            "trains on, the network of the next epoch takes its place, or that of a better one after it."
        )
    return ""


def check_classes(saved: dict[str, Any], train: Listing, run: Path) -> None:
    """Raise CatdogError unless the photos are of the classes that the checkpoint was trained on."""
    if tuple(saved["classes"]) != train.classes:
        raise CatdogError(
            f"{run} was started with the classes {listed(saved['classes'])}, and {train.root} now holds "
            f"{listed(train.classes)}; put its folders back, or train again."
        )


def restore(trainer: "Trainer", saved: dict[str, Any], folder: RunFolder) -> None:
    """Put the checkpoint into the trainer; CatdogError if it is not of this training.

    Where the configuration is no longer that of the checkpoint, both are written anew.
    """
    try:
        trainer.restore(saved)
    except Exception as error:  # anything may be in a file that somebody made
        raise _does_not_fit(trainer.run, error) from None
    progress = trainer.state.progress
    trainer.log(f"going on with {trainer.run} after epoch {progress.epoch}, step {progress.step}")
    before = parse_config(saved["config"], "the configuration of the checkpoint")
    if replace(before, run=replace(before.run, out=trainer.config.run.out)) != trainer.config:
        folder.write_config(trainer.config)
        trainer.save()
        trainer.checkpoints.wait()  # before the first step: from now on a stop is resumed with the new configuration


def _does_not_fit(run: Path, error: Exception) -> CatdogError:
    """The error of a checkpoint that is whole, but not of this training."""
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return CatdogError(f"cannot go on from {run / STATE_FILE} ({reason}); resume another run, or train again.")
