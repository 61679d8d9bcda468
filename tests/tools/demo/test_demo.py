"""`catdog demo`: the experiments, and that what is said of them is what was found."""

import csv
import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import quiet
from PIL import Image
from torch.nn import functional as F

from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.data.listing import list_photos
from catdog.data.load import load_photos
from catdog.data.photo_dataset import PhotoDataset
from catdog.model.mlp import MLP
from catdog.tools.demo import command as demo
from catdog.tools.demo.command import DEMOS
from catdog.tools.demo.conclusions import compare, describe_overfitting, margin_share
from catdog.tools.demo.outcome import Outcome, mean_interval, shuffle, shuffle_weights
from catdog.train import train
from catdog.trainer.loop import Trainer

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
SMALL: dict[str, Any] = {**demo.SETTINGS, "image_size": (6, 8), "hidden": (12,), "epochs": 1, "batch_size": 8}


@pytest.fixture
def split_photos(make_photos: MakePhotos, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with train/ and val/, and demos that are small."""
    monkeypatch.setattr(demo, "SETTINGS", SMALL)
    make_photos({"cat": 14, "dog": 14}, "photos/train")
    return make_photos({"cat": 9, "dog": 9}, "photos/val", first=100).parent


def figures(printed: str, name: str) -> tuple[str, ...]:
    """The cells of a line of the table."""
    line = next(line for line in printed.splitlines() if line.startswith(f"with {name} ") and "  " in line)
    return tuple(re.split(r"\s{2,}", line.strip()))


@pytest.mark.parametrize(
    ("name", "variant", "changes", "seeds"),
    [
        ("loss", "an SVM", {"loss": "svm"}, 2),
        ("depth", "three hidden layers", {"hidden": (256, 256, 256)}, 1),
        ("activation", "sigmoid", {"hidden": (256, 256, 256), "activation": "sigmoid"}, 1),
    ],
)
@pytest.mark.slow
def test_the_table_holds_the_figures_of_catdog_train(
    split_photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    variant: str,
    changes: dict[str, Any],
    seeds: int,
) -> None:
    assert main(["demo", name, "--data", str(split_photos), "--seeds", str(seeds), "--out", "pictures"]) == 0
    cells = figures(capsys.readouterr().out, variant)
    apart, trained = [], []
    for seed in range(seeds):
        config = {**SMALL, **changes, "data": str(split_photos), "seed": seed, "out": str(tmp_path / f"run-{seed}")}
        run = train(load_config(None, config), log=quiet)
        with open(run / "metrics.csv", newline="") as file:
            last = list(csv.DictReader(file))[-1]
        apart.append(float(last["val_accuracy"]))
        trained.append(float(last["train_accuracy"]))
    assert cells[1] == f"{np.mean(apart):.1%}"
    assert cells[3] == f"{np.mean(trained):.1%}"
    if seeds == 2:  # Student's t with one degree of freedom is Cauchy's distribution, whose percentiles are tangents
        half = math.tan(0.475 * math.pi) * abs(apart[0] - apart[1]) / 2
        assert cells[2] == f"{max(0, np.mean(apart) - half):.1%} to {min(1, np.mean(apart) + half):.1%}"
    widths = [144, *changes.get("hidden", SMALL["hidden"]), 2]
    assert cells[4] == f"{sum(a * b + b for a, b in itertools.pairwise(widths)):,}"
    with Image.open(f"pictures/demo-{name}.png") as picture:
        assert min(picture.size) > 300


@pytest.mark.parametrize("hidden", [(), (10, 7)])
def test_shuffled_photos_and_weights_give_the_same_scores(hidden: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    images = torch.rand(5, 3, 6, 8)
    order = demo.shuffle_order(images)
    moved = shuffle(images, order)
    for channel in range(3):  # colours stay together, and every photo is shuffled alike
        for photo in (0, 4):
            flat = images[photo, channel].flatten().tolist()
            assert moved[photo, channel].flatten().tolist() == [flat[i] for i in order.tolist()]
    assert sorted(order.tolist()) == list(range(48)) != order.tolist()
    model = MLP((6, 8), 2, hidden)
    scores = model(images)
    torch.testing.assert_close(shuffle_weights(model, order)(moved), scores)
    torch.testing.assert_close(model(images), scores, rtol=0, atol=0)  # it was a copy
    assert (model(moved) - scores).abs().max() > 0.01


def test_a_network_learns_shuffled_photos_as_it_learns_the_photos() -> None:
    """From shuffled first weights, each step of the training is the same but for rounding."""
    torch.manual_seed(0)
    images, labels = torch.randn(16, 3, 6, 8), torch.arange(16) % 2
    order = demo.shuffle_order(images)
    plain = MLP((6, 8), 2, (10,))
    other = shuffle_weights(plain, order)
    losses = []
    for model, photos in ((plain, images), (other, shuffle(images, order))):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(20):
            loss = F.cross_entropy(model(photos), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert losses[20:] == pytest.approx(losses[:20], rel=1e-4)
    assert losses[19] < 0.5 * losses[0]


def test_permute_trains_on_shuffled_photos_and_says_how_much_scores_change(
    split_photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[PhotoDataset, PhotoDataset]] = []
    train_once = demo.train_once

    def watched(config: Config, *sets: PhotoDataset) -> Trainer:
        given.append((sets[0], sets[1]))
        return train_once(config, *sets)

    monkeypatch.setattr(demo, "train_once", watched)
    assert main(["demo", "permute", "--data", str(split_photos), "--seeds", "1"]) == 0
    plain, shuffled = given
    order = np.random.default_rng(0).permutation(48)
    for split, before, after in zip(("train", "val"), plain, shuffled, strict=True):
        pixels = load_photos(list_photos(split_photos / split), (6, 8)).pixels.numpy()
        assert (before.pixels.numpy() == pixels).all()
        assert (after.pixels.numpy().reshape(-1, 3, 48) == pixels.reshape(-1, 3, 48)[:, :, order]).all()
        assert (before.labels == after.labels).all()
    printed = capsys.readouterr().out
    change = re.search(r"changes\s+by more than\s+(\S+)\.", printed)
    assert change is not None
    assert float(change[1]) < 1e-4
    assert figures(printed, "shuffled photos")[2] == "-"
    assert "One seed cannot tell" in printed


def outcome(name: str, *accuracies: float, trained: float = 0.9) -> Outcome:
    values = np.array(accuracies)[:, None]
    return Outcome(name, np.full_like(values, trained), values, trainer=None)  # type: ignore[arg-type]


def test_what_is_said_depends_on_the_figures() -> None:
    a, near, far = outcome("a", 0.80, 0.81, 0.82), outcome("b", 0.81, 0.82, 0.83), outcome("c", 0.60, 0.61, 0.62)
    assert "The intervals overlap" in compare(a, near)
    assert "20.0 points less, and the intervals do not overlap" in compare(a, far)
    assert "20.0 points more" in compare(far, a)
    assert "One seed cannot tell" in compare(outcome("a", 0.9), outcome("b", 0.1))
    assert describe_overfitting([a, far]) == []
    (said,) = describe_overfitting([a, outcome("d", 0.8, 0.81, trained=1.0)])
    assert said.startswith("With d the network")


def test_the_interval_is_students() -> None:
    """The density of Student's t, integrated numerically between the factors used, is 95%."""
    for count in (2, 3, 4, 7, 20):
        values = np.linspace(0.45, 0.55, count)
        interval = mean_interval(values)
        assert interval is not None
        low, high = interval
        if (low, high) == (0, 1):
            continue
        assert low + high == pytest.approx(1)
        t, df = (high - 0.5) / (values.std(ddof=1) / math.sqrt(count)), count - 1
        x = np.linspace(-t, t, 200_001)
        scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
        share = np.trapezoid(scale * (1 + x**2 / df) ** (-(df + 1) / 2), x)
        assert share == pytest.approx(0.95, abs=2e-5)
    assert mean_interval(np.array([0.5])) is None
    assert mean_interval(np.array([0.9, 1.0])) == (pytest.approx(0.95 - 12.706 * 0.05, abs=1e-4), 1.0)


def test_photos_that_the_svm_is_content_with(split_photos: Path) -> None:
    """The share of photos whose own loss is 0."""
    sets = [load_photos(list_photos(split_photos / split), (6, 8)) for split in ("train", "val")]
    trainer = demo.train_once(load_config(None, {**SMALL, "loss": "svm", "epochs": 8}), *sets)
    scores = trainer.evaluate(trainer.train)[1]
    margins = [row[label] - max(np.delete(row, label)) for row, label in zip(scores, sets[0].labels, strict=True)]
    content = sum(margin >= 1 for margin in margins) / len(margins)
    assert margin_share(trainer) == pytest.approx(content)
    assert 0 < content < 1


def test_it_takes_some_of_many_photos(
    split_photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "MOST_PHOTOS", 10)
    assert main(["demo", "loss", "--data", str(split_photos), "--seeds", "1"]) == 0
    assert "10 to train on, 10 kept apart" in capsys.readouterr().out


@pytest.mark.slow
def test_without_data_it_draws(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from catdog.data import drawn as sample

    monkeypatch.setattr(demo, "SETTINGS", SMALL)
    monkeypatch.setattr(sample, "DEFAULT_COUNT", 40)
    assert main(["demo", "loss", "--seeds", "1"]) == 0
    printed = capsys.readouterr()
    assert "drawn cats and dogs, 6 x 8 pixels" in printed.out
    assert "picture in demo-loss.png" in printed.err
    assert [path.name for path in Path().iterdir()] == ["demo-loss.png"]


def test_mistakes_are_told_before_anything_is_trained(
    split_photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "train_once", None)
    Path("file").touch()
    for flags, said in (
        (["--seeds", "0"], "--seeds must be from 1"),
        (["--data", "nowhere"], "there is no folder nowhere"),
        (["--data", str(split_photos), "--out", "file"], "cannot make the folder file"),
        (["--data", str(split_photos), "--out", str(split_photos / "train")], "demo-depth.png lies among the photos"),
    ):
        assert main(["demo", "depth", *flags]) == 2
        assert said in capsys.readouterr().err


def test_every_demo_is_a_choice_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--help"])
    printed = capsys.readouterr().out
    assert "{" + ",".join(DEMOS) + "}" in printed
    assert "catdog demo permute" in printed
