"""The networks in PyTorch: the MLP (mlp.py) with its local layers (local.py), and torchvision's classifiers."""

from catdog.model.mlp import MLP

__all__ = ["MLP"]
