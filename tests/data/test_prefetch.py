import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import quiet

from catdog import train as train_module
from catdog import train as training
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.data.photo_dataset import PhotoDataset
from catdog.data.prefetch import load_batches, prefetch
from catdog.errors import CatdogError, SettingsError
from catdog.model.build import build_model
from catdog.train import train
from catdog.trainer.loop import Trainer
from catdog.trainer.plan import _place_of_pixels

MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]


def some_photos() -> PhotoDataset:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (40, 3, 4, 5), dtype=torch.uint8, generator=generator)
    return PhotoDataset.from_tensors(pixels, torch.arange(40) % 2, ("cat", "dog"))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9])
def test_the_batches_are_those_that_are_not_copied_ahead(count: int) -> None:
    photos = some_photos()
    batches = [torch.randperm(40)[: 3 + i] for i in range(count)]
    copied = list(prefetch(load_batches(photos, batches), torch.device("cpu")))
    assert len(copied) == count
    for batch, rows in zip(copied, batches, strict=True):
        assert torch.equal(batch.rows, rows)
        assert torch.equal(batch.pixels, photos.pixels[rows])


def test_pixels_that_stay_in_main_memory_are_copied_batch_by_batch() -> None:
    photos = some_photos()
    photos.keep_in_main_memory()
    photos.to(torch.device("meta"))
    assert photos.pixels.device.type == "cpu"
    assert [batch.pixels.shape for batch in load_batches(photos, list(torch.arange(40).split(16)))] == [
        (16, 3, 4, 5), (16, 3, 4, 5), (8, 3, 4, 5),
    ]  # fmt: skip


def test_an_epoch_that_is_broken_off_copies_no_further() -> None:
    asked: list[int] = []

    class Noted(PhotoDataset):
        def __getitems__(self, rows: Any) -> Any:
            asked.append(int(rows[0]))
            return super().__getitems__(rows)

    some = some_photos()
    photos = Noted(some.listing, some.size, pixels=some.pixels)
    batches = prefetch(load_batches(photos, list(torch.arange(40).split(1))), torch.device("cpu"))
    assert [int(next(batches).rows[0]) for _ in range(3)] == [0, 1, 2]
    batches.close()  # type: ignore[attr-defined]
    assert len(asked) <= 6


def test_torchs_own_random_numbers_are_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    list(load_batches(some_photos(), list(torch.arange(40).split(8))))
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(("free_mib", "fits"), [(4000, True), (810, False)])
def test_pixels_are_kept_on_the_gpu_where_they_fit_beside_the_training(
    monkeypatch: pytest.MonkeyPatch, free_mib: int, fits: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free_mib * 2**20, 8000 * 2**20))
    config = load_config(None, {"hidden": (16,), "image_size": (32, 32)})
    found, words = _place_of_pixels(config, build_model(config, 2), 50_000, torch.device("cuda:0"))
    assert found == fits
    assert f"146 MiB, uint8; {free_mib:,} MiB are free there" in words
    assert words.startswith("all on the GPU" if fits else "in main memory, and each batch copied")


def test_a_full_gpu_is_a_sentence(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_photos({"cat": 9, "dog": 9})

    def out_of_memory(self: Trainer) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nmore lines")

    monkeypatch.setattr(Trainer, "fit", out_of_memory)
    with pytest.raises(CatdogError, match=r"the memory of cpu is full \(CUDA out .*\); give --accumulate 4, a smaller"):
        train(small_config(photos, accumulate=2), log=quiet)
    with pytest.raises(CatdogError, match=r"\); give a smaller --image-size, or a smaller network\.") as without:
        train(small_config(photos, out=str(tmp_path / "other"), batch_size=3, batch_norm=True), log=quiet)
    assert "--accumulate" not in str(without.value)  # 2, of which one part would be a single photo


def test_a_network_larger_than_main_memory_is_a_sentence(
    make_photos: MakePhotos, small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*arguments: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000 bytes.\nmore lines")

    monkeypatch.setattr(training, "_first_weights", out_of_memory)
    with pytest.raises(
        SettingsError, match=r"^the memory is full \(Default.* bytes\.\); give a smaller --image-size, or"
    ):
        train(small_config(make_photos({"cat": 9, "dog": 9})), log=quiet)


@pytest.mark.cuda
@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_pinned_and_resident_pixels_give_the_same_curve(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mixup: float
) -> None:
    photos = make_photos({"cat": 30, "dog": 30})
    curves = []
    for name, fits in (("resident", True), ("pinned", False)):
        monkeypatch.setattr(train_module, "pixels_fit", lambda *arguments, fits=fits: fits)
        run = train(small_config(photos, out=str(tmp_path / name), device="cuda", mixup=mixup), log=quiet)
        with open(run / "metrics.csv", newline="") as file:
            curves.append([float(row["train_loss"]) for row in csv.DictReader(file)])
    assert curves[0] == pytest.approx(curves[1], rel=1e-5)


@pytest.mark.cuda
def test_the_copies_are_not_waited_for() -> None:
    photos = some_photos()
    photos.keep_in_main_memory()
    photos.to(torch.device("cuda:0"))
    batches = list(torch.arange(40).split(8))
    list(load_batches(photos, batches))
    torch.cuda.set_sync_debug_mode("error")
    try:
        sums = [batch.pixels.sum() for batch in load_batches(photos, batches)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert sum(map(int, sums)) == int(some_photos().pixels.sum())
