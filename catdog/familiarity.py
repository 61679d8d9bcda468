"""How familiar a photo is: how near its features are to those of the photos that a network was trained on.

The features of a network with local layers are what it sees: the mean of each channel over all places, in the last
layer of each grid, each layer's means scaled to length 1 (Müller and Hein 2025, "Mahalanobis++"; several layers: Lee et
al. 2018, "A simple unified framework for detecting out-of-distribution samples"). The units of a dense layer tell
little; there, and for torchvision's networks, the features are the photo's own colours, contrast and roughness.

Distances are Mahalanobis': a direction in which training photos vary much counts little. With z the features, centred
and scaled, and W the main directions: distance = |z|^2 - |Wz|^2. (`catdog.trainer.fit_familiarity` fits them.)
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from catdog.architecture import Architecture
from catdog.numpy_net import Floats, Layer, forward

_FINEST = 32  # more pixels each way than differences are taken of: finer ones tell cameras apart, and noise
_FAINT = 0.02  # of all brightness; smaller differences are treated alike


def familiarity(tensors: Mapping[str, Floats], features: Floats) -> Floats:
    """The share of familiar photos, held out from training, that are farther off. features: B x D -> B, in [0, 1]."""
    held_out = tensors["familiarity.distances"]
    return np.interp(distances(tensors, features), held_out, np.linspace(1, 0, len(held_out)))


def distances(tensors: Mapping[str, Floats], features: Floats) -> Floats:
    """From the training photos: B x D -> B."""
    z = (features - tensors["familiarity.mean"]) * tensors["familiarity.factor"]
    found: Floats = (z**2).sum(axis=1) - ((z @ tensors["familiarity.directions"].T) ** 2).sum(axis=1)
    return found


def familiarity_shapes(features: int, directions: int, distances: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of each array of a model file that familiarity is computed with."""
    return {
        "familiarity.mean": (features,),
        "familiarity.factor": (features,),
        "familiarity.directions": (directions, features),
        "familiarity.distances": (distances,),  # quantiles of those of photos held out, from the least on
    }


def feature_count(shape: Architecture) -> int:
    """D: how many features a photo has for a network of this shape."""
    if shape.local:
        return sum(watched(shape).values())
    return 3 * (2 + 2 * len(grids_of_differences(*shape.image_size)))


def watched(shape: Architecture) -> dict[str, int]:
    """The name of the last layer on each grid, and how many channels it has."""
    layers = shape.hidden_layers()
    return {layers[end].name: layers[end].channels for end in np.cumsum(shape.depths) - 1}


def watched_forward(layers: Sequence[Layer], shape: Architecture, x: Floats) -> Floats:
    """The forward pass of an MLP with local layers: x, B x inputs -> B x (classes + D), logits, then features."""
    channels, features = watched(shape), []
    for layer, outputs in zip(layers, forward(layers, x), strict=True):
        x = outputs.out
        if layer.name in channels:
            means = x.reshape(len(x), -1, channels[layer.name]).mean(axis=1)
            features.append(means / (np.linalg.norm(means, axis=1, keepdims=True) + 1e-9))
    return np.concatenate([x, *features], axis=1)


def photo_statistics(pixels: NDArray[np.uint8]) -> Floats:
    """B x 3 x H x W -> B x D: of brightness, red - green and blue - green the mean, the deviation, and the mean
    difference of neighbours both ways, in the photo and each time that it is made half as large."""
    red, green, blue = pixels.transpose(1, 0, 2, 3).astype(np.float32) / 255
    x = np.stack([(red + green + blue) / 3, red - green, blue - green], axis=1)
    found = [x.mean(axis=(2, 3)), np.log(x.std(axis=(2, 3)) + _FAINT)]
    grids = grids_of_differences(*pixels.shape[2:])
    while min(height := x.shape[2], width := x.shape[3]) >= 2:
        if (height, width) in grids:
            found += [np.log(np.abs(np.diff(x, axis=axis)).mean(axis=(2, 3)) + _FAINT) for axis in (2, 3)]
        x = x[:, :, : height // 2 * 2, : width // 2 * 2]
        x = x.reshape(len(x), 3, height // 2, 2, width // 2, 2).mean(axis=(3, 5))
    return np.concatenate(found, axis=1)


def grids_of_differences(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes, each half of the one before, in which the differences of neighbours are taken."""
    halved = [(height >> times, width >> times) for times in range(32)]
    return [size for size in halved if min(size) >= 2 and max(size) < _FINEST]
