"""The multilayer perceptron (MLP): flattens the image, then hidden layers, then a linear classifier.

Each hidden layer computes f(x, W) = Wx + b, (batch normalisation) and an activation; the last layer, the linear
classifier, computes one logit a class. `catdog.numpy_net` is the same computation in NumPy.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from catdog.architecture import Architecture, LayerShape

# GELU by its tanh formula (Hendrycks and Gimpel 2016, section 2), since NumPy has no error function.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": lambda: nn.GELU(approximate="tanh"),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def make_linear(shape: LayerShape) -> Any:
    """The module that computes Wx + b of a layer."""
    if shape.below is None and not shape.pooled:
        return nn.Linear(shape.inputs, shape.units)
    from catdog.model.local import LocalLinear, PooledLinear  # which few networks have

    if shape.below is None:
        return PooledLinear(shape.pooled, shape.units)
    return LocalLinear(shape.below, shape.channels, shape.field, shape.stride, shape.shared)


class HiddenLayer(nn.Module):
    """Wx + b, (batch normalisation), (residual sum), activation, (dropout). x: float, B x inputs -> B x units."""

    def __init__(self, shape: LayerShape, activation: str, batch_norm: bool, dropout: float) -> None:
        super().__init__()
        self.adds = shape.adds
        self.linear = make_linear(shape)
        self.norm: Any = nn.Identity()
        if batch_norm:
            self.norm = nn.BatchNorm1d(shape.units) if shape.below is None else self.linear.make_norm()
        if shape.adds and batch_norm:
            nn.init.zeros_(self.norm.weight)  # a block begins as the identity (Goyal et al. 2017, section 5.1)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)
        linear = self.linear
        if shape.below is not None:
            linear.init_weights(gain=2.0 if activation in ("relu", "gelu") else 1.0)
        elif activation in ("relu", "gelu"):
            # He et al. 2015, equation 10: variance 2 / inputs, since the activation is 0 for half of the inputs.
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        else:
            # Glorot and Bengio 2010, equation 16, for activations that are symmetric about their value at 0.
            gain = 5 / 3 if activation == "tanh" else 1.0  # torch.nn.init.calculate_gain
            nn.init.xavier_uniform_(linear.weight, gain)
        nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        """before: the input of the layer before, which the last layer of a residual block adds."""
        if self.adds:
            return self.dropout(self.activation(self.norm(self.linear(x)) + before))
        return self.dropout(self.activation(self.norm(self.linear(x))))


class MLP(nn.Module):
    """Flatten, hidden layers, linear classifier.

    image_size: (height, width) of the input. hidden: width of each hidden layer; empty for a linear classifier.
    local: channels (units at each place) of each local layer; these come first. field: side of their windows.
    shared, blocks, pool: see `catdog.architecture`.
    """

    pool_all = False  # `catdog.model.all_scales` has it

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
        shared: bool = False,
        blocks: Sequence[int] = (),
        pool: bool = False,
    ) -> None:
        super().__init__()
        shape = Architecture(
            *(image_size, tuple(hidden), activation, batch_norm, dropout, tuple(local), field),
            shared=shared,
            blocks=tuple(blocks),
            pool=pool,
            pool_all=self.pool_all,
        )
        self.architecture, self.image_size, self.least_photos = shape, image_size, shape.least_photos
        self.hidden = nn.ModuleList(
            HiddenLayer(layer, activation, batch_norm, dropout) for layer in shape.hidden_layers()
        )
        self.classifier: nn.Linear = make_linear(shape.layers(classes)[-1])
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        """images: float, B x 3 x H x W, normalised -> logits: float, B x classes."""
        before = x = images.flatten(start_dim=1)
        for layer in self.hidden:
            before, x = x, layer(x, before)
        return self.classifier(x)

    def activation_numbers(self) -> int:
        """Count the numbers stored for the backward pass of one photo: three a unit, and local layers' windows."""
        linears: list[Any] = [layer.linear for layer in self.hidden]
        return sum(3 * linear.out_features + getattr(linear, "window_numbers", 0) for linear in linears)

    def describe(self) -> str:
        """Format a table of the layers, one a line: what it computes, its number of outputs and of weights."""
        height, width = self.image_size
        inputs = 3 * height * width
        rows = [("input", f"3 x {height} x {width}, flattened", f"{inputs:,}", "")]
        for i, layer in enumerate(self.hidden, start=1):
            assert isinstance(layer, HiddenLayer)
            steps = [_describe_linear(layer.linear)]
            if not isinstance(layer.norm, nn.Identity):
                steps.append("batch norm")
            if layer.adds:
                steps.append("+ the block's input")
            steps.append(type(layer.activation).__name__.lower())
            if layer.dropout.p:
                steps.append(f"dropout {layer.dropout.p:g}")
            rows.append(
                (f"hidden {i}", ", ".join(steps), f"{layer.linear.out_features:,}", f"{count_weights(layer):,}")
            )
        last = self.classifier
        rows.append(("classifier", _describe_linear(last), f"{last.out_features:,}", f"{count_weights(last):,}"))
        rows.append(("", "", "", f"{count_weights(self):,}"))
        rows.insert(0, ("layer", "computes", "outputs", "weights"))
        columns = [max(len(row[i]) for row in rows) for i in range(4)]
        return "\n".join(
            f"{a:<{columns[0]}}  {b:<{columns[1]}}  {c:>{columns[2]}}  {d:>{columns[3]}}".rstrip()
            for a, b, c, d in rows
        )


def _describe_linear(linear: Any) -> str:
    if type(linear) is nn.Linear:
        return f"Wx + b, W {linear.out_features:,} x {linear.in_features:,}"
    text: str = linear.describe()
    return text


def count_weights(module: nn.Module) -> int:
    """Count the trainable parameters of a module: weights and biases."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
