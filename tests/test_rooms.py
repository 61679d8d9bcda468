"""The rooms of the package: what is light stays light, and what a room says that it holds is there."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import catdog

PACKAGE = Path(catdog.__file__).parent
ROOMS = sorted(path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.glob("*/__init__.py"))
HEAVY = "{'torch', 'torchvision', 'matplotlib'}"


@pytest.mark.parametrize("module", ["catdog.predict", "catdog.cli.predict", "catdog.data", "catdog.trainer"])
def test_importing_it_leaves_heavy_libraries_out(module: str) -> None:
    code = f"import sys, {module}; print({HEAVY} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_names_each_of_its_files(room: str) -> None:
    words = (importlib.import_module(f"catdog.{room}").__doc__ or "").replace(",", " ").replace(":", " ")
    files = {path.stem for path in (PACKAGE / room).glob("*.py")} - {"__init__"}
    files |= {path.parent.name for path in (PACKAGE / room).glob("*/__init__.py")}
    assert not files - {word.removesuffix(".py").strip("().;") for word in words.split()}


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_room_offers_is_there(room: str) -> None:
    module = importlib.import_module(f"catdog.{room}")
    for name in getattr(module, "__all__", ()):
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        module.nothing_of_the_kind  # noqa: B018
