"""Reads what a training is resumed from."""

from pathlib import Path
from typing import Any

import torch

from catdog.checkpoint.model_file import PREVIOUS_FILE, STATE_FILE
from catdog.checkpoint.saved_state import check_fits, load_newest_state
from catdog.config.settings import Config
from catdog.config.toml import load_config, parse_config
from catdog.errors import CatdogError
from catdog.model.build import build_network
from catdog.trainer.snapshots import does_not_fit


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
        raise does_not_fit(run, error) from None
    return config, state, note
