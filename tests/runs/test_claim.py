"""A run folder belongs to one training, from its start; a training that does not begin leaves nothing behind."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import quiet
from PIL import Image
from processes import CONTEXT, Catdog
from test_paths import snapshot

from catdog.base.locks import lock, unlock
from catdog.config.settings import Config
from catdog.data.drawn import write_sample
from catdog.data.splits import photo_folder
from catdog.errors import CatdogError
from catdog.runs.folder import RunFolder
from catdog.runs.paths import NewRunFolder, new_run
from catdog.tools.dataset.fetch import fetch
from catdog.tools.evaluation.folder import write_folder
from catdog.train import resume, train

MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
SMALL = (
    *("--image-size", 16, 16, "--hidden", 16, "--batch-size", 8, "--device", "cpu", "--threads", 1),
    *("--learning-rate", "3e-3"),
)


@pytest.mark.slow
def test_of_several_trainings_into_one_folder_one_trains_and_the_others_harm_nothing(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    photos = make_photos({"cat": 20, "dog": 20})
    flags = ("--data", photos, *SMALL, "--epochs", 3)
    assert Catdog("train", *flags, "--out", tmp_path / "alone").wait() == 0
    several = [Catdog("train", *flags, "--out", tmp_path / "run", "--seed", seed) for seed in (0, 0, 0, 0)]
    assert sorted(training.wait() for training in several) == [0, 2, 2, 2]
    for name in ("model.safetensors", "metrics.csv", "weights.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    before = snapshot(tmp_path / "run")
    late = Catdog("train", *flags, "--out", tmp_path / "run", "--seed", 7)
    assert late.wait() == 2
    for refused in (*several, late):
        if "catdog: " in refused.output:
            (line,) = (line for line in refused.output.splitlines() if line.startswith("catdog: "))
            assert "another training is writing" in line or "exists and is not empty; give another --out" in line
            assert "photos  " not in refused.output, "nothing was looked at before"
    assert snapshot(tmp_path / "run") == before


@pytest.mark.slow
def test_trainings_without_a_name_that_start_at_once_all_end_in_folders_of_their_own(make_photos: MakePhotos) -> None:
    photos = make_photos({"cat": 20, "dog": 20})
    several = [Catdog("train", "--data", photos, *SMALL, "--epochs", 1) for _ in range(4)]
    assert [training.wait() for training in several] == [0] * 4
    assert len(list(Path("runs").glob("*/model.safetensors"))) == len(list(Path("runs").iterdir())) == 4


def _claim_in_the_same_second(meet: "threading.Barrier", there: Path, names: "Callable[..., object]") -> None:
    os.chdir(there)
    NewRunFolder.by_time = "now"
    meet.wait()
    with NewRunFolder(None) as folder:
        names(str(folder.path))
        meet.wait()


def test_processes_that_start_in_the_same_second_take_the_next_number(tmp_path: Path) -> None:
    meet, names = CONTEXT.Barrier(6), CONTEXT.SimpleQueue()
    several = [CONTEXT.Process(target=_claim_in_the_same_second, args=(meet, tmp_path, names.put)) for _ in range(6)]
    for process in several:
        process.start()
    for process in several:
        process.join()
    assert sorted(names.get() for _ in several) == ["runs/now", *(f"runs/now-{number}" for number in range(2, 7))]


@pytest.mark.slow
def test_a_second_training_is_refused_while_the_first_still_decodes(tmp_path: Path) -> None:
    """Decoding all of these would take minutes: each is a photo of 30 million pixels."""
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.fromarray(np.zeros((5000, 6000, 3), np.uint8)).save(tmp_path / "photo.png")
        for i in range(300):
            os.link(tmp_path / "photo.png", tmp_path / "photos" / label / f"{i}.png")
    flags = ("train", "--data", tmp_path / "photos", "--out", tmp_path / "deep" / "run", *SMALL)
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "catdog" / "pixels"
    first = Catdog(*flags)
    first.wait_until(lambda: len(list(cache.glob(".writing-*/pixels.npy"))) > 0)
    second = Catdog(*flags)
    assert second.wait(limit=30) == 2
    assert second.output.splitlines() == [
        f"catdog: another training is writing to the run folder {tmp_path / 'deep' / 'run'}; wait for it, or train "
        "into another --out."
    ]
    first.send(signal.SIGTERM)
    assert first.wait(limit=30) == 143
    assert not (tmp_path / "deep").exists()


FAULTS: list[dict[str, object]] = [
    {"data": "nowhere"},
    {"device": "cuda:99"},
    {"max_skipped": 0.0},
    {"cache_limit": 1e-9},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: next(iter(fault)))
@pytest.mark.parametrize("out", ["", "deep/down/run", "mine/empty", "mine/new"])
def test_a_start_that_fails_leaves_nothing_and_takes_nothing_away(
    make_photos: MakePhotos, small_config: MakeConfig, fault: dict[str, object], out: str
) -> None:
    photos = make_photos({"cat": 9, "dog": 9})
    (photos / "cat" / "broken.jpg").write_bytes(b"")
    Path("mine/empty").mkdir(parents=True)
    before = sorted(map(str, Path().rglob("*")))
    with pytest.raises(CatdogError):
        train(small_config(**{"data": photos, "out": out, **fault}), log=quiet)
    assert sorted(map(str, Path().rglob("*"))) == before


def test_what_others_put_beside_is_not_removed(tmp_path: Path) -> None:
    run = tmp_path / "deep" / "run"
    with pytest.raises(ZeroDivisionError), NewRunFolder(run) as folder:
        folder.log("begun")
        (tmp_path / "deep" / "other").mkdir()
        raise ZeroDivisionError
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "other"]
    with pytest.raises(ZeroDivisionError), NewRunFolder(run) as folder:
        folder.log("begun")
        (run / "mine").write_text("x")
        raise ZeroDivisionError
    assert [path.name for path in run.iterdir()] == ["mine"]


def test_a_run_that_another_process_trains_is_not_resumed(
    make_photos: MakePhotos, small_config: MakeConfig, no_curves: None
) -> None:
    run = train(small_config(make_photos({"cat": 9, "dog": 9}), epochs=1), log=quiet)
    before = snapshot(run)
    with RunFolder(run), pytest.raises(CatdogError, match=r"another training is writing to the run folder .*run; wait"):
        resume(run, log=quiet, epochs=2)
    assert snapshot(run) == before


def test_a_folder_that_is_no_run_is_not_said_to_be_one(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    config = small_config(make_photos({"cat": 9, "dog": 9}), out=str(tmp_path / "a name"))
    (tmp_path / "a name").mkdir()
    (tmp_path / "a name" / "config.toml").write_text("")
    with pytest.raises(CatdogError, match=rf"go on with it: catdog train --resume '{tmp_path / 'a name'}'$"):
        train(config, log=quiet)


def test_two_that_draw_into_one_folder(tmp_path: Path) -> None:
    with pytest.raises(CatdogError, match="another process is drawing into"):
        _while_another_draws(tmp_path, lambda: write_sample(tmp_path / "set", 4, (16, 16)))
    assert len(list((tmp_path / "set").glob("*/*.jpg"))) == 300
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def _while_another_draws(there: Path, do: Callable[[], None]) -> None:
    process = CONTEXT.Process(target=write_sample, args=(there / "set", 300, (64, 64)))
    process.start()
    try:
        while not list(there.glob(".drawing-set/*/*.jpg")):
            assert process.is_alive()
        do()
    finally:
        process.join()


@pytest.mark.slow
def test_trainings_that_need_the_drawn_set_at_once_share_it(small_config: MakeConfig) -> None:
    config = small_config(Path("sample"), image_size=(800, 600))
    photos = config.photos
    several = [CONTEXT.Process(target=photo_folder, args=(photos,)) for _ in range(3)]
    for process in several:
        process.start()
    for process in several:
        process.join()
    assert [process.exitcode for process in several] == [0, 0, 0]


def test_two_that_fetch_into_one_folder(tmp_path: Path) -> None:
    work = tmp_path / ".pets.download"
    work.mkdir()
    held = lock(work)
    with pytest.raises(CatdogError, match=r"another process is fetching into .*pets; wait for it, or give another"):
        fetch("pets", tmp_path / "pets")
    unlock(held)
    assert list(tmp_path.iterdir()) == [work]


def test_reports_that_are_written_at_once_are_each_whole(tmp_path: Path) -> None:
    """The last one stays, and nothing is left beside it."""
    meet, failed = threading.Barrier(8), []

    def write(number: int) -> None:
        files = {name: f"{number}".encode() for name in ("index.html", "a.png", "b.png")}
        meet.wait()
        try:
            for _ in range(20):
                write_folder(tmp_path / "evaluation", files)
        except CatdogError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation"]
    contents = {path.read_bytes() for path in (tmp_path / "evaluation").iterdir()}
    assert len(list((tmp_path / "evaluation").iterdir())) == 3 and len(contents) == 1


def test_the_folder_of_a_search_is_claimed_too(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    study = pytest.importorskip("catdog.tools.tune.study")
    config = small_config(make_photos({"cat": 9, "dog": 9}), out="")
    study_folder = study.NewStudyFolder
    with new_run(config, quiet, study_folder) as (first, _), new_run(config, quiet, study_folder) as (second, folder):
        assert first.run.out != second.run.out and folder.path.name.startswith("tune-")
        (folder.path / "trials").mkdir()
        (Path(first.run.out) / "config.toml").touch()
        with pytest.raises(CatdogError, match="another training is writing to the study folder"):
            study.StudyFolder(Path(first.run.out)).__enter__()
