"""Cross-validation: what the folds answer, what comes of a stop, and what is said of few photos."""

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import quiet

from catdog.base.signals import Interrupted
from catdog.checkpoint.saved_model import load_model
from catdog.config.settings import Config
from catdog.data.listing import Listing, list_photos
from catdog.data.splits import folds
from catdog.errors import CatdogError
from catdog.metrics import accuracy_interval
from catdog.runs.answers import read_answers
from catdog.runs.metrics_csv import read_metrics
from catdog.train import resume, train
from catdog.trainer import loop
from catdog.trainer.folds import FOLDER
from catdog.trainer.sureness import how_sure, learning_curve

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]


@pytest.fixture(autouse=True)
def _few_photos_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catdog.trainer.folds.FEW", 1000)


def test_every_class_is_dealt_out_evenly_whatever_the_order_of_the_files() -> None:
    names = [f"cat/{i}.jpg" for i in range(23)] + [f"dog/{i}.jpg" for i in range(9)]
    listing = Listing(Path("photos"), ("cat", "dog"), names, [0] * 23 + [1] * 9)
    found = np.array(folds(listing, 5, seed=1))
    for label, count in ((0, 23), (1, 9)):
        assert sorted(np.bincount(found[np.array(listing.labels) == label], minlength=5)) == sorted(
            len(range(i, count, 5)) for i in range(5)
        )
    assert max(np.bincount(found)) - min(np.bincount(found)) <= 1
    assert folds(listing, 5, seed=2) != found.tolist()
    assert folds(listing, 5, seed=1) == found.tolist()


def test_each_fold_is_answered_as_by_a_training_on_the_other_photos(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    """Compared with ordinary trainings on folders of copies, with a fold as their val/."""
    photos = make_photos({"cat": 11, "dog": 9})
    run = train(small_config(photos, folds=3), log=quiet)
    listing = list_photos(photos)
    fold_of = folds(listing, 3, seed=0)
    right = np.zeros(3)  # by epoch
    for fold in range(3):
        place = tmp_path / f"fold {fold}"
        for (path, label), its in zip(listing.samples, fold_of, strict=True):
            folder = place / ("val" if its == fold else "train") / listing.classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder)
        rows = read_metrics(train(small_config(place, out=str(tmp_path / f"run {fold}")), log=quiet))
        right += np.array([row["val_accuracy"] for row in rows]) * fold_of.count(fold)
    rows = read_metrics(run)
    assert [row["val_accuracy"] for row in rows] == pytest.approx(right / 20)
    validation = load_model(run / "model.safetensors")[1].validation
    assert validation["photos"] == 20
    assert validation["accuracy"] == pytest.approx(max(right) / 20)


def test_the_network_that_is_kept_has_learned_from_all_photos(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    """Its weights are those of a training on all of them, with others as val/."""
    photos = make_photos({"cat": 8, "dog": 8})
    run = train(small_config(photos, folds=2, epochs=2), log=quiet)
    make_photos({"cat": 8, "dog": 8}, name="both/train")
    make_photos({"cat": 3, "dog": 3}, name="both/val", first=90)
    other = train(small_config(tmp_path / "both", out=str(tmp_path / "other"), epochs=2), log=quiet)
    one, two = (load_model(path / "model.safetensors")[0] for path in (run, other))
    epochs = [load_model(path / "model.safetensors")[1].validation["epoch"] for path in (run, other)]
    assert epochs[0] == epochs[1]
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def test_copies_are_in_the_fold_of_the_first_and_no_other_photo_moves() -> None:
    names = [f"cat/{i}.jpg" for i in range(30)] + [f"dog/{i}.jpg" for i in range(30)]
    listing = Listing(Path("photos"), ("cat", "dog"), names, [0] * 30 + [1] * 30)
    without, copies = folds(listing, 5, seed=1), [[2, 7, 40], [35, 36], [51, 59]]
    found = folds(listing, 5, seed=1, copies=copies)
    for group in copies:
        assert {found[i] for i in group} == {without[group[0]]}
    moved = {i for _, *others in copies for i in others}
    assert [found[i] for i in range(60) if i not in moved] == [without[i] for i in range(60) if i not in moved]
    assert found != without


@pytest.mark.parametrize("packed", [False, True])
def test_no_photo_is_answered_by_a_network_that_has_seen_its_copy(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    """Copies of three cats, in both classes; a training that is stopped and resumed has the same folds."""
    from catdog.tools.dataset.pack import pack

    photos = make_photos({"cat": 11, "dog": 12})
    for i in range(3):
        for copy in (f"cat/again-{i}.png", f"cat/{i}.png", f"dog/other-{i}.png"):
            shutil.copy(photos / "cat" / f"cat-00{i}.png", photos / copy)
    contents = {str(path.relative_to(photos)): path.read_bytes() for path in photos.rglob("*.png")}
    assert (len(contents), len(set(contents.values()))) == (32, 23)
    if packed:
        pack(photos, tmp_path / "packed", 1)
    folds_of: dict[str, list[tuple[list[str], list[str]]]] = {"run": [], "whole": []}
    fit = loop.Trainer.fit

    def fit_and_note(trainer: loop.Trainer) -> None:
        if trainer.run.parent.name == FOLDER:
            both = (list(trainer.train.listing.paths), list(trainer.val.listing.paths))
            folds_of[trainer.run.parent.parent.name].append(both)
        fit(trainer)

    def log_or_stop(line: str) -> None:
        lines.append(line)
        if line.startswith("fold 2 of 3"):
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.Trainer, "fit", fit_and_note)
    lines: list[str] = []
    data = tmp_path / "packed" if packed else photos
    whole = train(small_config(data, folds=3, out=str(tmp_path / "whole")), log=lines.append)
    with pytest.raises(KeyboardInterrupt):
        train(small_config(data, folds=3), log=log_or_stop)
    resume(tmp_path / "run", log=lines.append)
    assert len(folds_of["whole"]) == 5
    for learned, answered in folds_of["whole"]:
        assert len(learned) + len(answered) == 32
        assert not {contents[path] for path in learned} & {contents[path] for path in answered}
    assert folds_of["run"] == folds_of["whole"]
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert not any("warning" in line for line in lines)


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_a_class_of_copies_of_one_photo_is_answered_by_one_network(
    make_photos: MakePhotos, small_config: MakeConfig, class_weights: str
) -> None:
    photos = make_photos({"cat": 12, "dog": 4})
    one = (photos / "dog" / "dog-000.png").read_bytes()
    for path in (photos / "dog").iterdir():
        path.write_bytes(one)
    run = train(small_config(photos, folds=3, class_weights=class_weights), log=quiet)
    answers = read_answers(run)
    assert len({tuple(row) for row in answers.probabilities[answers.labels == 1].tolist()}) == 1
    assert len({tuple(row) for row in answers.probabilities[answers.labels == 0].tolist()}) == 12


def test_photos_that_are_nearly_all_copies_are_refused(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    photos = make_photos({"cat": 3, "dog": 3})
    one = (photos / "dog" / "dog-000.png").read_bytes()
    for path in photos.rglob("*.png"):
        path.write_bytes(one)
    with pytest.raises(CatdogError, match=r"nearly all photos of .*photos are copies .* or give --folds 1\.$"):
        train(small_config(photos, folds=3), log=quiet)
    assert not (tmp_path / "run").exists()


def test_fewer_photos_than_folds_are_answered_one_by_one(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    lines: list[str] = []
    train(small_config(make_photos({"cat": 2, "dog": 2}), folds=0), log=lines.append)
    assert [line[:11] for line in lines if line.startswith("fold")][:4] == [f"fold {n} of 5" for n in (1, 2, 3, 4)]
    assert sum(line.startswith("fold") for line in lines) == 6


@pytest.mark.parametrize("line", ["fold 2 of 3", "fold 1 of 2", "epoch 2/3"])
def test_a_stop_loses_no_finished_fold_and_changes_nothing(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, line: str
) -> None:
    photos = make_photos({"cat": 7, "dog": 8})
    whole = train(small_config(photos, folds=3, out=str(tmp_path / "whole")), log=quiet)

    def stop(said: str) -> None:
        if said.startswith(line):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small_config(photos, folds=3), log=stop)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / FOLDER).glob("*.safetensors")}
    assert kept
    resume(tmp_path / "run", log=quiet)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    for name in ("model.safetensors", "metrics.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.parametrize("fold", [1, 3, 5])
def test_a_signal_after_the_last_step_of_a_fold_keeps_it_and_stops(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fold: int
) -> None:
    """fold: of the three, and then of the two halves."""
    photos = make_photos({"cat": 7, "dog": 8})
    whole = train(small_config(photos, folds=3, out=str(tmp_path / "whole")), log=quiet)
    add, epochs = loop.Progress.add, 0

    def add_and_signal(self: Any, row: Any) -> bool:
        nonlocal epochs
        epochs += 1
        if epochs == 3 * fold:
            os.kill(os.getpid(), signal.SIGTERM)
        return add(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Progress, "add", add_and_signal)
        with pytest.raises(Interrupted) as stop:
            train(small_config(photos, folds=3), log=quiet)
    assert (stop.value.signal, stop.value.saved, epochs) == (signal.SIGTERM, True, 3 * fold)
    assert stop.value.advice == f"stopped and saved; go on with: catdog train --resume {tmp_path / 'run'}"
    assert len(list((tmp_path / "run" / FOLDER).iterdir())) == fold
    lines: list[str] = []
    resume(tmp_path / "run", log=lines.append)
    assert lines[0] == f"{tmp_path / 'run'} holds no checkpoint yet, so this goes on after the folds that are finished."
    for name in ("model.safetensors", "metrics.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes(), name


def test_folds_are_chosen_for_few_photos_that_are_neither_drawn_nor_split(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    lines: list[str] = []
    photos = make_photos({"cat": 6, "dog": 6})
    train(small_config(photos, folds=0, epochs=1), log=lines.append)
    assert sum(line.startswith("fold ") for line in lines) == 7
    assert any("5 folds" in line for line in lines)

    make_photos({"cat": 6, "dog": 6}, name="split/train")
    make_photos({"cat": 2, "dog": 2}, name="split/val", first=50)
    lines.clear()
    train(small_config(tmp_path / "split", out=str(tmp_path / "2"), folds=0, epochs=1), log=lines.append)
    assert not any("fold 1" in line for line in lines)
    with pytest.raises(CatdogError, match=r"folds \(--folds 3\) cannot be: the folder has a val/ folder"):
        train(small_config(tmp_path / "split", out=str(tmp_path / "3"), folds=3), log=quiet)
    with pytest.raises(CatdogError, match="with --cache none no photo stays decoded"):
        train(small_config(photos, out=str(tmp_path / "4"), folds=3, cache="none"), log=quiet)


def test_how_sure_a_figure_is_stands_in_words() -> None:
    labels = np.repeat([0, 1], 30)
    right = np.arange(60) % 5 > 0
    first, *notes = how_sure(right, labels, ["cat", "dog"])
    low, high = accuracy_interval(48, 60)
    assert f"between {low:.0%} and {high:.0%}" in first
    wanted = int(re.findall(r"([\d,]+) photos make", first)[0].replace(",", ""))
    low, high = accuracy_interval(round(0.8 * wanted), wanted)
    assert 0.045 < (high - low) / 2 <= 0.05
    assert not notes
    assert "told from guessing, which is right on 50.00%" in how_sure(np.arange(60) % 2 > 0, labels, ["a", "b"])[1]
    lopsided = np.repeat([0, 1], [50, 10])
    assert "always answering a, which is right on 83.33%" in how_sure(right, lopsided, ["a", "b"])[1]
    assert "photos make it sure" not in how_sure(np.arange(2000) % 5 > 0, np.repeat([0, 1], 1000), ["a", "b"])[0]


def test_what_more_photos_may_give_goes_on_as_the_mistakes_fell() -> None:
    """Of a law of error = a n^-b, the range holds what the law gives for twice the photos."""
    count, a, b = 4000, 0.3, 0.4
    half, more, twice = (a * share**-b for share in (0.5, 0.8, 2))
    right_of_half, right_of_more = (np.arange(count) >= round(error * count) for error in (half, more))
    said = learning_curve(right_of_half, right_of_more, 0.8)
    low, high = (int(number) / 100 for number in re.findall(r"it may be (\d+)% to (\d+)%", said)[0])
    assert low < 1 - twice < high
    assert high - low < 0.12
    assert "may be 70% to 70%" not in learning_curve(right_of_more, right_of_half, 0.8)  # worse with more: no fall
    without_mistakes = learning_curve(right_of_half, np.ones_like(right_of_half), 0.8)
    assert without_mistakes.endswith(
        "80% on 100.00%; without a mistake, these photos cannot tell what more of them would give"
    )


def test_where_cats_dogs_is_better_it_is_said_in_training_and_at_prediction(
    make_photos: MakePhotos, small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from catdog.predict import Classifier
    from catdog.runs.introduction import CATS_DOGS, how_often_right
    from catdog.trainer.comparison import as_it_comes

    photos = make_photos({"cat": 6, "dog": 6})
    classifier = Classifier.load("cats-dogs")
    right = [classifier.predict(path).label == path.parent.name for path in photos.rglob("*.png")]
    assert as_it_comes(list_photos(photos)) == {CATS_DOGS: sum(right) / 12}
    assert as_it_comes(list_photos(make_photos({"cat": 3, "hen": 3}, name="others"))) == {}

    monkeypatch.setattr("catdog.trainer.folds.as_it_comes", lambda listing: {CATS_DOGS: 1.0})
    lines: list[str] = []
    run = train(small_config(photos, folds=2, epochs=1, learning_rate=1e-6), log=lines.append)
    own = load_model(run / "model.safetensors")[1].validation["accuracy"]
    assert own < 1
    assert any("cats-dogs, which comes with catdog, is right on 100.00% of these photos" in line for line in lines)
    assert "cats-dogs was better, right on 100.00% of the same photos" in how_often_right(Classifier.load(run).card)

    monkeypatch.setattr("catdog.trainer.folds.as_it_comes", lambda listing: {CATS_DOGS: 0.01})
    lines.clear()
    train(small_config(photos, folds=2, epochs=1, out="other"), log=lines.append)
    assert not any("cats-dogs" in line for line in lines)


def test_a_fold_that_diverges_ends_the_training_in_a_sentence_without_files_that_are_gone(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    wild = {"optimizer": "sgd", "learning_rate": 1000, "clip_norm": 0, "ema": 0, "warmup_epochs": 0, "epochs": 8}
    config = small_config(make_photos({"cat": 20, "dog": 20}), folds=2, batch_norm=False, **wild)
    with pytest.raises(
        CatdogError, match=r"^in epoch 1 of a fold, .* lower --learning-rate, or with --on-nan"
    ) as stopped:
        train(config, log=quiet)
    assert "last.pt" not in str(stopped.value)
    assert not (tmp_path / "run").exists()
