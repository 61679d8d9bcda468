"""Weights in 8 bits: a quarter of the size of float32, at a small error that is measured, not guessed.

Each row of a matrix, the weights of one unit, is stored as whole numbers from -127 to 127 and one scale:
w = scale * q, with scale = max|w| / 127 (Jacob et al. 2018, "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", equation 1, with zero-point 0). So no weight is off by more than half a
scale. Everything else stays float32.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

SCALE = ".scale"  # the name of a matrix's scales is its own name with this


def compacted(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.generic]]:
    """Each matrix (rows x columns) as int8 of the same name, and its scales, float32, rows; the rest as it is."""
    found: dict[str, NDArray[np.generic]] = {}
    for name, array in tensors.items():
        if array.ndim == 2:
            scale = np.abs(array).max(axis=1) / np.float32(127)
            scale = np.where(scale > 0, scale, np.float32(1))  # a row of zeros
            found[name] = np.rint(array / scale[:, None]).astype(np.int8)
            found[name + SCALE] = scale.astype(np.float32)
        else:
            found[name] = array
    return found


def widened(stored: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
    """What `compacted` stored, in float32."""
    found = {}
    for name, array in stored.items():
        if not name.endswith(SCALE):
            found[name] = array.astype(np.float32)
            if name + SCALE in stored:
                found[name] *= stored[name + SCALE].astype(np.float32)[:, None]
    return found
