import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import catdog
from catdog.data.drawn import CLASSES, draw, write_sample
from catdog.data.listing import list_photos
from catdog.errors import CatdogError


@pytest.mark.parametrize("label", CLASSES)
def test_the_same_arguments_draw_the_same_and_others_do_not(label: str) -> None:
    first = draw(label, 3, (40, 60))
    assert (first.mode, first.size) == ("RGB", (60, 40))
    assert draw(label, 3, (40, 60)).tobytes() == first.tobytes()
    assert draw(label, 4, (40, 60)).tobytes() != first.tobytes()
    assert draw("dog" if label == "cat" else "cat", 3, (40, 60)).tobytes() != first.tobytes()


@pytest.mark.parametrize("count", [31, pytest.param(230, marks=pytest.mark.slow)])  # 230: by processes
def test_writes_an_image_folder_of_so_many(tmp_path: Path, count: int) -> None:
    write_sample(tmp_path / "set", count, (16, 24))
    found = list_photos(tmp_path / "set")
    assert found.classes == CLASSES
    assert found.counts() == [-(-count // 2), count // 2]
    for index in (0, count - 1):
        with Image.open(found.path(index)) as picture:
            assert picture.size == (24, 16)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.slow
def test_a_script_without_a_guard_draws_once(tmp_path: Path) -> None:
    """multiprocessing would run the whole script again in each of its processes."""
    (tmp_path / "script.py").write_text(
        "from pathlib import Path\nfrom catdog.data.drawn import write_sample\n"
        "print('begins')\nwrite_sample(Path('set'), 230, (16, 24))\nprint('ends')\n"
    )
    folder = str(Path(catdog.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": folder}, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"begins\nends\n", b"")
    assert len(list_photos(tmp_path / "set")) == 230


def test_a_larger_number_only_adds_and_another_seed_draws_others(tmp_path: Path) -> None:
    for name, count, seed in (("few", 10, 5), ("more", 24, 5), ("other", 10, 6)):
        write_sample(tmp_path / name, count, (16, 16), seed)
    few, more, other = (
        {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*.jpg"))}
        for root in (tmp_path / "few", tmp_path / "more", tmp_path / "other")
    )
    assert few.items() <= more.items()
    assert not set(few.values()) & set(other.values())


def test_colour_does_not_give_the_class_away() -> None:
    """The nearest mean colour, which needs no shape, is hardly better than a coin."""
    colours = {
        label: np.array([np.asarray(draw(label, seed, (32, 32))).mean(axis=(0, 1)) for seed in range(300)])
        for label in CLASSES
    }
    centres = {label: found[:150].mean(axis=0) for label, found in colours.items()}
    right = [
        np.linalg.norm(found[150:] - centres[label], axis=1)
        < np.linalg.norm(found[150:] - centres[CLASSES[1 - i]], axis=1)
        for i, (label, found) in enumerate(colours.items())
    ]
    assert np.mean(right) < 0.62


@pytest.mark.parametrize(
    ("count", "size", "said"),
    [
        (1, (32, 32), "--count must be at least 2"),
        (10, (15, 32), "--size must be from 16 to 4096"),
        (10, (32, 5000), "--size must be from 16 to 4096"),
    ],
)
def test_senseless_numbers_are_refused(tmp_path: Path, count: int, size: tuple[int, int], said: str) -> None:
    with pytest.raises(CatdogError, match=said):
        write_sample(tmp_path / "set", count, size)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_drawn_over(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("set", "file"):
        with pytest.raises(CatdogError, match="exists and is not an empty folder"):
            write_sample(tmp_path / name, 4, (16, 16))
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["file", "set", "set/mine"]
