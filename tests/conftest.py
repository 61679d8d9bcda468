"""What several tests need: small folders of photos made on the spot, and a small training on them."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # tests run beside each other: none takes more than its share of the cores
    _share = str(max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])))
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_name, _share)

import functools
import io
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

os.environ.setdefault("MPLCONFIGDIR", "/tmp")

from catdog.config.settings import Config
from catdog.config.toml import load_config

pytest_plugins = ["serving", "browsing"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test prints may hold names that are not UTF-8, which pytest-xdist cannot send to another process."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def _own_cache_and_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the user's cache or writes into the folder that the tests were started from."""
    with pytest.MonkeyPatch.context() as patch:  # its own, so that a test's monkeypatch.undo() leaves it be
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.chdir(tmp_path_factory.mktemp("here"))
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_the_disk() -> Iterator[None]:
    """What fsync is for shows only where power is cut, which no test does; a small training waits longer than it runs.

    Processes that a test kills, or takes the room on the disk from, call the real one.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(autouse=True)
def _few_photos_are_nothing_special(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings in the tests' own process begin with new weights, and are single ones, unless they say otherwise."""
    monkeypatch.setattr("catdog.trainer.folds.FEW", 0)
    monkeypatch.setattr("catdog.runs.start.FEW", 0)


@contextmanager
def without_curves() -> Iterator[None]:
    """Trainings draw no curves.png, which takes three times as long as all else in a small one.

    For tests that look at what a training computes; that it draws is seen in tests/trainer/test_loop.py.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("catdog.drawing.curves.draw_curves", lambda history, path: None)
        yield


@pytest.fixture
def no_curves() -> Iterator[None]:
    with without_curves():
        yield


def save_photo(path: Path, seed: int, hue: int = 0, size: tuple[int, int] = (20, 24)) -> None:
    """A picture of noise around a colour that `hue` (a class) sets: easy to learn, different for every seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_picture(seed, hue, size, path.suffix))


@functools.cache
def _picture(seed: int, hue: int, size: tuple[int, int], suffix: str) -> bytes:
    rng = np.random.default_rng([seed, hue])
    colour = np.roll([150, 100, 60], hue) + rng.integers(-25, 25, 3)
    pixels = np.clip(colour + rng.normal(0, 30, (*size, 3)), 0, 255).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, Image.registered_extensions()[suffix])
    return data.getvalue()


@pytest.fixture
def make_photos(tmp_path: Path) -> Callable[..., Path]:
    """make_photos({"cat": 12, "dog": 12}, name="photos", first=0) -> a folder of class folders of such pictures."""

    def make(counts: dict[str, int], name: str = "photos", first: int = 0) -> Path:
        root = tmp_path / name
        root.mkdir(parents=True, exist_ok=True)
        for hue, (label, count) in enumerate(sorted(counts.items())):
            (root / label).mkdir(exist_ok=True)
            for i in range(first, first + count):
                save_photo(root / label / f"{label}-{i:03}.png", seed=i, hue=hue)
        return root

    return make


@pytest.fixture
def small_config(tmp_path: Path) -> Callable[..., Config]:
    """small_config(photos, epochs=3, ...) -> a configuration that trains in a moment, with fields changed by name."""

    def make(data: Path | str, **changes: Any) -> Config:
        fields = {
            "data": str(data),
            "out": str(tmp_path / "run"),
            "image_size": (6, 8),
            "hidden": (16, 12),
            "epochs": 3,
            "batch_size": 8,
            "learning_rate": 3e-3,
            "device": "cpu",
            "threads": 1,
            "folds": 1,
            "start_from": "none",
        }
        return load_config(None, {**fields, **changes})

    return make


def quiet(line: str) -> None:
    """A log that keeps nothing."""


def in_one_and_in_two_parts(
    config: Config, stop_after: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path]:
    """(the run of a training left alone, that of one stopped after so many epochs and resumed), both in `place`."""
    from catdog.train import resume, train
    from catdog.trainer.loop import Trainer

    whole = train(replace(config, run=replace(config.run, out=str(place / "whole"))), log=quiet)
    finish = Trainer._finish_epoch

    def stop(self: Trainer, photos_per_second: float) -> None:
        finish(self, photos_per_second)
        if self.state.progress.epoch == stop_after:
            raise KeyboardInterrupt

    with monkeypatch.context() as changed:
        changed.setattr(Trainer, "_finish_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            train(replace(config, run=replace(config.run, out=str(place / "part"))), log=quiet)
    return whole, resume(place / "part", log=quiet)
