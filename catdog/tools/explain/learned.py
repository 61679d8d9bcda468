"""Computes what can be shown of a network as images: pixel attributions, class templates, importance of neurons."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catdog.numpy_net import Outputs
from catdog.predict import Classifier
from catdog.tools.explain.backprop import Floats, Layer, LayerGradient, Network, Pool, normalise

FIRST_CLASS, SECOND_CLASS = "#e8710a", "#1a73e8"  # orange: pixels for the first class; blue: for the second
_NEARLY_ZERO = 1e-8


@dataclass(frozen=True)
class Attribution:
    """Attribution of the score of class `first` less that of class `second` (indices) to the pixels.

    pixels: H x W, positive for `first`; their sum and `biases`, the share of all constants, is `difference` exactly.
    """

    first: int
    second: int
    pixels: Floats
    biases: float
    difference: float


def gates(layer: Layer, outputs: Outputs) -> tuple[Floats, Floats]:
    """Write the activation of each unit as g * z + c, z its input: (g, c).

    For relu, g is its derivative, 1 or 0: near this photo the network is the linear function with these g.
    For the others g is a/z (Bach 2015, equation 56, without its epsilon; Ancona 2018, proposition 1), with a less
    sigmoid(0) = 1/2 for a sigmoid. So the shares sum up exactly, where derivatives would leave a remainder.
    """
    z, a = outputs.normed, outputs.out
    at_zero = 0.5 if layer.activation == "sigmoid" else 0.0
    flat = np.abs(z) < _NEARLY_ZERO
    g = np.where(flat, layer.slope(outputs), (a - at_zero) / np.where(flat, 1.0, z))
    return g, a - g * z


def contributions(network: Network, x: Floats, coefficients: Floats) -> tuple[Floats, float]:
    """Split coefficients @ logits into (the share of each input, the share of all biases), which sum up to it."""
    outputs = network.forward(x)
    biases, out_coefficients = 0.0, coefficients
    past: Floats | float = 0.0  # what reaches the layer before through a block's sum
    branches: list[Floats] = []  # and those that branch through the mean over the places
    for layer, o in zip(reversed(network.layers), reversed(outputs), strict=True):
        gate, constant = gates(layer, o)
        biases += float(out_coefficients @ constant)
        normed_coefficients = out_coefficients * gate
        sum_coefficients = normed_coefficients * layer.norm_slope
        constant = o.normed - o.added - layer.norm_slope * o.sum
        biases += float(normed_coefficients @ constant + sum_coefficients @ layer.bias)
        out_coefficients = layer.transposed_product(sum_coefficients) + past
        past = normed_coefficients if layer.adds else 0.0
        if isinstance(layer, Pool):
            out_coefficients, *branches = layer.by_grid(out_coefficients)
        if layer.branches:
            out_coefficients = out_coefficients + branches.pop()
    return out_coefficients * x, biases


def attribute_pixels(
    classifier: Classifier, network: Network, pixels: NDArray[np.uint8], scores: Floats
) -> Attribution:
    """Attribute the difference of two scores to the pixels: of the only two classes, or of the two of highest score.

    pixels: uint8, 3 x H x W; scores: C. The mean over the photo and its mirror image, where prediction averages them.
    """
    first, second = (0, 1) if len(scores) == 2 else (int(i) for i in np.argsort(-scores, kind="stable")[:2])
    coefficients = np.zeros(len(scores))
    coefficients[first], coefficients[second] = 1.0, -1.0
    shape = pixels.shape
    shares, biases = contributions(network, normalise(classifier, pixels), coefficients)
    found = shares.reshape(shape).sum(axis=0)
    if classifier.card.average_mirrored:
        shares, mirrored_biases = contributions(network, normalise(classifier, pixels[:, :, ::-1]), coefficients)
        found = (found + shares.reshape(shape).sum(axis=0)[:, ::-1]) / 2
        biases = (biases + mirrored_biases) / 2
    return Attribution(first, second, found, biases, float(found.sum() + biases))


def class_gradients(network: Network, x: Floats) -> tuple[list[LayerGradient], Floats]:
    """Gradients at x of each class's score less the mean of the others': (by layer, by the inputs), C rows each."""
    outputs = network.forward(x)
    classes = len(outputs[-1].out)
    return network.backward(outputs, np.eye(classes) - (1 - np.eye(classes)) / (classes - 1))


def templates(network: Network) -> Floats:
    """Class templates, C x inputs: `class_gradients` by the inputs at x = 0, the average photo.

    In a linear classifier they are the same for every photo: the weights of the class less the mean of the others'.
    """
    return class_gradients(network, np.zeros(network.layers[0].inputs))[1]


def importance(network: Network) -> Floats:
    """Importance of each unit of the first layer: |its weights| * |gradient of the scores by its activation| at x = 0.

    That is how far the scores of the average photo move, through this unit, when the unit's normalised weights are
    added to the photo; the slope of the unit's activation is left out.
    """
    first = network.layers[0]
    length = np.sqrt(np.einsum("ij,ij->i", first.weight, first.weight, dtype=np.float64)) * np.abs(first.norm_slope)
    moves = class_gradients(network, np.zeros(first.inputs))[0][0].out
    found: Floats = length * np.linalg.norm(moves, axis=0)
    return found


def smooth(weights: Floats, size: tuple[int, int]) -> Floats:
    """Smooth weights by input as images, with the binomial filter 1 4 6 4 1 along height and width."""
    image = weights.reshape(-1, 3, *size)
    for axis in (2, 3):
        padded = np.pad(image, [(0, 0), (0, 0), *((2, 2) if a == axis else (0, 0) for a in (2, 3))], mode="edge")
        n = image.shape[axis]
        parts = (share * padded.take(range(k, k + n), axis) for k, share in enumerate((1, 4, 6, 4, 1)))
        image = sum(parts, np.zeros_like(image)) / 16
    return image.reshape(weights.shape)


def as_picture(weights: Floats, size: tuple[int, int]) -> Floats:
    """Scale weights by input to an image, H x W x 3 in [0, 1]: 0.5 is weight 0, 1 or 0 the largest magnitude."""
    image = weights.reshape(3, *size).transpose(1, 2, 0)
    found: Floats = 0.5 + 0.5 * image / (np.abs(image).max() or 1.0)
    return found


def overlay(picture: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Tint the picture (H x W x 3, 0 to 255), pale and grey, by the sign and size of each pixel's share: 0 to 1."""
    grey = 0.4 + 0.6 * np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2) / 255
    strength = (np.abs(shares) / (np.abs(shares).max() or 1.0))[..., None] ** 0.6
    colours = np.where(shares[..., None] > 0, _rgb(FIRST_CLASS), _rgb(SECOND_CLASS))
    return grey * (1 - strength) + colours * strength


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
