"""Batches of photos that are decoded as they are needed: the same pixels, the same training, no more than asked for."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from catdog.config.settings import Config
from catdog.data import statistics
from catdog.data.batches import batches_in_order, some_of_each_class
from catdog.data.decode_pool import DecodePool
from catdog.data.listing import list_photos
from catdog.data.load import load_photos
from catdog.data.photo_dataset import PhotoDataset
from catdog.data.prefetch import load_batches
from catdog.errors import CatdogError, ImageError
from catdog.images import decoder
from catdog.images.decoder import decode_and_measure
from catdog.train import train

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]


def quiet(line: str) -> None:
    pass


def test_a_stream_gives_the_rows_asked_for_with_the_pixels_that_loading_gives(make_photos: MakePhotos) -> None:
    listing = list_photos(make_photos({"cat": 20, "dog": 23}))
    loaded, stream = load_photos(listing, (9, 7)), PhotoDataset(listing, (9, 7), pool=DecodePool((9, 7), 3))
    assert torch.equal(stream.labels, loaded.labels) and stream.image_size == loaded.image_size == (9, 7)
    batches = torch.randperm(43, generator=torch.Generator().manual_seed(0)).split(19)
    for batch, same, asked in zip(load_batches(stream, batches), load_batches(loaded, batches), batches, strict=True):
        assert torch.equal(batch.rows, asked) and torch.equal(same.rows, asked)
        assert batch.pixels.dtype == torch.uint8 and torch.equal(batch.pixels, same.pixels)
        assert torch.equal(batch.labels, loaded.labels[asked]) and torch.equal(same.labels, batch.labels)


def test_for_another_device_batches_are_decoded_ahead_and_come_in_order(make_photos: MakePhotos) -> None:
    listing = list_photos(make_photos({"cat": 20, "dog": 20}))
    stream = PhotoDataset(listing, (4, 4), pool=DecodePool((4, 4), 2))
    stream.to(torch.device("meta"))
    sizes = [torch.arange(n) for n in (3, 40, 1, 7, 5, 2)]
    given = [len(batch.rows) for batch in load_batches(stream, sizes) if batch.pixels.device.type == "meta"]
    assert given == [3, 40, 1, 7, 5, 2]


def test_training_on_a_stream_ends_with_the_same_weights(
    make_photos: MakePhotos, small_config: Callable[..., Config], tmp_path: Path
) -> None:
    photos = make_photos({"cat": 30, "dog": 30})
    runs = [
        train(small_config(photos, cache=cache, out=str(tmp_path / cache)), log=quiet) for cache in ("auto", "none")
    ]
    metrics = [(run / "metrics.csv").read_bytes() for run in runs]
    models = [(run / "model.safetensors").read_bytes() for run in runs]
    assert metrics[0] == metrics[1] and models[0] == models[1]


def test_the_first_step_of_a_stream_is_taken_before_all_photos_are_decoded(
    make_photos: MakePhotos, small_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "_PHOTOS", 1)
    decoded, lock = 0, threading.Lock()

    def counted(*arguments: Any) -> Any:
        nonlocal decoded
        with lock:
            decoded += 1
        return decode_and_measure(*arguments)

    class FirstStep(Exception):
        pass

    def stop(*_: Any) -> None:
        raise FirstStep

    monkeypatch.setattr(decoder, "decode_and_measure", counted)
    monkeypatch.setattr("torch.optim.AdamW.step", stop)
    with pytest.raises(FirstStep):
        train(small_config(make_photos({"cat": 100, "dog": 100}), cache="none", batch_size=8), log=quiet)
    assert decoded == 2 * 16 + 8  # sixteen of each class for the mean colours, and a batch


def test_unreadable_photos_of_a_stream_are_left_out_and_listed(
    make_photos: MakePhotos, small_config: Callable[..., Config]
) -> None:
    root = make_photos({"cat": 30, "dog": 30})
    broken = sorted((root / "cat").iterdir())[3]
    broken.write_bytes(b"nothing of a photo")
    lines: list[str] = []
    run = train(small_config(root, cache="none"), log=lines.append)
    listed = (run / "skipped.csv").read_text()
    assert broken.name in listed and listed.count("\n") == 2
    assert any("skipped 1 photo that cannot be read" in line for line in lines)


def test_too_many_unreadable_photos_end_a_stream(make_photos: MakePhotos) -> None:
    root = make_photos({"cat": 10, "dog": 10})
    for path in sorted((root / "cat").iterdir())[:3]:
        path.write_bytes(b"nothing of a photo")
    listing = list_photos(root)
    with pytest.raises(CatdogError, match=r"3 of the photos in .* --max-skipped 0.1 .*cat"):
        PhotoDataset(listing, (4, 4), max_skipped=0.1).__getitems__(range(20))
    with pytest.raises(CatdogError, match="all of a batch"):
        PhotoDataset(listing, (4, 4), max_skipped=1).__getitems__(range(2))
    with pytest.raises(ImageError, match="cat"):
        PhotoDataset(listing, (4, 4)).__getitems__(range(20))
    (batch,) = load_batches(PhotoDataset(listing, (4, 4), max_skipped=1), batches_in_order(20, (4, 4)))
    assert batch.rows.tolist() == list(range(3, 20)) and len(batch.pixels) == 17


def test_some_of_each_class_are_spread_over_it() -> None:
    labels = torch.tensor([0] * 100 + [1] * 3 + [2] * 9)
    assert some_of_each_class(labels, 4).tolist() == [0, 33, 66, 99, 100, 101, 102, 103, 105, 108, 111]
