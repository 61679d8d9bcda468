"""Writes and reads `model.safetensors`: the best weights and, in its header, everything else that prediction needs.

Loading it cannot run code, and a checksum detects a changed bit. (`last.pt`, from which a training is resumed, is in
training_state.py.)
"""

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catdog.checkpoint.model_card import FORMAT_VERSION, ModelCard, card_from_json, unusable_model
from catdog.checkpoint.quantize import SCALE, dequantize, quantize, stored_layout
from catdog.errors import CatdogError

MODEL_FILE = "model.safetensors"
STATE_FILE = "last.pt"
PREVIOUS_FILE = "previous.pt"
HEADER_LIMIT = 2**25  # bytes of JSON before the weights; reading more would take too much memory


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
    if checksum != _checksum(about, arrays):
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
