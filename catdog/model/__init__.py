"""The networks: the MLP (mlp.py) with local layers (local.py), torchvision's classifiers, and what builds them."""

from catdog.model.mlp import MLP

__all__ = ["MLP"]
