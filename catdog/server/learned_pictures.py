"""What a network has learned to look for, as images, and what it answers to a few photos, while it is trained."""

import base64
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from catdog.drawing.page import jpeg, thumbnail
from catdog.errors import ImageError
from catdog.model.build import build_network
from catdog.numpy_net import Floats, softmax
from catdog.predict import Classifier
from catdog.tools.explain.backprop import Network
from catdog.tools.explain.learned import as_picture, class_gradients, importance, smooth
from catdog.trainer.loop import Trainer

_PHOTOS, _UNITS, _TEMPLATES = 24, 24, 8  # shown
_THUMBNAIL = 112  # pixels of a photo's longer side
_LARGEST = 64  # pixels of the longer side of a neuron's image


class Pictures:
    """What the network has learned to look for, as images, and its answers to a fixed choice of validation photos.

    By the averaged weights, in NumPy, as prediction computes: the training's own network is only read.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, listing = trainer, trainer.val.listing
        self._first = self._network_of(first_weights(trainer))[1].layers[0]
        self._units: list[int] = []
        pixels, self.photos = [], []
        # Where all photos are trained on (folds), none is left whose answers would mean something.
        for row in _spread(listing.labels, len(listing.classes)) if trainer.config.photos.folds == 1 else ():
            with contextlib.suppress(ImageError):
                pixels.append(trainer.val[row][0].cpu().numpy())
                picture = thumbnail(listing.path(row))
                if picture is not None:
                    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
                data = base64.b64encode(jpeg(picture) or b"").decode()
                self.photos.append({"label": listing.labels[row], "jpeg": data})
        self._pixels = np.stack(pixels) if pixels else None

    def _network_of(self, weights: Mapping[str, Tensor]) -> tuple[Classifier, Network]:
        tensors = {name: tensor.float().cpu().numpy() for name, tensor in weights.items()}
        classifier = Classifier(tensors, self._trainer.card)
        return classifier, Network.of(classifier)

    def now(self) -> dict[str, Any]:
        """Images in base64, uint8, height x width x 3, and for each photo the probabilities of its classes.

        templates: how the average photo would have to change for each class. units: of the most important neurons of
        the first layer, the weights less those that they began with; a neuron that stays among them keeps its place.
        """
        classifier, network = self._network_of(self._trainer.state.average.model.state_dict())
        first = network.layers[0]
        gradients, templates = class_gradients(network, np.zeros(first.inputs))
        best = np.argsort(-importance(network), kind="stable")[:_UNITS].tolist()
        new = [unit for unit in best if unit not in self._units]
        self._units = [unit if unit in best else new.pop(0) for unit in self._units] or best
        speaks_for = gradients[0].out.argmax(axis=0)
        height, width = classifier.card.architecture.image_size
        shown = min(1.0, _LARGEST / max(height, width))
        size = (max(1, round(height * shown)), max(1, round(width * shown)))

        def pixels(weights: Floats) -> str:
            return base64.b64encode(_picture(weights, (height, width), size)).decode()

        return {
            "height": size[0],
            "width": size[1],
            "templates": [pixels(one) for one in templates[:_TEMPLATES]],
            "units": [
                {
                    "unit": unit,
                    "speaks_for": int(speaks_for[unit]),
                    "pixels": pixels(first.row(unit) - self._first.row(unit)),
                }
                for unit in self._units
            ],
            "answers": [] if self._pixels is None else softmax(classifier.logits(self._pixels)).round(4).tolist(),
        }


def _picture(weights: Floats, size: tuple[int, int], shown: tuple[int, int]) -> bytes:
    """Weights by input, smoothed, as the bytes of an image of `shown` = (height, width): grey is 0."""
    picture = Image.fromarray(np.uint8(255 * as_picture(smooth(weights, size), size) + 0.5))
    return picture.resize(shown[::-1], Image.Resampling.BOX).tobytes()


def first_weights(trainer: Trainer) -> dict[str, Tensor]:
    """The weights that the training began with: of a resumed one, drawn anew; where others were taken over, today's."""
    config = trainer.config
    if config.model.start_from != "none" or trainer.state.progress.epoch + trainer.state.progress.step == 0:
        return {name: tensor.clone() for name, tensor in trainer.state.average.model.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        return build_network(config, len(trainer.card.classes), pretrained=False).state_dict()


def _spread(labels: Sequence[int], classes: int) -> list[int]:
    """Rows of photos, as many of each class, spread over all of its photos."""
    chosen = []
    for label in range(min(classes, _PHOTOS)):
        mine = [row for row, of in enumerate(labels) if of == label]
        count = min(len(mine), max(1, _PHOTOS // classes))
        chosen += [mine[i * len(mine) // count] for i in range(count)]
    return chosen
