"""What a training runs on.

device         which device, and why
precision      in which floating-point type matrices are multiplied; compilation: torch.compile
world          the processes of a training: one; distributed: several, started by torchrun; join: which of the two
"""

from typing import TYPE_CHECKING

from catdog.base.lazy import offer

if TYPE_CHECKING:
    from catdog.runtime.device import choose_device
    from catdog.runtime.precision import choose_precision
    from catdog.runtime.world import World

__all__ = ["World", "choose_device", "choose_precision"]
__getattr__ = offer(
    __name__,
    {"World": "world", "choose_device": "device", "choose_precision": "precision"},
)
