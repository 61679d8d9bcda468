"""Finds a configuration by its path, or a recipe of configs/ (in a wheel: catdog/configs) by its name."""

import os
from pathlib import Path

import catdog
from catdog.config.suggestions import did_you_mean
from catdog.errors import CatdogError

_PACKAGE = Path(catdog.__file__).parent


def recipes() -> dict[str, Path]:
    """The files of the recipes by name: "fast" for fast.toml."""
    folders = (_PACKAGE / "configs", _PACKAGE.parent / "configs")  # as it was installed; in a clone
    folder = next((folder for folder in folders if (folder / "default.toml").is_file()), folders[0])
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find_config(name: str | Path) -> tuple[Path, str]:
    """The file at the path `name`, else the recipe of that name, and what errors call it.

    Raises CatdogError where there is neither.
    """
    path, known = Path(name), recipes()
    if os.path.exists(path) and not os.path.isdir(path):
        return path, f"./{name} (a file here, not catdog's recipe {name})" if str(name) in known else str(path)
    if str(name) in known:
        return known[str(name)], str(known[str(name)])
    if os.path.isdir(path):
        raise CatdogError(f"the configuration {name} is a folder; give the TOML file in it.")
    mend = f"check the path, or give one of catdog's own by its name: {', '.join(known)}."
    raise CatdogError(f"there is no configuration {name}{did_you_mean(path.stem, known, mend)}")
