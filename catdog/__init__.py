"""catdog: two folders of photographs go in; a neural network that you can use, and look inside, comes out."""

__version__ = "0.1.0"
