"""One `Classifier` asked by many threads at once answers each photo, bit for bit, as one thread does."""

import io
import pickle
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import drawn_photos
import networks
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms

from catdog.architecture import Architecture
from catdog.checkpoint.model_card import ModelCard
from catdog.errors import ImageError
from catdog.familiarity import familiarity_shapes, feature_count
from catdog.model.torchvision import TorchvisionModel
from catdog.predict import Classifier, Prediction

THREADS, ROUNDS = 12, 4
SIZE = (32, 40)
SHAPES = {
    "dense": Architecture(SIZE, (30, 20), "gelu", batch_norm=True),
    "local": Architecture(SIZE, (9,), "relu", True, local=(6, 8), shared=True, blocks=(1, 0), pool=True, pool_all=True),
    "torchvision": Architecture((64, 64), (), "relu", model="squeezenet1_1"),
}


def new_classifier(shape: Architecture, kind: type[Classifier] = Classifier) -> Classifier:
    """A random network with familiarity; each call makes one that has answered nothing yet."""
    if shape.is_mlp:
        tensors = networks.arrays_of(networks.network(shape))
    else:
        torch.manual_seed(0)
        tensors = {n: t.numpy() for n, t in TorchvisionModel(shape.model, shape.image_size, 3).state_dict().items()}
    rng = np.random.default_rng(0)
    for name, of in familiarity_shapes(feature_count(shape), 2, 11).items():
        tensors[name] = rng.uniform(0.5, 1, of).astype(np.float32)
    tensors["familiarity.distances"] = np.linspace(0, 500, 11, dtype=np.float32)
    colours = ((120.0, 110.0, 100.0), (60.0, 61.0, 62.0))
    return kind(
        tensors,
        ModelCard(shape, ("cat", "dog", "owl"), *colours, "bilinear", True, "softmax", 1.3, familiarity=(2, 11)),
    )


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[str | bytes]:
    """Photos of many formats, each decoded by another part of the decoder; of some it says what is wrong."""
    place = tmp_path_factory.mktemp("photos")
    found: list[str | bytes] = []
    for i in range(3):
        found.append(str(drawn_photos.save(place / f"{i}.jpg", "cat", i, (200 + 40 * i, 300))))
    drawing = Image.open(found[0])
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for name, image, options in (
        ("a.png", drawing.convert("RGBA").rotate(20), {}),
        ("a.tif", drawing, {"compression": "tiff_lzw"}),
        ("a.webp", drawing, {}),
        ("a.gif", drawing.convert("P"), {}),
        ("grey.jpg", drawing.convert("L"), {}),
        ("cmyk.jpg", drawing.convert("CMYK"), {}),
        ("profile.jpg", drawing, {"icc_profile": profile}),
    ):
        image.save(place / name, **options)
        found.append(str(place / name))
    whole = Path(str(found[1])).read_bytes()
    damaged = [
        whole[: len(whole) // 2],
        whole[:700] + bytes(200) + whole[900:],
        whole.replace(b"\xff\xda", b"\xff\xd3"),
    ]
    return [*found, whole, *damaged, b"", "nowhere.jpg"]


def outcome(answer: Prediction | ImageError) -> Any:
    """All that is said of a photo, its numbers exactly."""
    if isinstance(answer, ImageError):
        return str(answer)
    return answer.label, {name: share.hex() for name, share in answer.probabilities.items()}, answer.familiarity


def ask(classifier: Classifier, source: str | bytes) -> Any:
    try:
        return outcome(classifier.predict(io.BytesIO(source) if isinstance(source, bytes) else source))
    except ImageError as error:
        return outcome(error)


def ask_all(classifier: Classifier, sources: list[str | bytes]) -> Any:
    return [outcome(answer) for _, answer in classifier.predict_all((str(i), s) for i, s in enumerate(sources))]


@pytest.fixture(autouse=True)
def _threads_take_turns_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def by_many(asked: Classifier, expected: list[Any], together: Any, sources: list[str | bytes]) -> list[str]:
    """What threads were told otherwise than one thread: they begin at once, each in an order of its own."""
    start = Barrier(THREADS)

    def work(number: int) -> list[str]:
        wrong, order = [], random.Random(number)
        start.wait(60)
        for _ in range(ROUNDS):
            for i in order.sample(range(len(sources)), len(sources)):
                if (found := ask(asked, sources[i])) != expected[i]:
                    wrong.append(f"photo {i}: {found} in place of {expected[i]}")
            if number % 4 == 0 and ask_all(asked, sources) != together:
                wrong.append("predict_all")
        return wrong

    with ThreadPoolExecutor(THREADS) as pool:
        return [line for lines in pool.map(work, range(THREADS)) for line in lines]


@pytest.mark.parametrize("name", ["dense", pytest.param("local", marks=pytest.mark.slow)])
def test_many_threads_are_told_what_one_is(name: str, sources: list[str | bytes]) -> None:
    one = new_classifier(SHAPES[name])
    expected, together = [ask(one, source) for source in sources], ask_all(one, sources)
    assert len({str(answer) for answer in expected}) == len(sources) - 1  # a file and its own bytes
    assert by_many(new_classifier(SHAPES[name]), expected, together, sources) == []


@pytest.mark.slow
def test_so_they_are_by_torchs_networks_which_are_made_at_the_first_answer(sources: list[str | bytes]) -> None:
    one, some = new_classifier(SHAPES["torchvision"]), sources[:4]
    expected, together = [ask(one, source) for source in some], ask_all(one, some)
    assert by_many(new_classifier(SHAPES["torchvision"]), expected, together, some) == []


class Careless(Classifier):
    """Decodes into an array of its own, as one might to save memory."""

    def decode(self, source: Any) -> NDArray[np.uint8]:
        self.buffer = getattr(self, "buffer", np.zeros((3, *SIZE), np.uint8))
        self.buffer[...] = super().decode(source)
        return self.buffer


def test_a_classifier_that_threads_disturb_would_be_noticed(sources: list[str | bytes]) -> None:
    one = new_classifier(SHAPES["dense"])
    expected, together = [ask(one, source) for source in sources], ask_all(one, sources)
    assert by_many(new_classifier(SHAPES["dense"], Careless), expected, together, sources)


@pytest.mark.parametrize("name", ["local", "torchvision"])
def test_it_can_be_sent_to_another_process(name: str, sources: list[str | bytes]) -> None:
    one = new_classifier(SHAPES[name])
    expected = ask(one, sources[0])
    assert ask(pickle.loads(pickle.dumps(one)), sources[0]) == expected


def test_what_it_computes_with_cannot_be_changed_by_asking(sources: list[str | bytes]) -> None:
    """Its arrays are read and never written, so that threads can share them."""
    one = new_classifier(SHAPES["local"])
    expected = ask_all(one, sources)
    for array in one.tensors.values():
        array.setflags(write=False)
    assert ask_all(one, sources) == expected
