import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "torture.py"


def test_trainings_killed_a_dozen_times_end_as_the_one_left_alone(tmp_path: Path) -> None:
    """SIGKILL at random moments and while files are written, checkpoints damaged in between; then the same bytes."""
    command = [sys.executable, str(SCRIPT), "--kills", "12", "--seed", "1", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    # What the script reports is looked at once more here.
    killed = [path for path in tmp_path.glob("killed-*") if path.is_dir() and path.suffix == ""]
    assert len(killed) >= 2
    for run in killed:
        for name in ("model.safetensors", "metrics.csv"):
            assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        assert not list(run.glob(".*"))
