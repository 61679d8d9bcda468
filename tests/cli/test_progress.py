"""Progress while a command works: on a terminal only, and only on standard error."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import save_photo
from PIL import Image

from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.train import train


class Stream(io.StringIO):
    """Standard error, a terminal or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def _photo() -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 100, 50)).save(written, "JPEG")
    return written.getvalue()


PHOTO = _photo()
COMMANDS = [
    ("data sample new --count 4", ["drawing: "]),
    ("data check photos --out sheet.png", ["looking at the photos: ", "comparing the photos ...", "drawing ..."]),
    ("data stats photos", ["measuring the photos: "]),
    ("predict photos --run runs/one", ["asking the network: "]),
    ("evaluate --run runs/one", ["reading the photos: ", "asking the network: ", "drawing the report ..."]),
    ("explain photos/cat/cat-000.png --run runs/one --full", ["checking the gradients: ", "drawing ..."]),
    ("explain --run runs/one", ["drawing ..."]),
]


@pytest.mark.slow
@pytest.mark.usefixtures("no_curves")
def test_what_takes_long_moves_on_a_terminal_and_is_silent_elsewhere(
    make_photos: Callable[..., Path], small_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_photos({"cat": 12, "dog": 12})
    train(small_config(photos, out="runs/one", epochs=1), log=lambda line: None)
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    for command, words in COMMANDS:
        arguments = command.replace("new", "drawn-{}").replace("photos", str(photos)).split()
        for terminal in (True, False):
            error = Stream(terminal)
            monkeypatch.setattr(sys, "stderr", error)
            assert main([word.format(terminal) for word in arguments]) in (0, 1)
            for word in words:
                assert (word in error.getvalue()) == terminal, (command, word)
            assert ("\r" in error.getvalue()) == terminal, command


def test_a_closed_standard_error_is_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from catdog.base.iterated import waiting_for
    from catdog.base.progress import bar

    save_photo(tmp_path / "photo.png", 1)
    monkeypatch.setattr(sys, "stderr", None)
    with bar("drawing", 3) as progress:
        progress.update(3)
    assert list(waiting_for(range(3), "counting")) == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize("shares", [False, True])
def test_a_folder_on_a_terminal_has_a_bar_with_its_end_and_whole_lines(tmp_path: Path, shares: bool) -> None:
    """`shares`: the answers go to the terminal too."""
    import os
    import pty

    for number in range(101):
        (tmp_path / f"{number:03}.jpg").write_bytes(b"no" if number == 50 else PHOTO)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "catdog", "predict", str(tmp_path), "--run", "cats-dogs"]
    environment = {**os.environ, "TQDM_MININTERVAL": "0", "COLUMNS": "200"}
    with (tmp_path / "answers").open("w") as file:
        child = subprocess.Popen(command, stdout=theirs if shares else file, stderr=theirs, env=environment)
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # its end
            while some := os.read(ours, 2**16):
                shown += some
        assert child.wait(60) == 1
    os.close(ours)
    said = shown.decode().replace("\r\n", "\n")
    assert "asking the network: " in said and "101/101" in said
    # What is left where each line ends: what was written after the last return to its beginning.
    lines = [line.rsplit("\r", 1)[-1] for line in said.split("\n")]
    answers = lines if shares else (tmp_path / "answers").read_text().splitlines()
    assert sum(line.startswith(("cat ", "dog ", "unfamiliar (")) for line in answers) == 100
    assert sum(line.startswith("catdog: ") and "050.jpg" in line for line in lines) == 1
