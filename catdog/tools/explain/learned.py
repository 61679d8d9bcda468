"""What the network has learned, and which pixels of a photo spoke for which class: numbers to be drawn as images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catdog.numpy_net import Outputs
from catdog.predict import Classifier
from catdog.tools.explain.backprop import Floats, Layer, LayerGradient, Network, normalise

_NEARLY_ZERO = 1e-8


@dataclass(frozen=True)
class Votes:
    """Which pixels spoke for class `ours` and which for `theirs`: shares of the difference of their two scores.

    pixels: H x W; their sum and `rest` (what the biases add) make up `difference` exactly.
    """

    ours: int
    theirs: int
    pixels: Floats
    rest: float
    difference: float


def gates(layer: Layer, kept: Outputs) -> tuple[Floats, Floats]:
    """(g, c) with activation = g * z + c at every unit: how far each unit is open for what it was given.

    For relu, g is 1 or 0, which is its derivative: what the network computes near this photo is that straight piece.
    For the others g is a/z (Bach 2015, equation 56, without its epsilon; Ancona 2018, proposition 1), less the 1/2
    that a sigmoid gives for nothing. So the sum is exact, where derivatives would leave a remainder.
    """
    z, a = kept.normed, kept.out
    nothing = 0.5 if layer.activation == "sigmoid" else 0.0
    flat = np.abs(z) < _NEARLY_ZERO
    g = np.where(flat, layer.slope(kept), (a - nothing) / np.where(flat, 1.0, z))
    return g, a - g * z


def contributions(network: Network, x: Floats, by_logits: Floats) -> tuple[Floats, float]:
    """Shares of the number by_logits @ logits: (of each input, of all biases). Their sum is that number."""
    kept = network.forward(x)
    rest, by_out = 0.0, by_logits
    for layer, k in zip(reversed(network.layers), reversed(kept), strict=True):
        gate, constant = gates(layer, k)
        rest += float(by_out @ constant)
        by_normed = by_out * gate
        by_sum = by_normed * layer.norm_slope
        rest += float(by_normed @ (k.normed - layer.norm_slope * k.sum) + by_sum @ layer.bias)
        by_out = layer.transposed_product(by_sum)
    return by_out * x, rest


def votes(classifier: Classifier, network: Network, pixels: NDArray[np.uint8], scores: Floats) -> Votes:
    """For two classes, what spoke for the first and what for the second; for more, for the two of highest score.

    pixels: uint8, 3 x H x W. Over the photo and its mirror image, where prediction averages them.
    """
    ours, theirs = (0, 1) if len(scores) == 2 else (int(i) for i in np.argsort(-scores, kind="stable")[:2])
    by_logits = np.zeros(len(scores))
    by_logits[ours], by_logits[theirs] = 1.0, -1.0
    shape = pixels.shape
    shares, rest = contributions(network, normalise(classifier, pixels), by_logits)
    found = shares.reshape(shape).sum(axis=0)
    if classifier.card.average_mirrored:
        shares, mirrored_rest = contributions(network, normalise(classifier, pixels[:, :, ::-1]), by_logits)
        found = (found + shares.reshape(shape).sum(axis=0)[:, ::-1]) / 2
        rest = (rest + mirrored_rest) / 2
    return Votes(ours, theirs, found, rest, float(found.sum() + rest))


def towards_classes(network: Network, x: Floats) -> tuple[list[LayerGradient], Floats]:
    """Gradients at x of each class's score less the mean score of the others: of (each layer, the inputs), C rows."""
    kept = network.forward(x)
    classes = len(kept[-1].out)
    return network.backward(kept, np.eye(classes) - (1 - np.eye(classes)) / (classes - 1))


def templates(network: Network) -> Floats:
    """C x inputs: what each class looks like to the network, the gradient of its score at x = 0, the average photo.

    In a linear classifier it is the same for every photo: the weights of the class less those of the others.
    """
    return towards_classes(network, np.zeros(network.layers[0].inputs))[1]


def importance(network: Network) -> Floats:
    """Of each neuron of the first layer: the length of its weights times how far its activation moves the scores.

    That is how far the scores of the average photo move when the picture that the neuron looks for is added to it,
    through this neuron and but for the slope of its activation.
    """
    first = network.layers[0]
    length = np.sqrt(np.einsum("ij,ij->i", first.weight, first.weight, dtype=np.float64)) * np.abs(first.norm_slope)
    moves = towards_classes(network, np.zeros(first.inputs))[0][0].out
    found: Floats = length * np.linalg.norm(moves, axis=0)
    return found


def smooth(weights: Floats, size: tuple[int, int]) -> Floats:
    """Weights by input, each averaged with its neighbours in the picture, by the shares 1 4 6 4 1."""
    image = weights.reshape(-1, 3, *size)
    for axis in (2, 3):
        padded = np.pad(image, [(0, 0), (0, 0), *((2, 2) if a == axis else (0, 0) for a in (2, 3))], mode="edge")
        n = image.shape[axis]
        parts = (share * padded.take(range(k, k + n), axis) for k, share in enumerate((1, 4, 6, 4, 1)))
        image = sum(parts, np.zeros_like(image)) / 16
    return image.reshape(weights.shape)


def as_picture(weights: Floats, size: tuple[int, int]) -> Floats:
    """Weights by input -> H x W x 3 in [0, 1]: grey is 0, brighter is positive, at full contrast."""
    image = weights.reshape(3, *size).transpose(1, 2, 0)
    found: Floats = 0.5 + 0.5 * image / (np.abs(image).max() or 1.0)
    return found
