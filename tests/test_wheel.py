"""A wheel: built of a copy, installed away from it, run from a third folder; and beside what little predict needs."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import drawn_photos
import pytest
from packaging.requirements import Requirement
from test_requirements import PROJECT

from catdog.base.extras import LEFT_OUT, how_to_install, what_is_left_out
from catdog.cli.main import build_parser

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
Done = subprocess.CompletedProcess[str]


def light_packages() -> list[str]:
    """What docs/library.md installs for prediction alone."""
    page = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    (command,) = re.findall(r'^    pip install ("numpy.*)$', page, re.MULTILINE)
    return shlex.split(command)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    source, skip = place / "source", shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for name in ("catdog", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=skip)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [*PIP, "wheel", str(source), "--no-deps", "--no-build-isolation", "-w", str(place)], check=True, cwd=place
    )
    (built,) = place.glob("catdog-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The folder that it is installed in, by itself."""
    target = wheel.parent / "installed"
    subprocess.run([*PIP, "install", "--no-deps", "--target", str(target), str(wheel)], check=True)
    return target


@pytest.fixture
def here(tmp_path: Path) -> Path:
    drawn_photos.fill(tmp_path / "photos", 6)
    return tmp_path


def run(here: Path, folders: list[Path], *command: str, flags: tuple[str, ...] = ()) -> Done:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    return subprocess.run(
        [sys.executable, *flags, *command], cwd=here, env=environment, capture_output=True, text=True, timeout=300
    )


def test_it_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for folder in ("catdog", "configs") for path in (ROOT / folder).rglob("*") if path.is_file())
    kept = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert names == {re.sub("^configs/", "catdog/configs/", name) for name in kept}
    assert "catdog/py.typed" in names


def test_it_brings_the_recipes_and_the_trained_network(installed: Path, here: Path) -> None:
    def catdog(*arguments: str) -> str:
        done = run(here, [installed], *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert catdog("-c", "import catdog; print(catdog.__file__)").startswith(str(installed))
    recipe = ["--config", "fast", "--data", "photos", "--epochs", "1", "--threads", "1", "--out", "runs/fast"]
    assert "units at" in catdog("-m", "catdog", "train", *recipe)  # local layers, which the default has not
    assert "local = [16, 32, 64, 128]" in (here / "runs" / "fast" / "config.toml").read_text()
    assert catdog("-m", "catdog", "predict", "--run", "cats-dogs", "photos").count("%") == 12
    catdog("-m", "catdog", "export", "--format", "html", "--run", "cats-dogs", "--out", "page.html")
    assert "<!doctype html>" in (here / "page.html").read_text()[:100].lower()


@pytest.fixture(scope="module")
def light(installed: Path) -> list[Path]:
    """Folders that hold the wheel, and what the page installs for prediction alone: what a bare environment has."""
    folder = installed.parent / "light"
    folder.mkdir()
    for line in light_packages():
        found = distribution(Requirement(line).name)
        for name in {path.parts[0] for path in found.files or () if path.parts[0] not in ("..", "__pycache__")}:
            (folder / name).symlink_to(Path(str(found.locate_file(name))))
    return [installed, folder]


def test_a_light_installation_is_part_of_the_whole(light: list[Path]) -> None:
    needed = {Requirement(line) for line in PROJECT["project"]["dependencies"]}
    wanted = set(map(Requirement, light_packages()))
    assert wanted < needed
    assert {requirement.name for requirement in needed - wanted} == set(LEFT_OUT)


def test_a_light_installation_predicts_as_the_whole_one_does(light: list[Path], installed: Path, here: Path) -> None:
    assert "No module named 'torch'" in run(here, light, "-c", "import torch", flags=("-S",)).stderr
    predict = ("-m", "catdog", "predict", "photos", "photos/cat/cat.0.jpg", "--json")
    whole, bare = run(here, [installed], *predict), run(here, light, *predict, flags=("-S",))
    assert (bare.returncode, bare.stdout, bare.stderr) == (0, whole.stdout, whole.stderr)
    assert len(bare.stdout.splitlines()) == 13
    code = "from catdog.predict import Classifier as C; print(C.load().predict('photos/dog/dog.1.jpg')._repr_html_())"
    from_python = run(here, light, "-c", code, flags=("-S",))
    assert from_python.returncode == 0 and "<table" in from_python.stdout
    evaluated = run(here, light, "-m", "catdog", "evaluate", "--data", "photos", "--json", flags=("-S",))
    assert json.loads(evaluated.stdout)["n"] == 12, evaluated.stderr


VERBS = {
    "train": ["--data", "photos"],
    "predict": ["photos"],
    "evaluate": ["--data", "photos"],
    "explain": ["photos/cat/cat.0.jpg"],
    "serve": ["--port", "0"],
    "demo": ["loss"],
    "doctor": ["--data", "photos"],
    "tune": ["--data", "photos"],
    "export": ["--format", "torch"],
    "push": ["cats-dogs", "me/mine"],
    "data": ["check", "photos"],
    "cache": [],
    "completion": ["bash"],
}
NEED_MORE = {"train", "evaluate", "explain", "serve", "demo", "doctor", "tune", "export", "completion"}


def test_these_are_all_verbs() -> None:
    (verbs,) = (action.choices for action in build_parser()._actions if action.dest == "verb")
    assert set(verbs or ()) == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_light_installation_says_in_a_sentence_what_a_verb_needs(verb: str, light: list[Path], here: Path) -> None:
    done = run(here, light, "-m", "catdog", verb, *VERBS[verb], flags=("-S",))
    assert "Traceback" not in done.stderr
    if verb in NEED_MORE:
        assert done.returncode == 2
        last = done.stderr.splitlines()[-1]
        assert last.startswith("catdog: ") and "pip install" in last, done.stderr
    assert not list((here / "runs").glob("2*"))  # a training that cannot begin leaves nothing


def test_the_command_that_it_says_installs_what_is_missing(light: list[Path], here: Path) -> None:
    last = run(here, light, "-m", "catdog", "train", "--data", "photos", flags=("-S",)).stderr.splitlines()[-1]
    words = shlex.split(last.split(": ", 2)[2])
    assert words[:2] == ["pip", "install"]
    assert {Requirement(word).name for word in words[2:]} == set(LEFT_OUT)


def test_a_package_that_nobody_left_out_is_no_sentence() -> None:
    with pytest.raises(ModuleNotFoundError):
        what_is_left_out(ModuleNotFoundError("no", name="catdog.no_such_file"))
    assert how_to_install("web").startswith("pip install ")
