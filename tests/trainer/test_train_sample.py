"""The main job on the drawn set, with the default settings: the hidden layers earn their place."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import quiet

from catdog.cli.main import main
from catdog.config.toml import load_config
from catdog.data.drawn import write_sample
from catdog.data.listing import list_photos
from catdog.predict import Classifier
from catdog.tools.evaluation.measure import evaluate
from catdog.train import train

pytestmark = pytest.mark.slow


def test_the_default_network_beats_one_without_hidden_layers_on_drawings_it_has_not_seen(tmp_path: Path) -> None:
    write_sample(tmp_path / "unseen", 1000, seed=1)
    unseen = list_photos(tmp_path / "unseen")
    accuracy = {}
    for name, changes in (("default", {}), ("linear", {"hidden": ()})):
        run = train(load_config(None, {"data": "sample", "out": str(tmp_path / name), **changes}), log=quiet)
        accuracy[name] = evaluate(Classifier.load(run), unseen)[0].accuracy
    assert accuracy["default"] > 0.95
    assert accuracy["linear"] < accuracy["default"] - 0.08
    assert accuracy["linear"] > 0.7  # it has learned what it can: the gap is not a failure to train


def test_without_photos_training_says_that_it_draws(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from catdog.data import drawn as sample

    monkeypatch.setattr(sample, "DEFAULT_COUNT", 40)
    assert main(["train", "--epochs", "1", "--hidden", "8", "--out", "run"]) == 0
    printed = capsys.readouterr().out
    assert "data/ holds no photos" in printed
    assert "drawn cats and dogs" in printed
    assert main(["evaluate", "--run", "run"]) == 0
    assert [path.name for path in Path().iterdir()] == ["run"]


def test_training_an_mlp_imports_neither_torchvision_nor_what_compiles(tmp_path: Path) -> None:
    """Each takes as long to import as torch itself."""
    write_sample(tmp_path / "photos", 40)
    program = (
        "import sys; from catdog.cli.main import main; status = main(sys.argv[1:]); "
        "print({'torch', 'torchvision', 'torch._dynamo'} & set(sys.modules), status)"
    )
    argv = map(str, ("train", "--data", tmp_path / "photos", "--epochs", 1, "--out", "run"))
    ended = subprocess.run([sys.executable, "-c", program, *argv], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "{'torch'} 0"
