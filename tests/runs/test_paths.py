"""What is written, and where: the run folder and the cache, and nothing else, least of all the photos."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import quiet, save_photo

from catdog.base.atomic import write_text
from catdog.checkpoint.model_file import STATE_FILE
from catdog.checkpoint.saved_state import load_state
from catdog.checkpoint.training_state import save_state
from catdog.cli import main as cli
from catdog.config.settings import Config
from catdog.errors import CatdogError
from catdog.runs.folder import RunFolder
from catdog.train import resume, train

MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
FLAGS = [
    "--image-size",
    "6",
    "8",
    "--hidden",
    "5",
    "--epochs",
    "2",
    "--batch-size",
    "8",
    "--device",
    "cpu",
    "--threads",
    "1",
]


def snapshot(*roots: Path) -> dict[str, tuple[object, ...]]:
    """Of all there is below some folders: kind, mode, owner, times, and what it holds."""
    found: dict[str, tuple[object, ...]] = {}
    for root in roots:
        for path in [root, *root.rglob("*")]:
            status = path.lstat()
            content: object = os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
            times = (status.st_mtime_ns, status.st_ctime_ns)
            found[str(path)] = (status.st_mode, status.st_uid, status.st_nlink, *times, content)
    return found


@pytest.fixture
def everything(tmp_path: Path, make_photos: MakePhotos) -> tuple[Path, Path]:
    """A folder of photos with all sorts in it, links among them, and the place outside that the links lead to."""
    photos, outside = make_photos({"cat": 12, "dog": 12}), tmp_path / "outside"
    save_photo(outside / "elsewhere.png", seed=1)
    save_photo(outside / "more" / "cat.png", seed=2)
    (photos / "cat" / "link.png").symlink_to(outside / "elsewhere.png")
    (photos / "cat" / "folder").symlink_to(outside / "more")
    (photos / "cat" / "dangling.png").symlink_to(outside / "nothing.png")
    (photos / "dog" / "broken.jpg").write_bytes(b"<html>")
    (photos / "dog" / "read-only.png").write_bytes((photos / "dog" / "dog-000.png").read_bytes())
    (photos / "dog" / "read-only.png").chmod(0o444)
    (photos / "notes.txt").write_text("mine")
    return photos, outside


@pytest.mark.slow
def test_no_command_touches_a_photo_or_anything_but_its_run_and_the_cache(
    everything: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, outside = everything
    before = snapshot(photos, outside)
    here = Path.cwd()
    commands: list[list[object]] = [
        ["train", "--data", photos, "--max-skipped", "0.9", *FLAGS, "--out", "runs/one"],
        ["train", "--resume", "runs/one"],
        ["predict", photos, "--run", "runs/one"],
        ["predict", photos, "--run", "runs/one", "--json"],
        ["evaluate", "--run", "runs/one"],
        ["evaluate", "--run", "runs/one", "--data", photos, "--json"],
        ["explain", photos / "cat" / "cat-000.png", "--run", "runs/one"],
        ["doctor", "--run", "runs/one"],
        ["data", "check", photos],
        ["data", "stats", photos],
        ["data", "sample", "drawn", "--count", "2", "--size", "16", "16"],
    ]
    for command in commands:
        assert cli.main(list(map(str, command))) in (0, 1), command
        assert snapshot(photos, outside) == before, command
    assert "Traceback" not in capsys.readouterr().err
    assert {path.name for path in here.iterdir()} == {"runs", "drawn"}
    assert {path.name for path in (here / "runs").iterdir()} == {"one"}
    assert {path.name for path in Path(os.environ["XDG_CACHE_HOME"]).iterdir()} <= {"catdog", "matplotlib"}
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "outside"}


def test_drawing_into_a_folder_of_photos_is_refused(make_photos: MakePhotos) -> None:
    photos = make_photos({"cat": 3, "dog": 3})
    before = snapshot(photos)
    assert cli.main(["data", "sample", str(photos), "--count", "2"]) == 2
    assert snapshot(photos) == before


@pytest.mark.parametrize("out", ["..", "../run", "runs/../../run", "a/.."])
def test_a_run_is_not_named_by_a_way_up(make_photos: MakePhotos, small_config: MakeConfig, out: str) -> None:
    with pytest.raises(CatdogError, match=r"out \(--out\) must not hold \.\., as .* does; give the folder's own path"):
        train(small_config(make_photos({"cat": 9, "dog": 9}), out=out), log=quiet)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("field", ["out", "cache"])
def test_runs_and_cache_are_kept_out_of_the_photos(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, field: str
) -> None:
    photos = make_photos({"cat": 9, "dog": 9})
    (tmp_path / "link").symlink_to(photos)
    before = snapshot(photos)
    for place in (photos, photos / "new", photos / "cat" / "new", tmp_path / "link" / "new"):
        with pytest.raises(CatdogError, match=rf"{field} \(--{field}\) .* lies in the folder of photos"):
            train(small_config(photos, **{field: str(place)}), log=quiet)
    assert snapshot(photos) == before


def test_a_run_folder_that_is_a_link_is_refused(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.mkdir()
    link.symlink_to(target)
    config = small_config(make_photos({"cat": 9, "dog": 9}), out=str(link))
    with pytest.raises(CatdogError, match=f"the run folder .*link is a link; give the folder itself: {target}"):
        train(config, log=quiet)
    assert list(target.iterdir()) == []
    run = train(small_config(tmp_path / "photos"), log=quiet)
    link.unlink()
    link.symlink_to(run)
    before = snapshot(run)
    with pytest.raises(CatdogError, match="is a link"):
        resume(link, log=quiet)
    assert snapshot(run) == before


def test_links_among_the_files_of_a_run_are_replaced_or_refused_never_followed(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    """Each file of the run stands outside, and a link to it in its place."""
    config = small_config(make_photos({"cat": 20, "dog": 20}), epochs=2)
    run, outside = train(config, log=quiet), tmp_path / "outside"
    state = load_state(run / STATE_FILE)
    shutil.move(run, outside)
    run.mkdir()
    for path in outside.iterdir():
        (run / path.name).symlink_to(path)
    before = snapshot(outside)
    # With one epoch to go, so that every file is written anew.
    state["config"] = state["config"].replace("epochs = 2", "epochs = 3")
    (run / STATE_FILE).unlink()
    save_state(run / STATE_FILE, state)
    for link in ("train.log", "tensorboard"):
        with pytest.raises(CatdogError, match=link):
            resume(run, log=quiet)
        assert snapshot(outside) == before
        (run / link).unlink()
    resume(run, log=quiet)
    assert snapshot(outside) == before
    assert {path.name for path in run.iterdir() if path.is_symlink()} <= {"config.toml", "model.safetensors"}


def test_a_link_in_place_of_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    """Whatever names it guesses, what it leads to is not written."""
    target, run = tmp_path / "target", tmp_path / "run"
    target.write_text("mine")
    run.mkdir()
    (run / ".metrics.csv.0123abcd.tmp").symlink_to(target)
    write_text(run / "metrics.csv", "new")
    (run / "config.toml").touch()
    with RunFolder(run):
        pass
    assert target.read_text() == "mine"
    assert sorted(path.name for path in run.iterdir()) == ["config.toml", "metrics.csv"]


def test_a_hidden_file_of_the_users_own_is_none_that_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / ".notes.tmp").write_text("mine")
    (tmp_path / "config.toml").touch()
    with RunFolder(tmp_path):
        assert (tmp_path / ".notes.tmp").read_text() == "mine"
