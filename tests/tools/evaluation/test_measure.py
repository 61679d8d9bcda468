import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import quiet

from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.metrics import accuracy_interval
from catdog.train import train

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["evaluate", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_evaluates_the_photos_kept_from_training_by_default(
    make_photos: MakePhotos, small_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(small_config(make_photos({"cat": 60, "dog": 40}), epochs=6), log=quiet)
    found = evaluated(capsys, "--run", str(run))
    confusion = np.array(found["confusion"])
    assert found["n"] == confusion.sum() < 40
    assert found["accuracy"] == np.trace(confusion) / found["n"] > 0.85
    assert found["accuracy_interval"] == list(accuracy_interval(np.trace(confusion), found["n"]))
    assert found["classes"] == ["cat", "dog"]
    assert found["baselines"]["majority_class"] == confusion[0].sum() / found["n"]
    assert 0.85 < found["baselines"]["nearest_mean_colour"] <= 1  # these photos differ in colour alone
    assert 0.9 < found["auc"] <= 1
    assert 0 <= found["ece"] <= 1
    history = (run / "metrics.csv").read_text().splitlines()[1:]
    assert str(found["accuracy"]) in "".join(history)


def test_another_folder_may_lack_a_class_but_not_have_a_new_one(
    make_photos: MakePhotos, small_config: MakeConfig, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = train(small_config(make_photos({"cat": 40, "dog": 40, "fox": 40}), epochs=10, batch_size=16), log=quiet)
    # Classes set the colour by their place in the alphabet, so "cat" and "fox" are made by hand here.
    others = make_photos({"cat": 15, "dog": 1, "fox": 15}, name="others", first=700)
    (others / "dog" / "dog-700.png").unlink()
    (others / "dog").rmdir()
    found = evaluated(capsys, "--run", str(run), "--data", str(others))
    assert found["classes"] == ["cat", "dog", "fox"]
    assert found["n"] == 30
    assert found["confusion"][1] == [0, 0, 0]
    assert found["accuracy"] > 0.9
    make_photos({"cow": 1}, name="others")
    assert main(["evaluate", "--run", str(run), "--data", str(others)]) == 2
    said = capsys.readouterr().err
    assert "'cow'" in said
    assert "'cat', 'dog', 'fox'" in said


def test_a_test_folder_is_evaluated_and_unreadable_photos_are_counted(
    make_photos: MakePhotos, small_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(small_config(make_photos({"cat": 20, "dog": 20}), epochs=2), log=quiet)
    make_photos({"cat": 3, "dog": 4}, name="other/test")
    make_photos({"cat": 9, "dog": 9}, name="other/train")
    other = make_photos({}, name="other")
    (other / "test" / "cat" / "bad.jpg").write_bytes(b"")
    found = evaluated(capsys, "--run", str(run), "--data", str(other))
    assert (found["n"], found["skipped"]) == (7, 1)


def test_says_what_is_missing(
    make_photos: MakePhotos, small_config: MakeConfig, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = train(small_config(make_photos({"cat": 9, "dog": 9}), epochs=1), log=quiet)
    assert main(["evaluate", "--run", str(run), "--data", str(tmp_path / "none")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    (run / "config.toml").unlink()
    assert main(["evaluate", "--run", str(run)]) == 2
    assert "name a folder with --data" in capsys.readouterr().err


@pytest.mark.slow
def test_prints_a_table_to_read(
    make_photos: MakePhotos, small_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(small_config(make_photos({"cat": 20, "dog": 20}), epochs=2), log=quiet)
    assert main(["evaluate", "--run", str(run)]) == 0
    printed = capsys.readouterr().out
    for words in ("accuracy", "95% interval", "majority class", "ROC AUC", "confusion"):
        assert words in printed
