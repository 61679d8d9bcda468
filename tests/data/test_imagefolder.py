import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from catdog.config.settings import Photos
from catdog.data.listing import list_photos
from catdog.data.load import load_photos, open_folders
from catdog.data.splits import train_and_val
from catdog.data.statistics import colour_statistics
from catdog.errors import CatdogError, ImageError
from catdog.imagefolder import PhotoFolder
from catdog.images import decoder
from catdog.images.decoder import decode, decode_and_measure

MakePhotos = Callable[..., Path]
SIZE = (9, 7)


def test_pixels_are_those_of_the_one_decode_function_cached_or_not(make_photos: MakePhotos, tmp_path: Path) -> None:
    listing = list_photos(make_photos({"cat": 5, "dog": 4}))
    expected = np.stack([decode(listing.path(i), SIZE).transpose(2, 0, 1) for i in range(9)])
    for folder in ("none", "auto", str(tmp_path / "here"), str(tmp_path / "here")):
        photos = load_photos(listing, SIZE, cache_folder=folder, threads=2)
        assert np.array_equal(photos.pixels.numpy(), expected)
        assert photos.labels.tolist() == listing.labels


def test_a_photo_is_decoded_once_until_it_changes(make_photos: MakePhotos, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_photos({"cat": 5, "dog": 4})
    decoded: list[str] = []

    def counting(path: str, *how: Any) -> Any:
        decoded.append(path)
        return decode_and_measure(path, *how)

    monkeypatch.setattr(decoder, "decode_and_measure", counting)
    for _ in range(3):
        load_photos(list_photos(root), SIZE)
    assert len(decoded) == 9
    load_photos(list_photos(root), (5, 5))
    assert len(decoded) == 18
    make_photos({"cat": 1}, first=7)
    os.utime(root / "dog" / "dog-000.png", (1, 1))
    photos = load_photos(list_photos(root), SIZE)
    assert len(decoded) == 28
    assert len(photos) == 10


def test_a_damaged_cache_is_made_again(make_photos: MakePhotos, tmp_path: Path) -> None:
    listing = list_photos(make_photos({"cat": 5, "dog": 4}))
    first = load_photos(listing, SIZE, cache_folder=str(tmp_path / "c")).pixels.clone()
    for damage in (b"", b"\x93NUMPY", b"x" * 100):
        (entry,) = (tmp_path / "c" / "pixels").iterdir()
        (entry / "pixels.npy").write_bytes(damage)
        assert torch.equal(load_photos(listing, SIZE, cache_folder=str(tmp_path / "c")).pixels, first)
    (entry,) = (tmp_path / "c" / "pixels").iterdir()
    assert sorted(path.name for path in entry.iterdir()) == ["entry.json", "pixels.npy"]


def test_nothing_half_written_is_left_when_decoding_stops(make_photos: MakePhotos, tmp_path: Path) -> None:
    root = make_photos({"cat": 5, "dog": 4})
    (root / "cat" / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        load_photos(list_photos(root), SIZE, cache_folder=str(tmp_path / "c"), strict=True)
    assert list((tmp_path / "c" / "pixels").iterdir()) == []


def test_bad_photos_are_left_out_with_their_reason(make_photos: MakePhotos) -> None:
    root = make_photos({"cat": 5, "dog": 4})
    (root / "cat" / "cat-002b.jpg").write_bytes(b"\xff\xd8\xff")
    for _ in range(2):  # decoded, then from the cache
        photos = load_photos(list_photos(root), SIZE)
        assert photos.labels.tolist() == [0] * 5 + [1] * 4
        assert [skipped.path for skipped in photos.skipped] == [str(root / "cat" / "cat-002b.jpg")]
        assert np.array_equal(photos.pixels[3].numpy(), decode(root / "cat" / "cat-003.png", SIZE).transpose(2, 0, 1))
    with pytest.raises(CatdogError, match="1 of the 10 photos"):
        load_photos(list_photos(root), SIZE, max_skipped=0.05)


def test_a_cache_that_cannot_be_written_is_named_or_done_without(
    make_photos: MakePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = list_photos(make_photos({"cat": 2, "dog": 2}))
    (tmp_path / "file").touch()
    with pytest.raises(CatdogError, match="give another --cache"):
        load_photos(listing, SIZE, cache_folder=str(tmp_path / "file"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(load_photos(listing, SIZE)) == 4


def test_photo_folder_is_a_torchvision_image_folder_with_the_same_pixels(make_photos: MakePhotos) -> None:
    root = make_photos({"cat": 3, "dog": 2})
    folder = PhotoFolder(root, SIZE)
    theirs = ImageFolder(str(root))
    assert isinstance(folder, ImageFolder)
    assert (folder.classes, folder.class_to_idx, list(folder.samples), list(folder.targets)) == (
        theirs.classes,
        theirs.class_to_idx,
        theirs.samples,
        theirs.targets,
    )
    photos = load_photos(list_photos(root), SIZE)
    for one in (folder, photos):  # decoded when it is asked for, and before
        images, labels = next(iter(DataLoader(one, batch_size=5)))
        assert torch.equal(images, photos.pixels)
        assert torch.equal(labels, photos.labels)
        sample, label = one[4]
        assert torch.equal(sample, images[4]) and label == 1 and type(label) is int
        sample.zero_()
        assert torch.equal(one[4][0], images[4])  # what is done with a sample stays with it


def test_workers_of_a_dataloader_give_the_same_batches(make_photos: MakePhotos) -> None:
    folder = PhotoFolder(make_photos({"cat": 3, "dog": 2}), SIZE)
    alone, shared = (list(DataLoader(folder, batch_size=2, num_workers=count)) for count in (0, 2))
    assert len(alone) == len(shared) == 3
    for (images, labels), (same_images, same_labels) in zip(alone, shared, strict=True):
        assert torch.equal(images, same_images) and torch.equal(labels, same_labels)


def test_transforms_are_applied_to_each_item_alone_and_in_batches(make_photos: MakePhotos) -> None:
    root = make_photos({"cat": 3, "dog": 2})
    plain = PhotoFolder(root, SIZE)
    changed = PhotoFolder(root, SIZE, transform=lambda x: x.float() / 255, target_transform=lambda label: -label)
    images, labels = next(iter(DataLoader(changed, batch_size=5)))
    assert torch.equal(images, torch.stack([plain[i][0] for i in range(5)]) / 255)
    assert labels.tolist() == [0, 0, 0, -1, -1] and changed[4][1] == -1


def test_a_folder_without_a_size_keeps_each_photo_as_large_as_it_is(make_photos: MakePhotos) -> None:
    folder = PhotoFolder(make_photos({"cat": 3, "dog": 2}))
    assert folder[0][0].shape == (3, 20, 24)
    assert len(next(iter(DataLoader(folder, batch_size=5)))[0]) == 5


@pytest.mark.parametrize("size", [SIZE, None])
@pytest.mark.parametrize("transform", [None, lambda x: x[:, :5, :6]])
def test_a_broken_photo_raises_or_is_left_out_when_the_folder_is_opened(
    make_photos: MakePhotos, size: tuple[int, int] | None, transform: Any
) -> None:
    root = make_photos({"cat": 3, "dog": 2})
    good = PhotoFolder(root, size, transform)
    (root / "cat" / "cat-000b.jpg").write_bytes(b"\xff\xd8\xff")
    (root / "dog" / "a.png").symlink_to("nowhere.png")
    with pytest.raises(ImageError, match=r"cat-000b\.jpg"):
        list(DataLoader(PhotoFolder(root, size, transform), batch_size=3))
    folder = PhotoFolder(root, size, transform, on_error="skip")
    assert [os.path.basename(photo.path) for photo in folder.skipped] == ["cat-000b.jpg", "a.png"]
    assert (len(folder), list(folder.samples), list(folder.targets)) == (5, list(good.samples), [0, 0, 0, 1, 1])
    for workers in (0, 2):
        batches: DataLoader[Any] = DataLoader(folder, batch_size=2, num_workers=workers)
        for (images, labels), (same, same_labels) in zip(batches, DataLoader(good, batch_size=2), strict=True):
            assert torch.equal(images, same) and torch.equal(labels, same_labels)


def test_no_photo_that_can_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.jpg").write_bytes(b"no")
    with pytest.raises(CatdogError, match=r"none of the 1 photos in .* can be read; the first: .*1\.jpg"):
        PhotoFolder(tmp_path, on_error="skip")


@pytest.mark.parametrize("cache", ["auto", "none"])
def test_the_share_that_may_be_unreadable_is_of_all_photos_of_a_folder(make_photos: MakePhotos, cache: str) -> None:
    root = make_photos({"cat": 12, "dog": 12})
    train, val = train_and_val(root, 0.2, 0)
    Path(val.path(0)).write_bytes(b"no")
    photos = Photos(data=str(root), image_size=SIZE, cache=cache, max_skipped=0.05)
    assert 0.05 * len(val) < 1
    _, opened = open_folders((train, val), photos, 1)
    (images,) = [opened.__getitems__(range(len(opened)))]
    assert len(images) == len(val) - 1
    Path(val.path(1)).write_bytes(b"no")
    with pytest.raises(CatdogError, match="2 of the " + ("24 photos" if cache == "auto" else "photos")):
        _, opened = open_folders((train, val), photos, 1)
        opened.__getitems__(range(len(opened)))


def test_a_photo_folder_is_not_opened_where_there_are_splits(make_photos: MakePhotos) -> None:
    make_photos({"cat": 3, "dog": 2}, name="all/Training")
    with pytest.raises(CatdogError, match=r"all holds Training/; give .*all/Training"):
        PhotoFolder(make_photos({}, name="all"))
    assert len(PhotoFolder(make_photos({}, name="all/Training"))) == 5


def test_colour_statistics_are_numpys(make_photos: MakePhotos) -> None:
    photos = load_photos(list_photos(make_photos({"cat": 300, "dog": 4})), SIZE)
    mean, std, colours = colour_statistics(photos)
    pixels = photos.pixels.numpy().astype(np.float64)
    np.testing.assert_allclose(mean, pixels.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(axis=(0, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(colours[1], pixels[300:].mean(axis=(0, 2, 3)), rtol=1e-12)
