"""What the cache makes of photos that cannot be read: those that stay so are left out, the others are not."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from catdog.cli.main import main
from catdog.data import pixel_cache
from catdog.data.cache_dir import GIGABYTE, entries
from catdog.data.listing import list_photos
from catdog.data.pixel_cache import decode_all
from catdog.data.remote import is_mirror, local_folder
from catdog.errors import CatdogError, ImageError
from catdog.images.decoder import decode_files

MakePhotos = Callable[..., Path]
SIZE = (16, 16)


@pytest.fixture
def packed(make_photos: MakePhotos, tmp_path: Path) -> Path:
    assert main(["data", "pack", str(make_photos({"cat": 5, "dog": 5})), str(tmp_path / "packed")]) == 0
    return tmp_path / "packed"


def test_photos_that_can_be_read_again_are_not_left_out_for_ever(packed: Path, tmp_path: Path) -> None:
    shard = packed / "photos-000000.tar"
    whole, listing, cache = shard.read_bytes(), list_photos(packed), str(tmp_path / "cache")
    shard.write_bytes(bytes(2000) + whole[2000:])
    assert len(decode_all(listing, SIZE, cache=cache).skipped) > 0
    shard.write_bytes(whole)
    found = decode_all(listing, SIZE, cache=cache)
    assert not found.skipped
    assert np.array_equal(found.pixels, decode_all(listing, SIZE, cache="none").pixels)


def test_photos_that_stay_broken_are_not_decoded_in_each_run(
    make_photos: MakePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache = make_photos({"cat": 5, "dog": 5}), str(tmp_path / "cache")
    (root / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    before = decode_all(list_photos(root), SIZE, cache=cache)
    monkeypatch.setattr(pixel_cache, "_decode_into", None)
    after = decode_all(list_photos(root), SIZE, cache=cache)
    assert np.array_equal(after.pixels, before.pixels) and len(after.skipped) == 1
    assert after.skipped == before.skipped


def test_a_store_that_cannot_be_read_is_no_fault_of_its_photos(packed: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    listing = list_photos(local_folder(packed.as_uri(), str(tmp_path / "cache")))
    packed.rename(tmp_path / "gone")
    with pytest.raises(CatdogError, match=r"there is no .*photos-000000\.tar; check the address") as error:
        decode_files(listing.files, np.empty((10, 3, *SIZE), np.uint8), "squash")
    assert not isinstance(error.value, ImageError)


def test_photo_files_of_a_store_take_no_room_from_pixels(make_photos: MakePhotos, packed: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    cache = tmp_path / "cache"
    decode_all(list_photos(local_folder(packed.as_uri(), str(cache))), SIZE, cache=str(cache))
    sizes = {entry.path.parent.name: entry.size for entry in entries(cache)}
    assert sizes["stores"] > sizes["pixels"]
    room = 2 * sizes["pixels"] / GIGABYTE
    decode_all(list_photos(make_photos({"cat": 5, "dog": 5}, "others")), SIZE, cache=str(cache), limit=room)
    assert sorted(entry.path.parent.name for entry in entries(cache)) == ["pixels", "pixels", "stores"]


def test_a_folder_with_another_programs_store_json_is_no_mirror(make_photos: MakePhotos) -> None:
    root = make_photos({"cat": 2, "dog": 2})
    for folder in (root, root.parent):
        (folder / "store.json").write_text(json.dumps({"shop": 1}))
    assert not is_mirror(root)
