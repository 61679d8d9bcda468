import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_photos import fill, save
from PIL import Image

from catdog.cli.main import main
from catdog.data.listing import list_photos
from catdog.data.load import load_photos
from catdog.data.pixel_cache import decode_all
from catdog.data.statistics import colour_statistics
from catdog.images.decoder import decode
from catdog.tools.dataset.stats import as_json, measure


def test_mean_and_deviation_are_numpys(tmp_path: Path) -> None:
    train = fill(fill(tmp_path / "val", 2).parent / "train", 5, first=10)
    (train / "dog" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    report = as_json(measure(tmp_path, (20, 30)))
    assert (report["photos"], report["unreadable"], report["image_size"]) == (15, 1, [20, 30])
    assert report["counts"] == {"train": {"cat": 5, "dog": 6}, "val": {"cat": 2, "dog": 2}}
    for split, labels in (("train", ("cat", "dog")), ("val", ("cat", "dog"))):
        listing = list_photos(tmp_path / split)
        decoded = decode_all(listing, (20, 30))
        pixels = decoded.pixels.astype(np.float64)
        kept = [label for i, label in enumerate(listing.labels) if i not in decoded.skipped]

        def same(one: dict[str, Any], pixels: np.ndarray) -> None:
            assert one["photos"] == len(pixels)
            np.testing.assert_allclose(one["mean"], pixels.mean(axis=(0, 2, 3)), rtol=1e-12)
            np.testing.assert_allclose(one["std"], pixels.std(axis=(0, 2, 3)), rtol=1e-9)

        same(report["colours"][split], pixels)
        for label, name in enumerate(labels):
            same(report["colours"][split]["classes"][name], pixels[np.array(kept) == label])


def test_they_are_what_training_normalises_with(make_photos: Callable[..., Path]) -> None:
    root = make_photos({"cat": 7, "dog": 5})
    mean, std, mean_colours = colour_statistics(load_photos(list_photos(root), (32, 32)))
    colours = as_json(measure(root, (32, 32)))["colours"][""]
    np.testing.assert_allclose(colours["mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(colours["std"], std, rtol=1e-9)
    np.testing.assert_allclose([colours["classes"][name]["mean"] for name in ("cat", "dog")], mean_colours, rtol=1e-12)


def test_the_picture_shows_the_mean_photo_of_each_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label, levels in (("cat", (10, 21)), ("dog", (200, 250, 255))):
        for level in levels:
            (tmp_path / label).mkdir(exist_ok=True)
            Image.new("RGB", (40, 40), (level, 0, 7)).save(tmp_path / label / f"{level}.png")
    assert main(["data", "stats", str(tmp_path), "--out", "mean.png", "--image-size", "9", "9"]) == 0
    assert "the mean photos are on mean.png" in capsys.readouterr().out
    sheet = decode("mean.png").astype(int)
    for red in (16, 235):  # 15.5 to the even number
        assert (sheet == (red, 0, 7)).all(axis=2).sum() == 144 * 144


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "train", 2)
    save(tmp_path / "val" / "cat" / "1.jpg", "cat", 5, (40, 400))
    (tmp_path / "val" / "dog").mkdir()
    assert main(["data", "stats", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert [line.split() for line in printed.splitlines()[:4]] == [
        ["train", "val"],
        ["cat", "2", "1"],
        ["dog", "2", "0"],
        ["all", "4", "1"],
    ]
    assert "width 80 to 400, median 80; height 40 to 60, median 60 pixels" in printed
    assert main(["data", "stats", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["colours"]["val"]["classes"].keys() == {"cat"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "there is no folder nowhere"),
        (["empty"], "empty holds no photos in class folders"),
        (["broken"], "none of the 1 photos in broken can be read; `catdog data check broken` says why"),
        (["photos", "--image-size", "0", "5"], "--image-size must be from 1 to 4096"),
        (["photos", "--out", "mean.jpg"], "--out mean.jpg must end in .png"),
        (["photos", "--out", "photos/mean.png"], "lies among the photos"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    fill(Path("photos"), 1)
    for name in ("empty/cat", "broken/cat"):
        Path(name).mkdir(parents=True)
    Path("broken/cat/1.jpg").write_bytes(b"\xff\xd8\xff")
    assert main(["data", "stats", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.count("\n") == 1
