"""The network that comes with catdog, the compact files that it is one of, and the command that makes them.

With CATDOG_PHOTOS=DIR, the folder of the photographs that it was trained and validated on, its figures are measured
again.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import drawn_photos
import numpy as np
import pytest
import torch
from conftest import quiet, save_photo
from safetensors.numpy import load_file, save

from box import LIMIT, add_to_the_box, box, recipe
from catdog.architecture import Architecture
from catdog.checkpoint.model_card import ModelCard
from catdog.checkpoint.model_file import checksum_of, save_model
from catdog.checkpoint.quantize import dequantize, quantize
from catdog.checkpoint.saved_model import expected_shapes, load_model
from catdog.cli.main import build_parser, main
from catdog.config.schema import fields
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.errors import CatdogError
from catdog.familiarity import familiarity_shapes
from catdog.metrics import accuracy_interval
from catdog.model.build import build_model
from catdog.model.mlp import MLP
from catdog.predict import Classifier
from catdog.runs.locate import TRAINED, find_model
from catdog.train import train

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
PACKAGE = TRAINED.parent.parent
CARD = ModelCard(
    architecture=Architecture((16, 16), (7, 5), "gelu", batch_norm=True, local=(2, 3), field=4),
    classes=("cat", "dog"),
    mean=(120.0, 110.0, 100.0),
    std=(60.0, 61.0, 62.0),
    resize_filter="bilinear",
    average_mirrored=False,
    loss="softmax",
    temperature=1.5,
    mean_colours=((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    train_counts=(10, 12),
    validation={"accuracy": 0.75, "loss": 0.5, "photos": 8, "epoch": 3},
    storage="int8",
    recipe="catdog train --data PHOTOS",
)


def tensors() -> dict[str, np.ndarray]:
    """Weights whose rows differ a hundredfold in size."""
    rng = np.random.default_rng(0)
    found = {}
    for name, shape in expected_shapes(CARD).items():
        array = rng.normal(size=shape)
        if len(shape) == 2:
            array *= 10 ** rng.uniform(-1.5, 0.5, (shape[0], 1)) / np.sqrt(shape[1])
        found[name] = (np.abs(array) + 0.5 if name.endswith("running_var") else array).astype(np.float32)
    return found


def is_matrix(array: np.ndarray) -> bool:
    return array.ndim > 1


@pytest.mark.parametrize("shape", [(6, 50), (1, 1), (4, 3, 20)])
def test_no_weight_in_8_bits_is_off_by_more_than_half_a_step_of_its_row(shape: tuple[int, ...]) -> None:
    array = (np.random.default_rng(1).standard_cauchy(shape) * 0.1).astype(np.float32)
    found = dequantize(quantize({"w": array}, "int8"))["w"]
    rows, exact = found.reshape(len(array), -1).astype(np.float64), array.reshape(len(array), -1).astype(np.float64)
    step = np.abs(exact).max(axis=1, keepdims=True) / 127
    assert found.dtype == np.float32 and found.shape == array.shape
    assert (np.abs(rows - exact) <= step * (0.5 + 1e-4)).all()  # float32 rounds 127 steps a little
    assert np.abs(rows - exact).max() > 0.1 * step.min() or array.size == 1


def test_rows_of_zeros_and_of_the_tiniest_numbers_stay_so() -> None:
    smallest = np.float32(2.0**-149)
    array = np.array([[0, 0, 0], [190, -190, 3], [1, 0, -1]], np.float32) * smallest
    found = dequantize(quantize({"w": array}, "int8"))["w"]
    assert np.abs(found).max() <= 190 * smallest
    assert not found[0].any()


def test_a_weight_in_16_bits_is_the_nearest_of_11_significant_bits() -> None:
    array = (np.random.default_rng(2).standard_cauchy((40, 50)) * 10.0 ** np.arange(-6, 2).repeat(5)[:, None]).clip(
        -6e4, 6e4
    )
    array = array.astype(np.float32)
    found = dequantize(quantize({"w": array}, "float16"))["w"]
    bound = np.maximum(np.abs(array) / 2048, 2.0**-25)
    assert (np.abs(found - array) <= bound).all()
    assert (np.abs(found - array) > bound / 10).any()


@pytest.mark.parametrize(("storage", "bytes_a_weight"), [("int8", 1), ("float16", 2), ("float32", 4)])
def test_a_compact_file_is_small_and_reads_back_as_float32(tmp_path: Path, storage: str, bytes_a_weight: int) -> None:
    card = replace(CARD, storage=storage)
    save_model(tmp_path / "m", tensors(), card)
    found, read = load_model(tmp_path / "m")
    assert read == card
    stored = load_file(tmp_path / "m")
    assert found.keys() == tensors().keys()
    for name, array in tensors().items():
        assert found[name].dtype == np.float32 and found[name].shape == array.shape
        assert stored[name].itemsize == (bytes_a_weight if is_matrix(array) else 4)
        if not is_matrix(array):
            assert np.array_equal(found[name], array)
    assert any("linear.weight.scale" in name for name in stored) == (storage == "int8")


@pytest.mark.parametrize("storage", ["int8", "float16"])
def test_the_answers_of_a_compact_file_are_torchs_with_the_stored_weights(tmp_path: Path, storage: str) -> None:
    """What is stored is multiplied out here, and put into the network that training uses."""
    save_model(tmp_path / "m", tensors(), replace(CARD, storage=storage))
    stored = {name: array.astype(np.float32) for name, array in load_file(tmp_path / "m").items()}
    state = {
        name: torch.from_numpy(array * stored[name + ".scale"][:, None] if name + ".scale" in stored else array)
        for name, array in stored.items()
        if not name.endswith(".scale")
    }
    shape = CARD.architecture
    model = MLP(shape.image_size, 2, shape.hidden, "gelu", batch_norm=True, local=shape.local, field=shape.field)
    model.load_state_dict(state, strict=False)  # but for num_batches_tracked
    pixels = np.random.default_rng(3).integers(0, 256, (9, 3, 16, 16), dtype=np.uint8)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (CARD.mean, CARD.std))
    with torch.no_grad():
        logits = model.eval()((torch.from_numpy(pixels).float() - mean) / std).numpy()
    found = Classifier.load(tmp_path / "m").logits(pixels)
    np.testing.assert_allclose(found, logits, rtol=0, atol=1e-5)
    before = Classifier(tensors(), CARD).logits(pixels)
    assert np.abs(found - before).max() > 1e-4, "the weights before they were stored would do as well"


def damaged(storage: str = "int8", header: dict[str, Any] | None = None, **arrays: np.ndarray | None) -> bytes:
    """A file with a right checksum, in which some fields of the header and some arrays (None: none) are others."""
    stored = {**quantize(tensors(), storage), **{name.replace("__", "."): array for name, array in arrays.items()}}
    kept = {name: np.ascontiguousarray(array) for name, array in stored.items() if array is not None}
    about = {"format_version": 1, **asdict(CARD), "storage": storage, **(header or {})}
    about["crc32"] = checksum_of(json.dumps(about, sort_keys=True), kept)
    return save(kept, metadata={"catdog": json.dumps(about)})


DAMAGED: dict[str, Callable[[], bytes]] = {
    "no scale": lambda: damaged(classifier__weight__scale=None),
    "a scale too few": lambda: damaged(classifier__weight__scale=np.ones(1, np.float32)),
    "a scale for each weight": lambda: damaged(classifier__weight__scale=np.ones((2, 5), np.float32)),
    "scales of another type": lambda: damaged(classifier__weight__scale=np.ones(2, np.float64)),
    "a scale that is no number": lambda: damaged(classifier__weight__scale=np.array([1, np.nan], np.float32)),
    "an infinite scale": lambda: damaged(classifier__weight__scale=np.array([1, np.inf], np.float32)),
    "a scale of zero": lambda: damaged(classifier__weight__scale=np.array([1, 0], np.float32)),
    "a negative scale": lambda: damaged(classifier__weight__scale=np.array([1, -1], np.float32)),
    "weights that become infinite": lambda: damaged(
        classifier__weight__scale=np.array([1, 3e38], np.float32), classifier__weight=np.full((2, 5), 100, np.int8)
    ),
    "a scale for a bias": lambda: damaged(classifier__bias__scale=np.ones(2, np.float32)),
    "a bias in 8 bits": lambda: damaged(classifier__bias=np.ones(2, np.int8)),
    "a matrix of another shape": lambda: damaged(classifier__weight=np.ones((5, 2), np.int8)),
    "a matrix without a sign": lambda: damaged(classifier__weight=np.ones((2, 5), np.uint8)),
    "a matrix that is not small": lambda: damaged(classifier__weight=np.ones((2, 5), np.float32)),
    "a header that says 16 bits": lambda: damaged(header={"storage": "float16"}),
    "a header that says 32 bits": lambda: damaged(header={"storage": "float32"}),
    "a header that says 4 bits": lambda: damaged(header={"storage": "int4"}),
    "a header that says a number": lambda: damaged(header={"storage": 8}),
    "16 bits with scales": lambda: damaged("float16", classifier__weight__scale=np.ones(2, np.float32)),
    "infinite in 16 bits": lambda: damaged("float16", classifier__weight=np.full((2, 5), np.inf, np.float16)),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_compact_file_is_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(DAMAGED[kind]())
    with pytest.raises(CatdogError, match="cannot be used as a model") as refused:
        load_model(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("storage", ["int8", "float16"])
def test_a_compact_file_is_refused_only_where_it_is_damaged(tmp_path: Path, storage: str) -> None:
    """The cases above are refused for what is wrong with each; and here no bit may flip."""
    path = tmp_path / "m"
    whole = damaged(storage)
    path.write_bytes(whole)
    arrays, _ = load_model(path)
    rng = np.random.default_rng(4)
    for at in rng.integers(0, len(whole), 150):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.integers(8))]) + whole[at + 1 :])
        try:
            found, _ = load_model(path)
        except CatdogError:
            continue
        assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


def test_a_run_is_boxed_with_the_figures_of_what_is_stored(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make_photos({"cat": 60, "dog": 60})
    run = train(small_config(photos, epochs=1, learning_rate=1e-4, batch_norm=True, flip=False), log=quiet)
    for bits, storage in ((8, "int8"), (16, "float16")):
        out = tmp_path / f"small-{bits}.safetensors"
        said = box(str(run), bits, out, source="pictures of noise")
        card = Classifier.load(out).card
        assert card.storage == storage
        assert_consistent(card)
        assert 0.1 < card.validation["accuracy"] < 0.95, "it must be wrong now and then"
        beside = tmp_path / f"with-its-configuration-{bits}"
        beside.mkdir()
        shutil.copy(out, beside / "model.safetensors")
        shutil.copy(run / "config.toml", beside)
        assert main(["evaluate", "--run", str(beside), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        for name, key in (("accuracy", "accuracy"), ("loss", "loss"), ("ece", "ece"), ("auc", "auc"), ("photos", "n")):
            assert card.validation[name] == pytest.approx(found[key], abs=1e-9)
        page = out.with_suffix(".md").read_text()
        assert f"| all | {found['accuracy']:.2%} |" in page and card.recipe in page and "pictures of noise" in page
        assert f"{found['accuracy']:.2%} of {found['n']:,} right" in said
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "small-16.md", "small-16.safetensors", "small-8.md", "small-8.safetensors",
    ]  # fmt: skip


def assert_consistent(card: ModelCard) -> None:
    """The figures of a card follow from each other."""
    v = card.validation
    right = {name: v[f"accuracy/{name}"] * v[f"photos/{name}"] for name in card.classes}
    assert sum(v[f"photos/{name}"] for name in card.classes) == v["photos"]
    assert sum(right.values()) / v["photos"] == pytest.approx(v["accuracy"])
    low, high = accuracy_interval(round(sum(right.values())), int(v["photos"]))
    assert (v["accuracy_low"], v["accuracy_high"]) == pytest.approx((low, high))
    # Where both answer alike both are right or wrong.
    assert abs(v["accuracy"] - v["full_accuracy"]) <= 1 - v["agreement"] + 1e-9
    assert 0 <= v["ece"] <= 1 and v["loss"] >= 0


def test_boxing_says_what_is_missing(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_photos({"cat": 20, "dog": 20})
    run, out = train(small_config(photos, epochs=1), log=quiet), tmp_path / "m.safetensors"
    with pytest.raises(CatdogError, match="boxed already"):
        box("cats-dogs", out=out)
    monkeypatch.setattr("box.LIMIT", 12_000)
    with pytest.raises(CatdogError, match="train a smaller network"):
        box(str(run), out=out)
    monkeypatch.undo()
    photos.rename(tmp_path / "moved")
    with pytest.raises(CatdogError, match="there is no folder"):
        box(str(run), out=out)
    assert not list(tmp_path.glob("m.*"))
    assert "right" in box(str(run), out=out, data=str(tmp_path / "moved"))


def test_to_a_boxed_network_familiarity_is_added_and_its_weights_stay(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    photos, out = make_photos({"cat": 30, "dog": 30}), tmp_path / "m.safetensors"
    box(str(train(small_config(photos, epochs=1), log=quiet)), out=out)  # too few photos to know any stranger by
    weights, page = load_file(out), out.with_suffix(".md").read_text()
    more = make_photos({"cat": 90, "dog": 90}, name="more")
    said = add_to_the_box(more, "| a | table |", out)
    found, card = load_file(out), load_model(out)[1]
    assert found.keys() - weights.keys() == {*familiarity_shapes(0, 0, 0), "familiarity.directions.scale"}
    assert all(found[name].tobytes() == array.tobytes() for name, array in weights.items())
    assert card.familiarity == (len(found["familiarity.directions"]), len(found["familiarity.distances"]))
    assert str(out.stat().st_size)[-3:] in said

    once = out.with_suffix(".md").read_text()
    start, rest = once.split("## What is like nothing it was trained on")
    section, end = rest.split("## What it cannot do")
    assert "unfamiliar (cat 87.0%)" in section and section.endswith("| a | table |\n\n")
    without = f"{start}## What it cannot do{end}".replace(f"{out.stat().st_size:,} bytes", "SIZE")
    assert without == re.sub(r"[\d,]+ bytes", "SIZE", page, count=1)
    whole = out.read_bytes()
    add_to_the_box(more, "| a | table |", out)
    assert (out.read_bytes(), out.with_suffix(".md").read_text()) == (whole, once)


def test_the_recipe_gives_the_configuration_again() -> None:
    flags: dict[str, Any] = {"hidden": (5, 6), "flip": False, "batch_norm": False, "loss": "svm", "image_size": (8, 9)}
    flags["learning_rate"] = 0.00123
    config = load_config(None, {**flags, "data": "photos", "out": "there"})
    words = recipe(config).split()
    assert words[:4] == ["catdog", "train", "--data", "PHOTOS"]
    given = vars(build_parser().parse_args(words[1:]))
    for name, value in flags.items():
        assert (tuple(given[name]) if isinstance(value, tuple) else given[name]) == value
    assert set(given) == {"verb", "handler", "config", "resume", "or_resume", "narrate", "data", *flags}


def test_the_packages_own_network_is_small_and_its_card_is_consistent() -> None:
    assert TRAINED.stat().st_size <= LIMIT
    card = load_model(TRAINED)[1]
    assert card.classes == ("cat", "dog")
    assert card.storage in ("int8", "float16")
    assert_consistent(card)
    page = (TRAINED.parent / "README.md").read_text()
    v = card.validation
    rows = {"all": ("accuracy", "photos"), **{name: (f"accuracy/{name}", f"photos/{name}") for name in card.classes}}
    for name, (accuracy, photos) in rows.items():
        low, high = accuracy_interval(round(v[accuracy] * v[photos]), int(v[photos]))
        assert f"| {name} | {v[accuracy]:.2%} | {low:.2%} to {high:.2%} | {v[photos]:,.0f} |" in page
    assert f"    {card.recipe}\n" in page
    assert f"{sum(card.train_counts):,} for training" in page
    assert f"{TRAINED.stat().st_size:,} bytes" in page


def test_its_recipe_is_a_command_that_gives_its_architecture() -> None:
    card = load_model(TRAINED)[1]
    given = vars(build_parser().parse_args(card.recipe.split()[1:]))
    config = load_config(None, {name: value for name, value in given.items() if name in fields()})
    model, shape = build_model(config, 2).state_dict(), expected_shapes(replace(card, familiarity=()))
    assert {name: tuple(t.shape) for name, t in model.items() if not name.endswith("num_batches_tracked")} == shape
    assert config.training.epochs >= card.validation["epoch"]


def test_an_installation_holds_the_network() -> None:
    """What the build is told to take along is there, and all of it."""
    told = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["setuptools"]
    taken = {path for pattern in told["package-data"]["catdog"] for path in PACKAGE.glob(pattern)}
    assert taken == {TRAINED, TRAINED.parent / "README.md", PACKAGE / "py.typed"}


@pytest.fixture
def package_untouched() -> Any:
    """The folder of the packaged network is the same before and after."""

    def there() -> dict[str, tuple[int, bytes]]:
        return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in TRAINED.parent.iterdir()}

    before = there()
    yield
    assert there() == before


def test_a_new_user_asks_at_once(tmp_path: Path, package_untouched: None) -> None:
    """In a process of its own, in an empty folder; and without torch, which would take seconds."""
    photo = drawn_photos.save(tmp_path / "photo.jpg", "cat", 5)
    (tmp_path / "empty").mkdir()
    code = (
        "import sys; from catdog.cli.main import main; status = main(sys.argv[1:]); assert 'torch' not in sys.modules;"
    )
    command = [sys.executable, "-c", code + "sys.exit(status)", "predict", str(photo)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "empty")
    assert done.returncode == 0, done.stderr
    answer = Classifier.load(TRAINED).predict(photo)
    assert done.stdout == f"unfamiliar ({answer.label} {answer.probability:.1%})  {photo}\n"  # being drawn
    (line,) = done.stderr.splitlines()
    v = Classifier.load(TRAINED).card.validation
    assert line.startswith("cats-dogs, which comes with catdog, trained on 16,000 photographs: ")
    assert f"right on {v['accuracy']:.2%} of {v['photos']:,.0f} validation photos" in line
    assert list((tmp_path / "empty").iterdir()) == []


def test_its_name_asks_for_it_unless_a_run_has_that_name(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_photo(tmp_path / "photo.png", 1)
    train(small_config(make_photos({"a": 9, "b": 9}), out="runs/other", epochs=1), log=quiet)
    Path("cats-dogs").mkdir()  # of photos, say
    for run, classes in (([], {"a", "b"}), (["--run", "cats-dogs"], {"cat", "dog"})):
        assert main(["predict", "--json", *run, str(tmp_path / "photo.png")]) == 0
        assert set(json.loads(capsys.readouterr().out)["probabilities"]) == classes
    Path("runs/other").rename("runs/cats-dogs")
    assert find_model("cats-dogs") == Path("runs/cats-dogs/model.safetensors")


@pytest.mark.slow
def test_it_is_evaluated_and_explained_without_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], package_untouched: None
) -> None:
    photos = drawn_photos.fill(tmp_path / "photos")
    photo = str(photos / "cat" / "cat.0.jpg")
    assert main(["evaluate"]) == 2
    assert "give a folder of yours: catdog evaluate --data photos" in capsys.readouterr().err
    assert main(["evaluate", "--data", str(photos)]) == 0
    printed = capsys.readouterr()
    assert "cats-dogs, which comes with catdog" in printed.out
    assert Classifier.load().card.recipe in printed.out
    assert printed.out.startswith("accuracy ")
    report = Path("runs/cats-dogs/evaluation/index.html")
    introduction, *lines = printed.err.splitlines()
    assert introduction.startswith("cats-dogs, which comes with catdog, trained on 16,000 photographs: ")
    assert lines == [
        f"report in {report}",
        f"to look at it, open this file in a browser: {report.resolve().as_uri()}",
    ]
    # No run of it is here, so there is nothing to say of its training, nor of what is missing.
    text = report.read_text(encoding="utf-8")
    for words in ("metrics.csv", "cannot read", "How it learned", "config.toml", "linear classifier"):
        assert words not in text
    # Named by its path it is the same network, and the package no place to write to either.
    for command in (["explain", photo], ["explain", "--run", os.path.relpath(TRAINED)]):
        assert main(command) == 0
        assert "cats-dogs, which comes with catdog, trained on " in capsys.readouterr().err
    assert {path.name for path in Path().iterdir()} == {"runs"}
    assert {path.name for path in Path("runs/cats-dogs").iterdir()} == {"evaluation", "explain"}
    # What was written there is not taken for a run.
    assert find_model("cats-dogs") == find_model(None) == TRAINED


def test_it_is_no_run_to_go_on_with_or_to_examine(capsys: pytest.CaptureFixture[str]) -> None:
    for command, words in (
        (["train", "--resume"], "there is no run in runs/ to resume"),
        (["train", "--resume", "cats-dogs"], "cats-dogs comes with catdog and cannot be resumed"),
        (["doctor", "--run", "cats-dogs"], "no history of its training to examine"),
    ):
        assert main(command) == 2
        assert words in capsys.readouterr().err


@pytest.mark.skipif("CATDOG_PHOTOS" not in os.environ, reason="CATDOG_PHOTOS names no folder of photographs")
def test_on_the_photographs_it_is_as_good_as_its_card_says(capsys: pytest.CaptureFixture[str]) -> None:
    folder = os.environ["CATDOG_PHOTOS"]
    assert main(["evaluate", "--run", "cats-dogs", "--data", folder, "--json"]) == 0
    found, v = json.loads(capsys.readouterr().out), load_model(TRAINED)[1].validation
    assert found["n"] == v["photos"]
    # On another processor, sums are rounded otherwise: an answer on the edge may be another one.
    assert found["accuracy"] == pytest.approx(v["accuracy"], abs=2.5 / found["n"])
    assert found["ece"] == pytest.approx(v["ece"], abs=0.002)
    for i, name in enumerate(found["classes"]):
        assert found["confusion"][i][i] == pytest.approx(v[f"accuracy/{name}"] * v[f"photos/{name}"], abs=2.5)
