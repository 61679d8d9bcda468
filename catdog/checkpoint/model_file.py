"""Writes and reads `model.safetensors`: the best weights and, in its header, everything else that prediction needs.

Loading it cannot run code, and a checksum detects a changed bit. (`last.pt`, from which a training is resumed, is in
training_state.py.)
"""

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catdog.architecture import ACTIVATIONS, Architecture
from catdog.checkpoint.quantize import SCALE, STORAGES, dequantize, quantize, stored_layout
from catdog.errors import CatdogError

FORMAT_VERSION = 1
MODEL_FILE = "model.safetensors"
STATE_FILE = "last.pt"
PREVIOUS_FILE = "previous.pt"
_HEADER_LIMIT = 1 << 20  # bytes of JSON before the weights; ours is a few thousand


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
    """accuracy, loss, photos (how many) and epoch of the weights; more in a file that scripts/box.py has written."""
    storage: str = "float32"
    """How the file holds the matrices: float32, float16 or int8 (catdog/checkpoint/quantize.py)."""
    recipe: str = ""
    """The command that trains this network, where it was recorded."""


def save_model(path: Path, tensors: Mapping[str, np.ndarray], card: ModelCard) -> None:
    """Write `model.safetensors` atomically. tensors: float32 arrays by name, quantized to `card.storage`."""
    from safetensors.numpy import save

    from catdog.base.atomic import write_atomic  # which is not needed to read one

    arrays = {name: np.ascontiguousarray(array) for name, array in quantize(tensors, card.storage).items()}
    about = {"format_version": FORMAT_VERSION, **asdict(card)}
    about["crc32"] = _checksum(json.dumps(about, sort_keys=True), arrays)
    # One entry, since safetensors writes several in varying order; ASCII, since a class name need not be valid UTF-8.
    header = json.dumps(about, sort_keys=True)
    data = save(arrays, metadata={"catdog": header})
    write_atomic(path, lambda file: file.write(data))


def _checksum(about: str, arrays: Mapping[str, np.ndarray]) -> str:
    """CRC-32, in hex, of the text `about` (the rest of the header's JSON) and then of each array, by name."""
    checksum = zlib.crc32(about.encode())
    for name in sorted(arrays):
        checksum = zlib.crc32(arrays[name].data, checksum)
    return f"{checksum:08x}"


def load_model(path: Path) -> tuple[dict[str, NDArray[np.float32]], ModelCard]:
    """Load the weights (float32 arrays by name) and the card of a `model.safetensors`, without importing torch.

    Raises CatdogError, in bounded time and memory, for a file that catdog did not write or that is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > _HEADER_LIMIT:
            raise _bad_model(path, "its header is damaged")
        with safe_open(path, framework="numpy") as stored:
            metadata = stored.metadata() or {}
            if "catdog" not in metadata:
                raise _bad_model(path, "it was not written by catdog")
            card, about, checksum = _card_from_json(path, metadata["catdog"])
            # Checked before any weight is read: names, shapes and types are those of the architecture.
            try:
                expected = stored_layout(expected_shapes(card), card.storage)
            except CatdogError as error:  # there is no such network
                raise _bad_model(path, str(error)) from None
            found = {name: stored.get_slice(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
            shapes = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in found.items()}
            if shapes != expected:
                raise _bad_model(path, "its weights do not fit the architecture in its header")
            arrays = {name: stored.get_tensor(name) for name in expected}
    except OSError as error:
        raise CatdogError(f"cannot read the model {path}: {error.strerror or error}; check the path.") from None
    except SafetensorError as error:
        raise _bad_model(path, f"it is not a whole safetensors file ({error})") from None
    if checksum != _checksum(about, arrays):
        raise _bad_model(path, "its checksum is wrong, so it is damaged")
    for name, array in arrays.items():
        if name.endswith(SCALE) and not array.min() > 0:
            raise _bad_model(path, f"{name} holds a scale that is not positive")
    tensors = dequantize(arrays)
    for name, array in tensors.items():
        # The minimum and the maximum of an array with a NaN are NaN.
        if not (math.isfinite(array.min()) and math.isfinite(array.max())):
            raise _bad_model(path, f"{name} holds numbers that are not finite")
    return tensors, card


def _bad_model(path: Path, why: str) -> CatdogError:
    return CatdogError(
        f"{path} cannot be used as a model: {' '.join(why.split())[:300]}; take another run, or train again."
    )


def _card_from_json(path: Path, text: str) -> tuple[ModelCard, str, str]:
    """Parse the header's JSON to (the card, the JSON without its checksum, the checksum)."""
    try:
        about = json.loads(text)
        version = about["format_version"]
        if version != FORMAT_VERSION:
            raise _bad_model(path, f"its format version is {version!r} and this catdog reads {FORMAT_VERSION}")
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
        )
        card = ModelCard(
            architecture=architecture,
            classes=tuple(_class_name(name) for name in about["classes"]),
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
            storage=str(about.get("storage", "float32")),  # not in the first model files
            recipe=str(about.get("recipe", "")),
        )
        if card.storage not in STORAGES:
            raise ValueError("storage")
        if len(set(card.classes)) != len(card.classes) or len(card.classes) < 2:
            raise ValueError("classes")
        if min(card.std) <= 0 or card.temperature <= 0:
            raise ValueError("scale")
        if architecture.activation not in ACTIVATIONS:
            raise ValueError("activation")
        if not 2 <= architecture.field <= 100 or min(architecture.grids[-1].height, architecture.grids[-1].width) < 1:
            raise ValueError("local")
        return card, json.dumps(about, sort_keys=True), checksum
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise _bad_model(path, f"its header does not describe a network ({type(error).__name__}: {error})") from None


def _whole_numbers(values: Any, count: int | None = None) -> Any:
    if not isinstance(values, list) or any(type(value) is not int or not 0 < value < 2**31 for value in values):
        raise ValueError(f"{values!r:.80} is not a list of whole numbers")
    if len(values) > 1000 or count not in (None, len(values)):
        raise ValueError("a list of another length was expected")
    return tuple(values)


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r:.80} is not a number")
    return float(value)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (_finite(value) for value in values)
    return red, green, blue


def _class_name(name: Any) -> str:
    """Return `name` if it is a valid class name, which is a folder's name and never a path; else raise ValueError."""
    if not isinstance(name, str) or not name or name in (".", "..") or len(name) > 255 or set(name) & {"/", "\\", "\0"}:
        raise ValueError(f"{name!r:.80} is not the name of a class")
    return name


def expected_shapes(card: ModelCard) -> dict[str, tuple[int, ...]]:
    """Map name to shape of every array of the network that `card` describes."""
    architecture, classes = card.architecture, len(card.classes)
    if architecture.is_mlp:
        return architecture.state_shapes(classes)
    from catdog.model.torchvision import state_shapes  # with torch, which an MLP does not need

    return state_shapes(architecture.model, architecture.image_size, classes)
