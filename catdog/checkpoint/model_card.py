"""What the header of a model file says of the network, and how it is read without trusting it."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catdog.architecture import ACTIVATIONS, MAX_LAYERS, RESIZES, Architecture, Resize
from catdog.base.text import on_one_line
from catdog.checkpoint.quantize import STORAGES
from catdog.errors import CatdogError

FORMAT_VERSION = 1
_NOT_IN_NAMES = {"/": "slash", "\\": "backslash", "\0": "character of code 0"}
DRAWINGS = "drawings"  # as what a network was trained on


@dataclass(frozen=True)
class ModelCard:
    """Description of a network, in the header of `model.safetensors`: architecture, classes, preprocessing, figures."""

    architecture: Architecture
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    """Of each channel over the training photos, in levels (0 to 255)."""
    std: tuple[float, float, float]
    resize_filter: str
    average_mirrored: bool
    """Whether the logits of a photo and of its mirror image are averaged."""
    loss: str
    temperature: float
    """Probabilities are softmax(logits / temperature); fitted on the validation photos."""
    squared_hinge: bool = False
    """Whether each hinge of the svm loss is squared."""
    mean_colours: tuple[tuple[float, float, float], ...] = ()
    """Mean red, green, blue of each class's training photos, in levels: for the nearest-mean-colour baseline."""
    train_counts: tuple[int, ...] = ()
    """Training photos of each class: for the majority baseline."""
    validation: Mapping[str, float] = field(default_factory=dict)
    """accuracy, loss, photos (how many), epoch of the weights, ece; more in a file that scripts/box.py has written."""
    by_class: tuple[tuple[int, int], ...] = ()
    """Of each class: its validation photos, and how many were answered correctly; empty in older files."""
    storage: str = "float32"
    """How the file holds the matrices: float32, float16 or int8 (catdog/checkpoint/quantize.py)."""
    recipe: str = ""
    """The command that trains this network, where it was recorded."""
    trained_on: str = ""
    """DRAWINGS, or "photos in" and the name of their folder; empty in older files."""
    started_from: str = ""
    """The network whose weights its training began with, and the SHA-256 of that one's file; empty for new weights."""
    resize: Resize = "squash"
    """How photos of another shape come to the network's size; older files, which do not say, mean squash."""
    familiarity: tuple[int, ...] = ()
    """How many directions and distances `catdog.familiarity` computes with; none where it is not known."""


def unusable_model(path: Path, why: str) -> CatdogError:
    return CatdogError(
        f"{path} cannot be used as a model: {' '.join(why.split())[:300]}; take another run, or train again."
    )


def card_from_json(path: Path, text: str) -> tuple[ModelCard, str, str]:
    """Parse the header's JSON to (the card, the JSON without its checksum, the checksum)."""
    try:
        about = json.loads(text)
        version = about["format_version"]
        if version != FORMAT_VERSION:
            raise unusable_model(path, f"its format version is {version!r} and this catdog reads {FORMAT_VERSION}")
        checksum = str(about.pop("crc32"))
        shape = about["architecture"]
        architecture = Architecture(
            image_size=_whole_numbers(shape["image_size"], 2),
            hidden=_whole_numbers(shape["hidden"]),
            activation=str(shape["activation"]),
            batch_norm=bool(shape["batch_norm"]),
            dropout=float(shape["dropout"]),
            local=_whole_numbers(shape.get("local", [])),  # not in the first model files
            field=_whole_numbers([shape.get("field", 4)], 1)[0],
            model=str(shape.get("model", "mlp")),
            shared=bool(shape.get("shared", False)),
            blocks=tuple(n - 1 for n in _whole_numbers([n + 1 for n in shape.get("blocks", [])])),
            pool=bool(shape.get("pool", False)),
            pool_all=bool(shape.get("pool_all", False)),
        )
        card = ModelCard(
            architecture=architecture,
            classes=tuple(about["classes"]),
            mean=_three(about["mean"]),
            std=_three(about["std"]),
            resize_filter=str(about["resize_filter"]),
            average_mirrored=bool(about["average_mirrored"]),
            loss=str(about["loss"]),
            temperature=_finite(about["temperature"]),
            squared_hinge=bool(about.get("squared_hinge", False)),  # not in the first model files
            mean_colours=tuple(_three(colour) for colour in about["mean_colours"]),
            train_counts=tuple(int(count) for count in about["train_counts"]),
            validation={str(name): _finite(value) for name, value in about["validation"].items()},
            by_class=tuple((int(photos), int(right)) for photos, right in about.get("by_class", [])),
            storage=str(about.get("storage", "float32")),  # not in the first model files
            recipe=str(about.get("recipe", "")),
            trained_on=str(about.get("trained_on", "")),
            started_from=str(about.get("started_from", "")),
            resize=about.get("resize", "squash"),
            familiarity=_whole_numbers(about.get("familiarity", [])),
        )
        if len(card.familiarity) not in (0, 2):
            raise ValueError("familiarity")
        if len(card.by_class) not in (0, len(card.classes)) or not all(0 <= k <= n for n, k in card.by_class):
            raise ValueError("by_class")
        if card.storage not in STORAGES:
            raise ValueError("storage")
        if card.resize not in RESIZES:
            raise ValueError("resize")
        if refused := next(filter(None, map(why_refused, card.classes)), ""):
            raise ValueError(refused)
        if len(set(card.classes)) != len(card.classes) or len(card.classes) < 2:
            raise ValueError("classes")
        if min(card.std) <= 0 or card.temperature <= 0:
            raise ValueError("scale")
        if architecture.activation not in ACTIVATIONS:
            raise ValueError("activation")
        if len(architecture.blocks) not in (0, len(architecture.local)) or sum(architecture.blocks) > MAX_LAYERS:
            raise ValueError("blocks")
        if (architecture.shared or architecture.pool or architecture.pool_all) and not architecture.local:
            raise ValueError("shared or pool")
        if not 2 <= architecture.field <= 100 or min(architecture.grids[-1].height, architecture.grids[-1].width) < 1:
            raise ValueError("local")
        return card, json.dumps(about, sort_keys=True), checksum
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise unusable_model(
            path, f"its header does not describe a network ({type(error).__name__}: {error})"
        ) from None


def _whole_numbers(values: Any, count: int | None = None) -> Any:
    if not isinstance(values, list) or any(type(value) is not int or not 0 < value < 2**31 for value in values):
        raise ValueError(f"{values!r:.80} is not a list of whole numbers")
    if len(values) > MAX_LAYERS or count not in (None, len(values)):
        raise ValueError("a list of another length was expected")
    return tuple(values)


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r:.80} is not a number")
    return float(value)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (_finite(value) for value in values)
    return red, green, blue


def why_refused(name: Any) -> str:
    """Why `name` cannot be a class's, which is a folder's and never a path; empty if it can."""
    if not isinstance(name, str) or not name or name in (".", "..") or len(name) > 255:
        return f"{name!a:.80} cannot be the name of a class, which has 1 to 255 letters, and is neither . nor .."
    if held := [what for what in _NOT_IN_NAMES if what in name]:
        return f"'{on_one_line(name)[:80]}' cannot be the name of a class: it holds a {_NOT_IN_NAMES[held[0]]}"
    return ""
