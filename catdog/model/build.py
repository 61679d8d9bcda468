"""Builds the network that a configuration asks for."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from catdog.architecture import Architecture
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
    return build_mlp(config.architecture, classes)


def build_mlp(shape: Architecture, classes: int) -> MLP:
    """The MLP of that architecture."""
    arguments = asdict(shape)
    del arguments["model"]
    if not arguments.pop("pool_all"):
        return MLP(classes=classes, **arguments)
    from catdog.model.all_scales import AllScalesMLP  # which few trainings use

    return AllScalesMLP(classes=classes, **arguments)
