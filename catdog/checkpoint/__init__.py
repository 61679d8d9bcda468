"""Files that hold a network.

model_file       model.safetensors: the best weights, and all that prediction needs; model_card: its header
saved_model      loads it; header: what a file says of its network, read without the weights
class_names      which names of classes it can hold
quantize         weights in 8 or 16 bits
training_state   last.pt and previous.pt: written by a training; saved_state loads them to resume it
"""

from typing import TYPE_CHECKING

from catdog.base.lazy import offer

if TYPE_CHECKING:
    from catdog.checkpoint.model_card import ModelCard
    from catdog.checkpoint.model_file import save_model
    from catdog.checkpoint.saved_model import load_model
    from catdog.checkpoint.saved_state import load_state
    from catdog.checkpoint.training_state import save_state

__all__ = ["ModelCard", "load_model", "load_state", "save_model", "save_state"]
__getattr__ = offer(
    __name__,
    {
        "ModelCard": "model_card",
        "load_model": "saved_model",
        "save_model": "model_file",
        "save_state": "training_state",
        "load_state": "saved_state",
    },
)
