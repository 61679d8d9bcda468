"""Where a training starts that leaves it open."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from catdog.checkpoint.saved_model import load_model
from catdog.config.toml import load_config
from catdog.data.drawn import write_sample
from catdog.runs.locate import TRAINED
from catdog.runs.paths import new_run
from catdog.runs.start import AT_ONCE, choose_start

MakePhotos = Callable[..., Path]


@pytest.fixture(autouse=True)
def _few_photos_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catdog.runs.start.FEW", 8)


def test_few_photos_start_from_cats_dogs_with_its_architecture_and_settings_for_few(make_photos: MakePhotos) -> None:
    photos = make_photos({"cat": 9, "dog": 6})
    config = choose_start(load_config(None, {"data": str(photos)}))
    card = load_model(TRAINED)[1]
    assert config.model.start_from == "cats-dogs"
    assert config.architecture == card.architecture
    for name, value in AT_ONCE.items():
        assert getattr(config.training, name) == value
    config = choose_start(load_config(None, {"data": str(photos), "epochs": 3, "learning_rate": 0.1}))
    assert (config.training.epochs, config.training.learning_rate) == (3, 0.1)


def test_few_photos_of_other_classes_start_there_too_and_see_all_its_layers(
    make_photos: MakePhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catdog.runs.start.FEW", 30)
    photos = make_photos({"ants": 5, "bees": 5, "wasps": 5})
    config = choose_start(load_config(None, {"data": str(photos)}))
    assert (config.model.start_from, config.training.optimizer) == ("cats-dogs", "lbfgs")
    assert config.architecture == replace(load_model(TRAINED)[1].architecture, pool_all=True)
    (feature,) = (layer for layer in config.architecture.layers(3) if layer.pooled)
    assert feature.inputs == 48 + 96 + 192 + 384
    make_photos({"ants": 5, "bees": 5, "wasps": 5}, first=50)
    assert choose_start(load_config(None, {"data": str(photos)})).model.start_from == "none"


def test_what_chose_it_is_said_with_how_to_begin_anew(make_photos: MakePhotos, tmp_path: Path) -> None:
    data = str(make_photos({"cat": 3, "dog": 3}))
    cases: list[tuple[dict[str, str], bool]] = [
        ({}, True),
        ({"start_from": "none"}, False),
        ({"start_from": "cats-dogs"}, False),
    ]
    for number, (more, said) in enumerate(cases):
        lines: list[str] = []
        config = load_config(None, {"data": data, "out": str(tmp_path / str(number)), **more})
        with new_run(config, lines.append) as (chosen, _):
            assert (chosen.model.start_from == "none") == (more == {"start_from": "none"})
        assert any(line.endswith("give --start-from none.") for line in lines) == said


def test_what_is_given_of_steps_is_heeded_by_a_training_in_steps(make_photos: MakePhotos) -> None:
    known, others = make_photos({"cat": 3, "dog": 3}), make_photos({"ants": 3, "bees": 3}, name="others")
    config = choose_start(load_config(None, {"data": str(known), "loss": "svm"}))
    assert config.training.optimizer == "lbfgs"
    config = choose_start(load_config(None, {"data": str(known), "crop_area": 0.9}))
    assert (config.model.start_from, config.training.optimizer, config.training.epochs) == ("cats-dogs", "adamw", 2)
    config = choose_start(load_config(None, {"data": str(others), "epochs": 7}))
    assert (config.model.start_from, config.training.optimizer, config.training.epochs) == ("none", "adamw", 7)


def test_many_photos_drawings_and_a_given_network_start_anew(make_photos: MakePhotos, tmp_path: Path) -> None:
    photos = make_photos({"cat": 8, "dog": 8})
    few = make_photos({"cat": 4, "dog": 4}, name="few")
    write_sample(tmp_path / "drawn", 8, (16, 16))
    for given in (
        {"data": str(photos)},
        {"data": "sample"},
        {"data": str(tmp_path / "drawn")},
        {"data": str(few), "hidden": (16,)},
        {"data": str(few), "image_size": (8, 8)},
        {"data": str(few), "start_from": "none"},
    ):
        config = choose_start(load_config(None, given))
        assert config.model.start_from == "none", given
        plain = load_config(None, {**given, "start_from": "none"})
        assert (config.model, config.training, config.photos) == (plain.model, plain.training, plain.photos)


def test_only_the_photos_to_train_on_count(make_photos: MakePhotos, tmp_path: Path) -> None:
    make_photos({"cat": 4, "dog": 4}, name="split/train")
    make_photos({"cat": 20, "dog": 20}, name="split/val", first=50)
    assert choose_start(load_config(None, {"data": str(tmp_path / "split")})).model.start_from == "cats-dogs"
