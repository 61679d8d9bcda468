"""Where a training starts: with new weights, or with those of another network, whose architecture it then takes."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catdog.architecture import Architecture
from catdog.base.text import listed, on_one_line
from catdog.checkpoint.header import load_card
from catdog.checkpoint.model_card import ModelCard
from catdog.checkpoint.model_file import MODEL_FILE
from catdog.checkpoint.saved_model import load_model
from catdog.config.schema import fields, validate
from catdog.config.settings import Config
from catdog.data.drawn import are_drawn
from catdog.data.listing import list_photos, photos_below, subfolders
from catdog.data.names import class_key
from catdog.data.splits import SAMPLE, find_splits, photo_folder
from catdog.errors import CatdogError
from catdog.numpy_net import Floats
from catdog.runs.locate import TRAINED, TRAINED_NAME, comes_with_catdog, find_model

if TYPE_CHECKING:
    from catdog.model.build import Network
    from catdog.runtime.world import World

FEW = 1000  # photos a class, below which cats and dogs start from the network that comes with catdog
_OTHERS = 1 / 5  # of so many, below which other classes do
SETTINGS: dict[str, Any] = {"learning_rate": 3e-4}  # of a training from another network, which knows much already
AT_ONCE: dict[str, Any] = {"optimizer": "lbfgs", "train_layers": 1, "epochs": 1, "ema": 0.0}
"""Where that one is chosen for few photos: all it learned of many stays; the classifier's weights are found at once."""
IN_STEPS: dict[str, Any] = {"learning_rate": 1e-3, "train_layers": 1, "epochs": 2}
"""Of those cats and dogs where something is given that concerns steps."""
_NOT_OF_STEPS = {"loss", "squared_hinge", "label_smoothing", "class_weights", "flip"}
_SAME = ("model", "local", "field", "shared", "blocks", "batch_norm")  # without which no weights fit


def choose_start(config: Config) -> Config:
    """`config` with the network that training starts from settled, and what comes with it: the architecture, and
    how photos become its pixels, as far as they are not given. For new weights ("none") it is `config` itself.

    Raises CatdogError where there is no such network, and where what is given contradicts it.
    """
    settings, network = AT_ONCE if config.training.optimizer == "lbfgs" else SETTINGS, dict[str, Any]()
    if config.model.start_from == "auto":
        place, settings, network = _chosen(config)
        config = validate(replace(config, model=replace(config.model, start_from=place)))
    if config.model.start_from == "none":
        return config
    model = find_model(config.model.start_from)
    _, card = load_model(model)
    if config.model.pretrained:
        raise CatdogError(
            "pretrained (--pretrained) and start_from (--start-from) both say which weights to begin with; leave one "
            "out."
        )
    theirs = {**asdict(card.architecture), **network}
    ours = {k: v for k, v in {**theirs, "resize": card.resize}.items() if k not in config.given}
    of_photos = {name: ours.pop(name) for name in ("image_size", "resize") if name in ours}
    place = TRAINED_NAME if comes_with_catdog(model) else str(model.resolve())
    config = replace(
        config,
        photos=replace(config.photos, **of_photos),
        model=replace(config.model, start_from=place, **ours),
        training=replace(config.training, **{k: v for k, v in settings.items() if k not in config.given}),
        given=frozenset(fields()),
    )
    _check_fits(asdict(config.architecture), theirs, _name_of(model))
    return validate(config)


def _chosen(config: Config) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Where a training starts that leaves it open, how it trains then, and what of the network is other than there.

    From cats-dogs where photos are few, and nothing of the network is given; else from new weights. Of other classes
    than cats and dogs its last layer tells little, and those before it more.
    """
    anew: tuple[str, dict[str, Any], dict[str, Any]] = ("none", {}, {})
    of_network = {name for name, field in fields().items() if field.section == "model"} | {"image_size"}
    if config.photos.data == SAMPLE or (of_network - {"start_from"}) & config.given:
        return anew
    root = photo_folder(config.photos)
    root = find_splits(root).get("train", root)
    classes = subfolders(root)
    is_known = are_known(classes)
    most = int(FEW * (1 if is_known else _OTHERS)) * len(classes)
    count = sum(1 for _ in islice(chain.from_iterable(photos_below(root / name) for name in classes), most))
    if not 0 < count < most or are_drawn(list_photos(root)):
        return anew
    of_steps = {name for name, field in fields().items() if field.section in ("training", "augment")} - _NOT_OF_STEPS
    if of_steps & config.given and config.training.optimizer != "lbfgs":
        return (TRAINED_NAME, IN_STEPS, {}) if is_known else anew
    return TRAINED_NAME, AT_ONCE, {} if is_known else {"pool_all": True}


def are_known(classes: Sequence[str]) -> bool:
    """Whether the network that comes with catdog knows all `classes`."""
    return set(map(class_key, classes)) <= set(map(class_key, load_card(TRAINED).classes))


def _check_fits(ours: dict[str, Any], theirs: dict[str, Any], name: str) -> None:
    """Raise CatdogError where the weights of the architecture `theirs` are of no use in `ours`."""
    other = [each for each in ours if ours[each] != theirs[each]]
    wrong = [each for each in other if each in _SAME]
    if not wrong and ours["model"] == "mlp" and _first_layer(ours) != _first_layer(theirs):
        wrong = [each for each in other if each in ("image_size", "hidden")]
    if wrong:
        ours_in_words, theirs_in_words = _value(ours[wrong[0]]), _value(theirs[wrong[0]])
        flag = fields()[wrong[0]].flag
        raise CatdogError(
            f"{wrong[0]} ({flag}) is {ours_in_words}, and that of {name}, whose weights this is to start from, is "
            f"{theirs_in_words}, so they do not fit; leave {flag} out, or begin anew with --start-from none."
        )


def _first_layer(shape: dict[str, Any]) -> tuple[int, ...]:
    """The shape of the first layer's weights; of a network without hidden layers, of those of one class."""
    return Architecture(**shape).layers(classes=1)[0].weight_shape


def _value(value: Any) -> str:
    return (" ".join(map(str, value)) or "empty") if isinstance(value, tuple) else str(value).lower()


def start_network(
    config: Config, model: "Network", classes: Sequence[str], saved: dict[str, Any] | None, world: "World"
) -> tuple[dict[str, Any], str]:
    """Give `model` the weights that `config` says to start from.

    classes: of the photos. saved: the checkpoint of a resumed training, for which that network is not looked at again.
    Returns what the card of the new network has from there, and for the plan a line on it. That is, beside the name,
    the mean and standard deviation of the inputs: the first layer has learned from photos that were normalised by
    these, and with them another photo gives its units the numbers that they know.
    """
    if saved is not None:
        about = start_of(saved)
        return about, about["started_from"]
    tensors, card, name = world.from_main(_load(config.model.start_from) if world.is_main else None)
    from catdog.model.transfer import copy_weights

    copied, new_classes = copy_weights(model, tensors, card.classes, classes)
    if not copied:
        raise CatdogError(
            f"no weights of {name} fit this network; leave out what sets its architecture, or begin anew with "
            "--start-from none."
        )
    total = sum(p.numel() for p in model.parameters())
    share = "all" if copied == total else f"{copied:,} of the"
    new = f"; the classifier's rows of {listed(new_classes)} are new" if new_classes else ""
    return {"started_from": name, "mean": card.mean, "std": card.std}, f"{name}: {share} {total:,} weights{new}"


def _load(name: str) -> tuple[dict[str, Floats], ModelCard, str]:
    """Weights and card of the run, or model file, `name`; its short name, the SHA-256 of the file, and its ancestry."""
    model = find_model(name)
    tensors, card = load_model(model)
    with open(model, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    before = f", started from {card.started_from}" if card.started_from else ""
    return tensors, card, f"{_name_of(model)} (sha256 {digest[:12]}){before}"


def start_of(saved: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint holds of the network that its training started from. ValueError where that cannot be."""
    about: dict[str, Any] = {"started_from": str(saved["start"]["started_from"])}
    for name in ("mean", "std"):
        about[name] = red, green, blue = saved["start"][name]
        if not math.isfinite(red + green + blue) or (name == "std" and min(red, green, blue) <= 0):
            raise ValueError(f"{name} is not that of three channels")
    return about


def _name_of(model: Path) -> str:
    """The name of a model file in short: cats-dogs, or that of its run."""
    if comes_with_catdog(model):
        return TRAINED_NAME
    return on_one_line(model.resolve().parent.name if model.name == MODEL_FILE else model.name)
