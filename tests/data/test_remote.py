"""Packed sets at an address: which photos of them a network has learned from."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import quiet

from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.train import train

pytest.importorskip("fsspec")


@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize("end", ["", "/"])
def test_the_photos_that_were_held_out_are_evaluated_wherever_the_cache_was(
    make_photos: Callable[..., Path],
    small_config: Callable[..., Config],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    end: str,
) -> None:
    assert main(["data", "pack", str(make_photos({"cat": 20, "dog": 20})), str(tmp_path / "packed")]) == 0
    address = f"{(tmp_path / 'packed').as_uri()}{end}"
    run = train(small_config(address, cache=str(tmp_path / "elsewhere")), log=quiet)
    found = []
    for flags in ([], ["--data", address]):
        capsys.readouterr()
        assert main(["evaluate", "--run", str(run), *flags]) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1]
