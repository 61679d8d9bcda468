"""Labels in doubt: photos that networks, which had not seen them, call another class than their own."""

import csv
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import quiet

from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.errors import CatdogError
from catdog.runs.answers import ANSWERS_FILE, Answers, read_answers, write_answers
from catdog.tools.dataset.labels import PAGE, doubtful_labels, in_doubt
from catdog.train import train
from catdog.trainer import closed_form

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]


def test_a_label_is_in_doubt_where_another_class_is_surer_than_its_own_photos_are() -> None:
    """Against the rule by hand: photos labelled b are called b with 0.8 in the mean, nine tenths of which are 0.72."""
    of_a = np.array([0.9, 0.27, 0.29, 0.05, 0.3, 0.1])
    labels = np.array([0, 0, 0, 0, 1, 1])
    answers = Answers(("a", "b"), list("123456"), labels, np.stack([of_a, 1 - of_a], axis=1))
    assert in_doubt(answers).tolist() == [3, 1]  # nearly as sure as of b's own; 2 is less so
    assert in_doubt(Answers(("a", "b"), list("56"), labels[4:], answers.probabilities[4:])).tolist() == []


@pytest.mark.slow
def test_photos_in_the_wrong_folder_are_found_and_nothing_is_moved(
    make_photos: MakePhotos, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_photos({"cat": 60, "dog": 60})
    for i in (3, 8):
        (photos / "dog" / f"dog-{i:03}.png").rename(photos / "cat" / f"moved-{i}.png")
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    small = {
        "start_from": "none",
        "image_size": (6, 8),
        "hidden": (16,),
        "batch_norm": False,
        "epochs": 20,
        "label_smoothing": 0.0,
        "learning_rate": 1e-2,
    }
    monkeypatch.setattr(
        "catdog.tools.dataset.labels._OF_CATS_AND_DOGS", small
    )  # goes over the network that comes with catdog
    finding, where = doubtful_labels(photos, quiet)
    assert finding is not None
    found = [item["path"] for item in finding.items]
    assert {"cat/moved-3.png", "cat/moved-8.png"} <= set(found)
    assert len(found) <= 6
    (run,) = Path("runs").iterdir()
    assert str(run / PAGE) in where
    text = (run / PAGE).read_text(encoding="utf-8")
    assert "cat/moved-3.png" in text
    assert text.count("data:image/jpeg") == len(found)
    with open(run / ANSWERS_FILE, newline="") as file:
        assert len(list(csv.DictReader(file))) == 120
    assert {path: path.read_bytes() for path in photos.rglob("*.png")} == before

    assert main(["data", "check", str(photos), "--labels"]) == 0
    assert "whose label is in doubt" in capsys.readouterr().out


def test_a_signal_stops_it_and_the_run_can_be_resumed(
    make_photos: MakePhotos, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = closed_form.fit_classifier

    def fit_after_signal(trainer: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        fit(trainer)

    monkeypatch.setattr(closed_form, "fit_classifier", fit_after_signal)
    assert main(["data", "check", str(make_photos({"cat": 6, "dog": 6})), "--labels"]) == 130
    (run,) = Path("runs").iterdir()
    assert f"stopped and saved; go on with: catdog train --resume {run}" in capsys.readouterr().out
    assert [path.name[:6] for path in (run / "folds").iterdir()] == ["1-of-5"]


def test_answers_are_read_as_they_were_written(
    tmp_path: Path, make_photos: MakePhotos, small_config: MakeConfig
) -> None:
    answers = Answers(
        ("a", "b"), ['a/"x", y.jpg', "b/\udcff.jpg"], np.array([0, 1]), np.array([[0.25, 0.75], [0.5, 0.5]])
    )
    write_answers(tmp_path, answers)
    found = read_answers(tmp_path)
    assert (found.classes, found.paths) == (answers.classes, answers.paths)
    np.testing.assert_array_equal(found.labels, answers.labels)
    np.testing.assert_array_equal(found.probabilities, answers.probabilities)
    (tmp_path / ANSWERS_FILE).write_text("no,table\n")
    with pytest.raises(CatdogError, match=r"answers\.csv is no table of answers"):
        read_answers(tmp_path)
    run = train(small_config(make_photos({"cat": 6, "dog": 6}), epochs=1), log=quiet)
    with pytest.raises(CatdogError, match="give a run that was trained with --folds"):
        read_answers(run)
    run = train(small_config(make_photos({"cat": 6, "dog": 6}), epochs=1, folds=2, out=str(tmp_path / "2")), log=quiet)
    assert read_answers(run).paths == [f"{c}/{c}-{i:03}.png" for c in ("cat", "dog") for i in range(6)]


def test_a_run_of_folds_is_evaluated_by_what_was_said_of_photos_unseen(
    make_photos: MakePhotos, small_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make_photos({"cat": 12, "dog": 12})
    run = train(small_config(photos, folds=3, learning_rate=1e-4), log=quiet)
    answers = read_answers(run)
    assert main(["evaluate", "--run", str(run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n"] == 24
    assert result["accuracy"] == (answers.called == answers.labels).mean()
    own = answers.probabilities[np.arange(24), answers.labels]
    assert result["loss"] == pytest.approx(-np.log(own).mean(), abs=1e-5)

    (photos / "cat" / "cat-000.png").rename(photos / "cat" / "new.png")  # of which nothing was said
    assert main(["evaluate", "--run", str(run)]) == 0
    shown = capsys.readouterr()
    assert "of 23 photos" in shown.out
    assert "each is answered by a network that had not seen it" in shown.err


def test_a_test_folder_beside_the_photos_is_evaluated_by_the_network_itself(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_photos({"cat": 8, "dog": 8}, name="all/train")
    make_photos({"cat": 3, "dog": 4}, name="all/test", first=80)
    run = train(small_config(tmp_path / "all", folds=2), log=quiet)
    assert main(["evaluate", "--run", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 7
