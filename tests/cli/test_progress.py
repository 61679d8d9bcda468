"""Progress while a command works: on a terminal only, and only on standard error."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import save_photo

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
    from catdog.base.progress import bar, waiting_for

    save_photo(tmp_path / "photo.png", 1)
    monkeypatch.setattr(sys, "stderr", None)
    with bar("drawing", 3) as progress:
        progress.update(3)
    assert list(waiting_for(range(3), "counting")) == [0, 1, 2]
