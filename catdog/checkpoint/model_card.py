"""What the header of a model file says of the network."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from catdog.architecture import Architecture, Resize

FORMAT_VERSION = 1
DRAWINGS = "drawings"  # as what a network was trained on


@dataclass(frozen=True)
class ModelCard:
    """Description of a network, in the header of `model.safetensors`: architecture, classes, preprocessing, figures."""

    architecture: Architecture
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    """Of each channel over the training photos, in levels (0 to 255)."""
    std: tuple[float, float, float]
    resize_filter: str
    average_mirrored: bool
    """Whether the logits of a photo and of its mirror image are averaged."""
    loss: str
    temperature: float
    """Probabilities are softmax(logits / temperature); fitted on the validation photos."""
    squared_hinge: bool = False
    """Whether each hinge of the svm loss is squared."""
    mean_colours: tuple[tuple[float, float, float], ...] = ()
    """Mean red, green, blue of each class's training photos, in levels: for the nearest-mean-colour baseline."""
    train_counts: tuple[int, ...] = ()
    """Training photos of each class: for the majority baseline."""
    validation: Mapping[str, float] = field(default_factory=dict)
    """accuracy, loss, photos (how many), epoch of the weights, ece; more in a file that scripts/box.py has written."""
    by_class: tuple[tuple[int, int], ...] = ()
    """Of each class: its validation photos, and how many were answered correctly; empty in older files."""
    storage: str = "float32"
    """How the file holds the matrices: float32, float16 or int8 (catdog/checkpoint/quantize.py)."""
    recipe: str = ""
    """The command that trains this network, where it was recorded."""
    trained_on: str = ""
    """DRAWINGS, or "photos in" and the name of their folder; empty in older files."""
    started_from: str = ""
    """The network whose weights its training began with, and the SHA-256 of that one's file; empty for new weights."""
    resize: Resize = "squash"
    """How photos of another shape come to the network's size; older files, which do not say, mean squash."""
    familiarity: tuple[int, ...] = ()
    """How many directions and distances `catdog.familiarity` computes with; none where it is not known."""
