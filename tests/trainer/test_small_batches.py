"""Batch normalisation, which cannot be trained with a single photo: no batch, and no part of one, is as small."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import in_one_and_in_two_parts, quiet
from safetensors.numpy import load_file
from torch import nn

from catdog.config.conflicts import refuse_small_parts
from catdog.config.settings import Config, Training
from catdog.config.toml import load_config
from catdog.data.batches import shuffled_batches, steps_per_epoch
from catdog.errors import CatdogError
from catdog.model.mlp import MLP
from catdog.model.torchvision import TorchvisionModel
from catdog.train import train
from catdog.trainer.batch_size import with_batch_size
from catdog.trainer.diagnosis import find_layer
from catdog.trainer.targets import Targets, in_parts

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]


@pytest.mark.parametrize(
    "make",
    [
        lambda: MLP((6, 8), 2, (5,)),
        lambda: MLP((6, 8), 2, (5,), batch_norm=True),
        lambda: MLP((6, 8), 2, (), batch_norm=True),
        lambda: MLP((8, 8), 2, (), batch_norm=True, local=(3, 4)),
        lambda: MLP((8, 8), 2, (), batch_norm=True, local=(3, 4, 5)),  # the last of them has a single place
        lambda: MLP((8, 8), 2, (5,), batch_norm=True, local=(3,)),
        lambda: TorchvisionModel("resnet18", (32, 32), 2),
        lambda: TorchvisionModel("resnet18", (64, 64), 2),
        lambda: TorchvisionModel("squeezenet1_1", (32, 32), 2),
    ],
)
def test_how_many_photos_a_network_takes_is_what_torch_says(make: Callable[[], nn.Module]) -> None:
    network = make().train()
    height, width = network.image_size  # type: ignore[misc]
    try:
        network(torch.zeros(1, 3, height, width))
        takes = 1
    except ValueError as error:
        assert "more than 1 value per channel" in str(error)
        takes = 2
    assert network.least_photos == takes


def test_no_part_of_a_batch_is_a_single_photo_and_each_photo_is_in_one() -> None:
    tried = 0
    for photos, batch_size, parts in itertools.product(range(2, 14), range(1, 15), range(1, 6)):
        try:
            refuse_small_parts(Training(batch_size=batch_size, accumulate=parts), 2)
        except CatdogError:
            assert batch_size < 2 * parts
            continue
        tried += 1
        seen = []
        for rows in shuffled_batches(photos, steps_per_epoch(photos, batch_size, 2), 0, 0):
            assert len(rows) <= max(batch_size, 3)
            for part, targets in in_parts(rows, Targets(rows, rows, 1.0), parts, 2):
                assert len(part) >= 2
                assert torch.equal(part, targets.labels)
                seen += part.tolist()
        assert sorted(seen) == list(range(photos))
    assert tried > 300


def test_without_batch_norm_nothing_is_joined() -> None:
    for photos, batch_size in itertools.product(range(1, 20), range(1, 20)):
        assert steps_per_epoch(photos, batch_size) == -(-photos // batch_size)
    rows = torch.arange(5)
    assert [part.tolist() for part, _ in in_parts(rows, Targets(rows, rows, 1.0), 3)] == [[0, 1], [2, 3], [4]]
    assert [part.tolist() for part, _ in in_parts(rows, Targets(rows, rows, 1.0), 9)] == [[0], [1], [2], [3], [4]]


def test_the_batch_that_is_chosen_makes_many_steps_of_few_photos_and_is_256_for_many() -> None:
    for photos in range(2, 6000):
        size = with_batch_size(Training(), photos).batch_size
        assert size in (8, 16, 32, 64, 128, 256)
        if 64 <= photos < 2048:
            assert 8 <= steps_per_epoch(photos, size) <= 16
    found = [with_batch_size(Training(), photos) for photos in (2, 63, 600, 2048, 10**6)]
    assert [training.batch_size for training in found] == [8, 8, 64, 256, 256]
    # The default rate goes with the root of a batch that is chosen: 7e-4 at 256, half of it at 64.
    assert [t.learning_rate for t in found] == [1.24e-4, 1.24e-4, 3.5e-4, 7e-4, 7e-4]
    for given in (Training(learning_rate=1e-3), Training(batch_size=64)):
        assert with_batch_size(given, 60).learning_rate == given.learning_rate


def test_a_chosen_batch_is_said_written_down_and_large_enough_for_its_parts(
    make_photos: MakePhotos, small_config: MakeConfig
) -> None:
    lines: list[str] = []
    photos = make_photos({"cat": 30, "dog": 30})
    run = train(small_config(photos, batch_size=0, batch_norm=True, accumulate=5, epochs=1), log=lines.append)
    assert "1 epoch of 6 steps, in batches of 10 (chosen for so many photos)" in lines[0]
    assert load_config(run / "config.toml").training.batch_size == 10


@pytest.mark.parametrize("changes", [{"batch_size": 2}, {"batch_size": 4, "accumulate": 2}, {"accumulate": 2}])
def test_a_few_photos_are_trained_on_and_a_resumed_training_is_the_same(
    make_photos: MakePhotos,
    small_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, int],
) -> None:
    """Five training photos, of which batches of two would leave one over."""
    config = small_config(make_photos({"cat": 3, "dog": 4}), batch_norm=True, **changes)
    whole, part = in_one_and_in_two_parts(config, 2, tmp_path, monkeypatch)
    assert load_file(whole / "model.safetensors").keys() == load_file(part / "model.safetensors").keys()
    assert (whole / "model.safetensors").read_bytes() == (part / "model.safetensors").read_bytes()


def test_a_batch_whose_other_photos_cannot_be_read_is_left_out(
    make_photos: MakePhotos, small_config: MakeConfig
) -> None:
    photos = make_photos({"cat": 8, "dog": 8})
    (photos / "cat" / "cat-003.png").write_bytes(b"not a photo")
    run = train(small_config(photos, batch_norm=True, batch_size=2, cache="none", max_skipped=0.5), log=quiet)
    assert "cat-003" in (run / "skipped.csv").read_text()


def test_of_torchvisions_too_a_batch_of_one_is_a_sentence_before_anything_is_written(
    make_photos: MakePhotos, small_config: MakeConfig
) -> None:
    changes = {"model": "resnet18", "hidden": Config().model.hidden, "image_size": (32, 32), "batch_size": 1}
    config = small_config(make_photos({"cat": 3, "dog": 3}), **changes)
    with pytest.raises(CatdogError, match=r"batch_size \(1\) is too small: .* give --batch-size 2 or more\.$"):
        train(config, log=quiet)
    assert not Path(config.run.out).exists()


def test_the_layer_of_a_nan_is_found_with_one_photo() -> None:
    network = MLP((4, 4), 2, (5, 3), batch_norm=True).train()
    with torch.no_grad():
        network.get_parameter("hidden.1.linear.bias").fill_(float("nan"))
    assert find_layer(network, torch.zeros(1, 3, 4, 4)) == (
        "the weights of hidden layer 2 are the first numbers that are not finite"
    )
