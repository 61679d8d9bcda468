"""Networks in PyTorch.

mlp           the multilayer perceptron, the default
local         its layers with local receptive fields
all_scales    one whose classifier sees what all of these find, at every size
torchvision   torchvision's classifiers
transfer      weights of another network, and layers that stay as they are
build         the network that a configuration asks for
"""

from catdog.model.mlp import MLP

__all__ = ["MLP"]
