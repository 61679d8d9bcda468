"""Shared weights, residual blocks and the mean over all places, against NumPy and against the big matrices W."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import in_one_and_in_two_parts, quiet
from networks import arrays_of, network
from numpy.typing import NDArray
from torch.nn import functional as F

from catdog.architecture import Architecture
from catdog.checkpoint.model_file import MODEL_FILE, save_model
from catdog.checkpoint.saved_model import load_model
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.errors import CatdogError
from catdog.model.mlp import MLP
from catdog.numpy_net import KINDS, build_layers, forward
from catdog.predict import Classifier
from catdog.train import train
from catdog.trainer.diagnosis import find_layer

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]

COMBINATIONS = [
    pytest.param(shared, blocks, pool, id=f"{'shared' if shared else 'own'}-{sum(blocks)}-{pool or 'all'}")
    for shared, blocks, pool in itertools.product([False, True], [(), (2, 1)], ["", "pool", "pool_all"])
]


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("hidden", [(), (7, 5)])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(("shared", "blocks", "pool"), COMBINATIONS)
def test_numpy_computes_what_torch_computes(
    shared: bool, blocks: tuple[int, ...], pool: str, batch_norm: bool, hidden: tuple[int, ...], activation: str
) -> None:
    more: dict[str, Any] = {"shared": shared, "blocks": blocks} | ({pool: True} if pool else {})
    shape = Architecture((13, 10), hidden, activation, batch_norm, 0.0, (6, 5), 3, **more)
    model = network(shape)
    tensors = arrays_of(model)
    assert {name: array.shape for name, array in tensors.items()} == shape.state_shapes(3)
    images = torch.randn(4, 3, 13, 10)
    expected = model(images).detach().numpy()
    *_, last = forward(build_layers(tensors, shape, 3, KINDS), images.flatten(start_dim=1).numpy())
    np.testing.assert_allclose(last.out, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def dense_matrix(weight: NDArray[Any], side: tuple[int, int], field: int, stride: int, photo: bool) -> NDArray[Any]:
    """W of a local layer, units x inputs, from its weights, channels x window, entry by entry."""
    edge, (height, width) = (field - 1) // 2, side
    rows, columns = ((n + 2 * edge - field) // stride + 1 for n in side)
    channels, below = len(weight), weight.shape[1] // field**2
    found = np.zeros((rows * columns * channels, below * height * width))
    for y, x, i, j, c, k in itertools.product(*map(range, (rows, columns, field, field, channels, below))):
        at_y, at_x = stride * y + i - edge, stride * x + j - edge
        if 0 <= at_y < height and 0 <= at_x < width:
            source = (k * height + at_y) * width + at_x if photo else (at_y * width + at_x) * below + k
            found[(y * columns + x) * channels + c, source] = weight[c, (i * field + j) * below + k]
    return found


def test_a_shared_residual_network_is_the_one_of_its_big_matrices() -> None:
    """Each layer is Wx + b with a W of zeros and of the same numbers in each place's rows; so is the mean."""
    shape = Architecture((9, 7), (), "relu", True, 0.0, (4, 5), 4, shared=True, blocks=(1, 1), pool=True)
    model = network(shape, dtype=torch.float64)
    tensors = arrays_of(model)
    images = torch.randn(3, 3, 9, 7, dtype=torch.float64)

    def normed_sum(i: int, x: NDArray[Any], side: tuple[int, int], field: int, stride: int) -> NDArray[Any]:
        weight, bias = (tensors[f"hidden.{i}.linear.{name}"] for name in ("weight", "bias"))
        sums = x @ dense_matrix(weight, side, field, stride, photo=i == 0).T
        sums += np.tile(bias, sums.shape[1] // len(bias))
        gamma, beta, mean, variance = (
            np.tile(tensors[f"hidden.{i}.norm.{name}"], sums.shape[1] // len(bias))
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        return (sums - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    x = images.flatten(start_dim=1).numpy()
    for i, side, after in ((0, (9, 7), (4, 3)), (3, (4, 3), (2, 1))):
        x = np.maximum(normed_sum(i, x, side, 4, 2), 0)
        h = np.maximum(normed_sum(i + 1, x, after, 3, 1), 0)
        x = np.maximum(normed_sum(i + 2, h, after, 3, 1) + x, 0)
    mean_matrix = np.zeros((5, x.shape[1]))
    for unit in range(x.shape[1]):
        mean_matrix[unit % 5, unit] = 1 / 2
    logits = x @ (tensors["classifier.weight"] @ mean_matrix).T + tensors["classifier.bias"]
    np.testing.assert_allclose(model(images).detach().numpy(), logits, rtol=1e-10)


def test_a_shared_layer_is_one_whose_places_have_equal_weights_and_learns_by_the_sum_of_their_gradients() -> None:
    shape = {"activation": "gelu", "local": (4, 5), "field": 3, "batch_norm": True, "blocks": (1, 1)}
    one, many = (MLP((9, 12), 2, (6,), shared=shared, **shape).double() for shared in (True, False))  # type: ignore[arg-type]
    state = one.state_dict()
    for name, tensor in many.state_dict().items():
        tensor.copy_(
            state[name].repeat(len(tensor) // len(state[name]), *[1] * (tensor.ndim - 1)) if tensor.ndim else 0
        )
    images = torch.randn(5, 3, 9, 12, dtype=torch.double)
    for model in (one, many):
        F.cross_entropy(model(images), torch.tensor([0, 1, 0, 1, 1])).backward()
    torch.testing.assert_close(one(images), many(images))
    for (name, by_one), by_many in zip(one.named_parameters(), many.parameters(), strict=True):
        assert by_one.grad is not None and by_many.grad is not None, name
        torch.testing.assert_close(by_many.grad.unflatten(0, (-1, len(by_one))).sum(dim=0), by_one.grad)


def test_a_block_begins_as_the_identity_with_batch_norm() -> None:
    plain, deep = (MLP((16, 16), 2, (), "relu", True, local=(4,), shared=True, blocks=n) for n in ((), (3,)))
    deep.hidden[0].load_state_dict(plain.hidden[0].state_dict())
    deep.classifier.load_state_dict(plain.classifier.state_dict())
    images = torch.randn(6, 3, 16, 16)
    torch.testing.assert_close(deep(images), plain(images))


def nodes(tensor: torch.Tensor) -> Iterator[Any]:
    waiting, seen = [tensor.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            waiting += [next_node for next_node, _ in node.next_functions]


def test_between_shared_layers_nothing_is_copied() -> None:
    """Each convolution's input and output are views of the flattened vectors, in both directions."""
    model = MLP((16, 16), 2, (), "relu", True, local=(8, 16), shared=True, blocks=(1, 1), pool=True)
    names = {type(node).__name__ for node in nodes(model(torch.randn(4, 3, 16, 16)))}
    assert "ConvolutionBackward0" in names
    assert not {name for name in names if name.startswith(("Clone", "Copy", "UnsafeView", "ToCopy"))}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shared": True}, r"shared \(--shared\) is for local layers"),
        ({"blocks": (2,)}, r"blocks \(--blocks\) is for local layers"),
        ({"pool": True}, r"pool \(--pool\) is for local layers"),
        ({"shared": True, "local": (4,), "share_epochs": 2}, r"leave it or share_epochs \(--share-epochs\) out"),
        ({"local": (4,) * 5, "blocks": (100,) * 5}, r"blocks \(--blocks\) makes 1,005 local layers"),
        (
            {"local": (4, 5), "blocks": (1,)},
            r"blocks \(--blocks\) must be a number for each of the 2 local layers, not 1",
        ),
        ({"local": (4,), "blocks": (101,)}, r"blocks \(--blocks\) must be from 0 to 100"),
        ({"model": "resnet18", "pool": True}, r"pool \(--pool\) is for mlp"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CatdogError, match=said):
        load_config(None, {"image_size": (64, 64), **changes})


@pytest.fixture
def config(make_photos: MakePhotos, small_config: MakeConfig) -> Config:
    photos = make_photos({"cat": 20, "dog": 20})
    shape: dict[str, Any] = {
        "local": (4, 5),
        "shared": True,
        "blocks": (1, 1),
        "pool": True,
        "hidden": (),
        "batch_norm": True,
    }
    return small_config(photos, image_size=(9, 12), epochs=3, early_stopping=0, **shape)


def test_a_trained_one_reads_back_and_answers_alike_in_8_bits(config: Config, tmp_path: Path) -> None:
    run = train(config, log=quiet)
    tensors, card = load_model(run / MODEL_FILE)
    shape = card.architecture
    assert (shape.shared, shape.blocks, shape.pool) == (True, (1, 1), True)
    assert {name: array.shape for name, array in tensors.items()} == shape.state_shapes(2)
    assert tensors["hidden.4.linear.weight"].shape == (5, 45)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 3, 9, 12), dtype=np.uint8)
    whole = Classifier(tensors, card).logits(pixels)
    save_model(tmp_path / "small.safetensors", tensors, replace(card, storage="int8"))
    again, small = load_model(tmp_path / "small.safetensors")
    assert small.architecture == shape
    for name, array in again.items():
        bound = np.abs(tensors[name]).max(axis=-1, keepdims=True) / 254 * 1.001 if array.ndim > 1 else 0
        assert (np.abs(array - tensors[name]) <= bound).all(), name
    assert np.abs(Classifier(again, small).logits(pixels) - whole).max() < 0.1 * np.abs(whole).max()


def test_a_training_stopped_in_between_goes_on_exactly(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, part = in_one_and_in_two_parts(config, 1, tmp_path, monkeypatch)
    assert (part / MODEL_FILE).read_bytes() == (whole / MODEL_FILE).read_bytes()


def test_a_layer_that_is_not_finite_is_named_behind_a_block() -> None:
    model = MLP((9, 12), 2, (), batch_norm=True, local=(4, 5), shared=True, blocks=(1, 1), pool=True)
    images = torch.randn(2, 3, 9, 12)
    assert find_layer(model, images).startswith("the outputs of ")
    with torch.no_grad():
        model.get_parameter("hidden.4.linear.weight")[0, 0] = float("nan")
    assert find_layer(model, images) == "the weights of hidden layer 5 are the first numbers that are not finite"
