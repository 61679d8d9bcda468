"""Processes that decode: the same pixels as here, whatever the files are called and whatever ends."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from catdog.architecture import Resize
from catdog.data import decode_pool as decoders
from catdog.data.batches import batches_in_order
from catdog.data.decode_pool import DecodePool
from catdog.data.listing import list_photos
from catdog.data.photo_dataset import PhotoDataset
from catdog.data.pixel_cache import decode_all
from catdog.data.prefetch import load_batches
from catdog.errors import ImageError
from catdog.images import decoder
from catdog.images.decoder import decode

SIZE = (9, 7)
MakePhotos = Callable[..., Path]


@pytest.fixture(autouse=True)
def few_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "_LEAST", 1)


@pytest.fixture
def paths(make_photos: MakePhotos) -> list[str]:
    listing = list_photos(make_photos({"cat": 6, "dog": 5}))
    odd = Path(listing.path(0)).parent / "a\nb\udcff 猫.png"
    try:
        os.rename(listing.path(0), odd)
    except OSError:  # a system whose names are text
        odd = Path(listing.path(0))
    return [str(odd), *(listing.path(i) for i in range(1, 11))]


def pids(some: DecodePool) -> list[int]:
    return [process._process.pid for process in some._idle]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def two() -> Iterator[DecodePool]:
    some = DecodePool(SIZE, 2, 11)
    assert pids(some) == []  # until something is to be decoded
    some._start(1)
    assert len(pids(some)) == 2
    yield some
    some.close()


def pixels_of(paths: list[str]) -> np.ndarray:
    return np.full((len(paths), 3, *SIZE), 77, np.uint8)


def decoded(some: DecodePool, paths: list[str]) -> tuple[np.ndarray, dict[int, str]]:
    pixels = pixels_of(paths)
    return pixels, {row: reason for part in some.decode_all(paths, pixels) for row, reason in part.reasons.items()}


def expected(paths: list[str]) -> np.ndarray:
    return np.stack([decode(path, SIZE).transpose(2, 0, 1) for path in paths])


def test_pixels_are_those_of_the_one_decode_function(two: DecodePool, paths: list[str]) -> None:
    wanted = expected(paths)
    with ThreadPoolExecutor(4) as pool:  # more threads than processes: the others decode here
        for answer in pool.map(lambda _: two._decode(paths, pixels_of(paths)), range(12)):
            assert answer == ({}, [(20, 24)] * len(paths))
    for task in (0, 1, 3, 100):
        pixels = pixels_of(paths)
        parts = list(two.decode_all(paths, pixels, task))
        assert np.array_equal(pixels, wanted)
        assert [row for part in parts for row in part.rows] == list(range(len(paths)))
        assert all(part.sizes == [(20, 24)] * len(part.rows) and part.reasons == {} for part in parts)
    assert len(pids(two)) == 2


def test_nothing_is_decoded_here_by_one_thread_with_a_process(
    two: DecodePool, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = expected(paths)
    monkeypatch.setattr(decoder, "decode_and_measure", None)
    assert np.array_equal(decoded(two, paths)[0], wanted)


def test_a_file_called_like_a_library_is_not_run(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json", "numpy", "simplejpeg", "catdog"):
        Path(f"{name}.py").write_text("raise SystemExit('this is not the library')")
    some = DecodePool(SIZE, 2, 11)
    monkeypatch.setattr(decoder, "decode_and_measure", None)
    assert decoded(some, paths)[1] == {} and len(pids(some)) == 2
    some.close()


def test_reasons_are_those_of_the_one_decode_function(two: DecodePool, paths: list[str]) -> None:
    Path(paths[3]).write_bytes(b"nothing of a photo")
    pixels, reasons = decoded(two, [*paths, "missing.jpg"])
    with pytest.raises(ImageError) as error:
        decode(paths[3], SIZE)
    assert reasons == {3: str(error.value), 11: "missing.jpg: no such file"}
    assert np.array_equal(pixels[:3], expected(paths[:3])) and np.array_equal(pixels[4:11], expected(paths[4:]))


@pytest.mark.parametrize("resize", ["crop", "pad"])
def test_they_crop_and_pad_as_they_are_asked_to(paths: list[str], resize: Resize) -> None:
    with DecodePool(SIZE, 2, 11, resize) as some:
        found = decoded(some, paths)[0]
        assert len(pids(some)) == 2
    assert np.array_equal(found, np.stack([decode(path, SIZE, resize).transpose(2, 0, 1) for path in paths]))
    assert not np.array_equal(found, expected(paths))


def test_it_goes_on_without_a_process_that_was_killed(two: DecodePool, paths: list[str]) -> None:
    os.kill(pids(two)[1], signal.SIGKILL)
    for left in (1, 1):
        assert np.array_equal(decoded(two, paths)[0], expected(paths))
        assert len(pids(two)) == left


@pytest.mark.slow
def test_a_process_killed_while_it_decodes_costs_nothing(two: DecodePool, paths: list[str]) -> None:
    many = paths * 300
    victim = pids(two)[1]
    killer = threading.Timer(0.3, os.kill, (victim, signal.SIGKILL))
    killer.start()
    pixels, reasons = decoded(two, many)
    killer.join()
    assert np.array_equal(pixels, np.tile(expected(paths), (300, 1, 1, 1))) and reasons == {}


def test_processes_end_with_their_owner(paths: list[str]) -> None:
    closed, dropped = DecodePool(SIZE, 2, 11), DecodePool(SIZE, 2, 11)
    for some in (closed, dropped):
        some._start(1)
    started = pids(closed) + pids(dropped)
    assert len(started) == 4
    del some
    closed.close()
    del dropped
    gc.collect()
    assert not any(map(is_running, started))


@pytest.mark.slow
def test_processes_end_when_the_one_that_started_them_is_killed(paths: list[str]) -> None:
    program = (
        "import time; from catdog.data import decode_pool; decode_pool._LEAST = 1\n"
        "some = decode_pool.DecodePool((9, 7), 2, 11); some._start(1)\n"
        "print(*[process._process.pid for process in some._idle], flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    started = [int(pid) for pid in owner.stdout.readline().split()]
    assert len(started) == 2 and all(map(is_running, started))
    owner.kill()
    owner.communicate()
    while any(Path(f"/proc/{pid}").exists() and "Z" not in state_of(pid) for pid in started):
        time.sleep(0.05)


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_the_cache_and_a_folder_that_is_not_decoded_use_them(
    make_photos: MakePhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = list_photos(make_photos({"cat": 40, "dog": 30}))
    wanted = expected([listing.path(i) for i in range(len(listing))])
    monkeypatch.setattr(decoders, "decode_files", None)
    assert np.array_equal(decode_all(listing, SIZE, threads=2).pixels, wanted)
    with DecodePool(SIZE, 2) as pool:
        for batch in load_batches(PhotoDataset(listing, SIZE, pool=pool), batches_in_order(len(listing), SIZE)):
            assert np.array_equal(batch.pixels, wanted[batch.rows])


def test_the_cache_leaves_processes_that_it_was_given(two: DecodePool, make_photos: MakePhotos) -> None:
    listing = list_photos(make_photos({"cat": 40, "dog": 30}))
    started = pids(two)
    for _ in range(2):
        decode_all(listing, SIZE, cache="none", pool=two)
        assert sorted(pids(two)) == sorted(started)


def test_a_photo_that_cannot_be_read_is_named_where_it_must_not_be(make_photos: MakePhotos) -> None:
    listing = list_photos(make_photos({"cat": 40, "dog": 30}))
    Path(listing.path(50)).write_bytes(b"nothing of a photo")
    with pytest.raises(ImageError, match=Path(listing.path(50)).name):
        decode_all(listing, SIZE, threads=2, strict=True)
    assert list(decode_all(listing, SIZE, threads=2).skipped) == [50]
