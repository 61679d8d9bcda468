"""`catdog train --or-resume`: the same command begins a training, goes on with it, and leaves a finished one alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from catdog.cli.main import main
from catdog.runs.metrics_csv import read_metrics

MakePhotos = Callable[..., Path]
SMALL = ["--hidden", "4", "--image-size", "8", "8", "--device", "cpu", "--threads", "1", "--or-resume"]


def train(*flags: object) -> int:
    return main(["train", *SMALL, *map(str, flags)])


@pytest.mark.usefixtures("no_curves")
def test_it_begins_goes_on_and_does_nothing_where_it_is_finished(
    make_photos: MakePhotos, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make_photos({"cat": 8, "dog": 8})
    monkeypatch.chdir(photos.parent)
    command = ("--data", photos.name, "--out", "run", "--epochs")  # a folder that is named from here
    assert train(*command, 1, "--learning-rate", 0.0007, "--batch-size", 0) == 0  # the defaults, for so few photos
    weights = Path("run/model.safetensors").read_bytes()
    assert train(*command, 1, "--learning-rate", 0.0007, "--batch-size", 0) == 0
    assert "run is finished" in capsys.readouterr().out
    assert Path("run/model.safetensors").read_bytes() == weights
    assert train(*command, 2) == 0
    assert "going on with run after epoch 1" in capsys.readouterr().out
    assert len(read_metrics(Path("run"))) == 2


@pytest.mark.usefixtures("no_curves")
def test_what_was_begun_otherwise_is_named_and_left_alone(
    make_photos: MakePhotos, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("--data", make_photos({"cat": 8, "dog": 8}), "--out", tmp_path / "run", "--epochs", 1)
    assert train(*command) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").glob("*") if path.is_file()}
    (tmp_path / "mine.toml").write_text("[training]\nlearning_rate = 0.5\n")
    for flags, said in (
        (("--seed", 3), "begun with seed = 0, not 3; give --seed as then, or another --out"),
        (("--data", make_photos({"cat": 4, "dog": 4}, "other")), "begun with data = "),
        (("--config", tmp_path / "mine.toml"), "begun with learning_rate = 0.000124, not 0.5"),
    ):
        assert train(*command, *flags) == 2
        assert said in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.usefixtures("no_curves")
def test_what_a_training_settles_itself_is_the_same_the_second_time(
    make_photos: MakePhotos, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network to start from, by its name; and data/, where that is empty, in a file with every setting."""
    monkeypatch.setattr("catdog.data.drawn.DEFAULT_COUNT", 40)
    photos = make_photos({"cat": 8, "dog": 8})
    assert train("--data", photos, "--out", "base", "--epochs", 1) == 0
    again = ("--data", photos, "--out", "run", "--epochs", 1, "--start-from", "base")
    Path("mine.toml").write_text('[photos]\ndata = "data"\n')
    drawn = ("--config", "mine.toml", "--out", "drawn", "--epochs", 1)
    for command in (again, drawn):
        assert train(*command) == 0
        capsys.readouterr()
        assert train(*command) == 0
        assert "is finished" in capsys.readouterr().out


def test_it_takes_the_place_and_nothing_that_begins_anew(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--data", "sample") == 2
    assert "give --out" in capsys.readouterr().err
    assert train("--data", "sample", "--out", "run", "--narrate") == 2
    assert "--narrate" in capsys.readouterr().err
    assert not Path("run").exists()
