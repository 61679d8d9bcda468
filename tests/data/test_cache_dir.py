"""What is kept between runs: seen, bounded by its size, cleared; never half there."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.data.cache_dir import GIGABYTE, Entry, entries
from catdog.data.cache_folder import folder_of
from catdog.data.listing import list_photos
from catdog.data.pixel_cache import decode_all
from catdog.errors import CatdogError
from catdog.train import train

MakePhotos = Callable[..., Path]
SIZE = (64, 64)
BYTES = 10 * 3 * 64 * 64


def kept(folder: Path) -> list[Entry]:
    return entries(folder)


def fill(make_photos: MakePhotos, folder: Path, names: str, limit: float = 1.0) -> None:
    """Ten photos' pixels for each of the sets `names`, each used a minute after the one before."""
    for minute, name in enumerate(names):
        decode_all(list_photos(make_photos({"cat": 5, "dog": 5}, name)), SIZE, cache=str(folder), limit=limit)
        os.utime(kept(folder)[0].path / "entry.json", (60 * minute, 60 * minute))


def sets(folder: Path) -> list[str]:
    return [entry.made_from[-1] for entry in kept(folder)]


def test_what_was_used_longest_ago_goes_first(make_photos: MakePhotos, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    fill(make_photos, folder, "abc")
    assert sets(folder) == ["c", "b", "a"]
    assert all(BYTES <= entry.size < BYTES + 20_000 for entry in kept(folder))
    again = decode_all(list_photos(tmp_path / "a"), SIZE, cache=str(folder))  # used now
    assert isinstance(again.pixels.base, np.memmap) or isinstance(again.pixels, np.memmap)
    assert sets(folder) == ["a", "c", "b"]

    room_for_three = 3.5 * (BYTES + 10_000) / GIGABYTE
    before = again.pixels.copy()
    decode_all(list_photos(make_photos({"cat": 5, "dog": 5}, "d")), SIZE, cache=str(folder), limit=room_for_three)
    assert sets(folder) == ["d", "a", "c"]
    room_for_one = 1.5 * (BYTES + 10_000) / GIGABYTE
    decode_all(list_photos(make_photos({"cat": 5, "dog": 5}, "e")), SIZE, cache=str(folder), limit=room_for_one)
    assert sets(folder) == ["e"]
    assert np.array_equal(again.pixels, before)  # still there for who has it mapped
    assert [path.name for path in (folder / "pixels").iterdir()] == [kept(folder)[0].path.name]


def test_pixels_that_can_never_fit_are_an_error_that_says_what_to_do(
    make_photos: MakePhotos, small_config: Callable[..., Config], tmp_path: Path
) -> None:
    fill(make_photos, tmp_path / "kept", "ab")
    config = small_config(
        make_photos({"cat": 5, "dog": 5}), cache=str(tmp_path / "kept"), cache_limit=1e-7, image_size=SIZE
    )
    with pytest.raises(CatdogError, match=r"--cache-limit.*--cache none"):
        train(config, log=lambda line: None)
    assert sets(tmp_path / "kept") == ["b", "a"]


def test_the_command_lists_and_clears_and_leaves_everything_else(
    make_photos: MakePhotos, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "kept"
    assert main(["cache", "--cache", str(folder)]) == 0
    assert "nothing is kept" in capsys.readouterr().out
    fill(make_photos, folder, "ab")
    (folder / "sample-1-10-8x8").mkdir()
    (folder / "sample-1-10-8x8" / "drawing.png").write_bytes(b"x" * 5000)
    (folder / "notes.txt").write_text("mine")
    assert main(["cache", "--cache", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert sum(f"10 photos at 64 x 64 of {tmp_path / name}" in line for line in lines for name in "ab") == 2
    assert sum("drawn cats and dogs" in line for line in lines) == 1
    assert main(["cache", "--cache", str(folder), "--clear"]) == 0
    assert capsys.readouterr().out.startswith("removed 3 folders")
    assert sorted(path.name for path in folder.rglob("*")) == ["notes.txt", "pixels"]
    assert len(list((tmp_path / "a").rglob("*.png"))) == 10


def test_the_folder_of_each_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert folder_of("auto") == folder_of("none") == Path("/somewhere/catdog")
    assert folder_of("here") == Path("here")


def test_without_a_home_folder_pixels_are_decoded_into_memory_and_drawings_are_temporary(
    make_photos: MakePhotos,
    small_config: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
    no_curves: None,
    tmp_path: Path,
) -> None:
    """As for the user id of a container that no file knows."""

    def unknown(number: int) -> None:
        raise KeyError(number)

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    lines: list[str] = []
    train(small_config(make_photos({"cat": 5, "dog": 5}), epochs=1), log=lines.append)
    assert lines[0].count("\ncache      main memory: ") == 1
    assert not Path("~").exists()
    assert main(["cache"]) == 0
    assert main(["cache", "--clear"]) == 0
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr("catdog.data.drawn.DEFAULT_COUNT", 12)
    train(small_config(Path("sample"), out="other"), log=lines.append)
    (drawn,) = (tmp_path / "temporary").glob("catdog/sample-*")
    assert len(list(drawn.glob("*/*.jpg"))) == 12
