"""A trained network, run on photographs: the forward pass in NumPy, so that an answer needs no torch.

`Classifier` reads a run's `model.safetensors` and nothing else. Evaluation uses it too, so both give the same numbers.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from catdog.checkpoint.model_card import ModelCard
from catdog.checkpoint.saved_model import load_model
from catdog.errors import ImageError
from catdog.images.decoder import decode
from catdog.numpy_net import KINDS, Floats, Layer, build_layers, forward, softmax
from catdog.runs.locate import find_model

if TYPE_CHECKING:
    from catdog.data.decode_pool import DecodePool

_BATCH = 64  # photos decoded and classified together
_TASK = 16  # of them that one worker decodes in a turn
_NUMBERS = 2**19  # that a layer gives for the photos computed together, at most: 2 MiB, which stay in a cache


class Classifier:
    """The network of a run. `card` says what it is; `classes` are its class names in order.

    Threads may ask it at the same time.
    """

    def __init__(self, tensors: dict[str, Floats], card: ModelCard) -> None:
        self.tensors = tensors
        self.card = card
        self.classes = card.classes
        self._network: Any = None  # the forward pass of one of torchvision, made at its first use
        self._torch = Lock()  # its own threads compute a batch
        self._layers: list[Layer] = []
        if card.architecture.is_mlp:
            self._layers = build_layers(tensors, card.architecture, len(card.classes), KINDS)

    @classmethod
    def load(cls, run: str | Path | None = None) -> "Classifier":
        """From a run folder or a model file, as `find_model` finds it; None: the newest on photos, else cats-dogs."""
        return cls(*load_model(find_model(run)))

    def __reduce__(self) -> Any:  # to be sent to other processes, each of which makes its own of what is not sent
        return Classifier, (self.tensors, self.card)

    def forward(self, x: Floats, watched: bool = False) -> Floats:
        """x: float32, B x inputs, normalised -> logits, B x classes; `watched`: and features of its layers."""
        if not self.card.architecture.is_mlp:
            with self._torch:
                return self._torchvision(x)
        size = max(1, _NUMBERS // max(layer.units for layer in self._layers))
        compute = self._mlp
        if watched:
            from catdog.familiarity import watched_forward

            compute = partial(watched_forward, self._layers, self.card.architecture)
        return np.concatenate([compute(x[start : start + size]) for start in range(0, len(x), size)])

    def _mlp(self, x: Floats) -> Floats:
        """The forward pass of an MLP: each layer's outputs are the next one's inputs."""
        for outputs in forward(self._layers, x):
            x = outputs.out
        return x

    def _torchvision(self, x: Floats) -> Floats:
        """The forward pass of one of torchvision's networks, by torch."""
        if self._network is None:
            from catdog.model.torchvision import numpy_forward  # with torch, which an MLP does not need

            self._network = numpy_forward(self.card.architecture, len(self.classes), self.tensors)
        found: Floats = self._network(x)
        return found

    def logits(self, pixels: NDArray[np.uint8], watched: bool = False) -> Floats:
        """pixels: uint8, B x 3 x H x W of the model's size -> logits, B x classes; `watched`: as for `forward`.

        The mean over the photo and its mirror image, if the card says so.
        """
        mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (self.card.mean, self.card.std))
        images = pixels.astype(np.float32)
        images -= mean
        images /= std
        if self.card.average_mirrored:
            images = np.concatenate([images, images[..., ::-1]])
        logits = self.forward(images.reshape(len(images), -1), watched)
        if self.card.average_mirrored:
            logits = (logits[: len(pixels)] + logits[len(pixels) :]) / np.float32(2)
        return logits

    def logits_and_features(self, pixels: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """pixels: uint8, B x 3 x H x W -> logits, B x classes, and what tells how familiar a photo is, B x D."""
        from catdog.familiarity import photo_statistics

        if not self.card.architecture.local:
            return self.logits(pixels), photo_statistics(pixels)
        logits, features = np.split(self.logits(pixels, watched=True), [len(self.classes)], axis=1)
        return logits, features

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """pixels: uint8, B x 3 x H x W -> B x classes, calibrated: softmax(logits / temperature)."""
        return softmax(self.logits(pixels) / self.card.temperature)

    def decode(self, source: str | os.PathLike[str] | bytes | BinaryIO) -> NDArray[np.uint8]:
        """One photo as the network sees it: uint8, 3 x H x W. Raises ImageError."""
        return decode(source, self.card.architecture.image_size, self.card.resize).transpose(2, 0, 1)

    def predict(self, source: str | os.PathLike[str] | bytes | BinaryIO) -> "Prediction":
        """The answer for one photo: a path, the bytes of a file, or a file object. Raises ImageError."""
        return self.answers(self.decode(source)[None])[0]

    def answers(self, pixels: NDArray[np.uint8]) -> "list[Prediction]":
        """pixels: uint8, B x 3 x H x W -> B answers."""
        found, shares = [], None
        if self.card.familiarity:
            from catdog.familiarity import familiarity

            logits, features = self.logits_and_features(pixels)
            shares = familiarity(self.tensors, features).tolist()
        else:
            logits = self.logits(pixels)
        for row, probabilities in enumerate(softmax(logits / self.card.temperature)):
            best = int(probabilities.argmax())
            by_class = dict(zip(self.classes, map(float, probabilities), strict=True))
            found.append(Prediction(self.classes[best], float(probabilities[best]), by_class, shares and shares[row]))
        return found

    def predict_all(
        self, sources: Iterable[tuple[str, str | bytes | ImageError]], threads: int = 0
    ) -> Iterator[tuple[str, "Prediction | ImageError"]]:
        """(name, path or bytes) of any number of photos -> (name, answer or error), in the same order.

        A few batches are read ahead, so that some are decoded while others are computed. An ImageError in place of a
        path is handed through.
        """
        from catdog.base.threads import thread_count
        from catdog.data.decode_pool import DecodePool  # which one photo does without

        np.empty(2**25 - 2**16, np.uint8)  # freed at once: glibc keeps what is freed later, and clears no pages again
        waiting = iter(sources)
        coming: deque[tuple[list[str], Future[list[Prediction | ImageError]]]] = deque()
        ahead = (threads or thread_count()[0]) + 2  # some wait for photos while others compute
        size, resize = self.card.architecture.image_size, self.card.resize
        with ThreadPoolExecutor(ahead) as computing, DecodePool(size, threads, resize=resize) as pool:
            while True:
                while len(coming) < ahead and (batch := list(islice(waiting, _BATCH))):
                    answers = computing.submit(self._answer_batch, [source for _, source in batch], pool)
                    coming.append(([name for name, _ in batch], answers))
                if not coming:
                    return
                names, answers = coming.popleft()
                yield from zip(names, answers.result(), strict=True)

    def _answer_batch(
        self, sources: list[str | bytes | ImageError], pool: "DecodePool"
    ) -> "list[Prediction | ImageError]":
        decoded = self._decode_batch(sources, pool)
        readable = [picture for picture in decoded if not isinstance(picture, ImageError)]
        answers = iter(self.answers(np.stack(readable)) if readable else ())
        return [picture if isinstance(picture, ImageError) else next(answers) for picture in decoded]

    def _decode_batch(
        self, sources: list[str | bytes | ImageError], pool: "DecodePool"
    ) -> list[NDArray[np.uint8] | ImageError]:
        """The pixels of each of `sources`, or why it cannot be read; files are decoded in parallel."""
        found: list[Any] = list(sources)
        files = [place for place, source in enumerate(sources) if isinstance(source, str)]
        for part in pool.decode_all([str(sources[place]) for place in files], task=_TASK):
            for row, pixels in zip(part.rows, part.pixels, strict=True):
                found[files[row]] = ImageError(part.reasons[row]) if row in part.reasons else pixels
        for place, source in enumerate(sources):
            if isinstance(source, bytes):
                try:
                    found[place] = self.decode(source)
                except ImageError as error:
                    found[place] = error
        return found


@dataclass(frozen=True)
class Prediction:
    """The likeliest class, its probability, and the probability of each class."""

    label: str
    probability: float
    probabilities: dict[str, float]
    familiarity: float | None = None
    """The share of familiar photos, held out from training, that are less so; None where the model file has none."""

    def _repr_html_(self) -> str:
        from catdog.drawing.notebook import answer

        return answer(self.label, self.probabilities, self.familiarity)
