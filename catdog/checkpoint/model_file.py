"""Writes `model.safetensors`: the best weights and, in its header, everything else that prediction needs.

saved_model.py loads it. (`last.pt`, from which a training is resumed, is in training_state.py.)
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from catdog.checkpoint.model_card import FORMAT_VERSION, ModelCard
from catdog.checkpoint.quantize import quantize

MODEL_FILE = "model.safetensors"
STATE_FILE = "last.pt"
PREVIOUS_FILE = "previous.pt"


def save_model(path: Path, tensors: Mapping[str, np.ndarray], card: ModelCard) -> None:
    """Write `model.safetensors` atomically. tensors: float32 arrays by name, quantized to `card.storage`."""
    from safetensors.numpy import save

    from catdog.base.atomic import write_atomic  # which is not needed to read one

    arrays = {name: np.ascontiguousarray(array) for name, array in quantize(tensors, card.storage).items()}
    about = {"format_version": FORMAT_VERSION, **asdict(card)}
    about["crc32"] = checksum_of(json.dumps(about, sort_keys=True), arrays)
    # One entry, since safetensors writes several in varying order; ASCII, since a class name need not be valid UTF-8.
    header = json.dumps(about, sort_keys=True)
    data = save(arrays, metadata={"catdog": header})
    write_atomic(path, lambda file: file.write(data))


def checksum_of(about: str, arrays: Mapping[str, np.ndarray]) -> str:
    """CRC-32, in hex, of the text `about` (the rest of the header's JSON) and then of each array, by name."""
    checksum = zlib.crc32(about.encode())
    for name in sorted(arrays):
        checksum = zlib.crc32(arrays[name].data, checksum)
    return f"{checksum:08x}"
