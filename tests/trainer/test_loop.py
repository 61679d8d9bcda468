import csv
import errno
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import quiet
from safetensors.numpy import load_file

from catdog.base.signals import Interrupted
from catdog.checkpoint.saved_state import load_state
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.data.splits import train_and_val
from catdog.errors import CatdogError
from catdog.predict import Classifier
from catdog.train import resume, train
from catdog.trainer import loop as trainer_module
from catdog.trainer.loop import Trainer

MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
no_curves = pytest.mark.usefixtures("no_curves")


def history(run: Path) -> list[dict[str, float]]:
    with open(run / "metrics.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_a_run_learns_and_leaves_its_files(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    lines: list[str] = []
    config = small_config(make_photos({"cat": 40, "dog": 40, "fox": 40}), epochs=12)
    run = train(config, log=lines.append)
    rows = history(run)
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert max(row["val_accuracy"] for row in rows) > 0.9
    assert {path.name for path in run.iterdir()} == {
        "README.md", "config.toml", "curves.png", "last.pt", "metrics.csv", "model.safetensors", "previous.pt",
        "tensorboard", "train.log", "weights.csv",
    }  # fmt: skip
    assert load_config(run / "config.toml", {"out": str(run)}) == config
    printed = "\n".join(lines)
    assert "144 weights and a bias" in printed
    assert str(run / "model.safetensors") in lines[-1]
    best = max(rows, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    card = Classifier.load(run).card
    assert card.validation["epoch"] == best["epoch"]
    assert card.validation["accuracy"] == best["val_accuracy"]


@no_curves
def test_what_is_printed_says_how_many_photos_are_kept_apart_and_which_epoch_is_the_best_so_far(
    make_photos: MakePhotos, small_config: MakeConfig
) -> None:
    photos = make_photos({"cat": 20, "dog": 20})
    apart = train_and_val(photos, 0.3, seed=0)[1]
    Path(apart.path(0)).write_bytes(b"no photo")
    lines: list[str] = []
    run = train(small_config(photos, val_share=0.3, epochs=4, max_skipped=0.5), log=lines.append)
    printed, rows = "\n".join(lines), history(run)
    assert re.search(rf"^ +val   {len(apart)} \(.*\), {len(apart) / 40:.0%} of all, kept apart", printed, re.MULTILINE)
    assert "skipped 1 photo that cannot be read (0 to train on, 1 to validate on)" in printed
    assert f"of {len(apart) - 1} validation photos right" in printed
    epochs = [line for line in printed.splitlines() if line.startswith("epoch ")]
    for i, (line, row) in enumerate(zip(epochs, rows, strict=True)):
        assert f"accuracy {row['train_accuracy']:.2%}  val loss {row['val_loss']:.4f}" in line
        before = [(-other["val_accuracy"], other["val_loss"]) for other in rows[:i]]
        is_best = not before or (-row["val_accuracy"], row["val_loss"]) < min(before)
        assert (f"val accuracy {row['val_accuracy']:.2%} best " in line) == is_best


@no_curves
def test_the_same_seed_gives_the_same_bytes(make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path) -> None:
    photos = make_photos({"cat": 20, "dog": 20})
    runs = [
        train(small_config(photos, out=str(tmp_path / name), dropout=0.3, mixup=0.4, seed=seed), log=quiet)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    first, again, other = ((run / "model.safetensors").read_bytes() for run in runs)
    assert first == again
    assert first != other
    assert (runs[0] / "metrics.csv").read_bytes() == (runs[1] / "metrics.csv").read_bytes()


@no_curves
def test_a_saved_configuration_repeats_the_run(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    run = train(small_config(make_photos({"cat": 12, "dog": 12}), loss="svm", hidden=(5,)), log=quiet)
    again = load_config(run / "config.toml")
    assert (train(again, log=quiet) / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


@no_curves
@pytest.mark.parametrize("stop_after", [1, 4, 5, 6, 9])
def test_a_resumed_training_is_the_one_never_stopped(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    """Stopped after any step, within an epoch or at its end, and gone on with: the same bytes."""
    photos = make_photos({"cat": 20, "dog": 20})
    changes: dict[str, Any] = {"dropout": 0.2, "mixup": 0.4, "batch_norm": True, "accumulate": 2, "early_stopping": 2}
    whole = train(small_config(photos, out=str(tmp_path / "whole"), **changes), log=quiet)

    steps = 0
    update = trainer_module.AveragedWeights.update

    def update_then_stop(self: Any, model: Any, step: int) -> None:
        nonlocal steps
        update(self, model, step)
        steps += 1
        if steps == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(trainer_module.AveragedWeights, "update", update_then_stop)
    stopped = tmp_path / "stopped"
    with pytest.raises(Interrupted) as stop:
        train(small_config(photos, out=str(stopped), **changes), log=quiet)
    assert stop.value.signal == signal.SIGTERM
    resume(stopped, log=quiet)
    for name in ("model.safetensors", "metrics.csv", "weights.csv"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()
    ours, theirs = load_state(stopped / "last.pt"), load_state(whole / "last.pt")
    assert all(torch.equal(ours["model"][name], theirs["model"][name]) for name in theirs["model"])


@no_curves
def test_accumulating_gradients_is_the_same_step(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    photos, changes = make_photos({"cat": 20, "dog": 20}), {"epochs": 1, "batch_norm": False}
    weights = [
        load_file(
            train(small_config(photos, out=str(tmp_path / f"{parts}"), accumulate=parts, **changes), log=quiet)
            / "model.safetensors"
        )
        for parts in (1, 3)
    ]
    for name in weights[0]:
        np.testing.assert_allclose(weights[0][name], weights[1][name], atol=2e-6)


@no_curves
def test_tensorboard_shows_what_metrics_csv_holds(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(small_config(make_photos({"cat": 12, "dog": 12})), log=quiet)
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    for name in ("train_loss", "val_accuracy", "learning_rate"):
        shown = [(event.step, event.value) for event in events.Scalars(name)]
        assert shown == [(row["epoch"], pytest.approx(row[name])) for row in history(run)]


def test_where_tensorboard_cannot_write_there_is_a_sentence_and_no_traceback_of_its_thread(
    make_photos: MakePhotos,
    small_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    def full(self: object, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    monkeypatch.setattr(RecordWriter, "write", full)
    with pytest.raises(CatdogError, match="No space left on device"):
        train(small_config(make_photos({"cat": 8, "dog": 8}), epochs=2), log=quiet)
    assert "Traceback" not in capsys.readouterr().err
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    assert "ZeroDivisionError" in capsys.readouterr().err  # other threads are heard


@no_curves
def test_early_stopping(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    """A network that cannot change has its best epoch first, and waits as long as it was told."""
    config = small_config(
        make_photos({"cat": 10, "dog": 10}), epochs=50, early_stopping=3, learning_rate=1e-12, ema=0.0
    )
    assert len(history(train(config, log=quiet))) == 4


@no_curves
def test_every_photo_is_seen_once_an_epoch_in_another_order_and_no_batch_is_a_runt(
    make_photos: MakePhotos, small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    step = Trainer.step

    def spy(self: Trainer, rows: torch.Tensor, *others: Any) -> None:
        seen.append(rows.tolist())
        step(self, rows, *others)

    monkeypatch.setattr(Trainer, "step", spy)
    config = small_config(make_photos({"cat": 21, "dog": 20}), epochs=2, val_share=0.1, batch_size=10)
    train(config, log=quiet)
    half = len(seen) // 2
    first, second = ([row for rows in part for row in rows] for part in (seen[:half], seen[half:]))
    assert sorted(first) == sorted(second) == list(range(len(first)))
    assert first != second
    assert max(map(len, seen)) - min(map(len, seen)) <= 1
    assert max(map(len, seen)) <= 10


@no_curves
def test_class_weights_let_a_small_class_be_found(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    """Ninety to ten: without weights the rare class's photos count for a tenth of the loss, with them for half."""
    photos = make_photos({"cat": 90, "dog": 10})
    losses = {}
    for weights in ("none", "balanced"):
        config = small_config(photos, out=str(tmp_path / weights), class_weights=weights, hidden=(), epochs=2)
        losses[weights] = history(train(config, log=quiet))[-1]["val_loss"]
    assert losses["none"] != losses["balanced"]


@no_curves
@pytest.mark.parametrize("loss", ["softmax", "svm"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_every_loss_and_optimizer_learns(
    make_photos: MakePhotos, small_config: MakeConfig, loss: str, optimizer: str
) -> None:
    config = small_config(
        make_photos({"cat": 40, "dog": 40}),
        loss=loss,
        optimizer=optimizer,
        learning_rate=1e-2,
        epochs=8,
        weight_decay=1e-3,
    )
    assert max(row["val_accuracy"] for row in history(train(config, log=quiet))) > 0.9


@no_curves
def test_broken_photos_are_skipped_and_listed(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    photos = make_photos({"cat": 20, "dog": 20})
    bad = photos / "cat" / "bad, \n photo.jpg"
    bad.write_bytes(b"<html>")
    lines: list[str] = []
    run = train(small_config(photos, epochs=1), log=lines.append)
    with open(run / "skipped.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [str(bad)]
    assert rows[0]["reason"]
    assert any("skipped 1 photo" in line for line in lines)
    # And again from the cache, where they are remembered.
    again = train(small_config(photos, epochs=1, out=str(run) + "2"), log=quiet)
    assert (again / "skipped.csv").read_bytes() == (run / "skipped.csv").read_bytes()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strict": True}, "bad0.jpg"),
        ({}, "more than --max-skipped 0.1 allows"),
        ({"max_skipped": 1.0}, "'dog' can be read"),
    ],
)
def test_too_many_broken_photos_stop_before_anything_is_written(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    photos = make_photos({"cat": 20, "dog": 0})
    for i in range(5):
        (photos / "dog" / f"bad{i}.jpg").write_bytes(b"")
    with pytest.raises(CatdogError) as refused:
        train(small_config(photos, **changes), log=quiet)
    assert said in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_exists_is_refused(make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("x")
    with pytest.raises(CatdogError, match=r"run exists and is not empty; give another --out\.$"):
        train(small_config(make_photos({"cat": 9, "dog": 9})), log=quiet)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["precious"]


@no_curves
def test_two_trainings_in_one_folder_are_refused(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    from catdog.runs.paths import NewRunFolder

    config = small_config(make_photos({"cat": 9, "dog": 9}))
    with NewRunFolder(tmp_path / "run"), pytest.raises(CatdogError, match="another training is writing"):
        train(config, log=quiet)
    train(config, log=quiet)


def test_a_missing_device_names_those_that_are_there(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    with pytest.raises(CatdogError, match=r"there is no device cuda:99 .*those that are there: cpu"):
        train(small_config(make_photos({"cat": 9, "dog": 9}), device="cuda:99"), log=quiet)


def test_resume_says_what_is_wrong_with_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CatdogError, match="there is no run folder"):
        resume(tmp_path / "none", log=quiet)
    with pytest.raises(CatdogError, match="is no run"):
        resume(tmp_path, log=quiet)


@no_curves
def test_training_works_outside_the_main_thread(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    config = small_config(make_photos({"cat": 9, "dog": 9}), epochs=1)
    thread = threading.Thread(target=train, args=(config,), kwargs={"log": quiet})
    thread.start()
    thread.join()
    assert Classifier.load(config.run.out).classes == ("cat", "dog")


@pytest.mark.slow
def test_ctrl_c_saves_says_how_to_go_on_and_exits_with_130(make_photos: MakePhotos, tmp_path: Path) -> None:
    photos, run = make_photos({"cat": 20, "dog": 20}), tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "catdog",
        "train",
        "--data",
        str(photos),
        "--out",
        str(run),
        "--epochs",
        "100000",
        "--folds",
        "1",
    ]
    with subprocess.Popen([*command, "--hidden", "8"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
    assert process.returncode == 130
    assert f"catdog train --resume {run}" in rest
    assert load_state(run / "last.pt")["progress"]["epoch"] >= 1
