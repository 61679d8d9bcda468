"""The network: a multilayer perceptron that flattens the picture.

Each hidden layer computes f(x, W) = Wx + b and an activation; the last layer, the linear classifier, computes
one score (logit) a class. `catdog.predict` states the same computation in NumPy.
"""

import itertools
from collections.abc import Callable, Sequence

from torch import Tensor, nn

# GELU by its tanh formula (Hendrycks and Gimpel 2016, section 2), which needs no error function to be stated in NumPy.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": lambda: nn.GELU(approximate="tanh"),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class HiddenLayer(nn.Module):
    """Wx + b, (batch normalisation), activation, (dropout). x: float, B x `inputs` -> B x `width`."""

    def __init__(self, inputs: int, width: int, activation: str, batch_norm: bool, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, width)
        self.norm = nn.BatchNorm1d(width) if batch_norm else nn.Identity()
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)
        if activation in ("relu", "gelu"):
            # He et al. 2015, equation 10: variance 2 / inputs, since the activation silences half of the units.
            nn.init.kaiming_normal_(self.linear.weight, nonlinearity="relu")
        else:
            # Glorot and Bengio 2010, equation 16, for activations that are odd around their middle.
            gain = 5 / 3 if activation == "tanh" else 1.0  # torch.nn.init.calculate_gain
            nn.init.xavier_uniform_(self.linear.weight, gain)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.activation(self.norm(self.linear(x))))


class MLP(nn.Module):
    """Flatten, hidden layers, linear classifier.

    image_size: (height, width) of the input. hidden: width of each hidden layer; empty for a linear classifier.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        classes: int,
        hidden: Sequence[int] = (1024, 1024, 1024),
        activation: str = "gelu",
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        widths = [3 * image_size[0] * image_size[1], *hidden]
        self.hidden = nn.ModuleList(
            HiddenLayer(inputs, width, activation, batch_norm, dropout) for inputs, width in itertools.pairwise(widths)
        )
        self.classifier = nn.Linear(widths[-1], classes)
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        """images: float, B x 3 x H x W, normalised -> logits: float, B x classes."""
        x = images.flatten(start_dim=1)
        for layer in self.hidden:
            x = layer(x)
        return self.classifier(x)

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


def _wx_b(linear: nn.Linear) -> str:
    return f"Wx + b, W {linear.out_features:,} x {linear.in_features:,}"


def count_weights(module: nn.Module) -> int:
    """Trainable numbers of a module: weights and biases."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
