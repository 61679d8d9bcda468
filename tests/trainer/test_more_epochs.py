"""A run that is finished, or was stopped, trains on to another number of epochs."""

import math
import os
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import quiet
from processes import Catdog

from catdog.base.signals import Interrupted
from catdog.checkpoint.model_file import STATE_FILE
from catdog.checkpoint.saved_state import load_state
from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.errors import CatdogError
from catdog.runs.metrics_csv import read_metrics
from catdog.train import resume, train
from catdog.trainer.loop import Trainer

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
SAME = ("model.safetensors", "metrics.csv", "weights.csv")


def assert_same(run: Path, whole: Path) -> None:
    for name in SAME:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = load_state(run / STATE_FILE), load_state(whole / STATE_FILE)
    for part in ("model", "average"):
        assert all(torch.equal(ours[part][name], theirs[part][name]) for name in theirs[part])
    ours, theirs = ours["optimizer"]["state"], theirs["optimizer"]["state"]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[number][name], theirs[number][name]) for number in theirs for name in theirs[number])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"schedule": "step", "step_epochs": 1, "warmup_epochs": 3.0, "ema": 0.0},
        {"optimizer": "muon", "hidden": (16, 12, 8), "dropout": 0.2, "mixup": 0.4, "batch_norm": True},
        {"optimizer": "sgd", "early_stopping": 50, "accumulate": 2},
        {"local": (2,), "field": 3, "share_epochs": 3, "image_size": (16, 16)},
    ],
    ids=["plain", "step", "muon", "sgd", "local"],
)
def test_without_a_schedule_that_ends_it_is_the_training_of_so_many_epochs_from_the_start(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, changes: dict[str, Any]
) -> None:
    photos, changes = make_photos({"cat": 20, "dog": 20}), {"schedule": "constant", **changes}
    whole = train(small_config(photos, out=str(tmp_path / "whole"), epochs=4, **changes), log=quiet)
    run = train(small_config(photos, epochs=2, **changes), log=quiet)
    first = (run / "metrics.csv").read_text()
    lines: list[str] = []
    resume(run, log=lines.append, epochs=4)
    assert (run / "metrics.csv").read_text().startswith(first)
    assert_same(run, whole)
    assert lines[0].startswith("training to 4 epochs instead of 2: the learning rate (schedule ")
    assert lines[0].endswith("does not depend on their number, so this ends as a training of 4 epochs from the start.")


def cosine(step: int, warmup: int, total: int, peak: float) -> float:
    return peak * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2


def test_a_cosine_goes_on_as_that_of_the_new_number_of_epochs_and_says_so(
    make_photos: MakePhotos, small_config: MakeConfig
) -> None:
    config = small_config(make_photos({"cat": 20, "dog": 20}), epochs=2)
    run = train(config, log=quiet)
    lines: list[str] = []
    before = read_metrics(run)
    steps = -(-load_state(run / STATE_FILE)["photos"][0] // 8)
    resume(run, log=lines.append, epochs=5)
    assert read_metrics(run)[:2] == before and len(read_metrics(run)) == 5
    rates = [float(line.split(",")[1]) for line in (run / "metrics.csv").read_text().splitlines()[1:]]
    peak = config.training.learning_rate
    assert rates[1] == pytest.approx(cosine(2 * steps - 1, steps, 2 * steps, peak))
    assert rates[2:] == pytest.approx([cosine(n * steps - 1, steps, 5 * steps, peak) for n in (3, 4, 5)])
    next_rate = cosine(2 * steps, steps, 5 * steps, peak)
    assert lines[0] == (
        "training to 5 epochs instead of 2: the learning rate (schedule cosine) is from here on that of a training of "
        f"5 epochs: {next_rate:.2g} next, where it was {rates[1]:.2g}, and zero again at the end."
    )
    assert load_config(run / "config.toml").training.epochs == 5


def test_the_new_number_outlives_a_stop_and_a_training_in_an_epoch_may_be_given_it(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second of 2 epochs; asked for 4 and stopped before a step; resumed without a number."""
    photos = make_photos({"cat": 20, "dog": 20})
    whole = train(small_config(photos, out=str(tmp_path / "whole"), epochs=4, schedule="constant"), log=quiet)
    step, run = Trainer.step, tmp_path / "run"

    def stop(self: Trainer, *arguments: Any) -> None:
        step(self, *arguments)
        if (self.state.progress.epoch, arguments[2]) == (1, 1):
            os.kill(os.getpid(), signal.SIGHUP)

    monkeypatch.setattr(Trainer, "step", stop)
    with pytest.raises(Interrupted):
        train(small_config(photos, epochs=2, schedule="constant"), log=quiet)
    assert load_state(run / STATE_FILE)["progress"]["step"] == 2
    monkeypatch.setattr(Trainer, "fit", interrupt)
    with pytest.raises(Interrupted):
        resume(run, log=quiet, epochs=4)
    monkeypatch.undo()
    lines: list[str] = []
    resume(run, log=lines.append)
    assert not any(line.startswith("training to") for line in lines)
    assert_same(run, whole)


def interrupt(self: Trainer) -> None:
    raise Interrupted(signal.SIGTERM)


def test_a_finished_run_says_so_and_how_to_train_on(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    photos = make_photos({"cat": 9, "dog": 9})
    run = train(small_config(photos, epochs=2, out=str(tmp_path / "my run")), log=quiet)
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file() and path.name != "train.log"}
    photos.rename(tmp_path / "elsewhere")  # nothing of which is needed
    for given in ({}, {"epochs": 2}, {"on_nan": "rollback"}):
        lines: list[str] = []
        assert resume(run, log=lines.append, **given) == run
        assert lines[-1:] == [
            f"{run} is finished: it has trained for 2 epochs; to train on: catdog train --resume '{run}' --epochs 4"
        ]
    assert all((run / name).read_bytes() == content for name, content in before.items())
    (tmp_path / "elsewhere").rename(photos)
    assert main(shlex.split(lines[-1].split("; to train on: catdog ")[1])) == 0
    assert len(read_metrics(run)) == 4


def test_one_that_stopped_early_says_so_and_goes_on_without_early_stopping(
    make_photos: MakePhotos, small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(make_photos({"cat": 9, "dog": 9}), epochs=9, early_stopping=1, learning_rate=1e-9)
    run = train(config, log=quiet)
    done = len(read_metrics(run))
    assert done < 9
    lines: list[str] = []
    resume(run, log=lines.append)
    assert lines == [
        f"{run} is finished: it stopped early, after epoch {done}, as none was better than epoch {done - 1}; to train "
        f"on: catdog train --resume {run} --early-stopping 0"
    ]
    with pytest.raises(CatdogError, match=rf"--resume {run} --epochs 12 --early-stopping 0$"):
        resume(run, log=quiet, epochs=12)
    resume(run, log=quiet, epochs=12, early_stopping=0)
    assert len(read_metrics(run)) == 12


def test_too_few_epochs_are_one_sentence(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    run = train(small_config(make_photos({"cat": 9, "dog": 9}), epochs=3), log=quiet)
    state = (run / STATE_FILE).read_bytes()
    for epochs in (1, 2):
        with pytest.raises(CatdogError, match=rf"has trained 3 epochs already, so --epochs {epochs} leaves nothing"):
            resume(run, log=quiet, epochs=epochs)
    with pytest.raises(CatdogError, match=r"epochs \(--epochs\) must be from 1"):
        resume(run, log=quiet, epochs=0)
    assert (run / STATE_FILE).read_bytes() == state


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (
            ("epochs = 2", "epochs = 7"),
            "epochs = 7 where the checkpoint has 2, .*: catdog train --resume {} --epochs 7$",
        ),
        (
            ('on_nan = "stop"', 'on_nan = "rollback"'),
            'on_nan = "rollback" where the checkpoint has "stop", .*: catdog train --resume {} --on-nan rollback$',
        ),
        (
            ("hidden = [16, 12]", "hidden = [8]"),
            r"hidden = \[8\] where the checkpoint has \[16, 12\], .* new .*: catdog train --config {}/config.toml$",
        ),
        (
            ("epochs = 2", "epoch = 2"),
            "unknown field epoch in .* this goes on without it, by the configuration in last.pt",
        ),
    ],
)
def test_an_edited_config_toml_is_not_passed_over_in_silence(
    make_photos: MakePhotos, small_config: MakeConfig, edit: tuple[str, str], said: str
) -> None:
    run = train(small_config(make_photos({"cat": 9, "dog": 9}), epochs=2), log=quiet)
    text = (run / "config.toml").read_text()
    assert edit[0] in text
    (run / "config.toml").write_text(text.replace(*edit))
    lines: list[str] = []
    resume(run, log=lines.append)
    assert len(lines) == 2 and lines[1].startswith(f"{run} is finished")
    assert re.search(said.replace("{}", re.escape(str(run))), lines[0]), lines[0]
    lines.clear()
    resume(run, log=lines.append, epochs=3)
    assert (run / "config.toml").read_text() == text.replace("epochs = 2", "epochs = 3")
    lines.clear()
    resume(run, log=lines.append)
    assert len(lines) == 1


@pytest.mark.parametrize("flags", [["--learning-rate", "0.1"], ["--hidden", "8"], ["--data", "x"], ["--config", "x"]])
def test_other_flags_say_which_may_be_given(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", "runs/x", "--epochs", "9", *flags]) == 2
    assert capsys.readouterr().err == (
        "catdog: --resume goes on with the run's own configuration, of which only --epochs, --early-stopping, "
        f"--on-nan, --threads and --device can be changed; leave {flags[0]} out, or start a new run.\n"
    )


@pytest.mark.slow
def test_the_command_trains_on(make_photos: MakePhotos, tmp_path: Path) -> None:
    flags = ("--image-size", 6, 8, "--hidden", 5, "--device", "cpu", "--threads", 1, "--out", "runs/x")
    assert Catdog("train", "--data", make_photos({"cat": 9, "dog": 9}), "--epochs", 1, *flags).wait() == 0
    again = Catdog("train", "--resume", "--epochs", 3)
    assert again.wait() == 0
    assert len(read_metrics(Path("runs/x"))) == 3
    finished = Catdog("train", "--resume", "--epochs", 3)
    assert finished.wait() == 0 and finished.output.startswith("runs/x is finished: it has trained for 3 epochs")
