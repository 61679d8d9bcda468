"""The network: a multilayer perceptron that flattens the picture.

Each hidden layer computes f(x, W) = Wx + b and an activation; the last layer, the linear classifier, computes
one score (logit) a class. `catdog.predict` states the same computation in NumPy.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from catdog.architecture import Architecture, LayerShape
from catdog.model.local import ChannelNorm, LocalLinear

# GELU by its tanh formula (Hendrycks and Gimpel 2016, section 2), which needs no error function to be stated in NumPy.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": lambda: nn.GELU(approximate="tanh"),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class HiddenLayer(nn.Module):
    """Wx + b, (batch normalisation), activation, (dropout). x: float, B x inputs -> B x units."""

    def __init__(self, linear: nn.Linear | LocalLinear, activation: str, batch_norm: bool, dropout: float) -> None:
        super().__init__()
        self.linear = linear
        self.norm: nn.Module = nn.Identity()
        if batch_norm:
            self.norm = (
                ChannelNorm(linear.grid.channels)
                if isinstance(linear, LocalLinear)
                else nn.BatchNorm1d(linear.out_features)
            )
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)
        if isinstance(linear, LocalLinear):
            # As below, by the inputs that a unit sees; all places begin alike, so that they can be shared.
            window = linear.weight.shape[1]
            spread = math.sqrt(2 / window) if activation in ("relu", "gelu") else math.sqrt(1 / window)
            of_a_place = torch.randn(linear.grid.channels, window) * spread
            linear.weight.data.copy_(of_a_place.repeat(linear.grid.places, 1))
        elif activation in ("relu", "gelu"):
            # He et al. 2015, equation 10: variance 2 / inputs, since the activation silences half of the units.
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        else:
            # Glorot and Bengio 2010, equation 16, for activations that are odd around their middle.
            gain = 5 / 3 if activation == "tanh" else 1.0  # torch.nn.init.calculate_gain
            nn.init.xavier_uniform_(linear.weight, gain)
        nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.activation(self.norm(self.linear(x))))


class MLP(nn.Module):
    """Flatten, hidden layers, linear classifier.

    image_size: (height, width) of the input. hidden: width of each hidden layer; empty for a linear classifier.
    local: units at each place of the local layers that come before them; field: side of the windows that these see.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        classes: int,
        hidden: Sequence[int] = (1024, 1024, 1024),
        activation: str = "gelu",
        batch_norm: bool = False,
        dropout: float = 0.0,
        local: Sequence[int] = (),
        field: int = 4,
    ) -> None:
        super().__init__()
        shape = Architecture(image_size, tuple(hidden), activation, batch_norm, dropout, tuple(local), field)
        self.image_size = image_size
        self.hidden = nn.ModuleList(
            HiddenLayer(_linear(layer), activation, batch_norm, dropout) for layer in shape.hidden_layers()
        )
        self.classifier = nn.Linear(shape.layers(classes)[-1].inputs, classes)
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    @classmethod
    def of(cls, shape: Architecture, classes: int) -> "MLP":
        """The MLP of that shape."""
        return cls(
            shape.image_size,
            classes,
            shape.hidden,
            shape.activation,
            shape.batch_norm,
            shape.dropout,
            shape.local,
            shape.field,
        )

    def forward(self, images: Tensor) -> Tensor:
        """images: float, B x 3 x H x W, normalised -> logits: float, B x classes."""
        x = images.flatten(start_dim=1)
        for layer in self.hidden:
            x = layer(x)
        return self.classifier(x)

    def numbers_kept(self) -> int:
        """How many numbers a photo has that wait for the backward pass: three a unit, and local layers' windows."""
        found = 0
        for layer in self.hidden:
            assert isinstance(layer, HiddenLayer)
            found += 3 * layer.linear.out_features
            if isinstance(layer.linear, LocalLinear):
                found += layer.linear.grid.places * layer.linear.weight.shape[1]
        return found

    def describe(self) -> str:
        """A table of the layers, a line each: what it computes, its output, and how many weights it has."""
        height, width = self.image_size
        inputs = 3 * height * width
        rows = [("input", f"3 x {height} x {width}, flattened", f"{inputs:,}", "")]
        for i, layer in enumerate(self.hidden, start=1):
            assert isinstance(layer, HiddenLayer)
            steps = [_wx_b(layer.linear)]
            if not isinstance(layer.norm, nn.Identity):
                steps.append("batch norm")
            steps.append(type(layer.activation).__name__.lower())
            if layer.dropout.p:
                steps.append(f"dropout {layer.dropout.p:g}")
            rows.append(
                (f"hidden {i}", ", ".join(steps), f"{layer.linear.out_features:,}", f"{count_weights(layer):,}")
            )
        last = self.classifier
        rows.append(("classifier", _wx_b(last), f"{last.out_features:,}", f"{count_weights(last):,}"))
        rows.append(("", "", "", f"{count_weights(self):,}"))
        rows.insert(0, ("layer", "computes", "outputs", "weights"))
        columns = [max(len(row[i]) for row in rows) for i in range(4)]
        return "\n".join(
            f"{a:<{columns[0]}}  {b:<{columns[1]}}  {c:>{columns[2]}}  {d:>{columns[3]}}".rstrip()
            for a, b, c, d in rows
        )


def _linear(layer: LayerShape) -> "nn.Linear | LocalLinear":
    if layer.below is None or layer.grid is None:
        return nn.Linear(layer.inputs, layer.units)
    return LocalLinear(layer.below, layer.grid.channels, layer.field)


def _wx_b(linear: nn.Linear | LocalLinear) -> str:
    if isinstance(linear, LocalLinear):
        on = linear.grid
        return (
            f"Wx + b, {on.channels} units at {on.height} x {on.width} places, each sees {linear.field} x {linear.field}"
        )
    return f"Wx + b, W {linear.out_features:,} x {linear.in_features:,}"


def count_weights(module: nn.Module) -> int:
    """Trainable numbers of a module: weights and biases."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
