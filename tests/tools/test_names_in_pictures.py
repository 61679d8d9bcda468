"""Every verb that draws, with classes and photos of names that are formulas, undecodable, long, or in other scripts."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import save_photo
from matplotlib.backends.backend_agg import RendererAgg
from test_explain import random_run

from catdog.base.text import on_one_line
from catdog.cli.main import main
from catdog.drawing import contact_sheet, fonts
from catdog.drawing.curves import draw_curves

NAMES = ("$", "$$", "$1 and $5", "_^{", "a\tb", "long " * 40, "\udcff", "\u05e2\u05d1", "\u732b", "\U0001f98a")
SHORT = ("$", "$$", "$1 and $5", "_^{", r"a\tb", "\u05e2\u05d1")  # drawn whole, in every font
ESCAPED = (r"\udcff", r"\u732b", r"\U0001f98a")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("capsysbinary")]  # where names need not be valid UTF-8


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is drawn, text by text, where the system has no font but matplotlib's own; none is a formula."""
    drawn: list[str] = []
    draw_text, draw_line = RendererAgg.draw_text, contact_sheet._Writer.draw

    def record(self: Any, gc: Any, x: float, y: float, text: str, *others: Any, **more: Any) -> None:
        drawn.append(text)
        draw_text(self, gc, x, y, text, *others, **more)

    def record_line(self: Any, ink: Any, x: float, y: int, line: str) -> None:
        drawn.append(line)
        draw_line(self, ink, x, y, line)

    def refuse(self: Any, gc: Any, x: float, y: float, text: str, *others: Any) -> None:
        assert text.startswith(r"$\mathdefault{"), text  # the number of a logarithmic axis

    monkeypatch.setattr(fonts, "_installed", lambda: ())
    monkeypatch.setattr(RendererAgg, "draw_text", record)
    monkeypatch.setattr(RendererAgg, "draw_mathtext", refuse)
    monkeypatch.setattr(contact_sheet._Writer, "draw", record_line)
    yield drawn
    assert all(text.isprintable() for text in drawn)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    try:
        for seed, name in enumerate(NAMES):
            for i in range(3):
                save_photo(tmp_path / "photos" / name / f"{name[:9]}{i}.png", 10 * seed + i)
    except (OSError, UnicodeError):  # a file system that takes only names in UTF-8
        pytest.skip("the file system does not take such names")
    return tmp_path / "photos"


def shown(texts: list[str]) -> str:
    return " | ".join(texts)


def test_explain_evaluate_stats_and_check_draw_every_name(
    tmp_path: Path, photos: Path, texts: list[str], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    colours = tuple((10.0 * i, 99.0, 50.0) for i in range(len(NAMES)))
    about = {"classes": NAMES, "train_counts": (3,) * len(NAMES), "mean_colours": colours}
    run = random_run(tmp_path / "run", hidden=(6,), **about)
    two = [str(photos / name / f"{name[:9]}0.png") for name in NAMES[-3:-1]]
    out = tmp_path / "out"
    for arguments, most in (
        (["explain", "--run", run, "--out", out, *two], 8),  # of more classes, the most likely are drawn
        (["explain", "--run", run, "--out", out], 10),
        (["evaluate", "--run", run, "--data", photos, "--out", out / "report"], 10),
        (["data", "stats", photos, "--out", out / "stats.png"], 10),
        (["data", "check", photos, "--out", out / "check.png"], 0),
    ):
        texts.clear()
        assert main(list(map(str, arguments))) in (0, 1)
        assert sum(name in shown(texts) for name in (*SHORT, "long", *ESCAPED)) >= most
        assert max(map(len, texts)) < 250
    assert b"findfont" not in capsysbinary.readouterr().err


@pytest.mark.parametrize("classes", [("$1 and $5", "\udcff"), ("\u732b", "$$")])
def test_two_classes_name_the_frames_of_the_neurons(tmp_path: Path, texts: list[str], classes: tuple[str, str]) -> None:
    assert main(["explain", "--run", str(random_run(tmp_path / "run", classes=classes)), "--out", str(tmp_path)]) == 0
    for name in classes:
        escaped = name if name.isascii() else ascii(name)[1:-1]
        assert any(f" for {escaped}" in text for text in texts)
        assert f"more {escaped}" in texts


def test_check_captions_and_headings(tmp_path: Path, photos: Path, texts: list[str]) -> None:
    for i in (1, 2):
        os.link(photos / "$" / "$0.png", photos / "$1 and $5" / f"copy {i} of $.png")
    assert main(["data", "check", str(photos), "--out", str(tmp_path / "check.png")]) == 1
    assert "$1 and $5/copy 1 of $.png" in "".join(texts)


def test_curves_have_no_names_and_are_drawn(tmp_path: Path, texts: list[str]) -> None:
    row = {"epoch": 1.0, "train_loss": 1.0, "val_loss": 1.0, "train_accuracy": 0.5, "val_accuracy": 0.5}
    draw_curves([row, {**row, "epoch": 2.0}], tmp_path / "curves.png")
    assert {"epoch", "loss", "accuracy", "validation photos"} <= set(texts)
    assert on_one_line(shown(texts)) == shown(texts)
