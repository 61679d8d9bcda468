"""How familiar a photo is: the features, the distance, and what `catdog predict` makes of it."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import quiet
from networks import arrays_of, network
from PIL import Image
from sklearn.decomposition import PCA

from catdog.architecture import Architecture
from catdog.checkpoint.model_card import ModelCard
from catdog.checkpoint.model_file import MODEL_FILE, save_model
from catdog.checkpoint.saved_model import load_model
from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.familiarity import distances, familiarity, feature_count, photo_statistics
from catdog.predict import Classifier
from catdog.train import train
from catdog.trainer.fit_familiarity import fit, with_familiarity

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
CARD = ModelCard(
    architecture=Architecture((16, 12), (7,), "relu", batch_norm=True, local=(3, 4), shared=True, blocks=(1, 0)),
    classes=("cat", "dog"),
    mean=(120.0, 110.0, 100.0),
    std=(60.0, 61.0, 62.0),
    resize_filter="bilinear",
    average_mirrored=True,
    loss="softmax",
    temperature=1.5,
)
DENSE = replace(CARD, architecture=Architecture((40, 36), (5,), "gelu"))


def correlated(count: int, size: int, seed: int) -> np.ndarray:
    mixing = np.random.default_rng(0).normal(size=(size, size)) * 1.5 ** -np.arange(size)
    return 5 + np.random.default_rng(seed).normal(size=(count, size)) @ mixing.T


def some_pixels(card: ModelCard, count: int = 5) -> np.ndarray:
    size = (count, 3, *card.architecture.image_size)
    return np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)


def test_distances_are_mahalanobis_under_the_covariance_of_probabilistic_pca() -> None:
    train_features, others = correlated(400, 12, 1), correlated(50, 12, 2)
    found = distances(fit(train_features, others), others)
    mean, deviation = train_features.mean(axis=0), train_features.std(axis=0)
    pca = PCA(6).fit((train_features - mean) / deviation)  # half as many as there are features
    z = (others - mean) / deviation
    expected = np.einsum("ni,ij,nj->n", z, pca.get_precision(), z) * 400 / 399  # sklearn divides by N - 1
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_of_few_photos_few_directions_are_taken_and_a_constant_feature_does_not_decide() -> None:
    train_features = np.column_stack([correlated(12, 30, 1), np.full(12, 7.0)])
    others = np.column_stack([correlated(20, 30, 2), np.full(20, 7.0 + 1e-5)])
    arrays = fit(train_features, others)
    assert arrays["familiarity.directions"].shape == (3, 31)
    without = fit(train_features[:, :-1], others[:, :-1])
    np.testing.assert_allclose(
        distances(arrays, others) / distances(without, others[:, :-1]), 31 / 30, rtol=0.05
    )  # the rest's mean variance is over one more
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_familiarity_is_the_share_of_held_out_photos_that_are_farther() -> None:
    held_out, new = correlated(1500, 12, 2), 5 + 1.3 * (correlated(300, 12, 3) - 5)
    arrays = fit(correlated(500, 12, 1), held_out)
    farther = distances(arrays, held_out)[None] > distances(arrays, new)[:, None]
    found = familiarity(arrays, new)
    np.testing.assert_allclose(found, farther.mean(axis=1), atol=0.006)  # between two of 201 quantiles
    assert (familiarity(arrays, held_out) < 0.05).mean() == pytest.approx(0.05, abs=0.002)
    assert familiarity(arrays, new * 100).max() == 0


@pytest.mark.parametrize("average_mirrored", [False, True])
def test_features_are_the_channels_means_at_length_1_in_the_last_layer_of_each_grid(average_mirrored: bool) -> None:
    model, pixels = network(CARD.architecture, 2), some_pixels(CARD)
    seen: list[torch.Tensor] = []
    for index in (2, 3):  # hidden 1 to 3 stand on one grid, hidden 4 on the next
        model.hidden[index].register_forward_hook(lambda _module, _inputs, outputs: seen.append(outputs))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (CARD.mean, CARD.std))
    with torch.no_grad():
        images = (torch.from_numpy(pixels) - mean) / std
        ways = [images, images.flip(3)] if average_mirrored else [images]
        logits = torch.stack([model(way) for way in ways]).mean(dim=0)
    unit = [(out.reshape(5, -1, c).mean(1), c) for out, c in zip(seen, (3, 4) * len(ways), strict=True)]
    lengths = [means / means.norm(dim=1, keepdim=True) for means, _ in unit]
    by_way = [torch.cat(lengths[2 * way : 2 * way + 2], dim=1) for way in range(len(ways))]
    expected = torch.stack(by_way).mean(dim=0)

    card = replace(CARD, average_mirrored=average_mirrored)
    classifier = Classifier(arrays_of(model), card)
    found_logits, features = classifier.logits_and_features(pixels)
    np.testing.assert_allclose(found_logits, logits.numpy(), atol=1e-5)
    np.testing.assert_array_equal(found_logits, classifier.logits(pixels))
    np.testing.assert_allclose(features, expected.numpy(), atol=1e-5)


def test_a_photos_statistics_are_those_of_its_colours_and_of_neighbours_at_several_sizes() -> None:
    plain = np.broadcast_to(np.array([200, 100, 50], np.uint8)[:, None, None], (1, 3, 16, 16))
    (found,) = photo_statistics(plain)
    np.testing.assert_allclose(found[:3], np.array([350 / 3, 100, -50]) / 255, rtol=1e-5)
    np.testing.assert_allclose(found[3:], np.log(0.02), rtol=1e-4)  # nothing varies

    stripes = np.zeros((1, 3, 16, 16), np.uint8)
    stripes[..., 1::2] = 255  # neighbours in a row differ by all, until two are made one
    (found,) = photo_statistics(stripes)
    sizes = found[6:].reshape(4, 2, 3)  # 16, 8, 4 and 2 pixels; down, across; brightness, two colours
    assert sizes[0, 1, 0] == pytest.approx(np.log(1.02))
    rest = sizes.copy()
    rest[0, 1, 0] = np.log(0.02)
    np.testing.assert_allclose(rest, np.log(0.02), rtol=1e-4)

    pixels = np.random.default_rng(1).integers(0, 256, (5, 3, 32, 64), dtype=np.uint8)
    np.testing.assert_allclose(photo_statistics(pixels), photo_statistics(pixels[..., ::-1]), atol=1e-5)
    fine = photo_statistics(pixels.repeat(2, axis=2).repeat(2, axis=3))  # twice as large, and as rough when halved
    np.testing.assert_allclose(fine, photo_statistics(pixels), atol=1e-5)


@pytest.mark.parametrize(
    "architecture",
    [
        CARD.architecture,
        replace(CARD.architecture, pool=True, hidden=()),
        DENSE.architecture,
        *(Architecture(size, (4,), "relu") for size in [(1, 1), (2, 3), (7, 90), (96, 64)]),
    ],
)
def test_there_are_as_many_features_as_the_model_file_is_checked_for(architecture: Architecture) -> None:
    classifier = Classifier(arrays_of(network(architecture, 2)), replace(CARD, architecture=architecture))
    found = classifier.logits_and_features(some_pixels(classifier.card))[1]
    assert found.shape == (5, feature_count(architecture))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_a_model_file_keeps_it_however_the_weights_are_stored(tmp_path: Path, storage: str) -> None:
    tensors, pixels = arrays_of(network(CARD.architecture, 2)), some_pixels(CARD, 60)
    features = Classifier(tensors, CARD).logits_and_features(pixels)[1]
    tensors, card = with_familiarity(tensors, replace(CARD, storage=storage), features[:30], features[30:])
    save_model(tmp_path / "m", tensors, card)
    found, read = load_model(tmp_path / "m")
    assert read == card and found.keys() == tensors.keys()
    exact, kept = familiarity(tensors, features), familiarity(found, features)
    assert np.unique(exact).size > 20
    np.testing.assert_allclose(kept, exact, atol={"float32": 0, "float16": 0.01, "int8": 0.05}[storage])
    again = with_familiarity(found, read, features[:30], features[30:])  # fitted anew
    assert again[0].keys() == found.keys() and again[1] == card


def test_predict_calls_strangers_unfamiliar(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make_photos({"cat": 60, "dog": 60})
    run = train(small_config(photos, epochs=2, image_size=(16, 16), local=(4, 6), val_share=0.3), log=quiet)
    black = tmp_path / "black.png"
    Image.new("RGB", (20, 24)).save(black)
    familiar = [str(path) for path in make_photos({"cat": 40, "dog": 40}, name="new", first=500).rglob("*.png")]
    asked = ["predict", "--run", str(run), str(black), *familiar]

    assert main([*asked, "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    shares = [answer["familiarity"] for answer in answers]
    assert shares[0] < 0.05 and answers[0]["label"] in ("cat", "dog")
    assert all(0 <= share <= 1 for share in shares)
    assert np.median(shares[1:]) > 0.2  # 0.5, but for the few photos that it is fitted on

    assert main(asked) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"unfamiliar ({answers[0]['label']} {answers[0]['probability']:.1%})  {black}"
    assert [line.startswith("unfamiliar (") for line in lines] == [share < 0.05 for share in shares]
    assert main([*asked, "--unfamiliar-below", "0"]) == 0
    assert "unfamiliar" not in capsys.readouterr().out
    assert main([*asked, "--unfamiliar-below", "0.3", "--unsure-below", "1"]) == 0
    starts = [line.split("(")[0] for line in capsys.readouterr().out.splitlines()]
    assert starts == ["unfamiliar " if share < 0.3 else "not sure " for share in shares]

    assert main([*asked, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["familiarity"]) for row in rows] == shares
    assert [answer.familiarity for answer in map(Classifier.load(run).predict, asked[3:6])] == pytest.approx(
        shares[:3], abs=1e-4
    )


def test_with_few_photos_to_validate_on_training_says_why_there_is_none(
    make_photos: MakePhotos, small_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, lines = make_photos({"cat": 30, "dog": 30}), list[str]()
    run = train(small_config(photos, epochs=1, val_share=0.2), log=lines.append)
    (said,) = (line for line in lines if "unfamiliar" in line)
    count = int(load_model(run / MODEL_FILE)[1].validation["photos"])
    assert count < 20 and said.endswith(f"there are {count}")
    one = str(next(photos.rglob("*.png")))
    assert main(["predict", "--run", str(run), "--json", one]) == 0
    assert json.loads(capsys.readouterr().out)["familiarity"] is None
    assert main(["predict", "--run", str(run), one]) == 0
    assert "unfamiliar" not in capsys.readouterr().out


def test_the_network_of_the_package_knows_what_is_no_photograph() -> None:
    classifier = Classifier.load("cats-dogs")
    size = classifier.card.architecture.image_size
    noise = np.random.default_rng(0).integers(0, 256, (3, *size), dtype=np.uint8)
    plain = np.stack([np.full((3, *size), level, np.uint8) for level in (0, 128, 255)])
    features = classifier.logits_and_features(np.concatenate([plain, noise[None]]))[1]
    assert familiarity(classifier.tensors, features).max() == 0
