"""A few small trainings whose losses are kept, so that a change that should not alter numbers is seen not to.

The tolerance is for other processors and other builds of torch. After a change that should alter them:

    python tests/trainer/test_golden.py
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from catdog.config.toml import load_config
from catdog.data.photo_dataset import PhotoDataset
from catdog.model.build import build_model
from catdog.trainer.card import make_card
from catdog.trainer.loop import Trainer

FILE = Path(__file__).parents[1] / "golden" / "losses.json"
COMMON: dict[str, Any] = {
    "image_size": (6, 5), "hidden": (12, 8), "epochs": 4, "batch_size": 16, "device": "cpu", "threads": 1,
}  # fmt: skip
TRAININGS: dict[str, dict[str, Any]] = {
    # But for batch norm, which does not go with adamw here; the next one says why.
    "the defaults, smaller": {"learning_rate": 3e-3, "ema": 0.5, "batch_norm": False},
    "with all that can be random": {
        "activation": "relu", "batch_norm": True, "dropout": 0.3, "mixup": 0.4, "class_weights": "balanced", "seed": 7,
        # Not adamw: it makes steps of full length of what is left by rounding of a bias's gradient before batch norm.
        "optimizer": "sgd", "learning_rate": 0.02,
    },
    "plain gradient descent on the hinge": {
        "loss": "svm", "squared_hinge": True, "optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.01, "ema": 0.0,
        "weight_decay": 0.0, "clip_norm": 0.0, "activation": "tanh", "schedule": "step", "step_epochs": 2,
        "accumulate": 3, "batch_norm": False,
    },
}  # fmt: skip


def photos(first: int, count: int) -> PhotoDataset:
    """Stripes, upright for one class and level for the other, in colours that differ a little; whole numbers alone."""
    rows, columns, channels = np.arange(6)[:, None], np.arange(5)[None, :], np.arange(3)[:, None, None]
    pixels, labels = np.empty((count, 3, 6, 5), np.uint8), np.arange(first, first + count) % 3 % 2
    for i in range(count):
        k = first + i
        stripes = rows if labels[i] else columns
        pixels[i] = (60 * ((stripes + k) % 2) + 37 * k + 11 * k * k % 101 + 29 * channels + 5 * (rows * columns)) % 256
    return PhotoDataset.from_tensors(torch.from_numpy(pixels), torch.from_numpy(labels), ("level", "upright"))


def losses(changes: dict[str, Any], folder: Path) -> list[list[float]]:
    """(train_loss, val_loss) of each epoch."""
    config = load_config(None, {**COMMON, **changes})
    torch.set_num_threads(1)
    torch.manual_seed(config.run.seed)
    train = photos(0, 90)
    model = build_model(config, 2)
    quiet = lambda line: None  # noqa: E731
    trainer = Trainer(
        config, model, train, photos(1000, 30), make_card(config, train), folder, torch.device("cpu"), quiet
    )
    trainer.fit()
    return [[row["train_loss"], row["val_loss"]] for row in trainer.state.progress.history]


@pytest.mark.parametrize("name", TRAININGS)
def test_the_losses_are_those_that_are_kept(name: str, tmp_path: Path) -> None:
    kept = json.loads(FILE.read_text())[name]
    np.testing.assert_allclose(losses(TRAININGS[name], tmp_path), kept, rtol=2e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 3.001e-3},
        {"weight_decay": 0.51},
        {"warmup_epochs": 1.2},
        {"ema": 0.5001},
        {"label_smoothing": 0.1001},
        {"crop_area": 0.501},
        {"clip_norm": 0.5},
        {"seed": 1},
    ],
    ids=str,
)
def test_a_small_change_of_the_algorithm_would_be_noticed(change: dict[str, Any], tmp_path: Path) -> None:
    name = "the defaults, smaller"
    kept = np.array(json.loads(FILE.read_text())[name])
    found = np.array(losses({**TRAININGS[name], **change}, tmp_path))
    assert np.abs(found / kept - 1).max() > 4e-6


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        found = {}
        for number, (name, changes) in enumerate(TRAININGS.items()):
            (Path(place) / str(number)).mkdir()
            found[name] = losses(changes, Path(place) / str(number))
    FILE.write_text(json.dumps(found, indent=1) + "\n")
