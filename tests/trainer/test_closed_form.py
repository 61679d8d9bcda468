"""The classifier, found at once on layers that stay as they are."""

import csv
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import quiet
from torch.nn import functional as F

from catdog.base.signals import Interrupted
from catdog.checkpoint.model_file import MODEL_FILE
from catdog.checkpoint.saved_model import load_model
from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.data.photo_dataset import PhotoDataset
from catdog.model.build import build_mlp
from catdog.predict import Classifier
from catdog.runs.answers import read_answers
from catdog.train import resume, train
from catdog.trainer import closed_form
from catdog.trainer.closed_form import add_features, logits_of
from catdog.trainer.events import Event, TrainingDone
from catdog.trainer.loop import Trainer

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
LOCAL: dict[str, Any] = {
    "local": (4, 6), "blocks": (1, 0), "shared": True, "pool": True, "hidden": (), "batch_norm": True,
    "image_size": (12, 16), "activation": "relu",
}  # fmt: skip
NETWORKS: dict[str, dict[str, Any]] = {
    "dense": {"hidden": (16, 12), "batch_norm": True},
    "local": LOCAL,
    "torchvision": {"model": "shufflenet_v2_x0_5", "hidden": (1024, 1024, 1024), "image_size": (32, 32)},
}


@pytest.fixture
def first(make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path) -> Callable[..., Path]:
    """first(hidden=(16,)) -> the run of a training on cats and dogs."""

    def make(**changes: Any) -> Path:
        photos = make_photos({"cat": 12, "dog": 12}, name="first photos")
        return train(small_config(photos, out=str(tmp_path / "first"), **{"epochs": 1, **changes}), log=quiet)

    return make


def at_once(run: Path, photos: Path, out: Path, **changes: Any) -> Trainer:
    """Train the classifier on `photos` at once, on the layers of `run`; the trainer as it was at the end."""
    ended: list[Trainer] = []

    def listen(event: Event) -> None:
        if isinstance(event, TrainingDone):
            ended.append(event.trainer)

    settings = {"data": str(photos), "start_from": str(run), "out": str(out), "optimizer": "lbfgs", "device": "cpu"}
    train(load_config(None, {**settings, "threads": 1, **changes}), quiet, [listen])
    return ended[-1]


@pytest.mark.parametrize("loss", ["softmax", "svm"])
@pytest.mark.parametrize("network", [pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS])
def test_only_the_classifier_moves_and_to_where_its_loss_is_least(
    first: Callable[..., Path], make_photos: MakePhotos, tmp_path: Path, network: str, loss: str
) -> None:
    run = first(**NETWORKS[network])
    photos = make_photos({"cat": 9, "owl": 9, "fox": 9})
    changes = {"loss": loss, "squared_hinge": loss == "svm", "pool_all": True} if network == "local" else {"loss": loss}
    trainer = at_once(run, photos, tmp_path / "new", **changes)
    tensors, _ = load_model(tmp_path / "new" / MODEL_FILE)
    before, _ = load_model(run / MODEL_FILE)
    moved = {name for name, array in tensors.items() if not np.array_equal(array, before.get(name, np.zeros(0)))}
    head = {name for name in moved if not name.startswith("familiarity.")}
    assert len(head) == 2, "the classifier's weight and bias"
    rows = csv.DictReader((tmp_path / "new" / "metrics.csv").read_text().splitlines())
    (row,) = rows
    assert float(row["train_loss"]) < (np.log(3) if loss == "softmax" else 2.0)  # of guessing

    # Beside the least, along any direction, the loss and the pull together are larger.
    features, labels = trainer.train.features, trainer.train.labels
    assert features is not None
    x = features.flatten(0, 1).double()
    of_view = labels.repeat_interleave(features.shape[1])
    weight, bias = (torch.from_numpy(tensors[name]).double() for name in sorted(head, reverse=True))
    deviation = x.std(dim=0).clamp_min(1e-6)
    start = torch.zeros_like(weight)
    if weight.shape[1] == before[max(head)].shape[1]:
        start[0] = torch.from_numpy(before[max(head)][0])  # of the cats, which are known
    variance = torch.where(start.any(dim=1, keepdim=True), 0.0001, 0.01)

    def total(weight: torch.Tensor, bias: torch.Tensor) -> float:
        pull = (((weight - start) * deviation).square() / variance).sum() / (2 * len(x))
        return float(trainer.loss.double()(F.linear(x, weight, bias), of_view) + pull)

    least = total(weight, bias)
    rng = torch.Generator().manual_seed(0)
    for _ in range(20):
        step = torch.randn(weight.shape, generator=rng, dtype=torch.float64) / deviation.clamp_min(1e-3) * 1e-2
        assert total(weight + step, bias) > least - 1e-7
        assert total(weight, bias + 1e-2 * torch.randn(3, generator=rng, dtype=torch.float64)) > least - 1e-7


def test_the_answers_from_features_are_those_of_prediction(
    first: Callable[..., Path], make_photos: MakePhotos, tmp_path: Path
) -> None:
    photos = make_photos({"ants": 9, "bees": 9})
    trainer = at_once(first(**LOCAL), photos, tmp_path / "new", pool_all=True)
    model, val = trainer.state.average.model, trainer.val
    labels, logits = logits_of(model, val)
    assert labels.tolist() == val.labels.tolist()
    classifier = Classifier.load(tmp_path / "new")
    np.testing.assert_allclose(logits, classifier.logits(val.pixels.numpy()), rtol=1e-4, atol=1e-5)


def test_a_photo_that_cannot_be_read_has_no_features_and_no_part(first: Callable[..., Path], tmp_path: Path) -> None:
    model = first(**LOCAL)
    _, card = load_model(model / MODEL_FILE)
    pixels = torch.randint(0, 256, (5, 3, 12, 16), dtype=torch.uint8)
    photos = PhotoDataset.from_tensors(pixels, torch.tensor([0, 1, 0, 1, 0]), card.classes)
    network = build_mlp(card.architecture, 2)
    add_features(network, [photos], card, torch.device("cpu"))
    assert photos.features is not None and photos.features.shape == (5, 2, 6)
    photos.features[3] = torch.nan
    labels, logits = logits_of(network, photos)
    assert labels.tolist() == [0, 1, 0, 0]
    assert logits.shape == (4, 2)


@pytest.mark.slow
def test_with_folds_each_photo_is_answered_and_a_stop_changes_nothing(
    first: Callable[..., Path], make_photos: MakePhotos, tmp_path: Path
) -> None:
    photos = make_photos({"ants": 15, "bees": 15})
    run = first(**LOCAL)
    at_once(run, photos, tmp_path / "a", folds=3)
    answers = read_answers(tmp_path / "a")
    assert len(answers.paths) == 30
    assert (answers.called == answers.labels).mean() > 0.6
    resume(tmp_path / "a", quiet)
    at_once(run, photos, tmp_path / "b", folds=3)
    first_one, second = (load_model(tmp_path / name / MODEL_FILE)[0] for name in "ab")
    assert all(np.array_equal(first_one[name], second[name]) for name in first_one)


@pytest.mark.parametrize("folds", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_killed_before_its_epoch_is_done_it_goes_on_from_the_same_network(
    first: Callable[..., Path], make_photos: MakePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folds: int
) -> None:
    photos, run = make_photos({"ants": 15, "bees": 15}), first(**LOCAL)
    at_once(run, photos, tmp_path / "whole", folds=folds)

    class Killed(Exception):
        pass

    def fit_or_be_killed(trainer: Trainer) -> None:
        if trainer.run.name == "stopped":  # not that of a fold
            raise Killed
        fit(trainer)

    fit = closed_form.fit_classifier
    with monkeypatch.context() as patch:
        patch.setattr(closed_form, "fit_classifier", fit_or_be_killed)
        with pytest.raises(Killed):
            at_once(run, photos, tmp_path / "stopped", folds=folds)
    assert not (tmp_path / "stopped" / MODEL_FILE).exists()
    resume(tmp_path / "stopped", quiet)
    whole, stopped = (load_model(tmp_path / name / MODEL_FILE)[0] for name in ("whole", "stopped"))
    assert all(np.array_equal(whole[name], stopped[name]) for name in whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_fold_keeps_the_fold_and_stops(
    first: Callable[..., Path],
    make_photos: MakePhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    photos, run = make_photos({"ants": 15, "bees": 15}), first(hidden=(16, 12))
    at_once(run, photos, tmp_path / "whole", folds=3)
    fit, fitted = closed_form.fit_classifier, 0

    def fit_after_signal(trainer: Trainer) -> None:
        nonlocal fitted
        fitted += 1
        if fitted == 1:
            os.kill(os.getpid(), number)
        fit(trainer)

    monkeypatch.setattr(closed_form, "fit_classifier", fit_after_signal)
    with pytest.raises(Interrupted) as stop:
        at_once(run, photos, tmp_path / "stopped", folds=3)
    assert (stop.value.signal, stop.value.saved, fitted) == (number, True, 1)
    assert [path.name[:6] for path in (tmp_path / "stopped" / "folds").iterdir()] == ["1-of-3"]
    resume(tmp_path / "stopped", quiet)
    assert fitted == 4, "the other two folds, and the network of all photos"
    assert read_answers(tmp_path / "stopped").paths == read_answers(tmp_path / "whole").paths
    whole, stopped = (load_model(tmp_path / name / MODEL_FILE)[0] for name in ("whole", "stopped"))
    assert all(np.array_equal(whole[name], stopped[name]) for name in whole)


def test_it_is_refused_where_more_than_the_classifier_is_trained(
    make_photos: MakePhotos, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    photos = make_photos({"cat": 4, "dog": 4})
    flags = ["--data", str(photos), "--out", str(tmp_path / "out"), "--optimizer", "lbfgs"]
    for more in (["--start-from", "none"], ["--start-from", "cats-dogs", "--train-layers", "2"]):
        assert main(["train", *flags, *more]) == 2
        assert "optimizer lbfgs (--optimizer lbfgs) is for the classifier alone" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
