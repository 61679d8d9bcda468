import sys
from pathlib import Path

import processes  # noqa: F401 (whose processes, with all imported, are those that the script starts)
import pytest

import torture


@pytest.mark.slow
def test_trainings_killed_again_and_again_end_as_the_one_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """SIGKILL at random moments and while files are written, checkpoints damaged in between; then the same bytes."""
    monkeypatch.setattr(sys, "argv", ["torture.py", "--kills", "8", "--seed", "1", "--folder", str(tmp_path)])
    assert torture.main() == 0, capfd.readouterr()
    # What the script reports is looked at once more here.
    killed = [path for path in tmp_path.glob("killed-*") if path.is_dir() and path.suffix == ""]
    assert len(killed) >= 2
    for run in killed:
        for name in ("model.safetensors", "metrics.csv"):
            assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        assert not list(run.glob(".*"))
