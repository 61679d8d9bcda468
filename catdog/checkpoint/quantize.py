"""Quantizes weights from 32 to 16 or 8 bits, for a smaller model file, with a known bound of the error.

Quantized are the arrays of two or more dimensions, whose first axis is the unit: a row holds one unit's weights. Biases
and normalisation stay float32.

int8: integers q from -127 to 127, and one float32 scale a row, in an array of the matrix's name and ".scale":
w = scale * q with scale = max|w| / 127 over the row (Jacob et al. 2018, "Quantization and Training of Neural Networks
for Efficient Integer-Arithmetic-Only Inference", equation 1, with zero-point 0). The error of a weight is at most
scale / 2.

float16: rounded to 11 significant bits. The error of a weight is at most |w| / 2048, or 2^-25 where |w| < 2^-14.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

STORAGES = {"float32": "F32", "float16": "F16", "int8": "I8"}  # and its name in safetensors
SCALE = ".scale"
_LEAST_SCALE = np.finfo(np.float32).tiny  # also of a row of zeros; a subnormal scale would be rounded too coarsely

Arrays = dict[str, NDArray[Any]]


def stored_layout(shapes: Mapping[str, tuple[int, ...]], storage: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Map name to (shape, safetensors type) of every array that a file holds for a network of these shapes."""
    layout: dict[str, tuple[tuple[int, ...], str]] = {}
    for name, shape in shapes.items():
        is_matrix = len(shape) > 1
        layout[name] = (shape, STORAGES[storage] if is_matrix else "F32")
        if is_matrix and storage == "int8":
            layout[name + SCALE] = (shape[:1], "F32")
    return layout


def quantize(tensors: Mapping[str, NDArray[np.float32]], storage: str) -> Arrays:
    """Quantize a network's arrays for storage in a file. `dequantize` is the inverse."""
    found: Arrays = {}
    for name, array in tensors.items():
        if array.ndim < 2 or storage == "float32":
            found[name] = array
        elif storage == "float16":
            with np.errstate(over="ignore"):  # a weight above 65,504 becomes infinite, which load_model refuses
                found[name] = array.astype(np.float16)
        else:
            rows = array.reshape(len(array), -1)
            scale = np.maximum(np.abs(rows).max(axis=1) / np.float32(127), _LEAST_SCALE)
            found[name] = np.rint(rows / scale[:, None]).astype(np.int8).reshape(array.shape)
            found[name + SCALE] = scale
    return found


def dequantize(stored: Arrays) -> dict[str, NDArray[np.float32]]:
    """Convert the arrays that `quantize` returned back to float32; infinite where a number is too large for it."""
    found = {}
    for name, array in stored.items():
        if name.endswith(SCALE):
            continue
        found[name] = array.astype(np.float32, copy=False)
        if name + SCALE in stored:
            with np.errstate(over="ignore"):
                found[name] *= stored[name + SCALE].reshape(-1, *[1] * (array.ndim - 1))
    return found
