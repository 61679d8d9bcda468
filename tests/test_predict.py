import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import quiet, save_photo
from PIL import Image

from catdog import predict
from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.data.photo_dataset import PhotoDataset
from catdog.numpy_net import ACTIVATIONS, Layer, softmax
from catdog.predict import Classifier
from catdog.train import train

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]


@pytest.fixture
def run(make_photos: MakePhotos, small_config: MakeConfig) -> Path:
    return train(small_config(make_photos({"cat": 30, "dog": 30}), epochs=8), log=quiet)


def test_of_a_wide_network_few_photos_are_computed_together(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that memory does not grow with the batch; the answers are those of all together."""
    classifier = Classifier.load(run)
    architecture = classifier.card.architecture
    layers = architecture.layers(2)
    widest = max(layer.units for layer in layers)
    pixels = np.random.default_rng(0).integers(0, 256, (10, 3, *architecture.image_size), dtype=np.uint8)
    together = classifier.logits(pixels)
    rows: list[int] = []
    product = Layer.product

    def counted(layer: Layer, x: np.ndarray) -> np.ndarray:
        rows.append(len(x))
        return product(layer, x)

    monkeypatch.setattr(Layer, "product", counted)
    monkeypatch.setattr(predict, "_NUMBERS", 4 * widest - 1)
    np.testing.assert_allclose(classifier.logits(pixels), together, rtol=1e-5, atol=1e-6)
    assert max(rows) == 3
    assert sum(rows) == len(layers) * 2 * 10  # each photo and its mirror image


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_torchs(name: str) -> None:
    from catdog.model import mlp as model

    x = np.linspace(-30, 30, 2001, dtype=np.float32)
    expected = model.ACTIVATIONS[name]()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ACTIVATIONS[name](x), expected, atol=2e-6)


def test_softmax_is_torchs_and_does_not_overflow() -> None:
    logits = np.array([[1e4, 0.0, -1e4], [0.1, 0.2, 0.3]])
    np.testing.assert_allclose(softmax(logits), torch.softmax(torch.from_numpy(logits), dim=1).numpy(), atol=1e-12)


@pytest.mark.parametrize("local", [(), (6, 9)])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_forward_pass_in_numpy_is_the_trainers(
    make_photos: MakePhotos,
    small_config: MakeConfig,
    activation: str,
    batch_norm: bool,
    local: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What training measured on its validation photos, with torch, is what prediction computes for them."""
    from catdog.trainer import loop as trainer

    logits: list[np.ndarray] = []
    evaluate = trainer.Trainer.evaluate

    def kept(self: trainer.Trainer, photos: PhotoDataset) -> tuple[np.ndarray, np.ndarray]:
        labels, found = evaluate(self, photos)
        logits.append(found)
        return labels, found

    monkeypatch.setattr(trainer.Trainer, "evaluate", kept)
    config = small_config(
        make_photos({"cat": 20, "dog": 20}),
        activation=activation,
        batch_norm=batch_norm,
        hidden=(40, 30),
        local=local,
        epochs=2,
    )
    classifier = Classifier.load(train(config, log=quiet))
    from catdog.data.held_out import held_out_photos
    from catdog.data.pixel_cache import decode_all

    photos = held_out_photos(Path(config.photos.data), config)
    found = classifier.logits(decode_all(photos, (6, 8)).pixels)
    best = logits[int(classifier.card.validation["epoch"]) - 1]
    np.testing.assert_allclose(found, best, atol=1e-5)
    assert np.abs(found).max() > 0.01


def test_predict_and_evaluate_give_the_same_probabilities(run: Path, make_photos: MakePhotos) -> None:
    from catdog.data.listing import list_photos
    from catdog.tools.evaluation.measure import evaluate

    listing = list_photos(make_photos({"cat": 7, "dog": 9}, name="new", first=900))
    classifier = Classifier.load(run)
    _, _, evaluated = evaluate(classifier, listing)
    predicted = [list(classifier.predict(listing.path(i)).probabilities.values()) for i in range(len(listing))]
    np.testing.assert_allclose(predicted, evaluated, atol=1e-6)


def test_predicts_new_photos_rightly_in_every_form(
    run: Path, make_photos: MakePhotos, capsys: pytest.CaptureFixture[str]
) -> None:
    new = make_photos({"cat": 6, "dog": 6}, name="new", first=500)
    assert main(["predict", "--run", str(run), str(new)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert sum(line.split()[0] == Path(line.split()[2]).parent.name for line in lines) >= 11

    assert main(["predict", "--run", str(run), "--json", str(new / "cat" / "cat-500.png"), str(new / "dog")]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [set(answer) for answer in answers] == [{"path", "label", "probability", "probabilities", "familiarity"}] * 7
    for answer in answers:
        assert (
            answer["probability"] == max(answer["probabilities"].values()) == answer["probabilities"][answer["label"]]
        )
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert f"{answer['label']} {answer['probability']:.1%}  {answer['path']}" in lines

    assert main(["predict", "--run", str(run), "--csv", str(new)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [f"{row['label']} {float(row['probability']):.1%}  {row['path']}" for row in rows] == lines
    assert all(float(row[row["label"]]) == float(row["probability"]) for row in rows)


def test_a_bad_photo_is_an_error_and_the_others_are_answered(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_photo(tmp_path / "good.png", 1)
    (tmp_path / "bad\nname.jpg").write_bytes(b"no")
    (tmp_path / "empty").mkdir()
    inputs = [str(tmp_path / name) for name in ("bad\nname.jpg", "good.png", "none.jpg", "empty")]
    assert main(["predict", "--run", str(run), "--json", *inputs]) == 1
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["path"] for answer in answers] == inputs
    assert ["error" in answer for answer in answers] == [True, False, True, True]
    assert main(["predict", "--run", str(run), *inputs]) == 1
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 1
    assert "none.jpg" in printed.err
    assert main(["predict", "--run", str(run), "--csv", *inputs]) == 1
    assert [bool(row["error"]) for row in csv.DictReader(io.StringIO(capsys.readouterr().out))] == [
        True,
        False,
        True,
        True,
    ]


@pytest.mark.slow
def test_standard_input_and_names_with_a_dash(run: Path, tmp_path: Path) -> None:
    save_photo(tmp_path / "-dash.png", 1)
    photo = (tmp_path / "-dash.png").read_bytes()
    command = [sys.executable, "-m", "catdog", "predict", "--run", str(run), "--json"]
    by_stdin = subprocess.run([*command, "-"], input=photo, capture_output=True, check=True, cwd=tmp_path)
    by_name = subprocess.run([*command, "--", "-dash.png"], capture_output=True, check=True, cwd=tmp_path)
    one, other = json.loads(by_stdin.stdout), json.loads(by_name.stdout)
    assert (one.pop("path"), other.pop("path")) == ("-", "-dash.png")
    assert one == other


def test_predict_imports_neither_torch_nor_matplotlib(run: Path, tmp_path: Path) -> None:
    save_photo(tmp_path / "photo.png", 1)
    code = (
        "import sys; from catdog.cli.main import main; status = main(sys.argv[1:]);"
        "print({'torch', 'matplotlib', 'torchvision'} & set(sys.modules), status)"
    )
    arguments = ["predict", "--run", str(run), str(tmp_path / "photo.png")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set() 0"


def test_the_newest_run_is_the_default_and_a_name_in_runs_is_enough(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_photo(tmp_path / "photo.png", 1)
    assert main(["predict", str(tmp_path / "photo.png")]) == 0
    assert "cats-dogs, which comes with catdog" in capsys.readouterr().err
    for name, classes in (("old", {"a": 9, "b": 9}), ("new", {"c": 9, "d": 9})):
        train(small_config(make_photos(classes, name=name), out=f"runs/{name}", epochs=1), log=quiet)
    assert main(["predict", "--json", str(tmp_path / "photo.png")]) == 0
    assert set(json.loads(capsys.readouterr().out)["probabilities"]) == {"c", "d"}
    assert main(["predict", "--json", "--run", "old", str(tmp_path / "photo.png")]) == 0
    assert set(json.loads(capsys.readouterr().out)["probabilities"]) == {"a", "b"}
    assert main(["predict", "--run", "none", str(tmp_path / "photo.png")]) == 2


def test_an_svm_gives_probabilities_and_the_line_under_the_answer_has_no_formula(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(small_config(make_photos({"cat": 20, "dog": 20}), loss="svm", epochs=6), log=quiet)
    save_photo(tmp_path / "photo.png", 77, hue=1)
    assert main(["predict", "--run", str(run), str(tmp_path / "photo.png")]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("dog ")
    assert "softmax" not in printed.err
    assert re.search(r"right on \d+\.\d\d% of 4 validation photos", printed.err)


def test_a_photo_on_its_side_is_seen_upright(run: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    upright = Image.fromarray(pixels)
    upright.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(np.rot90(pixels).copy()).save(tmp_path / "sideways.png", exif=exif)
    classifier = Classifier.load(run)
    sideways, straight = (classifier.predict(tmp_path / f"{name}.png") for name in ("sideways", "upright"))
    # It is made small before it is turned, so a level may be rounded the other way.
    assert sideways.probabilities == pytest.approx(straight.probabilities, abs=5e-3)


def test_below_a_probability_the_answer_is_not_sure(
    run: Path, make_photos: MakePhotos, capsys: pytest.CaptureFixture[str]
) -> None:
    new = make_photos({"cat": 1, "dog": 1}, name="new", first=500)
    cat, dog = (Image.open(new / name / f"{name}-500.png") for name in ("cat", "dog"))
    for share in range(1, 20):  # between a cat and a dog it cannot be sure
        Image.blend(cat, dog, share / 20).save(new / f"{share:02}.png")
    folder = str(new)
    assert main(["predict", "--run", str(run), "--json", folder]) == 0
    plain = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    limit = max(answer["probability"] for answer in plain)
    flags = ["predict", "--run", str(run), "--unsure-below", repr(limit), folder]

    assert main([*flags, "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = [{**one, "label": None} if one["probability"] < limit else one for one in plain]
    assert answers == expected and 0 < sum(answer["label"] is None for answer in answers) < 21

    assert main([*flags, "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["label"] for row in rows] == [answer["label"] or "" for answer in answers]

    assert main(flags) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith("not sure (") for line in lines] == [answer["label"] is None for answer in answers]

    for wrong in ("1.5", "-1", "half", "nan"):
        assert main(["predict", "--unsure-below", wrong, folder]) == 2
        assert "from 0 to 1" in capsys.readouterr().err


def test_a_mirrored_network_answers_the_mean_over_a_photo_and_its_mirror_image() -> None:
    averaging = Classifier.load("cats-dogs")
    alone = Classifier(averaging.tensors, replace(averaging.card, average_mirrored=False))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, *averaging.card.architecture.image_size), dtype=np.uint8)
    mean = (alone.logits(pixels) + alone.logits(pixels[..., ::-1])) / 2
    assert averaging.card.average_mirrored
    np.testing.assert_allclose(averaging.logits(pixels), mean, atol=1e-5)


def test_photos_are_answered_in_order_and_only_a_few_batches_are_read_ahead(tmp_path: Path) -> None:
    for number in range(3):
        save_photo(tmp_path / f"{number}.png", number)
    classifier, ahead = Classifier.load("cats-dogs"), 0

    def sources() -> Iterator[tuple[str, str]]:
        nonlocal ahead
        for number in range(700):
            ahead += 1
            yield str(number), str(tmp_path / f"{number % 4}.png")  # of which one is missing

    expected = [classifier.predict(tmp_path / f"{number}.png").probability for number in range(3)]
    for number, (name, answer) in enumerate(classifier.predict_all(sources(), threads=1)):
        ahead -= 1
        assert name == str(number) and ahead <= 4 * 64
        if number % 4 == 3:
            assert "3.png: no such file" in str(answer)
        else:
            assert answer.probability == pytest.approx(expected[number % 4], abs=1e-6)  # type: ignore[union-attr]


def test_an_iteration_that_is_given_up_ends_at_once(tmp_path: Path) -> None:
    save_photo(tmp_path / "photo.png", 1)
    asked: list[int] = []
    sources = ((str(i), str(tmp_path / "photo.png")) for i in range(10**9) if not asked.append(i))  # type: ignore[func-returns-value]
    answers = Classifier.load("cats-dogs").predict_all(sources, threads=1)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert len(asked) <= 4 * 64
