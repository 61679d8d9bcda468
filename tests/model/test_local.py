"""Local receptive fields, against torch's convolution and unfold."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import in_one_and_in_two_parts, quiet
from torch.nn import functional as F

from catdog.architecture import Architecture, Grid, LayerShape, margin
from catdog.checkpoint.model_file import MODEL_FILE
from catdog.checkpoint.saved_model import load_model
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.errors import CatdogError
from catdog.model.local import LocalLinear, share_places
from catdog.model.mlp import MLP
from catdog.numpy_net import windows
from catdog.tools.explain.fields_picture import draw_fields, extents
from catdog.train import train

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]


@pytest.mark.parametrize("by_channel", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("field", [2, 3, 4, 5])
@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_windows_are_torchs_unfold(size: tuple[int, int], field: int, stride: int, by_channel: bool) -> None:
    below = Grid(3, *size, by_channel=by_channel)
    x = torch.rand(2, 3, *size)
    flat = x.flatten(start_dim=1) if by_channel else x.permute(0, 2, 3, 1).flatten(start_dim=1)
    found = windows(flat.numpy(), LayerShape("", "", below.units, 0, below=below, field=field, stride=stride))
    assert found.shape[1] == below.above(1, field, stride).places
    unfolded = F.unfold(x, field, padding=margin(field), stride=stride)  # B x (channel, row, column) x places
    expected = unfolded.view(2, 3, field, field, -1).permute(0, 4, 2, 3, 1).flatten(start_dim=2)
    assert np.array_equal(found, expected.numpy())


def local_layer(field: int = 4) -> LocalLinear:
    layer = LocalLinear(Grid(2, 6, 8), 5, field).double()
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    return layer


@pytest.mark.parametrize("field", [2, 3, 4, 5])
def test_each_place_computes_with_its_own_weights(field: int) -> None:
    torch.manual_seed(0)
    layer, x = local_layer(field), torch.randn(3, 96, dtype=torch.double, requires_grad=True)
    image = x.view(3, 6, 8, 2).permute(0, 3, 1, 2)
    unfolded = F.unfold(image, field, padding=margin(field), stride=2).view(3, 2, field * field, -1)
    seen = unfolded.permute(0, 3, 2, 1).flatten(start_dim=2)  # B x places x window
    by_place = layer.weight.view(layer.grid.places, layer.grid.channels, -1)
    expected = torch.einsum("bpw,pcw->bpc", seen, by_place).flatten(start_dim=1) + layer.bias
    torch.testing.assert_close(layer(x), expected)
    wanted: list[Any] = [x, layer.weight, layer.bias]
    for found, same in zip(
        torch.autograd.grad(layer(x).pow(3).sum(), wanted),
        torch.autograd.grad(expected.pow(3).sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(found, same)


def test_with_shared_weights_it_is_a_convolution() -> None:
    """The mean of what the places have; each place is moved by the mean of their gradients."""
    torch.manual_seed(0)
    layer, x = local_layer(), torch.randn(3, 96, dtype=torch.double)
    share_places(layer, True)
    kernel = layer.weight.view(12, 5, 4, 4, 2).mean(dim=0).permute(0, 3, 1, 2)
    bias = layer.bias.view(12, 5).mean(dim=0)
    expected = F.conv2d(x.view(3, 6, 8, 2).permute(0, 3, 1, 2), kernel, bias, stride=2, padding=1)
    torch.testing.assert_close(layer(x), expected.permute(0, 2, 3, 1).flatten(start_dim=1))
    (by_weight,) = torch.autograd.grad(layer(x).square().sum(), layer.weight)
    assert torch.equal(by_weight.view(12, 5, -1), by_weight.view(12, 5, -1)[:1].expand(12, 5, 32))


@pytest.mark.parametrize("training", [False, True])
def test_a_network_with_equal_places_computes_the_same_shared_or_not(training: bool) -> None:
    torch.manual_seed(0)
    model = MLP((9, 12), 2, (6,), batch_norm=True, local=(4, 5), field=3).double().train(training)
    images = torch.randn(7, 3, 9, 12, dtype=torch.double)
    share_places(model, True)
    shared = model(images)
    share_places(model, False)
    torch.testing.assert_close(model(images), shared)


def test_batch_norm_is_over_all_places_of_a_channel() -> None:
    torch.manual_seed(0)
    layer: Any = MLP((8, 8), 2, (), batch_norm=True, local=(4,)).hidden[0]
    x = torch.randn(5, 192)
    sums = layer.linear(x).view(5, 16, 4)
    normed = (sums - sums.mean(dim=(0, 1))) / (sums.var(dim=(0, 1), correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(layer(x), F.gelu(normed, approximate="tanh").flatten(start_dim=1))


def test_the_signal_keeps_its_size_through_local_layers() -> None:
    torch.manual_seed(0)
    model = MLP((64, 64), 2, (), "relu", local=(32, 32, 32, 32))
    x = torch.randn(16, 3 * 64 * 64)
    for layer in model.hidden:
        x = layer(x)
    assert 0.2 < x.square().mean().sqrt().item() < 5


def test_grids_halve() -> None:
    on = Architecture((64, 48), (), "relu", local=(16, 32, 64), field=4).grids
    assert [(g.channels, g.height, g.width) for g in on] == [(3, 64, 48), (16, 32, 24), (32, 16, 12), (64, 8, 6)]
    model = MLP((64, 48), 2, (10,), local=(16, 32, 64))
    assert [p.shape[1] for n, p in model.named_parameters() if n.endswith("linear.weight")] == [48, 256, 512, 64 * 48]
    table = model.describe()
    assert "16 units at 32 x 24 places, each sees 4 x 4" in table
    for below, above in itertools.pairwise(on):
        assert f"{above.units * (below.channels * 16 + 1):,}" in table


@pytest.mark.parametrize("flags", [{"local": (4,) * 5}, {"local": (4,) * 4, "field": 2, "image_size": [16, 15]}])
def test_more_layers_than_the_photo_has_room_for_are_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(CatdogError, match=r"local .*fewer layers"):
        load_config(None, {"image_size": [16, 16], **flags})


@pytest.mark.parametrize("field", [3, 4, 5])
def test_the_extent_of_a_field_is_where_the_gradient_is(field: int) -> None:
    shape = Architecture((24, 32), (), "gelu", True, local=(2, 2, 2), field=field)
    model = MLP((24, 32), 2, (), local=(2, 2, 2), field=field).double()
    image = torch.randn(1, 3, 24, 32, dtype=torch.double, requires_grad=True)
    x = image.flatten(start_dim=1)
    for number, extent in enumerate(extents(shape), start=1):
        layer: Any = model.hidden[number - 1]
        x = layer(x)
        on = layer.linear.grid
        middle = x.view(on.height, on.width, on.channels)[on.height // 2, on.width // 2].sum()
        (gradient,) = torch.autograd.grad(middle, image, retain_graph=True)
        rows, columns = gradient[0].abs().sum(dim=0).nonzero(as_tuple=True)
        assert extent == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)


def test_the_extent_of_a_field_grows_by_the_blocks_too() -> None:
    """By hand: layers of 4 x 4, stride 2, then 3 x 3, 3 x 3 at stride 1; each place is 2, then 4 pixels."""
    found = extents(Architecture((64, 64), (), "relu", local=(2, 2), blocks=(1, 1)))
    assert [bottom - top for top, _, bottom, _ in found] == [4, 8, 12, 18, 26, 34]


@pytest.fixture
def config(make_photos: MakePhotos, small_config: MakeConfig) -> Config:
    photos = make_photos({"cat": 20, "dog": 20})
    return small_config(photos, local=(4, 5), hidden=(6,), batch_norm=True, epochs=4, share_epochs=2, early_stopping=0)


def test_the_picture_shows_more_places_where_they_differ() -> None:
    shape = Architecture((8, 8), (), "gelu", True, local=(3,))
    same = np.tile(np.random.default_rng(0).normal(size=(3, 48)), (16, 1))
    labels = [
        [axes.get_ylabel() for axes in draw_fields(shape, {"now": weights}).findobj(lambda a: hasattr(a, "get_ylabel"))]
        for weights in (same, same + np.arange(48)[:, None])
    ]
    rows = [[label for label in found if label.startswith("now")] for found in labels]
    assert [len(found) for found in rows] == [1, 4]


def places_differ(run: Path) -> bool:
    from catdog.checkpoint.saved_state import load_state

    weight = load_state(run / "last.pt")["model"]["hidden.0.linear.weight"]
    by_place = weight.view(-1, 4, weight.shape[1])
    return not torch.allclose(by_place, by_place[:1].expand_as(by_place), atol=1e-6)


def test_places_are_set_free_after_the_epochs_that_share(config: Config, tmp_path: Path) -> None:
    shared = replace(
        config, training=replace(config.training, epochs=2), run=replace(config.run, out=str(tmp_path / "a"))
    )
    assert not places_differ(train(shared, log=quiet))
    free = replace(config, run=replace(config.run, out=str(tmp_path / "b")))
    run = train(free, log=quiet)
    assert places_differ(run)
    assert load_model(run / MODEL_FILE)[1].architecture.local == (4, 5)


@pytest.mark.parametrize("stop_after", [1, 2, 3])
@pytest.mark.slow
def test_a_training_stopped_before_or_after_that_goes_on_exactly(
    config: Config, tmp_path: Path, stop_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, part = in_one_and_in_two_parts(config, stop_after, tmp_path, monkeypatch)
    assert (part / MODEL_FILE).read_bytes() == (whole / MODEL_FILE).read_bytes()
