"""Builds the network that a configuration asks for."""

from typing import TYPE_CHECKING

from catdog.config.settings import Config
from catdog.model.mlp import MLP

if TYPE_CHECKING:
    from catdog.model.torchvision import TorchvisionModel

    Network = MLP | TorchvisionModel


def build_network(config: Config, classes: int, pretrained: bool = False) -> "Network":
    """The network of `config`; with `pretrained` it begins with torchvision's weights, if that is configured."""
    m = config.model
    if config.architecture.is_mlp:
        return build_model(config, classes)
    from catdog.model.torchvision import TorchvisionModel  # which MLPs do not wait for

    return TorchvisionModel(m.model, config.photos.image_size, classes, pretrained and m.pretrained)


def build_model(config: Config, classes: int) -> MLP:
    """The MLP of `config`."""
    return MLP.of(config.architecture, classes)
