"""Reads what a training is resumed from."""

from pathlib import Path
from typing import Any

import torch

from catdog.checkpoint.model_file import PREVIOUS_FILE, STATE_FILE
from catdog.checkpoint.training_state import check_fits, load_newest_state
from catdog.config.settings import Config
from catdog.config.toml import load_config, parse_config
from catdog.data.listing import Listing
from catdog.errors import CatdogError
from catdog.model.build import build_network
from catdog.trainer.loop import Trainer


def load_saved(run: Path) -> tuple[Config, dict[str, Any] | None, str]:
    """The configuration and the newest whole checkpoint of a run, and a note on it to be logged, or ""."""
    config_file, checkpoints = run / "config.toml", (run / STATE_FILE, run / PREVIOUS_FILE)
    if config_file.is_file() and not any(path.exists() for path in checkpoints):
        return load_config(config_file), None, f"{run} holds no checkpoint yet, so this starts from the beginning."
    state, note = load_newest_state(run)
    try:
        config = parse_config(state["config"], f"the configuration in {run / STATE_FILE}")
        if not all(isinstance(name, str) for name in state["classes"]):
            raise ValueError("its classes have no names")
        if len(config.model.hidden) + len(config.model.local) > len(state["model"]):
            raise ValueError("its weights are not those of its configuration")
        with torch.device("meta"):  # shapes without numbers: nothing of a size that only the file claims is made
            check_fits(state["model"], build_network(config, len(state["classes"])).state_dict(), "model")
    except CatdogError:
        raise
    except Exception as error:  # it is whole, but anything may be in a file that somebody made
        raise _does_not_fit(run, error) from None
    return config, state, note


def check_classes(saved: dict[str, Any], train: Listing, run: Path) -> None:
    """Raise CatdogError unless the photos are of the classes that the checkpoint was trained on."""
    if tuple(saved["classes"]) != train.classes:
        raise CatdogError(
            f"{run} was started with the classes {', '.join(saved['classes'])}, and {train.root} now holds "
            f"{', '.join(train.classes)}; put its folders back, or train again."
        )


def restore(trainer: Trainer, saved: dict[str, Any]) -> None:
    """Put the checkpoint into the trainer; CatdogError if it is not of this training."""
    try:
        trainer.restore(saved)
    except Exception as error:  # anything may be in a file that somebody made
        raise _does_not_fit(trainer.run, error) from None
    progress = trainer.state.progress
    trainer.log(f"going on with {trainer.run} after epoch {progress.epoch}, step {progress.step}")


def _does_not_fit(run: Path, error: Exception) -> CatdogError:
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return CatdogError(f"cannot go on from {run / STATE_FILE} ({reason}); resume another run, or train again.")
