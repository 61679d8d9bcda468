"""The shape of a network: its layers, what each of them sees, and the arrays that hold its weights.

The network in PyTorch (`catdog.model.mlp`), the one in NumPy (`catdog.numpy_net`), a model file and a configuration all
take it from here.

A local layer (local receptive fields) has its units on a grid, each seeing only a window of the layer below. A dense
layer gives every unit a weight for every input, and has to find out alone that pixels which lie together belong
together. In a local layer W is 0 outside each unit's window, so it has few weights, and all of them are of use (LeCun
1989, "Generalization and network design strategies", section 4). Each local layer stands on a grid of half the height
and width of the one below.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MLP = "mlp"  # the `model` of an architecture that is not one of torchvision's
Activation = Literal["relu", "gelu", "tanh", "sigmoid"]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
MAX_LAYERS = 1000  # of a kind


@dataclass(frozen=True)
class Grid:
    """The places on which the units of a layer stand, row by row: `channels` units at each, one after the other.

    In the photo itself, as in every flattened photo, `by_channel`, all of red comes first, then green, then blue.
    """

    channels: int
    height: int
    width: int
    by_channel: bool = False

    @property
    def places(self) -> int:
        return self.height * self.width

    @property
    def units(self) -> int:
        return self.channels * self.places

    def above(self, channels: int, field: int) -> "Grid":
        """The grid of a local layer on this one, which every second window of `field` x `field` places makes."""
        height, width = ((side + 2 * margin(field) - field) // 2 + 1 for side in (self.height, self.width))
        return Grid(channels, height, width)


@dataclass(frozen=True)
class LayerShape:
    """Wx + b of one layer: `inputs` numbers below it, `units` above."""

    name: str
    """As a reader calls it: "hidden 1", ..., "classifier"."""
    arrays: str
    """What the names of its weight and bias begin with in the state dict: "hidden.0.linear", "classifier"."""
    inputs: int
    units: int
    below: Grid | None = None
    """Of a local layer, the grid that its windows lie on, and `grid`, that of its own units."""
    grid: Grid | None = None
    field: int = 0
    norm: str = ""
    """What the names of its batch normalisation's arrays begin with; nothing where it has none."""

    @property
    def weight_shape(self) -> tuple[int, int]:
        """units x what each of them sees: all inputs, or its window."""
        return self.units, self.inputs if self.below is None else self.below.channels * self.field**2

    @property
    def channels(self) -> int:
        """How many numbers are normalised apart: a channel of a local layer, over all its places, or a unit."""
        return self.units if self.grid is None else self.grid.channels


@dataclass(frozen=True)
class Architecture:
    """Shape of an MLP: the arguments of `catdog.model.mlp.MLP`; or the name of one of torchvision's networks."""

    image_size: tuple[int, int]
    hidden: tuple[int, ...]
    activation: str
    batch_norm: bool = False
    dropout: float = 0.0
    local: tuple[int, ...] = ()
    field: int = 4
    model: str = MLP

    @property
    def is_mlp(self) -> bool:
        return self.model == MLP

    @property
    def grids(self) -> list[Grid]:
        """Of the photo's pixels, then of each local layer; without places where the photo is too small for one."""
        found = [Grid(3, *self.image_size, by_channel=True)]
        for channels in self.local:
            found.append(found[-1].above(channels, self.field))
        return found

    @property
    def least_photos(self) -> int:
        """How many photos an MLP must be given at once in training: 2 where batch normalisation of a layer sees one
        number a photo, of which a single photo has no variance, else 1.
        """
        return 2 if any(layer.norm and layer.units == layer.channels for layer in self.hidden_layers()) else 1

    def hidden_layers(self) -> list[LayerShape]:
        """The hidden layers of an MLP, from the photo on: local ones, then dense ones."""
        grids = self.grids
        widths = [grids[-1].units, *self.hidden]
        found = []
        for i in range(len(self.local) + len(self.hidden)):
            name, arrays = f"hidden {i + 1}", f"hidden.{i}.linear"
            norm = f"hidden.{i}.norm" if self.batch_norm else ""
            if i < len(self.local):
                below, grid = grids[i], grids[i + 1]
                found.append(LayerShape(name, arrays, below.units, grid.units, below, grid, self.field, norm))
            else:
                inputs, units = widths[i - len(self.local) :][:2]
                found.append(LayerShape(name, arrays, inputs, units, norm=norm))
        return found

    def layers(self, classes: int) -> list[LayerShape]:
        """All layers of an MLP: the hidden ones, then the linear classifier."""
        hidden = self.hidden_layers()
        inputs = hidden[-1].units if hidden else self.grids[0].units
        return [*hidden, LayerShape("classifier", "classifier", inputs, classes)]

    def state_shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of every array of an MLP: the state dict of `catdog.model.mlp.MLP`."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in self.layers(classes):
            shapes[f"{layer.arrays}.weight"] = layer.weight_shape
            shapes[f"{layer.arrays}.bias"] = (layer.units,)
            if layer.norm:
                for name in ("weight", "bias", "running_mean", "running_var"):
                    shapes[f"{layer.norm}.{name}"] = (layer.channels,)
        return shapes


def margin(field: int) -> int:
    """Places of zeros around a grid, so that the units at its edge have whole windows."""
    return (field - 1) // 2


def windows(below: Grid, field: int) -> "NDArray[np.int64]":
    """Which units of the flattened layer `below` each place sees: places x (field * field * channels).

    A window is numbered row by row, place by place, channel by channel. Places outside the grid, which hold zeros, have
    the number `below.units`.
    """
    import numpy as np  # here, since a configuration is checked without it

    units = np.arange(below.units)
    if below.by_channel:
        numbers = units.reshape(below.channels, below.height, below.width).transpose(1, 2, 0)
    else:
        numbers = units.reshape(below.height, below.width, below.channels)
    edge = (margin(field), margin(field))
    padded = np.pad(numbers, (edge, edge, (0, 0)), constant_values=below.units)
    seen = np.lib.stride_tricks.sliding_window_view(padded, (field, field), axis=(0, 1))[::2, ::2]
    return seen.transpose(0, 1, 3, 4, 2).reshape(seen.shape[0] * seen.shape[1], -1)
