"""Packed sets in stores that misbehave: the same photos as from the folder, or one sentence."""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import in_one_and_in_two_parts, quiet
from drawn_photos import fill
from misbehaving_store import FileServer, serving_files
from safetensors.numpy import load_file

from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.data import remote
from catdog.data.decode_pool import DecodePool
from catdog.data.listing import list_photos
from catdog.data.load import load_photos
from catdog.data.photo_dataset import PhotoDataset
from catdog.data.prefetch import load_batches
from catdog.errors import CatdogError
from catdog.images import address, packed_paths, store
from catdog.images import packed as reading
from catdog.images.address import StoreError
from catdog.images.packed import Packed
from catdog.tools.dataset.pack import pack
from catdog.train import resume, train

pytest.importorskip("aiohttp", reason="fsspec reads web servers with it")

SIZE = (8, 8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return fill(tmp_path / "photos", 24)


@pytest.fixture
def server(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A store with the packed photos in shards of some 30 kB, and the patience of tests."""
    monkeypatch.setattr("catdog.tools.dataset.pack._MEGABYTE", 30_000)
    monkeypatch.setattr(address, "_DELAY", 0.01)
    monkeypatch.setattr(address, "_TIMEOUT", 1.0)
    pack(photos, tmp_path / "served" / "packed", 1)
    with serving_files(tmp_path / "served") as files:
        files.url += "/packed"
        yield files


@pytest.fixture(autouse=True)
def _a_new_process() -> Iterator[None]:
    """Addresses are asked once by each process; each test is as if it were one."""
    forget()
    yield
    forget()


def forget() -> None:
    remote._mirror.cache_clear()
    reading.open_set.cache_clear()


def pixels_of(root: Path) -> np.ndarray:
    return load_photos(list_photos(root), SIZE, cache_folder="none", threads=2).pixels.numpy()


def of_one_shard(mirror: Path) -> list[Packed]:
    """The photos of the first shard, in its order."""
    found = [photo for photo in map(packed_paths.find_photo, list_photos(mirror).files) if photo is not None]
    return sorted(photo for photo in found if photo.shard == min(found).shard)


def begin(photos: list[Packed], blocks: bool = False) -> None:
    """Bring photos of one set here."""
    assert photos[0].store is not None
    for future in photos[0].store.begin(photos, blocks):
        future.result()


def test_the_photos_are_the_folders_and_neighbours_come_in_one_request(server: FileServer, photos: Path) -> None:
    mirror = remote.local_folder(server.url)
    np.testing.assert_array_equal(pixels_of(mirror), pixels_of(photos))
    shards = list((server.root / "packed").glob("*.tar"))
    assert len(shards) > 3
    assert len(server.asked_for_shards()) <= 2 * len(shards)  # 64 photos at a time, which may end within a shard
    assert server.encodings == {"identity"}
    before = len(server.requests)
    np.testing.assert_array_equal(pixels_of(mirror), pixels_of(photos))
    assert len(server.requests) == before  # all that is here already


def test_only_what_is_needed_is_read(server: FileServer, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_GAP", 1500)
    listing = list_photos(remote.local_folder(server.url))
    few = listing.select([row % 12 == 0 for row in range(len(listing))])
    load_photos(few, SIZE, cache_folder="none", threads=2)
    read = sum(stop - start for _, start, stop in server.asked_for_shards())
    assert read <= sum(os.path.getsize(photos / path) for path in few.paths) + 1500 * len(few)


def test_photos_that_are_here_are_not_read_again_with_those_that_are_missing(server: FileServer) -> None:
    photos = of_one_shard(remote.local_folder(server.url))
    assert len(photos) > 3
    begin(photos[:2])
    begin(photos)
    last = photos[-1].offset + photos[-1].size
    assert [(start, stop) for _, start, stop in server.asked_for_shards()] == [
        (photos[0].offset, photos[1].offset + photos[1].size),
        (photos[2].offset, last),
    ]


@pytest.mark.parametrize("manner", ["drop", "stall", "cut", "500", "other"])
def test_what_goes_wrong_once_is_asked_for_again(manner: str, server: FileServer, photos: Path) -> None:
    met: set[str] = set()
    server.manner = lambda number, name: "serve" if name in met or met.add(name) else manner  # type: ignore[func-returns-value]
    np.testing.assert_array_equal(pixels_of(remote.local_folder(server.url)), pixels_of(photos))
    assert len(server.requests) > 3


def test_on_a_slow_line_an_answer_may_take_longer_than_silence(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "_TIMEOUT", 0.4)
    server.stall, server.manner = 0.8, lambda number, name: "drip" if name.endswith(".tar") else "serve"
    photo, *_ = of_one_shard(remote.local_folder(server.url))
    begin([photo])
    assert photo.fits(photo.here())


def test_a_store_that_does_all_of_it_at_random(server: FileServer, photos: Path) -> None:
    chance = random.Random(0)
    server.manner = lambda number, name: chance.choice(["serve", "serve", "serve", "drop", "cut", "500"])
    np.testing.assert_array_equal(pixels_of(remote.local_folder(server.url)), pixels_of(photos))


@pytest.mark.parametrize(
    ("manner", "message"),
    [
        ("drop", "cannot read .*photos-0000\\d\\d.tar: .*; check the address, the connection and your access"),
        ("stall", "cannot read .*photos-0000\\d\\d.tar: no answer for 0.2 seconds"),
        ("403", "cannot read .*photos-0000\\d\\d.tar: 403"),
        ("whole", "photos-0000\\d\\d.tar cannot be read in parts"),
        ("other", "cannot read .*photos-0000\\d\\d.tar: it has changed since its index was written; copy the packed"),
    ],
)
def test_what_stays_wrong_is_one_sentence(
    manner: str, message: str, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "_TIMEOUT", 0.2)
    server.manner = lambda number, name: manner if name.endswith(".tar") else "serve"
    mirror = remote.local_folder(server.url)
    with pytest.raises(StoreError, match=message) as error:
        pixels_of(mirror)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: (root / "shards.json").unlink(), "there is no .*/packed/shards.json"),
        (lambda root: (root / "shards.json").write_text("{}"), "it is no shards.json of catdog data pack"),
        (lambda root: (root / "photos-000001.json").unlink(), "there is no .*/packed/photos-000001.json"),
        (lambda root: (root / "photos-000001.json").write_text("{}"), "it is not the index that shards.json"),
    ],
)
def test_a_set_that_is_not_whole_is_one_sentence(
    break_it: Callable[[Path], object], message: str, server: FileServer
) -> None:
    break_it(server.root / "packed")
    with pytest.raises(StoreError, match=message):
        list_photos(remote.local_folder(server.url))


def test_an_address_where_nobody_is_and_one_of_no_kind(capsys: pytest.CaptureFixture[str], server: FileServer) -> None:
    assert main(["data", "stats", "http://127.0.0.1:1/packed"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("catdog: cannot read http://127.0.0.1:1/packed/shards.json: ") and told.count("\n") == 1
    assert main(["train", "--data", "nothing://packed"]) == 2
    assert "is no address that fsspec knows" in capsys.readouterr().err


def test_a_missing_package_is_one_sentence_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(CatdogError, match=r'reading s3:// needs the extra \[remote\] of catdog: pip install .*"s3fs>='):
        address._open_system("s3://bucket/photos")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(CatdogError, match=r'reading https:// needs .*: pip install .*"fsspec\[http\]>='):
        address._open_system("https://example.org/photos")


def weights(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / "model.safetensors")


def assert_same(one: Path, other: Path) -> None:
    for name, array in weights(one).items():
        np.testing.assert_array_equal(array, weights(other)[name])
    states = [torch.load(run / "last.pt", weights_only=True)["model"] for run in (one, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize("cache", ["auto", "none"])
def test_a_training_gives_the_same_weights_and_the_mirror_stays_small(
    cache: str, server: FileServer, photos: Path, tmp_path: Path, small_config: Callable[..., Config]
) -> None:
    limit = 60_000 / 1e9 if cache == "none" else 1.0
    changes: dict[str, Any] = {"epochs": 2, "cache": cache, "cache_limit": limit}
    of_folder = train(small_config(photos, out=str(tmp_path / "of-folder"), **changes), log=quiet)
    of_store = train(small_config(server.url, out=str(tmp_path / "of-store"), **changes), log=quiet)
    assert_same(of_folder, of_store)
    mirror = remote.local_folder(server.url, cache, limit)
    if cache == "none":
        kept = sum(path.stat().st_blocks * 512 for path in mirror.glob("*.tar"))
        assert kept <= 2 * 60_000 < sum(path.stat().st_size for path in (server.root / "packed").glob("*.tar"))


@pytest.mark.usefixtures("no_curves")
def test_a_training_that_lost_its_store_is_resumed_exactly(
    server: FileServer, photos: Path, tmp_path: Path, small_config: Callable[..., Config]
) -> None:
    changes: dict[str, Any] = {"epochs": 3, "cache": "none", "cache_limit": 30_000 / 1e9, "checkpoint_minutes": 0.0}
    whole = train(small_config(photos, out=str(tmp_path / "whole"), **changes), log=quiet)
    config = small_config(server.url, out=str(tmp_path / "lost"), **changes)
    lost = False

    def lose(number: int, name: str) -> str:
        nonlocal lost
        lost = lost or (number > 60 and (tmp_path / "lost" / "last.pt").exists())
        return "drop" if lost else "serve"

    server.manner = lose
    with pytest.raises(CatdogError, match=r"cannot read .*\.tar: .*go on with: catdog train --resume .*lost"):
        train(config, log=quiet)
    server.manner = lambda number, name: "serve"
    forget()
    assert_same(whole, resume(tmp_path / "lost", log=quiet))


@pytest.mark.usefixtures("no_curves")
def test_a_training_in_windows_of_shards_is_resumed_exactly(
    server: FileServer, tmp_path: Path, small_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catdog.data.shard_order.WINDOW", 2)
    config = small_config(server.url, epochs=4, cache="none")
    whole, parts = in_one_and_in_two_parts(config, 2, tmp_path, monkeypatch)
    assert_same(whole, parts)
    shards = PhotoDataset(list_photos(remote.local_folder(server.url))).shards
    assert shards is not None and len(set(shards.tolist())) > 4
    paths = [packed_paths.find_photo(path) for path in list_photos(remote.local_folder(server.url)).files]
    assert [f"photos-{shard:06}.tar" for shard in shards] == [Path(photo.shard).name for photo in paths if photo]


def test_photos_are_asked_for_before_their_batch(server: FileServer) -> None:
    listing = list_photos(remote.local_folder(server.url))
    folder = PhotoDataset(listing, SIZE)
    batches = [torch.arange(start, start + 4) for start in range(0, len(listing), 4)]
    coming = load_batches(folder, batches)
    assert next(coming).rows.tolist() == [0, 1, 2, 3]
    found = packed_paths.find_folder(listing.root)
    assert found is not None
    later = [packed_paths.find_photo(listing.path(row)) for row in range(4, 16)]
    for future in [future for photo in later if photo and photo.store for future in photo.store.begin([photo])]:
        future.result()
    asked = len(server.asked_for_shards())
    for _ in range(3):
        next(coming)
    assert all(photo is not None and photo.fits(photo.here()) for photo in later)
    assert asked >= 4


def test_blocks_are_brought_once_with_all_that_is_in_them(
    server: FileServer, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the batches of an epoch, whose photos lie here and there; photos lie across the borders of blocks too."""
    monkeypatch.setattr(store, "BLOCK", 4096)
    monkeypatch.setattr(store, "_RANGE", 2 * 4096)
    listing = list_photos(remote.local_folder(server.url))
    rows = torch.from_numpy(np.random.default_rng(0).permutation(len(listing)))
    found: dict[int, np.ndarray] = {}
    for batch in load_batches(PhotoDataset(listing, SIZE), rows.split(5)):
        found.update(zip(batch.rows.tolist(), batch.pixels.numpy(), strict=True))
    np.testing.assert_array_equal([found[row] for row in range(len(listing))], pixels_of(photos))
    sizes = {path.name: path.stat().st_size for path in (server.root / "packed").glob("*.tar")}
    asked = sorted(server.asked_for_shards())
    assert all(start % 4096 == 0 and (stop % 4096 == 0 or stop == sizes[name]) for name, start, stop in asked)
    ends: dict[str, int] = {}
    for name, start, stop in asked:
        assert start >= ends.get(name, 0)
        ends[name] = stop
    assert len(asked) < len(listing)


def test_a_block_that_made_room_is_brought_again(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BLOCK", 4096)
    listing = list_photos(remote.local_folder(server.url))
    photo = packed_paths.find_photo(listing.path(0))
    assert photo is not None and photo.store is not None
    here = photo.store

    def bring() -> None:
        for future in here.begin([photo], blocks=True):
            future.result()

    bring()
    asked = len(server.requests)
    bring()
    assert len(server.requests) == asked
    with monkeypatch.context() as changed:
        changed.setattr(here, "limit", 0)
        here._trim(1)
    assert not photo.fits(photo.here())
    bring()
    assert len(server.requests) > asked
    assert photo.fits(photo.here())


@pytest.mark.parametrize("is_made_again", [False, True])
def test_blocks_of_a_shard_that_another_process_removed_are_brought_again(
    is_made_again: bool, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BLOCK", 4096)
    photos = of_one_shard(remote.local_folder(server.url))
    for _ in range(2):
        begin(photos, blocks=True)
        assert all(photo.fits(photo.here()) for photo in photos)
        os.unlink(photos[0].shard)
        if is_made_again:
            Path(photos[0].shard).touch()
    assert len(set(server.asked_for_shards())) == len(server.asked_for_shards()) / 2


@pytest.mark.parametrize("blocks", [False, True])
def test_a_mirror_that_was_cleared_is_made_again(blocks: bool, server: FileServer, photos: Path) -> None:
    mirror = remote.local_folder(server.url)
    few = of_one_shard(mirror)
    assert main(["cache", "--clear"]) == 0
    assert not mirror.exists()
    packed_paths._set_as_of.cache_clear()  # which is for a second
    assert of_one_shard(mirror) == few
    begin(few, blocks)
    assert remote.is_mirror(mirror)
    forget()
    np.testing.assert_array_equal(pixels_of(mirror), pixels_of(photos))


@pytest.mark.parametrize("name", ["store.json", "shards.json", "photos-000000.tar"])
def test_what_cannot_be_read_in_the_mirror_is_named_in_one_sentence(
    name: str, server: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = remote.local_folder(server.url) / name
    path.unlink(missing_ok=True)
    path.mkdir()  # which nobody can read as a file; another user's has no permission
    forget()
    assert main(["data", "stats", server.url]) == 2
    told = capsys.readouterr().err
    assert str(path) in told and "XDG_CACHE_HOME" in told and told.count("\n") == 1


def test_a_mirror_that_cannot_be_made_is_one_sentence(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert main(["data", "stats", server.url]) == 2
    told = capsys.readouterr().err
    assert "cannot make the folder" in told and "--cache DIR, or XDG_CACHE_HOME" in told and told.count("\n") == 1


def test_a_pool_that_is_closed_waits_for_no_photos_that_do_not_come(server: FileServer) -> None:
    files = list_photos(remote.local_folder(server.url)).files
    server.stall, server.manner = 60.0, lambda number, name: "stall"
    pool = DecodePool(SIZE, 1)
    coming = packed_paths.begin_reading(files)
    part = pool._threads.submit(pool._decode_part, files, np.empty(0, np.uint8), range(len(files)), coming)
    while not part.running():
        pass
    pool.close()
    assert isinstance(part.exception(), CancelledError)


def test_a_process_ends_while_photos_are_on_their_way(server: FileServer) -> None:
    server.stall, server.manner = 600.0, lambda number, name: "stall" if name.endswith(".tar") else "serve"
    code = (
        "import sys; from catdog.data import remote; from catdog.data.listing import list_photos;"
        "from catdog.images.packed_paths import begin_reading;"
        "print(len(begin_reading(list_photos(remote.local_folder(sys.argv[1])).files)))"
    )
    done = subprocess.run([sys.executable, "-c", code, server.url], capture_output=True, text=True, timeout=60)
    assert int(done.stdout) > 3, done.stderr


@pytest.mark.usefixtures("no_curves")
def test_the_plan_says_what_will_be_read(server: FileServer, small_config: Callable[..., Config]) -> None:
    lines: list[str] = []
    train(small_config(server.url, epochs=1, cache="none"), log=lines.append)
    shards = len(list((server.root / "packed").glob("*.tar")))
    assert f"in {shards} shards, read in each epoch" in "\n".join(lines)


def test_predict_names_the_photos_by_their_address(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", server.url, "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split(",")[0] for line in lines[:2]] == [f"{server.url}/cat/cat.0.jpg", f"{server.url}/cat/cat.1.jpg"]


def test_photos_on_this_machine_are_predicted_without_fsspec(photos: Path, tmp_path: Path) -> None:
    pack(photos, tmp_path / "packed", 1)
    code = (
        "import sys; from catdog.cli.main import main; status = main(['predict', sys.argv[1]]);"
        "print(status, {'fsspec', 'aiohttp', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "packed" / "cat" / "cat.0.jpg")], capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "0 set()", done.stderr


def test_the_cache_lists_the_mirror_and_clears_it(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    pixels_of(remote.local_folder(server.url))
    assert main(["cache"]) == 0
    assert f"photo files of {server.url}" in capsys.readouterr().out
    assert main(["cache", "--clear"]) == 0
    assert not list((Path(os.environ["XDG_CACHE_HOME"]) / "catdog" / "stores").iterdir())
