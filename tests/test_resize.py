"""The setting `resize`: training, the cache, prediction, explanation and evaluation see a photo the same way."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import quiet, save_photo
from safetensors import safe_open

from catdog.architecture import Resize
from catdog.checkpoint.model_file import MODEL_FILE
from catdog.checkpoint.saved_model import card_from_json, load_model
from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.data.listing import list_photos
from catdog.data.load import load_photos
from catdog.data.photo_dataset import PhotoDataset
from catdog.imagefolder import PhotoFolder
from catdog.images.decoder import decode
from catdog.metrics import log_loss
from catdog.predict import Classifier
from catdog.runs.start import choose_start
from catdog.tools.evaluation.measure import evaluate
from catdog.tools.explain.explanation import explain
from catdog.tools.explain.words import as_text
from catdog.train import resume, train

pytestmark = pytest.mark.usefixtures("no_curves")
MakeConfig = Callable[..., Config]
SIZE = (6, 8)
RESIZES: tuple[Resize, ...] = ("squash", "crop", "pad")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Wide cats and high dogs, in train/ and val/."""
    for split, count in (("train", 16), ("val", 6)):
        for hue, (name, shape) in enumerate((("cat", (10, 40)), ("dog", (40, 10)))):
            for i in range(count):
                save_photo(tmp_path / "photos" / split / name / f"{name}-{split}-{i}.png", i, hue, shape)
    return tmp_path / "photos"


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("cache", ["auto", "none"])
def test_all_see_a_photo_as_training_does(photos: Path, small_config: MakeConfig, resize: Resize, cache: str) -> None:
    run = train(small_config(photos, resize=resize, cache=cache), log=quiet)
    classifier = Classifier.load(run)
    assert classifier.card.resize == load_config(run / "config.toml").photos.resize == resize
    val = list_photos(photos / "val")
    expected = np.stack([decode(path, SIZE, resize).transpose(2, 0, 1) for path in val.files])
    squashed = np.stack([decode(path, SIZE).transpose(2, 0, 1) for path in val.files])
    assert (expected == squashed).all(axis=(1, 2, 3)).any() == (resize == "squash")  # who squashes, is found out

    evaluation, decoded, probabilities = evaluate(classifier, val)
    assert np.array_equal(decoded.pixels, expected)
    validation = classifier.card.validation  # which training computed, with torch
    assert evaluation.accuracy == pytest.approx(validation["accuracy"])
    assert log_loss(np.array(val.labels), classifier.logits(expected)) == pytest.approx(validation["loss"], rel=1e-4)

    for path, row in zip(val.files, probabilities, strict=True):
        assert list(classifier.predict(path).probabilities.values()) == pytest.approx(row, rel=1e-5)
    answers = classifier.predict_all([(path, path) for path in val.files])
    for (_, answer), row in zip(answers, probabilities, strict=True):
        assert list(answer.probabilities.values()) == pytest.approx(row, rel=1e-5)  # type: ignore[union-attr]
    explanation = explain(classifier, val.files[0], "a photo", checks=False)
    assert np.array_equal(explanation.pixels, expected[0])
    assert explanation.final == pytest.approx(probabilities[0], rel=1e-4)
    words = {"squash": "squashed", "crop": "cropped and resized", "pad": "resized and padded"}
    assert f", {words[resize]} to 8 x 6 pixels, is what the network sees" in as_text(explanation)


def test_the_cache_holds_each_way_for_itself(photos: Path, tmp_path: Path) -> None:
    listing, cache = list_photos(photos / "train"), str(tmp_path / "cache")
    for _ in range(2):  # written, then read
        for resize in RESIZES:
            found = load_photos(listing, SIZE, resize, cache_folder=cache).pixels
            for path, one in zip(listing.files, found, strict=True):
                assert np.array_equal(one, decode(path, SIZE, resize).transpose(2, 0, 1))
    assert len(list((tmp_path / "cache").glob("*/*"))) == len(RESIZES)


@pytest.mark.parametrize("resize", RESIZES)
def test_a_photo_folder_of_a_loop_of_ones_own_does_the_same(photos: Path, resize: Resize) -> None:
    folder = PhotoFolder(photos / "val", SIZE, resize=resize)
    expected = torch.from_numpy(decode(folder.samples[3][0], SIZE, resize)).permute(2, 0, 1)
    assert torch.equal(folder[3][0], expected)
    assert torch.equal(folder.__getitems__([3])[0][0], expected)
    assert torch.equal(PhotoDataset(folder.listing, SIZE, resize)[3][0], expected)


def test_another_networks_weights_come_with_its_way_unless_one_is_given(
    photos: Path, small_config: MakeConfig, tmp_path: Path
) -> None:
    run = train(small_config(photos, resize="crop", epochs=1), log=quiet)
    given = {"data": str(photos), "start_from": str(run), "out": str(tmp_path / "second"), "epochs": 1}
    assert choose_start(load_config(None, given)).photos.resize == "crop"
    second = train(choose_start(load_config(None, {**given, "resize": "pad"})), log=quiet)
    assert load_model(second / MODEL_FILE)[1].resize == "pad"
    assert choose_start(load_config(None, {**given, "start_from": "cats-dogs"})).photos.resize == "squash"
    assert choose_start(load_config(None, {**given, "start_from": "none", "resize": "pad"})).photos.resize == "pad"


def test_a_resumed_training_keeps_it(photos: Path, small_config: MakeConfig) -> None:
    run = train(small_config(photos, resize="pad", epochs=1), log=quiet)
    resume(run, quiet, epochs=2)
    assert load_model(run / MODEL_FILE)[1].resize == load_config(run / "config.toml").photos.resize == "pad"


def test_a_model_file_that_does_not_say_squashes_and_one_of_another_way_is_refused(
    photos: Path, small_config: MakeConfig
) -> None:
    run = train(small_config(photos, resize="crop", epochs=1), log=quiet)
    with safe_open(run / MODEL_FILE, "np") as file:
        about = json.loads(file.metadata()["catdog"])
    assert about.pop("resize") == "crop"
    assert card_from_json(run, json.dumps(about))[0].resize == "squash"
    for wrong in ("stretch", 3, ["crop"], None):
        with pytest.raises(Exception, match="cannot be used as a model"):
            card_from_json(run, json.dumps({**about, "resize": wrong}))


def test_data_stats_are_of_what_the_network_sees(
    photos: Path, small_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(small_config(photos, resize="crop", epochs=1), log=quiet)
    flags: list[Any] = ["data", "stats", str(photos), "--image-size", "6", "8", "--json"]
    means = {}
    for resize in RESIZES:
        assert main([*flags, "--resize", resize]) == 0
        means[resize] = json.loads(capsys.readouterr().out)["colours"]["train"]["mean"]
    assert means["crop"] == pytest.approx(load_model(run / MODEL_FILE)[1].mean, rel=1e-5)
    assert means["squash"] != pytest.approx(means["crop"], rel=1e-5)


def test_a_wrong_value_is_one_sentence(
    photos: Path, small_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data", str(photos), "--resize", "cropp"]) == 2
    assert "--resize" in (error := capsys.readouterr().err) and "crop" in error and "Traceback" not in error
    run = train(small_config(photos, resize="crop", epochs=1), log=quiet)
    assert main(["doctor", "--run", str(run), "--resize", "pad"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "6 x 8 (crop); leave --image-size and --resize out" in error
    assert asdict(small_config(photos).photos)["resize"] == "squash"
