"""The shape of a network: its layers, what each of them sees, and the arrays that hold its weights.

The network in PyTorch (`catdog.model.mlp`), the one in NumPy (`catdog.numpy_net`), a model file and a configuration all
take it from here.

A local layer (local receptive fields) has its units on a grid, each seeing only a window of the layer below. A dense
layer gives every unit a weight for every input, and has to find out alone that pixels which lie together belong
together. In a local layer W is 0 outside each unit's window, so it has few weights, and all of them are of use (LeCun
1989, "Generalization and network design strategies", section 4). Each local layer stands on a grid of half the height
and width of the one below. Three settings go on from there:

shared: all places have the same weights, as in a convolution; they are stored once.
blocks: after each of those layers come so many residual blocks of two local layers that keep height and width, in
which a unit sees 3 x 3 places: h = act(W1 x + b1); out = act(W2 h + b2 + x) (He 2015, "Deep residual learning",
section 3.2).
pool: the layer after the local ones sees the mean of each channel over all places; with pool_all, after those of the
last grid, such means of the last layer on each grid before.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

MLP = "mlp"  # the `model` of an architecture that is not one of torchvision's
Activation = Literal["relu", "gelu", "tanh", "sigmoid"]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
Resize = Literal["squash", "crop", "pad"]  # how photos of all shapes come to the one `image_size`
RESIZES: tuple[str, ...] = get_args(Resize)
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

    def above(self, channels: int, field: int, stride: int = 2) -> "Grid":
        """The grid of a local layer on this one, a place for every `stride`-th window of `field` x `field` places."""
        height, width = ((side + 2 * margin(field) - field) // stride + 1 for side in (self.height, self.width))
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
    stride: int = 2
    """Places of `below` from one window to the next."""
    shared: bool = False
    """Whether all places have the same weights and biases."""
    adds: bool = False
    """Whether it ends a residual block: before its activation, the input of the layer before is added."""
    pooled: tuple[Grid, ...] = ()
    """The grids over whose places the mean of each channel is taken, which, one after the other, are the `inputs`."""
    branches: bool = False
    """Whether such a mean is taken of what it sees, too."""
    norm: str = ""
    """What the names of its batch normalisation's arrays begin with; nothing where it has none."""

    @property
    def weight_shape(self) -> tuple[int, int]:
        """units, or channels where places share weights, x what each of them sees: all inputs, or its window."""
        rows = self.channels if self.shared else self.units
        return rows, self.inputs if self.below is None else self.below.channels * self.field**2

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
    shared: bool = False
    blocks: tuple[int, ...] = ()
    pool: bool = False
    pool_all: bool = False

    @property
    def is_mlp(self) -> bool:
        return self.model == MLP

    @property
    def grids(self) -> list[Grid]:
        """Of the photo's pixels, then of each local layer that halves them; without places where the photo is too small
        for one."""
        found = [Grid(3, *self.image_size, by_channel=True)]
        for channels in self.local:
            found.append(found[-1].above(channels, self.field))
        return found

    @property
    def depths(self) -> list[int]:
        """How many local layers stand on each grid but the photo's: one, and two more for each residual block."""
        return [1 + 2 * blocks for blocks in self.blocks or [0] * len(self.local)]

    @property
    def least_photos(self) -> int:
        """How many photos an MLP must be given at once in training: 2 where batch normalisation of a layer sees one
        number a photo, of which a single photo has no variance, else 1.
        """
        by_unit = (layer.norm and layer.units == layer.channels for layer in self.hidden_layers())
        return 2 if self.is_mlp and any(by_unit) else 1

    def hidden_layers(self) -> list[LayerShape]:
        """The hidden layers of an MLP, from the photo on: local ones, then dense ones."""
        return self.layers(0)[:-1]

    def layers(self, classes: int) -> list[LayerShape]:
        """All layers of an MLP: the hidden ones, then the linear classifier."""
        found: list[LayerShape] = []

        def add(inputs: int, units: int, **more: Any) -> None:
            arrays = f"hidden.{len(found)}"
            norm = f"{arrays}.norm" if self.batch_norm else ""
            found.append(LayerShape(f"hidden {len(found) + 1}", f"{arrays}.linear", inputs, units, norm=norm, **more))

        below = self.grids[0]
        for channels, depth in zip(self.local, self.depths, strict=True):
            for number in range(depth):
                field, stride = (3, 1) if number else (self.field, 2)
                grid = below.above(channels, field, stride)
                how: dict[str, Any] = {"field": field, "stride": stride, "shared": self.shared}
                how["branches"] = self.pool_all and number == 0 and bool(found)
                add(below.units, grid.units, below=below, grid=grid, adds=bool(number) and number % 2 == 0, **how)
                below = grid
        pooled = (below, *self.grids[1:-1]) if self.pool_all else (below,) if self.pool else ()
        inputs = sum(grid.channels for grid in pooled) or below.units
        for units in self.hidden:
            add(inputs, units, pooled=pooled)
            pooled, inputs = (), units
        return [*found, LayerShape("classifier", "classifier", inputs, classes, pooled=pooled)]

    def state_shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of every array of an MLP: the state dict of `catdog.model.mlp.MLP`."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in self.layers(classes):
            shapes[f"{layer.arrays}.weight"] = layer.weight_shape
            shapes[f"{layer.arrays}.bias"] = layer.weight_shape[:1]
            if layer.norm:
                for name in ("weight", "bias", "running_mean", "running_var"):
                    shapes[f"{layer.norm}.{name}"] = (layer.channels,)
        return shapes


def margin(field: int) -> int:
    """Places of zeros around a grid, so that the units at its edge have whole windows."""
    return (field - 1) // 2
