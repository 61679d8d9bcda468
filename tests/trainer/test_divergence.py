"""Numbers that training cannot go on from, and networks that learn nothing."""

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import quiet, save_photo
from test_loop import history

from catdog.base.signals import Interrupted
from catdog.checkpoint.model_file import STATE_FILE
from catdog.checkpoint.saved_model import load_model
from catdog.checkpoint.saved_state import load_state
from catdog.cli import main as cli
from catdog.config.settings import Config
from catdog.errors import CatdogError
from catdog.model.mlp import MLP
from catdog.train import resume, train
from catdog.trainer import loop as trainer
from catdog.trainer.advice import what_is_not_learned
from catdog.trainer.divergence import NotFinite, check_loss, check_state, guessing_loss
from catdog.trainer.losses import SoftmaxLoss, SVMLoss
from catdog.trainer.recovery import MAX_ROLLBACKS

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
EXPLODING: dict[str, Any] = {
    "optimizer": "sgd", "momentum": 0.9, "clip_norm": 0.0, "ema": 0.0, "warmup_epochs": 0.0, "schedule": "constant",
    "activation": "relu", "batch_norm": False, "weight_decay": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("classes", [2, 5])
def test_the_loss_of_guessing(classes: int) -> None:
    """The closed forms are what the losses give where all scores are equal, whatever the labels."""
    logits, labels = torch.full((classes, classes), 0.3), torch.arange(classes)
    softmax, svm = Config().training, Config().training.__class__(loss="svm")
    for training, loss in ((softmax, SoftmaxLoss(0.1)), (svm, SVMLoss()), (svm, SVMLoss(squared=True))):
        assert float(loss(logits, labels)) == pytest.approx(guessing_loss(training, classes))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda model: model.hidden[0].linear.weight.fill_(math.nan), "the weights of hidden layer 1 are the first"),
        (lambda model: model.hidden[1].linear.bias.fill_(math.inf), "the weights of hidden layer 2 are the first"),
        (lambda model: model.classifier.weight.fill_(-math.inf), "the weights of the classifier are the first"),
        (lambda model: model.hidden[1].linear.weight.fill_(3e38), "the outputs of hidden layer 2 are the first"),
        (lambda model: model.classifier.weight.mul_(1e9), "the outputs of the classifier are the largest"),
    ],
)
def test_the_first_layer_with_bad_numbers_is_named(spoil: Callable[[Any], Any], said: str) -> None:
    torch.manual_seed(0)
    model, images = MLP((4, 6), 2, (8, 8), "relu"), torch.rand(3, 3, 4, 6) + 0.5
    check_loss(0.7, math.log(2), model, images)
    with torch.no_grad():
        spoil(model)
    for loss in (math.nan, math.inf, 1e9):
        with pytest.raises(NotFinite, match=said):
            check_loss(loss, math.log(2), model, images)


def test_a_state_with_a_number_that_is_not_finite_is_refused_by_the_name_of_its_tensor() -> None:
    good = {"epoch": 1, "model": {"w": torch.ones(3), "n": torch.ones(2, dtype=torch.int64), "none": torch.zeros(0)}}
    check_state(good)
    bad = {**good, "optimizer": {"state": {0: {"exp_avg": torch.tensor([1.0, math.nan, 2.0])}}}}
    with pytest.raises(NotFinite, match=r"optimizer\.state\.0\.exp_avg holds"):
        check_state(bad)


def test_an_exploding_training_stops_and_says_where(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    config = small_config(make_photos({"cat": 40, "dog": 40}), learning_rate=100.0, epochs=6, **EXPLODING)
    with pytest.raises(
        CatdogError,
        match=r"^in epoch 1, step \d, the loss is (nan|inf|\d.*), and the (outputs|weights) of (hidden layer \d|the "
        r"classifier) are .*; the learning rate was 100, and the last good checkpoint is .*last\.pt, after epoch 0; go "
        r"on with --resume .* --on-nan rollback, or train again with a lower --learning-rate\.$",
    ) as stopped:
        train(config, log=quiet)
    run = Path(config.run.out)
    assert str(stopped.value) in (run / "train.log").read_text()
    check_state(load_state(run / STATE_FILE))


def test_the_command_line_stops_and_can_go_on_by_rolling_back(
    make_photos: MakePhotos, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, run = make_photos({"cat": 40, "dog": 40}), tmp_path / "run"
    flags = (
        f"--data {photos} --out {run} --image-size 6 8 --hidden 16 --epochs 3 --batch-size 8 --optimizer sgd "
        "--learning-rate 30 --clip-norm 0 --ema 0 --warmup-epochs 0 --device cpu --threads 1"
    )
    assert cli.main(["train", *flags.split()]) == 2
    said = capsys.readouterr().err
    assert said.startswith("catdog: in epoch 1")
    assert said.count("\n") == 1
    assert cli.main(["train", "--resume", str(run), "--on-nan", "rollback"]) == 0
    assert load_state(run / STATE_FILE)["progress"]["rollbacks"] > 0
    load_model(run / "model.safetensors")


def test_a_bad_state_is_never_saved(
    make_photos: MakePhotos, small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that go bad in the very last step before a checkpoint, with a loss that shows nothing of it."""
    config = small_config(make_photos({"cat": 20, "dog": 20}), activation="tanh", hidden=(8, 8), batch_norm=False)
    update = trainer.AveragedWeights.update
    steps = 0

    def update_and_spoil(self: Any, model: MLP, step: int) -> None:
        nonlocal steps
        steps += 1
        if steps == 8:
            with torch.no_grad():
                next(model.parameters())[0, 0] = math.inf
        update(self, model, step)

    monkeypatch.setattr(trainer.AveragedWeights, "update", update_and_spoil)
    with pytest.raises(CatdogError, match=r"model\.hidden\.0\.linear\.weight holds numbers that are not finite"):
        train(config, log=quiet)
    state = load_state(Path(config.run.out) / STATE_FILE)
    check_state(state)
    assert state["progress"]["epoch"] == 1
    assert len(history(Path(config.run.out))) == 1


def test_where_the_loss_is_read_now_and_then_the_same_step_is_found(
    make_photos: MakePhotos, small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on a GPU: what is noticed at the end of the epoch is traced to its step by going over the epoch again."""
    photos = make_photos({"cat": 40, "dog": 40})
    step, make = trainer.Trainer.step, trainer.Trainer.__init__

    def step_with_bad_weights(self: Any, *arguments: Any) -> None:
        if (self.state.progress.epoch, self.state.progress.step) == (0, 4):
            with torch.no_grad():
                self.state.model.hidden[1].linear.weight.fill_(3e38)
        step(self, *arguments)

    def make_as_on_a_gpu(self: Any, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        self.checks_each_step = False

    monkeypatch.setattr(trainer.Trainer, "step", step_with_bad_weights)
    with pytest.raises(
        CatdogError, match=r"in epoch 1, step 5, .* outputs of hidden layer 2 .* after epoch 0;"
    ) as direct:
        train(small_config(photos, batch_norm=False), log=quiet)
    monkeypatch.setattr(trainer.Trainer, "__init__", make_as_on_a_gpu)
    lines: list[str] = []
    with pytest.raises(CatdogError) as traced:
        train(small_config(photos, out=str(tmp_path / "run2"), batch_norm=False), log=lines.append)
    assert str(traced.value) == str(direct.value).replace(str(tmp_path / "run"), str(tmp_path / "run2"))
    assert sum("going over it again, looking at each step" in line for line in lines) == 1


def test_rolling_back_halves_the_rate_until_it_is_low_enough(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    photos = make_photos({"cat": 40, "dog": 40})
    lines: list[str] = []
    changes = {"learning_rate": 30.0, "epochs": 6, "on_nan": "rollback", **EXPLODING}
    run = train(small_config(photos, **changes), log=lines.append)
    rollbacks = sum("going on from the start of epoch 1 with half of it" in line for line in lines)
    assert 1 <= rollbacks <= MAX_ROLLBACKS
    assert [row["learning_rate"] for row in history(run)] == [30.0 / 2**rollbacks] * 6
    # From there on it is the training that would have been started with that rate.
    low = {**changes, "learning_rate": 30.0 / 2**rollbacks, "out": str(tmp_path / "low")}
    assert (train(small_config(photos, **low), log=quiet) / "metrics.csv").read_bytes() == (
        run / "metrics.csv"
    ).read_bytes()


def test_rolling_back_ends_after_a_number_of_times(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    config = small_config(make_photos({"cat": 40, "dog": 40}), learning_rate=1e3, on_nan="rollback", **EXPLODING)
    with pytest.raises(
        CatdogError, match=r"the learning rate was 3\.91, after 8 halvings, and the last good checkpoint"
    ):
        train(config, log=quiet)


@pytest.mark.parametrize("stop_after", [1, 7, 13, 20, 30])
@pytest.mark.slow
def test_a_training_that_rolled_back_and_was_stopped_ends_as_if_never_stopped(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    """It goes back twice, in the second epoch, and has checkpoints within epochs where the other has none."""
    photos = make_photos({"cat": 40, "dog": 40})
    changes = {"learning_rate": 0.01, "epochs": 4, "on_nan": "rollback", **EXPLODING}
    step = trainer.Trainer.step

    def step_with_poison(self: Any, *arguments: Any) -> None:
        progress, mean = self.state.progress, self.mean
        if progress.epoch == 1 and progress.step == 4 and progress.rollbacks < 2:
            self.mean = mean * math.nan
        try:
            step(self, *arguments)
        finally:
            self.mean = mean

    monkeypatch.setattr(trainer.Trainer, "step", step_with_poison)
    whole = train(small_config(photos, out=str(tmp_path / "whole"), **changes), log=quiet)
    assert load_state(whole / STATE_FILE)["progress"]["rollbacks"] == 2
    steps = 0
    update = trainer.AveragedWeights.update

    def update_then_stop(self: Any, model: Any, step: int) -> None:
        nonlocal steps
        update(self, model, step)
        steps += 1
        if steps == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(trainer.AveragedWeights, "update", update_then_stop)
    config = small_config(photos, checkpoint_minutes=1e-6, **changes)
    with pytest.raises(Interrupted):
        train(config, log=quiet)
    resume(Path(config.run.out), log=quiet)
    for name in ("model.safetensors", "metrics.csv"):
        assert (Path(config.run.out) / name).read_bytes() == (whole / name).read_bytes()


def notes(run: Path) -> list[str]:
    return [line for line in (run / "train.log").read_text().splitlines() if line.startswith("note:")]


LOPSIDED: dict[str, Any] = {"epochs": 9, "learning_rate": 1e-3, "ema": 0.0, "batch_norm": False}


def look_alikes(folder: Path) -> Path:
    """Ninety cats and ten dogs that nothing tells apart."""
    for i in range(100):
        label = "dog" if i % 10 == 0 else "cat"
        save_photo(folder / "photos" / label / f"{i:02}.png", seed=i)
    return folder / "photos"


def test_a_network_that_calls_everything_one_class_is_reported_once_with_the_cause(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    config = small_config(look_alikes(tmp_path), **LOPSIDED)
    said = notes(train(config, log=quiet))
    assert len([line for line in said if "every validation photo is called cat" in line]) == 1
    assert "90% of the training photos are cat, so try --class-weights balanced" in said[0]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        (
            {"learning_rate": 1e-12, "batch_size": 2},
            "a learning rate that is too low, or labels that the photos do not tell",
        ),
        ({"learning_rate": 1e-12}, "too few steps (27 so far): try a smaller --batch-size"),
        (
            {"learning_rate": 3.0, "optimizer": "adamw"},
            "so the likely cause is a learning rate that is too high: try --learning-rate 0.3",
        ),
    ],
)
def test_a_loss_that_stays_that_of_guessing_is_reported_once_with_the_cause(
    make_photos: MakePhotos, small_config: MakeConfig, changes: dict[str, Any], cause: str
) -> None:
    photos = make_photos({"cat": 40, "dog": 40})
    # Labels that the photos do not tell: half of each class changes places.
    for i in range(20):
        cat, dog = photos / "cat" / f"cat-{i:03}.png", photos / "dog" / f"dog-{i:03}.png"
        cat.rename(photos / "swap.png")
        dog.rename(cat)
        (photos / "swap.png").rename(dog)
    said = notes(train(small_config(photos, epochs=6, hidden=(), **changes), log=quiet))
    guess = [line for line in said if "giving every class the same score costs 0.693" in line]
    assert len(guess) == 1
    assert cause in guess[0]


@pytest.mark.slow
def test_what_was_reported_is_not_reported_again_after_a_stop(
    small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, changes = look_alikes(tmp_path), LOPSIDED
    whole = train(small_config(photos, out=str(tmp_path / "whole"), **changes), log=quiet)
    add, epochs = trainer.Progress.add, 0

    def add_then_stop(self: Any, row: Any) -> bool:
        nonlocal epochs
        epochs += 1
        if epochs in (2, 4):
            os.kill(os.getpid(), signal.SIGTERM)
        return add(self, row)

    monkeypatch.setattr(trainer.Progress, "add", add_then_stop)
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(small_config(photos, **changes), log=quiet)
    with pytest.raises(Interrupted):
        resume(run, log=quiet)
    resume(run, log=quiet)
    assert notes(run) == notes(whole)
    assert len(notes(run)) >= 1
    assert (run / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()


def test_a_network_that_learns_is_left_in_peace(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    run = train(small_config(make_photos({"cat": 40, "dog": 40}), epochs=12), log=quiet)
    assert max(row["val_accuracy"] for row in history(run)) > 0.9
    assert notes(run) == []


def test_one_class_of_validation_photos_may_be_called_by_its_name() -> None:
    """Where there are photos of one class only, calling them all so is right."""
    from test_model_file import CARD

    progress = trainer.Progress(epoch=3, history=[{"train_loss": 0.1}])
    cats = np.zeros(9, np.int64)
    said = what_is_not_learned(progress, Config().training, CARD, cats, cats, is_last=True)
    assert said == []
