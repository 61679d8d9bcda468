"""Photos decoded while torch is imported: the same pixels, and nothing is lost or left where that does not work."""

import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.data import pixel_cache as cache
from catdog.data import warm_up as ahead
from catdog.data.listing import Listing
from catdog.data.splits import train_and_val
from catdog.data.warm_up import DecodingAhead
from catdog.errors import ImageError

MakeConfig = Callable[..., Config]
MakePhotos = Callable[..., Path]


@pytest.fixture
def config(small_config: MakeConfig, make_photos: MakePhotos, tmp_path: Path) -> Config:
    return small_config(make_photos({"cat": 70, "dog": 60}), cache=str(tmp_path / "cache"))


def listings(config: Config) -> tuple[Listing, Listing]:
    return train_and_val(config.photos.data, config.photos.val_share, config.run.seed)


def asked(decoding: DecodingAhead, listing: Listing, config: Config, **settings: Any) -> tuple[cache.Decoded, int]:
    """The photos, and how many were counted."""
    counted = 0

    def progress(done: Iterable[int]) -> Iterator[int]:
        nonlocal counted
        for count in done:
            counted += count
            yield count

    return decoding.decode_all(
        listing, config.photos.image_size, cache=config.photos.cache, progress=progress, **settings
    ), counted


def folders(config: Config) -> list[str]:
    return sorted(path.name for path in Path(config.photos.cache).glob("*/*"))


def test_the_pixels_are_there_without_being_decoded_again(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [cache.decode_all(listing, config.photos.image_size, cache="none").pixels for listing in listings(config)]
    monkeypatch.setattr(cache, "_decode_into", None)
    with DecodingAhead(config) as decoding:
        for listing, pixels in zip(listings(config), wanted, strict=True):
            found, counted = asked(decoding, listing, config)
            assert np.array_equal(found.pixels, pixels) and counted == len(pixels) > 0
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in folders(config)) and len(folders(config)) == 2


def test_what_is_cached_is_not_counted(config: Config) -> None:
    for _ in range(2):
        with DecodingAhead(config) as decoding:
            counts = [asked(decoding, listing, config)[1] for listing in listings(config)]
    assert counts == [0, 0]


@pytest.mark.parametrize("how", ["no cache", "several processes", "killed", "no room", "no process", "a run folder"])
def test_where_it_cannot_be_done_ahead_it_is_done_when_asked(
    how: str, config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if how == "no cache":
        config = replace(config, photos=replace(config.photos, cache="none"))
    elif how == "several processes":
        monkeypatch.setenv("WORLD_SIZE", "2")
    elif how == "no room":  # for the configuration that the process has
        config = replace(config, photos=replace(config.photos, cache_limit=1e-6))
    elif how == "no process":
        monkeypatch.setattr(ahead, "python", refuse)
    elif how == "a run folder":
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "model.safetensors").touch()
    with DecodingAhead(config) as decoding:
        if how == "killed":
            assert decoding._process is not None
            os.kill(decoding._process.pid, signal.SIGKILL)
        for listing in listings(config):
            found, _ = asked(decoding, listing, config)
            wanted = cache.decode_all(listing, config.photos.image_size, cache="none")
            assert np.array_equal(found.pixels, wanted.pixels)


def refuse(program: str) -> None:
    raise OSError("no more processes")


def test_nothing_is_written_where_a_training_would_be_refused(
    config: Config, capfd: pytest.CaptureFixture[str]
) -> None:
    inside = Path(config.photos.data) / "cache"
    for refused in (
        replace(config, photos=replace(config.photos, cache=str(inside))),
        replace(config, photos=replace(config.photos, data=str(inside))),
    ):
        with DecodingAhead(refused) as decoding:
            assert list(decoding._counts()) == []
        assert not inside.exists() and not Path(config.photos.cache).exists()
    assert capfd.readouterr() == ("", "")


def test_an_error_is_that_of_a_training_without(config: Config, capfd: pytest.CaptureFixture[str]) -> None:
    listing = listings(config)[0]
    Path(listing.path(3)).write_bytes(b"nothing of a photo")
    config = replace(config, photos=replace(config.photos, strict=True))
    with DecodingAhead(config) as decoding, pytest.raises(ImageError, match=Path(listing.path(3)).name):
        asked(decoding, listing, config, strict=True)
    assert folders(config) == [] and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("how", ["left", "killed"])
def test_what_is_given_up_leaves_nothing(how: str, small_config: MakeConfig, make_photos: MakePhotos) -> None:
    root = make_photos({"cat": 2, "dog": 2})
    for i in range(4000):
        os.link(root / "cat" / "cat-000.png", root / "cat" / f"{i}.png")
    config = small_config(root, cache=str(root.parent / "cache"), image_size=(256, 256))
    with DecodingAhead(config) as decoding:
        assert next(decoding._counts()) > 0
        (unfinished,) = Path(config.photos.cache).glob("*/.writing-*")
        process = decoding._process
        assert process is not None and process.stdout is not None
        if how == "killed":  # the one that asks: what reads its answers is gone
            process.stdout.close()
            assert process.wait() == 0
    assert process.returncode is not None and not unfinished.exists() and folders(config) == []


def test_the_command_train_does_so(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_decode_into", None)
    given = {"data": config.photos.data, "cache": config.photos.cache, "out": str(tmp_path / "run"), "epochs": "1"}
    flags = [text for name, value in given.items() for text in (f"--{name}", value)]
    assert main(["train", *flags, "--image-size", "6", "8", "--hidden", "4", "--device", "cpu"]) == 0
