"""`catdog train --narrate`: what it says is what training does."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import quiet
from torch.nn import functional as F

from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.data.batches import shuffled_batches
from catdog.data.listing import Listing
from catdog.data.load import load_photos
from catdog.data.splits import train_and_val
from catdog.errors import CatdogError
from catdog.model.build import build_model
from catdog.model.mlp import MLP
from catdog.tools.explain.first_step import FirstStep, first_linear, first_step
from catdog.tools.explain.narrate import Narration, in_words
from catdog.train import train
from catdog.trainer.card import make_card
from catdog.trainer.loop import Trainer

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]


def make_trainer(config: Config, folder: Path) -> tuple[Trainer, Listing]:
    train_listing, val_listing = train_and_val(config.photos.data, 0.2, 0)
    photos, val = (load_photos(listing, config.photos.image_size) for listing in (train_listing, val_listing))
    torch.manual_seed(config.run.seed)
    model = build_model(config, len(photos.classes))
    folder.mkdir(exist_ok=True)
    card = make_card(config, photos)
    return Trainer(config, model, photos, val, card, folder, torch.device("cpu"), quiet), train_listing


CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "plain": {
        "optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "label_smoothing": 0.0, "clip_norm": 0.0,
        "activation": "relu", "hidden": (7,), "batch_norm": False,
    },
    "svm": {"loss": "svm", "optimizer": "sgd", "activation": "tanh", "clip_norm": 0.01},
    "squared_svm_of_three": {"loss": "svm", "squared_hinge": True, "activation": "sigmoid"},
    "linear": {"hidden": ()},
    "everything": {
        "batch_norm": True, "dropout": 0.3, "mixup": 0.4, "accumulate": 2, "class_weights": "balanced", "ema": 0.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_step_told_is_the_first_one_taken(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, case: str
) -> None:
    """Weight, gradient, rate and loss are seen in the training itself, at its first step, through torch's own hooks."""
    classes = {"cat": 14, "dog": 18, "fox": 12} if "three" in case else {"cat": 14, "dog": 18}
    config = small_config(make_photos(classes), epochs=1, **CASES[case])
    trainer, listing = make_trainer(config, tmp_path / "watched")
    told = first_step(trainer)
    assert isinstance(trainer.state.model, MLP)
    weight = first_linear(trainer.state.model).weight
    seen: dict[str, float] = {}

    def before_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if not seen:
            assert weight.grad is not None
            loss, _right, count = trainer.state.totals.tolist()
            seen["loss"], seen["rate"] = loss / count, optimizer.param_groups[0]["lr"]
            seen["before"] = float(weight.detach()[told.neuron, told.source])
            seen["clipped"] = float(weight.grad[told.neuron, told.source])

    def after_step(*_: Any) -> None:
        seen.setdefault("after", float(weight.detach()[told.neuron, told.source]))

    trainer.state.optimizer.register_step_pre_hook(before_step)
    trainer.state.optimizer.register_step_post_hook(after_step)
    trainer.fit()
    for name, value in seen.items():
        assert getattr(told, name) == pytest.approx(value, rel=1e-6, abs=1e-12), name
    assert told.gradient != 0
    if config.model.batch_norm and config.model.hidden:  # what the layer itself made of the sum
        assert told.normed == pytest.approx((told.sum - told.mean) / told.deviation, rel=1e-4)
    assert (told.clipped != told.gradient) == (told.norm > (config.training.clip_norm or float("inf")))
    words = in_words(told, trainer, listing.path)
    assert listing.path(told.row) in words.replace("\n   ", " ")
    assert "= 144 numbers" in words.replace("\n   ", " ")
    assert f"{told.after:.7g}" in words


def plain_step(make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path) -> tuple[FirstStep, Trainer, Listing]:
    no_changes = {"flip": False, "crop_area": 1.0, "crop_ratio": 1.0, "brightness": 0.0, "contrast": 0.0}
    config = small_config(
        make_photos({"cat": 14, "dog": 18}), **CASES["plain"], **no_changes, saturation=0.0, warmup_epochs=0.0
    )
    trainer, listing = make_trainer(config, tmp_path / "run")
    return first_step(trainer), trainer, listing


def test_its_numbers_are_those_of_a_step_written_out_in_float64(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    """Without random changes: the photo's own pixels, one hidden layer, the chain rule by hand, w' = w - lr * dE/dw."""
    s, trainer, _ = plain_step(make_photos, small_config, tmp_path)
    w1, b1, w2, b2 = (p.detach().double() for p in trainer.state.model.parameters())
    labels = s.targets.labels
    rows = shuffled_batches(len(trainer.train), trainer.steps_per_epoch, seed=0, epoch=0)[0]
    assert s.row == int(rows[0])
    pixels = trainer.train.pixels[rows].double()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (trainer.card.mean, trainer.card.std))
    x = ((pixels - mean) / std).flatten(1)
    z = x @ w1.T + b1
    logits = z.clamp(min=0) @ w2.T + b2
    by_logits = (torch.softmax(logits, 1) - F.one_hot(labels, 2)) / len(labels)
    by_z = by_logits @ w2 * (z > 0)
    hidden = z.clamp(min=0)
    by_w1, by_b1, by_w2, by_b2 = by_z.T @ x, by_z.sum(0), by_logits.T @ hidden, by_logits.sum(0)
    n = s.neuron
    for told, expected in (
        (s.sum, z[0, n]),
        (s.out, hidden[0, n]),
        (s.photo_loss, -torch.log_softmax(logits, 1)[0, labels[0]]),
        (s.loss, F.nll_loss(torch.log_softmax(logits, 1), labels)),
        (s.by_out, (by_logits @ w2)[0, n]),
        (float(s.by_sum[0]), by_z[0, n]),
        (s.product, by_z[0, n] * x[0, s.source]),
        (s.gradient, by_w1[n, s.source]),
        (s.norm, torch.cat([g.flatten() for g in (by_w1, by_b1, by_w2, by_b2)]).norm()),
        (s.after, w1[n, s.source] - s.rate * by_w1[n, s.source]),
    ):
        assert told == pytest.approx(float(expected), rel=2e-4, abs=1e-7)
    w1, b1 = w1 - s.rate * by_w1, b1 - s.rate * by_b1
    w2, b2 = w2 - s.rate * by_w2, b2 - s.rate * by_b2
    after = (x @ w1.T + b1).clamp(min=0) @ w2.T + b2
    assert s.loss_after == pytest.approx(float(F.cross_entropy(after, labels)), rel=1e-5)
    assert s.loss_after < s.loss


def test_the_sums_it_prints_come_out(make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path) -> None:
    """Every `expression = number` of plain arithmetic, computed again from the digits printed."""
    s, trainer, listing = plain_step(make_photos, small_config, tmp_path)
    words = re.sub(r"\n +", " ", in_words(s, trainer, listing.path))
    number = r"\(?-?[\d.]+(?:e-?\d+)?\)?"
    found = re.findall(rf"({number}(?: [-+*/] {number})+) = ({number})", words)
    assert len(found) >= 4
    for expression, result in found:
        assert eval(expression) == pytest.approx(float(result), rel=2e-3, abs=1e-4), expression
    assert f"w' = {s.before:.7g} - {s.rate:.6g} * (" in words
    assert "less by" in words


def test_the_loss_after_is_of_the_same_photos_changed_and_units_dropped_alike(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    """A step of no length leaves the loss as it is, whatever chance had a hand in it."""
    photos = make_photos({"cat": 14, "dog": 18})
    config = small_config(photos, learning_rate=1e-12, dropout=0.5, mixup=0.4, accumulate=2, batch_norm=True)
    s = first_step(make_trainer(config, tmp_path / "run")[0])
    assert s.loss_after == pytest.approx(s.loss, rel=1e-6)


def test_a_step_that_raises_the_loss_is_not_called_progress(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    s, trainer, listing = plain_step(make_photos, small_config, tmp_path)
    assert "more by" in in_words(replace(s, loss_after=s.loss + 1), trainer, listing.path)


@pytest.mark.parametrize("changes", [{}, {"dropout": 0.3, "batch_norm": True, "mixup": 0.4, "ema": 0.0}])
def test_telling_does_not_change_the_training(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, changes: dict[str, Any]
) -> None:
    photos = make_photos({"cat": 20, "dog": 20})
    lines: dict[bool, list[str]] = {True: [], False: []}
    models = []
    for narrate, said in lines.items():
        config = small_config(photos, out=str(tmp_path / f"run-{narrate}"), **changes)
        run = train(config, log=said.append, listeners=[Narration()] if narrate else [])
        models.append((run / "model.safetensors").read_bytes())
        assert ("The first step of this training" in (run / "train.log").read_text()) == narrate
    assert models[0] == models[1]
    steps = [float(line.split()[-1]) for line in lines[True] if line.startswith("step ")]
    sizes = [len(part) for part in np.array_split(range(len(train_and_val(photos, 0.2, 0)[0])), len(steps))]
    assert max(sizes) <= config.training.batch_size
    mean = float(np.average(steps, weights=sizes))
    epoch = next(line for line in lines[True] if line.startswith("epoch 1/3"))
    assert float(epoch.split()[3]) == pytest.approx(mean, abs=2e-4)  # the epoch's own loss is that of its steps


def test_an_unreadable_photo_does_not_shift_the_names(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    photos = make_photos({"cat": 20, "dog": 20})
    for broken in sorted((photos / "cat").iterdir())[:6]:
        broken.write_bytes(b"not a photo")
    said: list[str] = []
    config = small_config(photos, max_skipped=0.9, epochs=1)
    train(config, log=said.append, listeners=[Narration()])
    words = re.sub(r"\n +", " ", "\n".join(said))
    match = re.search(r"numbers\. (\S+) \((cat|dog)\) is squashed.*?red (\d+)", words)
    assert match is not None
    from catdog.images.decoder import decode

    assert Path(match[1]).parent.name == match[2]
    assert int(decode(match[1], (6, 8))[0, 0, 0]) == int(match[3])


def test_it_is_a_flag_of_a_new_training_alone(make_photos: MakePhotos, capsys: pytest.CaptureFixture[str]) -> None:
    photos = make_photos({"cat": 12, "dog": 12})
    flags = ["--data", str(photos), "--image-size", "6", "8", "--hidden", "5", "--epochs", "1", "--threads", "1"]
    assert main(["train", *flags, "--device", "cpu", "--out", "run", "--narrate"]) == 0
    assert "w' = " in capsys.readouterr().out
    assert "narrate" not in Path("run/config.toml").read_text()
    assert main(["train", "--resume", "run", "--narrate"]) == 2
    assert "--narrate tells the first step of a new training" in capsys.readouterr().err


def test_neurons_that_see_a_window_are_not_told_of(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    with pytest.raises(CatdogError, match=r"leave out --local and --model\.$"):
        train(small_config(make_photos({"cat": 9, "dog": 9}), local=(2,)), log=quiet, listeners=[Narration()])
