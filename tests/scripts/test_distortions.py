"""What scripts/distortions.py does to a photo, and that a network is evaluated on each."""

import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import save_photo
from PIL import Image

import distortions
from distortions import DISTORTIONS


@pytest.fixture
def photo() -> Image.Image:
    """Red grows from top to bottom and green from left to right, so that every place is another; blue has stripes."""
    rows, columns = np.mgrid[0:60, 0:80]
    pixels = np.stack([60 + rows, 60 + columns, 80 + 40 * ((rows + columns) % 7 == 0)], axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.mark.parametrize("name", DISTORTIONS)
def test_a_distorted_photo_is_as_large_and_another(name: str, photo: Image.Image) -> None:
    found = DISTORTIONS[name][1](photo)
    assert found.size == photo.size
    same = np.array_equal(np.asarray(found.convert("RGB")), np.asarray(photo))
    assert same == (name == "none")


def test_what_is_said_is_what_is_done(photo: Image.Image) -> None:
    before = np.asarray(photo, np.float64)

    def after(name: str) -> np.ndarray:
        return np.asarray(DISTORTIONS[name][1](photo).convert("RGB"), np.float64)

    np.testing.assert_allclose(after("dark"), before * 0.4, atol=0.5)
    np.testing.assert_allclose(after("warm"), before * [1.3, 1, 0.65], atol=0.5)
    assert np.ptp(after("grey"), axis=2).max() == 0
    assert after("flat").std() == pytest.approx(0.4 * before.std(), rel=0.02)
    # The middle 60% of the width: columns 16 to 64 of 80; all rows stay where they were.
    assert after("wide")[30, 0, 1] == pytest.approx(before[30, 16, 1], abs=1)
    assert after("wide")[30, -1, 1] == pytest.approx(before[30, 63, 1], abs=1)
    np.testing.assert_allclose(after("wide")[:, 40, 0], before[:, 40, 0], atol=1)
    # Two thirds as large: the corner is drawn out over a sixth of each side.
    assert np.ptp(after("far")[:9, :12], axis=(0, 1)).max() == 0
    assert np.ptp(after("far")[30, :, 1]) == pytest.approx(np.ptp(before[30, :, 1]), abs=2)
    assert after("noise").std(axis=(0, 1)).min() > before.std(axis=(0, 1)).max()


def test_a_network_is_evaluated_on_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        for class_name in ("cat", "dog"):
            save_photo(tmp_path / "val" / class_name / f"{number}.jpg", number, size=(60, 80))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.jpg")}
    monkeypatch.setattr(sys, "argv", ["distortions.py", "--data", str(tmp_path / "val"), "--only", "none", "dark"])
    distortions.main()
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[0] for row in rows[2:]] == [
        "| as they are",
        "| at 40% of the brightness",
        "| mean of the 1",
    ]
    assert all(row.split(" | ")[3] == "6" for row in rows[2:4])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.jpg")} == before
