import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from catdog.config.settings import Config
from catdog.data.drawn import draw
from catdog.data.duplicates import exact_copies, exact_copies_across
from catdog.data.listing import list_photos
from catdog.images.decoder import decode
from catdog.tools.dataset import copies
from catdog.tools.dataset.copies import find_copies, near_copies
from catdog.train import train


def thumbnails(paths: list[str]) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(decode(path, (32, 32))).convert("L")) for path in paths])


def brute_force(contents: list[bytes]) -> list[list[int]]:
    groups: dict[bytes, list[int]] = {}
    for index, content in enumerate(contents):
        if content:
            groups.setdefault(content, []).append(index)
    return sorted(group for group in groups.values() if len(group) > 1)


# Parts longer than what is compared first, so that files differ in their heads, middles or tails alone.
parts = st.sampled_from([b"", b"a", b"b", b"a" * 5000, b"b" * 5000])


@given(st.lists(st.tuples(parts, parts, parts).map(b"".join), max_size=12))
def test_exact_copies_are_those_of_equal_content(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    paths = [str(folder / str(index)) for index in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        Path(path).write_bytes(content)
    assert exact_copies(paths) == brute_force(contents)


def test_what_cannot_be_read_is_no_copy_and_does_not_hang(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.jpg").write_bytes(b"same")
        os.mkfifo(tmp_path / f"{name} pipe.jpg")
        (tmp_path / f"{name} folder.jpg").mkdir()
        (tmp_path / f"{name} link.jpg").symlink_to("nowhere")
    paths = sorted(map(str, tmp_path.iterdir()))
    (group,) = exact_copies([*paths, "gone.jpg", "gone.jpg"])
    assert [os.path.basename(paths[i]) for i in group] == ["one.jpg", "two.jpg"]


def test_copies_across_two_listings(make_photos: Callable[..., Path]) -> None:
    train = list_photos(make_photos({"cat": 4, "dog": 4}, name="train"))
    val = list_photos(make_photos({"cat": 2, "dog": 2}, name="val", first=100))
    assert exact_copies_across(train, val) == []
    # Twice among those to train on is no leak; the same bytes under another name and label are.
    for name in ("train/cat/again.png", "val/dog/other.jpg"):
        (train.root.parent / name).write_bytes(Path(train.path(0)).read_bytes())
    train, val = list_photos(train.root), list_photos(val.root)
    assert exact_copies_across(train, val) == [(str(train.root / "cat/again.png"), str(val.root / "dog/other.jpg"))]


@pytest.mark.usefixtures("no_curves")
def test_train_warns_of_a_leak(make_photos: Callable[..., Path], small_config: Callable[..., Config]) -> None:
    train_folder = make_photos({"cat": 6, "dog": 6}, name="photos/train")
    val_folder = make_photos({"cat": 3, "dog": 3}, name="photos/val", first=50)
    for folder in (train_folder, val_folder):
        (folder / "cat" / "empty.png").touch()
    said: list[str] = []
    run = train(small_config(train_folder.parent, epochs=1, max_skipped=0.5), log=said.append)
    assert not any("warning" in line for line in said)
    (val_folder / "dog" / "again.png").write_bytes((train_folder / "dog" / "dog-003.png").read_bytes())
    run = train(small_config(train_folder.parent, epochs=1, max_skipped=0.5, out=f"{run}-2"), log=said.append)
    (warning,) = (line for line in said if "warning" in line)
    assert "1 photo to validate on" in warning
    assert f"{val_folder}/dog/again.png is {train_folder}/dog/dog-003.png;" in warning
    assert warning in (run / "train.log").read_text()


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "the same": lambda picture: picture,
    "half as large": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "64 pixels wide": lambda picture: picture.resize((64, 64 * picture.height // picture.width)),
    "squashed": lambda picture: picture.resize((200, 90)),
    "mirrored": ImageOps.mirror,
    "grey": lambda picture: picture.convert("L"),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.15),
    "more contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.3),
}


def test_near_copies_are_found_and_nothing_else(tmp_path: Path) -> None:
    paths, of = [], []
    for seed in range(40):
        for label in ("cat", "dog"):
            picture = draw(label, seed, (150, 200))
            changed = list(CHANGES)[seed % len(CHANGES)]
            for name, change in (("original", CHANGES["the same"]), (changed, CHANGES[changed])):
                path = tmp_path / f"{label} {seed} {name}.jpg"
                change(picture).save(path, quality=95 if name == "original" else 20 + seed)
                paths.append(str(path))
                of.append((label, seed, changed == "mirrored"))
    found = find_copies(paths, thumbnails(paths))
    assert [group.members for group in found] == [(i, i + 1) for i in range(0, len(paths), 2)]
    assert [group.mirrored for group in found] == [(False, of[i][2]) for i in range(0, len(paths), 2)]
    assert not any(group.same_bytes for group in found)


def test_a_group_of_all_kinds(tmp_path: Path) -> None:
    picture = draw("cat", 1, (120, 120))
    ImageOps.mirror(picture).save(tmp_path / "a.jpg")
    picture.save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "b.png").read_bytes())
    ImageOps.mirror(picture.resize((80, 80))).save(tmp_path / "d.webp")
    draw("cat", 2, (120, 120)).save(tmp_path / "e.png")
    paths = sorted(map(str, tmp_path.iterdir()))
    (group,) = find_copies(paths, thumbnails(paths))
    assert (group.members, group.mirrored, group.same_bytes) == ((0, 1, 2, 3), (False, True, True, False), False)
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "d.webp").unlink()
    (group,) = find_copies(paths[1:3], thumbnails(paths[1:3]))
    assert (group.members, group.mirrored, group.same_bytes) == ((0, 1), (False, False), True)


def test_blank_photos_and_gradients_are_not_taken_for_each_other() -> None:
    ramp = np.arange(32)
    smooth = np.stack([np.broadcast_to(ramp * k // 4, (32, 32)) for k in (2, 9, 17, 31)])
    rng = np.random.default_rng(0)
    noisy = np.clip(smooth + rng.normal(0, 2, smooth.shape), 0, 255)
    grey = np.concatenate([np.full((3, 32, 32), 128), noisy]).astype(np.uint8)
    group, _ = near_copies(grey)
    assert len(set(group.tolist())) == len(grey)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against every pair's correlations by NumPy's own corrcoef, with copies in the same block and in others."""
    pictures = [np.asarray(draw("dog", seed, (32, 32)).convert("L")) for seed in range(40)]
    pictures += [pictures[3], pictures[30][:, ::-1], pictures[39], pictures[4]]
    grey = np.stack(pictures)
    coarse = grey.reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4))
    fine = grey - np.kron(coarse, np.ones((4, 4)))
    expected = {
        (i, j)
        for j in range(len(grey))
        for i in range(j)
        for step in (1, -1)
        if np.corrcoef(coarse[i].ravel(), coarse[j][:, ::step].ravel())[0, 1] > 0.94
        and np.corrcoef(fine[i].ravel(), fine[j][:, ::step].ravel())[0, 1] > 0.9
    }
    assert {(3, 40), (30, 41), (39, 42), (4, 43)} == expected
    for block in (1, 7, 2048):
        monkeypatch.setattr(copies, "_BLOCK", block)
        group, mirrored = near_copies(grey)
        assert {(i, j) for j in range(len(grey)) for i in range(j) if group[i] == group[j]} == expected
        assert [(i, j) for i, j in expected if mirrored[i] != mirrored[j]] == [(30, 41)]


def test_a_thousand_times_the_same_photo_is_one_group() -> None:
    grey = np.broadcast_to(np.asarray(draw("cat", 5, (32, 32)).convert("L")), (1000, 32, 32))
    group, _ = near_copies(grey)
    assert len(set(group.tolist())) == 1


def test_many_photos_of_one_scene_are_not_one_photo() -> None:
    """Alike at 8 x 8 pixels, all of them, but not in detail."""
    rng = np.random.default_rng(0)
    scene = np.kron(rng.integers(40, 200, (8, 8)), np.ones((4, 4)))
    grey = np.clip(scene + rng.normal(0, 25, (1500, 32, 32)), 0, 255).astype(np.uint8)
    group, _ = near_copies(grey)
    assert len(set(group.tolist())) == 1500


def test_no_photos_at_all() -> None:
    assert find_copies([], np.empty((0, 32, 32), np.uint8)) == []
