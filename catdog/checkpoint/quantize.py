"""Weights in 8 or 16 bits in place of 32: a smaller file, at an error whose bound is known.

What is stored so are the matrices of a network, its arrays of two or more dimensions. Their first axis counts the
units, so that each row is what one unit multiplies its inputs by; biases and normalisation stay float32.

int8: whole numbers q from -127 to 127, and one scale a row, float32, in an array of the matrix's name and ".scale":
w = scale * q with scale = max|w| / 127 over the row (Jacob et al. 2018, "Quantization and Training of Neural Networks
for Efficient Integer-Arithmetic-Only Inference", equation 1, with zero-point 0). No weight is off by more than
scale / 2.

float16: the nearest number of 11 significant bits. No weight is off by more than |w| / 2048, or by more than 2^-25
where |w| < 2^-14.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

STORAGES = {"float32": "F32", "float16": "F16", "int8": "I8"}  # and what safetensors calls each
SCALE = ".scale"
_LEAST_SCALE = np.finfo(np.float32).tiny  # of a row of zeros; smaller ones would be rounded too coarsely

Arrays = dict[str, NDArray[Any]]


def stored_layout(shapes: Mapping[str, tuple[int, ...]], storage: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Name -> (shape, type as safetensors names it) of every array that a file holds for a network of these shapes."""
    layout: dict[str, tuple[tuple[int, ...], str]] = {}
    for name, shape in shapes.items():
        is_matrix = len(shape) > 1
        layout[name] = (shape, STORAGES[storage] if is_matrix else "F32")
        if is_matrix and storage == "int8":
            layout[name + SCALE] = (shape[:1], "F32")
    return layout


def compacted(tensors: Mapping[str, NDArray[np.float32]], storage: str) -> Arrays:
    """The arrays of a network as a file holds them. `widened` is the way back."""
    found: Arrays = {}
    for name, array in tensors.items():
        if array.ndim < 2 or storage == "float32":
            found[name] = array
        elif storage == "float16":
            with np.errstate(over="ignore"):  # a weight above 65,504 becomes infinite, which no reader takes
                found[name] = array.astype(np.float16)
        else:
            rows = array.reshape(len(array), -1)
            scale = np.maximum(np.abs(rows).max(axis=1) / np.float32(127), _LEAST_SCALE)
            found[name] = np.rint(rows / scale[:, None]).astype(np.int8).reshape(array.shape)
            found[name + SCALE] = scale
    return found


def widened(stored: Arrays) -> dict[str, NDArray[np.float32]]:
    """float32 arrays of what `compacted` made, infinite where a number is too large for that."""
    found = {}
    for name, array in stored.items():
        if name.endswith(SCALE):
            continue
        found[name] = array.astype(np.float32, copy=False)
        if name + SCALE in stored:
            with np.errstate(over="ignore"):
                found[name] *= stored[name + SCALE].reshape(-1, *[1] * (array.ndim - 1))
    return found
