"""Local receptive fields: layers whose units stand on a grid, each seeing only a window of the layer below.

A dense layer gives every unit a weight for every input, and has to find out alone that pixels which lie together
belong together. A local layer is told: its W is 0 outside each unit's window. So it has few weights, and all of them
are of use (LeCun 1989, "Generalization and network design strategies", section 4). Each local layer stands on a
grid of half the height and width of the one below.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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


def margin(field: int) -> int:
    """Places of zeros around a grid, so that the units at its edge have whole windows."""
    return (field - 1) // 2


def grids(image_size: tuple[int, int], local: Sequence[int], field: int) -> list[Grid]:
    """The grid of the photo's pixels, then of each local layer; a grid without places where the photo is too small."""
    found = [Grid(3, *image_size, by_channel=True)]
    for channels in local:
        found.append(found[-1].above(channels, field))
    return found


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
