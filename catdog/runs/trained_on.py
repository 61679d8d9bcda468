"""Says what a network was trained on: from its header, or for older files from the config.toml beside them."""

import json
import tomllib
from pathlib import Path

from catdog.checkpoint.model_card import DRAWINGS
from catdog.data.splits import SAMPLE

_LONGEST_HEADER = 2**24  # bytes; whatever is longer is no model file


def trained_on(model: Path) -> str:
    """DRAWINGS, or "photos in" and the name of their folder; empty where nothing says it."""
    try:
        with open(model, "rb") as file:
            header = file.read(min(int.from_bytes(file.read(8), "little"), _LONGEST_HEADER))
        card = json.loads(json.loads(header)["__metadata__"]["catdog"])
        if card.get("trained_on"):
            return str(card["trained_on"])
        config = tomllib.loads((model.parent / "config.toml").read_text(encoding="utf-8"))
        return describe_photos(str(config["photos"]["data"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""  # what is wrong with a damaged file is said by whoever loads it


def describe_photos(data: str, drawn: bool = False) -> str:
    """What a network is trained on, in words. data: as in the configuration; drawn: whether it holds drawings."""
    return DRAWINGS if drawn or data == SAMPLE else f"photos in {Path(data).name or data}"
