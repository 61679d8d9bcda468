"""`from catdog.imagefolder import PhotoFolder`: the photos as a torchvision ImageFolder, from catdog/data."""

from catdog.data.imagefolder import PhotoFolder

__all__ = ["PhotoFolder"]
