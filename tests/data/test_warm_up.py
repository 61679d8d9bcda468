"""Photos decoded while torch is imported: the same pixels, and nothing is lost or left where that does not work."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catdog.architecture import Resize
from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.config.toml import to_toml
from catdog.data import drawn, warm_up
from catdog.data import pixel_cache as cache
from catdog.data.listing import Listing
from catdog.data.splits import SAMPLE, photo_folder, train_and_val
from catdog.data.warm_up import WarmUp
from catdog.errors import CatdogError, ImageError
from catdog.runs.paths import new_run

MakeConfig = Callable[..., Config]
MakePhotos = Callable[..., Path]


@pytest.fixture
def config(small_config: MakeConfig, make_photos: MakePhotos, tmp_path: Path) -> Config:
    return small_config(make_photos({"cat": 70, "dog": 60}), cache=str(tmp_path / "cache"))


def listings(config: Config) -> tuple[Listing, Listing]:
    return train_and_val(config.photos.data, config.photos.val_share, config.run.seed)


def asked(listing: Listing, config: Config, strict: bool = False) -> tuple[cache.Decoded, int]:
    """The photos, and how many were counted."""
    counts: list[int] = []
    photos = config.photos
    found = cache.decode_all(
        listing, photos.image_size, photos.resize, cache=photos.cache, strict=strict, progress=counts.append
    )
    return found, sum(counts)


def folders(config: Config) -> list[str]:
    return sorted(path.name for path in Path(config.photos.cache).glob("*/*"))


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "stuck"
        time.sleep(0.01)


def many_photos(make_photos: MakePhotos, count: int = 4000) -> Path:
    root = make_photos({"cat": 2, "dog": 2})
    for i in range(count):
        os.link(root / "cat" / "cat-000.png", root / "cat" / f"{i}.png")
    return root


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_the_pixels_are_there_without_being_decoded_again(
    config: Config, monkeypatch: pytest.MonkeyPatch, resize: Resize
) -> None:
    config = replace(config, photos=replace(config.photos, resize=resize))
    size = config.photos.image_size
    wanted = [cache.decode_all(listing, size, resize, cache="none").pixels for listing in listings(config)]
    monkeypatch.setattr(cache, "_decode_into", None)
    with WarmUp(config) as warming:
        assert warming._process is not None
        assert warming._process.wait() == 0
        for listing, pixels in zip(listings(config), wanted, strict=True):
            found, counted = asked(listing, config)
            assert np.array_equal(found.pixels, pixels) and counted == 0
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in folders(config)) and len(folders(config)) == 2


def test_the_drawn_set_is_drawn_where_a_training_looks_for_it(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(SAMPLE, cache="none", image_size=(2048, 2048))  # of such large ones 200 are drawn
    with WarmUp(config) as warming:
        assert warming._process is not None
        assert warming._process.wait() == 0
    monkeypatch.setattr(drawn, "draw_files", None)
    assert sum(map(len, train_and_val(photo_folder(config.photos), 0.2, 0))) == 200


def test_on_a_terminal_a_bar_shows_how_far_it_is(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    error = io.StringIO()
    error.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", error)
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    with WarmUp(config) as warming, warming.bar:
        assert error.getvalue().strip() == "starting torch ..."
        wait_until(lambda: "decoding: 100%" in error.getvalue() and "130/130" in error.getvalue())
    assert not error.getvalue().rsplit("\r", 2)[-2].strip(), "the bar is gone at the end"


@pytest.mark.slow
def test_a_training_waits_for_what_is_being_decoded_and_sees_how_far_it_is(
    small_config: MakeConfig, make_photos: MakePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(many_photos(make_photos), cache=str(tmp_path / "cache"), image_size=(64, 64))
    listing = listings(config)[0]
    monkeypatch.setattr(cache, "_decode_into", None)
    with WarmUp(config):
        wait_until(lambda: list(Path(config.photos.cache).glob("*/.writing-*/done")))
        found, counted = asked(listing, config)
    assert len(found.pixels) == len(listing) and 0 < counted <= len(listing)


@pytest.mark.parametrize("how", ["no cache", "several processes", "killed", "no room", "no process"])
def test_where_it_cannot_be_done_ahead_it_is_done_when_asked(
    how: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "no cache":
        config = replace(config, photos=replace(config.photos, cache="none"))
    elif how == "several processes":
        monkeypatch.setenv("WORLD_SIZE", "2")
    elif how == "no room":  # for the configuration that the process has
        config = replace(config, photos=replace(config.photos, cache_limit=1e-6))
    elif how == "no process":
        monkeypatch.setattr(warm_up, "start_python", refuse)
    with WarmUp(config) as warming:
        if how == "killed":
            assert warming._process is not None
            os.kill(warming._process.pid, signal.SIGKILL)
        for listing in listings(config):
            found, _ = asked(listing, config)
            wanted = cache.decode_all(listing, config.photos.image_size, cache="none")
            assert np.array_equal(found.pixels, wanted.pixels)


def refuse(program: str) -> None:
    raise OSError("no more processes")


@pytest.mark.slow
def test_one_that_is_killed_while_it_is_waited_for_is_replaced(
    small_config: MakeConfig, make_photos: MakePhotos, tmp_path: Path
) -> None:
    config = small_config(many_photos(make_photos), cache=str(tmp_path / "cache"), image_size=(64, 64))
    listing = listings(config)[0]
    with WarmUp(config) as warming:
        assert warming._process is not None
        wait_until(lambda: list(Path(config.photos.cache).glob("*/.writing-*/done")))
        os.kill(warming._process.pid, signal.SIGKILL)
        found, _ = asked(listing, config)
    wanted = cache.decode_all(listing, config.photos.image_size, cache="none")
    assert np.array_equal(found.pixels, wanted.pixels)
    assert len(folders(config)) == 1 and not folders(config)[0].startswith(".")


def test_nothing_is_written_where_a_training_would_be_refused(
    config: Config, capfd: pytest.CaptureFixture[str]
) -> None:
    inside = Path(config.photos.data) / "cache"
    with (
        pytest.raises(CatdogError, match="lies in the folder of photos"),
        new_run(replace(config, photos=replace(config.photos, cache=str(inside))), print),
    ):
        pass
    with WarmUp(replace(config, photos=replace(config.photos, data=str(inside)))) as warming:
        assert warming._process is not None
        assert warming._process.wait() == 0
    assert not inside.exists() and not Path(config.photos.cache).exists()
    assert capfd.readouterr() == ("", "")


def test_an_error_is_that_of_a_training_without(config: Config, capfd: pytest.CaptureFixture[str]) -> None:
    listing = listings(config)[0]
    Path(listing.path(3)).write_bytes(b"nothing of a photo")
    config = replace(config, photos=replace(config.photos, strict=True))
    with WarmUp(config), pytest.raises(ImageError, match=Path(listing.path(3)).name):
        asked(listing, config, strict=True)
    assert folders(config) == [] and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("how", ["left", "killed"])
@pytest.mark.slow
def test_what_is_given_up_leaves_nothing(
    how: str, small_config: MakeConfig, make_photos: MakePhotos, tmp_path: Path
) -> None:
    config = small_config(many_photos(make_photos), cache=str(tmp_path / "cache"), image_size=(256, 256))
    cached = Path(config.photos.cache)
    if how == "left":
        with WarmUp(config) as warming:
            wait_until(lambda: list(cached.glob("*/.writing-*/pixels.npy")))
        assert warming._process is not None and warming._process.returncode is not None
    else:  # the one that asks, by a signal that it does not hear
        (tmp_path / "config.toml").write_text(to_toml(config))
        program = (
            "import time; from catdog.config.toml import load_config; from catdog.data.warm_up import WarmUp\n"
            f"with WarmUp(load_config({str(tmp_path / 'config.toml')!r})): time.sleep(600)"
        )
        owner = subprocess.Popen([sys.executable, "-c", program])
        wait_until(lambda: list(cached.glob("*/.writing-*/pixels.npy")))
        owner.kill()
        owner.wait()
        wait_until(lambda: not list(cached.glob("*/.writing-*")))
    assert folders(config) == []


@pytest.mark.usefixtures("no_curves")
def test_the_command_train_does_so(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"data": config.photos.data, "cache": config.photos.cache, "out": str(tmp_path / "run"), "epochs": "1"}
    flags = [text for name, value in given.items() for text in (f"--{name}", value)]
    settled: list[Config] = []

    def note(self: WarmUp) -> WarmUp:
        settled.append(self._config)
        return self

    monkeypatch.setattr(WarmUp, "__enter__", note)
    monkeypatch.setattr(WarmUp, "__exit__", lambda *_: None)
    assert main(["train", *flags, "--image-size", "6", "8", "--hidden", "4", "--device", "cpu"]) == 0
    (config,) = settled
    assert config.photos.data == given["data"] and config.run.out == given["out"]
