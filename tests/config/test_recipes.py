"""The recipes in configs/, found by name: in a clone, and where a wheel was installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import drawn_photos
import pytest

from catdog.config.recipes import find_config, recipes
from catdog.config.toml import load_config
from catdog.errors import CatdogError

ROOT = Path(__file__).parents[2]
NAMES = {"article", "best", "default", "fast"}


def test_a_recipe_is_found_by_its_name() -> None:
    assert set(recipes()) == {path.stem for path in (ROOT / "configs").glob("*.toml")} == NAMES
    for name in NAMES:
        assert load_config(name) == load_config(ROOT / "configs" / f"{name}.toml")
    Path("fast").mkdir()  # of photos, say
    assert find_config("fast")[0].name == "fast.toml"


def test_a_file_goes_before_a_recipe_of_its_name() -> None:
    Path("fast").write_text("[training]\nepochs = 77\n")
    assert load_config("fast").training.epochs == 77
    Path("fast").write_text("[trainin]\n")
    with pytest.raises(CatdogError, match=r"^\./fast \(a file here, not catdog's recipe fast\): unknown section"):
        load_config("fast")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fsat", "there is no configuration fsat; did you mean fast? Check the path, "),
        ("configs/fast.toml", "there is no configuration configs/fast.toml; did you mean fast? Check the path, "),
        ("/no/such/x.toml", "there is no configuration /no/such/x.toml; check the path, "),
        (".", "the configuration . is a folder; "),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_those_that_are(name: str, words: str) -> None:
    with pytest.raises(CatdogError) as refused:
        load_config(name)
    assert str(refused.value).startswith(words)
    assert "article, best, default, fast" in str(refused.value) or name == "."


@pytest.mark.slow
def test_a_wheel_brings_the_recipes_and_the_trained_network(tmp_path: Path) -> None:
    """Built of a copy, installed away from it, run from a third folder."""
    source, target, here = (tmp_path / name for name in ("source", "target", "here"))
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for name in ("catdog", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=skip)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", str(source), "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run(wheel, check=True, cwd=tmp_path)
    (built,) = tmp_path.glob("catdog-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(built)], check=True)
    drawn_photos.fill(here / "photos", 6)

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=here,
            env=os.environ | {"PYTHONPATH": str(target)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-c", "import catdog; print(catdog.__file__)").startswith(str(target))
    recipe = ["--config", "fast", "--data", "photos", "--epochs", "1", "--threads", "1", "--out", "runs/fast"]
    assert "units at" in run("-m", "catdog", "train", *recipe)  # local layers, which the default has not
    assert "local = [16, 32, 64, 128]" in (here / "runs" / "fast" / "config.toml").read_text()
    assert run("-m", "catdog", "predict", "--run", "cats-dogs", "photos").count("%") == 12
