"""A training that begins with the weights of another network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import quiet
from numpy.typing import NDArray

from catdog.checkpoint.model_file import MODEL_FILE, load_model
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.train import train
from catdog.trainer.events import Event, TrainingStarted

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
NETWORKS: dict[str, dict[str, Any]] = {
    "dense": {"hidden": (16, 12), "batch_norm": True},
    "local": {"local": (4, 6), "hidden": (12,), "image_size": (12, 16)},
    "residual": {
        "local": (4, 6), "blocks": (1, 0), "shared": True, "pool": True, "hidden": (), "batch_norm": True,
        "image_size": (12, 16), "activation": "relu",
    },
}  # fmt: skip


@pytest.fixture
def first(make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path) -> Callable[..., Path]:
    """first(hidden=(16,)) -> the run of a training on cats, dogs and owls."""

    def make(**changes: Any) -> Path:
        photos = make_photos({"cat": 12, "dog": 12, "owl": 12}, name="first photos")
        return train(small_config(photos, out=str(tmp_path / "first"), **changes), log=quiet)

    return make


class Beginning:
    """A listener that keeps the weights and the plan with which a training begins."""

    def __init__(self) -> None:
        self.weights: dict[str, NDArray[Any]] = {}
        self.lines: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrainingStarted):
            state = event.trainer.state.model.state_dict()
            self.weights = {name: tensor.numpy().copy() for name, tensor in state.items()}


def start_from(run: Path | str, photos: Path, out: Path, **changes: Any) -> Beginning:
    """Train on `photos` into `out`, from the weights of `run`."""
    settings = {
        "data": str(photos), "start_from": str(run), "out": str(out), "batch_size": 8, "device": "cpu", "epochs": 1,
        "threads": 1,
    }  # fmt: skip
    beginning = Beginning()
    train(load_config(None, {**settings, **changes}), beginning.lines.append, [beginning])
    return beginning


@pytest.mark.parametrize("kind", NETWORKS)
def test_weights_are_copied_to_the_bit_and_rows_of_the_classifier_by_name(
    first: Callable[..., Path], make_photos: MakePhotos, tmp_path: Path, kind: str
) -> None:
    before, old = load_model(first(**NETWORKS[kind]) / MODEL_FILE)
    photos = make_photos({"ant": 8, "dog": 8, "cat": 8}, name="other photos")
    after = start_from(tmp_path / "first", photos, tmp_path / "run").weights
    _, new = load_model(tmp_path / "run" / MODEL_FILE)
    assert new.architecture == old.architecture
    assert load_config(tmp_path / "run" / "config.toml").architecture == old.architecture
    assert (new.mean, new.std, new.resize_filter) == (old.mean, old.std, old.resize_filter)
    assert (old.classes, new.classes) == (("cat", "dog", "owl"), ("ant", "cat", "dog"))
    for name, array in before.items():
        if name.startswith("classifier"):
            np.testing.assert_array_equal(after[name][1:], array[:2])
        else:
            np.testing.assert_array_equal(after[name], array)
    assert not any(np.array_equal(after["classifier.weight"][0], row) for row in before["classifier.weight"])
