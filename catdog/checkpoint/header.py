"""Reads what the header of a model file says of a network, without its weights."""

from pathlib import Path

from catdog.checkpoint.model_card import ModelCard
from catdog.checkpoint.saved_model import card_from_json, unusable_model


def load_card(path: Path) -> ModelCard:
    """The card of a model file. Raises CatdogError where the header is not one; the weights are not looked at."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stored:
            return card_from_json(path, (stored.metadata() or {})["catdog"])[0]
    except (OSError, SafetensorError, KeyError) as error:
        raise unusable_model(path, f"its header cannot be read ({error})") from None
