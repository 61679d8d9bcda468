"""What is suggested to be typed next, in folders whose names a shell would take apart, is typed as it stands."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from catdog.cli.main import main

FOLDER = "my $HOME's photos"
SMALL = ["--image-size", "8", "8", "--hidden", "8", "--epochs", "1", "--threads", "1", "--device", "cpu"]


def suggested(printed: str) -> list[list[str]]:
    """The words of each command in a text: in backticks, or up to the end of its line."""
    found = re.findall(r"`(catdog [^`]+)`|: (catdog .*)$", printed, re.MULTILINE)
    return [shlex.split(quoted or plain) for quoted, plain in found]


@pytest.fixture
def photos(make_photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_photos({"cat": 12, "dog": 12}, name=FOLDER)
    monkeypatch.chdir(folder.parent)
    return folder


def test_after_a_training_and_where_its_folder_is_taken(
    photos: Path, capsys: pytest.CaptureFixture[str], no_curves: None
) -> None:
    arguments = ["train", "--data", str(photos), "--out=-my run", *SMALL]
    assert main(arguments) == 0
    (predict,) = suggested(capsys.readouterr().out)
    assert main([str(photos / "cat" / "cat-000.png") if word == "PHOTO" else word for word in predict[1:]]) == 0
    assert main(arguments) == 2
    (resumed,) = suggested(capsys.readouterr().err)
    assert resumed[:3] == ["catdog", "train", "--resume"]
    assert Path(resumed[3]) == Path("-my run")


def test_where_photos_are_in_two_splits_or_cannot_be_read(
    photos: Path, capsys: pytest.CaptureFixture[str], no_curves: None
) -> None:
    for split in ("train", "val"):
        shutil.copytree(photos / "cat", Path("copies of", split, "cat"))
        shutil.copytree(photos / "dog", Path("copies of", split, "dog"))
    assert main(["train", "--data", "copies of", "--out", "run", *SMALL]) == 0
    check, _ = suggested(capsys.readouterr().out)
    assert main(check[1:]) == 1
    assert "in two splits at once" in capsys.readouterr().out

    (photos / "cat" / "cat-000.png").write_bytes(b"no photo")
    assert main(["data", "stats", str(photos)]) == 0
    (check,) = suggested(capsys.readouterr().out)
    assert main(check[1:]) == 1
    assert "cat-000.png" in capsys.readouterr().out
