"""What can be chosen for a training of the page: photos, by ids of what was listed, and a few settings."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catdog.base.text import on_one_line
from catdog.config.schema import fields
from catdog.config.suggestions import did_you_mean
from catdog.data.listing import has_photos, subfolders
from catdog.data.splits import SAMPLE, find_splits
from catdog.errors import CatdogError
from catdog.server.requests import RequestError, text

SETTINGS = ("hidden", "activation", "loss", "learning_rate", "batch_size", "epochs")
"""What may be chosen, beside the photos; all else is as in `catdog train`."""


def folders(root: Path | None) -> dict[str, str]:
    """What can be trained on, by id: the drawn set, and the folders of photos in `root`, or `root` itself."""
    found = {SAMPLE: SAMPLE}
    for folder in map(str, _photo_folders(root) if root else ()):
        found[hashlib.blake2b(os.fsencode(folder), digest_size=6).hexdigest()] = folder
    return found


def _photo_folders(root: Path) -> list[Path]:
    inside = [] if _holds_classes(root, split=True) else [root / name for name in subfolders(root)]
    return [folder for folder in inside if _holds_classes(folder)] or [root] * _holds_classes(root)


def _holds_classes(folder: Path, split: bool = False) -> bool:
    """Whether a folder holds photos in classes, which lie in train/ and others; or, unless `split`, in itself."""
    try:
        train = find_splits(folder).get("train")
        return bool(train or not split) and len(subfolders(train or folder)) > 1 and has_photos(folder)
    except (CatdogError, OSError):
        return False


def settings_of(wanted: Mapping[str, Any], root: Path | None) -> dict[str, Any]:
    """The fields of the configuration that a request asks for. RequestError for one that cannot be chosen here.

    Validation photos are kept apart however few there are: they are what is watched.
    """
    for name in wanted:
        if name not in (*SETTINGS, "data"):
            raise RequestError(400, f"there is no setting {name!a:.80}{did_you_mean(name, (*SETTINGS, 'data'))}")
    chosen = folders(root).get(text(wanted, "data", SAMPLE))
    if chosen is None:
        raise RequestError(404, "these photos are not there any more; choose others.")
    return {**wanted, "data": chosen, "folds": 1, "start_from": "none"}


def choices(root: Path | None) -> dict[str, Any]:
    """What can be chosen: folders by id, and settings with their meaning, as in `catdog train --help`."""
    found = folders(root)
    named = [{"id": key, "name": "" if key == SAMPLE else on_one_line(Path(one).name)} for key, one in found.items()]
    known = fields()
    described = [
        {"name": name, "about": (f := known[name]).doc, "default": f.default, "choices": f.choices, "range": f.range}
        for name in SETTINGS
    ]
    return {"folders": named, "settings": described}
