"""Loads `model.safetensors`, the weights and the card of a network, without trusting the file.

Loading it cannot run code, and a checksum detects a changed bit.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catdog.architecture import ACTIVATIONS, MAX_LAYERS, RESIZES, Architecture
from catdog.base.text import on_one_line
from catdog.checkpoint.model_card import FORMAT_VERSION, ModelCard
from catdog.checkpoint.model_file import checksum_of
from catdog.checkpoint.quantize import SCALE, STORAGES, dequantize, stored_layout
from catdog.errors import CatdogError

HEADER_LIMIT = 2**25  # bytes of JSON before the weights; reading more would take too much memory
_NOT_IN_NAMES = {"/": "slash", "\\": "backslash", "\0": "character of code 0"}


def load_model(path: Path) -> tuple[dict[str, NDArray[np.float32]], ModelCard]:
    """Load the weights (float32 arrays by name) and the card of a `model.safetensors`, without importing torch.

    Raises CatdogError, in bounded time and memory, for a file that catdog did not write or that is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > HEADER_LIMIT:
            raise unusable_model(path, "its header is damaged")
        with safe_open(path, framework="numpy") as stored:
            metadata = stored.metadata() or {}
            if "catdog" not in metadata:
                raise unusable_model(path, "it was not written by catdog")
            card, about, checksum = card_from_json(path, metadata["catdog"])
            # Checked before any weight is read: names, shapes and types are those of the architecture.
            try:
                expected = stored_layout(expected_shapes(card), card.storage)
            except CatdogError as error:  # there is no such network
                raise unusable_model(path, str(error)) from None
            found = {name: stored.get_slice(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
            shapes = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in found.items()}
            if shapes != expected:
                raise unusable_model(path, "its weights do not fit the architecture in its header")
            arrays = {name: stored.get_tensor(name) for name in expected}
    except OSError as error:
        raise CatdogError(f"cannot read the model {path}: {error.strerror or error}; check the path.") from None
    except SafetensorError as error:
        raise unusable_model(path, f"it is not a whole safetensors file ({error})") from None
    if checksum != checksum_of(about, arrays):
        raise unusable_model(path, "its checksum is wrong, so it is damaged")
    for name, array in arrays.items():
        if name.endswith(SCALE) and not array.min() > 0:
            raise unusable_model(path, f"{name} holds a scale that is not positive")
    tensors = dequantize(arrays)
    for name, array in tensors.items():
        # The minimum and the maximum of an array with a NaN are NaN.
        if not (math.isfinite(array.min()) and math.isfinite(array.max())):
            raise unusable_model(path, f"{name} holds numbers that are not finite")
    return tensors, card


def expected_shapes(card: ModelCard) -> dict[str, tuple[int, ...]]:
    """Map name to shape of every array that the file of the network of `card` holds."""
    architecture, classes = card.architecture, len(card.classes)
    if architecture.is_mlp:
        shapes = architecture.state_shapes(classes)
    else:
        from catdog.model.torchvision import state_shapes  # with torch, which an MLP does not need

        shapes = state_shapes(architecture.model, architecture.image_size, classes)
    if card.familiarity:
        from catdog.familiarity import familiarity_shapes, feature_count

        shapes |= familiarity_shapes(feature_count(architecture), *card.familiarity)
    return shapes


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
