"""The network that comes with catdog, and how it is stored."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import save_photo
from safetensors.numpy import load_file, save_file

from catdog.checkpoint import expected_shapes, load_model, save_model
from catdog.cli import main
from catdog.compact import SCALE, compacted, widened
from catdog.config import load_config
from catdog.errors import CatdogError
from catdog.metrics import accuracy_interval
from catdog.predict import TRAINED, Classifier

CARD = TRAINED.with_name("README.md").read_text(encoding="utf-8")
PHOTOS = os.environ.get("CATDOG_PHOTOS", "")  # the folder of the photographs that it was validated on, if they are here


def test_no_weight_is_off_by_more_than_half_a_step() -> None:
    rng = np.random.default_rng(0)
    matrix = (rng.normal(size=(50, 30)) * np.exp(rng.normal(size=(50, 1)) * 3)).astype(np.float32)
    matrix[7] = 0
    tensors = {"a.weight": matrix, "a.bias": rng.normal(size=50).astype(np.float32)}
    stored = compacted(tensors)
    assert stored["a.weight"].dtype == np.int8
    found = widened(stored)
    assert found.keys() == tensors.keys()
    assert np.array_equal(found["a.bias"], tensors["a.bias"])
    half_a_step = np.abs(matrix).max(axis=1, keepdims=True) / 254
    assert (np.abs(found["a.weight"] - matrix) <= half_a_step * 1.0001).all()
    np.testing.assert_array_equal(np.abs(found["a.weight"]).argmax(axis=1)[8:], np.abs(matrix).argmax(axis=1)[8:])


def test_it_is_at_most_six_megabytes_and_says_of_itself_what_its_card_says() -> None:
    assert TRAINED.stat().st_size <= 6_000_000
    tensors, card = load_model(TRAINED)
    assert {name: array.shape for name, array in tensors.items()} == expected_shapes(card)
    assert card.classes == ("cat", "dog")
    about = card.validation
    assert f"| all | {about['accuracy']:.2%} |" in CARD
    assert f"{TRAINED.stat().st_size:,} bytes" in CARD
    low, high = accuracy_interval(round(about["accuracy"] * about["photos"]), int(about["photos"]))
    assert f"{low:.1%} to {high:.1%}" in CARD
    assert card.recipe in CARD
    shares = [float(share) for share in re.findall(r"^\| (?:cat|dog) \| ([\d.]+)% ", CARD, re.MULTILINE)]
    assert np.mean(shares) == pytest.approx(100 * about["accuracy"], abs=0.01)


def test_its_recipe_is_a_command_that_gives_its_architecture() -> None:
    from catdog.cli import _given_fields, build_parser

    card = load_model(TRAINED)[1]
    arguments = build_parser().parse_args(card.recipe.split()[1:])
    config = load_config(None, _given_fields(arguments))
    shape = card.architecture
    assert (config.photos.image_size, config.model.local, config.model.field) == (
        shape.image_size,
        shape.local,
        shape.field,
    )
    assert config.training.epochs >= card.validation["epoch"]


def test_a_new_user_gets_an_answer_from_it_without_torch(tmp_path: Path) -> None:
    save_photo(tmp_path / "photo.png", 1)
    code = (
        "import sys; from catdog.cli import main; status = main(['predict', '--json', 'photo.png']);"
        "print('torch' in sys.modules, status)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    answer, last = done.stdout.splitlines()
    assert last == "False 0"
    assert set(json.loads(answer)["probabilities"]) == {"cat", "dog"}
    assert "cats-dogs, which comes with catdog: " in done.stderr
    assert "validation photos right" in done.stderr
    assert os.listdir(tmp_path) == ["photo.png"]


def test_nothing_is_written_into_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(TRAINED.parent.iterdir())
    for i, name in enumerate(["cat", "dog"] * 3):
        save_photo(tmp_path / "photos" / name / f"{i}.png", i)
    assert main(["evaluate", "--data", "photos", "--json", "--run", "cats-dogs"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 6
    assert main(["evaluate", "--run", "cats-dogs"]) == 2
    assert "--data" in capsys.readouterr().err
    assert main(["explain"]) == 0
    assert (tmp_path / "runs" / "cats-dogs" / "explain" / "network.html").is_file()
    assert sorted(TRAINED.parent.iterdir()) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda t: {name: array for name, array in t.items() if name != "classifier.weight" + SCALE},
        lambda t: t | {"classifier.weight" + SCALE: np.ones(3, np.float32)},
        lambda t: t | {"classifier.weight" + SCALE: np.array([np.nan, 1], np.float32)},
        lambda t: t | {"classifier.weight": t["classifier.weight"].astype(np.int16)},
        lambda t: t | {"more" + SCALE: np.ones(2, np.float32)},
        lambda t: t | {"classifier.weight": t["classifier.weight"] ^ 1},
    ],
)
def test_a_damaged_one_is_refused(tmp_path: Path, damage: object) -> None:
    from safetensors import safe_open

    with safe_open(TRAINED, framework="numpy") as file:
        metadata = file.metadata()
    save_file(damage(load_file(TRAINED)), tmp_path / "m.safetensors", metadata)  # type: ignore[operator]
    with pytest.raises(CatdogError, match="cannot be used as a model"):
        load_model(tmp_path / "m.safetensors")


def test_stored_and_read_again_it_gives_the_same_answers(tmp_path: Path) -> None:
    tensors, card = load_model(TRAINED)
    save_model(tmp_path / "again.safetensors", compacted(tensors), card)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, *card.architecture.image_size), np.uint8)
    again = Classifier.load(tmp_path / "again.safetensors").probabilities(pixels)
    np.testing.assert_allclose(again, Classifier(tensors, card).probabilities(pixels), atol=1e-5)


@pytest.mark.skipif(not PHOTOS, reason="CATDOG_PHOTOS does not say where the photographs are")
def test_it_is_right_as_often_as_its_card_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--run", "cats-dogs", "--data", PHOTOS, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["accuracy"] == pytest.approx(load_model(TRAINED)[1].validation["accuracy"], abs=0.002)
    assert figures["ece"] < 0.03
