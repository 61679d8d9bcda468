"""Each illness is made on purpose and must be named; a healthy set-up must be called healthy."""

import contextlib
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import quiet
from PIL import Image
from torch import Tensor, nn

from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.data.listing import list_photos
from catdog.data.photo_dataset import PhotoDataset
from catdog.data.splits import train_and_val
from catdog.errors import CatdogError, SettingsError
from catdog.model.build import build_model
from catdog.model.mlp import MLP
from catdog.predict import Classifier
from catdog.runs.metrics_csv import read_metrics
from catdog.tools.doctor.command import check_copies, examine, sample
from catdog.tools.doctor.history import check_collapse, check_history, trained_model
from catdog.tools.doctor.learning import check_initial_loss, check_overfits, check_shuffled_labels, shuffle_labels
from catdog.tools.doctor.patient import Patient, answers, steps
from catdog.tools.doctor.rate_sweep import check_rate, find_rates, first_epochs, smooth, sweep
from catdog.tools.doctor.units import check_gradients, check_units, check_update_ratio
from catdog.train import train
from catdog.trainer.likely_cause import is_rate_too_high
from catdog.trainer.loop import Trainer
from catdog.trainer.losses import make_loss

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
MakePatient = Callable[..., Patient]
SETTINGS: dict[str, Any] = {"batch_size": 32, "warmup_epochs": 0.0}


@pytest.fixture
def patient_of(make_photos: MakePhotos, small_config: MakeConfig) -> MakePatient:
    """patient_of(learning_rate=...) -> 120 photos of two classes and a small network for them."""
    photos = make_photos({"cat": 60, "dog": 60})

    def make(**changes: Any) -> Patient:
        config = small_config(photos, **{**SETTINGS, **changes})
        return examine(config, *train_and_val(photos, config.photos.val_share, config.run.seed))

    return make


def changed(patient: Patient, change: Callable[[MLP], None]) -> Patient:
    """The patient with the first weights of its network changed."""

    def build(config: Config, classes: int) -> MLP:
        model = build_model(config, classes)
        with torch.no_grad():
            change(model)
        return model

    return replace(patient, build=build)


def all_times(factor: float) -> Callable[[MLP], None]:
    def change(model: MLP) -> None:
        for p in model.parameters():
            p.mul_(factor)

    return change


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"activation": "relu", "loss": "svm"},
        {"activation": "tanh", "optimizer": "sgd", "learning_rate": 0.03, "weight_decay": 0.0},
        {"batch_norm": True, "dropout": 0.2, "class_weights": "balanced", "mixup": 0.2},
        {"hidden": (), "loss": "svm", "squared_hinge": True},
    ],
)
def test_the_healthy_are_called_healthy(patient_of: MakePatient, settings: dict[str, Any]) -> None:
    patient = patient_of(**settings)
    found = [
        check_initial_loss(patient),
        check_gradients(patient),
        check_units(patient.model(), patient.photos(512)[0]),
        check_overfits(patient),
        check_update_ratio(patient),
        check_shuffled_labels(patient),
        check_rate(sweep(patient), patient.config.training.learning_rate),
    ]
    assert not [f for f in found if f.state == "ill"]
    assert all(f.state == "ok" for f in found[:4]), found


@pytest.mark.parametrize("rate", [1e-3, 0.03, 0.3, 1.0])
def test_a_rate_that_training_calls_too_high_is_not_ok_for_the_doctor(
    patient_of: MakePatient, tmp_path: Path, rate: float
) -> None:
    """Whether a rate is too high, by the losses of a training with it, and by the doctor beforehand."""
    patient = patient_of(learning_rate=rate, epochs=3, warmup_epochs=1.0, batch_norm=False)
    finding = check_rate(sweep(patient), rate, first_epochs(patient), patient.guess)
    photos = (patient.train, patient.val, patient.card)
    trainer = Trainer(patient.config, patient.model(), *photos, tmp_path, patient.device, quiet)
    with contextlib.suppress(SettingsError):
        trainer.fit()
    losses = [row["train_loss"] for row in trainer.state.progress.history] or [math.inf]
    if is_rate_too_high(losses, patient.guess):
        assert finding.state != "ok"
    assert is_rate_too_high(losses, patient.guess) == (rate >= 0.3)


def test_with_no_scores_at_all_the_initial_loss_is_that_of_guessing(patient_of: MakePatient) -> None:
    for loss, said in (("softmax", "ln 2 = 0.693"), ("svm", "2 - 1 = 1")):
        finding = check_initial_loss(changed(patient_of(loss=loss), all_times(0)))
        assert f"loss is {math.log(2) if loss == 'softmax' else 1:.3g}, " in finding.message
        assert said in finding.message
        assert finding.state == "warning"  # all photos look the same to it
        assert "all photos look the same" in finding.message


@pytest.mark.parametrize("batch_norm", [False, True])
def test_first_weights_that_are_too_large(patient_of: MakePatient, batch_norm: bool) -> None:
    finding = check_initial_loss(changed(patient_of(batch_norm=batch_norm), all_times(10)))
    assert finding.state == "ill"
    assert "first weights are too large" in finding.advice
    assert ("--batch-norm" in finding.advice) != batch_norm


def test_a_loss_on_another_scale(patient_of: MakePatient) -> None:
    class Divided(nn.Module):
        def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
            return nn.functional.cross_entropy(logits, labels) / len(labels)

    finding = check_initial_loss(replace(patient_of(), loss=lambda training, smoothing, weights: Divided()))
    assert finding.state == "ill"
    assert "scaled wrongly" in finding.advice


def test_the_first_weights_may_be_lucky(patient_of: MakePatient) -> None:
    """On two colours an untrained network may be right more often than not: that is no illness, whatever the seed."""
    assert {check_initial_loss(patient_of(seed=seed)).state for seed in range(8)} == {"ok"}


class _Doubled(torch.autograd.Function):
    """Passes its input on, and twice the gradient back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return 2 * gradients[0]


def test_a_loss_with_a_wrong_gradient(patient_of: MakePatient) -> None:
    class Wrong(nn.Module):
        def __init__(self, right: nn.Module) -> None:
            super().__init__()
            self.right = right

        def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
            return self.right(_Doubled.apply(logits), labels)

    finding = check_gradients(
        replace(patient_of(), loss=lambda training, smoothing, weights: Wrong(make_loss(training, smoothing, weights)))
    )
    assert finding.state == "ill"
    assert "relative error of 5e-01" in finding.message  # |2g - g| / |2g|


def test_a_layer_with_a_wrong_gradient_is_named(patient_of: MakePatient) -> None:
    class Activation(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(_Doubled.apply(x))

    def change(model: MLP) -> None:
        model.hidden[0].activation = Activation()

    finding = check_gradients(changed(patient_of(), change))
    assert finding.state == "ill"
    assert "hidden.0." in finding.message


def test_dead_relus(patient_of: MakePatient) -> None:
    def change(model: MLP) -> None:
        model.hidden[1].linear.bias.sub_(100)  # type: ignore[operator, union-attr]

    ill = changed(patient_of(activation="relu", batch_norm=False), change)
    finding = check_units(ill.model(), ill.photos(512)[0])
    assert finding.state == "ill"
    assert "hidden layer 2, 12 (100.0%) are silent" in finding.message
    assert check_overfits(ill).state == "ill"
    assert "look at the units" in check_update_ratio(ill).advice
    assert check_update_ratio(ill).state == "ill"  # nothing below the dead layer moves but by weight decay


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_saturated_units(patient_of: MakePatient, activation: str) -> None:
    ill = changed(patient_of(activation=activation), all_times(1000))
    finding = check_units(ill.model(), ill.photos(512)[0])
    assert finding.state == "ill"
    assert "saturated" in finding.message


def test_a_learning_rate_that_is_far_too_low(patient_of: MakePatient) -> None:
    ill = patient_of(learning_rate=1e-9)
    assert check_update_ratio(ill).state == "ill"
    assert "next to nothing" in check_update_ratio(ill).message
    assert 1e-5 < float(check_update_ratio(ill).advice.removesuffix(".").split()[-1]) < 1e-2
    finding = check_overfits(ill)
    assert finding.state == "ill"
    assert "--learning-rate 1e-08" in finding.advice
    finding = check_rate(sweep(ill), 1e-9)
    assert finding.state == "ill"
    assert "times less" in finding.message


def test_a_learning_rate_that_is_far_too_high(patient_of: MakePatient) -> None:
    ill = patient_of(learning_rate=1e3)
    assert "far too much" in check_update_ratio(ill).message
    # The colours of the photos are so easy that even this rate tells them apart: so, labels that take some learning.
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 2, len(ill.train)))
    finding = check_overfits(replace(ill, train=PhotoDataset.from_tensors(ill.train.pixels, labels, ill.train.classes)))
    assert finding.state == "ill"
    assert "too high" in finding.advice
    finding = check_rate(sweep(ill), 1e3)
    assert finding.state == "ill"
    assert "explodes" in finding.message


def test_shuffled_labels_say_nothing_of_the_class(patient_of: MakePatient) -> None:
    photos = patient_of().train
    classes = {pixels.numpy().tobytes(): int(label) for pixels, label in zip(photos.pixels, photos.labels, strict=True)}
    turns = [shuffle_labels(photos, turn, seed=0) for turn in range(3)]
    for mixed in turns:
        true = np.array([classes[pixels.numpy().tobytes()] for pixels in mixed.pixels])
        counts = np.histogram2d(true, mixed.labels.numpy(), bins=2)[0]
        assert (counts[:, 0] == counts[:, 1]).all()
    assert torch.equal(turns[0].pixels, turns[1].pixels)
    assert torch.equal(turns[0].labels, 1 - turns[1].labels)
    assert not torch.equal(turns[0].pixels, turns[2].pixels)


def test_labels_that_reach_the_network_past_the_shuffling(patient_of: MakePatient) -> None:
    healthy = patient_of(learning_rate=3e-4)
    assert check_shuffled_labels(healthy).state == "ok"
    taught = healthy.model()
    for _ in steps(healthy.with_training(learning_rate=1e-2), taught, healthy.train, 60):
        pass
    assert (answers(healthy, taught, healthy.val) == healthy.val.labels).double().mean() > 0.9

    # The first weights are those of a network that was trained with the true labels.
    finding = check_shuffled_labels(changed(healthy, lambda model: copy_into(model, taught)))
    assert finding.state == "ill"
    assert "leak" in finding.advice


def copy_into(model: MLP, other: MLP) -> None:
    model.load_state_dict(other.state_dict())


def test_a_loss_that_looks_the_true_labels_up(patient_of: MakePatient) -> None:
    """The colour of a photo tells its class, and this "loss" uses that instead of the labels it is given."""
    healthy = patient_of()
    seen: list[Tensor] = []

    class Spying(MLP):
        def forward(self, images: Tensor) -> Tensor:
            seen.append((images.mean(dim=(2, 3))[:, 0] < images.mean(dim=(2, 3))[:, 1]).long())
            return super().forward(images)

    class Cheating(nn.Module):
        def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
            return nn.functional.cross_entropy(logits, seen[-1])

    finding = check_shuffled_labels(
        replace(
            healthy,
            build=lambda config, classes: Spying(config.photos.image_size, classes, config.model.hidden),
            loss=lambda training, smoothing, weights: Cheating(),
        )
    )
    assert finding.state == "ill"


def test_validation_photos_copied_from_training(make_photos: MakePhotos, tmp_path: Path) -> None:
    make_photos({"cat": 20, "dog": 20}, name="photos/train")
    make_photos({"cat": 5, "dog": 5}, name="photos/val", first=100)
    lists = [list_photos(tmp_path / "photos" / split) for split in ("train", "val")]
    assert check_copies(*lists).state == "ok"
    for i in range(3):
        shutil.copy(tmp_path / f"photos/train/cat/cat-00{i}.png", tmp_path / f"photos/val/cat/copy-{i}.png")
    finding = check_copies(lists[0], list_photos(tmp_path / "photos" / "val"))
    assert finding.state == "ill"
    assert "3 of the 13 validation photos" in finding.message


def test_photos_that_are_all_the_same_cannot_be_learned(patient_of: MakePatient) -> None:
    patient = patient_of()
    same = PhotoDataset.from_tensors(
        torch.full_like(patient.train.pixels, 7), patient.train.labels, patient.train.classes
    )
    finding = check_overfits(replace(patient, train=same))
    assert finding.state == "ill"
    assert "only 1 of the photos differ" in finding.message


def rows(train_loss: list[float], train_accuracy: float = 0.8, val_accuracy: float = 0.78) -> list[dict[str, float]]:
    return [
        {"train_loss": loss, "train_accuracy": train_accuracy, "val_loss": loss, "val_accuracy": val_accuracy}
        for loss in train_loss
    ]


@pytest.mark.parametrize(
    ("history", "states", "said"),
    [
        (rows([0.69, 0.5, 0.3]), ["ok", "ok"], "went from 0.69 to 0.3"),
        (rows([0.70, 0.6931, 0.6930], 0.5, 0.5), ["ill", "ok"], "never left that of guessing, 0.693"),
        (rows([0.69, 0.5, 3.0]), ["ill", "ok"], "worse than guessing"),
        (rows([0.69, 0.3, 0.6]), ["warning", "ok"], "had been at 0.3"),
        (rows([0.69, 0.3, 0.1], 0.95, 0.7), ["ok", "warning"], "25 points learned by heart"),
        (rows([0.69, 0.3, 0.1], 0.99, 0.52), ["ok", "ill"], "nothing else"),
    ],
)
def test_what_a_run_went_through(history: list[dict[str, float]], states: list[str], said: str) -> None:
    found = list(check_history(history, math.log(2), 2))
    assert [f.state for f in found] == states
    assert any(said in f.message for f in found)


def test_a_run_that_calls_everything_one_class(
    make_photos: MakePhotos, small_config: MakeConfig, patient_of: MakePatient
) -> None:
    run = train(small_config(make_photos({"cat": 60, "dog": 60}), epochs=8, learning_rate=1e-2), log=quiet)
    classifier = Classifier.load(run)
    val = patient_of().val
    assert check_collapse(classifier, val).state == "ok"
    images = torch.randn(4, 3, 6, 8)
    logits = trained_model(classifier)(images).detach().numpy()
    assert logits == pytest.approx(classifier.forward(images.flatten(1).numpy()), abs=1e-5)
    classifier.tensors["classifier.bias"][:] = (0, 1000)
    finding = check_collapse(classifier, val)
    assert finding.state == "ill"
    assert f"all {len(val)} validation photos are called dog" in finding.message


@pytest.mark.parametrize(
    "text", ["", "epoch,loss\n1,2\n", "train_loss,train_accuracy,val_loss,val_accuracy\na,b,c,d\n"]
)
def test_metrics_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(CatdogError, match=r"metrics\.csv"):
        read_metrics(tmp_path)


def test_the_smoothed_loss_of_a_straight_line_is_the_line() -> None:
    x = np.linspace(-3, 5, 40)
    values, slopes = smooth(x, 2 - 0.5 * x)
    assert values == pytest.approx(2 - 0.5 * x)
    assert slopes == pytest.approx(np.full(40, -0.5))


def test_the_sweep_is_read_where_the_loss_falls_fastest() -> None:
    rates = np.geomspace(1e-7, 10, 100)
    noise = np.random.default_rng(0).normal(0, 0.01, 100)
    # A logistic descent around 1e-3, steepest there, and an explosion from 0.3 on.
    losses = 0.7 - 0.5 / (1 + np.exp(-3 * np.log10(rates / 1e-3))) + np.where(rates > 0.3, 5.0, 0.0) + noise
    found = find_rates(rates, losses)
    assert found.steepest is not None
    assert found.steepest == pytest.approx(1e-3, rel=0.5)
    assert found.too_high == pytest.approx(0.3, rel=0.25)
    assert check_rate(found, 1e-3).state == "ok"
    assert check_rate(found, 1.0).state == "ill"
    assert check_rate(found, 1e-5).state == "warning"
    assert check_rate(found, 1e-8).state == "ill"
    flat = find_rates(rates, 0.7 + noise)
    assert flat.steepest is None
    assert check_rate(flat, 1e-3).state == "warning"


def test_a_sample_holds_every_class(make_photos: MakePhotos) -> None:
    listing = list_photos(make_photos({"cat": 100, "dog": 20}))
    few = sample(listing, 0.3, seed=0)
    assert few.counts() == [30, 16]
    assert few.paths == sample(listing, 0.3, seed=0).paths
    assert few.paths != sample(listing, 0.3, seed=1).paths
    assert sample(listing, 1.5, seed=0) is listing


FLAGS = ["--image-size", "6", "8", "--hidden", "16", "12", "--device", "cpu", "--threads", "1", "--warmup-epochs", "0"]


@pytest.mark.slow
def test_the_command(make_photos: MakePhotos, capsys: pytest.CaptureFixture[str]) -> None:
    photos = make_photos({"cat": 60, "dog": 60})
    before = sorted(path.relative_to(photos) for path in photos.rglob("*"))
    arguments = ["doctor", "--data", str(photos), *FLAGS, "--learning-rate"]
    assert main([*arguments, "3e-3"]) == 0
    printed = capsys.readouterr().out
    assert "[ILL]" not in printed
    assert printed.count("[ok]") >= 6
    assert "8 checks: 0 ill" in printed
    assert list(Path().iterdir()) == []  # no picture unless asked
    assert main([*arguments, "1e3", "--out", "sweep.png"]) == 1
    printed = capsys.readouterr().out
    assert "[ILL] update ratio" in printed
    assert "[ILL] rate sweep" in printed
    with Image.open("sweep.png") as picture:
        assert picture.format == "PNG"
    assert main([*arguments, "3e-3", "--out", str(photos / "sweep.png")]) == 2
    assert "lies among the photos" in capsys.readouterr().err
    assert sorted(path.relative_to(photos) for path in photos.rglob("*")) == before


@pytest.mark.slow
def test_a_network_of_shared_residual_layers_is_examined(
    make_photos: MakePhotos, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make_photos({"cat": 60, "dog": 60})
    shape = ["--local", "6", "8", "--shared", "--blocks", "1", "1", "--pool", "--hidden", "--batch-norm"]
    flags = ["--image-size", "9", "12", "--device", "cpu", "--threads", "1", "--warmup-epochs", "0"]
    assert main(["doctor", "--data", str(photos), *shape, *flags, "--learning-rate", "3e-3"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "[ILL]" not in printed
    assert "[ok] gradient of " in printed
    assert "hidden layer 6" in printed


@pytest.mark.slow
def test_the_newest_run_is_examined(
    make_photos: MakePhotos, small_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_config(make_photos({"cat": 60, "dog": 60}), epochs=6, out="runs/mine", **SETTINGS)
    run = train(config, log=quiet)
    assert main(["doctor", "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"run       {run}")
    for check in ("loss of the run", "gap of the run", "answers of the run", "units of the run"):
        assert check in printed
    assert (run / "learning_rates.png").is_file()

    header, *epochs = (run / "metrics.csv").read_text().splitlines()
    where = header.split(",").index("train_loss")
    stuck = [",".join([*e.split(",")[:where], "0.6931", *e.split(",")[where + 1 :]]) for e in epochs]
    (run / "metrics.csv").write_text("\n".join([header, *stuck, ""]))
    assert main(["doctor", "--run", "mine", "--threads", "1"]) == 1
    assert "[ILL] loss of the run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--run", "nowhere"], "there is no run nowhere"),
        (["--run", "a", "--config", "b.toml"], "leave --config out"),
        (["--data", "nowhere"], "there is no folder nowhere"),
        (["--data", "photos", "--out", "sweep.jpg"], "must end in .png"),
        (["--epochs", "0"], "epochs (--epochs) must be from 1"),
        (["--dat", "photos"], "did you mean --data"),
    ],
)
def test_what_cannot_be_examined_is_one_sentence(
    arguments: list[str], said: str, make_photos: MakePhotos, capsys: pytest.CaptureFixture[str]
) -> None:
    make_photos({"cat": 5, "dog": 5}).rename("photos")
    assert main(["doctor", *arguments]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_of_a_torchvision_network_it_says_what_to_leave_out_or_to_name(
    make_photos: MakePhotos, small_config: MakeConfig, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    network: dict[str, Any] = {
        "model": "shufflenet_v2_x0_5", "hidden": (1024, 1024, 1024), "image_size": (32, 32),
    }  # fmt: skip
    photos = make_photos({"cat": 5, "dog": 5})
    run = train(small_config(photos, epochs=1, **network), log=quiet)
    begin = "catdog: catdog doctor examines MLPs, and this is a shufflenet_v2_x0_5; "
    capsys.readouterr()
    for arguments, mend in (
        (["--run", str(run)], "name another run with --run"),
        (["--data", str(photos), "--model", "shufflenet_v2_x0_5"], "leave --model out"),
        (["--config", str(run / "config.toml")], "give another --config or --start-from"),
    ):
        assert main(["doctor", *arguments]) == 2
        assert capsys.readouterr().err == f"{begin}{mend}.\n"


def test_a_class_that_training_refuses_is_refused(make_photos: MakePhotos, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_photos({"a\\b": 3, "cat": 3})
    assert main(["doctor", "--data", str(root)]) == 2
    assert "'a\\b' cannot be the name of a class: it holds a backslash; rename that folder." in capsys.readouterr().err
