import math
from typing import Any

import pytest
import torch
from torch import nn

from catdog.model.mlp import MLP, count_weights


def test_computes_what_the_same_layers_of_torch_compute() -> None:
    model: Any = MLP((4, 6), 3, hidden=(10, 7), activation="relu", batch_norm=True, dropout=0.0)
    first, second = model.hidden
    same = nn.Sequential(
        nn.Flatten(), first.linear, first.norm, nn.ReLU(), second.linear, second.norm, nn.ReLU(), model.classifier
    )
    images = torch.randn(5, 3, 4, 6)
    for training in (False, True):
        model.train(training)
        assert torch.equal(model(images), same(images))


def test_height_and_width_may_differ_and_hidden_may_be_empty() -> None:
    model = MLP((5, 2), 2, hidden=())
    assert model(torch.zeros(1, 3, 5, 2)).shape == (1, 2)
    assert count_weights(model) == 3 * 5 * 2 * 2 + 2


@pytest.mark.parametrize(
    ("activation", "variance"),
    [
        ("relu", 2 / 3000),
        ("gelu", 2 / 3000),
        ("sigmoid", 2 / (3000 + 400)),
        ("tanh", (5 / 3) ** 2 * 2 / (3000 + 400)),
    ],
)
def test_initial_weights_have_the_variance_of_he_or_xavier(activation: str, variance: float) -> None:
    torch.manual_seed(0)
    model: Any = MLP((20, 50), 2, hidden=(400,), activation=activation)
    layer = model.hidden[0].linear
    assert layer.weight.var().item() == pytest.approx(variance, rel=0.01)
    assert not layer.bias.any()


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_he_initialisation_keeps_the_signal_through_twenty_layers(activation: str) -> None:
    torch.manual_seed(0)
    model = MLP((8, 8), 2, hidden=(256,) * 20, activation=activation)
    x = torch.randn(64, 192)
    for layer in model.hidden:
        x = layer(x)
    assert 0.05 < math.sqrt(x.square().mean().item()) < 20


def test_dropout_silences_units_in_training_only() -> None:
    torch.manual_seed(0)
    layer = MLP((8, 8), 2, hidden=(1000,), activation="sigmoid", dropout=0.4).hidden[0]
    x = torch.randn(1, 192)
    assert (layer(x) == 0).float().mean().item() == pytest.approx(0.4, abs=0.05)
    layer.eval()
    assert not (layer(x) == 0).any()


def test_describes_each_layer_and_its_number_of_weights() -> None:
    table = MLP((600, 800), 2, hidden=(10,), activation="relu").describe()
    assert "1,440,000" in table
    for row, weights in (("hidden 1", "14,400,010"), ("classifier", "22"), ("", "14,400,032")):
        assert any(line.startswith(row) and line.endswith(weights) for line in table.splitlines())


def test_the_parameters_keep_the_order_that_checkpoints_have() -> None:
    """An optimizer's state is by number, so another order would give each weight the momentum of another."""
    model = MLP((4, 4), 2, hidden=(3,), batch_norm=True, local=(2,))
    names = [name for layer in (0, 1) for name in (f"hidden.{layer}.linear", f"hidden.{layer}.norm")]
    expected = [f"{name}.{part}" for name in [*names, "classifier"] for part in ("weight", "bias")]
    assert [name for name, _ in model.named_parameters()] == expected
