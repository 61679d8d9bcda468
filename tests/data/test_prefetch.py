import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import quiet

from catdog import train as train_module
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.data.dataset import PhotoSet
from catdog.data.prefetch import PinnedPhotos
from catdog.errors import CatdogError
from catdog.train import _place_of_pixels, build_model, train
from catdog.trainer.loop import Trainer

MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]


def some_photos() -> PhotoSet:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (40, 3, 4, 5), dtype=torch.uint8, generator=generator)
    return PhotoSet(pixels, torch.arange(40) % 2, ("cat", "dog"), [])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9])
def test_the_batches_are_those_of_photos_on_the_device(count: int) -> None:
    photos = some_photos()
    batches = [torch.randperm(40)[: 3 + i] for i in range(count)]
    copied = list(PinnedPhotos(photos).to(torch.device("cpu")).batches(batches))
    for (rows, pixels), expected in zip(copied, photos.batches(batches), strict=True):
        assert torch.equal(rows, expected[0])
        assert torch.equal(pixels, expected[1])


def test_an_epoch_that_is_broken_off_copies_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    copy = PinnedPhotos._copy

    def note(self: PinnedPhotos, rows: torch.Tensor, stream: Any) -> Any:
        asked.append(int(rows[0]))
        return copy(self, rows, stream)

    monkeypatch.setattr(PinnedPhotos, "_copy", note)
    batches = PinnedPhotos(some_photos()).batches(list(torch.arange(40).split(1)))
    assert [int(next(batches)[0]) for _ in range(3)] == [0, 1, 2]
    batches.close()  # type: ignore[attr-defined]
    assert len(asked) <= 6


@pytest.mark.parametrize(("free_mib", "fits"), [(4000, True), (810, False)])
def test_pixels_are_kept_on_the_gpu_where_they_fit_beside_the_training(
    monkeypatch: pytest.MonkeyPatch, free_mib: int, fits: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free_mib * 2**20, 8000 * 2**20))
    config = load_config(None, {"hidden": (16,)})
    found, words = _place_of_pixels(config, build_model(config, 2), 50_000, torch.device("cuda:0"))
    assert found == fits
    assert f"146 MiB, uint8; {free_mib:,} MiB are free there" in words
    assert words.startswith("all on the GPU" if fits else "in main memory, and each batch copied")


def test_a_full_gpu_is_a_sentence(
    make_photos: MakePhotos, small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(self: Trainer) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nmore lines")

    monkeypatch.setattr(Trainer, "fit", out_of_memory)
    with pytest.raises(CatdogError, match=r"the memory of cpu is full \(CUDA out .*\); give --accumulate 4, a smaller"):
        train(small_config(make_photos({"cat": 9, "dog": 9}), accumulate=2), log=quiet)


@pytest.mark.cuda
@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_pinned_and_resident_pixels_give_the_same_curve(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mixup: float
) -> None:
    photos = make_photos({"cat": 30, "dog": 30})
    curves = []
    for name, fits in (("resident", True), ("pinned", False)):
        monkeypatch.setattr(train_module, "_place_of_pixels", lambda *arguments, fits=fits: (fits, ""))
        run = train(small_config(photos, out=str(tmp_path / name), device="cuda", mixup=mixup), log=quiet)
        with open(run / "metrics.csv", newline="") as file:
            curves.append([float(row["train_loss"]) for row in csv.DictReader(file)])
    assert curves[0] == pytest.approx(curves[1], rel=1e-5)


@pytest.mark.cuda
def test_the_copies_are_not_waited_for() -> None:
    photos = PinnedPhotos(some_photos()).to(torch.device("cuda:0"))
    batches = list(torch.arange(40).split(8))
    list(photos.batches(batches))
    torch.cuda.set_sync_debug_mode("error")
    try:
        sums = [pixels.sum() for _, pixels in photos.batches(batches)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert sum(map(int, sums)) == int(some_photos().pixels.sum())
