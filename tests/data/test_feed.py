"""Photos decoded as they are needed: the same pixels, the same training, no more decoded than asked for."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from catdog.config.settings import Config
from catdog.data import decode_pool as decoders
from catdog.data.dataset import load_photos
from catdog.data.feed import PhotoStream, in_order, some_of_each_class
from catdog.data.listing import list_photos
from catdog.errors import CatdogError, ImageError
from catdog.images.decoder import decode
from catdog.train import train

MakePhotos = Callable[..., Path]


def quiet(line: str) -> None:
    pass


def test_a_stream_gives_the_rows_asked_for_with_the_pixels_that_loading_gives(make_photos: MakePhotos) -> None:
    listing = list_photos(make_photos({"cat": 20, "dog": 23}))
    loaded, stream = load_photos(listing, (9, 7)), PhotoStream(listing, (9, 7), threads=3)
    assert torch.equal(stream.labels, loaded.labels) and stream.image_size == loaded.image_size == (9, 7)
    batches = torch.randperm(43, generator=torch.Generator().manual_seed(0)).split(19)
    both = zip(stream.batches(batches), loaded.batches(batches), batches, strict=True)
    for (rows, pixels), (same_rows, same_pixels), asked in both:
        assert torch.equal(rows, asked) and torch.equal(same_rows, asked)
        assert pixels.dtype == torch.uint8 and torch.equal(pixels, same_pixels)


def test_for_another_device_batches_are_decoded_ahead_and_come_in_order(make_photos: MakePhotos) -> None:
    listing = list_photos(make_photos({"cat": 20, "dog": 20}))
    stream = PhotoStream(listing, (4, 4), threads=2).to(torch.device("meta"))
    given = [rows.shape[0] for rows, pixels in stream.batches([torch.arange(n) for n in (3, 40, 1, 7, 5, 2)])]
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
    monkeypatch.setattr("catdog.train._STATISTICS", 1)
    decoded, lock = 0, threading.Lock()

    def counted(*arguments: Any) -> np.ndarray:
        nonlocal decoded
        with lock:
            decoded += 1
        return decode(*arguments)

    class FirstStep(Exception):
        pass

    def stop(*_: Any) -> None:
        raise FirstStep

    monkeypatch.setattr(decoders, "decode", counted)
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
        list(PhotoStream(listing, (4, 4), max_skipped=0.1).batches([torch.arange(20)]))
    with pytest.raises(CatdogError, match="all of a batch"):
        list(PhotoStream(listing, (4, 4)).batches([torch.arange(2)]))
    with pytest.raises(ImageError, match="cat"):
        list(PhotoStream(listing, (4, 4), strict=True).batches([torch.arange(20)]))
    (rows, pixels), *_ = PhotoStream(listing, (4, 4)).batches(in_order(PhotoStream(listing, (4, 4))))
    assert rows.tolist() == list(range(3, 20)) and len(pixels) == 17


def test_some_of_each_class_are_spread_over_it() -> None:
    labels = torch.tensor([0] * 100 + [1] * 3 + [2] * 9)
    assert some_of_each_class(labels, 4).tolist() == [0, 33, 66, 99, 100, 101, 102, 103, 105, 108, 111]
