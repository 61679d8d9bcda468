"""What the peers share, so that they train the same network on the same photos."""

import argparse
from collections.abc import Sequence

from torch import nn

# Of ImageNet, as tutorials have it.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def arguments(about: str | None) -> argparse.Namespace:
    """The flags of a program that trains."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("data", help="folder with train/ and val/")
    parser.add_argument("--out", default="", help="file for the weights")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--hidden", type=int, nargs="+", default=[512, 256])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def mlp(image_size: int, hidden: Sequence[int], classes: int = 2) -> nn.Sequential:
    """Flatten, Wx + b, ReLU, ..., Wx + b."""
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = 3 * image_size * image_size
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, classes))
