"""Introduces the network that answers, in one line: which it is, of what it was trained, and how to ask another."""

from pathlib import Path

from catdog.base.text import in_shell, on_one_line, percent
from catdog.checkpoint.model_card import DRAWINGS, ModelCard
from catdog.runs.locate import TRAINED, TRAINED_NAME, comes_with_catdog, find_model
from catdog.runs.trained_on import trained_on

CATS_DOGS = "cats_dogs"  # in a card's validation figures: how often the network that comes with catdog was right


def introduction(model: Path, card: ModelCard) -> str:
    """The line. model: the file that `card` is of."""
    photos = "photographs" if comes_with_catdog(model) else trained_on(model)
    count = f"{sum(card.train_counts):,} " if card.train_counts else ""
    trained = f", trained on {count}{photos}" if photos else ""
    start = f", starting from {card.started_from.split(' (')[0]}" if card.started_from else ""
    return on_one_line(f"{name_of(model)}{trained}{start}: {how_often_right(card)}. {_another(model)}")


def figures_in_words(model: Path, card: ModelCard) -> str:
    """The network and its figures in sentences, for a page; the arguments as for `introduction`."""
    figures = how_often_right(card)
    often = f"In training it was {figures}." if card.validation else f"{figures[0].upper()}{figures[1:]}."
    return on_one_line(f"The network is {name_of(model)}. {often}")


def name_of(model: Path) -> str:
    """The name of a model file in messages."""
    return f"{TRAINED_NAME}, which comes with catdog" if comes_with_catdog(model) else str(model)


def how_often_right(card: ModelCard) -> str:
    """How often the network is right, in half a sentence."""
    if not (v := card.validation):
        return "how often it is right is not noted in its file"
    better = v.get(CATS_DOGS, 0) > v["accuracy"]
    theirs = f"; cats-dogs was better, right on {percent(v[CATS_DOGS])} of the same photos" if better else ""
    photos = f"{v['photos']:,.0f} validation photos, which it was not trained on"
    return f"right on {percent(v['accuracy'])} of {photos}{theirs}"


def _another(model: Path) -> str:
    """How to ask another network than `model`."""
    if not comes_with_catdog(model):
        other = TRAINED_NAME if find_model(TRAINED_NAME) == TRAINED else str(TRAINED)
        newest = find_model(None, drawings=True)
        passed = f"The newest run, {newest.parent}, was trained on drawings. "
        is_passed = find_model(None) == model and trained_on(newest) == DRAWINGS
        return (
            f"{passed if is_passed else ''}To ask the network that comes with catdog instead, give: "
            f"--run {in_shell(other)}"
        )
    run = find_model(None, drawings=True)
    if comes_with_catdog(run):
        return "For a network of your own: catdog train --data FOLDER"
    why = " (it was trained on drawings)" if trained_on(run) == DRAWINGS else ""
    return f"To ask the newest run{why} instead, give: --run {in_shell(run.parent)}"
